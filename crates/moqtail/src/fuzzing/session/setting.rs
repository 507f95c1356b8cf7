//! What the targets of sessions have in common: limits, time, and a few names and numbers.

use std::time::{Duration, Instant};

use crate::model::{Filter, FullTrackName, Location, MAX_VARINT, TrackNamespace};
use crate::session::{Carrier, Role, SessionConfig, SessionLimits};

/// Longer than all deadlines of a session together.
pub(super) const LONG: Duration = Duration::from_secs(1000);

/// Later than anything else.
pub(super) const LAST: Duration = Duration::from_secs(100_000_000);

/// Small enough that all of them are met.
pub(super) const LIMITS: SessionLimits = SessionLimits {
    max_peer_requests: 4,
    max_queued_requests: 6,
    max_control_backlog: 1 << 20,
    max_inbound_streams: 5,
    max_parked_streams: 2,
    max_retired_aliases: 2,
    max_finished_requests: 3,
    max_kept_parameters: 100,
    setup_timeout: Duration::from_secs(10),
    answer_timeout: Duration::from_secs(30),
    header_timeout: Duration::from_secs(30),
    park_timeout: Duration::from_secs(2),
    done_linger: Duration::from_secs(5),
    done_quiet: Duration::from_secs(1),
    done_drain: Duration::from_secs(60),
};

pub(super) fn config(role: Role) -> SessionConfig {
    SessionConfig {
        limits: LIMITS,
        ..SessionConfig::new(role, Carrier::Raw)
    }
}

pub(super) fn client_role() -> Role {
    Role::Client {
        authority: "a".to_owned(),
        path: String::new(),
    }
}

#[expect(clippy::disallowed_methods, reason = "the base of virtual time")]
pub(in crate::fuzzing) fn start() -> Instant {
    Instant::now()
}

/// One of a few tracks.
pub(super) fn track(number: u8) -> FullTrackName {
    let name = [b"a", b"b", b"c"][usize::from(number) % 3];
    FullTrackName::new(namespace(0), &name[..]).expect("short name")
}

pub(super) fn namespace(number: u8) -> TrackNamespace {
    let name = [b"n", b"m"][usize::from(number) % 2];
    TrackNamespace::new([&name[..]]).expect("short namespace")
}

/// A location, at times the highest ones.
pub(super) fn location(number: u8) -> Location {
    let part = |part: u8| match part {
        6 => MAX_VARINT - 1,
        7 => MAX_VARINT,
        small => u64::from(small),
    };
    Location::new(part(number % 8), part(number >> 5))
}

/// A filter whose end is not before its start.
pub(super) fn filter(number: u8) -> Filter {
    let start = location(number >> 2);
    let end_group = start.group.saturating_add(u64::from(number >> 6));
    match number % 4 {
        0 => Filter::LargestObject,
        1 => Filter::NextGroupStart,
        2 => Filter::AbsoluteStart { start },
        _ => Filter::AbsoluteRange {
            start,
            end_group: end_group.min(MAX_VARINT),
        },
    }
}
