//! What comes out of a session, and the values of requests that go in and out.

use std::{fmt, time::Duration};

use bytes::Bytes;

use super::{blame::Blame, config::Token};
use crate::model::{
    Filter, FullTrackName, GroupOrder, Location, Parameters, PublishDoneCode, PublishErrorCode,
    PublishNamespaceErrorCode, ReasonPhrase, SessionCode, StreamCode, SubscribeErrorCode,
    Tolerance, TrackAlias, TrackNamespace,
};

/// Names one request of either side within one session; never reused there.
///
/// It is no number of the wire: a request has its handle before it has a Request ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestHandle(pub(crate) u64);

impl fmt::Display for RequestHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Names one inbound unidirectional stream; chosen by the shell, unique within the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey(pub u64);

/// What the shell has to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Write to the control stream; report with [`Session::control_written`](super::Session::control_written).
    Control(Bytes),
    /// Tell the application.
    Event(Event),
    /// A parked stream belongs to this subscription: read on and deliver.
    ResumeStream {
        /// The parked stream.
        stream: StreamKey,
        /// Its subscription.
        handle: RequestHandle,
    },
    /// Stop reading this stream: STOP_SENDING with `code`. It needs no [`Session::inbound_stream_ended`](super::Session::inbound_stream_ended) any more.
    StopStream {
        /// The stream: parked, delivering, or with a header that took too long.
        stream: StreamKey,
        /// Data stream code.
        code: StreamCode,
    },
    /// Close the connection. Always the last output.
    Close(Close),
}

/// How and why a session closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// Session termination code (draft-14 §3.4).
    pub code: SessionCode,
    /// Why, with the section of the draft; sent to the peer.
    pub reason: String,
    /// Whose doing it is.
    pub blame: Blame,
    /// The deviation of the peer that would have to be tolerated for the session to go on.
    pub tolerance: Option<Tolerance>,
}

/// What becomes of an inbound stream whose header was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamVerdict {
    /// Deliver its objects to this subscription.
    Deliver(RequestHandle),
    /// Stop reading until [`Output::ResumeStream`] or [`Output::StopStream`] names it. What was read already is kept by the shell.
    Park,
    /// Stop reading: STOP_SENDING with this code.
    Refuse(StreamCode),
}

/// The peer's SETUP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSetup {
    /// AUTHORITY; only from a client on raw QUIC. Its syntax was checked.
    pub authority: Option<String>,
    /// PATH; only from a client on raw QUIC. Its syntax was checked. Absent, empty and `/` name the same.
    pub path: Option<String>,
    /// Authorization tokens.
    pub tokens: Vec<Token>,
    /// MOQT_IMPLEMENTATION, if it is UTF-8.
    pub implementation: Option<String>,
}

/// How an own request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFailure<C: fmt::Debug + fmt::Display> {
    /// The peer refused it.
    #[error("refused by the peer with {code}: {reason}")]
    Refused {
        /// Code of the error message's registry; may be unregistered.
        code: C,
        /// The peer's text.
        reason: ReasonPhrase,
    },
    /// No answer came within [`answer_timeout`](super::SessionLimits::answer_timeout); the request was withdrawn, or
    /// is not sent any more if it still waited for the peer's MAX_REQUEST_ID.
    #[error("no answer from the peer in time")]
    TimedOut,
    /// The peer sent GOAWAY before the request could be sent (draft-14 §9.4); ask in another session.
    #[error("the peer is going away")]
    GoingAway,
}

/// What happened, for the application.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Server only: a client wants a session. Answer with [`Session::accept_setup`](super::Session::accept_setup) or [`Session::refuse_setup`](super::Session::refuse_setup).
    SetupRequested(PeerSetup),
    /// Both SETUP messages are exchanged; calls are possible. On a server, `PeerSetup` is the one of `SetupRequested`.
    Established(PeerSetup),

    /// The peer subscribes. Answer with [`Session::accept_subscribe`](super::Session::accept_subscribe) or [`Session::reject_subscribe`](super::Session::reject_subscribe).
    SubscribeRequested(SubscribeRequest),
    /// The peer changed a subscription that is served here.
    SubscriptionUpdated(SubscriptionChange),
    /// The time is over after which a subscription that is served here was to end. End it with
    /// [`Session::finish_publish`](super::Session::finish_publish) and EXPIRED.
    SubscriptionExpired {
        /// The subscription.
        handle: RequestHandle,
    },
    /// The peer left a subscription that is served here: reset its streams. No call about it is needed.
    Unsubscribed {
        /// The subscription, ended by this.
        handle: RequestHandle,
    },

    /// The peer accepted an own SUBSCRIBE.
    SubscribeAccepted(SubscribeAccepted),
    /// An own SUBSCRIBE failed. A PUBLISH for the track that crossed it was told before.
    SubscribeRejected {
        /// The subscription, ended by this.
        handle: RequestHandle,
        /// Why.
        failure: RequestFailure<SubscribeErrorCode>,
    },
    /// An own SUBSCRIBE still waited for the peer's MAX_REQUEST_ID and gave way to the peer's PUBLISH for its track, which was
    /// told before. Who refuses that may subscribe again.
    SubscribeSuperseded {
        /// The subscription, ended by this.
        handle: RequestHandle,
    },

    /// The peer offers a track. Answer with [`Session::accept_publish`](super::Session::accept_publish) or [`Session::reject_publish`](super::Session::reject_publish).
    PublishRequested(PublishRequest),
    /// The peer accepted an own PUBLISH.
    PublishAccepted(PublishAccepted),
    /// An own PUBLISH failed: reset its streams. UNINTERESTED is also told when the peer subscribed to the track before
    /// the PUBLISH could be sent: then serve that subscription.
    PublishRejected {
        /// The subscription, ended by this.
        handle: RequestHandle,
        /// Why.
        failure: RequestFailure<PublishErrorCode>,
    },

    /// The publisher ends a subscription; streams and datagrams may still come until [`Event::SubscriptionClosed`].
    PublishDone {
        /// The subscription.
        handle: RequestHandle,
        /// Why.
        status: PublishDoneCode,
        /// Data streams that the publisher opened; `None`: it does not know.
        stream_count: Option<u64>,
        /// Why, for people.
        reason: ReasonPhrase,
    },
    /// After PUBLISH_DONE: all streams of the subscription are in, or nothing more is waited for.
    SubscriptionClosed {
        /// The subscription, ended by this.
        handle: RequestHandle,
    },

    /// The peer offers a namespace. Answer with [`Session::accept_namespace`](super::Session::accept_namespace) or [`Session::reject_namespace`](super::Session::reject_namespace).
    NamespacePublished {
        /// The announcement.
        handle: RequestHandle,
        /// The namespace.
        namespace: TrackNamespace,
        /// Parameters; tokens in them are values.
        parameters: Parameters,
    },
    /// The peer withdraws a namespace, answered or not.
    NamespaceDone {
        /// The announcement, ended by this.
        handle: RequestHandle,
    },
    /// The peer accepted an own announcement.
    NamespaceAccepted {
        /// The announcement.
        handle: RequestHandle,
    },
    /// An own announcement failed.
    NamespaceRejected {
        /// The announcement, ended by this.
        handle: RequestHandle,
        /// Why.
        failure: RequestFailure<PublishNamespaceErrorCode>,
    },
    /// The peer revoked an own announcement that it had accepted.
    NamespaceCancelled {
        /// The announcement, ended by this.
        handle: RequestHandle,
        /// Why.
        code: PublishNamespaceErrorCode,
        /// Why, for people.
        reason: ReasonPhrase,
    },

    /// The peer wants this session to end soon (draft-14 §9.4). New requests fail with [`CallError::GoingAway`](super::CallError::GoingAway).
    GoawayReceived {
        /// Where to go; empty: the current URI.
        uri: String,
    },
    /// After a GOAWAY of either side: no subscription is left. The client should close with NO_ERROR (draft-14 §3.5).
    Drained,
}

/// An own SUBSCRIBE (draft-14 §9.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// The track.
    pub track: FullTrackName,
    /// 0 is the most urgent.
    pub priority: u8,
    /// `None`: the publisher's preference.
    pub group_order: Option<GroupOrder>,
    /// Forward State at the start.
    pub forward: bool,
    /// Which objects pass.
    pub filter: Filter,
    /// Parameters; tokens by value only.
    pub parameters: Parameters,
}

impl SubscribeOptions {
    /// Everything from the next object on, with priority 128.
    pub fn new(track: FullTrackName) -> Self {
        Self {
            track,
            priority: 128,
            group_order: None,
            forward: true,
            filter: Filter::LargestObject,
            parameters: Parameters::default(),
        }
    }
}

/// A change of an own subscription; `None` leaves a field as it is (draft-14 §9.10).
///
/// A subscription can only be narrowed: `start` may rise, `end_group` may fall.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionUpdate {
    /// New first location.
    pub start: Option<Location>,
    /// New last group, inclusive.
    pub end_group: Option<u64>,
    /// 0 is the most urgent.
    pub priority: Option<u8>,
    /// New Forward State.
    pub forward: Option<bool>,
    /// Parameters to set; those not named stay. Tokens by value only.
    pub parameters: Parameters,
}

/// A SUBSCRIBE of the peer. AbsoluteRange has end >= start: others were answered with INVALID_RANGE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeRequest {
    /// The subscription.
    pub handle: RequestHandle,
    /// The track.
    pub track: FullTrackName,
    /// 0 is the most urgent.
    pub priority: u8,
    /// `None`: the publisher's preference.
    pub group_order: Option<GroupOrder>,
    /// Forward State at the start.
    pub forward: bool,
    /// Which objects pass.
    pub filter: Filter,
    /// Parameters; tokens in them are values.
    pub parameters: Parameters,
}

/// The answer to a SUBSCRIBE of the peer (draft-14 §9.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeAnswer {
    /// Number of the track; not in use for another track of this session.
    pub alias: TrackAlias,
    /// After this time the subscription ends: [`Event::SubscriptionExpired`] tells when. `None`: it does not end by itself.
    /// Sent in milliseconds, at least 1.
    pub expires: Option<Duration>,
    /// Order in force.
    pub group_order: GroupOrder,
    /// Largest location at the instant from which objects are delivered; `None`: no content yet.
    pub largest: Option<Location>,
    /// Parameters.
    pub parameters: Parameters,
}

/// SUBSCRIBE_OK of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeAccepted {
    /// The subscription.
    pub handle: RequestHandle,
    /// Number of the track in this session.
    pub alias: TrackAlias,
    /// When the publisher means to end the subscription; `None`: never or unknown. Advisory.
    pub expires: Option<Duration>,
    /// Order in force.
    pub group_order: GroupOrder,
    /// Largest location when the subscription began; `None`: no content yet.
    pub largest: Option<Location>,
    /// Parameters.
    pub parameters: Parameters,
}

/// SUBSCRIBE_UPDATE of the peer, checked: the subscription was only narrowed.
///
/// For an update that came before [`Session::accept_subscribe`](super::Session::accept_subscribe) this event comes right after that call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionChange {
    /// The subscription.
    pub handle: RequestHandle,
    /// First location from now on: never before the one in force, which a subscriber with a relative filter need not know
    /// when it asks for something else.
    pub start: Location,
    /// Last group that passes; `None`: open-ended.
    pub end_group: Option<u64>,
    /// 0 is the most urgent.
    pub priority: u8,
    /// New Forward State.
    pub forward: bool,
    /// Parameters that change; tokens in them are values.
    pub parameters: Parameters,
}

/// An own PUBLISH (draft-14 §9.13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishOptions {
    /// The track.
    pub track: FullTrackName,
    /// Number of the track; not in use for another track of this session.
    pub alias: TrackAlias,
    /// Order preferred by the publisher.
    pub group_order: GroupOrder,
    /// Largest location so far; `None`: no content yet.
    pub largest: Option<Location>,
    /// Objects are sent at once, even before PUBLISH_OK.
    pub forward: bool,
    /// Parameters; tokens by value only.
    pub parameters: Parameters,
}

/// PUBLISH of the peer. Streams of its alias are parked until it is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishRequest {
    /// The subscription offered.
    pub handle: RequestHandle,
    /// The track.
    pub track: FullTrackName,
    /// Number of the track in this session.
    pub alias: TrackAlias,
    /// Order preferred by the publisher.
    pub group_order: GroupOrder,
    /// Largest location so far; `None`: no content yet.
    pub largest: Option<Location>,
    /// Objects are sent at once.
    pub forward: bool,
    /// Parameters; tokens in them are values.
    pub parameters: Parameters,
}

/// The answer to a PUBLISH of the peer (draft-14 §9.14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishAnswer {
    /// Forward State from now on.
    pub forward: bool,
    /// 0 is the most urgent.
    pub priority: u8,
    /// Order in force.
    pub group_order: GroupOrder,
    /// Which objects pass.
    pub filter: Filter,
    /// Parameters.
    pub parameters: Parameters,
}

/// PUBLISH_OK of the peer: it replaces what PUBLISH said (draft-14 §9.14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishAccepted {
    /// The subscription.
    pub handle: RequestHandle,
    /// Forward State from now on.
    pub forward: bool,
    /// 0 is the most urgent.
    pub priority: u8,
    /// Order in force.
    pub group_order: GroupOrder,
    /// Which objects pass.
    pub filter: Filter,
    /// Parameters.
    pub parameters: Parameters,
}
