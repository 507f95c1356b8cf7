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

    /// Checks an own GOAWAY in a session of this scheme; `from_client`: this side is a client.
    pub(super) fn check_send(
        &self,
        from_client: bool,
        uri: &str,
        scheme: &'static str,
    ) -> Result<(), CallError> {
        if self.sent {
            return Err(CallError::GoawaySent);
        }
        if uri.is_empty() {
            return Ok(());
        }
        // draft-14 §9.4
        if from_client {
            return Err(CallError::GoawayUri);
        }
        // draft-14 §9.4: a client may have no way to a URI of another scheme
        match uri.split_once(':') {
            Some((of_uri, _)) if of_uri.eq_ignore_ascii_case(scheme) => Ok(()),
            _ => Err(CallError::GoawayScheme { scheme }),
        }
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
