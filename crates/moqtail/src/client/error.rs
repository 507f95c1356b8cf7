//! Why a client cannot do what it was asked for.

use crate::{
    model::{DecodeError, PublishNamespaceErrorCode, SessionCode},
    session::CallError,
    track::MalformedTrack,
    transport::{self, CloseReason, StreamError},
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
    /// A broadcast made independently is published in this session: only those that know of each other are sure to have
    /// different Track Aliases.
    #[error("another broadcast is published here; make this one with Broadcast::beside")]
    OtherBroadcast,
    /// No answer came in time; the announcement was withdrawn.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// The session ended.
    #[error("the session ended")]
    SessionEnded,
}

/// Why a subgroup cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The publisher ended the stream early, or the connection is gone, between two objects. Objects not yet read are lost
    /// with this stream.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The same inside an object, which is lost, too.
    #[error("object {object} broke off after {received} of {len} bytes: {cause}")]
    Partial {
        /// Object ID.
        object: u64,
        /// Bytes of its payload that arrived.
        received: u64,
        /// Payload length of the object.
        len: u64,
        /// How the stream ended.
        cause: StreamError,
    },
    /// The bytes are not draft 14. The session is being closed for it.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// What came is no track: an object or an end contradicts what this subscription has received before (draft-14 §2.5).
    /// The subscription has ended, the session goes on. The publisher is to blame; asking again helps only if it publishes
    /// something else by then.
    #[error("the track is malformed: {0}")]
    MalformedTrack(#[from] MalformedTrack),
    /// The object is larger than [`super::ClientLimits::max_object_len`] and was asked for as a whole.
    #[error(
        "object of {len} bytes is over the limit of {max} bytes; raise max_object_len, or read it in pieces"
    )]
    TooLarge {
        /// Payload length of the object.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// The objects of this session that are not complete would hold more than [`super::ClientLimits::max_gathered`]; this
    /// one is given up.
    #[error(
        "incomplete objects hold {max} bytes and no more; raise max_gathered, or read large objects in pieces"
    )]
    TooMuchAtOnce {
        /// The limit, in bytes.
        max: u64,
    },
}
