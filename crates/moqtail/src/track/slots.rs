//! The order of a subscription's open streams, as numbers that the transport can compare (draft-14 §7.2).

use std::collections::BTreeMap;

use super::{ids::SubscriptionId, schedule::Rank};

/// Slots go from minus this to this.
const HALF_SLOTS: i32 = 2000;

/// So many have slots of their own, with enough between them that they are not numbered anew all the time.
const MOST: i32 = HALF_SLOTS + HALF_SLOTS / 2;

/// How far apart neighbours are numbered, if there is room, so that others fit between them.
const GAP: i32 = 64;

/// Where a rank was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) slot: i32,
    /// The slots of others have changed.
    pub(super) renumbered: bool,
}

/// Ranks with their slots, both in one order. Beyond so many that there are no slots for them, neighbours share one.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: BTreeMap<Rank, i32>,
    /// How many came since all were numbered.
    new: usize,
}

impl Slots {
    /// Finds a slot for a rank that has none.
    pub(super) fn insert(&mut self, rank: Rank) -> Placed {
        self.new += 1;
        let last = self
            .slots
            .last_key_value()
            .filter(|(last, _)| **last < rank);
        let (before, after) = match last {
            Some((_, slot)) => (Some(*slot), None),
            None => (
                self.slots.range(..rank).next_back().map(|(_, slot)| *slot),
                self.slots.range(rank..).next().map(|(_, slot)| *slot),
            ),
        };
        let slot = match (before, after) {
            (None, None) => 0,
            (Some(before), None) => before + 1,
            (None, Some(after)) => after - 1,
            (Some(before), Some(after)) => before.midpoint(after),
        };
        let fits = slot.abs() <= HALF_SLOTS && Some(slot) != before && Some(slot) != after;
        let slot = slot.clamp(-HALF_SLOTS, HALF_SLOTS);
        self.slots.insert(rank, slot);
        let renumbered = !fits && self.renumber();
        Placed {
            slot: if renumbered { self.get(rank) } else { slot },
            renumbered,
        }
    }

    /// Numbers all anew from the middle on, so that there is room on both sides; not if they are too many for that, or so
    /// many that none fits between two, and it was done just now.
    fn renumber(&mut self) -> bool {
        let count = i32::try_from(self.slots.len()).unwrap_or(i32::MAX);
        let gap = (HALF_SLOTS / count.max(1)).clamp(1, GAP);
        if count > MOST || (gap == 1 && self.new < self.slots.len() / 8) {
            return false;
        }
        self.new = 0;
        let first = -(count / 2 * gap);
        for (at, slot) in (0..).zip(self.slots.values_mut()) {
            *slot = first + at * gap;
        }
        true
    }

    /// The slot of a rank.
    pub(super) fn get(&self, rank: Rank) -> i32 {
        self.slots.get(&rank).copied().unwrap_or_default()
    }

    pub(super) fn remove(&mut self, rank: Rank) {
        self.slots.remove(&rank);
    }

    /// All ranks with their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Rank, i32)> {
        self.slots.iter().map(|(rank, slot)| (*rank, *slot))
    }
}

/// The transport's priority for a stream: by subscriber and publisher priority, then by `slot`, where smaller slots go
/// first. Streams of neighbouring subscriptions never have the same one: where equals are waiting, QUIC slices every
/// packet between them.
pub(super) fn transport_priority(
    subscription: SubscriptionId,
    subscriber: u8,
    publisher: u8,
    slot: i32,
) -> i32 {
    let urgency = i32::from(i16::MAX) - i32::from(u16::from_be_bytes([subscriber, publisher]));
    let slot = slot.clamp(-HALF_SLOTS, HALF_SLOTS) + HALF_SLOTS;
    let place = slot * NEIGHBOURS + (subscription.0 % NEIGHBOURS as u64) as i32;
    // One less than the most, which is the control stream's.
    (urgency << u16::BITS) + (i32::from(u16::MAX) - 1 - place)
}

/// Subscriptions whose streams are told from each other in one slot.
const NEIGHBOURS: i32 = 16;

#[cfg(test)]
mod tests {
    use super::{
        super::{ids::RunId, schedule::Item},
        *,
    };
    use crate::model::GroupOrder;

    fn rank(group: u64) -> Rank {
        Rank::new(
            0,
            GroupOrder::Ascending,
            group,
            (0, 0),
            Item::Run(RunId(group)),
        )
    }

    fn is_ordered(slots: &Slots) -> bool {
        let values = slots.slots.values();
        values.clone().is_sorted_by(|a, b| a < b)
            && values.clone().all(|slot| slot.abs() <= HALF_SLOTS)
    }

    fn insert_all(slots: &mut Slots, groups: impl Iterator<Item = u64>) -> usize {
        let mut renumbered = 0;
        for group in groups {
            renumbered += usize::from(slots.insert(rank(group)).renumbered);
            assert!(is_ordered(slots), "{slots:?}");
        }
        renumbered
    }

    /// S7.2-03.
    #[test]
    fn slots_stand_in_the_order_of_ranks_whatever_the_order_of_opening() {
        for step in [1, 7, 389, 998] {
            let mut slots = Slots::default();
            insert_all(&mut slots, (0..999).map(|at| at * step % 999));
        }
    }

    #[test]
    fn streams_that_stay_open_do_not_have_all_numbered_anew_for_each_new_one() {
        let mut slots = Slots::default();
        insert_all(&mut slots, 0..500);
        let mut renumbered = 0;
        for group in 500..5500 {
            slots.remove(rank(group - 500));
            renumbered += insert_all(&mut slots, group..=group);
        }
        assert!(renumbered <= 5000 / 500, "{renumbered}");
    }

    #[test]
    fn streams_that_open_between_others_do_not_have_all_numbered_anew_for_each() {
        let mut slots = Slots::default();
        insert_all(&mut slots, (0..1500).map(|at| 2 * at));
        let between = (0..500).map(|at| 2 * (at * 389 % 1500) + 1);
        let renumbered = between.filter(|group| slots.insert(rank(*group)).renumbered);
        assert!(renumbered.count() < 10);
        assert!(slots.slots.values().is_sorted());
    }

    #[test]
    fn more_streams_than_slots_share_the_last_ones() {
        let mut slots = Slots::default();
        let groups = 0..3 * HALF_SLOTS as u64;
        let renumbered = groups.filter(|group| slots.insert(rank(*group)).renumbered);
        assert!(renumbered.count() < 10);
        assert!(slots.slots.values().is_sorted());
        assert_eq!(slots.get(rank(3 * HALF_SLOTS as u64 - 1)), HALF_SLOTS);
    }

    /// S7.1-01: 0 is the most urgent, and larger numbers go first in the transport.
    #[test]
    fn transport_priorities_keep_the_order() {
        let order = [
            transport_priority(SubscriptionId(0), 0, 0, i32::MIN),
            transport_priority(SubscriptionId(1), 0, 0, i32::MIN),
            transport_priority(SubscriptionId(1), 0, 0, 0),
            transport_priority(SubscriptionId(2), 0, 0, 0),
            transport_priority(SubscriptionId(1), 0, 0, 1),
            transport_priority(SubscriptionId(2), 0, 0, i32::MAX),
            transport_priority(SubscriptionId(1), 0, 1, i32::MIN),
            transport_priority(SubscriptionId(1), 1, 0, 0),
            transport_priority(SubscriptionId(1), 127, 255, 0),
            transport_priority(SubscriptionId(1), 128, 0, 0),
            transport_priority(SubscriptionId(1), 255, 255, 0),
            transport_priority(SubscriptionId(2), 255, 255, i32::MAX),
        ];
        assert!(order.is_sorted_by(|a, b| a > b), "{order:?}");
        // The control stream goes before all.
        assert!(order[0] < i32::MAX);
    }
}
