//! What is known of one group: which objects it has, has not, and where it ends (draft-14 §2.5, §10.2.1.1, §11.3).

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use bytes::Bytes;

use super::{
    MalformedTrack,
    batch::ObjectMark,
    ids::{RunId, StreamId, SubgroupKey},
    ranges::RangeSet,
};
use crate::model::{Location, ObjectStatus, SubgroupHeader};

/// One group.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Objects received, status objects that end something included.
    pub(super) present: RangeSet,
    /// Objects told to be missing by a prior Object ID gap.
    pub(super) gaps: RangeSet,
    /// Objects told to be missing by their status.
    pub(super) nonexistent: RangeSet,
    /// First Object ID that the group does not have.
    pub(super) end: Option<u64>,
    /// Value of the prior Group ID gap that its objects tell.
    pub(super) prior_gap: Option<u64>,
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
    /// What its knowledge costs, as the log counts it.
    pub(super) counted: usize,
}

/// What a group costs while something of it is kept: itself and its places in the maps of the log.
pub(super) const GROUP_COST: usize = 2 * size_of::<Group>() + 128;

/// What the record of a group costs of which nothing else is kept.
const KNOWN_COST: usize = size_of::<Group>() + 96;

/// One subgroup of a group.
#[derive(Debug, Default)]
pub(super) struct Subgroup {
    /// Oldest first.
    pub(super) runs: Vec<RunId>,
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

impl Subgroup {
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
    /// The id after the largest object, those included that were told not to exist.
    pub(super) fn next_object(&self) -> u64 {
        let largest = self.present.max().max(self.nonexistent.max());
        largest.map_or(0, |largest| largest.saturating_add(1))
    }

    /// What is known costs; with the record itself where nothing is kept of the group, else that counts there.
    fn knowledge(&self) -> usize {
        let ranges = [&self.present, &self.gaps, &self.nonexistent];
        let ranges: usize = ranges.into_iter().map(RangeSet::cost).sum();
        match self.written {
            Some(_) => ranges,
            None => ranges + KNOWN_COST,
        }
    }

    /// Counts its knowledge anew in that of all groups.
    pub(super) fn count(&mut self, known: &mut usize) {
        let now = self.knowledge();
        let before = std::mem::replace(&mut self.counted, now);
        *known = (*known + now).saturating_sub(before);
    }

    /// Whether an object with this header may exist beside all that is known of the group.
    pub(super) fn check(
        &self,
        at: Location,
        subgroup: Option<(u64, &Subgroup)>,
        mark: &ObjectMark,
    ) -> Result<(), MalformedTrack> {
        let ends = matches!(
            mark.status,
            ObjectStatus::EndOfGroup | ObjectStatus::EndOfTrack
        );
        // draft-14 §2.5 case 6
        if let Some(end) = self.end
            && (mark.id > end || (mark.id == end) != ends)
        {
            return Err(MalformedTrack::AfterGroupEnd { at, end });
        }
        if ends {
            self.check_end(at.group, mark.id)?;
        }
        // draft-14 §11.3
        let gap = MalformedTrack::Gap { at, what: "object" };
        if self.gaps.contains(mark.id) {
            return Err(gap);
        }
        if let Some(missing) = mark.gaps.objects
            && self
                .present
                .intersects(mark.id.saturating_sub(missing), mark.id)
        {
            return Err(gap);
        }
        // draft-14 §11.1
        if let (Some(known), Some(told)) = (self.prior_gap, mark.gaps.groups)
            && known != told
        {
            return Err(MalformedTrack::Gap { at, what: "group" });
        }
        // draft-14 §2.5 case 4
        if let Some((subgroup, known)) = subgroup
            && let Some(last) = known.last
            && mark.id > last
        {
            return Err(MalformedTrack::AfterSubgroupEnd { at, subgroup, last });
        }
        Ok(())
    }

    /// Whether the group may end before `end`.
    pub(super) fn check_end(&self, group: u64, end: u64) -> Result<(), MalformedTrack> {
        // draft-14 §2.5 case 6
        let largest = self.present.max().filter(|largest| *largest > end);
        let other = self.end.filter(|known| *known != end);
        match largest.or(other) {
            Some(id) => Err(MalformedTrack::AfterGroupEnd {
                at: Location::new(group, id),
                end,
            }),
            None => Ok(()),
        }
    }

    /// Whether a stream of `subgroup` may end with FIN after `last`.
    pub(super) fn check_finish(
        &self,
        (group, subgroup): SubgroupKey,
        known: &Subgroup,
        last: u64,
        largest: Option<u64>,
        ends_group: bool,
    ) -> Result<(), MalformedTrack> {
        // draft-14 §2.5 case 5
        if let Some(first) = known.last.filter(|first| *first != last) {
            return Err(MalformedTrack::TwoSubgroupEnds {
                group,
                subgroup,
                first,
                second: last,
            });
        }
        // draft-14 §2.5 case 4
        if let Some(largest) = largest.filter(|largest| *largest > last) {
            return Err(MalformedTrack::AfterSubgroupEnd {
                at: Location::new(group, largest),
                subgroup,
                last,
            });
        }
        if ends_group {
            // An End of Group object on the stream is itself the end.
            let end = if self.end == Some(last) {
                last
            } else {
                last.saturating_add(1)
            };
            self.check_end(group, end)?;
        }
        Ok(())
    }

    /// Notes what a checked object tells.
    pub(super) fn learn(&mut self, mark: &ObjectMark, max: usize) {
        if let Some(missing) = mark.gaps.objects {
            self.gaps
                .insert(mark.id.saturating_sub(missing), mark.id, max);
        }
        if mark.gaps.groups.is_some() {
            self.prior_gap = mark.gaps.groups;
        }
        match mark.status {
            ObjectStatus::DoesNotExist => self.nonexistent.insert(mark.id, mark.id + 1, max),
            ObjectStatus::EndOfGroup | ObjectStatus::EndOfTrack => {
                self.end = Some(mark.id);
                self.present.insert(mark.id, mark.id + 1, max);
            }
            ObjectStatus::Normal => self.present.insert(mark.id, mark.id + 1, max),
        }
    }

    /// The highest id from `from` up to, not including, `to` of which it is not known that it is somewhere or nowhere.
    pub(super) fn last_unknown(&self, from: u64, to: u64) -> Option<u64> {
        let mut end = to;
        while end > from {
            let id = end - 1;
            let known = [&self.present, &self.gaps, &self.nonexistent];
            match known.iter().find_map(|set| set.start_of(id)) {
                Some(start) => end = start,
                None => return Some(id),
            }
        }
        None
    }

    /// Whether every id after `previous` and before `next` is somewhere else or nowhere (draft-14 §10.4.3).
    pub(super) fn nothing_between(&self, previous: u64, next: u64) -> bool {
        let mut id = previous.saturating_add(1);
        while id < next {
            let known = [&self.present, &self.gaps, &self.nonexistent]
                .iter()
                .find_map(|set| set.end_of(id));
            match known {
                Some(end) => id = end,
                None => return false,
            }
        }
        true
    }
}
