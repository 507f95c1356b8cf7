//! The state both ends of a connection in memory share.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard},
    task::Waker,
};

use bytes::Bytes;

use crate::transport::{CloseReason, ConnectionError, TransportLimits, lock, wakers::WakerSet};

/// Both ends share one state under one short lock.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) limits: TransportLimits,
    pub(super) state: Mutex<State>,
    pub(super) ends: [EndWakers; 2],
}

/// Index of an end: 0 and 1.
pub(super) type Side = usize;

#[derive(Debug, Default)]
pub(super) struct EndWakers {
    pub(super) open_uni: WakerSet,
    pub(super) open_bi: WakerSet,
    pub(super) accept_uni: WakerSet,
    pub(super) accept_bi: WakerSet,
    pub(super) datagram: WakerSet,
    pub(super) closed: WakerSet,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) ends: [End; 2],
    pub(super) pipes: BTreeMap<u64, Pipe>,
    pub(super) next_id: u64,
    pub(super) closed: Option<[CloseReason; 2]>,
}

/// What one end holds of its peer.
#[derive(Debug)]
pub(super) struct End {
    pub(super) max_uni: u32,
    pub(super) uni: u32,
    pub(super) bi: u32,
    pub(super) ready_uni: BTreeSet<(Reverse<i32>, u64)>,
    /// Receiving and sending pipe of streams the peer opened.
    pub(super) ready_bi: VecDeque<(u64, u64)>,
    pub(super) datagrams: VecDeque<Bytes>,
    pub(super) datagram_bytes: usize,
    pub(super) sent_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Open,
    Finished,
    Reset(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Uni,
    /// The half that made the stream known, with the way back.
    BiOpened {
        back: u64,
    },
    BiBack,
}

/// One direction of a stream.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) from: Side,
    pub(super) shape: Shape,
    pub(super) announced: bool,
    /// The peer had everything when the connection closed.
    pub(super) acknowledged: bool,
    pub(super) priority: i32,
    pub(super) chunks: VecDeque<Bytes>,
    pub(super) held: usize,
    pub(super) written: Written,
    pub(super) stopped: Option<u32>,
    /// The reader saw the end or gave up.
    pub(super) read_done: bool,
    pub(super) credit_returned: bool,
    pub(super) sender_gone: bool,
    pub(super) receiver_gone: bool,
    pub(super) write_waker: Option<Waker>,
    pub(super) closed_waker: Option<Waker>,
    pub(super) read_waker: Option<Waker>,
}

impl Pipe {
    pub(super) fn new(from: Side, shape: Shape) -> Self {
        Self {
            from,
            shape,
            announced: false,
            acknowledged: false,
            priority: 0,
            chunks: VecDeque::new(),
            held: 0,
            written: Written::Open,
            stopped: None,
            read_done: false,
            credit_returned: false,
            sender_gone: false,
            receiver_gone: false,
            write_waker: None,
            closed_waker: None,
            read_waker: None,
        }
    }

    pub(super) fn has_arrived(&self) -> bool {
        self.written == Written::Finished && self.held == 0
    }

    /// The peer has all of it, as far as this side knows: while the link is `open`, at once.
    pub(super) fn is_received(&self, open: bool) -> bool {
        let known = self.acknowledged || open && self.has_arrived();
        known && self.stopped.is_none() && !matches!(self.written, Written::Reset(_))
    }

    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.held = 0;
    }

    pub(super) fn wake_sender(&mut self) {
        for waker in [self.write_waker.take(), self.closed_waker.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }

    pub(super) fn wake_receiver(&mut self) {
        if let Some(waker) = self.read_waker.take() {
            waker.wake();
        }
    }
}

impl Link {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn end(&self, side: Side) -> &EndWakers {
        &self.ends[side & 1]
    }

    pub(super) fn close(&self, reasons: [CloseReason; 2]) {
        let mut state = self.lock();
        if state.closed.is_some() {
            return;
        }
        // What was received before the peer closed can still be taken.
        let takes = reasons
            .each_ref()
            .map(|reason| !matches!(reason, CloseReason::Local { .. }));
        state.closed = Some(reasons);
        for pipe in state.pipes.values_mut() {
            pipe.acknowledged = pipe.has_arrived();
            if !takes[1 - (pipe.from & 1)] {
                pipe.clear();
            }
            pipe.wake_sender();
            pipe.wake_receiver();
        }
        for (end, takes) in state.ends.iter_mut().zip(takes) {
            end.ready_bi.clear();
            if !takes {
                end.ready_uni.clear();
                end.datagrams.clear();
            }
        }
        drop(state);
        for end in &self.ends {
            let EndWakers {
                open_uni,
                open_bi,
                accept_uni,
                accept_bi,
                datagram,
                closed,
            } = end;
            for set in [open_uni, open_bi, accept_uni, accept_bi, datagram, closed] {
                set.wake_all();
            }
        }
    }

    /// Makes a stream known to the peer, as its first frame would.
    pub(super) fn announce(&self, state: &mut State, id: u64) {
        let Some(pipe) = state.pipes.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut pipe.announced, true) {
            return;
        }
        let (peer, priority) = (1 - pipe.from, pipe.priority);
        match pipe.shape {
            Shape::Uni => {
                state.end(peer).ready_uni.insert((Reverse(priority), id));
                self.end(peer).accept_uni.wake_all();
            }
            Shape::BiOpened { back } => {
                state.end(peer).ready_bi.push_back((id, back));
                self.end(peer).accept_bi.wake_all();
            }
            Shape::BiBack => {}
        }
    }

    /// Returns stream credit and memory of a pipe that neither end needs any more.
    pub(super) fn settle(&self, state: &mut State, id: u64) {
        let Some(pipe) = state.pipes.get_mut(&id) else {
            return;
        };
        let over = pipe.read_done && pipe.written != Written::Open;
        let (from, shape) = (pipe.from, pipe.shape);
        let first = over && !std::mem::replace(&mut pipe.credit_returned, over);
        if pipe.sender_gone && pipe.receiver_gone {
            state.pipes.remove(&id);
        }
        if !first {
            return;
        }
        let end = state.end(1 - from);
        match shape {
            Shape::Uni => {
                end.uni = end.uni.saturating_sub(1);
                self.end(from).open_uni.wake_all();
            }
            Shape::BiOpened { .. } => {
                end.bi = end.bi.saturating_sub(1);
                self.end(from).open_bi.wake_all();
            }
            Shape::BiBack => {}
        }
    }
}

impl State {
    pub(super) fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[side & 1]
    }

    pub(super) fn check_open(&self, side: Side) -> Result<(), ConnectionError> {
        match &self.closed {
            Some(reasons) => Err(ConnectionError(reasons[side & 1].clone())),
            None => Ok(()),
        }
    }

    pub(super) fn add(&mut self, from: Side, shape: Shape) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.pipes.insert(id, Pipe::new(from, shape));
        id
    }
}
