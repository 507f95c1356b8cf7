//! What is known of a track beyond its groups: how it travels, where it ends, which groups it has and has not (draft-14
//! §2.5, §10.2.1, §11.1).

use super::{MalformedTrack, claim::Claim, ranges::RangeSet};
use crate::model::{Location, ObjectStatus};

/// How the objects of a track travel (draft-14 §10.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardingPreference {
    /// On streams.
    Subgroup,
    /// In datagrams.
    Datagram,
}

/// What objects told of their track. Each set keeps the highest ranges, as many as the caller allows.
#[derive(Debug, Default)]
pub(super) struct TrackFacts {
    preference: Option<ForwardingPreference>,
    largest: Option<Location>,
    end: Option<Location>,
    /// Groups that are not empty, by what was received of them.
    seen_groups: RangeSet,
    /// Groups told to be missing by a prior Group ID gap.
    absent_groups: RangeSet,
}

impl TrackFacts {
    /// How objects travel; `None`: none came yet.
    pub(super) fn preference(&self) -> Option<ForwardingPreference> {
        self.preference
    }

    /// Largest location so far (draft-14 §9.7).
    pub(super) fn largest(&self) -> Option<Location> {
        self.largest
    }

    /// Whether an object may exist beside all that is known.
    pub(super) fn check(
        &self,
        claim: &Claim,
        preference: ForwardingPreference,
    ) -> Result<(), MalformedTrack> {
        let at = claim.at;
        // draft-14 §2.5 case 9
        if self.preference.is_some_and(|known| known != preference) {
            return Err(MalformedTrack::ForwardingPreference { at });
        }
        let is_end = claim.status == ObjectStatus::EndOfTrack;
        // draft-14 §8.1: what was the end may cease to exist; it stays the end
        let ceases = claim.status == ObjectStatus::DoesNotExist;
        // draft-14 §2.5 case 7
        if let Some(end) = self.end
            && (at > end || ((at == end) != is_end && !ceases))
        {
            return Err(MalformedTrack::AfterTrackEnd { at, end });
        }
        if let Some(largest) = self.largest.filter(|largest| is_end && *largest > at) {
            return Err(MalformedTrack::AfterTrackEnd {
                at: largest,
                end: at,
            });
        }
        // draft-14 §11.1
        let covers = |missing: u64| {
            self.seen_groups
                .intersects(at.group.saturating_sub(missing), at.group)
        };
        let is_inside = self.absent_groups.contains(at.group) && !claim.fits_empty_group();
        if is_inside || claim.gaps.groups.is_some_and(covers) {
            return Err(MalformedTrack::Gap { at, what: "group" });
        }
        Ok(())
    }

    /// Notes that an object was begun that was checked.
    pub(super) fn arrive(&mut self, claim: &Claim, preference: ForwardingPreference, max: usize) {
        let at = claim.at;
        self.preference = Some(preference);
        self.largest = self.largest.max(Some(at));
        if !claim.fits_empty_group() {
            self.seen_groups.insert(at.group, at.group + 1, max);
        }
    }

    /// Notes what a checked object tells of others.
    pub(super) fn learn(&mut self, claim: &Claim, max: usize) {
        let at = claim.at;
        if let Some(missing) = claim.gaps.groups {
            let first = at.group.saturating_sub(missing);
            self.absent_groups.insert(first, at.group, max);
        }
        if claim.status == ObjectStatus::EndOfTrack {
            self.end = Some(at);
        }
    }

    /// Memory that the sets hold.
    pub(super) fn cost(&self) -> usize {
        self.seen_groups.cost() + self.absent_groups.cost()
    }
}
