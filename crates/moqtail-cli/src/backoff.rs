//! How long to wait before something is tried again.

use std::time::Duration;

/// Waiting times that double from 250 ms to 2 s.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    const LAST: Duration = Duration::from_secs(2);
    const LASTING: Duration = Duration::from_secs(2);

    /// Starts at the shortest time.
    pub(crate) fn new() -> Self {
        Self(Self::FIRST)
    }

    /// The next waiting time.
    pub(crate) fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(Self::LAST);
        now
    }

    /// Waits for the next waiting time, unless what is tried again went well for a while.
    pub(crate) async fn wait_after(&mut self, lasted: Duration) {
        match lasted < Self::LASTING {
            true => self.wait().await,
            false => *self = Self::new(),
        }
    }

    /// Waits for the next waiting time.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.next()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_double_up_to_two_seconds() {
        let mut backoff = Backoff::new();
        let times: Vec<_> = (0..5).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(times, [250, 500, 1000, 2000, 2000]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_lasted_is_tried_again_at_once() {
        let mut backoff = Backoff::new();
        let mut waits = Vec::new();
        for lasted in [0, 1, 60, 0, 1] {
            let begin = tokio::time::Instant::now();
            backoff.wait_after(Duration::from_secs(lasted)).await;
            waits.push(begin.elapsed().as_millis());
        }
        assert_eq!(waits, [250, 500, 0, 250, 500]);
    }
}
