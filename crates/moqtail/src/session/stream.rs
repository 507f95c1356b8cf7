//! Inbound streams: waiting for their header, parked until their Track Alias is known, or delivering.
//!
//! ```text
//! opened ──header──> Delivering ──> ended
//!    │        └────> Parked ──resume──> Delivering
//!    │                  └──park_timeout──> stopped
//!    └──first byte, header_timeout──> stopped
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use super::{
    event::{RequestHandle, StreamKey},
    timer::{Timer, Timers},
};
use crate::model::TrackAlias;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamState {
    AwaitingHeader,
    Parked,
    Delivering(RequestHandle),
}

/// The inbound streams that are open.
#[derive(Debug)]
pub(super) struct Streams {
    open: BTreeMap<StreamKey, StreamState>,
    /// In order of arrival.
    parked: VecDeque<(StreamKey, TrackAlias)>,
    /// Streams that ended before their header was known.
    headless: u64,
    /// When a stream was last opened or ended.
    last: Option<Instant>,
    max_open: usize,
    max_parked: usize,
}

impl Streams {
    pub(super) fn new(max_open: usize, max_parked: usize) -> Self {
        Self {
            open: BTreeMap::new(),
            parked: VecDeque::new(),
            headless: 0,
            last: None,
            max_open,
            max_parked,
        }
    }

    /// Takes in a stream that awaits its header; `false`: too many.
    pub(super) fn open(&mut self, stream: StreamKey, now: Instant) -> bool {
        self.last = Some(now);
        if self.open.len() >= self.max_open && !self.open.contains_key(&stream) {
            self.headless += 1;
            return false;
        }
        self.open.insert(stream, StreamState::AwaitingHeader);
        true
    }

    /// How many streams ended before their header was known.
    pub(super) fn headless(&self) -> u64 {
        self.headless
    }

    /// Since when no stream was opened or ended; `None`: a header is awaited.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        let awaited = self
            .open
            .values()
            .any(|state| *state == StreamState::AwaitingHeader);
        self.last.filter(|_| !awaited)
    }

    /// The stream has ended; tells which subscription it delivered to.
    pub(super) fn ended(
        &mut self,
        stream: StreamKey,
        timers: &mut Timers,
        now: Instant,
    ) -> Option<RequestHandle> {
        self.last = Some(now);
        if self.awaits_header(stream) {
            self.headless += 1;
        }
        self.remove(stream, timers)
    }

    /// Whether the stream awaits its header.
    pub(super) fn awaits_header(&self, stream: StreamKey) -> bool {
        self.open.get(&stream) == Some(&StreamState::AwaitingHeader)
    }

    pub(super) fn deliver(&mut self, stream: StreamKey, handle: RequestHandle) {
        self.open.insert(stream, StreamState::Delivering(handle));
    }

    /// Parks a stream; `false`: too many.
    pub(super) fn park(&mut self, stream: StreamKey, alias: TrackAlias) -> bool {
        if self.parked.len() >= self.max_parked {
            return false;
        }
        self.parked.push_back((stream, alias));
        self.open.insert(stream, StreamState::Parked);
        true
    }

    /// Takes out the streams parked for `alias`; they are no longer known.
    pub(super) fn take_parked(&mut self, alias: TrackAlias, timers: &mut Timers) -> Vec<StreamKey> {
        let mut taken = Vec::new();
        self.parked.retain(|(stream, parked)| {
            let take = *parked == alias;
            if take {
                taken.push(*stream);
            }
            !take
        });
        for stream in &taken {
            self.open.remove(stream);
            timers.cancel(Timer::Parked(*stream));
        }
        taken
    }

    /// Forgets a stream and tells which subscription it delivered to.
    pub(super) fn remove(
        &mut self,
        stream: StreamKey,
        timers: &mut Timers,
    ) -> Option<RequestHandle> {
        match self.open.remove(&stream)? {
            StreamState::AwaitingHeader => timers.cancel(Timer::Header(stream)),
            StreamState::Parked => {
                timers.cancel(Timer::Parked(stream));
                self.parked.retain(|(parked, _)| *parked != stream);
            }
            StreamState::Delivering(handle) => return Some(handle),
        }
        None
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn parked_len(&self) -> usize {
        self.parked.len()
    }
}
