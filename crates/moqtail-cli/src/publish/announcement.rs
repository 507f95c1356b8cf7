//! Telling that a broadcast is published.

use tokio::sync::watch;

use crate::{logging::say, program};

/// Whether a broadcast is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Announced {
    /// It was not, so far.
    NotYet,
    /// In a session.
    Now,
    /// It was, in a session that is over.
    Before,
}

/// Says once that the broadcast is there and how to get it; never returns.
pub(super) async fn tell(mut published: watch::Receiver<Announced>, what: String, command: String) {
    until_published(&mut published).await;
    say(format_args!(
        "Publishing {what}. Watch it with: {} {command}",
        program::name()
    ));
    std::future::pending().await
}

/// Waits for the first session.
pub(super) async fn until_published(published: &mut watch::Receiver<Announced>) {
    // Fails only without a sender, which then has nothing to say.
    let _ = published
        .wait_for(|announced| *announced == Announced::Now)
        .await;
}
