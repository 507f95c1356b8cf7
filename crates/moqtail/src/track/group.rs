//! What the log keeps of one group and of its subgroups.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use bytes::Bytes;

use super::{
    batch::ObjectMark,
    group_facts::GroupFacts,
    ids::{RunId, StreamId},
};
use crate::model::SubgroupHeader;

/// One group.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) facts: GroupFacts,
    /// When it was last written, in the order of writes of the track; `None`: nothing of it is kept.
    pub(super) written: Option<u64>,
    /// When that was, as the log was told the time.
    pub(super) touched: Option<Instant>,
    /// The same in the order of writes of all tracks that share a budget.
    pub(super) tick: u64,
    /// In the list of groups of which only knowledge is left.
    pub(super) remembered: bool,
    /// Runs in the order in which their pieces came.
    pub(super) pieces: VecDeque<RunId>,
    /// Datagram objects by arrival.
    pub(super) datagrams: VecDeque<u64>,
    /// What had been in runs of subgroups of which nothing is left.
    gone: Departed,
    /// The first objects of those among them that had not come to their ends.
    unfinished: VecDeque<(u64, u64)>,
    /// What its knowledge costs, as the log counts it.
    pub(super) counted: usize,
}

/// The first and the last object of runs that have left.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Departed(Option<(u64, u64)>);

/// What a group costs while something of it is kept: itself and its places in the maps of the log.
pub(super) const GROUP_COST: usize = 2 * size_of::<Group>() + 128;

/// Subgroups that are remembered of a group because they had not come to their ends.
const UNFINISHED_SUBGROUPS: usize = 16;

/// What the record of a group costs of which nothing else is kept.
const KNOWN_COST: usize = size_of::<Group>() + 96;

/// One subgroup of a group.
#[derive(Debug, Default)]
pub(super) struct Subgroup {
    /// Oldest first.
    pub(super) runs: Vec<RunId>,
    /// What had been in runs of it.
    pub(super) gone: Departed,
    /// The first object that is known of it.
    pub(super) lowest: Option<u64>,
    /// The run that ends with the last object.
    pub(super) finished: Option<RunId>,
    /// The last object before a FIN.
    pub(super) last: Option<u64>,
    /// Streams that brought objects and are open.
    pub(super) streams: usize,
    /// Objects that wait until a run can take them.
    pub(super) held: BTreeMap<HeldKey, Held>,
    /// More waits than may.
    pub(super) overflow: bool,
}

/// An object and the stream that brought it.
pub(super) type HeldKey = (u64, StreamId);

/// An object of a stream that does not lead its subgroup.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) header: SubgroupHeader,
    pub(super) mark: ObjectMark,
    /// The object before it on its stream.
    pub(super) previous: Option<u64>,
    pub(super) received: Instant,
    pub(super) arrival: u64,
    pub(super) chunks: Vec<Bytes>,
    pub(super) len: u64,
}

/// What a held object costs besides its bytes.
pub(super) const HELD_COST: usize = 2 * size_of::<Held>();

impl Departed {
    /// A run leaves that had objects from `first` to `last`.
    pub(super) fn note(&mut self, first: u64, last: u64) {
        let (from, to) = self.0.unwrap_or((first, last));
        self.0 = Some((from.min(first), to.max(last)));
    }

    /// Whether an object after `previous` and before `next` may have been among them.
    fn may_be_between(self, previous: u64, next: u64) -> bool {
        self.0
            .is_some_and(|(first, last)| first < next && previous < last)
    }
}

impl Subgroup {
    /// Whether an object after `previous` and before `next` may have been in a run that has left, also in one of an earlier
    /// time of this subgroup in `group`.
    pub(super) fn may_have_had_between(&self, group: &Group, previous: u64, next: u64) -> bool {
        [self.gone, group.gone]
            .into_iter()
            .any(|gone| gone.may_be_between(previous, next))
    }

    /// Whether nothing of it is left.
    pub(super) fn is_spent(&self) -> bool {
        self.runs.is_empty() && self.streams == 0 && self.held.is_empty()
    }
}

impl Held {
    pub(super) fn is_complete(&self) -> bool {
        self.len == self.mark.head_len + self.mark.payload_len
    }
}

impl Group {
    /// A subgroup goes of which nothing is left but what had been in it.
    pub(super) fn forget_subgroup(&mut self, id: u64, subgroup: &Subgroup) {
        if let Some((first, last)) = subgroup.gone.0 {
            self.gone.note(first, last);
        }
        if let Some(lowest) = subgroup.lowest.filter(|_| subgroup.last.is_none()) {
            self.unfinished.retain(|(known, _)| *known != id);
            if self.unfinished.len() >= UNFINISHED_SUBGROUPS {
                self.unfinished.pop_front();
            }
            self.unfinished.push_back((id, lowest));
        }
    }

    /// The first object of a subgroup that had been forgotten before it came to its end.
    pub(super) fn lowest_of(&self, subgroup: u64) -> Option<u64> {
        let mut known = self.unfinished.iter();
        let known = known.find(|(id, _)| *id == subgroup);
        known.map(|(_, lowest)| *lowest)
    }

    /// What is known costs; with the record itself where nothing is kept of the group, else that counts there.
    fn knowledge(&self) -> usize {
        let facts = self.facts.cost() + self.unfinished.capacity() * size_of::<(u64, u64)>();
        match self.written {
            Some(_) => facts,
            None => facts + KNOWN_COST,
        }
    }

    /// Counts its knowledge anew in that of all groups.
    pub(super) fn count(&mut self, known: &mut usize) {
        let now = self.knowledge();
        let before = std::mem::replace(&mut self.counted, now);
        *known = (*known + now).saturating_sub(before);
    }
}
