//! GOAWAY of both sides (draft-14 §3.5, §9.4).

use super::error::{CallError, SessionError};

/// What was said about going away.
#[derive(Debug, Default)]
pub(super) struct Goaway {
    sent: bool,
    received: bool,
    /// [`Event::Drained`](super::Event::Drained) was told.
    drained: bool,
}

impl Goaway {
    /// GOAWAY of the peer; `from_client`: the peer is a client.
    pub(super) fn receive(&mut self, from_client: bool, uri: &str) -> Result<(), SessionError> {
        // draft-14 §9.4
        if self.received {
            return Err(SessionError::SecondGoaway);
        }
        if from_client && !uri.is_empty() {
            return Err(SessionError::GoawayUriFromClient);
        }
        self.received = true;
        Ok(())
    }

    /// Checks an own GOAWAY; `from_client`: this side is a client.
    pub(super) fn check_send(&self, from_client: bool, uri: &str) -> Result<(), CallError> {
        if self.sent {
            return Err(CallError::GoawaySent);
        }
        // draft-14 §9.4
        if from_client && !uri.is_empty() {
            return Err(CallError::GoawayUri);
        }
        Ok(())
    }

    pub(super) fn sent(&mut self) {
        self.sent = true;
    }

    pub(super) fn is_received(&self) -> bool {
        self.received
    }

    /// Whether the last subscription of a session that is going away has just ended.
    pub(super) fn newly_drained(&mut self, subscriptions: usize) -> bool {
        let drained = (self.sent || self.received) && subscriptions == 0;
        drained && !std::mem::replace(&mut self.drained, true)
    }
}
