//! Running subscriptions are taken to a publisher that announces their namespace, a few at a time: an announcement is
//! a small message, and there may be very many tracks under it.

use std::time::Instant;

use bytes::Bytes;

use super::{Announced, FullTrackName, Hub, SessionId, Takeover, TrackId, TrackNamespace};
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
            self.go_on_with((session, handle), first, now);
        }
    }

    /// Forgets an announcement that was withdrawn.
    pub(super) fn no_takeover(&mut self, announced: Announced) {
        if let Some(takeover) = self.takeovers.remove(&announced) {
            self.takeovers_due.remove(&(takeover.at, announced));
        }
    }

    /// When there is more to take over.
    pub(super) fn takeover_at(&self) -> Option<Instant> {
        self.takeovers_due.first().map(|(at, _)| *at)
    }

    /// Goes on with what is not finished, if it is time.
    pub(super) fn go_on(&mut self, now: Instant) {
        if let Some(&(at, announced)) = self.takeovers_due.first()
            && at <= now
            && let Some(takeover) = self.takeovers.remove(&announced)
        {
            self.takeovers_due.remove(&(at, announced));
            self.go_on_with(announced, takeover.next, now);
        }
    }

    fn go_on_with(&mut self, announced: Announced, next: FullTrackName, now: Instant) {
        let (session, handle) = announced;
        let Some(member) = self.sessions.get_mut(&session) else {
            return;
        };
        let Some((namespace, _)) = member.namespaces.get(&handle) else {
            return;
        };
        let below = |name: &FullTrackName| namespace.as_prefix().matches(name.namespace());
        let mut names = self.names.range(next..).take_while(|(name, _)| below(name));
        let max = self.limits.max_lookups_per_second;
        let left = member.lookups.left(max, now).unwrap_or(0);
        let count = left.min(BATCH);
        let batch: Vec<TrackId> = names.by_ref().take(count).map(|(_, id)| *id).collect();
        let rest = names.next().map(|(name, _)| name.clone());
        member.lookups.spend(batch.len());
        let at = member.lookups.left(max, now).err().unwrap_or(now);
        for track in batch {
            if self.tracks.get(&track).is_some_and(|t| !t.is_unwanted()) {
                self.ask(track, session);
            }
        }
        if let Some(next) = rest {
            self.takeovers.insert(announced, Takeover { next, at });
            self.takeovers_due.insert((at, announced));
        }
    }
}
