//! What the hub keeps of tracks, publishers and subscribers.

use std::{collections::BTreeMap, time::Instant};

use super::{DownstreamRequest, SessionId, TrackId, UpstreamId};
use crate::{
    model::{FullTrackName, SubscribeErrorCode},
    session::RequestHandle,
};

/// A subscriber: its session and its request there.
pub(super) type Downstream = (SessionId, RequestHandle);

/// A subscription of the relay at a publisher.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) session: SessionId,
    pub(super) track: TrackId,
    /// It came by PUBLISH, so its Forward State follows the subscribers'.
    pub(super) published: bool,
    pub(super) active: bool,
    pub(super) forward: bool,
}

/// How far a subscriber has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DownstreamState {
    Waiting(DownstreamRequest),
    Served { forward: bool },
}

/// A track with everybody who sends or wants it.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) name: FullTrackName,
    pub(super) upstreams: Vec<UpstreamId>,
    pub(super) downstream: BTreeMap<Downstream, DownstreamState>,
    /// Out of the directory; subscribers get what is left.
    pub(super) ended: bool,
    /// Until when waiting subscribers get an answer.
    pub(super) answer_by: Option<Instant>,
    /// Until when served subscribers stay without a publisher.
    pub(super) linger_until: Option<Instant>,
    /// Why the last asked publisher refused.
    pub(super) refusal: Option<SubscribeErrorCode>,
    /// A publisher said that the track has ended, while another one seemed to go on.
    pub(super) ended_by_one: Option<String>,
}

impl Track {
    pub(super) fn wants_forward(&self) -> bool {
        self.downstream.values().any(|state| match state {
            DownstreamState::Waiting(request) => request.forward,
            DownstreamState::Served { forward } => *forward,
        })
    }

    pub(super) fn has_served(&self) -> bool {
        self.downstream
            .values()
            .any(|d| matches!(d, DownstreamState::Served { .. }))
    }
}
