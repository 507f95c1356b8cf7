//! What a request costs beside thousands of others.

use super::*;

/// Publishers beside the one that is looked for.
const FEW: u64 = 100;
const MANY: u64 = 10_000;

/// Lookups that are timed at once, and how often, the quickest of which counts.
const LOOKUPS: u64 = 200;
const ROUNDS: usize = 5;

/// A hub with so many sessions, each with a namespace and a track of its own that somebody watches.
fn crowd(publishers: u64) -> Relay {
    let base = Relay::new();
    let limits = RelayLimits {
        max_sessions: usize::MAX,
        max_subscriptions_per_session: usize::MAX,
        ..RelayLimits::default()
    };
    let mut relay = Relay::with_limits(limits, base.now);
    relay.announce(PUBLISHER, "live");
    for number in 0..publishers {
        let session = SessionId(1000 + number);
        assert!(relay.hub.session_opened(session));
        relay.announce(session, &format!("crowd/{number}"));
        let name = format!("crowd/{number}#offered").parse().unwrap();
        relay
            .hub
            .publish_requested(session, handle(1), name, LARGEST, relay.now);
        relay.subscribe(OTHER, handle(number), &format!("crowd/{number}#offered"));
    }
    relay
}

/// The shortest time of some rounds of `work`.
#[expect(clippy::disallowed_methods, reason = "the cost is what is tested")]
fn shortest(mut work: impl FnMut()) -> Duration {
    let timed = |_| {
        let began = Instant::now();
        work();
        began.elapsed()
    };
    (0..ROUNDS).map(timed).min().unwrap()
}

/// Looks a track up, and leaves it.
fn lookups(relay: &mut Relay) -> Duration {
    shortest(|| {
        for number in 0..LOOKUPS {
            assert_eq!(
                asked(&relay.subscribe(VIEWER, handle(number), "live#x")),
                [PUBLISHER]
            );
            relay.hub.downstream_left(VIEWER, handle(number));
            relay.actions();
        }
    })
}

/// Comes, announces, offers and leaves.
fn visits(relay: &mut Relay) -> Duration {
    shortest(|| {
        for number in 0..LOOKUPS {
            let session = SessionId(number + 100);
            assert!(relay.hub.session_opened(session));
            relay.announce(session, "visit");
            let name = "visit#x".parse().unwrap();
            relay
                .hub
                .publish_requested(session, handle(1), name, LARGEST, relay.now);
            relay.hub.session_closed(session, Vec::new(), relay.now);
            relay.actions();
        }
    })
}

/// A walk over all publishers or tracks would take a hundred times as long among a hundred times as many.
#[test]
fn lookups_and_departures_do_not_walk_over_everybody() {
    let (mut few, mut many) = (crowd(FEW), crowd(MANY));
    for work in [lookups, visits] {
        let (alone, crowded) = (work(&mut few), work(&mut many));
        assert!(crowded < 10 * alone, "{alone:?} alone, {crowded:?} crowded");
    }
}
