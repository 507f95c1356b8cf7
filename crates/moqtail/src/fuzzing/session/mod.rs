//! Sessions driven by bytes: two of our own, which must never fall out, and one with a peer that says anything.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::BytesMut;

use super::arbitrary::{CONTROL_KINDS, Source};
use crate::model::{
    ControlDecoder, ControlMessage, Filter, FullTrackName, GroupOrder, Location, Parameters,
    PublishDoneCode, PublishErrorCode, PublishNamespaceErrorCode, RequestId, StreamHeader,
    SubgroupHeader, SubgroupId, SubscribeErrorCode, TrackAlias, TrackNamespace, encode_control,
};
use crate::session::{
    Carrier, Event, Output, PublishAnswer, PublishOptions, RequestHandle, Role, Session,
    SessionConfig, SessionLimits, StreamKey, StreamVerdict, SubscribeAnswer, SubscribeOptions,
    SubscriptionUpdate,
};

/// Longer than all deadlines of a session together.
const LONG: Duration = Duration::from_secs(1000);

/// Small enough that all of them are met.
const LIMITS: SessionLimits = SessionLimits {
    max_peer_requests: 4,
    max_queued_requests: 6,
    max_control_backlog: 1 << 20,
    max_inbound_streams: 5,
    max_parked_streams: 2,
    max_retired_aliases: 2,
    max_finished_requests: 3,
    max_kept_parameters: 100,
    setup_timeout: Duration::from_secs(10),
    answer_timeout: Duration::from_secs(30),
    header_timeout: Duration::from_secs(30),
    park_timeout: Duration::from_secs(2),
    done_linger: Duration::from_secs(5),
    done_quiet: Duration::from_secs(1),
    done_drain: Duration::from_secs(60),
};

fn config(role: Role) -> SessionConfig {
    SessionConfig {
        limits: LIMITS,
        ..SessionConfig::new(role, Carrier::Raw)
    }
}

fn client_role() -> Role {
    Role::Client {
        authority: "a".to_owned(),
        path: String::new(),
    }
}

#[expect(clippy::disallowed_methods, reason = "the base of virtual time")]
pub(super) fn start() -> Instant {
    Instant::now()
}

/// One of a few tracks.
fn track(number: u8) -> FullTrackName {
    let name = [b"a", b"b", b"c"][usize::from(number) % 3];
    FullTrackName::new(namespace(0), &name[..]).expect("short name")
}

fn namespace(number: u8) -> TrackNamespace {
    let name = [b"n", b"m"][usize::from(number) % 2];
    TrackNamespace::new([&name[..]]).expect("short namespace")
}

fn filter(number: u8) -> Filter {
    let start = Location::new(u64::from(number >> 4), 1);
    match number % 4 {
        0 => Filter::LargestObject,
        1 => Filter::NextGroupStart,
        2 => Filter::AbsoluteStart { start },
        _ => Filter::AbsoluteRange {
            start,
            end_group: 3,
        },
    }
}

/// A session with its outputs.
struct Side {
    session: Session,
    /// Control bytes on their way to the other side.
    control: VecDeque<u8>,
    /// Every handle that was ever seen here.
    handles: Vec<RequestHandle>,
    aliases: BTreeMap<RequestHandle, TrackAlias>,
    delivering: BTreeSet<StreamKey>,
    parked: BTreeSet<StreamKey>,
    closed: bool,
}

impl Side {
    fn new(config: SessionConfig, now: Instant) -> Self {
        let session = Session::new(config, now).expect("valid configuration");
        Self {
            session,
            control: VecDeque::new(),
            handles: Vec::new(),
            aliases: BTreeMap::new(),
            delivering: BTreeSet::new(),
            parked: BTreeSet::new(),
            closed: false,
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            assert!(!self.closed, "{output:?} after the close");
            match output {
                Output::Control(bytes) => {
                    self.session.control_written(bytes.len());
                    self.control.extend(bytes);
                }
                Output::Event(event) => self.event(&event),
                Output::ResumeStream { stream, .. } => {
                    assert!(self.parked.remove(&stream), "resumed, but not parked");
                    self.delivering.insert(stream);
                }
                Output::StopStream { stream, .. } => {
                    let known = self.parked.remove(&stream) || self.delivering.remove(&stream);
                    assert!(known, "stopped, but not open");
                }
                Output::Close(_) => self.closed = true,
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
        if !self.closed {
            assert_eq!(load.parked_streams, self.parked.len());
            assert_eq!(load.streams, self.parked.len() + self.delivering.len());
        }
    }

    fn event(&mut self, event: &Event) {
        let handle = match event {
            Event::SubscribeRequested(request) => request.handle,
            Event::PublishRequested(request) => request.handle,
            Event::NamespacePublished { handle, .. } => *handle,
            _ => return,
        };
        self.handles.push(handle);
    }

    fn handle(&self, number: u8) -> RequestHandle {
        // Newer ones are more likely to be alive.
        let back = usize::from(number) % self.handles.len().max(1);
        self.handles
            .iter()
            .rev()
            .nth(back)
            .copied()
            .unwrap_or(RequestHandle(u64::MAX))
    }

    /// A call of the application; wrong ones are refused and change nothing.
    fn operate(&mut self, operation: u8, [a, b, c]: [u8; 3], now: Instant) {
        let handle = self.handle(a);
        let alias = TrackAlias(u64::from(b % 4));
        let location = Location::new(u64::from(c % 8), u64::from(c >> 5));
        let largest = (c & 1 == 1).then_some(location);
        let parameters = Parameters::default();
        let group_order = GroupOrder::Ascending;
        let s = &mut self.session;
        let mut made = None;
        match operation {
            0 => {
                let options = SubscribeOptions::new(track(a));
                made = s
                    .subscribe(
                        SubscribeOptions {
                            filter: filter(b),
                            ..options
                        },
                        now,
                    )
                    .ok();
            }
            1 => {
                let update = SubscriptionUpdate {
                    start: (b & 1 == 1).then_some(location),
                    end_group: (b & 2 == 2).then_some(location.group + 2),
                    priority: Some(c),
                    forward: Some(b & 4 == 4),
                    parameters,
                };
                let _ = s.update_subscription(handle, update);
            }
            2 => drop(s.unsubscribe(handle)),
            3 => {
                let (track, forward) = (track(a), c & 2 == 2);
                let options = PublishOptions {
                    track,
                    alias,
                    group_order,
                    largest,
                    forward,
                    parameters,
                };
                made = s.publish(options, now).ok();
                if let Some(handle) = made {
                    self.aliases.insert(handle, alias);
                }
            }
            4 => {
                let answer = SubscribeAnswer {
                    alias,
                    expires: (c & 1 == 1).then(|| Duration::from_millis(u64::from(b))),
                    group_order,
                    largest,
                    parameters,
                };
                if s.accept_subscribe(handle, answer, now).is_ok() {
                    self.aliases.insert(handle, alias);
                }
            }
            5 => drop(s.reject_subscribe(handle, SubscribeErrorCode::TIMEOUT, "")),
            6 => drop(s.finish_publish(handle, PublishDoneCode::TRACK_ENDED, "")),
            7 => {
                let (filter, forward) = (filter(b), true);
                let answer = PublishAnswer {
                    forward,
                    priority: c,
                    group_order,
                    filter,
                    parameters,
                };
                let _ = s.accept_publish(handle, answer, now);
            }
            8 => drop(s.reject_publish(handle, PublishErrorCode::UNINTERESTED, "")),
            9 => made = s.publish_namespace(namespace(a), parameters, now).ok(),
            10 => drop(s.namespace_done(handle)),
            11 => drop(s.accept_namespace(handle)),
            12 => drop(s.reject_namespace(handle, PublishNamespaceErrorCode::TIMEOUT, "")),
            _ => drop(s.cancel_namespace(handle, PublishNamespaceErrorCode::UNAUTHORIZED, "")),
        }
        self.handles.extend(made);
        self.drain();
    }

    /// A stream with this alias arrives.
    fn stream(&mut self, stream: StreamKey, alias: TrackAlias, now: Instant) {
        if !self.session.inbound_stream_opened(stream, now) {
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
        match self.session.stream_header(stream, &header, now) {
            StreamVerdict::Deliver(_) => drop(self.delivering.insert(stream)),
            StreamVerdict::Park => drop(self.parked.insert(stream)),
            StreamVerdict::Refuse(_) => {}
        }
        self.drain();
    }

    fn stream_ended(&mut self, stream: StreamKey, now: Instant) {
        self.parked.remove(&stream);
        self.delivering.remove(&stream);
        self.session.inbound_stream_ended(stream, now);
        self.drain();
    }

    fn advance(&mut self, now: Instant) {
        while let Some(deadline) = self.session.deadline().filter(|deadline| *deadline <= now) {
            self.session.timeout(deadline);
            self.drain();
        }
    }
}

/// A stream of a side, on its way to the other one or read there.
struct Stream {
    key: StreamKey,
    from: usize,
    handle: RequestHandle,
    alias: TrackAlias,
    arrived: bool,
}

/// Two established sessions and the time.
struct Pair {
    sides: [Side; 2],
    streams: Vec<Stream>,
    next_stream: u64,
    now: Instant,
}

impl Pair {
    fn new() -> Self {
        let now = start();
        let sides = [
            Side::new(config(client_role()), now),
            Side::new(config(Role::Server), now),
        ];
        let mut pair = Self {
            sides,
            streams: Vec::new(),
            next_stream: 0,
            now,
        };
        pair.sides[0].drain();
        pair.deliver(1, usize::MAX);
        assert_eq!(pair.sides[1].session.accept_setup(), Ok(()));
        pair.sides[1].drain();
        pair.deliver(0, usize::MAX);
        assert!(pair.sides.iter().all(|side| side.session.is_established()));
        pair
    }

    /// Up to `len` control bytes reach a side.
    fn deliver(&mut self, to: usize, len: usize) {
        let sent = &mut self.sides[1 - to].control;
        let bytes: Vec<u8> = sent.drain(..len.min(sent.len())).collect();
        self.sides[to].session.control_bytes(&bytes, self.now);
        self.sides[to].drain();
    }

    fn deliver_all(&mut self) {
        while self.sides.iter().any(|side| !side.control.is_empty()) {
            self.deliver(0, usize::MAX);
            self.deliver(1, usize::MAX);
        }
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
        for side in &mut self.sides {
            side.advance(self.now);
        }
    }

    fn open_stream(&mut self, from: usize, number: u8) {
        let side = &mut self.sides[from];
        let handle = side.handle(number);
        if let Some(alias) = side.aliases.get(&handle).copied()
            && side.session.outbound_stream_opened(handle).is_ok()
        {
            let key = StreamKey(self.next_stream);
            self.next_stream += 1;
            self.streams.push(Stream {
                key,
                from,
                handle,
                alias,
                arrived: false,
            });
        }
    }

    fn stream_arrives(&mut self, number: u8) {
        let index = usize::from(number) % self.streams.len().max(1);
        if let Some(stream) = self.streams.get_mut(index)
            && !std::mem::replace(&mut stream.arrived, true)
        {
            self.sides[1 - stream.from].stream(stream.key, stream.alias, self.now);
        }
    }

    fn end_stream(&mut self, number: u8) {
        let index = usize::from(number) % self.streams.len().max(1);
        if index < self.streams.len() {
            let stream = self.streams.swap_remove(index);
            self.sides[stream.from]
                .session
                .outbound_stream_closed(stream.handle);
            self.sides[stream.from].drain();
            if stream.arrived {
                self.sides[1 - stream.from].stream_ended(stream.key, self.now);
            }
        }
    }

    /// Everything is answered, ended and waited for; then nothing may be left.
    fn wind_up(&mut self) {
        // Twice, because what waited for credit goes out when the rest has ended.
        for _ in 0..20 {
            self.deliver_all();
            while !self.streams.is_empty() {
                self.stream_arrives(0);
                self.end_stream(0);
            }
            for side in 0..2 {
                for number in 0..self.sides[side].handles.len().min(256) {
                    for operation in [2, 5, 6, 8, 10, 12, 13] {
                        self.sides[side].operate(operation, [number as u8, 0, 0], self.now);
                    }
                }
            }
            self.deliver_all();
            self.advance(LONG);
        }
        self.deliver_all();
        for side in &self.sides {
            let load = side.session.load();
            let held = [
                load.subscriptions,
                load.publications,
                load.announced,
                load.announced_by_peer,
                load.peer_requests,
                load.queued_requests,
                load.streams,
                load.timers,
                load.control_backlog,
            ];
            assert_eq!(held, [0; 9], "{load:?}");
        }
    }
}

/// Two of our own sessions, operated by bytes, over a link that reorders streams and control: whatever the
/// applications do, neither session closes, and nothing is left when all has ended.
pub fn session_operations(data: &[u8]) {
    let mut pair = Pair::new();
    for chunk in data.chunks(4) {
        let at = |index| chunk.get(index).copied().unwrap_or(0);
        let arguments = [at(1), at(2), at(3)];
        let side = usize::from(at(0) & 1);
        match at(0) >> 1 {
            operation @ 0..=13 => pair.sides[side].operate(operation, arguments, pair.now),
            14..=20 => pair.open_stream(side, at(1)),
            21..=27 => pair.stream_arrives(at(1)),
            28..=34 => pair.end_stream(at(1)),
            35..=40 => pair.advance(Duration::from_millis(u64::from(at(1)) * 50)),
            41..=80 => pair.deliver(side, usize::from(at(1))),
            operation => pair.sides[side].operate(operation % 14, arguments, pair.now),
        }
        for side in &pair.sides {
            assert!(!side.closed, "a session of ours closed");
        }
    }
    pair.wind_up();
    assert!(
        pair.sides.iter().all(|side| !side.closed),
        "a session of ours closed"
    );
}

/// One of our sessions and a peer that sends any messages, mostly with Request IDs that may be: the session does not
/// panic, holds no more than its limits, says nothing after its close, and answers no request twice.
pub fn session_messages(data: &[u8]) {
    let mut now = start();
    let mut config = config(Role::Server);
    let mut peer = PeerIds {
        swapped: u64::from(data.first().copied().unwrap_or(0) & 1),
        ..PeerIds::default()
    };
    config.tolerances.allow_any_request_id_order = peer.swapped == 1;
    let mut side = Side::new(config, now);
    let parameters = crate::model::SetupParameters::default();
    let versions = vec![crate::model::VERSION];
    let setup = ControlMessage::ClientSetup(crate::model::ClientSetup {
        versions,
        parameters,
    });
    receive(&mut side, &setup, now);
    let _ = side.session.accept_setup();
    side.drain();
    peer.count_answers(&mut side);
    for chunk in data.chunks(24) {
        let mut source = Source::new(chunk);
        match source.byte() {
            operation @ 0..64 => {
                let arguments = [source.byte(), source.byte(), source.byte()];
                side.operate(operation % 14, arguments, now);
            }
            64..72 => {
                now += Duration::from_millis(u64::from(source.byte()) * 100);
                side.advance(now);
            }
            72..96 => {
                peer.next_stream += 1;
                let alias = TrackAlias(u64::from(source.byte() % 4));
                side.stream(StreamKey(peer.next_stream), alias, now);
            }
            96..104 => side.stream_ended(StreamKey(u64::from(source.byte())), now),
            _ => {
                let kind = usize::from(source.byte()) % CONTROL_KINDS;
                let id = source.byte();
                let mut message = source.control_message(kind);
                peer.plausible(&mut message, id);
                receive(&mut side, &message, now);
            }
        }
        peer.count_answers(&mut side);
    }
}

fn receive(side: &mut Side, message: &ControlMessage, now: Instant) {
    let mut bytes = BytesMut::new();
    if encode_control(message, &mut bytes).is_ok() {
        side.session.control_bytes(&bytes, now);
        side.drain();
    }
}

/// Request IDs of a peer that is a client, and which of them were answered.
#[derive(Default)]
struct PeerIds {
    issued: u64,
    /// 1: of each two requests the second one is sent first.
    swapped: u64,
    decoder: ControlDecoder,
    answered: BTreeSet<RequestId>,
    next_stream: u64,
}

impl PeerIds {
    /// Gives a request the next Request ID, and other messages one that may exist; now and then neither.
    fn plausible(&mut self, message: &mut ControlMessage, number: u8) {
        use ControlMessage as M;
        let next = RequestId(2 * (self.issued ^ self.swapped));
        let some = RequestId(u64::from(number % 16));
        let new = match message {
            M::Subscribe(m) | M::TrackStatus(m) => {
                m.track = track(number);
                &mut m.request_id
            }
            M::SubscribeUpdate(m) => {
                m.subscription = some;
                &mut m.request_id
            }
            M::Publish(m) => {
                m.track = track(number);
                m.track_alias = TrackAlias(u64::from(number % 4));
                &mut m.request_id
            }
            M::Fetch(m) => &mut m.request_id,
            M::PublishNamespace(m) => {
                m.namespace = namespace(number);
                &mut m.request_id
            }
            M::SubscribeNamespace(m) => &mut m.request_id,
            other => {
                let id = match other {
                    M::SubscribeOk(m) | M::TrackStatusOk(m) => {
                        m.track_alias = TrackAlias(u64::from(number % 4));
                        &mut m.request_id
                    }
                    M::SubscribeError(m) | M::TrackStatusError(m) => &mut m.request_id,
                    M::PublishDone(m) => &mut m.request_id,
                    M::PublishOk(m) => &mut m.request_id,
                    M::PublishError(m) => &mut m.request_id,
                    M::FetchOk(m) => &mut m.request_id,
                    M::FetchError(m) => &mut m.request_id,
                    M::PublishNamespaceError(m) => &mut m.request_id,
                    M::SubscribeNamespaceError(m) => &mut m.request_id,
                    M::Unsubscribe(id)
                    | M::FetchCancel(id)
                    | M::PublishNamespaceOk(id)
                    | M::SubscribeNamespaceOk(id) => id,
                    M::PublishNamespaceDone(name) => {
                        *name = namespace(number);
                        return;
                    }
                    M::MaxRequestId(m) => {
                        m.limit = u64::from(number);
                        return;
                    }
                    _ => return,
                };
                *id = some;
                return;
            }
        };
        if number < 250 {
            *new = next;
            self.issued += 1;
        }
    }

    fn count_answers(&mut self, side: &mut Side) {
        let bytes: Vec<u8> = side.control.drain(..).collect();
        self.decoder.push(&bytes);
        while let Some(message) = self.decoder.next().expect("draft 14 from the session") {
            use ControlMessage as M;
            let id = match message {
                M::SubscribeOk(m) => m.request_id,
                M::SubscribeError(m) | M::TrackStatusError(m) => m.request_id,
                M::PublishOk(m) => m.request_id,
                M::PublishError(m) => m.request_id,
                M::FetchError(m) => m.request_id,
                M::PublishNamespaceOk(id) => id,
                M::PublishNamespaceError(m) => m.request_id,
                M::SubscribeNamespaceError(m) => m.request_id,
                _ => continue,
            };
            assert!(self.answered.insert(id), "a second answer to {id}");
        }
    }
}
