//! When a subscriber has seen enough: `--count` and `--timeout`.

use tokio::time::{Instant, sleep_until};

use crate::{errors::CliError, values::Span};

/// Counts objects and time.
#[derive(Debug)]
pub(super) struct Limit {
    count: Option<u64>,
    timeout: Option<(Span, Instant)>,
    received: u64,
}

impl Limit {
    /// Starts the time.
    pub(super) fn new(count: Option<u64>, timeout: Option<Span>) -> Self {
        let timeout = timeout.and_then(|span| Some((span, Instant::now().checked_add(span.0)?)));
        Self {
            count,
            timeout,
            received: 0,
        }
    }

    /// Counts an object; true when it was the last one wanted.
    pub(super) fn reached(&mut self) -> bool {
        self.received += 1;
        self.count.is_some_and(|count| self.received >= count)
    }

    /// Waits until the time is over.
    pub(super) fn over(&self) -> impl Future<Output = ()> + use<> {
        let until = self.timeout.map(|(_, until)| until);
        async move {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Whether the time was over before enough had come.
    pub(super) fn verdict(&self) -> Result<(), CliError> {
        let received = match (self.count, self.received) {
            (Some(count), received) if received < count => format!("{received} of {count} objects"),
            (None, 0) => "0 objects".to_owned(),
            _ => return Ok(()),
        };
        let limit = self
            .timeout
            .map_or_else(String::new, |(span, _)| span.to_string());
        Err(CliError::TimedOut { received, limit })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_over_is_a_failure_only_when_something_is_missing() {
        let five_seconds = Some(Span(Duration::from_secs(5)));
        let mut limit = Limit::new(Some(2), five_seconds);
        assert!(!limit.reached());
        limit.over().await;
        assert_eq!(
            limit.verdict().unwrap_err().to_string(),
            "Only 1 of 2 objects came within 5s. \
             Check that the publisher is sending, or give a longer `--timeout`."
        );
        assert!(limit.reached());
        assert!(limit.verdict().is_ok());

        let mut open = Limit::new(None, five_seconds);
        assert!(
            open.verdict()
                .unwrap_err()
                .to_string()
                .starts_with("Only 0 objects")
        );
        assert!(!open.reached());
        assert!(open.verdict().is_ok());
    }
}
