//! How a story went wrong.

use std::{fmt, time::Duration};

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Close {
    /// With a session termination code (draft-14 §3.4).
    Code {
        /// The code.
        code: u64,
        /// The text sent with it.
        reason: String,
    },
    /// Below MOQT: an HTTP/3 or QUIC error, a timeout, nothing at all.
    Below(String),
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code { code, reason } => write!(f, "closed with {code:#x} ({reason})"),
            Self::Below(what) => write!(f, "ended below MOQT: {what}"),
        }
    }
}

/// Something else happened than the story says.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing came.
    #[error("waited {waited:?} for {what}")]
    Silence {
        /// How long.
        waited: Duration,
        /// What for.
        what: String,
    },
    /// The session ended where it had to go on.
    #[error("session {close}, instead of {instead}")]
    Ended {
        /// How it ended.
        close: Close,
        /// What had to come.
        instead: String,
    },
    /// The session ended in another way than it had to.
    #[error("session {got}, instead of code {expected:#x}")]
    WrongClose {
        /// The code that was due.
        expected: u64,
        /// What came.
        got: Close,
    },
    /// Another message came.
    #[error("message {got:#x} ({payload:x?}), instead of {expected:#x}")]
    WrongMessage {
        /// The type that was due.
        expected: u64,
        /// The type that came.
        got: u64,
        /// With this payload.
        payload: Vec<u8>,
    },
    /// The transport did not do what was asked of it.
    #[error("{what}: {reason}")]
    Transport {
        /// What was asked.
        what: &'static str,
        /// What it says.
        reason: String,
    },
}

impl Failure {
    pub(crate) fn transport(what: &'static str, reason: impl fmt::Display) -> Self {
        let reason = reason.to_string();
        Self::Transport { what, reason }
    }
}
