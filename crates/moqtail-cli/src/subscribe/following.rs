//! Following a track or broadcast through the sessions of a link, without losing what one of them brought.

use moqtail::client::Client;
use tokio::time::Instant;

use super::waiting::Turn;
use crate::{backoff::Backoff, errors::CliError, link::Link};

/// Calls `follow` in one session after the other until it comes to the end of what it follows.
pub(super) async fn keep_following(
    link: &Link,
    mut follow: impl AsyncFnMut(&Client) -> Result<Turn, CliError>,
) -> Result<(), CliError> {
    loop {
        let client = link.connect().await?;
        let over = link.left(&client);
        tokio::pin!(over);
        let mut backoff = Backoff::new();
        let left = loop {
            let begun = Instant::now();
            let following = follow(&client);
            tokio::pin!(following);
            let (turn, left) = tokio::select! {
                biased;
                turn = &mut following => (turn?, None),
                // What came before is delivered nevertheless, and may hold the end: nothing of it waits for the session.
                left = &mut over => (following.await?, Some(left)),
            };
            match (turn, left) {
                (Turn::Ended, _) => return Ok(()),
                (_, Some(left)) => break left?,
                (Turn::Again, None) => backoff.wait_after(begun.elapsed()).await,
                (Turn::SessionEnded, None) => break over.await?,
            }
        };
        link.tell_end(left);
    }
}
