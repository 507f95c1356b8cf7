//! What a log is charged with: all that it keeps, knows and pins.

use std::time::Duration;

use super::{
    PublisherId,
    group::{Group, Subgroup},
    ids::{RunId, StreamId, SubgroupKey},
    log::TrackLog,
    stream::StreamState,
};

/// What a log costs besides what it keeps: itself, its lists, and a leaf in each of its maps.
const LOG_COST: usize = size_of::<TrackLog>()
    + leaf::<u64, Box<Group>>()
    + leaf::<SubgroupKey, Subgroup>()
    + leaf::<u64, u64>()
    + leaf::<PublisherId, Option<Duration>>()
    + 512;

/// What a map costs that holds anything at all.
const fn leaf<K, V>() -> usize {
    11 * (size_of::<K>() + size_of::<V>()) + 32
}

/// What a stream that feeds a log costs: its place there and its decoder, but for what it brings.
const STREAM_COST: usize = 1024;

impl TrackLog {
    /// All memory of the log: what it keeps, what waits, what it knows, and the streams that feed it.
    pub fn footprint(&self) -> usize {
        LOG_COST
            + self.bytes
            + self.known
            + self.held_bytes
            + self.waiting_bytes
            + self.facts.cost()
            + self.runs.cost()
            + self.left.cost()
            + self.streams.len() * STREAM_COST
    }

    /// How much of the footprint stays whatever leaves the log, because streams that are open need it.
    pub fn pinned(&self) -> usize {
        self.held_bytes + self.waiting_bytes + self.slack
    }

    /// Counts what waits of a stream that may not be entered yet: `bytes` now.
    pub(super) fn note_waiting(&mut self, stream: StreamId, bytes: usize) {
        if let Some(state) = self.streams.get_mut(&stream) {
            let before = std::mem::replace(&mut state.waiting, bytes);
            self.waiting_bytes = (self.waiting_bytes + bytes).saturating_sub(before);
        }
    }

    /// Forgets a stream.
    pub(super) fn remove_stream(&mut self, stream: StreamId) -> Option<StreamState> {
        self.note_waiting(stream, 0);
        self.streams.remove(&stream)
    }

    /// Counts anew what is known of a group.
    pub(super) fn recount(&mut self, id: u64) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.count(&mut self.known);
        }
    }

    /// Forgets a group.
    pub(super) fn forget(&mut self, id: u64) {
        if let Some(group) = self.groups.remove(&id) {
            self.known = self.known.saturating_sub(group.counted);
        }
    }

    /// Notes that pieces which cost `cost` were added to a run.
    pub(super) fn charge(&mut self, group: u64, id: RunId, pieces: usize, cost: usize) {
        self.bytes += cost;
        self.fresh += pieces;
        if pieces > 0 {
            let group = self.note_write(group);
            group.pieces.extend(std::iter::repeat_n(id, pieces));
        }
    }

    /// Notes that something left that cost `cost`.
    pub(super) fn uncharge(&mut self, cost: usize) {
        debug_assert!(cost <= self.bytes, "more leaves than was counted");
        self.bytes = self.bytes.saturating_sub(cost);
    }
}
