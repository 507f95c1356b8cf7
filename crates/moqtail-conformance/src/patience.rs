//! How long a story waits for what has to come.

use std::time::Duration;

use tokio::time::timeout;

use crate::failure::Failure;

/// How long an expectation waits. Generous, for machines that do other work meanwhile.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn in_time<F: Future>(what: &str, future: F) -> Result<F::Output, Failure> {
    timeout(PATIENCE, future)
        .await
        .map_err(|_| Failure::Silence {
            waited: PATIENCE,
            what: what.to_owned(),
        })
}
