//! Why sessions close and calls fail. The only place that picks a session termination code.

use std::fmt;

use super::{blame::Blame, config::Carrier, event::RequestHandle};
use crate::model::{
    DecodeError, EncodeError, FullTrackName, Location, RequestId, SessionCode, Tolerance,
    TrackAlias, TrackNamespace,
};

/// Why a server's application refuses a client ([`Session::refuse_setup`](super::Session::refuse_setup)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupRefusal {
    /// PATH is not served here (draft-14 §9.3.2.2).
    #[error("PATH is not served here")]
    Path,
    /// AUTHORITY is not served here (draft-14 §9.3.2.1).
    #[error("AUTHORITY is not served here")]
    Authority,
    /// The client may not have a session.
    #[error("not authorized")]
    Unauthorized,
    /// A token decodes but is invalid (draft-14 §9.2.1.1).
    #[error("token is invalid")]
    MalformedToken,
    /// A token has expired (draft-14 §9.2.1.1).
    #[error("token has expired")]
    ExpiredToken,
}

/// Why a session closes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Bytes are not draft 14.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The control stream was finished, reset or stopped.
    #[error("control stream ended while the session is active")]
    ControlStreamEnded,
    /// The peer opened another bidirectional stream.
    #[error("second bidirectional stream")]
    SecondBidirectionalStream,
    /// Something stands before the peer's SETUP.
    #[error("{0} before SETUP")]
    BeforeSetup(&'static str),
    /// A second SETUP, or the one of the wrong side.
    #[error("unexpected {0}")]
    UnexpectedSetup(&'static str),
    /// The client offers no version that is known here.
    #[error("none of the {0} offered versions is supported")]
    NoCommonVersion(usize),
    /// The server chose a version that was not offered.
    #[error("version {0:#x} was not offered")]
    VersionNotOffered(u64),
    /// A parameter that only clients send, and only on raw QUIC.
    #[error("{parameter} is not allowed here ({carrier:?}, from the {sender})")]
    TargetNotAllowed {
        /// PATH or AUTHORITY.
        parameter: TargetParameter,
        /// What the session runs over.
        carrier: Carrier,
        /// `client` or `server`.
        sender: &'static str,
    },
    /// PATH or AUTHORITY breaks URI syntax.
    #[error("{0} breaks URI syntax")]
    TargetSyntax(TargetParameter),
    /// The application refused the client.
    #[error("session refused: {refusal}{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Refused {
        /// Why.
        refusal: SetupRefusal,
        /// More for people.
        reason: String,
    },
    /// A new request has the Request ID of another one.
    #[error("{message} with Request ID {id}, which was used before")]
    RequestIdReused {
        /// The request.
        message: &'static str,
        /// What came.
        id: RequestId,
    },
    /// A new request does not have the next Request ID.
    #[error("{message} with Request ID {got}, expected {expected}")]
    RequestIdOrder {
        /// The request.
        message: &'static str,
        /// What came.
        got: RequestId,
        /// What had to come.
        expected: RequestId,
    },
    /// A new request at or above the limit.
    #[error("{message} with Request ID {id} at or above the limit {limit}")]
    TooManyRequests {
        /// The request.
        message: &'static str,
        /// Its Request ID.
        id: RequestId,
        /// The exclusive limit.
        limit: u64,
    },
    /// A message refers to a request that was never made, or to one of the wrong side.
    #[error("{message} for Request ID {id}, which was never issued by that side")]
    UnknownRequestId {
        /// The message.
        message: &'static str,
        /// What it names.
        id: RequestId,
    },
    /// A message refers to a request of another kind.
    #[error("{message} for Request ID {id}, which is a {request}")]
    WrongRequestKind {
        /// The message.
        message: &'static str,
        /// What it names.
        id: RequestId,
        /// What that is.
        request: &'static str,
    },
    /// A request was answered twice.
    #[error("{message} is a second answer to Request ID {id}")]
    SecondAnswer {
        /// The second answer.
        message: &'static str,
        /// The request.
        id: RequestId,
    },
    /// MAX_REQUEST_ID must rise.
    #[error("MAX_REQUEST_ID {new} is not above {current}")]
    LimitNotRaised {
        /// What came.
        new: u64,
        /// What was in force.
        current: u64,
    },
    /// GOAWAY may come once.
    #[error("second GOAWAY")]
    SecondGoaway,
    /// A client must not tell a URI.
    #[error("GOAWAY from a client has a New Session URI")]
    GoawayUriFromClient,
    /// A second subscription to a track of the session.
    #[error("second SUBSCRIBE to {0}")]
    DuplicateSubscribe(FullTrackName),
    /// An alias in use for another track.
    #[error("Track Alias {0} is in use for another track")]
    DuplicateTrackAlias(TrackAlias),
    /// SUBSCRIBE_UPDATE of a subscription that never was.
    #[error("SUBSCRIBE_UPDATE of Request ID {0}, which is no subscription")]
    UpdateUnknown(RequestId),
    /// SUBSCRIBE_UPDATE or PUBLISH_OK with a range that cannot be, where no answer is possible.
    #[error("{message} for Request ID {id}: {fault}")]
    Range {
        /// The message.
        message: &'static str,
        /// The subscription.
        id: RequestId,
        /// What is wrong.
        fault: RangeFault,
    },
    /// A message about a request that is not ready for it, or no longer.
    #[error("{message} for Request ID {id}, which is {state}")]
    WrongState {
        /// The message.
        message: &'static str,
        /// The request.
        id: RequestId,
        /// What it is instead.
        state: &'static str,
    },
    /// A token was registered although no alias is allowed.
    #[error("token of {0} bytes registered over MAX_AUTH_TOKEN_CACHE_SIZE 0")]
    TokenCacheOverflow(usize),
    /// A token alias that is not registered.
    #[error("token alias {0} is not registered")]
    UnknownTokenAlias(u64),
    /// No SETUP in time.
    #[error("no SETUP in time")]
    SetupTimeout,
    /// The peer stayed after GOAWAY.
    #[error("subscriptions still open too long after GOAWAY")]
    GoawayTimeout,
    /// The peer does not read its control stream.
    #[error("{queued} control bytes are not read by the peer, over the limit of {max}")]
    ControlBacklog {
        /// Bytes given out and not written.
        queued: usize,
        /// The limit.
        max: usize,
    },
    /// An answer could not be written.
    #[error("could not encode: {0}")]
    Encode(#[from] EncodeError),
    /// This side sent GOAWAY, and nothing is open any more.
    #[error("going away")]
    Gone,
    /// This side has as many sessions as it may.
    #[error("no room for another session; try again later")]
    Overloaded,
    /// The application closed the session.
    #[error("{reason}")]
    Application {
        /// Its code.
        code: SessionCode,
        /// Its text.
        reason: String,
    },
}

/// Which of the two parameters that say where a client wants to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetParameter {
    /// PATH.
    Path,
    /// AUTHORITY.
    Authority,
}

impl fmt::Display for TargetParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "PATH",
            Self::Authority => "AUTHORITY",
        })
    }
}

/// How a range breaks draft-14 §9.7 or §9.10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeFault {
    /// Start Location must not decrease.
    #[error("start {new} is below {current}")]
    StartLowered {
        /// Asked for.
        new: Location,
        /// Asked for before.
        current: Location,
    },
    /// End Group must not increase; open-ended counts as the highest.
    #[error("end group is above {current}")]
    EndRaised {
        /// In force.
        current: u64,
    },
    /// End Group must not be below the start's group.
    #[error("end group {end} is below the start {start}")]
    EndBeforeStart {
        /// First location.
        start: Location,
        /// Last group.
        end: u64,
    },
}

impl SessionError {
    /// The session termination code of draft-14 §3.4.
    pub fn code(&self) -> SessionCode {
        match self {
            Self::Decode(error) => error.code(),
            Self::ControlStreamEnded
            | Self::SecondBidirectionalStream
            | Self::BeforeSetup(_)
            | Self::UnexpectedSetup(_)
            | Self::WrongRequestKind { .. }
            | Self::SecondAnswer { .. }
            | Self::LimitNotRaised { .. }
            | Self::SecondGoaway
            | Self::GoawayUriFromClient
            | Self::DuplicateSubscribe(_)
            | Self::UpdateUnknown(_)
            | Self::Range { .. }
            | Self::WrongState { .. } => SessionCode::PROTOCOL_VIOLATION,
            Self::NoCommonVersion(_) | Self::VersionNotOffered(_) => {
                SessionCode::VERSION_NEGOTIATION_FAILED
            }
            Self::TargetNotAllowed { parameter, .. } => match parameter {
                TargetParameter::Path => SessionCode::INVALID_PATH,
                TargetParameter::Authority => SessionCode::INVALID_AUTHORITY,
            },
            Self::TargetSyntax(TargetParameter::Path) => SessionCode::MALFORMED_PATH,
            Self::TargetSyntax(TargetParameter::Authority) => SessionCode::MALFORMED_AUTHORITY,
            Self::Refused { refusal, .. } => match refusal {
                SetupRefusal::Path => SessionCode::INVALID_PATH,
                SetupRefusal::Authority => SessionCode::INVALID_AUTHORITY,
                SetupRefusal::Unauthorized => SessionCode::UNAUTHORIZED,
                SetupRefusal::MalformedToken => SessionCode::MALFORMED_AUTH_TOKEN,
                SetupRefusal::ExpiredToken => SessionCode::EXPIRED_AUTH_TOKEN,
            },
            Self::RequestIdOrder { .. }
            | Self::RequestIdReused { .. }
            | Self::UnknownRequestId { .. } => SessionCode::INVALID_REQUEST_ID,
            Self::TooManyRequests { .. } => SessionCode::TOO_MANY_REQUESTS,
            Self::DuplicateTrackAlias(_) => SessionCode::DUPLICATE_TRACK_ALIAS,
            Self::TokenCacheOverflow(_) => SessionCode::AUTH_TOKEN_CACHE_OVERFLOW,
            Self::UnknownTokenAlias(_) => SessionCode::UNKNOWN_AUTH_TOKEN_ALIAS,
            Self::SetupTimeout => SessionCode::CONTROL_MESSAGE_TIMEOUT,
            Self::GoawayTimeout => SessionCode::GOAWAY_TIMEOUT,
            Self::Gone => SessionCode::NO_ERROR,
            Self::ControlBacklog { .. } | Self::Encode(_) | Self::Overloaded => {
                SessionCode::INTERNAL_ERROR
            }
            Self::Application { code, .. } => *code,
        }
    }

    /// Section of draft 14 with the rule; empty where no rule was broken.
    pub fn section(&self) -> &'static str {
        match self {
            Self::Decode(_) => "§9, §10",
            Self::ControlStreamEnded | Self::SecondBidirectionalStream => "§3.3",
            Self::BeforeSetup(_) | Self::UnexpectedSetup(_) => "§9.3",
            Self::NoCommonVersion(_) | Self::VersionNotOffered(_) => "§9.3.1",
            Self::TargetNotAllowed { parameter, .. } | Self::TargetSyntax(parameter) => {
                match parameter {
                    TargetParameter::Path => "§9.3.2.2",
                    TargetParameter::Authority => "§9.3.2.1",
                }
            }
            Self::Refused { .. } => "§9.3.2",
            Self::RequestIdOrder { .. }
            | Self::RequestIdReused { .. }
            | Self::UnknownRequestId { .. }
            | Self::WrongRequestKind { .. } => "§9.1",
            Self::TooManyRequests { .. } | Self::LimitNotRaised { .. } => "§9.5",
            Self::SecondAnswer { .. } => "§5.1, §6.2",
            Self::SecondGoaway | Self::GoawayUriFromClient => "§9.4",
            Self::DuplicateSubscribe(_) => "§9.7",
            Self::DuplicateTrackAlias(_) => "§9.8, §9.13",
            Self::UpdateUnknown(_) | Self::Range { .. } => "§9.10",
            Self::WrongState { .. } => "§5.1",
            Self::TokenCacheOverflow(_) | Self::UnknownTokenAlias(_) => "§9.2.1.1",
            Self::SetupTimeout => "§3.4",
            Self::GoawayTimeout => "§3.5",
            Self::ControlBacklog { .. }
            | Self::Encode(_)
            | Self::Gone
            | Self::Overloaded
            | Self::Application { .. } => "",
        }
    }

    /// Whose doing it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Encode(_) | Self::Overloaded => Blame::Local,
            Self::Gone | Self::Application { .. } => Blame::Application,
            _ => Blame::Peer,
        }
    }

    /// The deviation that would have to be tolerated for the session to go on; `None` where none would help.
    pub fn tolerance(&self) -> Option<Tolerance> {
        match self {
            Self::Decode(error) => error.tolerance(),
            Self::RequestIdOrder { got, expected, .. }
                if got > expected && got.0 % 2 == expected.0 % 2 =>
            {
                Some(Tolerance::RequestIdOrder)
            }
            _ => None,
        }
    }

    /// The text for the peer: what happened and where draft 14 says so.
    pub fn reason(&self) -> String {
        match self.section() {
            "" => self.to_string(),
            section => format!("{self} (draft-14 {section})"),
        }
    }
}

/// A call was not possible. Nothing changed, nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The session is closed or about to close.
    #[error("the session is closed")]
    Closed,
    /// SETUP is not complete; wait for [`Event::Established`](super::Event::Established).
    #[error("the session is not established yet")]
    NotEstablished,
    /// The peer sent GOAWAY: make the request in another session (draft-14 §9.4).
    #[error("the peer is going away")]
    GoingAway,
    /// The request has ended, perhaps by the peer while this call was made, or is of a kind without this call.
    #[error("request {0} has ended or does not take this call")]
    NoSuchRequest(RequestHandle),
    /// The request was answered already, or is not answered yet.
    #[error("request {0} is not in a state for this call")]
    WrongState(RequestHandle),
    /// The track has a subscription in this session: use or end that one (draft-14 §9.7).
    #[error("the track has subscription {0} in this session")]
    AlreadySubscribed(RequestHandle),
    /// The peer has a subscription to the track in this session (draft-14 §9.7).
    #[error("the peer has subscription {0} to the track in this session")]
    AlreadyServed(RequestHandle),
    /// The namespace is announced in this session.
    #[error("{0} is announced in this session")]
    AlreadyAnnounced(TrackNamespace),
    /// The alias stands for another track of this session (draft-14 §9.8).
    #[error("Track Alias {0} is in use for another track")]
    AliasInUse(TrackAlias),
    /// The range would be widened or is backward.
    #[error(transparent)]
    Range(#[from] RangeFault),
    /// Over [`max_queued_requests`](super::SessionLimits::max_queued_requests): the peer gives no Request IDs.
    #[error("too many requests wait for the peer's MAX_REQUEST_ID")]
    QueueFull,
    /// A token alias; only values can be sent.
    #[error("authorization tokens can only be sent by value")]
    TokenAlias,
    /// GOAWAY was sent already.
    #[error("GOAWAY was sent already")]
    GoawaySent,
    /// Only servers tell a New Session URI (draft-14 §9.4).
    #[error("only a server can tell a New Session URI")]
    GoawayUri,
    /// The New Session URI has another scheme than the session (draft-14 §9.4).
    #[error("the New Session URI has another scheme than this session: give one of {scheme}:")]
    GoawayScheme {
        /// The scheme of the session.
        scheme: &'static str,
    },
    /// PATH or AUTHORITY of the own configuration breaks URI syntax.
    #[error("{0} breaks URI syntax")]
    TargetSyntax(TargetParameter),
    /// The values cannot be written in draft 14.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}
