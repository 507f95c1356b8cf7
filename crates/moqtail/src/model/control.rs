//! Control messages (draft-14 §9): what they mean; `draft14` knows how they look.

use std::fmt;

use super::{
    FetchErrorCode, Filter, FullTrackName, GroupOrder, Location, NamespacePrefix, Parameters,
    PublishDoneCode, PublishErrorCode, PublishNamespaceErrorCode, RequestId, SetupParameters,
    SubscribeErrorCode, SubscribeNamespaceErrorCode, TrackAlias, TrackNamespace,
};

/// Most bytes in a Reason Phrase (draft-14 §1.4.3).
pub const MAX_REASON_LEN: usize = 1024;

/// Most bytes in the New Session URI of GOAWAY (draft-14 §9.4).
pub const MAX_GOAWAY_URI_LEN: usize = 8192;

/// Stream Count of PUBLISH_DONE when the number is not known (draft-14 §9.12).
pub const UNKNOWN_STREAM_COUNT: u64 = super::MAX_VARINT;

/// Text for people that goes with an error: at most [`MAX_REASON_LEN`] bytes of UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReasonPhrase(String);

impl ReasonPhrase {
    /// The text, cut at a character boundary if it is too long.
    pub fn new(text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.len() > MAX_REASON_LEN {
            let cut = (0..=MAX_REASON_LEN)
                .rev()
                .find(|&i| text.is_char_boundary(i))
                .unwrap_or(0);
            text.truncate(cut);
        }
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for ReasonPhrase {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for ReasonPhrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// CLIENT_SETUP (0x20, draft-14 §9.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientSetup {
    /// Versions the client supports, in its order.
    pub versions: Vec<u64>,
    /// Setup parameters.
    pub parameters: SetupParameters,
}

/// SERVER_SETUP (0x21, draft-14 §9.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerSetup {
    /// The version chosen by the server.
    pub version: u64,
    /// Setup parameters.
    pub parameters: SetupParameters,
}

/// GOAWAY (0x10, draft-14 §9.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Goaway {
    /// Where to connect next; empty: the current URI. Must be empty from a client.
    pub new_session_uri: String,
}

/// MAX_REQUEST_ID (0x15, draft-14 §9.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaxRequestId {
    /// New exclusive limit.
    pub limit: u64,
}

/// REQUESTS_BLOCKED (0x1A, draft-14 §9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestsBlocked {
    /// The limit that blocks the sender.
    pub limit: u64,
}

/// SUBSCRIBE (0x3, draft-14 §9.7); TRACK_STATUS (0xD, §9.20) has the same fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subscribe {
    /// New Request ID.
    pub request_id: RequestId,
    /// The track.
    pub track: FullTrackName,
    /// 0 is the most urgent.
    pub subscriber_priority: u8,
    /// `None`: the publisher's preference.
    pub group_order: Option<GroupOrder>,
    /// Forward State at the start.
    pub forward: bool,
    /// Which objects pass.
    pub filter: Filter,
    /// Parameters.
    pub parameters: Parameters,
}

/// SUBSCRIBE_OK (0x4, draft-14 §9.8); TRACK_STATUS_OK (0xE, §9.21) has the same fields with Track Alias 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubscribeOk {
    /// The SUBSCRIBE answered.
    pub request_id: RequestId,
    /// Number of the track in this session.
    pub track_alias: TrackAlias,
    /// Milliseconds until the subscription ends; 0: never or unknown.
    pub expires_ms: u64,
    /// Order in force.
    pub group_order: GroupOrder,
    /// Largest location so far; `None`: no content yet.
    pub largest: Option<Location>,
    /// Parameters.
    pub parameters: Parameters,
}

/// An answer that refuses a request, with the code of its own registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestError<C> {
    /// The request answered.
    pub request_id: RequestId,
    /// Why.
    pub code: C,
    /// Why, for people.
    pub reason: ReasonPhrase,
}

/// SUBSCRIBE_UPDATE (0x2, draft-14 §9.10).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubscribeUpdate {
    /// New Request ID.
    pub request_id: RequestId,
    /// The SUBSCRIBE or PUBLISH changed.
    pub subscription: RequestId,
    /// New first location.
    pub start: Location,
    /// Last group that passes; `None`: open-ended. (On the wire plus 1, 0 for open.)
    pub end_group: Option<u64>,
    /// 0 is the most urgent.
    pub subscriber_priority: u8,
    /// New Forward State.
    pub forward: bool,
    /// Parameters.
    pub parameters: Parameters,
}

/// PUBLISH_DONE (0xB, draft-14 §9.12).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublishDone {
    /// The SUBSCRIBE or PUBLISH that ends.
    pub request_id: RequestId,
    /// Why.
    pub status: PublishDoneCode,
    /// Data streams opened for the subscription, or [`UNKNOWN_STREAM_COUNT`].
    pub stream_count: u64,
    /// Why, for people.
    pub reason: ReasonPhrase,
}

/// PUBLISH (0x1D, draft-14 §9.13).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Publish {
    /// New Request ID.
    pub request_id: RequestId,
    /// The track.
    pub track: FullTrackName,
    /// Number of the track in this session.
    pub track_alias: TrackAlias,
    /// Order preferred by the publisher.
    pub group_order: GroupOrder,
    /// Largest location so far; `None`: no content yet.
    pub largest: Option<Location>,
    /// Forward State at the start.
    pub forward: bool,
    /// Parameters.
    pub parameters: Parameters,
}

/// PUBLISH_OK (0x1E, draft-14 §9.14).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublishOk {
    /// The PUBLISH answered.
    pub request_id: RequestId,
    /// Forward State from now on.
    pub forward: bool,
    /// 0 is the most urgent.
    pub subscriber_priority: u8,
    /// Order in force.
    pub group_order: GroupOrder,
    /// Which objects pass.
    pub filter: Filter,
    /// Parameters.
    pub parameters: Parameters,
}

/// What a FETCH asks for (draft-14 §9.16).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FetchKind {
    /// 0x1: a range of a track.
    Standalone {
        /// The track.
        track: FullTrackName,
        /// First location.
        start: Location,
        /// Last location with Object plus 1; Object 0: all of the group.
        end: Location,
    },
    /// 0x2: from `joining_start` groups before the joined subscription's largest group.
    RelativeJoining {
        /// The subscription joined.
        joining: RequestId,
        /// Groups before the largest one.
        joining_start: u64,
    },
    /// 0x3: from group `joining_start`.
    AbsoluteJoining {
        /// The subscription joined.
        joining: RequestId,
        /// First group.
        joining_start: u64,
    },
}

/// FETCH (0x16, draft-14 §9.16).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fetch {
    /// New Request ID.
    pub request_id: RequestId,
    /// 0 is the most urgent.
    pub subscriber_priority: u8,
    /// `None`: the publisher's preference.
    pub group_order: Option<GroupOrder>,
    /// What is asked for.
    pub kind: FetchKind,
    /// Parameters.
    pub parameters: Parameters,
}

/// FETCH_OK (0x18, draft-14 §9.17).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FetchOk {
    /// The FETCH answered.
    pub request_id: RequestId,
    /// Order of the groups on the stream.
    pub group_order: GroupOrder,
    /// The whole track is published and `end` is its final object.
    pub end_of_track: bool,
    /// Last location covered, with Object plus 1; Object 0: all of the group.
    pub end: Location,
    /// Parameters.
    pub parameters: Parameters,
}

/// PUBLISH_NAMESPACE (0x6, draft-14 §9.23).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublishNamespace {
    /// New Request ID.
    pub request_id: RequestId,
    /// The namespace offered.
    pub namespace: TrackNamespace,
    /// Parameters.
    pub parameters: Parameters,
}

/// PUBLISH_NAMESPACE_CANCEL (0xC, draft-14 §9.27).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublishNamespaceCancel {
    /// The namespace no longer wanted.
    pub namespace: TrackNamespace,
    /// Why.
    pub code: PublishNamespaceErrorCode,
    /// Why, for people.
    pub reason: ReasonPhrase,
}

/// SUBSCRIBE_NAMESPACE (0x11, draft-14 §9.28).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubscribeNamespace {
    /// New Request ID.
    pub request_id: RequestId,
    /// The prefix of interest.
    pub prefix: NamespacePrefix,
    /// Parameters.
    pub parameters: Parameters,
}

/// Any control message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ControlMessage {
    /// CLIENT_SETUP.
    ClientSetup(ClientSetup),
    /// SERVER_SETUP.
    ServerSetup(ServerSetup),
    /// GOAWAY.
    Goaway(Goaway),
    /// MAX_REQUEST_ID.
    MaxRequestId(MaxRequestId),
    /// REQUESTS_BLOCKED.
    RequestsBlocked(RequestsBlocked),
    /// SUBSCRIBE.
    Subscribe(Subscribe),
    /// SUBSCRIBE_OK.
    SubscribeOk(SubscribeOk),
    /// SUBSCRIBE_ERROR.
    SubscribeError(RequestError<SubscribeErrorCode>),
    /// SUBSCRIBE_UPDATE.
    SubscribeUpdate(SubscribeUpdate),
    /// UNSUBSCRIBE.
    Unsubscribe(RequestId),
    /// PUBLISH_DONE.
    PublishDone(PublishDone),
    /// PUBLISH.
    Publish(Publish),
    /// PUBLISH_OK.
    PublishOk(PublishOk),
    /// PUBLISH_ERROR.
    PublishError(RequestError<PublishErrorCode>),
    /// FETCH.
    Fetch(Fetch),
    /// FETCH_OK.
    FetchOk(FetchOk),
    /// FETCH_ERROR.
    FetchError(RequestError<FetchErrorCode>),
    /// FETCH_CANCEL.
    FetchCancel(RequestId),
    /// TRACK_STATUS.
    TrackStatus(Subscribe),
    /// TRACK_STATUS_OK.
    TrackStatusOk(SubscribeOk),
    /// TRACK_STATUS_ERROR.
    TrackStatusError(RequestError<SubscribeErrorCode>),
    /// PUBLISH_NAMESPACE.
    PublishNamespace(PublishNamespace),
    /// PUBLISH_NAMESPACE_OK.
    PublishNamespaceOk(RequestId),
    /// PUBLISH_NAMESPACE_ERROR.
    PublishNamespaceError(RequestError<PublishNamespaceErrorCode>),
    /// PUBLISH_NAMESPACE_DONE.
    PublishNamespaceDone(TrackNamespace),
    /// PUBLISH_NAMESPACE_CANCEL.
    PublishNamespaceCancel(PublishNamespaceCancel),
    /// SUBSCRIBE_NAMESPACE.
    SubscribeNamespace(SubscribeNamespace),
    /// SUBSCRIBE_NAMESPACE_OK.
    SubscribeNamespaceOk(RequestId),
    /// SUBSCRIBE_NAMESPACE_ERROR.
    SubscribeNamespaceError(RequestError<SubscribeNamespaceErrorCode>),
    /// UNSUBSCRIBE_NAMESPACE.
    UnsubscribeNamespace(NamespacePrefix),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S1.4.3-03.
    #[test]
    fn long_reasons_are_cut_between_characters() {
        let reason = ReasonPhrase::new("ü".repeat(5000));
        assert_eq!(reason.as_str(), "ü".repeat(512));
        let reason = ReasonPhrase::new(format!("a{}", "ü".repeat(5000)));
        assert_eq!(reason.as_str().len(), 1023);
        assert_eq!(ReasonPhrase::new("short").as_str(), "short");
    }
}
