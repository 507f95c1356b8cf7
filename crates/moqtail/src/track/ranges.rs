//! Sets of ids that mostly come in rows.

/// Ids as ranges that neither touch nor overlap, ascending. Keeps a bounded number of them and forgets the lowest.
#[derive(Clone, Debug, Default)]
pub(super) struct RangeSet {
    /// Start, and the id after the last.
    ranges: Vec<(u64, u64)>,
}

impl RangeSet {
    /// Index of the first range that ends after `id`.
    fn find(&self, id: u64) -> usize {
        match self.ranges.last() {
            Some(&(start, end)) if id >= start => self.ranges.len() - usize::from(id < end),
            _ => self.ranges.partition_point(|&(_, end)| end <= id),
        }
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.end_of(id).is_some()
    }

    /// The id after the row that `id` stands in; `None`: `id` is not in the set.
    pub(super) fn end_of(&self, id: u64) -> Option<u64> {
        let &(start, end) = self.ranges.get(self.find(id))?;
        (start <= id).then_some(end)
    }

    /// The first id of the row that `id` stands in; `None`: `id` is not in the set.
    pub(super) fn start_of(&self, id: u64) -> Option<u64> {
        let &(start, _) = self.ranges.get(self.find(id))?;
        (start <= id).then_some(start)
    }

    /// Whether an id from `from` up to, not including, `to` is in the set.
    pub(super) fn intersects(&self, from: u64, to: u64) -> bool {
        from < to
            && self
                .ranges
                .get(self.find(from))
                .is_some_and(|&(start, _)| start < to)
    }

    /// The largest id.
    pub(super) fn max(&self) -> Option<u64> {
        self.ranges.last().map(|&(_, end)| end - 1)
    }

    /// Adds the ids from `from` up to, not including, `to`; beyond `max` ranges the lowest are forgotten.
    pub(super) fn insert(&mut self, from: u64, to: u64, max: usize) {
        if from >= to {
            return;
        }
        if let Some(last) = self.ranges.last_mut().filter(|last| last.0 <= from) {
            // The usual cases: the same again, or the next one.
            if last.1 >= from {
                last.1 = last.1.max(to);
                return;
            }
        }
        // Ranges that touch the new one are taken in.
        let first = self.ranges.partition_point(|&(_, end)| end < from);
        let after = self.ranges.partition_point(|&(start, _)| start <= to);
        let merged = self
            .ranges
            .get(first..after)
            .unwrap_or_default()
            .iter()
            .fold((from, to), |all, range| {
                (all.0.min(range.0), all.1.max(range.1))
            });
        self.ranges.splice(first..after, [merged]);
        self.forget_lowest(max);
    }

    pub(super) fn remove(&mut self, id: u64) {
        let at = self.find(id);
        let Some(&(start, end)) = self.ranges.get(at).filter(|range| range.0 <= id) else {
            return;
        };
        let left = (start < id).then_some((start, id));
        let right = (id + 1 < end).then_some((id + 1, end));
        self.ranges.splice(at..=at, left.into_iter().chain(right));
    }

    /// Memory that the ranges hold.
    pub(super) fn cost(&self) -> usize {
        self.ranges.capacity() * size_of::<(u64, u64)>()
    }

    /// Keeps the `max` highest ranges and the memory for no more.
    pub(super) fn shrink(&mut self, max: usize) {
        self.forget_lowest(max);
        self.ranges.shrink_to_fit();
    }

    /// Keeps the `max` highest ranges.
    fn forget_lowest(&mut self, max: usize) {
        let excess = self.ranges.len().saturating_sub(max.max(1));
        if excess > 0 {
            self.ranges.drain(..excess);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_a_plain_set(
            steps in prop::collection::vec((any::<bool>(), 0_u64..40, 0_u64..6), 0..60),
        ) {
            let (mut ranges, mut plain) = (RangeSet::default(), BTreeSet::new());
            for (add, from, len) in steps {
                if add {
                    ranges.insert(from, from + len, 100);
                    plain.extend(from..from + len);
                } else {
                    ranges.remove(from);
                    plain.remove(&from);
                }
                for id in 0..50 {
                    prop_assert_eq!(ranges.contains(id), plain.contains(&id));
                    let row = (0..=id).rev().take_while(|id| plain.contains(id));
                    prop_assert_eq!(ranges.start_of(id), row.last());
                    prop_assert_eq!(
                        ranges.intersects(id, id + 3),
                        plain.range(id..id + 3).next().is_some()
                    );
                }
                prop_assert_eq!(ranges.max(), plain.last().copied());
                prop_assert!(ranges.ranges.windows(2).all(|pair| pair[0].1 < pair[1].0));
            }
        }
    }

    #[test]
    fn the_number_of_ranges_is_bounded() {
        let mut ranges = RangeSet::default();
        for id in 0..100 {
            ranges.insert(id * 2, id * 2 + 1, 8);
        }
        assert_eq!(ranges.ranges.len(), 8);
        assert!(ranges.contains(198) && !ranges.contains(0));
        ranges.insert(u64::MAX - 1, u64::MAX, 8);
        assert_eq!(ranges.max(), Some(u64::MAX - 1));
    }
}
