//! Tells of clients that were refused, no more than once a second: who is refused comes again at once.

use std::{net::SocketAddr, sync::Mutex, time::Duration};

use tokio::time::Instant;

use super::lock;

/// How often it is told.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Refusals {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    /// Refused since.
    untold: u64,
}

impl Refusals {
    /// A client was refused; one inside the process has no address.
    pub(crate) fn tell(&self, peer: Option<SocketAddr>, why: &'static str) {
        if let Some(others) = self.count(Instant::now()) {
            let peer = peer.map(tracing::field::display);
            tracing::warn!(peer, others, "connection refused: {why}");
        }
    }

    /// Counts one more; `Some`: it is to be told, and so many others before it were not.
    fn count(&self, now: Instant) -> Option<u64> {
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
        let refusals = Refusals::default();
        let mut told = Vec::new();
        for _ in 0..30 {
            told.extend(refusals.count(Instant::now()));
            tokio::time::advance(EVERY / 10).await;
        }
        assert_eq!(told, [0, 9, 9]);
    }
}
