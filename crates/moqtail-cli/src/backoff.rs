//! How long to wait before something is tried again.
//!
//! Who lost the same relay or broadcast at the same moment would come back at the same moments, too, thousands at once.
//! So every wait is drawn by lot.

use std::{hash::BuildHasher as _, time::Duration};

/// Waiting times: half to all of a step that doubles from 250 ms to 2 s.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    step: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    /// The longest step. A publisher holds its first object for longer, so that a viewer who waits misses nothing.
    pub(crate) const LAST: Duration = Duration::from_secs(2);
    /// What went well for so long is tried again at once.
    pub(crate) const LASTING: Duration = Duration::from_secs(2);

    /// Starts at the shortest time.
    pub(crate) fn new() -> Self {
        Self { step: Self::FIRST }
    }

    /// The next waiting time.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.step / 2 + up_to(self.step / 2);
        self.step = (self.step * 2).min(Self::LAST);
        wait
    }

    /// Waits for the next waiting time, unless what is tried again went well for a while.
    pub(crate) async fn wait_after(&mut self, lasted: Duration) {
        match lasted < Self::LASTING {
            true => self.wait().await,
            false => self.step = Self::FIRST,
        }
    }

    /// Waits for the next waiting time.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.next()).await;
    }
}

/// A time drawn by lot, below `most`.
pub(crate) fn up_to(most: Duration) -> Duration {
    // Each of these has keys of its own, and those of a process are random.
    let drawn = std::hash::RandomState::new().hash_one(0_u8);
    most.mul_f64((drawn >> 11) as f64 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// How much of this step a wait is, if it is as much of it as it should be.
    #[track_caller]
    fn assert_within(wait: Duration, step: u64) {
        let millis = wait.as_millis();
        let step = u128::from(step);
        assert!((step / 2..=step).contains(&millis), "{millis} ms of {step}");
    }

    #[test]
    fn times_double_up_to_two_seconds() {
        let mut backoff = Backoff::new();
        for step in [250, 500, 1000, 2000, 2000] {
            assert_within(backoff.next(), step);
        }
    }

    #[test]
    fn those_who_began_together_do_not_come_back_together() {
        let fifth = || {
            let mut backoff = Backoff::new();
            for _ in 0..4 {
                backoff.next();
            }
            backoff.next()
        };
        let waits: BTreeSet<Duration> = (0..1000).map(|_| fifth()).collect();
        for wait in &waits {
            assert_within(*wait, 2000);
        }
        assert!(waits.len() > 900, "{}", waits.len());
        let second = |wait: &Duration| wait.as_millis() / 100;
        let spread: BTreeSet<u128> = waits.iter().map(second).collect();
        assert_eq!(spread.len(), 10, "{spread:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_lasted_is_tried_again_at_once() {
        let mut backoff = Backoff::new();
        for (lasted, step) in [(0, 250), (1, 500), (60, 0), (0, 250), (1, 500)] {
            let begin = tokio::time::Instant::now();
            backoff.wait_after(Duration::from_secs(lasted)).await;
            // The clock of a test goes in whole milliseconds, up.
            assert_within(
                begin.elapsed() - Duration::from_millis((step > 0).into()),
                step,
            );
        }
    }
}
