//! The control plane of a relay driven by bytes: sessions that come and go, announce, offer, subscribe and answer.
//!
//! Beside it a model of what each session asked for and what it was told, which says after every operation: each request
//! is answered once, no publisher is asked twice for one track, what ends is known, nothing is left of who is gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{arbitrary::Source, session::start};
use crate::model::{
    Filter, FullTrackName, Location, PublishDoneCode, SubscribeErrorCode, TrackNamespace,
};
use crate::relay::{Action, DownstreamRequest, Hub, RelayLimits, SessionId, TrackId, UpstreamId};
use crate::session::RequestHandle;

type Request = (SessionId, RequestHandle);

const NAMESPACES: [&str; 4] = ["a", "a/b", "a/b/c", "d"];
const TRACKS: [&str; 5] = ["a#x", "a/b#x", "a/b/c#x", "a/b/c#y", "d#x"];

fn namespace(number: usize) -> TrackNamespace {
    NAMESPACES[number % NAMESPACES.len()]
        .parse()
        .expect("a namespace")
}

fn track_name(number: usize) -> FullTrackName {
    TRACKS[number % TRACKS.len()].parse().expect("a name")
}

/// Small enough that all of them are met.
fn limits() -> RelayLimits {
    RelayLimits {
        max_sessions: 5,
        max_tracks: 4,
        max_publishers_per_track: 2,
        max_namespaces_per_session: 3,
        max_lookups_per_second: 5,
        max_published_per_session: 2,
        max_subscriptions_per_session: 4,
        max_waiting_per_session: 3,
        max_upstreams_per_session: 3,
        ..RelayLimits::default()
    }
}

/// A subscription of the relay at a publisher.
struct Asked {
    session: SessionId,
    track: TrackId,
    published: bool,
    answered: bool,
    /// PUBLISH_DONE came.
    ends: Option<PublishDoneCode>,
}

impl Asked {
    fn gave_up(&self) -> bool {
        self.ends == Some(PublishDoneCode::GOING_AWAY)
    }
}

#[derive(Default)]
struct Told {
    sessions: BTreeSet<SessionId>,
    /// Requests without an answer, and when a SUBSCRIBE was made.
    subscribing: BTreeMap<Request, (usize, Instant)>,
    publishing: BTreeMap<Request, usize>,
    announcing: BTreeSet<Request>,
    announced: BTreeMap<Request, usize>,
    served: BTreeMap<Request, (usize, TrackId)>,
    /// Subscriptions that the peer left in the operation at hand.
    left: BTreeSet<Request>,
    upstreams: BTreeMap<UpstreamId, Asked>,
    /// Those among them that took no request in the operation at hand.
    refused: BTreeSet<UpstreamId>,
    tracks: BTreeMap<TrackId, FullTrackName>,
    ended: BTreeSet<TrackId>,
    ever: BTreeSet<TrackId>,
}

/// Operations of any sessions on a relay.
pub fn relay_operations(data: &[u8]) {
    let mut source = Source::new(data);
    let mut world = World {
        hub: Hub::new(limits()),
        told: Told::default(),
        now: start(),
        sessions: 0,
        requests: 0,
    };
    // An operation takes some bytes.
    for _ in 0..data.len().min(400) {
        world.operate(&mut source);
    }
    for session in world.told.sessions.clone() {
        world.leave(session);
    }
    assert!(world.hub.is_empty(), "{:?}", world.hub);
    assert!(world.told.tracks.is_empty());
}

struct World {
    hub: Hub,
    told: Told,
    now: Instant,
    sessions: u64,
    requests: u64,
}

/// One of these, if there is any.
fn pick<T: Copy>(from: impl ExactSizeIterator<Item = T>, number: u8) -> Option<T> {
    let len = from.len();
    let mut from = from;
    from.nth(usize::from(number) % len.max(1))
}

impl World {
    fn operate(&mut self, source: &mut Source<'_>) {
        let (operation, a, b) = (source.byte(), source.byte(), source.byte());
        let (hub, told, now) = (&mut self.hub, &mut self.told, self.now);
        let session = pick(told.sessions.iter(), a).copied();
        let largest = (b & 1 == 1).then(|| Location::new(u64::from(b), 0));
        let done = if b & 2 == 0 {
            PublishDoneCode::TRACK_ENDED
        } else {
            PublishDoneCode::GOING_AWAY
        };
        match (operation % 14, session) {
            (0, _) => {
                let session = SessionId(self.sessions);
                self.sessions += 1;
                let room = told.sessions.len() < limits().max_sessions;
                assert_eq!(hub.session_opened(session), room);
                if room {
                    told.sessions.insert(session);
                }
            }
            (1, Some(session)) if b & 3 == 0 => self.leave(session),
            (1, Some(session)) if b & 3 == 1 => {
                told.announced.retain(|request, _| request.0 != session);
                hub.session_leaves(session);
            }
            (2, Some(session)) => {
                let name = usize::from(b) % NAMESPACES.len();
                let twice =
                    |(request, known): (&Request, &usize)| request.0 == session && *known == name;
                if !told.announced.iter().any(twice) {
                    self.requests += 1;
                    let handle = RequestHandle(self.requests);
                    told.announcing.insert((session, handle));
                    told.announced.insert((session, handle), name);
                    let name = namespace(name);
                    hub.namespace_published(session, handle, name, now);
                }
            }
            (3, Some(_)) => {
                if let Some((session, handle)) = pick(told.announced.keys(), b).copied() {
                    told.announced.remove(&(session, handle));
                    hub.namespace_done(session, handle);
                }
            }
            (4 | 5, Some(session)) => {
                let name = usize::from(b) % TRACKS.len();
                if !told.subscribes(session, name) {
                    self.requests += 1;
                    let handle = RequestHandle(self.requests);
                    told.subscribing.insert((session, handle), (name, now));
                    let request = DownstreamRequest {
                        filter: Filter::LargestObject,
                        forward: b & 0x80 == 0,
                        priority: 0,
                        group_order: None,
                        delivery_timeout: None,
                    };
                    let name = track_name(name);
                    hub.subscribe_requested(session, handle, name, request, now);
                }
            }
            (6, _) => {
                let requests = told.subscribing.keys().chain(told.served.keys());
                let requests: Vec<_> = requests.copied().collect();
                if let Some((session, handle)) = pick(requests.into_iter(), a) {
                    if b & 1 == 0 {
                        hub.forward_changed(session, handle, b & 2 == 0);
                    } else {
                        told.subscribing.remove(&(session, handle));
                        told.served.remove(&(session, handle));
                        told.left.insert((session, handle));
                        hub.downstream_left(session, handle);
                    }
                }
            }
            (7, _) => {
                if let Some((session, handle)) = pick(told.served.keys(), a).copied() {
                    told.served.remove(&(session, handle));
                    hub.downstream_ended(session, handle);
                }
            }
            (8, Some(session)) => {
                let name = usize::from(b) % TRACKS.len();
                let full = track_name(name);
                let unasked = told.unanswered(session, &full);
                // A session refuses an offer of what it is subscribed to itself, but for what it could not ask for yet.
                if unasked.is_some() || !told.feeds(session, &full) {
                    // The SUBSCRIBE that could not be sent fails at once, or is over when the offer has been told.
                    let at_once = unasked.filter(|_| b & 0x20 == 0);
                    self.give_way(at_once, Hub::upstream_offers);
                    // Who runs the relay need not allow it.
                    if unasked.is_none() || b & 0x40 == 0 {
                        self.offer(session, name, largest);
                    }
                    self.give_way(unasked, Hub::upstream_superseded);
                }
            }
            (9 | 10, _) => {
                if let Some(id) = pick(told.upstreams.keys(), a).copied()
                    && let Some(asked) = told.upstreams.get_mut(&id)
                    && !asked.answered
                {
                    if b & 4 == 0 {
                        asked.answered = true;
                        hub.upstream_accepted(id, largest, now);
                    } else {
                        told.upstreams.remove(&id);
                        if b & 8 == 0 {
                            hub.upstream_answered(id);
                        }
                        hub.upstream_rejected(id, SubscribeErrorCode::UNAUTHORIZED, now);
                    }
                }
            }
            (11, _) => {
                if let Some(id) = pick(told.upstreams.keys(), a).copied()
                    && told.upstreams.get(&id).is_some_and(|asked| asked.answered)
                {
                    let ends = told.upstreams.get(&id).and_then(|asked| asked.ends);
                    if b & 0x1c == 0 {
                        hub.upstream_malformed(id, "broken");
                    } else if b & 0x20 == 0 || ends.is_some() {
                        told.upstreams.remove(&id);
                        hub.upstream_done(id, ends.unwrap_or(done), "over", now);
                    } else if let Some(asked) = told.upstreams.get_mut(&id) {
                        asked.ends = Some(done);
                        hub.upstream_ends(id, done, now);
                    }
                }
            }
            (12 | 13, _) => {
                self.now += Duration::from_millis(u64::from(b) * 50);
                while self.hub.deadline().is_some_and(|at| at <= self.now) {
                    self.hub.timeout(self.now);
                    self.drain(b);
                }
            }
            _ => {}
        }
        self.drain(source.byte());
    }

    /// A session offers a track.
    fn offer(&mut self, session: SessionId, name: usize, largest: Option<Location>) {
        self.requests += 1;
        let handle = RequestHandle(self.requests);
        self.told.publishing.insert((session, handle), name);
        let full = track_name(name);
        self.hub
            .publish_requested(session, handle, full, largest, self.now);
        self.drain(0);
    }

    /// What a publisher was asked for is over because it offers the track itself.
    fn give_way(&mut self, id: Option<UpstreamId>, how: fn(&mut Hub, UpstreamId, Instant)) {
        if let Some(id) = id
            && self.told.upstreams.remove(&id).is_some()
        {
            how(&mut self.hub, id, self.now);
            self.drain(0);
        }
    }

    /// A session ends.
    fn leave(&mut self, session: SessionId) {
        let told = &mut self.told;
        told.sessions.remove(&session);
        told.subscribing.retain(|request, _| request.0 != session);
        told.served.retain(|request, _| request.0 != session);
        told.announced.retain(|request, _| request.0 != session);
        let done = |(id, asked): (&UpstreamId, &Asked)| {
            let ends = asked.ends.filter(|_| asked.session == session);
            ends.map(|status| (*id, (status, String::new())))
        };
        let done = told.upstreams.iter().filter_map(done).collect();
        told.upstreams.retain(|_, asked| asked.session != session);
        self.hub.session_closed(session, done, self.now);
        self.drain(0);
    }

    /// Does what the hub says. `refuse`: sessions that take no request now.
    fn drain(&mut self, refuse: u8) {
        while let Some(action) = self.hub.poll_action() {
            self.told.check(&action);
            if let Action::SubscribeUpstream {
                session, upstream, ..
            } = action
                && refuse >> (session.0 % 8) & 1 == 1
            {
                self.told.upstreams.remove(&upstream);
                self.told.refused.insert(upstream);
                let code = SubscribeErrorCode::INTERNAL_ERROR;
                self.hub.upstream_rejected(upstream, code, self.now);
            }
        }
        let told = &mut self.told;
        told.left.clear();
        told.refused.clear();
        assert!(told.publishing.is_empty(), "a PUBLISH waits");
        assert!(told.announcing.is_empty(), "a PUBLISH_NAMESPACE waits");
        let waiting = told.subscribing.values();
        let (now, patience) = (self.now, limits().upstream_timeout);
        assert!(
            self.hub.deadline().is_some_and(|at| at <= now)
                || waiting.clone().all(|(_, since)| *since + patience > now),
            "a SUBSCRIBE waits longer than it may"
        );
        let subscriptions = told.subscribing.len() + told.served.len();
        assert_eq!(self.hub.subscriptions(), subscriptions);
        let needed = |track: &TrackId| told.is_needed(*track);
        assert!(told.tracks.keys().all(needed), "a track of nobody");
        for session in &told.sessions {
            let waiting = told.subscribing.keys().filter(|r| r.0 == *session).count();
            let served = told.served.keys().filter(|r| r.0 == *session).count();
            let asked = told.upstreams.values().filter(|u| u.session == *session);
            let offered = asked.clone().filter(|u| u.published).count();
            assert!(waiting <= limits().max_waiting_per_session);
            assert!(waiting + served <= limits().max_subscriptions_per_session);
            assert!(asked.filter(|u| !u.published).count() <= limits().max_upstreams_per_session);
            assert!(offered <= limits().max_published_per_session);
        }
    }
}

impl Told {
    fn subscribes(&self, session: SessionId, name: usize) -> bool {
        let waits = |(request, (known, _)): (&Request, &(usize, Instant))| {
            request.0 == session && *known == name
        };
        let served = |(request, (known, _)): (&Request, &(usize, TrackId))| {
            request.0 == session && *known == name
        };
        self.subscribing.iter().any(waits) || self.served.iter().any(served)
    }

    fn feeds(&self, session: SessionId, name: &FullTrackName) -> bool {
        self.upstreams.values().any(|asked| {
            asked.session == session
                && asked.ends.is_none()
                && self.tracks.get(&asked.track) == Some(name)
        })
    }

    /// What a session was asked for and has not answered.
    fn unanswered(&self, session: SessionId, name: &FullTrackName) -> Option<UpstreamId> {
        let mut asked = self.upstreams.iter();
        let is_it = |(_, asked): &(_, &Asked)| {
            asked.session == session
                && !asked.answered
                && self.tracks.get(&asked.track) == Some(name)
        };
        asked.find(is_it).map(|(id, _)| *id)
    }

    /// All that is left of the track is on its way.
    fn ends(&self, track: TrackId) -> bool {
        let mut of_track = self.upstreams.values().filter(|asked| asked.track == track);
        of_track.all(|asked| asked.ends == Some(PublishDoneCode::TRACK_ENDED))
    }

    /// Somebody has the track, asks for it or is asked for it.
    fn is_needed(&self, track: TrackId) -> bool {
        let served = self.served.values().any(|(_, served)| *served == track);
        let asked = self.upstreams.values().any(|asked| asked.track == track);
        let mut waiting = self.subscribing.values().map(|(name, _)| track_name(*name));
        served || asked || waiting.any(|name| self.tracks.get(&track) == Some(&name))
    }

    /// One order of the hub, against what it was asked and what it said before.
    fn check(&mut self, action: &Action) {
        match action {
            Action::CreateTrack { track, name, alias } => {
                assert_eq!(alias.0, track.0);
                assert!(self.ever.insert(*track), "a track comes twice");
                let mut twins = self.tracks.iter().filter(|(_, known)| *known == name);
                assert!(twins.all(|(twin, _)| self.ended.contains(twin) || self.ends(*twin)));
                self.tracks.insert(*track, name.clone());
                assert!(self.tracks.len() <= limits().max_tracks);
            }
            Action::DropTrack { track } => {
                assert!(self.tracks.remove(track).is_some(), "dropped twice");
                self.ended.remove(track);
                assert!(self.served.values().all(|(_, served)| served != track));
                assert!(self.upstreams.values().all(|asked| asked.track != *track));
            }
            Action::EndTrack { track, .. } => {
                assert!(self.tracks.contains_key(track));
                assert!(self.ended.insert(*track), "ended twice");
            }
            Action::AcceptSubscribe {
                session,
                handle,
                track,
                largest,
                ..
            } => {
                let request = (*session, *handle);
                let (name, _) = self.subscribing.remove(&request).expect("one answer");
                assert_eq!(self.tracks.get(track), Some(&track_name(name)));
                assert!(!self.ended.contains(track), "accepted after the end");
                let live = |asked: &Asked| asked.track == *track && asked.answered;
                assert!(
                    self.upstreams.values().any(live),
                    "nobody serves it: {largest:?}"
                );
                self.served.insert(request, (name, *track));
            }
            Action::RejectSubscribe {
                session, handle, ..
            } => {
                let request = (*session, *handle);
                assert!(self.subscribing.remove(&request).is_some(), "one answer");
            }
            Action::DetachSubscription { session, handle } => {
                assert!(self.left.contains(&(*session, *handle)), "nobody left");
            }
            Action::SubscribeUpstream {
                session,
                upstream,
                track,
                name,
            } => {
                assert!(
                    self.sessions.contains(session),
                    "asked a session that ended"
                );
                assert_eq!(self.tracks.get(track), Some(name));
                assert!(!self.ended.contains(track));
                let announced = self.announced.iter().any(|((owner, _), known)| {
                    let known = namespace(*known);
                    owner == session && known.as_prefix().matches(name.namespace())
                });
                assert!(announced, "asked who announced nothing");
                self.add(*upstream, *session, *track, false);
            }
            Action::UnsubscribeUpstream { session, upstream } => {
                // What refused a request may be left in the same breath.
                if !self.refused.remove(upstream) {
                    let asked = self.upstreams.remove(upstream).expect("a publisher");
                    assert_eq!(asked.session, *session);
                }
            }
            Action::ForwardUpstream { upstream, .. } => {
                assert!(self.upstreams.get(upstream).is_some_and(|u| u.published));
            }
            Action::AcceptPublish {
                session,
                handle,
                upstream,
                track,
                ..
            } => {
                let name = self.publishing.remove(&(*session, *handle));
                let name = name.expect("one answer");
                assert_eq!(self.tracks.get(track), Some(&track_name(name)));
                self.add(*upstream, *session, *track, true);
            }
            Action::RejectPublish {
                session, handle, ..
            } => {
                let request = (*session, *handle);
                assert!(self.publishing.remove(&request).is_some(), "one answer");
            }
            Action::AcceptNamespace { session, handle } => {
                assert!(self.announcing.remove(&(*session, *handle)), "one answer");
                let own = self.announced.keys().filter(|r| r.0 == *session).count();
                assert!(own <= limits().max_namespaces_per_session);
            }
            Action::RejectNamespace {
                session, handle, ..
            } => {
                assert!(self.announcing.remove(&(*session, *handle)), "one answer");
                self.announced.remove(&(*session, *handle));
            }
        }
    }

    fn add(&mut self, id: UpstreamId, session: SessionId, track: TrackId, published: bool) {
        let of_track = self.upstreams.values().filter(|asked| asked.track == track);
        let places = of_track.clone().filter(|asked| !asked.gave_up());
        let (own, others): (Vec<_>, Vec<_>) = places.partition(|asked| asked.session == session);
        // Who ended its subscription, or could not be asked yet, may offer the track anew.
        let over = |own: &&Asked| published && (own.ends.is_some() || !own.answered);
        assert!(own.iter().all(over), "a publisher is asked twice");
        // Those that do not answer take up no place.
        let max = limits().max_publishers_per_track;
        let serving = others.iter().filter(|asked| asked.answered);
        assert!(serving.count() < max);
        let others = of_track.filter(|asked| asked.session != session).count();
        assert!(others < 2 * max);
        let asked = Asked {
            session,
            track,
            published,
            answered: published,
            ends: None,
        };
        assert!(self.upstreams.insert(id, asked).is_none());
    }
}
