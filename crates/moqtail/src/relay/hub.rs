//! The relay's control plane as a value: who publishes, who subscribes, which upstream subscription serves whom.
//!
//! Sessions are numbers, objects are not seen here. Methods take what happened; [`Hub::poll_action`] tells what to do.
//!
//! A track is in the directory from the first SUBSCRIBE or PUBLISH that needs it. It is *live* while a publisher serves
//! it. Before that its subscribers wait for an answer, bounded by `upstream_timeout`. When all its publishers vanish
//! without PUBLISH_DONE, subscribers that were being served stay for `publisher_linger`. PUBLISH_DONE or the end of that
//! time *end* it: it leaves the directory, its log is sealed, and it goes with the last subscriber that reads it out.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use super::{
    Action, DownstreamRequest, LargestSource, RelayLimits, SessionId, TrackId, UpstreamId,
    routes::Routes,
    state::{Downstream, DownstreamState, Track, Upstream},
};
use crate::{
    model::{
        FullTrackName, Location, PublishDoneCode, PublishErrorCode, SubscribeErrorCode, TrackAlias,
        TrackNamespace,
    },
    session::RequestHandle,
};

/// Directory and router of a relay.
#[derive(Debug)]
pub(crate) struct Hub {
    limits: RelayLimits,
    sessions: BTreeMap<SessionId, BTreeMap<RequestHandle, TrackNamespace>>,
    routes: Routes,
    names: BTreeMap<FullTrackName, TrackId>,
    tracks: BTreeMap<TrackId, Track>,
    upstreams: BTreeMap<UpstreamId, Upstream>,
    downstreams: BTreeMap<Downstream, TrackId>,
    next_track: u64,
    next_upstream: u64,
    actions: VecDeque<Action>,
}

impl Hub {
    pub(crate) fn new(limits: RelayLimits) -> Self {
        Self {
            limits,
            sessions: BTreeMap::new(),
            routes: Routes::default(),
            names: BTreeMap::new(),
            tracks: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            downstreams: BTreeMap::new(),
            next_track: 0,
            next_upstream: 0,
            actions: VecDeque::new(),
        }
    }

    /// What to do next; drained after every call, in order.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Hub::timeout`] wants to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.tracks
            .values()
            .flat_map(|track| [track.answer_by, track.linger_until])
            .flatten()
            .min()
    }

    /// Takes in a session, or refuses it when the relay is full.
    pub(crate) fn session_opened(&mut self, session: SessionId) -> bool {
        if self.sessions.len() >= self.limits.max_sessions {
            return false;
        }
        self.sessions.insert(session, BTreeMap::new());
        true
    }

    /// Removes everything that the session published, subscribed to or waited for.
    pub(crate) fn session_closed(&mut self, session: SessionId, now: Instant) {
        let Some(namespaces) = self.sessions.remove(&session) else {
            return;
        };
        for (handle, namespace) in namespaces {
            self.routes.remove(&namespace, session, handle);
        }
        let left: Vec<_> = self
            .downstreams
            .keys()
            .filter(|(owner, _)| *owner == session)
            .copied()
            .collect();
        for (owner, handle) in left {
            self.downstream_left(owner, handle);
        }
        let lost: Vec<_> = self
            .upstreams
            .iter()
            .filter(|(_, upstream)| upstream.session == session)
            .map(|(id, _)| *id)
            .collect();
        for upstream in lost {
            self.upstream_lost(upstream, now);
        }
    }

    /// PUBLISH_NAMESPACE came and is allowed.
    pub(crate) fn namespace_published(
        &mut self,
        session: SessionId,
        handle: RequestHandle,
        namespace: TrackNamespace,
    ) {
        let Some(namespaces) = self.sessions.get_mut(&session) else {
            return;
        };
        namespaces.insert(handle, namespace.clone());
        self.routes.insert(&namespace, session, handle);
        self.actions
            .push_back(Action::AcceptNamespace { session, handle });
        // draft-14 §8.4: running subscriptions are taken to the new publisher as well.
        let prefix = namespace.as_prefix();
        let wanted: Vec<_> = self
            .names
            .iter()
            .filter(|(name, _)| prefix.matches(name.namespace()))
            .map(|(_, id)| *id)
            .collect();
        for track in wanted {
            if self
                .tracks
                .get(&track)
                .is_some_and(|t| !t.downstream.is_empty())
            {
                self.ask(track, session);
            }
        }
    }

    /// PUBLISH_NAMESPACE_DONE came: no new subscriptions go there, existing ones stay (draft-14 §9.26).
    pub(crate) fn namespace_done(&mut self, session: SessionId, handle: RequestHandle) {
        let namespaces = self.sessions.get_mut(&session);
        if let Some(namespace) = namespaces.and_then(|n| n.remove(&handle)) {
            self.routes.remove(&namespace, session, handle);
        }
    }

    /// SUBSCRIBE came and is allowed.
    pub(crate) fn subscribe_requested(
        &mut self,
        session: SessionId,
        handle: RequestHandle,
        name: FullTrackName,
        request: DownstreamRequest,
        now: Instant,
    ) {
        let reject = |code, reason| Action::RejectSubscribe {
            session,
            handle,
            code,
            reason,
        };
        let known = self.names.get(&name).copied();
        if let Some(id) = known.filter(|id| self.is_live(*id)) {
            self.serve(id, (session, handle), request);
            return;
        }
        let publishers = self.routes.matching(name.namespace());
        let asked = known
            .and_then(|id| self.tracks.get(&id))
            .is_some_and(|t| !t.upstreams.is_empty());
        if publishers.is_empty() && !asked {
            self.actions.push_back(reject(
                SubscribeErrorCode::TRACK_DOES_NOT_EXIST,
                "track not found: no publisher announced its namespace",
            ));
            return;
        }
        let id = match known {
            Some(id) => id,
            None if self.tracks.len() >= self.limits.max_tracks => {
                let reason = "relay holds as many tracks as it may";
                self.actions
                    .push_back(reject(SubscribeErrorCode::INTERNAL_ERROR, reason));
                return;
            }
            None => self.create_track(name),
        };
        if let Some(track) = self.tracks.get_mut(&id) {
            track
                .answer_by
                .get_or_insert(now + self.limits.upstream_timeout);
            track
                .downstream
                .insert((session, handle), DownstreamState::Waiting(request));
            self.downstreams.insert((session, handle), id);
        }
        for publisher in publishers {
            self.ask(id, publisher);
        }
    }

    /// SUBSCRIBE_UPDATE changed the Forward State of a subscriber.
    pub(crate) fn forward_changed(
        &mut self,
        session: SessionId,
        handle: RequestHandle,
        forward: bool,
    ) {
        let key = (session, handle);
        let Some(id) = self.downstreams.get(&key).copied() else {
            return;
        };
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        match track.downstream.get_mut(&key) {
            Some(DownstreamState::Served { forward: state }) => *state = forward,
            Some(DownstreamState::Waiting(request)) => request.forward = forward,
            None => return,
        }
        self.forward_upstream(id);
    }

    /// UNSUBSCRIBE came, or the subscriber's session is gone.
    pub(crate) fn downstream_left(&mut self, session: SessionId, handle: RequestHandle) {
        if self.downstreams.contains_key(&(session, handle)) {
            self.actions
                .push_back(Action::DetachSubscription { session, handle });
            self.downstream_ended(session, handle);
        }
    }

    /// The subscription was served to its end and PUBLISH_DONE is on its way.
    pub(crate) fn downstream_ended(&mut self, session: SessionId, handle: RequestHandle) {
        let key = (session, handle);
        let Some(id) = self.downstreams.remove(&key) else {
            return;
        };
        if let Some(track) = self.tracks.get_mut(&id) {
            track.downstream.remove(&key);
        }
        self.forward_upstream(id);
        self.release(id);
    }

    /// A publisher answered SUBSCRIBE_OK.
    pub(crate) fn upstream_accepted(&mut self, id: UpstreamId, largest: Option<Location>) {
        let Some(upstream) = self.upstreams.get_mut(&id) else {
            return;
        };
        upstream.active = true;
        let track = upstream.track;
        self.go_live(track, largest);
    }

    /// A publisher answered SUBSCRIBE_ERROR, or could not be asked.
    pub(crate) fn upstream_rejected(
        &mut self,
        id: UpstreamId,
        code: SubscribeErrorCode,
        now: Instant,
    ) {
        let Some(upstream) = self.upstreams.get(&id) else {
            return;
        };
        if let Some(track) = self.tracks.get_mut(&upstream.track) {
            track.refusal = Some(code);
        }
        self.upstream_lost(id, now);
    }

    /// A publisher ended the subscription with PUBLISH_DONE and all of its streams are in.
    pub(crate) fn upstream_done(&mut self, id: UpstreamId, status: PublishDoneCode, reason: &str) {
        let Some(id) = self.remove_upstream(id) else {
            return;
        };
        if !self.is_live(id) {
            self.end_track(id, status, reason);
        } else if status == PublishDoneCode::TRACK_ENDED
            && let Some(track) = self.tracks.get_mut(&id)
        {
            track.ended_by_one = Some(reason.to_owned());
        }
    }

    /// The publisher broke the data model: the track ends for everybody (draft-14 §2.5).
    pub(crate) fn upstream_malformed(&mut self, id: UpstreamId, reason: &str) {
        if let Some(track) = self.remove_upstream(id) {
            self.end_track(track, PublishDoneCode::MALFORMED_TRACK, reason);
        }
    }

    /// Subscriptions that are served or wait for an answer.
    pub(crate) fn subscriptions(&self) -> usize {
        self.downstreams.len()
    }

    /// Sessions that are served a track of `namespace`.
    pub(crate) fn viewers(&self, namespace: &TrackNamespace) -> usize {
        let tracks = self
            .tracks
            .values()
            .filter(|track| track.name.namespace() == namespace);
        let served = tracks.flat_map(|track| {
            let served = |state: &_| matches!(state, DownstreamState::Served { .. });
            track
                .downstream
                .iter()
                .filter(move |(_, state)| served(state))
                .map(|((session, _), _)| *session)
        });
        served.collect::<BTreeSet<_>>().len()
    }

    /// PUBLISH came and is allowed.
    pub(crate) fn publish_requested(
        &mut self,
        session: SessionId,
        handle: RequestHandle,
        name: FullTrackName,
        largest: Option<Location>,
    ) {
        let reject = |code, reason| Action::RejectPublish {
            session,
            handle,
            code,
            reason,
        };
        let known = self.names.get(&name).copied();
        let count = known
            .and_then(|id| self.tracks.get(&id))
            .map_or(0, |t| t.upstreams.len());
        if count >= self.limits.max_publishers_per_track {
            let reason = "the track has as many publishers as it may";
            self.actions
                .push_back(reject(PublishErrorCode::UNINTERESTED, reason));
            return;
        }
        let track = match known {
            Some(id) => id,
            None if self.tracks.len() >= self.limits.max_tracks => {
                let reason = "relay holds as many tracks as it may";
                self.actions
                    .push_back(reject(PublishErrorCode::INTERNAL_ERROR, reason));
                return;
            }
            None => self.create_track(name),
        };
        // draft-14 §8.4: Forward is 1 if at least one subscriber wants objects.
        let forward = self.tracks.get(&track).is_some_and(Track::wants_forward);
        let upstream = self.add_upstream(track, session, true, forward);
        self.actions.push_back(Action::AcceptPublish {
            session,
            handle,
            upstream,
            track,
            forward,
        });
        self.go_live(track, largest);
    }

    /// Ends waits that took too long.
    pub(crate) fn timeout(&mut self, now: Instant) {
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|d| d <= now);
        let due: Vec<_> = self
            .tracks
            .iter()
            .filter(|(_, t)| is_due(t.answer_by) || is_due(t.linger_until))
            .map(|(id, t)| (*id, is_due(t.linger_until)))
            .collect();
        for (id, linger_over) in due {
            if linger_over {
                let reason = "the publisher is gone and did not come back";
                self.end_track(id, PublishDoneCode::INTERNAL_ERROR, reason);
            } else {
                self.refuse_waiting(
                    id,
                    SubscribeErrorCode::TIMEOUT,
                    "no publisher answered in time",
                );
                self.release(id);
            }
        }
    }

    fn is_live(&self, id: TrackId) -> bool {
        self.tracks.get(&id).is_some_and(|track| {
            track
                .upstreams
                .iter()
                .any(|u| self.upstreams.get(u).is_some_and(|u| u.active))
        })
    }

    fn create_track(&mut self, name: FullTrackName) -> TrackId {
        let id = TrackId(self.next_track);
        self.next_track += 1;
        let track = Track {
            name: name.clone(),
            upstreams: Vec::new(),
            downstream: BTreeMap::new(),
            ended: false,
            answer_by: None,
            linger_until: None,
            refusal: None,
            ended_by_one: None,
        };
        self.tracks.insert(id, track);
        self.names.insert(name.clone(), id);
        let alias = TrackAlias(id.0);
        self.actions.push_back(Action::CreateTrack {
            track: id,
            name,
            alias,
        });
        id
    }

    /// Adds a subscriber of a live track.
    fn serve(&mut self, id: TrackId, downstream: Downstream, request: DownstreamRequest) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        self.downstreams.insert(downstream, id);
        let forward = request.forward;
        track
            .downstream
            .insert(downstream, DownstreamState::Served { forward });
        let (session, handle) = downstream;
        let largest = LargestSource::Log;
        self.actions.push_back(Action::AcceptSubscribe {
            session,
            handle,
            track: id,
            request,
            largest,
        });
        self.forward_upstream(id);
    }

    /// Sends SUBSCRIBE for the track to a publisher that is not yet asked.
    fn ask(&mut self, id: TrackId, session: SessionId) {
        let Some(track) = self.tracks.get(&id) else {
            return;
        };
        let asked = track
            .upstreams
            .iter()
            .any(|u| self.upstreams.get(u).is_some_and(|u| u.session == session));
        if asked || track.ended || track.upstreams.len() >= self.limits.max_publishers_per_track {
            return;
        }
        let name = track.name.clone();
        // draft-14 §9.7: a relay asks with Forward 1 whatever its subscribers said.
        let upstream = self.add_upstream(id, session, false, true);
        self.actions.push_back(Action::SubscribeUpstream {
            session,
            upstream,
            track: id,
            name,
        });
    }

    fn add_upstream(
        &mut self,
        track: TrackId,
        session: SessionId,
        published: bool,
        forward: bool,
    ) -> UpstreamId {
        let id = UpstreamId(self.next_upstream);
        self.next_upstream += 1;
        let upstream = Upstream {
            session,
            track,
            published,
            active: published,
            forward,
        };
        self.upstreams.insert(id, upstream);
        if let Some(track) = self.tracks.get_mut(&track) {
            track.upstreams.push(id);
        }
        id
    }

    fn remove_upstream(&mut self, id: UpstreamId) -> Option<TrackId> {
        let upstream = self.upstreams.remove(&id)?;
        let track = self.tracks.get_mut(&upstream.track)?;
        track.upstreams.retain(|u| *u != id);
        Some(upstream.track)
    }

    /// A publisher serves the track: waiting subscribers are accepted (draft-14 §8.3).
    fn go_live(&mut self, id: TrackId, largest: Option<Location>) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        track.answer_by = None;
        track.linger_until = None;
        track.refusal = None;
        track.ended_by_one = None;
        for (&(session, handle), state) in &mut track.downstream {
            let DownstreamState::Waiting(request) = *state else {
                continue;
            };
            *state = DownstreamState::Served {
                forward: request.forward,
            };
            self.actions.push_back(Action::AcceptSubscribe {
                session,
                handle,
                track: id,
                request,
                largest: LargestSource::Upstream(largest),
            });
        }
    }

    /// A publisher refused or vanished without PUBLISH_DONE.
    fn upstream_lost(&mut self, upstream: UpstreamId, now: Instant) {
        let Some(id) = self.remove_upstream(upstream) else {
            return;
        };
        if self.is_live(id) {
            return;
        }
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        // One that died unnoticed and came back may have ended the track already.
        if let Some(reason) = track.ended_by_one.take() {
            return self.end_track(id, PublishDoneCode::TRACK_ENDED, &reason);
        }
        let vanished = track.has_served() && track.linger_until.is_none() && !track.ended;
        if vanished {
            track.linger_until = Some(now + self.limits.publisher_linger);
        } else if track.upstreams.is_empty() {
            let code = track
                .refusal
                .unwrap_or(SubscribeErrorCode::TRACK_DOES_NOT_EXIST);
            self.refuse_waiting(id, code, "track not found: no publisher has it");
        }
        if vanished && let Some(name) = self.tracks.get(&id).map(|t| t.name.clone()) {
            for publisher in self.routes.matching(name.namespace()) {
                self.ask(id, publisher);
            }
        }
        self.release(id);
    }

    fn refuse_waiting(&mut self, id: TrackId, code: SubscribeErrorCode, reason: &'static str) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        track.answer_by = None;
        let waiting: Vec<_> = track
            .downstream
            .iter()
            .filter(|(_, state)| matches!(state, DownstreamState::Waiting(_)))
            .map(|(key, _)| *key)
            .collect();
        for key in waiting {
            track.downstream.remove(&key);
            self.downstreams.remove(&key);
            let (session, handle) = key;
            self.actions.push_back(Action::RejectSubscribe {
                session,
                handle,
                code,
                reason,
            });
        }
    }

    /// Seals the log and lets the subscribers have the rest of it.
    fn end_track(&mut self, id: TrackId, status: PublishDoneCode, reason: &str) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        if track.ended {
            return;
        }
        track.ended = true;
        track.linger_until = None;
        self.names.remove(&track.name);
        let unanswered = std::mem::take(&mut track.upstreams);
        let reason = reason.to_owned();
        self.actions.push_back(Action::EndTrack {
            track: id,
            status,
            reason,
        });
        for upstream in unanswered {
            self.unsubscribe(upstream);
        }
        self.refuse_waiting(
            id,
            SubscribeErrorCode::TRACK_DOES_NOT_EXIST,
            "track not found: it ended",
        );
        self.release(id);
    }

    fn unsubscribe(&mut self, id: UpstreamId) {
        if let Some(upstream) = self.upstreams.remove(&id) {
            let session = upstream.session;
            self.actions.push_back(Action::UnsubscribeUpstream {
                session,
                upstream: id,
            });
        }
    }

    /// Lets go of upstream subscriptions that nobody needs, and of a track without anybody.
    fn release(&mut self, id: TrackId) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        if !track.downstream.is_empty() {
            return;
        }
        let (kept, unneeded): (Vec<_>, Vec<_>) = track
            .upstreams
            .iter()
            .partition(|u| self.upstreams.get(u).is_some_and(|u| u.published));
        track.upstreams = kept;
        let gone = track.upstreams.is_empty();
        for upstream in unneeded {
            self.unsubscribe(upstream);
        }
        if gone && let Some(track) = self.tracks.remove(&id) {
            if !track.ended {
                self.names.remove(&track.name);
            }
            self.actions.push_back(Action::DropTrack { track: id });
        }
    }

    /// Tells publishers that came by PUBLISH whether anybody wants objects.
    fn forward_upstream(&mut self, id: TrackId) {
        let Some(track) = self.tracks.get(&id) else {
            return;
        };
        let wanted = track.wants_forward();
        for upstream_id in &track.upstreams {
            let Some(upstream) = self.upstreams.get_mut(upstream_id) else {
                continue;
            };
            if upstream.published && upstream.forward != wanted {
                upstream.forward = wanted;
                self.actions.push_back(Action::ForwardUpstream {
                    session: upstream.session,
                    upstream: *upstream_id,
                    forward: wanted,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
