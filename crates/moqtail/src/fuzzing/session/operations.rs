//! Two of our own sessions, which must never fall out.

use std::time::{Duration, Instant};

use super::{
    setting::{LAST, LIMITS, LONG, client_role, config, start},
    side::{OPERATIONS, Side},
};
use crate::model::{SessionCode, TrackAlias};
use crate::session::{RequestHandle, Role, StreamKey};

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
        self.sides[to].hear(&bytes, self.now);
    }

    fn deliver_all(&mut self) {
        while self.sides.iter().any(|side| !side.control.is_empty()) {
            self.deliver(0, usize::MAX);
            self.deliver(1, usize::MAX);
        }
        for side in &self.sides {
            side.assert_agreed();
        }
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
        for side in &mut self.sides {
            side.advance(self.now);
        }
    }

    fn open_stream(&mut self, from: usize, number: u8) {
        if let Some((handle, alias)) = self.sides[from].open_stream(number) {
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
            self.sides[stream.from].close_stream(stream.handle);
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
            self.sides.iter_mut().for_each(Side::leave);
            self.deliver_all();
            self.advance(LONG);
        }
        self.deliver_all();
        for side in &self.sides {
            side.assert_empty();
            assert_eq!(side.close, None, "a session of ours closed");
            // All credit is back.
            let credit = u64::from(LIMITS.max_peer_requests);
            assert_eq!(side.rules.credit(), credit, "{:?}", side.rules);
            assert_eq!(side.session.request_credit(), credit);
        }
        // Who has sent GOAWAY closes in time, and nobody is to blame.
        self.advance(LAST);
        for side in &self.sides {
            let code = side.close.as_ref().map(|close| close.code);
            let gone = side.told.goaway_sent.then_some(SessionCode::NO_ERROR);
            assert_eq!(code, gone);
        }
    }
}

/// Two of our own sessions, operated by bytes, over a link that reorders streams and control: whatever the
/// applications do, neither session closes, each says only what draft 14 lets it and tells of each request once, and nothing
/// is left when all has ended.
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
            35..=39 => pair.advance(Duration::from_millis(u64::from(at(1)) * 50)),
            40 => pair.deliver_all(),
            41..=80 => pair.deliver(side, usize::from(at(1))),
            operation => pair.sides[side].operate(operation % OPERATIONS, arguments, pair.now),
        }
        for side in &pair.sides {
            assert_eq!(side.close, None, "a session of ours closed");
            side.assert_accounted();
        }
    }
    pair.wind_up();
}
