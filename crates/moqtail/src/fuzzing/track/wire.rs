//! The streams of one session as its peer sees them.

use std::collections::VecDeque;

use bytes::Bytes;

use super::wake::Wake;
use crate::model::StreamCode;
use crate::track::{DatagramSent, Opened, Outlet, StreamKey, Watched, Written};

/// How a stream stands at its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Open,
    Finished,
    Reset,
}

/// One stream; it is kept when it is over.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) bytes: Vec<u8>,
    window: usize,
    pub(super) end: End,
    /// The peer has all of it.
    acknowledged: bool,
    stopped: bool,
    pub(super) released: bool,
    /// Nothing was taken, and it is told when something may be.
    waits_for_window: bool,
    /// It is told when the stream is stopped or over.
    waits_for_end: bool,
    /// It is finished, and nobody asked yet whether it is over.
    unasked: bool,
}

impl Stream {
    /// Whether something could be written.
    pub(super) fn takes_more(&self) -> bool {
        self.end == End::Open && !self.stopped && self.window > 0
    }
}

/// Which of the finished streams to ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// As long as the oldest is over.
    Oldest,
    All,
}

/// In so many turns the oldest finished stream is not asked properly.
const PATIENCE: u32 = 4;

/// Streams of one session. As in production, names are used again, the one given back last first, the end of a stream is
/// seen later than at once, and who was not told to wait is not woken.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) wake: Wake,
    pub(super) streams: Vec<Stream>,
    /// Which stream has a name.
    names: Vec<Option<usize>>,
    free: Vec<usize>,
    credit: usize,
    waits_for_credit: bool,
    /// How many datagrams find room on the path.
    room: usize,
    waits_for_room: bool,
    /// Finished streams that nobody asked about, in the order of their ends.
    unasked: VecDeque<StreamKey>,
    waited: u32,
    /// Window of new streams.
    pub(super) window: usize,
    pub(super) gone: bool,
    /// What was done to it, but for streams that were given back because they are over.
    pub(super) actions: usize,
    /// Writes of which nothing was taken.
    pub(super) blocked: usize,
    pub(super) datagrams: Vec<Bytes>,
    pub(super) max_datagram: usize,
    pub(super) refused: u64,
}

impl Wire {
    pub(super) fn new() -> Self {
        Self {
            wake: Wake::default(),
            streams: Vec::new(),
            names: Vec::new(),
            free: Vec::new(),
            credit: 4,
            waits_for_credit: false,
            room: 4,
            waits_for_room: false,
            unasked: VecDeque::new(),
            waited: 0,
            window: 40,
            gone: false,
            actions: 0,
            blocked: 0,
            datagrams: Vec::new(),
            max_datagram: 300,
            refused: 0,
        }
    }

    fn get(&mut self, key: StreamKey) -> &mut Stream {
        let at = self.names.get(key.0).copied().flatten();
        let at = at.expect("a stream that was given back");
        &mut self.streams[at]
    }

    fn find(&mut self, key: StreamKey) -> Option<&mut Stream> {
        let at = self.behind(key)?;
        self.streams.get_mut(at)
    }

    fn give_back(&mut self, key: StreamKey) {
        let stream = self.get(key);
        stream.released = true;
        stream.unasked = false;
        self.names[key.0] = None;
        self.free.push(key.0);
    }

    /// Names of streams with this end that are not given back.
    pub(super) fn named(&self, end: End) -> Vec<StreamKey> {
        let names = self.names.iter().enumerate();
        names
            .filter(|(_, at)| at.is_some_and(|at| self.streams[at].end == end))
            .map(|(name, _)| StreamKey(name))
            .collect()
    }

    /// The name that stands at `number`, in use or not.
    pub(super) fn name(&self, number: u8) -> StreamKey {
        StreamKey(usize::from(number) % self.names.len().max(1))
    }

    /// The stream behind a name.
    pub(super) fn behind(&self, key: StreamKey) -> Option<usize> {
        self.names.get(key.0).copied().flatten()
    }

    /// A stream takes more.
    pub(super) fn open_window(&mut self, key: StreamKey, more: usize) {
        let Some(stream) = self.find(key).filter(|_| more > 0) else {
            return;
        };
        stream.window = stream.window.saturating_add(more);
        if std::mem::take(&mut stream.waits_for_window) {
            self.wake(key);
        }
    }

    /// The peer wants no more of a stream.
    pub(super) fn stop(&mut self, key: StreamKey) {
        let Some(stream) = self.find(key) else {
            return;
        };
        stream.stopped = true;
        let told = std::mem::take(&mut stream.waits_for_window);
        if std::mem::take(&mut stream.waits_for_end) || told {
            self.wake(key);
        }
    }

    /// The peer has all of a finished stream.
    pub(super) fn acknowledge(&mut self, key: StreamKey) {
        let Some(stream) = self.find(key).filter(|stream| stream.end == End::Finished) else {
            return;
        };
        stream.acknowledged = true;
        if std::mem::take(&mut stream.waits_for_end) {
            self.wake(key);
        }
    }

    /// Wakes a stream, with or without a cause.
    pub(super) fn wake(&mut self, key: StreamKey) {
        let finished = self
            .find(key)
            .is_some_and(|stream| stream.end == End::Finished);
        self.wake.stream(key, finished);
    }

    pub(super) fn give_credit(&mut self, more: usize) {
        self.credit = self.credit.saturating_add(more);
        if more > 0 && std::mem::take(&mut self.waits_for_credit) {
            self.wake.credit();
        }
    }

    /// The path takes more datagrams.
    pub(super) fn give_room(&mut self, more: usize) {
        self.room = self.room.saturating_add(more);
        if more > 0 && std::mem::take(&mut self.waits_for_room) {
            self.wake.datagrams();
        }
    }

    /// A finished stream that is over.
    pub(super) fn next_closed(&mut self, ask: Ask) -> Option<StreamKey> {
        while let Some(key) = self.unasked.front().copied() {
            let stream = self.find(key).filter(|stream| stream.unasked);
            let received = stream.map(|stream| stream.acknowledged);
            if received == Some(false) && ask == Ask::Oldest && self.waited < PATIENCE {
                self.waited += 1;
                return None;
            }
            self.waited = 0;
            self.unasked.pop_front();
            if received.is_none() {
                continue;
            }
            self.get(key).unasked = false;
            if self.watch(key) != Watched::Pending {
                return Some(key);
            }
        }
        None
    }

    /// Whether there are finished streams of which nobody asked.
    pub(super) fn has_unasked(&self) -> bool {
        !self.unasked.is_empty()
    }
}

impl Outlet for Wire {
    fn open(&mut self, _priority: i32) -> Opened {
        if self.gone {
            return Opened::Gone;
        }
        let Some(credit) = self.credit.checked_sub(1) else {
            self.waits_for_credit = true;
            return Opened::NoCredit;
        };
        self.credit = credit;
        self.actions += 1;
        self.streams.push(Stream {
            bytes: Vec::new(),
            window: self.window,
            end: End::Open,
            acknowledged: false,
            stopped: false,
            released: false,
            waits_for_window: false,
            waits_for_end: false,
            unasked: false,
        });
        let name = self.free.pop().unwrap_or_else(|| {
            self.names.push(None);
            self.names.len() - 1
        });
        self.names[name] = Some(self.streams.len() - 1);
        Opened::Stream(StreamKey(name))
    }

    fn write(&mut self, key: StreamKey, chunks: &mut [Bytes]) -> Written {
        let gone = self.gone;
        let stream = self.get(key);
        assert_eq!(stream.end, End::Open, "written after its end");
        assert!(
            chunks.iter().any(|chunk| !chunk.is_empty()),
            "nothing to write"
        );
        if gone {
            return Written::Gone;
        }
        if stream.stopped {
            return Written::Stopped;
        }
        let before = stream.bytes.len();
        for chunk in chunks {
            let piece = chunk.split_to(chunk.len().min(stream.window));
            stream.window -= piece.len();
            stream.bytes.extend_from_slice(&piece);
        }
        match stream.bytes.len() - before {
            0 => {
                stream.waits_for_window = true;
                self.blocked += 1;
                Written::Blocked
            }
            taken => {
                self.actions += 1;
                Written::Taken(taken)
            }
        }
    }

    fn watch(&mut self, key: StreamKey) -> Watched {
        let gone = self.gone;
        let stream = self.get(key);
        if stream.unasked {
            return Watched::Pending;
        }
        match stream.stopped || gone {
            true => Watched::Stopped,
            false if stream.acknowledged => Watched::Received,
            false => {
                stream.waits_for_end = true;
                Watched::Pending
            }
        }
    }

    fn finish(&mut self, key: StreamKey) {
        let stream = self.get(key);
        assert_eq!(stream.end, End::Open, "finished twice");
        stream.end = End::Finished;
        stream.unasked = true;
        self.unasked.push_back(key);
        self.actions += 1;
    }

    fn reset(&mut self, key: StreamKey, _code: StreamCode) {
        self.get(key).end = End::Reset;
        self.actions += 1;
        self.give_back(key);
    }

    fn release(&mut self, key: StreamKey) {
        let stream = self.get(key);
        assert_eq!(stream.end, End::Finished, "it has no end");
        self.give_back(key);
    }

    fn set_priority(&mut self, key: StreamKey, _priority: i32) {
        self.get(key);
    }

    fn datagram(&mut self, wire: Bytes) -> DatagramSent {
        if self.room == 0 && !self.gone {
            self.waits_for_room = true;
            return DatagramSent::Blocked;
        }
        let fits = wire.len() <= self.max_datagram && !self.gone;
        self.room -= usize::from(fits);
        self.actions += 1;
        self.datagrams.push(wire);
        match fits {
            true => DatagramSent::Sent,
            false => {
                self.refused += 1;
                DatagramSent::Refused
            }
        }
    }
}
