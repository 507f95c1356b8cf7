//! The outbound streams of a session as the delivery engine sees them.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::wake::{Room, RoomWake, SessionWake, StreamWake};
use crate::model::StreamCode;
use crate::track::{DatagramSent, Opened, Outlet, StreamKey, Watched, Written};
use crate::transport::{Connection, DatagramError, SendStream, StreamError};

/// Which of the finished streams to ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// As long as the oldest is over.
    Oldest,
    /// All of them.
    All,
}

/// Streams in slots that are used again.
pub(super) struct Streams<C: Connection> {
    connection: C,
    wake: Arc<SessionWake>,
    credit: Waker,
    datagrams: Waker,
    slots: Vec<Slot<C::Send>>,
    free: Vec<usize>,
    /// Finished streams of which the transport was not asked yet whether they are over, in the order of their ends.
    /// Bounded by `max_closing`: beyond it the oldest are released.
    unasked: VecDeque<StreamKey>,
    /// In how many turns the oldest of them was not received.
    waited: u32,
}

/// A finished stream that is not received in so many turns may have been stopped: then it is asked properly.
const PATIENCE: u32 = 64;

struct Slot<S> {
    stream: Option<S>,
    /// It is in `unasked`.
    unasked: bool,
    wake: Arc<StreamWake>,
    waker: Waker,
}

impl<C: Connection> Streams<C> {
    pub(super) fn new(connection: C, wake: Arc<SessionWake>) -> Self {
        Self {
            connection,
            credit: Arc::new(RoomWake(wake.clone(), Room::Streams)).into(),
            datagrams: Arc::new(RoomWake(wake.clone(), Room::Datagrams)).into(),
            wake,
            slots: Vec::new(),
            free: Vec::new(),
            unasked: VecDeque::new(),
            waited: 0,
        }
    }

    /// The wake-up of a stream was looked at.
    pub(super) fn taken(&self, stream: StreamKey) {
        if let Some(slot) = self.slots.get(stream.0) {
            slot.wake.taken();
        }
    }

    /// A finished stream that is over, asking for the oldest first. To be told of an end costs more than most streams have
    /// left to live, so it ends at the first one that is not received; `all` asks for each, so that each end is told.
    pub(super) fn next_closed(&mut self, all: Ask) -> Option<StreamKey> {
        while let Some(stream) = self.unasked.front().copied() {
            let slot = self.slots.get(stream.0).filter(|slot| slot.unasked);
            let received = slot.map(|slot| slot.stream.as_ref().is_some_and(C::Send::is_received));
            if received == Some(false) && all == Ask::Oldest && self.waited < PATIENCE {
                self.waited += 1;
                return None;
            }
            self.waited = 0;
            self.unasked.pop_front();
            let over = match received {
                Some(received) => received || self.ask(stream) != Watched::Pending,
                None => false,
            };
            if let Some(slot) = self.slots.get_mut(stream.0) {
                slot.unasked = false;
            }
            if over {
                return Some(stream);
            }
        }
        None
    }

    /// Whether there are finished streams of which nobody asked.
    pub(super) fn has_unasked(&self) -> bool {
        !self.unasked.is_empty()
    }

    fn ask(&mut self, stream: StreamKey) -> Watched {
        match self.poll(stream, |stream, cx| stream.poll_closed(cx)) {
            Poll::Pending => Watched::Pending,
            Poll::Ready(Ok(())) => Watched::Received,
            Poll::Ready(Err(_)) => Watched::Stopped,
        }
    }

    /// Whether a datagram may be sent; if not, it is told when to ask again.
    pub(super) fn poll_datagrams(&self) -> Poll<()> {
        self.connection
            .poll_datagrams(&mut Context::from_waker(&self.datagrams))
    }

    fn slot(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            let at = self.slots.len();
            let wake = StreamWake::new(self.wake.clone(), StreamKey(at));
            self.slots.push(Slot {
                stream: None,
                unasked: false,
                waker: wake.waker(),
                wake,
            });
            at
        })
    }

    fn poll<T>(
        &mut self,
        stream: StreamKey,
        f: impl FnOnce(&mut C::Send, &mut Context<'_>) -> Poll<Result<T, StreamError>>,
    ) -> Poll<Result<T, StreamError>> {
        match self.slots.get_mut(stream.0) {
            Some(Slot {
                stream: Some(stream),
                waker,
                ..
            }) => f(stream, &mut Context::from_waker(waker)),
            _ => Poll::Ready(Err(StreamError::Closed)),
        }
    }

    fn take(&mut self, stream: StreamKey) -> Option<C::Send> {
        let slot = self.slots.get_mut(stream.0)?;
        slot.unasked = false;
        let taken = slot.stream.take()?;
        self.free.push(stream.0);
        Some(taken)
    }
}

impl<C: Connection> Outlet for Streams<C> {
    fn open(&mut self, priority: i32) -> Opened {
        let mut cx = Context::from_waker(&self.credit);
        match self.connection.poll_open_uni(&mut cx) {
            Poll::Ready(Ok(mut stream)) => {
                stream.set_priority(priority);
                let at = self.slot();
                if let Some(slot) = self.slots.get_mut(at) {
                    slot.stream = Some(stream);
                    slot.wake.begin();
                }
                Opened::Stream(StreamKey(at))
            }
            Poll::Ready(Err(_)) => Opened::Gone,
            Poll::Pending => Opened::NoCredit,
        }
    }

    fn write(&mut self, stream: StreamKey, chunks: &mut [Bytes]) -> Written {
        match self.poll(stream, |stream, cx| stream.poll_write(cx, chunks)) {
            Poll::Ready(Ok(0)) | Poll::Pending => Written::Blocked,
            Poll::Ready(Ok(taken)) => Written::Taken(taken),
            Poll::Ready(Err(StreamError::Connection(_))) => Written::Gone,
            Poll::Ready(Err(_)) => Written::Stopped,
        }
    }

    fn watch(&mut self, stream: StreamKey) -> Watched {
        match self.slots.get(stream.0) {
            // Asked for in a later turn.
            Some(slot) if slot.unasked => Watched::Pending,
            _ => self.ask(stream),
        }
    }

    fn finish(&mut self, stream: StreamKey) {
        if let Some(slot) = self.slots.get_mut(stream.0)
            && let Some(send) = &mut slot.stream
        {
            slot.wake.finish();
            send.finish();
            slot.unasked = true;
            self.unasked.push_back(stream);
        }
    }

    fn reset(&mut self, stream: StreamKey, code: StreamCode) {
        if let Some(mut stream) = self.take(stream) {
            // Codes of the transport have 32 bits here; the registry is far smaller.
            stream.reset(u32::try_from(code.0).unwrap_or(u32::MAX));
        }
    }

    fn release(&mut self, stream: StreamKey) {
        self.take(stream);
    }

    fn set_priority(&mut self, stream: StreamKey, priority: i32) {
        if let Some(Slot {
            stream: Some(stream),
            ..
        }) = self.slots.get_mut(stream.0)
        {
            stream.set_priority(priority);
        }
    }

    fn datagram(&mut self, wire: Bytes) -> DatagramSent {
        if self.poll_datagrams().is_pending() {
            return DatagramSent::Blocked;
        }
        match self.connection.send_datagram(wire) {
            Ok(()) => DatagramSent::Sent,
            Err(DatagramError::TooLarge { .. } | DatagramError::Unsupported) => {
                DatagramSent::Refused
            }
            Err(DatagramError::Connection(_)) => DatagramSent::Sent,
        }
    }
}
