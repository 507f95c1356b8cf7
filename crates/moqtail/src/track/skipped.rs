//! What of a track one subscriber was not handed.

use super::TrackLog;

/// The highest group of which something that belongs to the subscription may not have been handed over. Which subgroup it was of is
/// not kept: few come on several streams.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Skipped(Option<u64>);

impl Skipped {
    /// Something of `group` is not handed over.
    pub(super) fn note(&mut self, group: u64) {
        self.0 = self.0.max(Some(group));
    }

    /// It is not known of which group something is not handed over.
    pub(super) fn note_any(&mut self, log: &TrackLog) {
        if let Some(largest) = log.largest() {
            self.note(largest.group);
        }
    }

    /// Whether something of `group` may be among it.
    pub(super) fn may_be_in(self, group: u64) -> bool {
        self.0 >= Some(group)
    }
}
