//! A broadcast that is published in one session.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::{PublishError, handler::State};
use crate::{peer::PeerHandle, session::RequestHandle, transport::lock};

/// A broadcast published in one session. Dropping it sends PUBLISH_NAMESPACE_DONE; running subscriptions go on.
#[derive(Debug)]
pub struct Publication {
    handle: RequestHandle,
    peer: PeerHandle,
    state: Arc<Mutex<State>>,
    cancelled: watch::Receiver<Option<PublishError>>,
}

impl Publication {
    pub(super) fn new(
        handle: RequestHandle,
        peer: PeerHandle,
        state: Arc<Mutex<State>>,
        cancelled: watch::Receiver<Option<PublishError>>,
    ) -> Self {
        Self {
            handle,
            peer,
            state,
            cancelled,
        }
    }

    /// Waits until the broadcast is published no longer: [`PublishError::Rejected`] when the peer cancels it with
    /// PUBLISH_NAMESPACE_CANCEL (draft-14 §9.27), after which it may be published again in the same session, and
    /// [`PublishError::SessionEnded`] with the session. Cancel safe.
    pub async fn cancelled(&self) -> PublishError {
        let mut cancelled = self.cancelled.clone();
        match cancelled.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or(PublishError::SessionEnded),
            Err(_) => PublishError::SessionEnded,
        }
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        lock(&self.state).withdraw(self.handle);
        self.peer.call(|session, _| {
            if let Err(error) = session.namespace_done(self.handle) {
                tracing::trace!(%error, "announcement ended before it was withdrawn");
            }
        });
    }
}
