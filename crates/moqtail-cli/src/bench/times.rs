//! How long things took, as a distribution.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Times are kept to this many digits.
const DIGITS: u8 = 2;

/// Longer times count as this one, in microseconds.
const LONGEST: u64 = 600_000_000;

/// A histogram of times.
#[derive(Clone, Debug)]
pub(super) struct Times(Histogram<u64>);

impl Times {
    pub(super) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST, DIGITS);
        Self(histogram.expect("these constant bounds make a histogram"))
    }

    pub(super) fn record(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(us);
    }

    pub(super) fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In milliseconds.
    pub(super) fn quantile(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }

    /// How many times there are up to each of these milliseconds and above the one before, in rising order, as far as
    /// there are any.
    pub(super) fn buckets(&self) -> Vec<(f64, u64)> {
        let values = self.0.iter_recorded();
        values
            .map(|value| {
                let us = value.value_iterated_to();
                (us as f64 / 1e3, value.count_since_last_iteration())
            })
            .collect()
    }

    /// In milliseconds.
    pub(super) fn max(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }

    /// In milliseconds.
    pub(super) fn mean(&self) -> f64 {
        self.0.mean() / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_one_percent() {
        let mut times = Times::new();
        for ms in 1..=100 {
            times.record(Duration::from_millis(ms));
        }
        let mut both = Times::new();
        both.add(&times);
        assert!((both.quantile(0.5) - 50.0).abs() < 0.5);
        assert!((both.quantile(0.99) - 99.0).abs() < 1.0);
        assert!((both.max() - 100.0).abs() < 1.0 && (both.mean() - 50.5).abs() < 0.5);
    }

    #[test]
    fn buckets_rise_and_hold_every_time_once() {
        let mut times = Times::new();
        for ms in [7, 3, 3, 100] {
            times.record(Duration::from_millis(ms));
        }
        let buckets = times.buckets();
        let counts: Vec<_> = buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 1, 1]);
        for ((at, _), ms) in buckets.iter().zip([3.0, 7.0, 100.0]) {
            assert!(*at >= ms && *at <= ms * 1.01, "{at} for {ms}");
        }
    }

    #[test]
    fn no_time_is_too_long_or_too_short() {
        let mut times = Times::new();
        times.record(Duration::ZERO);
        times.record(Duration::MAX);
        assert!(!times.is_empty() && times.max() > 590_000.0);
    }
}
