//! What is known of one group: which objects it has, has not, and where it and its subgroups end (draft-14 §2.5,
//! §10.2.1.1, §11.3).

use super::{MalformedTrack, claim::Claim, ids::SubgroupKey, ranges::RangeSet};
use crate::model::{Location, ObjectStatus};

/// What objects of a group told of it. Each set keeps the highest ranges, as many as the caller allows.
#[derive(Debug, Default)]
pub(super) struct GroupFacts {
    /// Objects received, status objects that end something included.
    present: RangeSet,
    /// Objects told to be missing by a prior Object ID gap.
    gaps: RangeSet,
    /// Objects told to be missing by their status.
    nonexistent: RangeSet,
    /// First Object ID that the group does not have.
    end: Option<u64>,
    /// Value of the prior Group ID gap that its objects tell.
    prior_gap: Option<u64>,
}

/// Whether an object was received before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// No.
    New,
    /// Yes: this is a copy.
    Again,
    /// It does not exist, now or since earlier; what comes of it counts for nothing.
    Gone,
}

/// The end of a subgroup: its ID, and the last object before a FIN.
pub(super) type SubgroupEnd = (u64, u64);

impl GroupFacts {
    /// Whether an object may exist beside all that is known. `ended` is the end of its subgroup, if that has come.
    pub(super) fn check(
        &self,
        claim: &Claim,
        ended: Option<SubgroupEnd>,
    ) -> Result<(), MalformedTrack> {
        let at = claim.at;
        let (id, ends) = (at.object, claim.is_end());
        // draft-14 §8.1: what was the end may cease to exist; it stays the end
        let ceases = claim.status == ObjectStatus::DoesNotExist && self.present.contains(id);
        // draft-14 §2.5 case 6
        if let Some(end) = self.end
            && (id > end || ((id == end) != ends && !ceases))
        {
            return Err(MalformedTrack::AfterGroupEnd { at, end });
        }
        if ends {
            self.check_end(at.group, id)?;
        }
        // draft-14 §11.3: what a gap says to be missing may be said to be missing by its status, too, before or after
        let gap = MalformedTrack::Gap { at, what: "object" };
        if self.gaps.contains(id) && claim.status != ObjectStatus::DoesNotExist {
            return Err(gap);
        }
        if let Some(missing) = claim.gaps.objects
            && self.present.intersects(id.saturating_sub(missing), id)
        {
            return Err(gap);
        }
        // draft-14 §11.1
        if let (Some(known), Some(told)) = (self.prior_gap, claim.gaps.groups)
            && known != told
        {
            return Err(MalformedTrack::Gap { at, what: "group" });
        }
        // draft-14 §2.5 case 4
        if let Some((subgroup, last)) = ended
            && id > last
        {
            return Err(MalformedTrack::AfterSubgroupEnd { at, subgroup, last });
        }
        Ok(())
    }

    /// The id after the largest object, those included that were told not to exist.
    pub(super) fn next_object(&self) -> u64 {
        let largest = self.present.max().max(self.nonexistent.max());
        largest.map_or(0, |largest| largest.saturating_add(1))
    }

    /// Whether the group may end before `end`.
    fn check_end(&self, group: u64, end: u64) -> Result<(), MalformedTrack> {
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

    /// Whether `last` may be the last object of the group (draft-14 §10.3.1, §10.4.2).
    pub(super) fn check_last(&self, group: u64, last: u64) -> Result<(), MalformedTrack> {
        // An End of Group object is itself the end.
        let end = match self.end {
            Some(end) if end == last => last,
            _ => last.saturating_add(1),
        };
        self.check_end(group, end)
    }

    /// Notes that `last`, which was checked, is the last object of the group.
    pub(super) fn set_last(&mut self, last: u64) {
        self.end.get_or_insert(last.saturating_add(1));
    }

    /// Whether an object that was checked has come before. One that ceases to exist is noted.
    pub(super) fn see(&mut self, claim: &Claim, max: usize) -> Seen {
        let id = claim.at.object;
        // draft-14 §8.1: once missing, always missing
        if self.nonexistent.contains(id) {
            return Seen::Gone;
        }
        if !self.present.contains(id) {
            return Seen::New;
        }
        if claim.status == ObjectStatus::DoesNotExist {
            self.nonexistent.insert(id, id + 1, max);
            return Seen::Gone;
        }
        Seen::Again
    }

    /// Notes what a checked object tells.
    pub(super) fn learn(&mut self, claim: &Claim, max: usize) {
        let id = claim.at.object;
        if let Some(missing) = claim.gaps.objects {
            self.gaps.insert(id.saturating_sub(missing), id, max);
        }
        if claim.gaps.groups.is_some() {
            self.prior_gap = claim.gaps.groups;
        }
        match claim.status {
            ObjectStatus::DoesNotExist => self.nonexistent.insert(id, id + 1, max),
            ObjectStatus::EndOfGroup | ObjectStatus::EndOfTrack => {
                self.end = Some(id);
                self.present.insert(id, id + 1, max);
            }
            ObjectStatus::Normal => self.present.insert(id, id + 1, max),
        }
    }

    /// An object broke off before it was complete: it may come again, or not be.
    pub(super) fn unlearn(&mut self, id: u64) {
        self.present.remove(id);
    }

    /// Whether it is known of `id` that it was received or does not exist.
    pub(super) fn is_settled(&self, id: u64) -> bool {
        self.present.contains(id) || self.nonexistent.contains(id)
    }

    /// The highest id from `from` up to, not including, `to` of which it is not known that it is somewhere or nowhere.
    pub(super) fn last_unknown(&self, from: u64, to: u64) -> Option<u64> {
        let mut end = to;
        while end > from {
            let id = end - 1;
            match self.sets().iter().find_map(|set| set.start_of(id)) {
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
            match self.sets().iter().find_map(|set| set.end_of(id)) {
                Some(end) => id = end,
                None => return false,
            }
        }
        true
    }

    fn sets(&self) -> [&RangeSet; 3] {
        [&self.present, &self.gaps, &self.nonexistent]
    }

    /// Memory that the sets hold.
    pub(super) fn cost(&self) -> usize {
        self.sets().into_iter().map(RangeSet::cost).sum()
    }

    /// Keeps `max` ranges of each set and the memory for no more.
    pub(super) fn shrink(&mut self, max: usize) {
        for known in [&mut self.present, &mut self.gaps, &mut self.nonexistent] {
            known.shrink(max);
        }
    }
}

/// Whether a stream of a subgroup may end with FIN after `last`, where another one ended after `first` and `largest` is
/// the largest object of all.
pub(super) fn check_finish(
    (group, subgroup): SubgroupKey,
    first: Option<u64>,
    largest: Option<u64>,
    last: u64,
) -> Result<(), MalformedTrack> {
    // draft-14 §2.5 case 5
    if let Some(first) = first.filter(|first| *first != last) {
        return Err(MalformedTrack::TwoSubgroupEnds {
            group,
            subgroup,
            first,
            second: last,
        });
    }
    // draft-14 §2.5 case 4
    match largest.filter(|largest| *largest > last) {
        Some(largest) => Err(MalformedTrack::AfterSubgroupEnd {
            at: Location::new(group, largest),
            subgroup,
            last,
        }),
        None => Ok(()),
    }
}
