//! Two sessions joined by a link with delay, in virtual time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use moqtail::{
    model::StreamHeader,
    session::{RequestHandle, Session, SessionConfig, StreamKey, StreamVerdict},
};

use crate::{Endpoint, Rng, start_of_time};

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The client.
    Client,
    /// The server.
    Server,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// How long things are on the way. Control bytes stay in order; streams overtake each other and the control stream.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// At least this long.
    pub delay: Duration,
    /// Up to this much longer, drawn for each piece.
    pub jitter: Duration,
    /// Control bytes travel in pieces of up to this many bytes; 0: as they were written.
    pub piece: u64,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            piece: 0,
        }
    }
}

#[derive(Clone, Debug)]
enum Arrival {
    Control(Vec<u8>),
    StreamOpened(StreamKey, StreamHeader),
    StreamEnded(StreamKey),
}

/// Two sessions, the link between them and their time.
#[derive(Debug)]
pub struct Pair {
    client: Endpoint,
    server: Endpoint,
    link: Link,
    rng: Rng,
    now: Instant,
    start: Instant,
    /// What is on the way, by time and order of sending.
    on_the_way: BTreeMap<(Instant, u64), (Side, Arrival)>,
    sent: u64,
    /// When the last control bytes to a side arrive.
    control_until: BTreeMap<Side, Instant>,
    next_stream: u64,
    /// What became of the streams opened by [`Pair::open_stream`].
    verdicts: BTreeMap<StreamKey, StreamVerdict>,
    /// Streams that ended while they were parked: nobody reads them, so nobody knows yet.
    ended_unread: BTreeSet<StreamKey>,
    /// Everything that arrived, for comparing runs.
    log: Vec<String>,
}

impl Pair {
    /// Two sessions that have not said anything yet.
    ///
    /// # Panics
    /// A configuration cannot be written.
    pub fn new(client: SessionConfig, server: SessionConfig, link: Link, seed: u64) -> Self {
        let now = start_of_time();
        let mut pair = Self {
            client: Endpoint::new(client, now).expect("valid client configuration"),
            server: Endpoint::new(server, now).expect("valid server configuration"),
            link,
            rng: Rng::new(seed),
            now,
            start: now,
            on_the_way: BTreeMap::new(),
            sent: 0,
            control_until: BTreeMap::new(),
            next_stream: 0,
            verdicts: BTreeMap::new(),
            ended_unread: BTreeSet::new(),
            log: Vec::new(),
        };
        pair.transmit();
        pair
    }

    /// Two established sessions on raw QUIC with default limits and link.
    pub fn established() -> Self {
        let (client, server) = (
            crate::Scripted::client_config(),
            crate::Scripted::server_config(),
        );
        let mut pair = Self::new(client, server, Link::default(), 1);
        pair.establish();
        pair
    }

    /// Exchanges SETUP and drops the events about it.
    ///
    /// # Panics
    /// The sessions do not come about.
    pub fn establish(&mut self) {
        self.settle();
        self.call(Side::Server, |s, _| s.accept_setup())
            .expect("CLIENT_SETUP has arrived");
        self.settle();
        for side in [Side::Client, Side::Server] {
            assert!(self.side(side).session.is_established(), "{side:?}");
            self.side(side).events();
        }
    }

    /// One side.
    pub fn side(&mut self, side: Side) -> &mut Endpoint {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Makes a call on one side and puts on the way what it wants to send.
    pub fn call<T>(&mut self, side: Side, call: impl FnOnce(&mut Session, Instant) -> T) -> T {
        let result = self.side(side).call(call);
        self.read_resumed(side);
        self.transmit();
        result
    }

    /// `side` opens a data stream with this header for a subscription that it serves.
    ///
    /// # Panics
    /// The session does not allow it.
    pub fn open_stream(
        &mut self,
        side: Side,
        handle: RequestHandle,
        header: StreamHeader,
    ) -> StreamKey {
        self.call(side, |s, _| s.outbound_stream_opened(handle))
            .expect("stream allowed");
        let stream = StreamKey(self.next_stream);
        self.next_stream += 1;
        self.put(side.other(), Arrival::StreamOpened(stream, header));
        stream
    }

    /// `side` ends a data stream.
    pub fn end_stream(&mut self, side: Side, handle: RequestHandle, stream: StreamKey) {
        self.put(side.other(), Arrival::StreamEnded(stream));
        self.call(side, |s, _| s.outbound_stream_closed(handle));
    }

    /// What became of a stream, once its header has arrived.
    pub fn verdict(&self, stream: StreamKey) -> Option<StreamVerdict> {
        self.verdicts.get(&stream).copied()
    }

    /// Lets everything arrive that is on the way, and what is sent because of it. Deadlines before the last arrival come.
    pub fn settle(&mut self) {
        while let Some((at, _)) = self.on_the_way.keys().next().copied() {
            self.run_to(at);
        }
    }

    /// Lets time go by with all arrivals and deadlines on the way.
    pub fn run_for(&mut self, time: Duration) {
        self.run_to(self.now + time);
    }

    fn run_to(&mut self, until: Instant) {
        loop {
            let arrival = self.on_the_way.keys().next().map(|(at, _)| *at);
            let deadlines = [
                self.client.session.deadline(),
                self.server.session.deadline(),
            ];
            let deadline = deadlines.into_iter().flatten().min();
            let Some(next) = arrival
                .into_iter()
                .chain(deadline)
                .min()
                .filter(|at| *at <= until)
            else {
                break;
            };
            self.now = self.now.max(next);
            self.client.advance_to(self.now);
            self.server.advance_to(self.now);
            self.transmit();
            while let Some(entry) = self.on_the_way.first_entry()
                && entry.key().0 <= self.now
            {
                let (to, arrival) = entry.remove();
                self.arrive(to, arrival);
            }
        }
        self.now = self.now.max(until);
        self.client.advance_to(self.now);
        self.server.advance_to(self.now);
        self.transmit();
    }

    fn arrive(&mut self, to: Side, arrival: Arrival) {
        let after = self.now - self.start;
        self.log.push(format!("{after:?} {to:?} {arrival:?}"));
        match arrival {
            Arrival::Control(bytes) => self.side(to).receive(&bytes),
            Arrival::StreamOpened(stream, header) => {
                let verdict = self.side(to).call(|session, now| {
                    session.inbound_stream_opened(stream, now);
                    session.stream_header(stream, &header, now)
                });
                self.verdicts.insert(stream, verdict);
            }
            Arrival::StreamEnded(stream) => {
                if self.verdicts.get(&stream) == Some(&StreamVerdict::Park)
                    && !self
                        .side(to)
                        .resumed
                        .iter()
                        .any(|(resumed, _)| *resumed == stream)
                {
                    self.ended_unread.insert(stream);
                } else {
                    self.side(to)
                        .call(|session, now| session.inbound_stream_ended(stream, now));
                }
            }
        }
        self.read_resumed(to);
        self.transmit();
    }

    /// Resumed streams are read, up to their end if that has arrived.
    fn read_resumed(&mut self, side: Side) {
        let resumed: Vec<_> = self
            .side(side)
            .resumed
            .iter()
            .map(|(stream, _)| *stream)
            .collect();
        for stream in resumed {
            if self.ended_unread.remove(&stream) {
                self.side(side)
                    .call(|session, now| session.inbound_stream_ended(stream, now));
            }
        }
    }

    /// Everything that arrived so far, with its time.
    pub fn log(&self) -> &[String] {
        &self.log
    }

    fn travel_time(&mut self) -> Duration {
        let jitter = u64::try_from(self.link.jitter.as_nanos()).unwrap_or(u64::MAX);
        self.link.delay + Duration::from_nanos(self.rng.below(jitter))
    }

    fn put(&mut self, to: Side, arrival: Arrival) {
        let mut at = self.now + self.travel_time();
        match arrival {
            // In order.
            Arrival::Control(_) => {
                at = self
                    .control_until
                    .get(&to)
                    .map_or(at, |until| at.max(*until));
                self.control_until.insert(to, at);
            }
            // The end comes after the start.
            Arrival::StreamEnded(ended) => {
                let opened = self.on_the_way.iter().find_map(|((at, _), (_, arrival))| {
                    matches!(arrival, Arrival::StreamOpened(stream, _) if *stream == ended)
                        .then_some(*at)
                });
                at = opened.map_or(at, |opened| at.max(opened));
            }
            Arrival::StreamOpened(..) => {}
        }
        self.sent += 1;
        self.on_the_way.insert((at, self.sent), (to, arrival));
    }

    /// Puts on the way what the sessions want to send.
    fn transmit(&mut self) {
        for side in [Side::Client, Side::Server] {
            let mut bytes = std::mem::take(&mut self.side(side).control);
            while !bytes.is_empty() {
                let len = match self.link.piece {
                    0 => bytes.len(),
                    piece => bytes.len().min(1 + self.rng.below(piece) as usize),
                };
                let rest = bytes.split_off(len);
                self.put(side.other(), Arrival::Control(bytes));
                bytes = rest;
            }
        }
    }
}
