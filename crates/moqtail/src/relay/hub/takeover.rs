//! Running subscriptions are taken to a publisher that announces their namespace, a few at a time: an announcement is
//! a small message, and there may be very many tracks under it.

use std::time::Instant;

use bytes::Bytes;

use super::{FullTrackName, Hub, SessionId, TrackId, TrackNamespace};
use crate::session::RequestHandle;

/// Tracks looked at in one go.
const BATCH: usize = 64;

impl Hub {
    /// Takes the tracks in and below `namespace` to `session`, whose announcement is `handle`.
    pub(super) fn take_over(
        &mut self,
        session: SessionId,
        handle: RequestHandle,
        namespace: TrackNamespace,
        now: Instant,
    ) {
        // Names are sorted by their namespaces, so what a prefix matches lies together.
        if let Ok(first) = FullTrackName::new(namespace, Bytes::new()) {
            self.takeovers.insert((session, handle), first);
            self.go_on_with((session, handle));
            self.takeover_at = (!self.takeovers.is_empty()).then_some(now);
        }
    }

    /// Goes on with what is not finished, if it is time.
    pub(super) fn go_on(&mut self, now: Instant) {
        if self.takeover_at.is_some_and(|at| at <= now) {
            if let Some(first) = self.takeovers.first_key_value().map(|(key, _)| *key) {
                self.go_on_with(first);
            }
            self.takeover_at = (!self.takeovers.is_empty()).then_some(now);
        }
    }

    fn go_on_with(&mut self, announcement: (SessionId, RequestHandle)) {
        let (session, handle) = announcement;
        let Some(next) = self.takeovers.remove(&announcement) else {
            return;
        };
        let member = self.sessions.get(&session);
        let Some((namespace, _)) = member.and_then(|member| member.namespaces.get(&handle)) else {
            return;
        };
        let below = |name: &FullTrackName| namespace.as_prefix().matches(name.namespace());
        let mut names = self.names.range(next..).take_while(|(name, _)| below(name));
        let batch: Vec<TrackId> = names.by_ref().take(BATCH).map(|(_, id)| *id).collect();
        let rest = names.next().map(|(name, _)| name.clone());
        for track in batch {
            if self.tracks.get(&track).is_some_and(|t| !t.is_unwanted()) {
                self.ask(track, session);
            }
        }
        if let Some(rest) = rest {
            self.takeovers.insert(announcement, rest);
        }
    }
}
