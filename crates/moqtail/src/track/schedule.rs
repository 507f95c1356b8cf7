//! What is sent next (draft-14 §7.2).

use std::collections::{BTreeMap, BTreeSet};

use super::ids::{RunId, SubscriptionId};
use crate::model::GroupOrder;

/// Something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    Run(RunId),
    /// A datagram, by its arrival.
    Datagram(u64),
}

/// Order among the items of one subscription; the smallest is the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) publisher_priority: u8,
    group: u64,
    /// Subgroup ID, or Object ID of a datagram.
    pub(super) subgroup: u64,
    /// First object of a run: of one subgroup on several streams the earlier one is sent first.
    first: u64,
    pub(super) item: Item,
}

impl Rank {
    pub(super) fn new(
        publisher_priority: u8,
        order: GroupOrder,
        group: u64,
        (subgroup, first): (u64, u64),
        item: Item,
    ) -> Self {
        Self {
            publisher_priority,
            group: match order {
                GroupOrder::Ascending => group,
                GroupOrder::Descending => u64::MAX - group,
            },
            subgroup,
            first,
            item,
        }
    }
}

/// Where an item waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// It can be sent right away.
    Open,
    /// It needs a stream of its own first.
    Unopened,
}

/// Order among subscriptions: each stands for its most urgent item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    subscriber_priority: u8,
    publisher_priority: u8,
    /// Equals take turns: who was served longest ago comes first.
    turn: u64,
    subscription: SubscriptionId,
}

const LANES: [Lane; 2] = [Lane::Open, Lane::Unopened];

/// One of something for each lane.
#[derive(Debug, Default)]
struct Lanes<T> {
    open: T,
    unopened: T,
}

impl<T> Lanes<T> {
    fn of(&mut self, lane: Lane) -> &mut T {
        match lane {
            Lane::Open => &mut self.open,
            Lane::Unopened => &mut self.unopened,
        }
    }
}

/// What one subscription has to send, and how it stands among the others.
#[derive(Debug, Default)]
struct Entry {
    priority: u8,
    turn: u64,
    ranks: Lanes<BTreeSet<Rank>>,
}

impl Entry {
    fn head(&mut self, subscription: SubscriptionId, lane: Lane) -> Option<Head> {
        Some(Head {
            subscriber_priority: self.priority,
            publisher_priority: self.ranks.of(lane).first()?.publisher_priority,
            turn: self.turn,
            subscription,
        })
    }
}

fn replace(heads: &mut BTreeSet<Head>, before: Option<Head>, after: Option<Head>) {
    if before != after {
        before.map(|head| heads.remove(&head));
        after.map(|head| heads.insert(head));
    }
}

/// All items of a session that can be sent.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    entries: BTreeMap<SubscriptionId, Entry>,
    heads: Lanes<BTreeSet<Head>>,
    turns: u64,
}

impl Schedule {
    /// Changes what a subscription has to send in a lane.
    fn change(
        &mut self,
        subscription: SubscriptionId,
        lane: Lane,
        f: impl FnOnce(&mut BTreeSet<Rank>),
    ) {
        let Some(entry) = self.entries.get_mut(&subscription) else {
            return;
        };
        let before = entry.head(subscription, lane);
        f(entry.ranks.of(lane));
        let after = entry.head(subscription, lane);
        replace(self.heads.of(lane), before, after);
    }

    /// Changes how a subscription stands among the others.
    fn restate(&mut self, subscription: SubscriptionId, f: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.entries.get_mut(&subscription) else {
            return;
        };
        let before = LANES.map(|lane| entry.head(subscription, lane));
        f(entry);
        for (lane, before) in LANES.into_iter().zip(before) {
            let after = entry.head(subscription, lane);
            replace(self.heads.of(lane), before, after);
        }
    }

    /// Subscriptions, whether they have something to send or not.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds a subscription, or changes its priority.
    pub(super) fn set_priority(&mut self, subscription: SubscriptionId, priority: u8) {
        self.entries.entry(subscription).or_default();
        self.restate(subscription, |entry| entry.priority = priority);
    }

    /// The subscription had its turn.
    pub(super) fn served(&mut self, subscription: SubscriptionId) {
        // Who is alone has every turn.
        if self.entries.len() > 1 {
            self.turns += 1;
            let turn = self.turns;
            self.restate(subscription, |entry| entry.turn = turn);
        }
    }

    pub(super) fn insert(&mut self, subscription: SubscriptionId, lane: Lane, rank: Rank) {
        self.change(subscription, lane, |ranks| {
            ranks.insert(rank);
        });
    }

    pub(super) fn remove(&mut self, subscription: SubscriptionId, lane: Lane, rank: Rank) {
        self.change(subscription, lane, |ranks| {
            ranks.remove(&rank);
        });
    }

    /// Forgets a subscription.
    pub(super) fn drop_subscription(&mut self, subscription: SubscriptionId) {
        self.restate(subscription, |entry| entry.ranks = Lanes::default());
        self.entries.remove(&subscription);
    }

    /// The most urgent item; those that need a stream only if there is `credit`.
    pub(super) fn first(&self, credit: bool) -> Option<(SubscriptionId, Lane, Rank)> {
        let open = self.heads.open.first();
        let unopened = self.heads.unopened.first().filter(|_| credit);
        let first = |head: &Head, lane: Lane| {
            let ranks = &self.entries.get(&head.subscription)?.ranks;
            let rank = match lane {
                Lane::Open => ranks.open.first(),
                Lane::Unopened => ranks.unopened.first(),
            };
            Some((head.subscription, lane, *rank?))
        };
        match (open, unopened) {
            (None, None) => None,
            (Some(open), None) => first(open, Lane::Open),
            (None, Some(unopened)) => first(unopened, Lane::Unopened),
            (Some(a), Some(b)) => {
                let (open, unopened) = (first(a, Lane::Open)?, first(b, Lane::Unopened)?);
                let order = match a.subscription == b.subscription {
                    true => open.2.cmp(&unopened.2),
                    false => a.cmp(b),
                };
                Some(if order.is_gt() { unopened } else { open })
            }
        }
    }

    /// The items of one subscription, the most urgent first within each lane.
    pub(super) fn of(&self, subscription: SubscriptionId) -> impl Iterator<Item = Rank> + '_ {
        let entry = self.entries.get(&subscription);
        entry
            .into_iter()
            .flat_map(|entry| entry.ranks.open.iter().chain(&entry.ranks.unopened))
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SubscriptionId = SubscriptionId(1);
    const B: SubscriptionId = SubscriptionId(2);

    fn run(priority: u8, order: GroupOrder, group: u64, subgroup: u64) -> Rank {
        let item = Item::Run(RunId(group * 10 + subgroup));
        Rank::new(priority, order, group, (subgroup, 0), item)
    }

    /// Takes everything, each item as a turn.
    fn drain(schedule: &mut Schedule) -> Vec<(u64, Rank)> {
        let mut all = Vec::new();
        while let Some((subscription, lane, rank)) = schedule.first(true) {
            schedule.remove(subscription, lane, rank);
            schedule.served(subscription);
            all.push((subscription.0, rank));
        }
        all
    }

    /// S7.2-01 to S7.2-04.
    #[test]
    fn the_rules_of_the_draft_decide_in_their_order() {
        let mut schedule = Schedule::default();
        schedule.set_priority(A, 10);
        schedule.set_priority(B, 20);
        let asc = GroupOrder::Ascending;
        let expected = [
            (1, run(1, asc, 9, 9)),
            (1, run(5, asc, 1, 0)),
            (1, run(5, asc, 1, 1)),
            (1, run(5, asc, 2, 0)),
            (2, run(0, asc, 0, 0)),
        ];
        for (at, (subscription, rank)) in expected.iter().rev().enumerate() {
            let lane = if at % 2 == 0 {
                Lane::Open
            } else {
                Lane::Unopened
            };
            schedule.insert(SubscriptionId(*subscription), lane, *rank);
        }
        assert_eq!(drain(&mut schedule), expected);
    }

    /// S7.2-03.
    #[test]
    fn descending_puts_the_newest_group_first() {
        let mut schedule = Schedule::default();
        schedule.set_priority(A, 0);
        let desc = GroupOrder::Descending;
        for group in [1, 3, 2] {
            schedule.insert(A, Lane::Open, run(0, desc, group, 0));
        }
        let groups: Vec<_> = drain(&mut schedule);
        assert_eq!(groups, [3, 2, 1].map(|group| (1, run(0, desc, group, 0))));
    }

    /// S7.2-06.
    #[test]
    fn equals_take_turns() {
        let mut schedule = Schedule::default();
        schedule.set_priority(A, 0);
        schedule.set_priority(B, 0);
        let asc = GroupOrder::Ascending;
        for group in 0..3 {
            schedule.insert(A, Lane::Open, run(0, asc, group, 0));
            schedule.insert(B, Lane::Unopened, run(0, asc, 100 + group, 0));
        }
        let order: Vec<_> = drain(&mut schedule).iter().map(|(who, _)| *who).collect();
        assert_eq!(order, [1, 2, 1, 2, 1, 2]);
    }

    #[test]
    fn without_credit_only_open_streams_are_served() {
        let mut schedule = Schedule::default();
        schedule.set_priority(A, 0);
        schedule.set_priority(B, 0);
        let asc = GroupOrder::Ascending;
        schedule.insert(A, Lane::Unopened, run(0, asc, 0, 0));
        assert_eq!(schedule.first(false), None);
        schedule.insert(B, Lane::Open, run(9, asc, 0, 0));
        assert_eq!(schedule.first(false).map(|first| first.0), Some(B));
        assert_eq!(schedule.first(true).map(|first| first.0), Some(A));
        schedule.drop_subscription(A);
        schedule.drop_subscription(B);
        schedule.served(B);
        schedule.insert(B, Lane::Open, run(9, asc, 0, 0));
        assert_eq!(schedule.first(true), None);
        assert!(schedule.entries.is_empty());
        assert!(schedule.heads.open.is_empty() && schedule.heads.unopened.is_empty());
    }
}
