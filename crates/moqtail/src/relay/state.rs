//! What the hub keeps of sessions, tracks, publishers and subscribers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{
    DownstreamRequest, SessionId, TrackId, UpstreamId, allowance::Allowance, limits,
    routes::Announcement,
};
use crate::{
    model::{FullTrackName, PublishDoneCode, SubscribeErrorCode, TrackNamespace},
    session::RequestHandle,
};

/// A subscriber: its session and its request there.
pub(super) type Downstream = (SessionId, RequestHandle);

/// An announcement: its session and its request there.
pub(super) type Announced = (SessionId, RequestHandle);

/// An announcement whose tracks were not all looked at.
#[derive(Debug)]
pub(super) struct Takeover {
    /// Where to go on.
    pub(super) next: FullTrackName,
    /// When.
    pub(super) at: Instant,
}

/// A session with what it takes up of the relay.
#[derive(Debug, Default)]
pub(super) struct Member {
    pub(super) namespaces: BTreeMap<RequestHandle, (TrackNamespace, Announcement)>,
    /// Subscriptions of the relay at it.
    pub(super) upstreams: BTreeSet<UpstreamId>,
    /// Those among them that it offered by PUBLISH.
    pub(super) published: usize,
    /// Those among them that it may answer although nobody waits.
    pub(super) kept: usize,
    pub(super) subscriptions: usize,
    /// Those among them that wait for a publisher.
    pub(super) waiting: usize,
    /// Tracks that its announcements made the relay look at.
    pub(super) lookups: Allowance,
    /// It left somebody waiting until that was refused, and has not answered anything since: when that was last, counted
    /// over all such cases.
    pub(super) silent: Option<u64>,
}

/// A subscription of the relay at a publisher.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) session: SessionId,
    pub(super) track: TrackId,
    /// It came by PUBLISH, so its Forward State follows the subscribers'.
    pub(super) published: bool,
    pub(super) active: bool,
    /// It may be answered although nobody waits.
    pub(super) kept: bool,
    /// PUBLISH_DONE came; streams may still be on their way.
    pub(super) ends: Option<PublishDoneCode>,
    pub(super) forward: bool,
}

impl Upstream {
    /// The publisher gave the subscription up, and may go on with the track in another one.
    pub(super) fn gave_up(&self) -> bool {
        self.ends.is_some_and(may_go_on)
    }
}

/// Whether PUBLISH_DONE speaks of the one subscription and not of the track, so that the publisher, or another one, may go
/// on with it when it is asked again (draft-14 §9.12).
pub(super) fn may_go_on(status: PublishDoneCode) -> bool {
    matches!(
        status,
        PublishDoneCode::TOO_FAR_BEHIND | PublishDoneCode::GOING_AWAY
    )
}

/// A track with everybody who sends or wants it.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) name: FullTrackName,
    pub(super) upstreams: Vec<UpstreamId>,
    /// Subscribers without an answer.
    waiting: BTreeMap<Downstream, Waiting>,
    /// Until when each of them gets one.
    answer_by: BTreeSet<(Instant, Downstream)>,
    /// A publisher answered, and not all of them were told: since when the next ones have their turn.
    pub(super) answer_at: Option<Instant>,
    /// Accepted subscribers with their Forward State.
    served: BTreeMap<Downstream, bool>,
    /// How many of both have Forward State 1.
    forwarding: usize,
    /// Sealed; subscribers get what is left.
    pub(super) ended: bool,
    /// Served subscribers stay without a publisher.
    pub(super) linger: Option<Linger>,
    /// The deadline that the hub knows of.
    pub(super) armed: Option<Instant>,
    /// Why the last asked publisher refused.
    pub(super) refusal: Option<SubscribeErrorCode>,
    /// Who refused since the question was put; each is asked once.
    refused_by: BTreeSet<SessionId>,
    /// When it was put for who waits.
    asked_since: Option<Instant>,
    /// When publishers that refused are asked again.
    pub(super) ask_at: Option<Instant>,
    /// How often publishers refused beside one that serves the track.
    pub(super) refusals: u32,
    /// Until when publishers may still answer although nobody waits.
    pub(super) kept_until: Option<Instant>,
    /// When publishers were last asked because nobody served the track any more.
    pub(super) revived: Option<Instant>,
    /// The newest publisher said that the track has ended, while an older one seemed to go on.
    pub(super) ended_by_one: Option<String>,
}

impl Track {
    pub(super) fn new(name: FullTrackName) -> Self {
        Self {
            name,
            upstreams: Vec::new(),
            waiting: BTreeMap::new(),
            answer_by: BTreeSet::new(),
            answer_at: None,
            served: BTreeMap::new(),
            forwarding: 0,
            ended: false,
            linger: None,
            armed: None,
            refusal: None,
            refused_by: BTreeSet::new(),
            asked_since: None,
            ask_at: None,
            refusals: 0,
            kept_until: None,
            revived: None,
            ended_by_one: None,
        }
    }

    pub(super) fn wait(
        &mut self,
        subscriber: Downstream,
        request: DownstreamRequest,
        until: Option<Instant>,
    ) {
        self.forwarding += usize::from(request.forward);
        self.waiting.insert(subscriber, Waiting { request, until });
        self.answer_by
            .extend(until.map(|until| (until, subscriber)));
    }

    pub(super) fn serve(&mut self, subscriber: Downstream, forward: bool) {
        self.forwarding += usize::from(forward);
        self.served.insert(subscriber, forward);
    }

    /// Takes out those who wait, no more than `max` of them.
    pub(super) fn take_waiting(&mut self, max: usize) -> Vec<(Downstream, DownstreamRequest)> {
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some((subscriber, of)) = self.waiting.pop_first()
        {
            if let Some(until) = of.until {
                self.answer_by.remove(&(until, subscriber));
            }
            self.forwarding -= usize::from(of.request.forward);
            taken.push((subscriber, of.request));
        }
        taken
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes out everybody who has waited long enough.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Vec<Downstream> {
        let overdue = self.answer_by.iter().take_while(|(until, _)| *until <= now);
        let overdue: Vec<_> = overdue.map(|(_, subscriber)| *subscriber).collect();
        for subscriber in &overdue {
            self.remove(*subscriber);
        }
        overdue
    }

    /// Takes out one subscriber; tells whether it waited.
    pub(super) fn remove(&mut self, subscriber: Downstream) -> Option<Place> {
        let (place, forward) = if let Some(of) = self.waiting.remove(&subscriber) {
            if let Some(until) = of.until {
                self.answer_by.remove(&(until, subscriber));
            }
            (Place::Waiting, of.request.forward)
        } else {
            (Place::Served, self.served.remove(&subscriber)?)
        };
        self.forwarding -= usize::from(forward);
        Some(place)
    }

    pub(super) fn set_forward(&mut self, subscriber: Downstream, forward: bool) {
        let state = match self.waiting.get_mut(&subscriber) {
            Some(of) => &mut of.request.forward,
            None => match self.served.get_mut(&subscriber) {
                Some(state) => state,
                None => return,
            },
        };
        let before = std::mem::replace(state, forward);
        self.forwarding += usize::from(forward);
        self.forwarding -= usize::from(before);
    }

    pub(super) fn wants_forward(&self) -> bool {
        self.forwarding > 0
    }

    pub(super) fn has_served(&self) -> bool {
        !self.served.is_empty()
    }

    /// Nobody waits and nobody is served.
    pub(super) fn is_unwanted(&self) -> bool {
        self.waiting.is_empty() && self.served.is_empty()
    }

    /// Sessions that are served.
    pub(super) fn viewers(&self) -> impl Iterator<Item = SessionId> {
        self.served.keys().map(|(session, _)| *session)
    }

    /// The question is put anew, to those who refused as well.
    pub(super) fn forget_refusals(&mut self) {
        self.refused_by.clear();
    }

    /// The same for somebody who comes to wait, if nobody is asked any more or was not for some time.
    pub(super) fn question(&mut self, now: Instant) {
        let rests = |at: Instant| now.saturating_duration_since(at) < limits::QUESTION_REST;
        if self.upstreams.is_empty() || !self.asked_since.is_some_and(rests) {
            self.refused_by.clear();
            self.asked_since = Some(now);
        }
    }

    pub(super) fn refused(&mut self, session: SessionId, code: SubscribeErrorCode) {
        self.refusal = Some(code);
        if self.refused_by.len() < limits::PUBLISHERS_TO_TRY {
            self.refused_by.insert(session);
        }
    }

    /// Whether the session may still be asked before the question is put anew.
    pub(super) fn may_ask(&self, session: SessionId) -> bool {
        self.refused_by.len() < limits::PUBLISHERS_TO_TRY && !self.refused_by.contains(&session)
    }

    /// How the track ends, if it has been without a publisher for long enough.
    pub(super) fn take_end(&mut self, now: Instant) -> Option<TrackEnd> {
        let over = |linger: &mut Linger| linger.until.is_some_and(|until| until <= now);
        self.linger.take_if(over).map(|linger| linger.end)
    }

    /// Nobody else is asked, for the track has ended unless one that is asked goes on with it.
    pub(super) fn waits_for_asked(&self) -> bool {
        self.linger.as_ref().is_some_and(|linger| linger.asked_only)
    }

    /// How the track ends, if nobody is left whose answer it waited for.
    pub(super) fn take_end_without_answer(&mut self) -> Option<TrackEnd> {
        self.linger
            .take_if(|linger| linger.asked_only)
            .map(|linger| linger.end)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let answer_by = self.answer_by.first().map(|(until, _)| *until);
        let linger = self.linger.as_ref().and_then(|linger| linger.until);
        let times = [
            self.answer_at,
            answer_by,
            linger,
            self.ask_at,
            self.kept_until,
        ];
        times.into_iter().flatten().min()
    }
}

/// The time that a track is without a publisher.
#[derive(Debug)]
pub(super) struct Linger {
    /// Its end, if it has one.
    pub(super) until: Option<Instant>,
    /// What subscribers are told at its end.
    pub(super) end: TrackEnd,
    /// It is for publishers that are asked already: without one of them it is over.
    pub(super) asked_only: bool,
}

/// What PUBLISH_DONE says of a track that ends.
pub(super) type TrackEnd = (PublishDoneCode, String);

/// A subscriber without an answer.
#[derive(Debug)]
struct Waiting {
    request: DownstreamRequest,
    /// `None`: it waits for as long as it takes.
    until: Option<Instant>,
}

/// Where a subscriber stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Waiting,
    Served,
}
