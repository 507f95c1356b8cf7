//! Keeps a broadcast published at a relay, through restarts of that relay.

use std::time::Duration;

use moqtail::{
    client::{Broadcast, Client, PublishError},
    model::PublishNamespaceErrorCode,
};
use tokio::sync::watch;

use crate::{
    backoff::Backoff,
    errors::{CliError, plain},
    link::Link,
    logging::say,
};

/// How long viewers may take to fetch the rest when the broadcast has ended.
const GRACE: Duration = Duration::from_secs(10);

/// The session that publishes now, if there is one.
pub(crate) type Current = watch::Sender<Option<Client>>;

/// Publishes `broadcast` in one session after the other; returns only with an error that waiting cannot help.
/// Dropping the future leaves the session in `current`.
pub(crate) async fn keep_published(
    link: &Link,
    broadcast: &Broadcast,
    current: &Current,
) -> CliError {
    let mut backoff = Backoff::new();
    loop {
        let client = match link.connect().await {
            Ok(client) => client,
            Err(error) => return error,
        };
        match client.publish(broadcast).await {
            Ok(_publication) => {
                backoff = Backoff::new();
                tracing::info!(broadcast = %broadcast.namespace(), "published");
                current.send_replace(Some(client.clone()));
                let reason = client.closed().await;
                current.send_replace(None);
                let error = link.session_ended(&reason);
                if !link.may_reconnect(&reason) {
                    return error;
                }
                say(format_args!("Connecting again: {error}"));
            }
            Err(error) if is_final(&error) => return refused(link, broadcast, &error),
            Err(error) => tracing::info!(%error, "not published yet"),
        }
        backoff.wait().await;
    }
}

/// Lets viewers have the rest of a broadcast that has ended, then closes its session.
pub(crate) async fn finish(current: &Current) {
    let client = current.borrow().clone();
    if let Some(client) = client {
        client.shutdown(GRACE).await;
    }
}

/// Leaves the relay at once; viewers wait for the broadcast to come back.
pub(crate) async fn leave(current: &Current) {
    let client = current.borrow().clone();
    if let Some(client) = client {
        client.shutdown(Duration::ZERO).await;
    }
}

fn is_final(error: &PublishError) -> bool {
    match error {
        PublishError::Rejected { code, .. } => !matches!(
            *code,
            PublishNamespaceErrorCode::INTERNAL_ERROR | PublishNamespaceErrorCode::TIMEOUT
        ),
        PublishError::TimedOut | PublishError::SessionEnded => false,
        _ => true,
    }
}

fn refused(link: &Link, broadcast: &Broadcast, error: &PublishError) -> CliError {
    CliError::Refused {
        authority: link.authority().to_owned(),
        what: format!("the broadcast {}", broadcast.namespace()),
        reason: plain(error),
        next: "Choose another name, or ask the relay's operator for access.",
    }
}
