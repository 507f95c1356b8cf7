//! The relay's control plane as a value: who publishes, who subscribes, which upstream subscription serves whom.
//!
//! Sessions are numbers, objects are not seen here. Methods take what happened; [`Hub::poll_action`] tells what to do.
//!
//! A track is in the directory from the first SUBSCRIBE or PUBLISH that needs it. It is *live* while a publisher serves
//! it. Before that its subscribers wait for an answer, bounded by `upstream_timeout`; a publisher that refuses leaves
//! its place to the next one, and a later answer serves who asks next, for `answer_grace`. When all its publishers
//! vanish without PUBLISH_DONE, or give up only the relay's subscription, subscribers that were being served stay for
//! `publisher_linger`, and publishers that refuse meanwhile are asked again every `publisher_retry`. The last
//! PUBLISH_DONE takes it out of the directory. When its streams are in, or that time is over, it *ends*, unless a
//! publisher that was asked goes on with it: its log is sealed, and it goes with the last subscriber that reads it out.
//!
//! What one message costs does not grow with the number of sessions, tracks or subscribers it is not about: a session
//! knows what it has here, deadlines are sorted, and PUBLISH_NAMESPACE goes through the tracks under it bit by bit.

mod counts;
mod publishers;
mod takeover;
#[cfg(test)]
mod tests;
mod tracks;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use super::{
    Action, DownstreamRequest, LargestSource, RelayLimits, SessionId, TrackId, UpstreamId, limits,
    routes::Routes,
    state::{Announced, Downstream, Linger, Member, Place, Takeover, Track, TrackEnd, Upstream},
};
use crate::{
    model::{FullTrackName, PublishNamespaceErrorCode, SubscribeErrorCode, TrackNamespace},
    session::RequestHandle,
};

/// Directory and router of a relay.
#[derive(Debug)]
pub(crate) struct Hub {
    limits: RelayLimits,
    sessions: BTreeMap<SessionId, Member>,
    routes: Routes,
    names: BTreeMap<FullTrackName, TrackId>,
    tracks: BTreeMap<TrackId, Track>,
    upstreams: BTreeMap<UpstreamId, Upstream>,
    downstreams: BTreeMap<Downstream, TrackId>,
    /// The deadline of each track that has one.
    deadlines: BTreeSet<(Instant, TrackId)>,
    /// Announcements whose tracks were not all looked at.
    takeovers: BTreeMap<Announced, Takeover>,
    /// The same by the time to go on.
    takeovers_due: BTreeSet<(Instant, Announced)>,
    next_track: u64,
    next_upstream: u64,
    /// How often publishers left somebody waiting.
    silences: u64,
    actions: VecDeque<Action>,
}

/// Sessions and what they announce.
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
            deadlines: BTreeSet::new(),
            takeovers: BTreeMap::new(),
            takeovers_due: BTreeSet::new(),
            next_track: 0,
            next_upstream: 0,
            silences: 0,
            actions: VecDeque::new(),
        }
    }

    /// What to do next; drained after every call, in order.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Hub::timeout`] wants to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let first = self.deadlines.first().map(|(at, _)| *at);
        first.into_iter().chain(self.takeover_at()).min()
    }

    /// Takes in a session, or refuses it when the relay is full.
    pub(crate) fn session_opened(&mut self, session: SessionId) -> bool {
        if self.sessions.len() >= self.limits.max_sessions {
            return false;
        }
        self.sessions.insert(session, Member::default());
        true
    }

    /// The connection of a session is over: it is not asked for tracks any more, though what it has sent still comes.
    pub(crate) fn session_leaves(&mut self, session: SessionId) {
        let member = self.sessions.get_mut(&session);
        let namespaces = member.map(|member| std::mem::take(&mut member.namespaces));
        for (handle, (namespace, announcement)) in namespaces.unwrap_or_default() {
            self.routes.remove(&namespace, announcement);
            self.no_takeover((session, handle));
        }
    }

    /// Removes everything that the session published, subscribed to or waited for. Nothing more is asked of it. `done` are
    /// its upstreams that had ended with PUBLISH_DONE, whose last streams do not come any more.
    pub(crate) fn session_closed(
        &mut self,
        session: SessionId,
        done: Vec<(UpstreamId, TrackEnd)>,
        now: Instant,
    ) {
        self.session_leaves(session);
        let Some(member) = self.sessions.remove(&session) else {
            return;
        };
        let of_session = (session, RequestHandle(0))..=(session, RequestHandle(u64::MAX));
        let left: Vec<_> = self
            .downstreams
            .range(of_session)
            .map(|(key, _)| *key)
            .collect();
        for (owner, handle) in left {
            self.downstream_ended(owner, handle);
        }
        for (upstream, (status, reason)) in done {
            self.upstream_done(upstream, status, &reason, now);
        }
        for upstream in member.upstreams {
            self.upstream_vanished(upstream, now);
        }
    }

    /// PUBLISH_NAMESPACE came and is allowed.
    pub(crate) fn namespace_published(
        &mut self,
        session: SessionId,
        handle: RequestHandle,
        namespace: TrackNamespace,
        now: Instant,
    ) {
        let Some(member) = self.sessions.get_mut(&session) else {
            return;
        };
        let lookups = self.limits.max_lookups_per_second;
        let refusal = if member.namespaces.len() >= self.limits.max_namespaces_per_session {
            Some("the session has announced as many namespaces as it may")
        } else if member.lookups.left(lookups, now).is_err() {
            Some(
                "the session announces faster than the relay looks for tracks; try again in a second",
            )
        } else {
            None
        };
        if let Some(reason) = refusal {
            self.actions.push_back(Action::RejectNamespace {
                session,
                handle,
                code: PublishNamespaceErrorCode::INTERNAL_ERROR,
                reason,
            });
            return;
        }
        member.lookups.spend(1);
        let announcement = self.routes.insert(&namespace, session);
        member
            .namespaces
            .insert(handle, (namespace.clone(), announcement));
        self.actions
            .push_back(Action::AcceptNamespace { session, handle });
        // draft-14 §8.4: running subscriptions are taken to the new publisher as well.
        self.take_over(session, handle, namespace, now);
    }

    /// PUBLISH_NAMESPACE_DONE came: no new subscriptions go there, existing ones stay (draft-14 §9.26).
    pub(crate) fn namespace_done(&mut self, session: SessionId, handle: RequestHandle) {
        let member = self.sessions.get_mut(&session);
        if let Some((namespace, announcement)) = member.and_then(|m| m.namespaces.remove(&handle)) {
            self.routes.remove(&namespace, announcement);
            self.no_takeover((session, handle));
        }
    }
}

/// Subscribers.
impl Hub {
    /// SUBSCRIBE came and is allowed.
    pub(crate) fn subscribe_requested(
        &mut self,
        session: SessionId,
        handle: RequestHandle,
        name: FullTrackName,
        request: DownstreamRequest,
        now: Instant,
    ) {
        let subscriber = (session, handle);
        let Some(member) = self.sessions.get(&session) else {
            return;
        };
        if member.subscriptions >= self.limits.max_subscriptions_per_session {
            let reason = "the session has as many subscriptions as it may";
            return self.reject(subscriber, SubscribeErrorCode::INTERNAL_ERROR, reason);
        }
        let may_wait = member.waiting < self.limits.max_waiting_per_session;
        let known = self.names.get(&name).copied();
        if let Some(id) = known.filter(|id| self.is_live(*id)) {
            self.serve(id, subscriber, request);
            self.go_on_for(id, now);
            return;
        }
        if let Some(id) = known
            && !self.has_untried(id)
            && let Some(track) = self.tracks.get_mut(&id)
        {
            track.question(now);
        }
        let track = known.and_then(|id| self.tracks.get(&id));
        let publishers = self.publishers_of(name.namespace(), track);
        if publishers.is_empty() && track.is_none_or(|track| track.upstreams.is_empty()) {
            let (code, reason) = if self.routes.matching(name.namespace()).next().is_none() {
                let reason = "track not found: no publisher announced its namespace";
                (SubscribeErrorCode::TRACK_DOES_NOT_EXIST, reason)
            } else {
                let reason = "the publishers serve as many tracks as they may";
                (SubscribeErrorCode::INTERNAL_ERROR, reason)
            };
            return self.reject(subscriber, code, reason);
        }
        if !may_wait {
            let reason = "too many subscriptions of the session wait for a publisher";
            return self.reject(subscriber, SubscribeErrorCode::INTERNAL_ERROR, reason);
        }
        let id = match known {
            Some(id) => id,
            None if self.tracks.len() >= self.limits.max_tracks => {
                let reason = "relay holds as many tracks as it may";
                return self.reject(subscriber, SubscribeErrorCode::INTERNAL_ERROR, reason);
            }
            None => self.create_track(name),
        };
        if known.is_none()
            && let Some(track) = self.tracks.get_mut(&id)
        {
            track.question(now);
        }
        let until = now.checked_add(self.limits.upstream_timeout);
        self.wait(id, subscriber, request, until);
        for publisher in publishers {
            self.ask(id, publisher);
        }
    }

    /// Whether there is a publisher that was not asked since the question was put.
    fn has_untried(&self, id: TrackId) -> bool {
        self.tracks.get(&id).is_some_and(|track| {
            let mut candidates = self.candidates(track.name.namespace(), Some(track));
            candidates.any(|session| !self.is_asked(track, session))
        })
    }

    /// Publishers that are to be asked for a track of this namespace; those that do not answer come last.
    fn publishers_of(&self, namespace: &TrackNamespace, track: Option<&Track>) -> Vec<SessionId> {
        let mut candidates: Vec<_> = self.candidates(namespace, track).collect();
        // They take turns.
        candidates.sort_by_key(|session| self.silence_of(*session));
        candidates.truncate(self.limits.max_publishers_per_track);
        candidates
    }

    fn silence_of(&self, session: SessionId) -> Option<u64> {
        self.sessions.get(&session)?.silent
    }

    /// Publishers that can be asked, or are. Those that refused, or serve as many tracks as they may, stand in no other
    /// one's way.
    fn candidates(
        &self,
        namespace: &TrackNamespace,
        track: Option<&Track>,
    ) -> impl Iterator<Item = SessionId> {
        let has_room = |session: &SessionId| {
            let member = self.sessions.get(session);
            member.is_some_and(|m| m.upstreams.len() < self.limits.max_upstreams_per_session)
        };
        // draft-14 §8.4: each publisher of the namespace is asked, not only the newest ones.
        self.routes
            .matching(namespace)
            .take(limits::PUBLISHERS_TO_TRY)
            .filter(move |session| track.is_none_or(|track| track.may_ask(*session)))
            .filter(has_room)
    }

    fn reject(
        &mut self,
        (session, handle): Downstream,
        code: SubscribeErrorCode,
        reason: &'static str,
    ) {
        self.actions.push_back(Action::RejectSubscribe {
            session,
            handle,
            code,
            reason,
        });
    }

    /// Adds a subscriber of a track that no publisher serves yet.
    fn wait(
        &mut self,
        id: TrackId,
        subscriber: Downstream,
        request: DownstreamRequest,
        until: Option<Instant>,
    ) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        track.wait(subscriber, request, until);
        self.downstreams.insert(subscriber, id);
        if let Some(member) = self.sessions.get_mut(&subscriber.0) {
            member.subscriptions += 1;
            member.waiting += 1;
        }
        self.arm(id);
    }

    /// Adds a subscriber of a live track.
    fn serve(&mut self, id: TrackId, subscriber: Downstream, request: DownstreamRequest) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        track.serve(subscriber, request.forward);
        self.downstreams.insert(subscriber, id);
        let (session, handle) = subscriber;
        if let Some(member) = self.sessions.get_mut(&session) {
            member.subscriptions += 1;
        }
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

    /// SUBSCRIBE_UPDATE changed the Forward State of a subscriber.
    pub(crate) fn forward_changed(
        &mut self,
        session: SessionId,
        handle: RequestHandle,
        forward: bool,
    ) {
        let subscriber = (session, handle);
        let Some(id) = self.downstreams.get(&subscriber).copied() else {
            return;
        };
        if let Some(track) = self.tracks.get_mut(&id) {
            track.set_forward(subscriber, forward);
        }
        self.forward_upstream(id);
    }

    /// UNSUBSCRIBE came.
    pub(crate) fn downstream_left(&mut self, session: SessionId, handle: RequestHandle) {
        if self.downstreams.contains_key(&(session, handle)) {
            self.actions
                .push_back(Action::DetachSubscription { session, handle });
            self.downstream_ended(session, handle);
        }
    }

    /// The subscription was served to its end and PUBLISH_DONE is on its way.
    pub(crate) fn downstream_ended(&mut self, session: SessionId, handle: RequestHandle) {
        let subscriber = (session, handle);
        let Some(id) = self.downstreams.remove(&subscriber) else {
            return;
        };
        let place = self.tracks.get_mut(&id).and_then(|t| t.remove(subscriber));
        if let Some(member) = self.sessions.get_mut(&session) {
            member.subscriptions -= 1;
            member.waiting -= usize::from(place == Some(Place::Waiting));
        }
        self.forward_upstream(id);
        self.release(id);
    }
}
