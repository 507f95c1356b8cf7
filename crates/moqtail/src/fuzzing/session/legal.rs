//! One of our sessions and a peer that keeps draft 14.

use std::time::{Duration, Instant};

use super::{
    peer::{self, Arrived, Peer},
    rules::By,
    setting::{LAST, LIMITS, LONG, client_role, config, start},
    side::{self, Side},
};
use crate::model::SessionCode;
use crate::session::{RequestHandle, Role};

/// Both and the time.
struct World {
    ours: Side,
    peer: Peer,
    /// Streams of ours that are open.
    streams: Vec<RequestHandle>,
    now: Instant,
}

impl World {
    fn new(number: u8, limit: u8) -> Self {
        let now = start();
        let client = number & 1 == 1;
        let role = if client { client_role() } else { Role::Server };
        let mut world = Self {
            ours: Side::new(config(role), now),
            peer: Peer::new(client),
            streams: Vec::new(),
            now,
        };
        world.ours.drain();
        if client {
            world.reach_peer(usize::MAX);
            world.peer.set_up(limit);
            world.reach_ours(usize::MAX);
        } else {
            world.peer.set_up(limit);
            world.reach_ours(usize::MAX);
            assert_eq!(world.ours.session.accept_setup(), Ok(()));
            world.ours.drain();
            world.reach_peer(usize::MAX);
        }
        assert!(world.ours.session.is_established());
        world
    }

    fn reach_ours(&mut self, len: usize) {
        let sent = &mut self.peer.control;
        let bytes: Vec<u8> = sent.drain(..len.min(sent.len())).collect();
        self.ours.hear(&bytes, self.now);
    }

    fn reach_peer(&mut self, len: usize) {
        let sent = &mut self.ours.control;
        let bytes: Vec<u8> = sent.drain(..len.min(sent.len())).collect();
        self.peer.hear(&bytes);
    }

    fn deliver_all(&mut self) {
        self.reach_ours(usize::MAX);
        self.reach_peer(usize::MAX);
        self.ours.assert_agreed();
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
        self.ours.advance(self.now);
    }

    /// More of a stream of the peer arrives, or its end.
    fn stream(&mut self, number: u8, ends: bool) {
        let index = usize::from(number) % self.peer.streams.len().max(1);
        let Some(stream) = self.peer.streams.get_mut(index) else {
            return;
        };
        let (key, alias) = (stream.key, stream.alias);
        match (stream.arrived, ends) {
            (Arrived::Nothing, false) if number & 0x80 != 0 => {
                stream.arrived = Arrived::Begun;
                self.ours.stream_begins(key, self.now);
            }
            (Arrived::Nothing, false) => {
                stream.arrived = Arrived::Header;
                self.ours.stream(key, alias, self.now);
            }
            (Arrived::Begun, false) => {
                stream.arrived = Arrived::Header;
                self.ours.stream_header(key, alias, self.now);
            }
            (Arrived::Header, false) => {}
            (arrived, true) => {
                if arrived == Arrived::Nothing {
                    self.ours.session.inbound_stream_opened(key, self.now);
                }
                self.peer.streams.swap_remove(index);
                self.ours.stream_ended(key, self.now);
            }
        }
    }

    fn open_stream(&mut self, number: u8) {
        let opened = self.ours.open_stream(number);
        self.streams.extend(opened.map(|(handle, _)| handle));
    }

    fn close_stream(&mut self, number: u8) {
        let index = usize::from(number) % self.streams.len().max(1);
        if index < self.streams.len() {
            let handle = self.streams.swap_remove(index);
            self.ours.close_stream(handle);
        }
    }

    fn step(&mut self, [what, a, b, c]: [u8; 4]) {
        match what {
            0..=69 => self
                .ours
                .operate(what % side::OPERATIONS, [a, b, c], self.now),
            70..=161 => self.peer.operate((what - 70) % peer::OPERATIONS, [a, b, c]),
            162..=189 => self.reach_ours(usize::from(a)),
            190..=209 => self.reach_peer(usize::from(a)),
            210..=215 => self.deliver_all(),
            216..=224 => self.stream(a, false),
            225..=230 => self.stream(a, true),
            231..=238 => self.open_stream(a),
            239..=245 => self.close_stream(a),
            _ => self.advance(Duration::from_millis(u64::from(a) * 50)),
        }
        self.assert_well();
    }

    fn assert_well(&self) {
        assert_eq!(self.ours.close, None, "closed although the peer is right");
        self.ours.assert_accounted();
    }

    /// Everything is answered, ended and waited for.
    fn wind_up(&mut self) {
        self.deliver_all();
        self.peer.answer_all();
        self.deliver_all();
        self.ours.assert_told();
        for _ in 0..20 {
            while !self.peer.streams.is_empty() {
                self.stream(0, true);
            }
            while !self.streams.is_empty() {
                self.close_stream(0);
            }
            self.ours.leave();
            self.deliver_all();
            self.peer.answer_all();
            self.peer.leave();
            self.deliver_all();
            self.assert_well();
            self.advance(LONG);
        }
        self.deliver_all();
        self.assert_well();
        self.ours.assert_empty();
        // Every request has its answer, and all credit is back.
        let waiting: Vec<_> = self.peer.rules.unanswered(By::Me).collect();
        assert!(waiting.is_empty(), "never answered: {waiting:?}");
        let credit = u64::from(LIMITS.max_peer_requests);
        assert_eq!(self.peer.rules.credit(), credit, "{:?}", self.peer.rules);
        // Who has sent GOAWAY closes in time.
        self.advance(LAST);
        let code = self.ours.close.as_ref().map(|close| close.code);
        let gone = self.ours.told.goaway_sent.then_some(SessionCode::NO_ERROR);
        assert_eq!(code, gone);
    }
}

/// One of our sessions and a peer that keeps draft 14 in all it says, crossing races included: it is never closed, everything
/// that is asked is answered and told of once, what our session says is draft 14 as well, and nothing is left in the end.
pub fn session_legal(data: &[u8]) {
    let at = |index| data.get(index).copied().unwrap_or(0);
    let mut world = World::new(at(0), at(1));
    for chunk in data.get(2..).unwrap_or_default().chunks(4) {
        let at = |index| chunk.get(index).copied().unwrap_or(0);
        world.step([at(0), at(1), at(2), at(3)]);
    }
    world.wind_up();
}
