//! Media time with its unit, comparable across tracks.

use std::cmp::Ordering;
use std::time::Duration;

/// A point in, or a length of, media time: ticks of a timescale that is never 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MediaTime {
    pub(crate) ticks: u64,
    pub(crate) timescale: u32,
}

impl MediaTime {
    pub(crate) const ZERO: Self = Self {
        ticks: 0,
        timescale: 1,
    };

    pub(crate) fn new(ticks: u64, timescale: u32) -> Self {
        Self {
            ticks,
            timescale: timescale.max(1),
        }
    }

    /// This time in another timescale, rounded down.
    pub(crate) fn floor(self, timescale: u32) -> u64 {
        self.times_floor(1, timescale)
    }

    /// This time in another timescale, rounded up.
    pub(crate) fn ceil(self, timescale: u32) -> u64 {
        let product = u128::from(self.ticks) * u128::from(timescale);
        u64::try_from(product.div_ceil(self.timescale.into())).unwrap_or(u64::MAX)
    }

    /// `factor` times this time in another timescale, rounded down once, so that repetitions do
    /// not drift.
    pub(crate) fn times_floor(self, factor: u32, timescale: u32) -> u64 {
        let product = u128::from(self.ticks) * u128::from(timescale) * u128::from(factor);
        u64::try_from(product / u128::from(self.timescale)).unwrap_or(u64::MAX)
    }

    pub(crate) fn to_duration(self) -> Duration {
        Duration::from_nanos(self.floor(1_000_000_000))
    }

    pub(crate) fn to_seconds(self) -> f64 {
        self.ticks as f64 / f64::from(self.timescale)
    }
}

impl Ord for MediaTime {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = u128::from(self.ticks) * u128::from(other.timescale);
        left.cmp(&(u128::from(other.ticks) * u128::from(self.timescale)))
    }
}

impl PartialOrd for MediaTime {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for MediaTime {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for MediaTime {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_compare_across_timescales() {
        assert_eq!(MediaTime::new(30, 30), MediaTime::new(48_000, 48_000));
        assert!(MediaTime::new(29, 30) < MediaTime::new(47_000, 48_000));
        assert!(MediaTime::new(u64::MAX, 1) > MediaTime::new(u64::MAX, 2));
    }

    #[test]
    fn repetitions_do_not_drift() {
        let third = MediaTime::new(1, 3);
        assert_eq!(third.times_floor(300, 1000), 100_000);
        assert_eq!((third.floor(1000), third.ceil(1000)), (333, 334));
        assert_eq!(third.to_duration(), Duration::from_nanos(333_333_333));
    }
}
