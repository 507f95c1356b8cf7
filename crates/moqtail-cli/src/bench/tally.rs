//! What subscribers count.

use std::{collections::BTreeMap, time::Duration};

use super::{stamp::Stamp, times::Times};

/// Numbers that were seen, as ranges.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// The first number after each range, by its first one.
    ranges: BTreeMap<u64, u64>,
}

impl Seen {
    /// Whether `number` is new.
    fn insert(&mut self, number: u64) -> bool {
        let Some(next) = number.checked_add(1) else {
            return false;
        };
        let before = self.ranges.range(..=number).next_back();
        let start = match before {
            Some((_, end)) if *end > number => return false,
            Some((start, end)) if *end == number => *start,
            _ => number,
        };
        let end = self.ranges.remove(&next).unwrap_or(next);
        self.ranges.insert(start, end);
        true
    }

    /// How many numbers lie between the smallest and the largest, these included.
    fn span(&self) -> u64 {
        let first = self.ranges.first_key_value();
        let last = self.ranges.last_key_value();
        match (first, last) {
            (Some((start, _)), Some((_, end))) => end - start,
            _ => 0,
        }
    }
}

/// The measured objects that one subscriber got.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    seen: Seen,
    pub(super) received: u64,
    pub(super) duplicates: u64,
    pub(super) bytes: u64,
    pub(super) latencies: Times,
    /// Streams that ended early.
    pub(super) resets: u64,
    /// How the subscription ended, if not with its track.
    pub(super) ended: Option<String>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            seen: Seen::default(),
            received: 0,
            duplicates: 0,
            bytes: 0,
            latencies: Times::new(),
            resets: 0,
            ended: None,
        }
    }

    /// Counts an object of `size` bytes that arrived at `now`.
    pub(super) fn received(&mut self, stamp: Stamp, size: usize, now: Duration) {
        if !self.seen.insert(stamp.number) {
            self.duplicates += 1;
            return;
        }
        self.received += 1;
        self.bytes += size as u64;
        self.latencies.record(now.saturating_sub(stamp.sent));
    }

    /// Objects that were due between the first and the last one that came.
    pub(super) fn due(&self) -> u64 {
        self.seen.span()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_told_from_new_objects_in_any_order() {
        let mut seen = Seen::default();
        for (number, new) in [
            (5, true),
            (7, true),
            (6, true),
            (6, false),
            (5, false),
            (7, false),
            (4, true),
            (9, true),
        ] {
            assert_eq!(seen.insert(number), new, "{number}");
        }
        assert_eq!(seen.ranges, BTreeMap::from([(4, 8), (9, 10)]));
        assert_eq!(seen.span(), 6);
        assert!(!seen.insert(u64::MAX));
    }

    #[test]
    fn a_copy_counts_neither_bytes_nor_latency() {
        let mut tally = Tally::new();
        let sent = Duration::from_secs(1);
        for number in [0, 2, 2] {
            tally.received(Stamp { number, sent }, 100, sent + Duration::from_millis(5));
        }
        assert_eq!((tally.received, tally.duplicates, tally.bytes), (2, 1, 200));
        assert_eq!(tally.due(), 3);
        assert!((tally.latencies.mean() - 5.0).abs() < 0.1);
    }
}
