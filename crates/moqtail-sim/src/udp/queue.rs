//! Packets that are on their way, the next to arrive first.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use bytes::Bytes;
use tokio::time::Instant;

use super::direction::Direction;

/// Most packets on their way at once; more are lost. A path at 1 Gbit/s holds fewer in 500 ms.
const MAX_PACKETS: usize = 1 << 16;

/// A packet on its way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Packet {
    pub(super) flow: usize,
    pub(super) direction: Direction,
    pub(super) bytes: Bytes,
}

/// Packets that are delayed, and those that are not and keep their order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    now: VecDeque<Packet>,
    later: BinaryHeap<Reverse<(Instant, u64, Packet)>>,
    added: u64,
}

impl Queue {
    /// Adds a packet that arrives at `due`; `None`: at once. False: there is no room.
    pub(super) fn add(&mut self, due: Option<Instant>, packet: Packet) -> bool {
        if self.now.len() + self.later.len() >= MAX_PACKETS {
            return false;
        }
        match due {
            None => self.now.push_back(packet),
            Some(due) => {
                self.added += 1;
                self.later.push(Reverse((due, self.added, packet)));
            }
        }
        true
    }

    /// The next packet that has arrived.
    pub(super) fn arrived(&mut self, now: Instant) -> Option<Packet> {
        if let Some(packet) = self.now.pop_front() {
            return Some(packet);
        }
        let Reverse((due, ..)) = self.later.peek()?;
        if *due > now {
            return None;
        }
        self.later.pop().map(|Reverse((.., packet))| packet)
    }

    /// When the next packet arrives.
    pub(super) fn due(&self) -> Option<Instant> {
        self.later.peek().map(|Reverse((due, ..))| *due)
    }
}
