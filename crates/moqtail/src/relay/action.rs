//! What the hub asks its shell to do, in this order.

use super::{SessionId, TrackId, UpstreamId};
use crate::{
    model::{
        Filter, FullTrackName, GroupOrder, Location, PublishDoneCode, PublishErrorCode,
        PublishNamespaceErrorCode, SubscribeErrorCode, TrackAlias,
    },
    session::RequestHandle,
};

/// Which Largest Location a SUBSCRIBE_OK tells and its filter starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LargestSource {
    /// What the log knows at the instant of attaching.
    Log,
    /// What upstream's SUBSCRIBE_OK said: the answer to the SUBSCRIBE that opened the upstream subscription.
    Upstream(Option<Location>),
}

/// How a subscriber wants to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DownstreamRequest {
    /// Which objects pass.
    pub(crate) filter: Filter,
    /// Forward State.
    pub(crate) forward: bool,
    /// 0 is the most urgent.
    pub(crate) priority: u8,
    /// `None`: the publisher's preference.
    pub(crate) group_order: Option<GroupOrder>,
    /// DELIVERY TIMEOUT of the subscriber.
    pub(crate) delivery_timeout: Option<std::time::Duration>,
}

/// One order of the hub; a request is named by its session and handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A track came into being; `alias` names it in every downstream session.
    CreateTrack {
        track: TrackId,
        name: FullTrackName,
        alias: TrackAlias,
    },
    /// Nobody needs the track any more.
    DropTrack { track: TrackId },
    /// The track ended: its subscriptions get what its log holds for them, then PUBLISH_DONE.
    EndTrack {
        track: TrackId,
        status: PublishDoneCode,
        reason: String,
    },
    /// Answer SUBSCRIBE with SUBSCRIBE_OK and deliver.
    AcceptSubscribe {
        session: SessionId,
        handle: RequestHandle,
        track: TrackId,
        request: DownstreamRequest,
        largest: LargestSource,
    },
    /// Answer SUBSCRIBE with SUBSCRIBE_ERROR.
    RejectSubscribe {
        session: SessionId,
        handle: RequestHandle,
        code: SubscribeErrorCode,
        reason: &'static str,
    },
    /// The subscriber left: reset its streams and forget it.
    DetachSubscription {
        session: SessionId,
        handle: RequestHandle,
    },
    /// SUBSCRIBE at a publisher; the answer is told to the hub by `upstream`.
    SubscribeUpstream {
        session: SessionId,
        upstream: UpstreamId,
        track: TrackId,
        name: FullTrackName,
    },
    /// UNSUBSCRIBE at a publisher; objects of `upstream` are no longer taken.
    UnsubscribeUpstream {
        session: SessionId,
        upstream: UpstreamId,
    },
    /// SUBSCRIBE_UPDATE at a publisher that came by PUBLISH.
    ForwardUpstream {
        session: SessionId,
        upstream: UpstreamId,
        forward: bool,
    },
    /// Answer PUBLISH with PUBLISH_OK and take its objects as `upstream`.
    AcceptPublish {
        session: SessionId,
        handle: RequestHandle,
        upstream: UpstreamId,
        track: TrackId,
        forward: bool,
    },
    /// Answer PUBLISH with PUBLISH_ERROR.
    RejectPublish {
        session: SessionId,
        handle: RequestHandle,
        code: PublishErrorCode,
        reason: &'static str,
    },
    /// Answer PUBLISH_NAMESPACE with PUBLISH_NAMESPACE_OK.
    AcceptNamespace {
        session: SessionId,
        handle: RequestHandle,
    },
    /// Answer PUBLISH_NAMESPACE with PUBLISH_NAMESPACE_ERROR.
    RejectNamespace {
        session: SessionId,
        handle: RequestHandle,
        code: PublishNamespaceErrorCode,
        reason: &'static str,
    },
}
