//! How much one session may make the relay do in a second.

use std::time::{Duration, Instant};

/// How long what is left lasts before all of it is there again.
const PERIOD: Duration = Duration::from_secs(1);

/// What a session has used up; the maximum is the owner's.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    spent: usize,
    since: Option<Instant>,
}

impl Allowance {
    /// What is left of `max`; `Err`: nothing before that time.
    pub(super) fn left(&mut self, max: usize, now: Instant) -> Result<usize, Instant> {
        let since = *self.since.get_or_insert(now);
        if since + PERIOD <= now {
            (self.spent, self.since) = (0, Some(now));
        }
        match max.saturating_sub(self.spent) {
            0 => Err(since + PERIOD),
            left => Ok(left),
        }
    }

    pub(super) fn spend(&mut self, count: usize) {
        self.spent += count;
    }
}
