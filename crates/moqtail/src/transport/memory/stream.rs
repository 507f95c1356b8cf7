//! The two halves of a stream in memory.

use std::{
    cmp::Reverse,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::link::{Link, Side, Written};
use crate::transport::{
    CANCELLED, CloseReason, ConnectionError, RecvStream, SendStream, StreamError,
};

/// Sending half of a stream of a [`MemoryConnection`](super::MemoryConnection).
#[derive(Debug)]
pub struct MemorySend {
    pub(super) link: Arc<Link>,
    pub(super) side: Side,
    pub(super) id: u64,
}

impl SendStream for MemorySend {
    fn set_priority(&mut self, priority: i32) {
        let mut state = self.link.lock();
        let Some(pipe) = state.pipes.get_mut(&self.id) else {
            return;
        };
        let (old, peer) = (
            std::mem::replace(&mut pipe.priority, priority),
            1 - pipe.from,
        );
        let ready = &mut state.end(peer).ready_uni;
        if ready.remove(&(Reverse(old), self.id)) {
            ready.insert((Reverse(priority), self.id));
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut [Bytes],
    ) -> Poll<Result<usize, StreamError>> {
        let mut state = self.link.lock();
        state.check_open(self.side)?;
        let Some(pipe) = state.pipes.get_mut(&self.id) else {
            return Poll::Ready(Err(StreamError::Closed));
        };
        if pipe.written != Written::Open {
            return Poll::Ready(Err(StreamError::Closed));
        }
        if let Some(code) = pipe.stopped {
            return Poll::Ready(Err(StreamError::Stopped(code)));
        }
        if chunks.iter().all(Bytes::is_empty) {
            return Poll::Ready(Ok(0));
        }
        let room = (self.link.limits.stream_window as usize).saturating_sub(pipe.held);
        if room == 0 {
            pipe.write_waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut taken = 0;
        for chunk in chunks.iter_mut().filter(|chunk| !chunk.is_empty()) {
            if taken == room {
                break;
            }
            let piece = chunk.split_to(chunk.len().min(room - taken));
            taken += piece.len();
            pipe.chunks.push_back(piece);
        }
        pipe.held += taken;
        pipe.wake_receiver();
        state.end(self.side).sent_bytes += taken as u64;
        self.link.announce(&mut state, self.id);
        Poll::Ready(Ok(taken))
    }

    fn finish(&mut self) {
        self.end(Written::Finished);
    }

    fn reset(&mut self, code: u32) {
        self.end(Written::Reset(code));
    }

    fn is_received(&self) -> bool {
        let state = self.link.lock();
        let open = state.check_open(self.side).is_ok();
        let pipe = state.pipes.get(&self.id);
        pipe.is_some_and(|pipe| pipe.is_received(open))
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let mut state = self.link.lock();
        let open = state.check_open(self.side);
        let Some(pipe) = state.pipes.get_mut(&self.id) else {
            return Poll::Ready(Err(StreamError::Closed));
        };
        match (pipe.written, pipe.stopped) {
            (Written::Reset(_), _) => Poll::Ready(Err(StreamError::Closed)),
            _ if pipe.is_received(open.is_ok()) => Poll::Ready(Ok(())),
            (_, Some(code)) => Poll::Ready(Err(StreamError::Stopped(code))),
            _ => {
                open?;
                pipe.closed_waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl MemorySend {
    fn end(&self, how: Written) {
        let mut state = self.link.lock();
        if state.closed.is_some() {
            return;
        }
        let Some(pipe) = state.pipes.get_mut(&self.id) else {
            return;
        };
        let late_reset =
            pipe.written == Written::Finished && matches!(how, Written::Reset(_)) && pipe.held > 0;
        if pipe.written != Written::Open && !late_reset {
            return;
        }
        pipe.written = how;
        if matches!(how, Written::Reset(_)) {
            pipe.clear();
        }
        pipe.wake_sender();
        pipe.wake_receiver();
        self.link.announce(&mut state, self.id);
        self.link.settle(&mut state, self.id);
    }
}

impl Drop for MemorySend {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        if let Some(pipe) = state.pipes.get_mut(&self.id) {
            pipe.sender_gone = true;
            pipe.write_waker = None;
            pipe.closed_waker = None;
            if pipe.written == Written::Open {
                drop(state);
                self.end(Written::Reset(CANCELLED));
                state = self.link.lock();
            }
        }
        self.link.settle(&mut state, self.id);
    }
}

/// Receiving half of a stream of a [`MemoryConnection`](super::MemoryConnection).
#[derive(Debug)]
pub struct MemoryRecv {
    pub(super) link: Arc<Link>,
    pub(super) side: Side,
    pub(super) id: u64,
}

impl MemoryRecv {
    /// The priority the sender has set, for tests; 0 until it sets one.
    pub fn priority(&self) -> i32 {
        self.link
            .lock()
            .pipes
            .get(&self.id)
            .map_or(0, |pipe| pipe.priority)
    }
}

impl RecvStream for MemoryRecv {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, StreamError>> {
        let mut state = self.link.lock();
        let open = state.check_open(self.side);
        // Nothing is kept of what came to the side that closed.
        if let Err(closed @ ConnectionError(CloseReason::Local { .. })) = open {
            return Poll::Ready(Err(closed.into()));
        }
        let Some(pipe) = state.pipes.get_mut(&self.id) else {
            return Poll::Ready(Err(StreamError::Closed));
        };
        if pipe.stopped.is_some() {
            return Poll::Ready(Err(StreamError::Closed));
        }
        if let Written::Reset(code) = pipe.written {
            pipe.read_done = true;
            self.link.settle(&mut state, self.id);
            return Poll::Ready(Err(StreamError::Reset(code)));
        }
        if let Some(mut chunk) = pipe.chunks.pop_front() {
            let piece = chunk.split_to(chunk.len().min(max.max(1)));
            if !chunk.is_empty() {
                pipe.chunks.push_front(chunk);
            }
            pipe.held -= piece.len();
            pipe.wake_sender();
            return Poll::Ready(Ok(Some(piece)));
        }
        if pipe.read_done {
            return Poll::Ready(Ok(None));
        }
        if pipe.written == Written::Finished {
            pipe.read_done = true;
            self.link.settle(&mut state, self.id);
            return Poll::Ready(Ok(None));
        }
        open?;
        pipe.read_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn stop(&mut self, code: u32) {
        let mut state = self.link.lock();
        if state.closed.is_some() {
            return;
        }
        let Some(pipe) = state.pipes.get_mut(&self.id) else {
            return;
        };
        if pipe.read_done || pipe.stopped.is_some() {
            return;
        }
        pipe.read_done = true;
        if !pipe.has_arrived() {
            pipe.stopped = Some(code);
        }
        pipe.clear();
        pipe.wake_sender();
        self.link.settle(&mut state, self.id);
    }
}

impl Drop for MemoryRecv {
    fn drop(&mut self) {
        self.stop(CANCELLED);
        let mut state = self.link.lock();
        if let Some(pipe) = state.pipes.get_mut(&self.id) {
            pipe.receiver_gone = true;
            pipe.read_waker = None;
        }
        self.link.settle(&mut state, self.id);
    }
}
