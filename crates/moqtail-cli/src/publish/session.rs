//! Keeps a broadcast published at a relay, through restarts of that relay.

use std::time::Duration;

use moqtail::{
    client::{Broadcast, Client, Farewell, PublishError},
    model::PublishNamespaceErrorCode,
    session::CallError,
};
use tokio::{sync::watch, time::Instant};

use super::announcement::Announced;
use crate::{
    backoff::Backoff,
    errors::{CliError, plain},
    link::Link,
    signals::{Signal, Signals},
};

/// How long viewers may take to fetch the rest when the broadcast has ended.
const GRACE: Duration = Duration::from_secs(10);

/// The same when this process is to end, which is to take no more than two seconds, the close included.
const DRAIN: Duration = Duration::from_millis(1500);

/// Why publishing is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The broadcast has ended: its viewers end with it.
    ForGood,
    /// This process ends, and may be started again: viewers wait.
    ForNow,
}

impl Stop {
    /// What follows from how publishing went: one that failed may be started again.
    pub(super) fn of(published: &Result<Self, CliError>) -> Self {
        published.as_ref().map_or(Self::ForNow, |stop| *stop)
    }
}

impl From<Signal> for Stop {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Interrupt => Self::ForGood,
            Signal::Terminate => Self::ForNow,
        }
    }
}

/// Publishes `broadcast` in one session after the other; returns only with an error that waiting cannot help.
/// `published` tells whether it is published now. Dropping the future leaves the session open.
pub(crate) async fn keep_published(
    link: &Link,
    broadcast: &Broadcast,
    published: &watch::Sender<Announced>,
) -> CliError {
    let mut backoff = Backoff::new();
    loop {
        let client = match link.connect().await {
            Ok(client) => client,
            Err(error) => return error,
        };
        let over = publish_in(&client, link, broadcast, published, &mut backoff).await;
        if *published.borrow() == Announced::Now {
            published.send_replace(Announced::Before);
        }
        if let Err(error) = over {
            return error;
        }
    }
}

/// Publishes `broadcast` in one session, and again where the relay cancels it; returns when it needs another session.
async fn publish_in(
    client: &Client,
    link: &Link,
    broadcast: &Broadcast,
    published: &watch::Sender<Announced>,
    backoff: &mut Backoff,
) -> Result<(), CliError> {
    let over = link.over(client);
    tokio::pin!(over);
    let mut was_accepted = false;
    loop {
        let publication = match client.publish(broadcast).await {
            Ok(publication) => publication,
            // After GOAWAY the session is still there for a moment, but takes no requests.
            Err(
                PublishError::SessionEnded
                | PublishError::Session(CallError::GoingAway | CallError::Closed),
            ) => return over.await,
            Err(error) if is_final(&error) => return Err(refused(link, broadcast, &error)),
            Err(error) => {
                tracing::info!(%error, "not published yet");
                tokio::select! {
                    () = backoff.wait() => {}
                    over = &mut over => return over,
                }
                // Those that are served stay; without them, or an answer, another session may do better.
                match was_accepted && error != PublishError::TimedOut {
                    true => continue,
                    false => return Ok(()),
                }
            }
        };
        was_accepted = true;
        tracing::info!(broadcast = %broadcast.namespace(), "published");
        published.send_replace(Announced::Now);
        let since = Instant::now();
        let cancelled = tokio::select! {
            biased;
            over = &mut over => return over,
            // With the session it is over, too.
            cancelled @ PublishError::Rejected { .. } = publication.cancelled() => cancelled,
        };
        published.send_replace(Announced::Before);
        if is_final(&cancelled) {
            return Err(refused(link, broadcast, &cancelled));
        }
        link.tell(format_args!(
            "The relay at {} has cancelled the broadcast {}: {}. Publishing it again.",
            link.authority(),
            broadcast.namespace(),
            plain(&cancelled)
        ));
        tokio::select! {
            () = backoff.wait_after(since.elapsed()) => {}
            over = &mut over => return over,
        }
    }
}

/// Closes the session; what was published is first delivered, for as long as who ends the program waits. Says so if it
/// is not, unless that is told as the failure of publishing.
pub(super) async fn leave(
    link: &Link,
    announced: Announced,
    published: &Result<Stop, CliError>,
    signals: &mut Signals,
) {
    // What was published since the session ended has gone nowhere, whether there is another one already or not.
    let is_open = link.is_open();
    let is_away = announced == Announced::Before || !is_open;
    if !matches!(published, Ok(Stop::ForNow)) {
        tokio::select! {
            _ = tokio::time::timeout(GRACE, link.delivered()) => {}
            // Somebody wants the program to end, now that its input did.
            _ = signals.next() => {}
        }
    }
    let farewell = link.leave(DRAIN).await;
    if is_away && announced != Announced::NotYet && published.is_ok() {
        // Who watched when the relay cancelled it goes on to be served.
        link.tell(
            "The broadcast was not at the relay at the end: what was published since it was there last \
             reached at most those who watched it already. Publish that again when the relay takes it.",
        );
    }
    if is_open && published.is_ok() && farewell == Some(Farewell::Incomplete) {
        link.tell(
            "Not everything was delivered: viewers may lack the last of it, or what the relay was too far behind for. \
             Check the network, or publish less in a second.",
        );
    }
}

fn is_final(error: &PublishError) -> bool {
    match error {
        PublishError::Rejected { code, .. } => !matches!(
            *code,
            PublishNamespaceErrorCode::INTERNAL_ERROR | PublishNamespaceErrorCode::TIMEOUT
        ),
        PublishError::TimedOut => false,
        _ => true,
    }
}

fn refused(link: &Link, broadcast: &Broadcast, error: &PublishError) -> CliError {
    CliError::Refused {
        authority: link.authority(),
        what: format!("the broadcast {}", broadcast.namespace()),
        reason: plain(error),
        next: "Choose another name, or ask the relay's operator for access.",
    }
}
