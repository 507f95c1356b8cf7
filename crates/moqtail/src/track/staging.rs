//! Taking bytes out of the log ahead of their turn, so that many runs cost one look at it.

use super::{
    DeliveryLimits, TrackLog,
    cursor::{Cursor, Lost},
    ids::RunId,
    run::Run,
    schedule::Item,
    subscription::{Shared, Subscription},
};

impl Subscription {
    /// Takes bytes out of the log for a run whose turn has come, room or not, and then for those that come next, so that
    /// the log is not asked for each.
    pub(super) fn take_out(
        &mut self,
        log: &TrackLog,
        id: RunId,
        shared: &mut Shared,
    ) -> Result<(), Lost> {
        let Some(cursor) = self.cursors.get_mut(&id) else {
            return Ok(());
        };
        let Some(run) = log.run(id) else {
            return if cursor.is_lost(None) {
                Err(Lost)
            } else {
                Ok(())
            };
        };
        shared.staged += cursor.stage(run, shared.limits.quantum_bytes.max(1))?;
        self.update_deadline(run, shared);
        let Shared {
            limits,
            schedule,
            staged,
            ..
        } = shared;
        for rank in schedule.of(self.id).take(NEXT_RUNS) {
            if *staged >= limits.in_flight_bytes {
                break;
            }
            if let Item::Run(id) = rank.item
                && let Some(cursor) = self.cursors.get_mut(&id)
                && let Some(run) = log.run(id)
            {
                // One that is lost is found to be so when its turn has come.
                let _ = cursor.stage_within(run, limits, staged);
            }
        }
        Ok(())
    }
}

impl Cursor {
    /// Takes bytes of its run out of the log if it is scheduled, as long as the session's budget has room. Without room it
    /// is served from the log when its turn has come.
    pub(super) fn stage_within(
        &mut self,
        run: &Run,
        limits: &DeliveryLimits,
        staged: &mut usize,
    ) -> Result<(), Lost> {
        let room = limits.in_flight_bytes.saturating_sub(*staged);
        if room > 0 && self.lane.is_some() {
            let most = self.staged_len().saturating_add(room);
            *staged += self.stage(run, limits.quantum_bytes.min(most).max(1))?;
        }
        Ok(())
    }
}

/// Runs for which bytes are taken out of the log along with the one whose turn has come.
const NEXT_RUNS: usize = 64;
