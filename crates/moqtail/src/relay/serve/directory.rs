//! Shell: the hub with the sessions and tracks that its numbers stand for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    RelayConfig,
    upstream::{Upstream, Upstreams},
};
use crate::relay::limits;
use crate::relay::{Action, DownstreamRequest, Hub, LargestSource, SessionId, TrackId, UpstreamId};
use crate::{
    model::{
        Filter, GroupOrder, Location, Parameter, Parameters, PublishDoneCode, SubscribeErrorCode,
    },
    peer::{
        EgressHandle, IngestLimits, PeerHandle, Track, TrackPool, now, refusal, subscription_id,
    },
    session::{
        CallError, PublishAnswer, PublishRequest, RequestHandle, Session, SubscribeAccepted,
        SubscribeAnswer, SubscribeOptions, SubscriptionUpdate,
    },
    track::{Admission, AttachError, MalformedTrack, StartInfo, SubscriptionParams},
    transport::{Connection, Seldom, lock},
};

/// Delivery to one session, whatever carries it.
pub(super) trait Delivery: Send {
    fn attach(
        &self,
        handle: RequestHandle,
        track: &Arc<Track>,
        params: SubscriptionParams,
        admission: Admission,
    ) -> Result<StartInfo, AttachError>;
    fn detach(&self, handle: RequestHandle);
}

impl<C: Connection> Delivery for EgressHandle<C> {
    fn attach(
        &self,
        handle: RequestHandle,
        track: &Arc<Track>,
        params: SubscriptionParams,
        admission: Admission,
    ) -> Result<StartInfo, AttachError> {
        self.attach(subscription_id(handle), track, params, admission)
    }

    fn detach(&self, handle: RequestHandle) {
        self.detach(subscription_id(handle));
    }
}

pub(super) struct SessionEntry {
    pub(super) peer: PeerHandle,
    pub(super) delivery: Box<dyn Delivery>,
    pub(super) upstreams: Upstreams,
    pub(super) ingest: IngestLimits,
    /// Publishers of it that were told to stop sending.
    pub(super) stopped: BTreeSet<UpstreamId>,
}

struct TrackEntry {
    track: Arc<Track>,
    /// Whose word the rest is.
    told_by: Option<UpstreamId>,
    group_order: GroupOrder,
    /// DELIVERY TIMEOUT of the publisher.
    delivery_timeout: Option<Duration>,
    /// MAX_CACHE_DURATION of the publisher, repeated to subscribers.
    max_cache_duration: Option<Duration>,
}

/// Numbers of a running relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayStats {
    /// Sessions open now.
    pub sessions: usize,
    /// Tracks known now.
    pub tracks: usize,
    /// Subscriptions served now.
    pub subscriptions: usize,
    /// Bytes that the logs of all tracks hold.
    pub log_bytes: usize,
}

/// Everything that control messages of all sessions meet in. Its lock is taken per control message, never per object.
pub(super) struct Directory {
    pub(super) hub: Hub,
    config: RelayConfig,
    pool: Arc<TrackPool>,
    sessions: BTreeMap<SessionId, SessionEntry>,
    tracks: BTreeMap<TrackId, TrackEntry>,
    /// The requests by which the relay is subscribed at publishers.
    requests: BTreeMap<UpstreamId, (SessionId, RequestHandle)>,
    /// Tracks that turned out malformed.
    malformed: Seldom,
}

impl Directory {
    pub(super) fn new(config: RelayConfig, pool: Arc<TrackPool>) -> Self {
        Self {
            hub: Hub::new(config.limits.clone()),
            config,
            pool,
            sessions: BTreeMap::new(),
            tracks: BTreeMap::new(),
            requests: BTreeMap::new(),
            malformed: Seldom::default(),
        }
    }

    pub(super) fn open(&mut self, session: SessionId, entry: SessionEntry) -> bool {
        let room = self.hub.session_opened(session);
        if room {
            self.sessions.insert(session, entry);
        }
        room
    }

    pub(super) fn close(&mut self, session: SessionId) {
        let mut done = Vec::new();
        if let Some(entry) = self.sessions.remove(&session) {
            let upstreams = std::mem::take(&mut *lock(&entry.upstreams));
            for mut upstream in upstreams.into_values() {
                self.requests.remove(&upstream.id);
                done.extend(upstream.done.take().map(|end| (upstream.id, end)));
            }
        }
        self.hub.session_closed(session, done, now());
        self.run();
    }

    pub(super) fn peers(&self) -> Vec<PeerHandle> {
        self.sessions
            .values()
            .map(|entry| entry.peer.clone())
            .collect()
    }

    pub(super) fn stats(&self) -> RelayStats {
        RelayStats {
            sessions: self.sessions.len(),
            tracks: self.tracks.len(),
            subscriptions: self.hub.subscriptions(),
            log_bytes: self.pool.held(),
        }
    }

    /// Subscriptions at publishers that are asked for or run.
    #[cfg(test)]
    pub(super) fn asked(&self) -> usize {
        self.requests.len()
    }

    /// SUBSCRIBE_OK of a publisher.
    pub(super) fn upstream_accepted(&mut self, session: SessionId, accepted: &SubscribeAccepted) {
        let Some((id, track)) = self.upstream(session, accepted.handle) else {
            return;
        };
        let parameters = &accepted.parameters;
        self.subscription_says(session, accepted.handle, parameters, accepted.largest);
        self.publisher_says(id, track, accepted.group_order, parameters);
        self.hub.upstream_accepted(id, accepted.largest, now());
        self.run();
    }

    /// PUBLISH of a publisher, allowed by the hooks.
    pub(super) fn publish_requested(&mut self, session: SessionId, request: &PublishRequest) {
        let (handle, track) = (request.handle, request.track.clone());
        self.hub
            .publish_requested(session, handle, track, request.largest, now());
        // What PUBLISH says of the track must be known before it and its subscribers are answered.
        while let Some(action) = self.hub.poll_action() {
            if let Action::AcceptPublish {
                upstream, track, ..
            } = action
            {
                self.publisher_says(upstream, track, request.group_order, &request.parameters);
                self.execute(action);
                self.subscription_says(session, handle, &request.parameters, request.largest);
            } else {
                self.execute(action);
            }
        }
    }

    /// What a publisher says of its subscription: how long to keep it (draft-14 §9.2.1.3), and of content that never came
    /// here, which later subscribers are told of, too (draft-14 §9.7, §9.8).
    fn subscription_says(
        &self,
        session: SessionId,
        handle: RequestHandle,
        parameters: &Parameters,
        largest: Option<Location>,
    ) {
        self.with_upstream(session, handle, |upstream| {
            upstream.cache_for(parameters.max_cache_duration());
            upstream.note_told(largest);
        });
    }

    /// The publisher refused or dropped a subscription before it began.
    pub(super) fn upstream_rejected(
        &mut self,
        session: SessionId,
        handle: RequestHandle,
        code: SubscribeErrorCode,
    ) {
        if let Some(upstream) = self.take_upstream(session, handle) {
            self.hub.upstream_rejected(upstream.id, code, now());
            self.run();
        }
    }

    /// A publisher refused a subscription itself, of which the end is told next.
    pub(super) fn upstream_answered(&mut self, session: SessionId, handle: RequestHandle) {
        if let Some((id, _)) = self.upstream(session, handle) {
            self.hub.upstream_answered(id);
        }
    }

    /// A publisher could not be asked in time and offered the track itself.
    pub(super) fn upstream_superseded(&mut self, session: SessionId, handle: RequestHandle) {
        if let Some(upstream) = self.take_upstream(session, handle) {
            self.hub.upstream_superseded(upstream.id, now());
            self.run();
        }
    }

    /// PUBLISH_DONE of a publisher; streams may still be on their way.
    pub(super) fn upstream_ends(
        &mut self,
        session: SessionId,
        handle: RequestHandle,
        status: PublishDoneCode,
        reason: String,
    ) {
        let upstream = self.with_upstream(session, handle, |upstream| {
            upstream.done(status, reason);
            upstream.id
        });
        if let Some(upstream) = upstream {
            self.hub.upstream_ends(upstream, status, now());
            self.run();
        }
    }

    /// All streams after PUBLISH_DONE are in.
    pub(super) fn upstream_done(&mut self, session: SessionId, handle: RequestHandle) {
        if let Some(mut upstream) = self.take_upstream(session, handle) {
            let (status, reason) = upstream.take_done();
            self.hub.upstream_done(upstream.id, status, &reason, now());
            self.run();
        }
    }

    /// draft-14 §2.5: subscribers of a malformed track are told at once, and its publishers are left.
    pub(super) fn malformed(&mut self, upstream: UpstreamId, error: &MalformedTrack) {
        if let Some(others) = self.malformed.count() {
            let session = self.requests.get(&upstream).map(|(session, _)| session.0);
            tracing::warn!(session, %error, others, "malformed track, unsubscribing (draft-14 §2.5)");
        }
        self.hub.upstream_malformed(upstream, &error.to_string());
        self.run();
    }

    /// Does what the hub says.
    pub(super) fn run(&mut self) {
        while let Some(action) = self.hub.poll_action() {
            self.execute(action);
        }
    }

    pub(super) fn timeout(&mut self, now: Instant) {
        self.hub.timeout(now);
        self.run();
    }

    fn upstream(&self, session: SessionId, handle: RequestHandle) -> Option<(UpstreamId, TrackId)> {
        self.with_upstream(session, handle, |upstream| (upstream.id, upstream.track_id))
    }

    /// What a session feeds a track from, by the relay's request at it.
    fn with_upstream<R>(
        &self,
        session: SessionId,
        handle: RequestHandle,
        f: impl FnOnce(&mut Upstream) -> R,
    ) -> Option<R> {
        let mut upstreams = lock(&self.sessions.get(&session)?.upstreams);
        upstreams.get_mut(&handle).map(f)
    }

    /// Whether a publisher is there and has not said PUBLISH_DONE.
    fn is_serving(&self, upstream: UpstreamId) -> bool {
        let Some((session, handle)) = self.requests.get(&upstream) else {
            return false;
        };
        let entry = self.sessions.get(session);
        entry.is_some_and(|entry| {
            let upstreams = lock(&entry.upstreams);
            upstreams.get(handle).is_some_and(|it| it.done.is_none())
        })
    }

    /// Notes what a publisher says of a track; it holds for new subscribers as long as that publisher serves the track,
    /// whatever others say beside it.
    fn publisher_says(
        &mut self,
        upstream: UpstreamId,
        track: TrackId,
        group_order: GroupOrder,
        parameters: &Parameters,
    ) {
        let told_by = self.tracks.get(&track).and_then(|entry| entry.told_by);
        if told_by.is_some_and(|by| self.is_serving(by)) {
            return;
        }
        let Some(entry) = self.tracks.get_mut(&track) else {
            return;
        };
        entry.told_by = Some(upstream);
        entry.group_order = group_order;
        entry.delivery_timeout = parameters.delivery_timeout();
        entry.max_cache_duration = parameters.max_cache_duration();
    }

    fn add_upstream(
        &mut self,
        session: SessionId,
        handle: RequestHandle,
        upstream: UpstreamId,
        track: TrackId,
    ) {
        let (Some(entry), Some(source)) = (self.sessions.get(&session), self.tracks.get(&track))
        else {
            return;
        };
        let limits = entry.ingest.clone();
        let feed = Upstream::new(upstream, track, source.track.clone(), limits);
        lock(&entry.upstreams).insert(handle, feed);
        self.requests.insert(upstream, (session, handle));
    }

    fn take_upstream(&mut self, session: SessionId, handle: RequestHandle) -> Option<Upstream> {
        let entry = self.sessions.get_mut(&session)?;
        let upstream = lock(&entry.upstreams).remove(&handle)?;
        entry.stopped.remove(&upstream.id);
        self.requests.remove(&upstream.id);
        Some(upstream)
    }

    fn execute(&mut self, action: Action) {
        match action {
            Action::CreateTrack { track, name, alias } => {
                tracing::debug!(%name, %alias, "track");
                let entry = TrackEntry {
                    track: self.pool.track(alias, self.config.track),
                    told_by: None,
                    group_order: GroupOrder::Ascending,
                    delivery_timeout: None,
                    max_cache_duration: None,
                };
                self.tracks.insert(track, entry);
            }
            Action::DropTrack { track } => {
                self.tracks.remove(&track);
            }
            Action::EndTrack {
                track,
                status,
                reason,
            } => {
                if let Some(entry) = self.tracks.get(&track) {
                    entry.track.end(status, &reason);
                }
            }
            Action::AcceptSubscribe {
                session,
                handle,
                track,
                request,
                largest,
            } => {
                self.accept_subscribe(session, handle, track, request, largest);
            }
            Action::RejectSubscribe {
                session,
                handle,
                code,
                reason,
            } => {
                self.reject_subscribe(session, handle, code, reason);
            }
            Action::DetachSubscription { session, handle } => {
                if let Some(entry) = self.sessions.get(&session) {
                    entry.delivery.detach(handle);
                }
            }
            Action::SubscribeUpstream {
                session,
                upstream,
                track,
                name,
            } => {
                let request = SubscribeOptions::new(name);
                let asked = self.sessions.get(&session).map(|entry| {
                    entry
                        .peer
                        .call(|session, now| session.subscribe(request, now))
                });
                match asked {
                    Some(Ok(handle)) => self.add_upstream(session, handle, upstream, track),
                    Some(Err(CallError::AlreadySubscribed(_))) => {
                        self.hub.upstream_offers(upstream, now());
                    }
                    refused => {
                        tracing::debug!(?refused, "publisher could not be asked");
                        let code = SubscribeErrorCode::INTERNAL_ERROR;
                        self.hub.upstream_rejected(upstream, code, now());
                    }
                }
            }
            Action::UnsubscribeUpstream { session, upstream } => {
                if let Some((_, handle)) = self.requests.get(&upstream).copied() {
                    self.take_upstream(session, handle);
                    self.call(session, |s| log(s.unsubscribe(handle)));
                }
            }
            Action::ForwardUpstream {
                session,
                upstream,
                forward,
            } => {
                if let Some((_, handle)) = self.requests.get(&upstream).copied() {
                    let update = SubscriptionUpdate {
                        forward: Some(forward),
                        ..Default::default()
                    };
                    let Some(entry) = self.sessions.get_mut(&session) else {
                        return;
                    };
                    let stopped = entry.stopped.len();
                    let told = entry.peer.call(|s, _| {
                        let told = forward || may_stop(s, stopped);
                        if told {
                            log(s.update_subscription(handle, update));
                        }
                        told
                    });
                    match (forward, told) {
                        (true, _) => drop(entry.stopped.remove(&upstream)),
                        (false, true) => drop(entry.stopped.insert(upstream)),
                        (false, false) => self.hub.upstream_forwards(upstream),
                    }
                }
            }
            Action::AcceptPublish {
                session,
                handle,
                upstream,
                track,
                forward,
            } => {
                self.add_upstream(session, handle, upstream, track);
                let (Some(entry), Some(feed)) =
                    (self.sessions.get_mut(&session), self.tracks.get(&track))
                else {
                    return;
                };
                let stopped = entry.stopped.len();
                let mut answer = PublishAnswer {
                    forward,
                    priority: 128,
                    group_order: feed.group_order,
                    // draft-14 §9.7: all from now on. What is relative to Largest would begin where the publisher is
                    // when it reads this, which no later update could name (draft-14 §9.10).
                    filter: Filter::AbsoluteStart {
                        start: Location::default(),
                    },
                    parameters: Parameters::default(),
                };
                let forwards = entry.peer.call(|session, now| {
                    answer.forward |= !may_stop(session, stopped);
                    let forwards = answer.forward;
                    log(session.accept_publish(handle, answer, now));
                    forwards
                });
                match forwards {
                    true => self.hub.upstream_forwards(upstream),
                    false => drop(entry.stopped.insert(upstream)),
                }
            }
            Action::RejectPublish {
                session,
                handle,
                code,
                reason,
            } => {
                self.call(session, |s| log(s.reject_publish(handle, code, reason)));
            }
            Action::AcceptNamespace { session, handle } => {
                self.call(session, |s| log(s.accept_namespace(handle)));
            }
            Action::RejectNamespace {
                session,
                handle,
                code,
                reason,
            } => {
                self.call(session, |s| log(s.reject_namespace(handle, code, reason)));
            }
        }
    }

    fn accept_subscribe(
        &mut self,
        session: SessionId,
        handle: RequestHandle,
        track: TrackId,
        request: DownstreamRequest,
        largest: LargestSource,
    ) {
        let (Some(entry), Some(source)) = (self.sessions.get(&session), self.tracks.get(&track))
        else {
            return;
        };
        let params = SubscriptionParams {
            filter: request.filter,
            forward: request.forward,
            subscriber_priority: request.priority,
            group_order: request.group_order.unwrap_or(source.group_order),
            delivery_timeout: request.delivery_timeout,
            publisher_timeout: source.delivery_timeout,
        };
        let admission = match largest {
            LargestSource::Log => Admission::Now,
            LargestSource::Upstream(largest) => Admission::Since {
                mark: source.track.mark(),
                largest,
            },
        };
        match entry
            .delivery
            .attach(handle, &source.track, params, admission)
        {
            Ok(start) => {
                let answer = SubscribeAnswer {
                    alias: start.alias,
                    expires: None,
                    group_order: params.group_order,
                    largest: start.largest,
                    parameters: source.parameters(),
                };
                if entry.peer.accept_subscribe(handle, answer).is_err() {
                    entry.delivery.detach(handle);
                    self.hub.downstream_ended(session, handle);
                }
            }
            Err(error) => {
                self.reject_subscribe(session, handle, refusal(&error), &error.to_string());
                self.hub.downstream_ended(session, handle);
            }
        }
    }

    fn reject_subscribe(
        &self,
        session: SessionId,
        handle: RequestHandle,
        code: SubscribeErrorCode,
        reason: &str,
    ) {
        self.call(session, |s| log(s.reject_subscribe(handle, code, reason)));
    }

    fn call(&self, session: SessionId, call: impl FnOnce(&mut Session)) {
        if let Some(entry) = self.sessions.get(&session) {
            entry.peer.call(|session, _| call(session));
        }
    }
}

impl TrackEntry {
    /// What the publisher said, for SUBSCRIBE_OK (draft-14 §9.2.1.2, §9.2.1.3).
    fn parameters(&self) -> Parameters {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let timeout = self
            .delivery_timeout
            .map(|t| Parameter::DeliveryTimeout(ms(t)));
        let caching = self
            .max_cache_duration
            .map(|t| Parameter::MaxCacheDuration(ms(t)));
        Parameters(timeout.into_iter().chain(caching).collect())
    }
}

/// Whether a publisher can be left at Forward State 0 beside those of its session that were `stopped` before: each takes a
/// request to begin again (draft-14 §9.5, §9.10), and who gives few of them would be silent for ever.
fn may_stop(publisher: &Session, stopped: usize) -> bool {
    publisher.request_credit() >= limits::REQUESTS_TO_STOP + stopped as u64
}

/// A request may have ended while its answer was made; then nothing is due any more.
fn log(result: Result<(), crate::session::CallError>) {
    if let Err(error) = result {
        tracing::debug!(%error, "request ended before its answer");
    }
}
