//! A broadcast that is published in one session.

use std::sync::{Arc, Mutex};

use super::handler::State;
use crate::{peer::PeerHandle, session::RequestHandle, transport::lock};

/// A broadcast published in one session. Dropping it sends PUBLISH_NAMESPACE_DONE; running subscriptions go on.
#[derive(Debug)]
pub struct Publication {
    handle: RequestHandle,
    peer: PeerHandle,
    state: Arc<Mutex<State>>,
}

impl Publication {
    pub(super) fn new(handle: RequestHandle, peer: PeerHandle, state: Arc<Mutex<State>>) -> Self {
        Self {
            handle,
            peer,
            state,
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
