//! The streams of one session as its peer sees them.

use bytes::Bytes;

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
}

/// Streams of one session. As in production, names are used again, the one given back last first, and the end of a
/// stream is seen later than at once.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) streams: Vec<Stream>,
    /// Which stream has a name.
    names: Vec<Option<usize>>,
    free: Vec<usize>,
    pub(super) credit: usize,
    /// Window of new streams.
    pub(super) window: usize,
    pub(super) gone: bool,
    /// What was done to it, so that nothing is known to have been done.
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
            streams: Vec::new(),
            names: Vec::new(),
            free: Vec::new(),
            credit: 4,
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

    fn give_back(&mut self, key: StreamKey) {
        self.get(key).released = true;
        self.names[key.0] = None;
        self.free.push(key.0);
        self.actions += 1;
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

    pub(super) fn open_window(&mut self, key: StreamKey, more: usize) {
        if self.behind(key).is_some() {
            let stream = self.get(key);
            stream.window = stream.window.saturating_add(more);
        }
    }

    pub(super) fn stop(&mut self, key: StreamKey) {
        if self.behind(key).is_some() {
            self.get(key).stopped = true;
        }
    }

    /// The peer has all of a finished stream. False: it is not finished.
    pub(super) fn acknowledge(&mut self, key: StreamKey) -> bool {
        let finished = self
            .behind(key)
            .is_some_and(|at| self.streams[at].end == End::Finished);
        if finished {
            self.get(key).acknowledged = true;
        }
        finished
    }
}

impl Outlet for Wire {
    fn open(&mut self, _priority: i32) -> Opened {
        if self.gone {
            return Opened::Gone;
        }
        let Some(credit) = self.credit.checked_sub(1) else {
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
        let (taken, window) = (stream.bytes.len() - before, stream.window);
        match taken {
            0 => {
                assert_eq!(window, 0, "nothing to write");
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
        match stream.stopped || gone {
            true => Watched::Stopped,
            false if stream.acknowledged => Watched::Received,
            false => Watched::Pending,
        }
    }

    fn finish(&mut self, key: StreamKey) {
        let stream = self.get(key);
        assert_eq!(stream.end, End::Open, "finished twice");
        stream.end = End::Finished;
        self.actions += 1;
    }

    fn reset(&mut self, key: StreamKey, _code: StreamCode) {
        self.get(key).end = End::Reset;
        self.give_back(key);
    }

    fn release(&mut self, key: StreamKey) {
        self.give_back(key);
    }

    fn set_priority(&mut self, key: StreamKey, _priority: i32) {
        self.get(key);
    }

    fn datagram(&mut self, wire: Bytes) -> DatagramSent {
        self.actions += 1;
        let fits = wire.len() <= self.max_datagram && !self.gone;
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
