//! What is done about a subscription that is too far behind: in bytes, in runs that wait, or of what has left the log.

use super::{
    TrackLog,
    ids::RunId,
    subscription::{Outcome, Shared, Subscription},
};
use crate::model::{PublishDoneCode, StreamCode};

impl Subscription {
    /// Whether no more of its runs may wait: the session has all that it may have, and this subscription its share.
    pub(super) fn is_crowded(&self, shared: &Shared) -> bool {
        let max = shared.limits.max_waiting_runs;
        shared.waiting >= max && self.waiting.saturating_mul(shared.schedule.len()) >= max
    }

    /// How far it is behind: what waits between the object that is handed over and the newest one. Who waits for nothing
    /// else keeps up, however large these two are.
    fn lag(&self, log: &TrackLog) -> u64 {
        let newest = self.cursors.values().map(|cursor| cursor.newest()).max();
        let next = self
            .cursors
            .iter()
            .filter_map(|(id, cursor)| cursor.next_object(log.run(*id)?))
            .filter(|(arrival, _)| newest.is_none_or(|newest| newest.0 != *arrival))
            .map(|(_, waiting)| waiting)
            .max();
        let newest = newest.map_or(0, |(_, waiting)| waiting);
        self.behind
            .saturating_sub(newest)
            .saturating_sub(next.unwrap_or_default())
    }

    /// Applies what is done about a subscription that is too far behind.
    pub(super) fn catch_up(
        &mut self,
        log: &TrackLog,
        lost: Vec<RunId>,
        missed: bool,
        shared: &mut Shared,
        out: &mut Outcome,
    ) {
        let lag_bytes = shared.limits.lag_bytes;
        let left_out = std::mem::take(&mut self.left_out);
        let crowded = !left_out.is_empty();
        let is_behind = self.behind > lag_bytes && self.lag_looks.allow(self.cursors.len());
        let too_far = crowded || (is_behind && self.lag(log) > lag_bytes);
        if lost.is_empty() && !missed && !too_far {
            return;
        }
        // draft-14 §9.2.1.2: without a timeout nothing may be left out
        if self.timeout.is_none() && !shared.limits.skip_groups {
            let reason = match crowded {
                true => "the subscriber takes too few of the streams",
                false => "the subscriber reads too slowly",
            };
            out.end = Some((PublishDoneCode::TOO_FAR_BEHIND, reason.to_owned()));
            return;
        }
        let code = match self.timeout {
            Some(_) => StreamCode::DELIVERY_TIMEOUT,
            None => StreamCode::CANCELLED,
        };
        for id in lost {
            self.give_up(id, code, shared, &mut out.resets);
        }
        if !too_far {
            return;
        }
        let left_out: Vec<_> = left_out.iter().filter_map(|id| log.run(*id)).collect();
        let groups = self.cursors.values().map(|cursor| cursor.group);
        let newest = groups.chain(left_out.iter().map(|run| run.group())).max();
        let (kept, older): (Vec<_>, Vec<_>) = self
            .cursors
            .iter()
            .map(|(id, cursor)| (*id, Some(cursor.group) == newest))
            .partition(|(_, newest)| *newest);
        // The newest group alone may be too much.
        let alone = older.is_empty();
        for (id, _) in if alone { kept } else { older } {
            self.give_up(id, code, shared, &mut out.resets);
        }
        for run in left_out {
            // There is room for the newest group now.
            if !alone && Some(run.group()) == newest && !self.is_crowded(shared) {
                if self.note(run, shared).is_err() {
                    self.give_up(run.id, code, shared, &mut out.resets);
                }
            } else if run.is_open() {
                self.done.insert(run.id);
            }
        }
    }
}
