//! Why a client cannot do what it was asked for.

use crate::{
    model::{PublishNamespaceErrorCode, SessionCode},
    session::CallError,
    transport::{self, CloseReason},
};

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is no connection.
    #[error(transparent)]
    Transport(#[from] transport::ConnectError),
    /// The configuration cannot be sent, for example a path that breaks URI syntax.
    #[error("configuration: {0}")]
    Config(CallError),
    /// The connection stands, but the server ended the session before SETUP was done.
    #[error("the server did not set a session up: {0}")]
    Setup(CloseReason),
    /// The server broke the protocol or a limit before SETUP was done, or took too long; this side closed the session.
    #[error("the server broke the protocol: {reason} ({code})")]
    Violation {
        /// The code that the server was told (draft-14 §3.4).
        code: SessionCode,
        /// What it did, with the section of the draft.
        reason: String,
    },
}

/// Why a broadcast is not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The peer answered PUBLISH_NAMESPACE_ERROR.
    #[error("refused with {code}: {reason}")]
    Rejected {
        /// Why.
        code: PublishNamespaceErrorCode,
        /// Why, for people.
        reason: String,
    },
    /// The session cannot take the request; see the source.
    #[error("the session does not take the request: {0}")]
    Session(#[from] CallError),
    /// A broadcast made independently is published in this session, and their Track Aliases might collide.
    #[error("another broadcast is published here; make this one with Broadcast::beside")]
    OtherBroadcast,
    /// No answer came in time; the announcement was withdrawn.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// The session ended before an answer came.
    #[error("the session ended before an answer came")]
    SessionEnded,
}
