//! The session itself: what it is made of and how it is drained.

use std::time::Instant;

use super::{config::SessionConfig, error::CallError, event::Output};

/// One peer of one MOQT session.
///
/// After every input and every call: [`poll_output`](Self::poll_output) until `None`, then
/// [`deadline`](Self::deadline). After [`Output::Close`] all inputs are ignored and all calls fail with
/// [`CallError::Closed`].
#[derive(Debug)]
pub struct Session {}

impl Session {
    /// A session over a new connection. A client's CLIENT_SETUP is its first output.
    ///
    /// # Errors
    /// The configuration cannot be written: PATH or AUTHORITY break URI syntax, or tokens are too long.
    pub fn new(_config: SessionConfig, _now: Instant) -> Result<Self, CallError> {
        unimplemented!()
    }

    /// The next thing to do; `None`: wait for input or [`deadline`](Self::deadline).
    pub fn poll_output(&mut self) -> Option<Output> {
        unimplemented!()
    }

    /// When [`timeout`](Self::timeout) wants to be called; changes with every input and call.
    pub fn deadline(&self) -> Option<Instant> {
        unimplemented!()
    }

    /// Whether both SETUP messages are exchanged and the session is not closed.
    pub fn is_established(&self) -> bool {
        unimplemented!()
    }

    /// Whether the session has closed or is about to ([`Output::Close`] is queued or was given out).
    pub fn is_closed(&self) -> bool {
        unimplemented!()
    }
}
