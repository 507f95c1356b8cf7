//! Shell: the hub with the sessions and tracks that its numbers stand for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{RelayConfig, upstream::Upstream};
use crate::relay::{
    Action, DownstreamRequest, Hub, LargestSource, SessionId, SessionInfo, TrackId, UpstreamId,
};
use crate::{
    model::{Filter, GroupOrder, Parameter, Parameters, PublishDoneCode, SubscribeErrorCode},
    peer::{EgressHandle, PeerHandle, Track, TrackPool, now, refusal, subscription_id},
    session::{
        PublishAnswer, PublishRequest, RequestHandle, SubscribeAccepted, SubscribeAnswer,
        SubscribeOptions, SubscriptionUpdate,
    },
    track::{Admission, AttachError, MalformedTrack, StartInfo, SubscriptionParams},
    transport::Connection,
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

/// The publishers that a session feeds tracks from, by the relay's request at it.
pub(super) type Upstreams = Arc<Mutex<BTreeMap<RequestHandle, Upstream>>>;

pub(super) struct SessionEntry {
    pub(super) peer: PeerHandle,
    pub(super) delivery: Box<dyn Delivery>,
    pub(super) info: SessionInfo,
    pub(super) upstreams: Upstreams,
}

struct TrackEntry {
    track: Arc<Track>,
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
    pub(super) config: RelayConfig,
    pool: Arc<TrackPool>,
    sessions: BTreeMap<SessionId, SessionEntry>,
    tracks: BTreeMap<TrackId, TrackEntry>,
}

impl Directory {
    pub(super) fn new(config: RelayConfig, pool: Arc<TrackPool>) -> Self {
        Self {
            hub: Hub::new(config.limits.clone()),
            config,
            pool,
            sessions: BTreeMap::new(),
            tracks: BTreeMap::new(),
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
        self.sessions.remove(&session);
        self.hub.session_closed(session, now());
        self.run();
    }

    pub(super) fn session(&mut self, session: SessionId) -> Option<&mut SessionEntry> {
        self.sessions.get_mut(&session)
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

    /// SUBSCRIBE_OK of a publisher.
    pub(super) fn upstream_accepted(&mut self, session: SessionId, accepted: &SubscribeAccepted) {
        let Some((id, track)) = self.upstream(session, accepted.handle) else {
            return;
        };
        self.cache_for(session, accepted.handle, &accepted.parameters);
        if let Some(entry) = self.tracks.get_mut(&track) {
            entry.publisher_says(accepted.group_order, &accepted.parameters);
        }
        self.hub.upstream_accepted(id, accepted.largest);
        self.run();
    }

    /// PUBLISH of a publisher, allowed by the hooks.
    pub(super) fn publish_requested(&mut self, session: SessionId, request: &PublishRequest) {
        let (handle, track) = (request.handle, request.track.clone());
        self.hub
            .publish_requested(session, handle, track, request.largest);
        // What PUBLISH says of the track must be known before its subscribers are answered.
        while let Some(action) = self.hub.poll_action() {
            let published = match &action {
                Action::AcceptPublish { track, .. } => Some(*track),
                _ => None,
            };
            self.execute(action);
            if let Some(entry) = published.and_then(|track| self.tracks.get_mut(&track)) {
                entry.publisher_says(request.group_order, &request.parameters);
                self.cache_for(session, request.handle, &request.parameters);
            }
        }
    }

    /// draft-14 §9.2.1.3
    fn cache_for(&self, session: SessionId, handle: RequestHandle, parameters: &Parameters) {
        if let Some(entry) = self.sessions.get(&session)
            && let Some(upstream) = lock(&entry.upstreams).get(&handle)
        {
            upstream.cache_for(parameters.max_cache_duration());
        }
    }

    /// The publisher refused or dropped a subscription before it began.
    pub(super) fn upstream_rejected(
        &mut self,
        session: SessionId,
        handle: RequestHandle,
        code: SubscribeErrorCode,
    ) {
        let Some((id, _)) = self.upstream(session, handle) else {
            return;
        };
        self.remove_upstream(session, handle);
        self.hub.upstream_rejected(id, code, now());
        self.run();
    }

    /// All streams after PUBLISH_DONE are in.
    pub(super) fn upstream_done(
        &mut self,
        session: SessionId,
        handle: RequestHandle,
        status: PublishDoneCode,
        reason: &str,
    ) {
        let Some((id, _)) = self.upstream(session, handle) else {
            return;
        };
        self.remove_upstream(session, handle);
        self.hub.upstream_done(id, status, reason);
        self.run();
    }

    /// draft-14 §2.5: subscribers of a malformed track are told at once.
    pub(super) fn malformed(&mut self, upstream: UpstreamId, error: &MalformedTrack) {
        tracing::info!(%error, "malformed track");
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
        let upstreams = lock(&self.sessions.get(&session)?.upstreams);
        let upstream = upstreams.get(&handle)?;
        Some((upstream.id, upstream.track_id))
    }

    fn remove_upstream(&self, session: SessionId, handle: RequestHandle) {
        if let Some(entry) = self.sessions.get(&session) {
            lock(&entry.upstreams).remove(&handle);
        }
    }

    fn execute(&mut self, action: Action) {
        match action {
            Action::CreateTrack { track, name, alias } => {
                tracing::debug!(%name, %alias, "track");
                let entry = TrackEntry {
                    track: self.pool.track(alias, self.config.track),
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
                let asked = self.sessions.get(&session).and_then(|entry| {
                    let handle = entry.peer.call(|s, now| s.subscribe(request, now)).ok()?;
                    let feed = self.tracks.get(&track)?.track.clone();
                    lock(&entry.upstreams).insert(handle, Upstream::new(upstream, track, feed));
                    Some(())
                });
                if asked.is_none() {
                    self.hub
                        .upstream_rejected(upstream, SubscribeErrorCode::INTERNAL_ERROR, now());
                }
            }
            Action::UnsubscribeUpstream { session, upstream } => {
                if let Some((peer, handle)) = self.take_upstream(session, upstream) {
                    peer.call(|session, _| log(session.unsubscribe(handle)));
                }
            }
            Action::ForwardUpstream {
                session,
                upstream,
                forward,
            } => {
                if let Some((peer, handle)) = self.find_upstream(session, upstream) {
                    let update = SubscriptionUpdate {
                        forward: Some(forward),
                        ..Default::default()
                    };
                    peer.call(|session, _| log(session.update_subscription(handle, update)));
                }
            }
            Action::AcceptPublish {
                session,
                handle,
                upstream,
                track,
                forward,
            } => {
                let (Some(entry), Some(feed)) =
                    (self.sessions.get(&session), self.tracks.get(&track))
                else {
                    return;
                };
                lock(&entry.upstreams)
                    .insert(handle, Upstream::new(upstream, track, feed.track.clone()));
                let answer = PublishAnswer {
                    forward,
                    priority: 128,
                    group_order: feed.group_order,
                    filter: Filter::LargestObject,
                    parameters: Parameters::default(),
                };
                entry
                    .peer
                    .call(|session, now| log(session.accept_publish(handle, answer, now)));
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
                if let Err(error) = entry.peer.accept_subscribe(handle, answer) {
                    tracing::debug!(%handle, %error, "subscriber left before its answer");
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

    fn call(&self, session: SessionId, call: impl FnOnce(&mut crate::session::Session)) {
        if let Some(entry) = self.sessions.get(&session) {
            entry.peer.call(|session, _| call(session));
        }
    }

    fn find_upstream(
        &self,
        session: SessionId,
        upstream: UpstreamId,
    ) -> Option<(PeerHandle, RequestHandle)> {
        let entry = self.sessions.get(&session)?;
        let handle = lock(&entry.upstreams)
            .iter()
            .find(|(_, u)| u.id == upstream)
            .map(|(h, _)| *h)?;
        Some((entry.peer.clone(), handle))
    }

    fn take_upstream(
        &self,
        session: SessionId,
        upstream: UpstreamId,
    ) -> Option<(PeerHandle, RequestHandle)> {
        let found = self.find_upstream(session, upstream)?;
        self.remove_upstream(session, found.1);
        Some(found)
    }
}

impl TrackEntry {
    fn publisher_says(&mut self, group_order: GroupOrder, parameters: &Parameters) {
        self.group_order = group_order;
        self.delivery_timeout = parameters.delivery_timeout();
        self.max_cache_duration = parameters.max_cache_duration();
    }

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

/// A request may have ended while its answer was made; then nothing is due any more.
fn log(result: Result<(), crate::session::CallError>) {
    if let Err(error) = result {
        tracing::debug!(%error, "request ended before its answer");
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
