//! What an application knows by its calls and by what it was told: each request is told of once, in a legal order, and
//! calls succeed when they may.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Filter, FullTrackName, Location, MAX_VARINT, TrackAlias, TrackNamespace};
use crate::session::{CallError, Event, PeerSetup, RequestFailure, RequestHandle};

/// What a request is to this side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// This side subscribes.
    Subscribe(FullTrackName),
    /// The peer offers a track.
    Offered(FullTrackName),
    /// The peer subscribes.
    Subscribed(FullTrackName),
    /// This side offers a track.
    Publish(FullTrackName),
    /// This side announces.
    Namespace(TrackNamespace),
    /// The peer announces.
    Announced(TrackNamespace),
}

/// A request that has not ended.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) accepted: bool,
    /// PUBLISH_DONE was told.
    pub(super) done: bool,
    /// The application ended it, streams were open.
    pub(super) finishing: bool,
    /// It was told that an own PUBLISH failed, streams were open: it may still be there, or not.
    pub(super) failed: bool,
    expires: bool,
    pub(super) open_streams: u32,
    pub(super) alias: Option<TrackAlias>,
    pub(super) priority: u8,
    pub(super) forward: bool,
    start: Location,
    end_group: Option<u64>,
}

impl Entry {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            accepted: false,
            done: false,
            finishing: false,
            failed: false,
            expires: false,
            open_streams: 0,
            alias: None,
            priority: 0,
            forward: false,
            start: Location::default(),
            end_group: None,
        }
    }

    pub(super) fn is_own(&self) -> bool {
        matches!(
            self.kind,
            Kind::Subscribe(_) | Kind::Publish(_) | Kind::Namespace(_)
        )
    }

    /// The track that this side publishes by it.
    pub(super) fn published(&self) -> Option<&FullTrackName> {
        match &self.kind {
            Kind::Subscribed(track) | Kind::Publish(track) => Some(track),
            _ => None,
        }
    }

    /// The track that this side subscribes to by it.
    pub(super) fn subscribed(&self) -> Option<&FullTrackName> {
        match &self.kind {
            Kind::Subscribe(track) | Kind::Offered(track) => Some(track),
            _ => None,
        }
    }

    /// Whether it goes on as a subscription in which this side is the subscriber.
    pub(super) fn is_subscription(&self) -> bool {
        match self.kind {
            Kind::Subscribe(_) => true,
            Kind::Offered(_) => self.accepted,
            _ => false,
        }
    }

    fn is_awaited(&self) -> bool {
        !self.accepted && !self.finishing
    }
}

/// The streams of the latest subscription of a track in which this side is the publisher.
#[derive(Debug)]
struct Outbound {
    handle: RequestHandle,
    opened: u64,
    open: u64,
}

/// Everything that one application knows.
#[derive(Debug, Default)]
pub(super) struct Told {
    live: BTreeMap<RequestHandle, Entry>,
    /// Every handle that ever was.
    seen: BTreeSet<RequestHandle>,
    outbound: BTreeMap<FullTrackName, Outbound>,
    setup_requested: bool,
    established: bool,
    pub(super) goaway_received: bool,
    pub(super) goaway_sent: bool,
    drained: bool,
}

impl Told {
    pub(super) fn get(&self, handle: RequestHandle) -> Option<&Entry> {
        self.live.get(&handle)
    }

    pub(super) fn live(&self) -> impl DoubleEndedIterator<Item = (RequestHandle, &Entry)> {
        self.live.iter().map(|(handle, entry)| (*handle, entry))
    }

    /// Newer ones have lower numbers; now and then one that has ended.
    pub(super) fn handle(&self, number: u8) -> RequestHandle {
        let none = RequestHandle(u64::MAX);
        if number >= 240 {
            return *self
                .seen
                .iter()
                .nth_back(usize::from(number - 240))
                .unwrap_or(&none);
        }
        let back = usize::from(number) % self.live.len().max(1);
        *self.live.keys().nth_back(back).unwrap_or(&none)
    }

    fn is_published(&self, alias: TrackAlias) -> bool {
        self.live
            .values()
            .any(|entry| entry.published().is_some() && entry.alias == Some(alias))
    }

    /// Whether something is only perhaps there any more, so that the track and its alias may be free.
    fn is_doubtful(&self) -> bool {
        self.live.values().any(|entry| entry.failed)
    }

    fn add(&mut self, handle: RequestHandle, entry: Entry) {
        assert!(self.seen.insert(handle), "{handle} is told of twice");
        if let Some(track) = entry.published() {
            let (opened, open) = (0, 0);
            let outbound = Outbound {
                handle,
                opened,
                open,
            };
            self.outbound.insert(track.clone(), outbound);
        }
        self.live.insert(handle, entry);
    }

    fn entry(&mut self, handle: RequestHandle, event: &Event) -> &mut Entry {
        self.live
            .get_mut(&handle)
            .unwrap_or_else(|| panic!("{event:?} about a request that has ended"))
    }

    fn end(&mut self, handle: RequestHandle) {
        self.live.remove(&handle);
    }

    fn no_subscription(&self) -> bool {
        !self.live.values().any(|entry| {
            // What has failed may be gone.
            entry.subscribed().is_some() || (entry.published().is_some() && !entry.failed)
        })
    }
}

/// Events.
impl Told {
    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::SetupRequested(_) => {
                assert!(!std::mem::replace(&mut self.setup_requested, true));
            }
            Event::Established(PeerSetup { .. }) => {
                assert!(!std::mem::replace(&mut self.established, true));
            }
            Event::GoawayReceived { .. } => {
                assert!(!std::mem::replace(&mut self.goaway_received, true));
            }
            Event::Drained => {
                assert!(!std::mem::replace(&mut self.drained, true), "drained twice");
                assert!(self.goaway_received || self.goaway_sent);
                assert!(self.no_subscription(), "drained, but {:?}", self.live);
            }
            Event::NamespacePublished { .. }
            | Event::NamespaceDone { .. }
            | Event::NamespaceAccepted { .. }
            | Event::NamespaceRejected { .. }
            | Event::NamespaceCancelled { .. } => self.of_namespace(event),
            Event::SubscribeRequested(_)
            | Event::SubscriptionUpdated(_)
            | Event::SubscriptionExpired { .. }
            | Event::Unsubscribed { .. }
            | Event::PublishAccepted(_)
            | Event::PublishRejected { .. } => self.of_publisher(event),
            _ => self.of_subscriber(event),
        }
    }

    fn of_namespace(&mut self, event: &Event) {
        match event {
            Event::NamespacePublished {
                handle, namespace, ..
            } => self.add(*handle, Entry::new(Kind::Announced(namespace.clone()))),
            Event::NamespaceDone { handle } => {
                let entry = self.entry(*handle, event);
                assert!(matches!(entry.kind, Kind::Announced(_)), "{event:?}");
                self.end(*handle);
            }
            Event::NamespaceAccepted { handle } => {
                let entry = self.entry(*handle, event);
                let awaited = matches!(entry.kind, Kind::Namespace(_)) && entry.is_awaited();
                assert!(awaited, "{event:?}");
                entry.accepted = true;
            }
            Event::NamespaceRejected { handle, .. } => {
                let entry = self.entry(*handle, event);
                let awaited = matches!(entry.kind, Kind::Namespace(_)) && entry.is_awaited();
                assert!(awaited, "{event:?}");
                self.end(*handle);
            }
            Event::NamespaceCancelled { handle, .. } => {
                let entry = self.entry(*handle, event);
                let accepted = matches!(entry.kind, Kind::Namespace(_)) && entry.accepted;
                assert!(accepted, "{event:?}");
                self.end(*handle);
            }
            _ => {}
        }
    }

    /// This side publishes.
    fn of_publisher(&mut self, event: &Event) {
        match event {
            Event::SubscribeRequested(request) => {
                let (start, end_group) = named(request.filter);
                let entry = Entry {
                    priority: request.priority,
                    forward: request.forward,
                    start,
                    end_group,
                    ..Entry::new(Kind::Subscribed(request.track.clone()))
                };
                self.add(request.handle, entry);
            }
            Event::SubscriptionUpdated(change) => {
                let entry = self.entry(change.handle, event);
                let active = entry.published().is_some() && entry.accepted && !entry.finishing;
                assert!(active, "{event:?}");
                // draft-14 §9.10
                assert!(change.start >= entry.start, "{event:?}: start lowered");
                let end = change.end_group.unwrap_or(MAX_VARINT);
                let before = entry.end_group.unwrap_or(MAX_VARINT);
                let raised = end > before.max(change.start.group);
                assert!(!raised, "{event:?}: end raised");
                assert!(end >= change.start.group, "{event:?}: end before start");
                entry.start = change.start;
                entry.end_group = change.end_group;
                entry.priority = change.priority;
                entry.forward = change.forward;
            }
            Event::SubscriptionExpired { handle } => {
                let entry = self.entry(*handle, event);
                let active = entry.published().is_some() && entry.accepted && !entry.finishing;
                let expires = std::mem::take(&mut entry.expires);
                assert!(active && expires, "{event:?}");
            }
            Event::Unsubscribed { handle } => {
                let entry = self.entry(*handle, event);
                assert!(entry.published().is_some() && !entry.failed, "{event:?}");
                self.end(*handle);
            }
            Event::PublishAccepted(accepted) => {
                let entry = self.entry(accepted.handle, event);
                let awaited = matches!(entry.kind, Kind::Publish(_)) && entry.is_awaited();
                assert!(awaited && !entry.failed, "{event:?}");
                entry.accepted = true;
                entry.priority = accepted.priority;
                entry.forward = accepted.forward;
                (entry.start, entry.end_group) = named(accepted.filter);
            }
            Event::PublishRejected { handle, failure } => {
                let entry = self.entry(*handle, event);
                let publish = matches!(entry.kind, Kind::Publish(_));
                assert!(
                    publish && !entry.accepted && !entry.failed,
                    "{event:?}, which was told before"
                );
                if *failure == RequestFailure::TimedOut && entry.open_streams > 0 {
                    entry.failed = true;
                } else {
                    self.end(*handle);
                }
            }
            _ => {}
        }
    }

    /// This side subscribes.
    fn of_subscriber(&mut self, event: &Event) {
        match event {
            Event::SubscribeAccepted(accepted) => {
                let entry = self.entry(accepted.handle, event);
                let awaited = matches!(entry.kind, Kind::Subscribe(_)) && entry.is_awaited();
                assert!(awaited, "{event:?}");
                entry.accepted = true;
                entry.alias = Some(accepted.alias);
            }
            Event::SubscribeRejected { handle, .. } | Event::SubscribeSuperseded { handle } => {
                let entry = self.entry(*handle, event);
                let awaited = matches!(entry.kind, Kind::Subscribe(_)) && entry.is_awaited();
                assert!(awaited, "{event:?}");
                self.end(*handle);
            }
            Event::PublishRequested(request) => {
                let entry = Entry {
                    alias: Some(request.alias),
                    ..Entry::new(Kind::Offered(request.track.clone()))
                };
                self.add(request.handle, entry);
            }
            Event::PublishDone { handle, .. } => {
                let entry = self.entry(*handle, event);
                let begun = match entry.kind {
                    Kind::Subscribe(_) => entry.accepted,
                    Kind::Offered(_) => true,
                    _ => false,
                };
                assert!(begun && !entry.done, "{event:?}");
                entry.done = true;
            }
            Event::SubscriptionClosed { handle } => {
                let entry = self.entry(*handle, event);
                let closes = entry.subscribed().is_some() && entry.accepted && entry.done;
                assert!(closes, "{event:?}");
                self.end(*handle);
            }
            other => panic!("{other:?} is not known here"),
        }
    }
}

/// Calls: what has to come of one, and what the application knows after it.
impl Told {
    /// `Ok` has to come of `legal`, an error of what is not. `None`: either may.
    fn judge(call: &str, legal: Option<bool>, ok: Result<(), CallError>) -> bool {
        if let Some(legal) = legal {
            assert_eq!(ok.is_ok(), legal, "{call}: {ok:?}");
        }
        ok.is_ok()
    }

    /// What came of a new request. `queue_full`: the queue is.
    pub(super) fn requested(
        &mut self,
        kind: Kind,
        alias: Option<TrackAlias>,
        (priority, forward): (u8, bool),
        result: Result<RequestHandle, CallError>,
        queue_full: bool,
    ) {
        if result == Err(CallError::QueueFull) {
            assert!(queue_full, "the queue is not full");
            return;
        }
        let free = match &kind {
            Kind::Subscribe(track) => !self
                .live
                .values()
                .any(|entry| entry.subscribed() == Some(track) && !entry.done),
            Kind::Publish(track) => {
                let served = |entry: &Entry| entry.published() == Some(track);
                !self.live.values().any(served) && !alias.is_some_and(|a| self.is_published(a))
            }
            _ => !self.live.values().any(|entry| entry.kind == kind),
        };
        let legal = free && !self.goaway_received;
        let legal = Some(legal).filter(|legal| *legal || !self.is_doubtful());
        let made = result.clone().map(drop);
        if Self::judge("a new request", legal, made)
            && let Ok(handle) = result
        {
            let entry = Entry {
                alias,
                priority,
                forward,
                ..Entry::new(kind)
            };
            self.add(handle, entry);
        }
    }

    pub(super) fn updated(
        &mut self,
        handle: RequestHandle,
        narrows: bool,
        (priority, forward): (u8, bool),
        result: Result<(), CallError>,
    ) {
        let live = self.get(handle);
        let may = live.is_some_and(|entry| entry.is_subscription() && !entry.done);
        let legal = Some(may).filter(|may| !*may || !narrows);
        if Self::judge("an update", legal, result)
            && let Some(entry) = self.live.get_mut(&handle)
        {
            entry.priority = priority;
            entry.forward = forward;
        }
    }

    pub(super) fn unsubscribed(&mut self, handle: RequestHandle, result: Result<(), CallError>) {
        let legal = self.get(handle).is_some_and(Entry::is_subscription);
        if Self::judge("unsubscribe", Some(legal), result) {
            self.end(handle);
        }
    }

    /// An offer of the peer was accepted or refused.
    pub(super) fn answered_offer(
        &mut self,
        handle: RequestHandle,
        accept: bool,
        (priority, forward): (u8, bool),
        result: Result<(), CallError>,
    ) {
        let entry = self.live.get_mut(&handle);
        let offered = entry.filter(|entry| matches!(entry.kind, Kind::Offered(_)));
        let awaited = offered.filter(|entry| !entry.accepted);
        if Self::judge("an answer to PUBLISH", Some(awaited.is_some()), result) {
            match awaited {
                Some(entry) if accept => {
                    entry.accepted = true;
                    entry.priority = priority;
                    entry.forward = forward;
                }
                _ => self.end(handle),
            }
        }
    }

    /// A SUBSCRIBE of the peer was accepted.
    pub(super) fn accepted_subscribe(
        &mut self,
        handle: RequestHandle,
        alias: TrackAlias,
        expires: bool,
        result: Result<(), CallError>,
    ) {
        let free = !self.is_published(alias);
        let doubtful = self.is_doubtful();
        let entry = self.live.get_mut(&handle);
        let subscribed = entry.filter(|entry| matches!(entry.kind, Kind::Subscribed(_)));
        let awaited = subscribed.filter(|entry| !entry.accepted);
        let legal = Some(awaited.is_some() && free).filter(|legal| *legal || !doubtful);
        if Self::judge("accept_subscribe", legal, result)
            && let Some(entry) = awaited
        {
            entry.accepted = true;
            entry.alias = Some(alias);
            entry.expires = expires;
        }
    }

    pub(super) fn rejected_subscribe(
        &mut self,
        handle: RequestHandle,
        result: Result<(), CallError>,
    ) {
        let awaited = self
            .get(handle)
            .is_some_and(|entry| matches!(entry.kind, Kind::Subscribed(_)) && !entry.accepted);
        if Self::judge("reject_subscribe", Some(awaited), result) {
            self.end(handle);
        }
    }

    pub(super) fn finished(&mut self, handle: RequestHandle, result: Result<(), CallError>) {
        let entry = self.live.get_mut(&handle).filter(|entry| {
            let begun = entry.accepted || matches!(entry.kind, Kind::Publish(_));
            entry.published().is_some() && begun && !entry.finishing && !entry.failed
        });
        if Self::judge("finish_publish", Some(entry.is_some()), result)
            && let Some(entry) = entry
        {
            entry.finishing = true;
            if entry.open_streams == 0 {
                self.end(handle);
            }
        }
    }

    /// A stream of a subscription was opened. `sent`: an own PUBLISH was.
    pub(super) fn stream_opened(
        &mut self,
        handle: RequestHandle,
        sent: bool,
        result: Result<(), CallError>,
    ) -> Option<TrackAlias> {
        let entry = self.live.get_mut(&handle).filter(|entry| {
            let begun = entry.accepted || (matches!(entry.kind, Kind::Publish(_)) && sent);
            entry.published().is_some() && begun && !entry.finishing && !entry.failed
        });
        Self::judge("a new stream", Some(entry.is_some()), result);
        let entry = entry?;
        entry.open_streams += 1;
        let of_track = entry.published().and_then(|t| self.outbound.get_mut(t));
        if let Some(outbound) = of_track {
            outbound.opened += 1;
            outbound.open += 1;
        }
        entry.alias
    }

    /// PUBLISH_DONE of a track is sent, with a count of its streams.
    pub(super) fn sent_done(&self, track: &FullTrackName, count: u64) {
        let outbound = self.outbound.get(track).expect("was published");
        // draft-14 §9.12
        assert_eq!((outbound.open, outbound.opened), (0, count), "{outbound:?}");
    }

    pub(super) fn stream_closed(&mut self, handle: RequestHandle) {
        for outbound in self.outbound.values_mut() {
            outbound.open -= u64::from(outbound.handle == handle);
        }
        if let Some(entry) = self.live.get_mut(&handle) {
            entry.open_streams -= 1;
            if entry.open_streams == 0 && (entry.finishing || entry.failed) {
                self.end(handle);
            }
        }
    }

    /// An announcement of this side was withdrawn.
    pub(super) fn withdrawn(&mut self, handle: RequestHandle, result: Result<(), CallError>) {
        let own = self
            .get(handle)
            .is_some_and(|entry| matches!(entry.kind, Kind::Namespace(_)));
        if Self::judge("namespace_done", Some(own), result) {
            self.end(handle);
        }
    }

    /// An announcement of the peer was answered, or what was `accepted` was cancelled.
    pub(super) fn answered_namespace(
        &mut self,
        handle: RequestHandle,
        accepted: bool,
        accept: bool,
        result: Result<(), CallError>,
    ) {
        let entry = self.live.get_mut(&handle);
        let announced = entry.filter(|entry| matches!(entry.kind, Kind::Announced(_)));
        let fits = announced.filter(|entry| entry.accepted == accepted);
        if Self::judge("a call about a namespace", Some(fits.is_some()), result) {
            match fits {
                Some(entry) if accept => entry.accepted = true,
                _ => self.end(handle),
            }
        }
    }
}

/// The start and end that a filter names itself.
fn named(filter: Filter) -> (Location, Option<u64>) {
    match filter {
        Filter::AbsoluteStart { start } => (start, None),
        Filter::AbsoluteRange { start, end_group } => (start, Some(end_group)),
        _ => (Location::default(), None),
    }
}
