//! What subscribers count.

use std::{collections::BTreeMap, time::Duration};

use super::{run::Interval, stamp::Stamp, times::Times};

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

/// What one subscriber got: of the objects that were published in the measured interval, and in that interval of all.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    interval: Option<Interval>,
    seen: Seen,
    pub(super) received: u64,
    pub(super) duplicates: u64,
    pub(super) bytes: u64,
    /// Objects that came before they were published, by the clock here: it is behind that of the publisher.
    pub(super) early: u64,
    /// From publishing to the first bytes.
    pub(super) beginnings: Times,
    /// From publishing to the last bytes.
    pub(super) latencies: Times,
    /// Objects that were complete within the interval, whenever published.
    pub(super) arrived: u64,
    /// Bytes of payload that arrived within the interval.
    pub(super) arrived_bytes: u64,
    /// Streams that ended early.
    pub(super) resets: u64,
    /// How the subscription ended, if not with its track.
    pub(super) ended: Option<String>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            interval: None,
            seen: Seen::default(),
            received: 0,
            duplicates: 0,
            bytes: 0,
            early: 0,
            beginnings: Times::new(),
            latencies: Times::new(),
            arrived: 0,
            arrived_bytes: 0,
            resets: 0,
            ended: None,
        }
    }

    /// The interval is known, with the first stamp that came; it may become shorter.
    pub(super) fn begin(&mut self, interval: Interval) {
        self.interval = Some(interval);
    }

    fn measures(&self, time: Duration) -> bool {
        self.interval.is_some_and(|interval| interval.holds(time))
    }

    /// Counts `bytes` of payload that arrived at `now`.
    pub(super) fn piece(&mut self, bytes: usize, now: Duration) {
        if self.measures(now) {
            self.arrived_bytes += bytes as u64;
        }
    }

    /// Counts an object of `size` bytes that began to arrive at `begun` and was complete at `now`.
    pub(super) fn object(&mut self, stamp: Stamp, size: u64, begun: Duration, now: Duration) {
        if self.measures(now) {
            self.arrived += 1;
        }
        if !self.measures(stamp.sent) {
            return;
        }
        if !self.seen.insert(stamp.number) {
            self.duplicates += 1;
            return;
        }
        self.received += 1;
        self.bytes += size;
        self.early += u64::from(begun < stamp.sent);
        self.beginnings.record(begun.saturating_sub(stamp.sent));
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

    /// An interval of five seconds from the tenth second on.
    fn tally() -> Tally {
        let mut tally = Tally::new();
        tally.begin(Interval {
            from: Duration::from_secs(10),
            to: Duration::from_secs(15),
        });
        tally
    }

    #[test]
    fn a_copy_counts_neither_bytes_nor_latency() {
        let mut tally = tally();
        let sent = Duration::from_secs(10);
        for number in [0, 2, 2] {
            let now = sent + Duration::from_millis(5);
            tally.object(Stamp { number, sent }, 100, now, now);
        }
        assert_eq!((tally.received, tally.duplicates, tally.bytes), (2, 1, 200));
        assert_eq!(tally.due(), 3);
        assert!((tally.latencies.mean() - 5.0).abs() < 0.1);
    }

    #[test]
    fn an_object_that_comes_before_it_was_sent_tells_of_the_clocks() {
        let mut tally = tally();
        for (number, ms) in [(0, 11_000), (1, 10_999)] {
            let sent = Duration::from_secs(11);
            let now = Duration::from_millis(ms);
            tally.object(Stamp { number, sent }, 100, now, now);
        }
        assert_eq!((tally.received, tally.early), (2, 1));
    }

    #[test]
    fn an_object_longer_than_the_interval_counts_with_what_arrives_in_it() {
        let mut tally = tally();
        for second in 0..20 {
            tally.piece(1000, Duration::from_secs(second));
        }
        let [first, last] = [0, 20].map(Duration::from_secs);
        let stamp = Stamp {
            number: 0,
            sent: first,
        };
        tally.object(stamp, 20_000, first, last);
        assert_eq!((tally.received, tally.arrived), (0, 0));
        assert_eq!(tally.arrived_bytes, 5000);
    }

    #[test]
    fn objects_count_by_when_they_were_sent_and_rates_by_when_they_arrive() {
        let mut tally = tally();
        for (number, (sent, arrived)) in [(9, 11), (14, 16), (11, 12)].into_iter().enumerate() {
            let [sent, arrived] = [sent, arrived].map(Duration::from_secs);
            let number = number as u64;
            tally.object(Stamp { number, sent }, 100, arrived, arrived);
        }
        assert_eq!((tally.received, tally.arrived), (2, 2));
    }
}
