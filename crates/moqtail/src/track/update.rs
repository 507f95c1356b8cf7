//! What SUBSCRIBE_UPDATE changes in a subscription that runs (draft-14 §9.10).

use std::time::Instant;

use super::{
    TrackLog, UpdateError,
    filter::Range,
    ids::RunId,
    subscription::{Resets, Shared, Subscription},
};
use crate::model::{Location, StreamCode};

impl Subscription {
    /// The range that SUBSCRIBE_UPDATE asks for. It always names a start: where only a relative filter has given one so
    /// far, that or any before it means that nothing changes, because the subscriber need not know it.
    pub(super) fn narrowed(
        &mut self,
        start: Location,
        end_group: Option<u64>,
    ) -> Result<Range, UpdateError> {
        let kept = self.anchor.is_some_and(|anchor| start <= anchor);
        let start = if kept { self.range.start } else { start };
        let range = self.range.narrow(start, end_group)?;
        self.anchor = self.anchor.filter(|_| kept);
        Ok(range)
    }

    /// Applies a narrower range. What it excludes is dropped at the next look at the log, which comes before anything is
    /// sent: however many updates there are in one turn, this is done once.
    pub(super) fn narrow(&mut self, range: Range) {
        self.is_narrowed |= std::mem::replace(&mut self.range, range) != range;
    }

    /// Drops what a narrower range excludes; what is left of a run is looked at anew. Returns the runs of which something
    /// that the range has left the log meanwhile. Looks at each cursor: those that wait are bounded by `max_waiting_runs`,
    /// the others by the streams that publishers have open.
    pub(super) fn drop_excluded(
        &mut self,
        log: &TrackLog,
        shared: &mut Shared,
        now: Instant,
        resets: &mut Resets,
    ) -> Vec<RunId> {
        let (range, mut skipped) = (self.range, self.skipped);
        let excluded: Vec<_> = self
            .cursors
            .iter()
            .filter_map(|(id, cursor)| {
                let (run, least) = (log.run(*id), range.first_object(cursor.group));
                if !range.has_group(cursor.group) {
                    return Some((*id, false));
                }
                let missed = cursor.missed_from(least, run);
                let left = missed.is_some();
                let missed = missed.is_some_and(|received| !self.is_aged(received, now));
                // What is taken out already is better delivered with what is too much of it (draft-14 §9.10).
                if missed && !cursor.is_lost(run) {
                    return None;
                }
                if !cursor.is_below(least, run) {
                    return None;
                }
                if left {
                    skipped.note(cursor.group);
                }
                Some((*id, missed))
            })
            .collect();
        self.skipped = skipped;
        let mut lost = Vec::new();
        for (id, mut missed) in excluded {
            // draft-14 §10.4.3: the rest of the subgroup is not delivered on this stream
            self.drop_cursor(id, StreamCode::CANCELLED, shared, resets);
            if let Some(run) = log.run(id).filter(|_| self.forward) {
                missed |= self.note(run, shared).is_err();
            }
            lost.extend(missed.then_some(id));
        }
        let outside: Vec<_> = self
            .datagrams
            .iter()
            .filter(|(_, datagram)| {
                let at = datagram.at;
                !range.has_group(at.group) || at.object < range.first_object(at.group)
            })
            .map(|(arrival, _)| *arrival)
            .collect();
        for arrival in outside {
            self.drop_datagram(arrival, shared);
        }
        lost
    }

    /// Changes the Forward State (draft-14 §5.1).
    pub(super) fn set_forward(
        &mut self,
        forward: bool,
        log: &TrackLog,
        shared: &mut Shared,
    ) -> Resets {
        let mut resets = Resets::new();
        if self.forward == forward {
            return resets;
        }
        self.forward = forward;
        if forward {
            self.frontier = log.arrivals;
            self.seen = log.last_change();
            self.seen_arrivals = log.arrivals;
            self.evictions = log.evictions();
            self.skipped.note_any(log);
        } else {
            resets = self.drop_all(StreamCode::CANCELLED, shared);
        }
        resets
    }
}
