//! How old an object may become before a subscription leaves it out: DELIVERY TIMEOUT and MAX_CACHE_DURATION (draft-14
//! §9.2.1.2, §9.2.1.3).

use std::time::{Duration, Instant};

use super::{
    TrackLog,
    ids::RunId,
    run::Run,
    subscription::{Expiry, Resets, Shared, Subscription, smaller},
};
use crate::model::StreamCode;

impl Subscription {
    /// Sets when the oldest object of a run that is not handed over expires (draft-14 §9.2.1.2).
    pub(super) fn update_deadline(&mut self, run: &Run, shared: &mut Shared) {
        let Some(cursor) = self.cursors.get_mut(&run.id) else {
            return;
        };
        let mut deadline = None;
        if self.timeout.is_some() || self.cache.is_some() {
            cursor.oldest = run.entry_at(cursor.unsent()).map(|entry| entry.received);
            let timeout = self.timeout;
            deadline = timeout.and_then(|timeout| cursor.oldest?.checked_add(timeout));
        }
        // draft-14 §9.2.1.3
        if let Some(cache) = self.cache
            && let Some(next) = run.entry_from(cursor.unbegun())
            && let Some(begin_by) = next.received.checked_add(cache)
        {
            deadline = Some(deadline.map_or(begin_by, |other: Instant| other.min(begin_by)));
        }
        shared.set_deadline(Expiry::Run(self.id, run.id), cursor.deadline, deadline);
        cursor.deadline = deadline;
    }

    /// The subscriber asks for another DELIVERY TIMEOUT; `None`: for the one as before (draft-14 §9.10). It counts from the
    /// next look at the log on.
    pub(super) fn ask_timeout(&mut self, asked: Option<Duration>) {
        self.asked = asked.or(self.asked);
        let timeout = smaller(self.asked, self.offered).or(self.timeout);
        self.is_retimed |= std::mem::replace(&mut self.timeout, timeout) != timeout;
    }

    pub(super) fn update_deadlines(&mut self, log: &TrackLog, shared: &mut Shared) {
        for id in self.cursors.keys().copied().collect::<Vec<_>>() {
            if let Some(run) = log.run(id) {
                self.update_deadline(run, shared);
            }
        }
    }

    /// Whether an object may not be begun any more because of its age.
    pub(super) fn is_aged(&self, received: Instant, now: Instant) -> bool {
        let begin_by = self.cache.and_then(|cache| received.checked_add(cache));
        begin_by.is_some_and(|begin_by| begin_by <= now)
    }

    /// Takes runs that left because of their age out of `lost`: that is nobody's slowness.
    pub(super) fn let_age(
        &mut self,
        lost: &mut Vec<RunId>,
        log: &TrackLog,
        shared: &mut Shared,
        now: Instant,
        resets: &mut Resets,
    ) {
        if self.cache.is_none() {
            return;
        }
        let received = |id: &RunId| match self.cursors.get(id) {
            Some(cursor) => cursor.oldest,
            // It was to begin with an object that has begun to leave.
            None => {
                let run = log.run(*id)?;
                run.entry_at(run.base()).map(|entry| entry.received)
            }
        };
        let (aged, others) = std::mem::take(lost)
            .into_iter()
            .partition::<Vec<_>, _>(|id| received(id).is_some_and(|at| self.is_aged(at, now)));
        *lost = others;
        for id in aged {
            self.give_up(id, StreamCode::DELIVERY_TIMEOUT, shared, resets);
        }
    }

    /// Drops datagrams that have left the log.
    pub(super) fn drop_old_datagrams(&mut self, log: &TrackLog, shared: &mut Shared) {
        let oldest = log.oldest_datagram();
        while let Some((&arrival, _)) = self.datagrams.first_key_value()
            && oldest.is_none_or(|oldest| arrival < oldest)
        {
            self.drop_datagram(arrival, shared);
        }
    }

    /// Looks at the oldest object again whose time seems over. True: it is.
    pub(super) fn has_expired(
        &mut self,
        log: &TrackLog,
        id: RunId,
        now: Instant,
        shared: &mut Shared,
    ) -> bool {
        if let Some(run) = log.run(id) {
            self.update_deadline(run, shared);
        }
        self.cursors
            .get(&id)
            .and_then(|cursor| cursor.deadline)
            .is_some_and(|deadline| deadline <= now)
    }
}
