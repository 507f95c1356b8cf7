//! Telling what peers can make happen very often no more than once a second.

use std::{sync::Mutex, time::Duration};

use tokio::time::Instant;

use super::lock;

/// How often it is told.
const EVERY: Duration = Duration::from_secs(1);

/// Counts what happens, and when it is to be told.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    /// How often it happened since.
    untold: u64,
}

impl Seldom {
    /// It happened. `Some`: it is to be told, and that it happened so often before without.
    pub(crate) fn count(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        if state.told.is_some_and(|told| now < told + EVERY) {
            state.untold += 1;
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_in_a_second_is_told_with_how_many_were_not() {
        let seldom = Seldom::default();
        let mut told = Vec::new();
        for _ in 0..30 {
            told.extend(seldom.count());
            tokio::time::advance(EVERY / 10).await;
        }
        assert_eq!(told, [0, 9, 9]);
    }
}
