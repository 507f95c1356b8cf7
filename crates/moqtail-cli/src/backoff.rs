//! How long to wait before something is tried again.

use std::time::Duration;

/// Waiting times that double from 250 ms to 2 s.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    const LAST: Duration = Duration::from_secs(2);

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
}
