//! One session with its outputs, and an application that makes calls on it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use super::{
    rules::{By, Rules, What},
    setting::{LAST, LIMITS, filter, location, namespace, track},
    told::{Kind, Told},
};
use crate::model::{
    ControlDecoder, ControlMessage, GroupOrder, Location, Parameters, PublishDoneCode,
    PublishErrorCode, PublishNamespaceErrorCode, StreamHeader, SubgroupHeader, SubgroupId,
    SubscribeErrorCode, TrackAlias,
};
use crate::session::{
    Close, Output, PublishAnswer, PublishOptions, RequestHandle, Role, Session, SessionConfig,
    StreamKey, StreamVerdict, SubscribeAnswer, SubscribeOptions, SubscriptionUpdate,
};

/// Operations of [`Side::operate`].
pub(super) const OPERATIONS: u8 = 15;

/// A session with its outputs.
pub(super) struct Side {
    pub(super) session: Session,
    /// Control bytes on their way to the other side.
    pub(super) control: VecDeque<u8>,
    pub(super) told: Told,
    /// What it may say.
    pub(super) rules: Rules,
    said: ControlDecoder,
    heard: ControlDecoder,
    delivering: BTreeMap<StreamKey, RequestHandle>,
    parked: BTreeSet<StreamKey>,
    /// Streams that have begun, without their header.
    awaiting: BTreeSet<StreamKey>,
    pub(super) close: Option<Close>,
}

impl Side {
    pub(super) fn new(config: SessionConfig, now: Instant) -> Self {
        let parity = u64::from(config.role == Role::Server);
        let session = Session::new(config, now).expect("valid configuration");
        Self {
            session,
            control: VecDeque::new(),
            told: Told::default(),
            rules: Rules::new(parity),
            said: ControlDecoder::default(),
            heard: ControlDecoder::default(),
            delivering: BTreeMap::new(),
            parked: BTreeSet::new(),
            awaiting: BTreeSet::new(),
            close: None,
        }
    }

    /// Control bytes of the other side arrive.
    pub(super) fn hear(&mut self, bytes: &[u8], now: Instant) {
        self.heard.push(bytes);
        while let Ok(Some(message)) = self.heard.next() {
            self.rules.note(&message, By::Peer);
        }
        self.session.control_bytes(bytes, now);
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            assert_eq!(self.close, None, "{output:?} after the close");
            match output {
                Output::Control(bytes) => {
                    self.session.control_written(bytes.len());
                    self.said.push(&bytes);
                    while let Some(message) = self.said.next().expect("draft 14") {
                        let legal = self.rules.check(&message);
                        assert_eq!(legal, Ok(()), "{message:?}");
                        if let ControlMessage::PublishDone(done) = &message
                            && let Some(request) = self.rules.get(done.request_id)
                            && let Some(track) = request.published_by(By::Me)
                        {
                            self.told.sent_done(track, done.stream_count);
                        }
                        self.rules.note(&message, By::Me);
                    }
                    self.control.extend(bytes);
                }
                Output::Event(event) => self.told.event(&event),
                Output::ResumeStream { stream, handle } => {
                    assert!(self.parked.remove(&stream), "resumed, but not parked");
                    self.delivers(stream, handle);
                }
                Output::StopStream { stream, .. } => {
                    let known = self.parked.remove(&stream)
                        || self.awaiting.remove(&stream)
                        || self.delivering.remove(&stream).is_some();
                    assert!(known, "stopped, but not open");
                }
                Output::Close(close) => self.close = Some(close),
            }
        }
        let load = self.session.load();
        assert!(load.queued_requests <= LIMITS.max_queued_requests + load.subscriptions);
        assert!(load.finished_requests <= LIMITS.max_finished_requests);
        assert!(load.retired_aliases <= LIMITS.max_retired_aliases);
        assert!(load.parked_streams <= LIMITS.max_parked_streams);
        assert!(load.streams <= LIMITS.max_inbound_streams);
        assert!(load.peer_requests <= LIMITS.max_peer_requests as usize);
        // A closed session takes no more notice.
        if self.close.is_none() {
            assert_eq!(load.parked_streams, self.parked.len());
            let open = self.parked.len() + self.awaiting.len() + self.delivering.len();
            assert_eq!(load.streams, open);
        }
    }

    fn delivers(&mut self, stream: StreamKey, handle: RequestHandle) {
        let entry = self.told.get(handle);
        let accepted = entry.is_some_and(|entry| entry.subscribed().is_some() && entry.accepted);
        assert!(accepted, "a stream of {handle}, which is no subscription");
        self.delivering.insert(stream, handle);
    }

    /// A call of the application; wrong ones are refused and change nothing.
    pub(super) fn operate(&mut self, operation: u8, [a, b, c]: [u8; 3], now: Instant) {
        if self.close.is_some() {
            return;
        }
        match operation {
            0 | 3 | 9 => self.request(operation, [a, b, c], now),
            4 | 7 => self.accept(operation, [a, b, c], now),
            14 => {
                let result = self.session.goaway("", now + LAST);
                assert_eq!(result.is_ok(), !self.told.goaway_sent, "{result:?}");
                self.told.goaway_sent = true;
            }
            _ => self.change(operation, self.told.handle(a), b, c),
        }
        self.drain();
    }

    /// A new request.
    fn request(&mut self, operation: u8, [a, b, c]: [u8; 3], now: Instant) {
        let load = self.session.load();
        let queue_full = load.queued_requests >= LIMITS.max_queued_requests;
        let s = &mut self.session;
        let (kind, alias, how, made) = match operation {
            0 => {
                let options = SubscribeOptions {
                    filter: filter(b),
                    priority: c,
                    forward: c & 1 == 0,
                    ..SubscribeOptions::new(track(a))
                };
                let how = (options.priority, options.forward);
                let made = s.subscribe(options, now);
                (Kind::Subscribe(track(a)), None, how, made)
            }
            3 => {
                let options = PublishOptions {
                    track: track(a),
                    alias: TrackAlias(u64::from(b % 4)),
                    group_order: GroupOrder::Ascending,
                    largest: largest(c),
                    forward: c & 2 == 2,
                    parameters: Parameters::default(),
                };
                let alias = Some(options.alias);
                let made = s.publish(options, now);
                (Kind::Publish(track(a)), alias, (0, false), made)
            }
            _ => {
                let made = s.publish_namespace(namespace(a), Parameters::default(), now);
                (Kind::Namespace(namespace(a)), None, (0, false), made)
            }
        };
        self.told.requested(kind, alias, how, made, queue_full);
    }

    /// Accepts a subscription.
    fn accept(&mut self, operation: u8, [a, b, c]: [u8; 3], now: Instant) {
        let handle = self.told.handle(a);
        let s = &mut self.session;
        if operation == 4 {
            let answer = SubscribeAnswer {
                alias: TrackAlias(u64::from(b % 4)),
                expires: (c & 1 == 1).then(|| Duration::from_millis(u64::from(b))),
                group_order: GroupOrder::Ascending,
                largest: largest(c),
                parameters: Parameters::default(),
            };
            let (alias, expires) = (answer.alias, answer.expires.is_some());
            let result = s.accept_subscribe(handle, answer, now);
            self.told.accepted_subscribe(handle, alias, expires, result);
        } else {
            let answer = PublishAnswer {
                forward: c & 1 == 0,
                priority: c,
                group_order: GroupOrder::Ascending,
                filter: filter(b),
                parameters: Parameters::default(),
            };
            let how = (answer.priority, answer.forward);
            let result = s.accept_publish(handle, answer, now);
            self.told.answered_offer(handle, true, how, result);
        }
    }

    /// Something about a request that is there.
    fn change(&mut self, operation: u8, handle: RequestHandle, b: u8, c: u8) {
        const WITHDRAWN: PublishNamespaceErrorCode = PublishNamespaceErrorCode::UNAUTHORIZED;
        let s = &mut self.session;
        let told = &mut self.told;
        match operation {
            1 => {
                let start = (b & 1 == 1).then(|| location(c));
                let end_group = (b & 2 == 2).then(|| location(c).group.saturating_add(2));
                let update = SubscriptionUpdate {
                    start,
                    end_group,
                    priority: Some(c),
                    forward: Some(b & 4 == 4),
                    parameters: Parameters::default(),
                };
                let narrows = start.is_some() || end_group.is_some();
                let result = s.update_subscription(handle, update);
                told.updated(handle, narrows, (c, b & 4 == 4), result);
            }
            2 => told.unsubscribed(handle, s.unsubscribe(handle)),
            5 => {
                let result = s.reject_subscribe(handle, SubscribeErrorCode::TIMEOUT, "");
                told.rejected_subscribe(handle, result);
            }
            6 => {
                let result = s.finish_publish(handle, PublishDoneCode::TRACK_ENDED, "");
                told.finished(handle, result);
            }
            8 => {
                let result = s.reject_publish(handle, PublishErrorCode::UNINTERESTED, "");
                told.answered_offer(handle, false, (0, false), result);
            }
            10 => told.withdrawn(handle, s.namespace_done(handle)),
            11 => told.answered_namespace(handle, false, true, s.accept_namespace(handle)),
            12 => {
                let result = s.reject_namespace(handle, WITHDRAWN, "");
                told.answered_namespace(handle, false, false, result);
            }
            _ => {
                let result = s.cancel_namespace(handle, WITHDRAWN, "");
                told.answered_namespace(handle, true, false, result);
            }
        }
    }

    /// The application answers what was asked, and ends everything.
    pub(super) fn leave(&mut self) {
        let live: Vec<_> = self.told.live().map(|(handle, _)| handle).collect();
        for handle in live {
            let Some(entry) = self.told.get(handle) else {
                continue;
            };
            let operation = match (&entry.kind, entry.accepted) {
                (Kind::Subscribe(_), _) | (Kind::Offered(_), true) => 2,
                (Kind::Offered(_), false) => 8,
                (Kind::Subscribed(_), false) => 5,
                (Kind::Subscribed(_), true) | (Kind::Publish(_), _) => 6,
                (Kind::Namespace(_), _) => 10,
                (Kind::Announced(_), false) => 12,
                (Kind::Announced(_), true) => 13,
            };
            if entry.finishing || entry.failed {
                continue;
            }
            self.change(operation, handle, 0, 0);
            self.drain();
        }
    }

    /// Both sides think the same of each subscription, when nothing is on its way or waits.
    pub(super) fn assert_agreed(&self) {
        if self.session.load().queued_requests > 0 {
            return;
        }
        for (handle, entry) in self.told.live() {
            let (track, publisher) = match (entry.published(), entry.subscribed()) {
                (Some(track), _) => (track, By::Me),
                (_, Some(track)) => (track, By::Peer),
                _ => continue,
            };
            if !entry.accepted || entry.done || entry.finishing || entry.failed {
                continue;
            }
            let asked = self.rules.requests().find_map(|(_, request)| {
                let same = request.published_by(publisher) == Some(track);
                (same && request.is_live() && request.answer == Some(true)).then_some(request.asked)
            });
            let asked = asked.unwrap_or_else(|| panic!("{handle} has ended: {entry:?}"));
            let told = (entry.priority, entry.forward);
            assert_eq!((asked.priority, asked.forward), told, "{handle} {entry:?}");
        }
    }

    /// What the peer has asked is answered, or the application was told of it and has not answered.
    pub(super) fn assert_accounted(&self) {
        let owed = self.rules.unanswered(By::Peer).count();
        let asked = self.told.live();
        let asked = asked.filter(|(_, entry)| !entry.is_own() && !entry.accepted);
        // A PUBLISH that crossed a SUBSCRIBE waits for what comes of that.
        let may_wait = self.rules.unanswered(By::Peer).filter(|(_, request)| {
            let What::Publish(track) = &request.what else {
                return false;
            };
            let kind = Kind::Subscribe(track.clone());
            let mut live = self.told.live();
            live.any(|(_, entry)| entry.kind == kind && !entry.accepted)
        });
        let asked = asked.count();
        let right = (asked..=asked + may_wait.count()).contains(&owed);
        assert!(right, "{:?}, {:?}", self.told, self.rules);
    }

    /// After all answers have arrived: the application was told what came of each request.
    pub(super) fn assert_told(&self) {
        for (handle, entry) in self.told.live() {
            let settled = entry.accepted || entry.finishing || entry.failed;
            let waits = entry.is_own() && self.session.is_sent(handle) && !settled;
            assert!(!waits, "never told what came of {entry:?}");
        }
    }

    /// Nothing is left.
    pub(super) fn assert_empty(&self) {
        let owed: Vec<_> = self.rules.unanswered(By::Peer).collect();
        assert!(owed.is_empty(), "never answered: {owed:?}");
        self.assert_idle();
    }

    /// The session holds nothing any more, and the application knows of nothing.
    pub(super) fn assert_idle(&self) {
        let load = self.session.load();
        let held = [
            load.subscriptions,
            load.publications,
            load.announced,
            load.announced_by_peer,
            load.peer_requests,
            load.queued_requests,
            load.streams,
            load.timers - usize::from(self.told.goaway_sent),
            load.control_backlog,
        ];
        assert_eq!(held, [0; 9], "{load:?}");
        let live: Vec<_> = self.told.live().collect();
        assert!(live.is_empty(), "never told of the end of {live:?}");
    }

    /// A stream with this alias arrives.
    pub(super) fn stream(&mut self, stream: StreamKey, alias: TrackAlias, now: Instant) {
        if self.session.inbound_stream_opened(stream, now) {
            self.awaiting.insert(stream);
            self.stream_header(stream, alias, now);
        }
    }

    /// The first bytes of a stream arrive.
    pub(super) fn stream_begins(&mut self, stream: StreamKey, now: Instant) {
        if self.session.inbound_stream_opened(stream, now) {
            self.awaiting.insert(stream);
            self.session.inbound_stream_begun(stream, now);
        }
    }

    /// The header of a stream has arrived.
    pub(super) fn stream_header(&mut self, stream: StreamKey, alias: TrackAlias, now: Instant) {
        if !self.awaiting.remove(&stream) {
            return;
        }
        let header = StreamHeader::Subgroup(SubgroupHeader {
            track_alias: alias,
            group: 0,
            subgroup: SubgroupId::Zero,
            publisher_priority: 0,
            extensions: false,
            end_of_group: false,
        });
        let active = self.told.live().find(|(_, entry)| {
            let subscribed = entry.subscribed().is_some() && entry.alias == Some(alias);
            subscribed && entry.accepted && !entry.done
        });
        let active = active.map(|(handle, _)| handle);
        match self.session.stream_header(stream, &header, now) {
            StreamVerdict::Deliver(handle) => {
                assert!(active.is_none_or(|active| active == handle));
                self.delivers(stream, handle);
            }
            StreamVerdict::Park => {
                assert_eq!(active, None, "parked");
                self.parked.insert(stream);
            }
            StreamVerdict::Refuse(_) => assert!(active.is_none() || self.close.is_some()),
        }
        self.drain();
    }

    pub(super) fn stream_ended(&mut self, stream: StreamKey, now: Instant) {
        self.parked.remove(&stream);
        self.awaiting.remove(&stream);
        self.delivering.remove(&stream);
        self.session.inbound_stream_ended(stream, now);
        self.drain();
    }

    /// Opens a stream of the subscription with this number: its alias.
    pub(super) fn open_stream(&mut self, number: u8) -> Option<(RequestHandle, TrackAlias)> {
        if self.close.is_some() {
            return None;
        }
        let handle = self.told.handle(number);
        let sent = self.session.is_sent(handle);
        let result = self.session.outbound_stream_opened(handle);
        let alias = self.told.stream_opened(handle, sent, result)?;
        Some((handle, alias))
    }

    pub(super) fn close_stream(&mut self, handle: RequestHandle) {
        self.told.stream_closed(handle);
        self.session.outbound_stream_closed(handle);
        self.drain();
    }

    pub(super) fn advance(&mut self, now: Instant) {
        while let Some(deadline) = self.session.deadline().filter(|deadline| *deadline <= now) {
            self.session.timeout(deadline);
            self.drain();
            let next = self.session.deadline();
            assert!(next.is_none_or(|next| next > deadline), "time stands still");
        }
    }
}

fn largest(number: u8) -> Option<Location> {
    (number & 1 == 1).then(|| location(number))
}
