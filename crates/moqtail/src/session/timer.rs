//! The deadlines of a session, by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::event::{RequestHandle, StreamKey};

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The peer's SETUP.
    Setup,
    /// The end of the session after an own GOAWAY.
    Goaway,
    /// The answer to an own request.
    Answer(RequestHandle),
    /// The end of a subscription of the peer, as it was told.
    Expires(RequestHandle),
    /// The header of a stream.
    Header(StreamKey),
    /// The Track Alias of a parked stream.
    Parked(StreamKey),
    /// A look at what may still come after PUBLISH_DONE.
    Linger(RequestHandle),
    /// Streams that are still open after that.
    Drain(RequestHandle),
}

/// Deadlines that are set; each [`Timer`] at most once. Equal times expire in the order of [`Timer`].
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Instant, Timer)>,
    at: BTreeMap<Timer, Instant>,
}

impl Timers {
    /// Sets `timer`, instead of where it was.
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.cancel(timer);
        self.by_time.insert((at, timer));
        self.at.insert(timer, at);
    }

    /// Sets `timer` for `after` from `now`, instead of where it was; not at all if there is no such time.
    pub(super) fn set_after(&mut self, timer: Timer, now: Instant, after: Duration) {
        self.set_or_cancel(timer, now.checked_add(after));
    }

    /// Sets `timer`, instead of where it was; `None`: it does not expire.
    pub(super) fn set_or_cancel(&mut self, timer: Timer, at: Option<Instant>) {
        match at {
            Some(at) => self.set(timer, at),
            None => self.cancel(timer),
        }
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.by_time.remove(&(at, timer));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out the next deadline that is not after `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn len(&self) -> usize {
        self.at.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the base of virtual time")]
    fn deadlines_expire_in_order_and_can_be_moved() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut timers = Timers::default();
        timers.set(Timer::Goaway, at(2));
        timers.set(Timer::Setup, at(1));
        timers.set(Timer::Setup, at(3));
        timers.set(Timer::Header(StreamKey(0)), at(2));
        timers.cancel(Timer::Header(StreamKey(0)));
        assert_eq!(timers.next(), Some(at(2)));
        assert_eq!(timers.pop_due(at(1)), None);
        assert_eq!(timers.pop_due(at(9)), Some(Timer::Goaway));
        assert_eq!(timers.pop_due(at(9)), Some(Timer::Setup));
        assert_eq!((timers.next(), timers.len()), (None, 0));
    }
}
