//! Streams of a QUIC connection, with the WebTransport head in front where there is one.

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;

use super::{send_window::Room, shared::Shared};
use crate::transport::{CANCELLED, RecvStream, SendStream, StreamError};

/// Chunks that go into one call together with a stream head.
const FIRST_CHUNKS: usize = 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Open,
    Finished,
    Reset,
}

type StoppedFuture =
    Pin<Box<dyn Future<Output = Result<Option<quinn::VarInt>, quinn::StoppedError>> + Send>>;

/// Sending half of a stream of a [`QuicConnection`](super::QuicConnection).
pub struct QuicSend {
    shared: Arc<Shared>,
    stream: quinn::SendStream,
    /// The WebTransport head, until it is written together with the first payload.
    head: Bytes,
    state: Sending,
    stopped: Option<StoppedFuture>,
    closed: Option<Result<(), StreamError>>,
}

impl QuicSend {
    pub(super) fn new(shared: Arc<Shared>, stream: quinn::SendStream, head: &'static [u8]) -> Self {
        let head = if shared.web.is_some() {
            Bytes::from_static(head)
        } else {
            Bytes::new()
        };
        Self {
            shared,
            stream,
            head,
            state: Sending::Open,
            stopped: None,
            closed: None,
        }
    }

    fn error(&self, error: quinn::WriteError) -> StreamError {
        match error {
            quinn::WriteError::Stopped(code) => {
                StreamError::Stopped(self.shared.codes.stream_code(code))
            }
            quinn::WriteError::ConnectionLost(_) => self.shared.gone().into(),
            quinn::WriteError::ClosedStream | quinn::WriteError::ZeroRttRejected => {
                StreamError::Closed
            }
        }
    }

    /// A `write_chunks` future polled once and dropped has either written, or written nothing and left the waker.
    fn poll_chunks(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut [Bytes],
    ) -> Poll<Result<usize, StreamError>> {
        let mut result = pin!(self.stream.write_chunks(chunks)).poll(cx);
        if result.is_pending() && self.shared.send_window.follow(&self.shared.conn) == Room::More {
            result = pin!(self.stream.write_chunks(chunks)).poll(cx);
        }
        Poll::Ready(match ready!(result) {
            Ok(written) => Ok(written.bytes),
            Err(error) => Err(self.error(error)),
        })
    }

    /// Writes the head and, in the same call, as much payload as possible.
    fn poll_first(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut [Bytes],
    ) -> Poll<Result<usize, StreamError>> {
        let mut first: [Bytes; FIRST_CHUNKS + 1] = Default::default();
        let (front, rest) = first.split_at_mut(1);
        let head = self.head.len();
        front[0] = std::mem::take(&mut self.head);
        for (slot, chunk) in rest.iter_mut().zip(&mut *chunks) {
            *slot = std::mem::take(chunk);
        }
        let result = self.poll_chunks(cx, &mut first);
        let (front, rest) = first.split_at_mut(1);
        self.head = std::mem::take(&mut front[0]);
        for (slot, chunk) in rest.iter_mut().zip(chunks) {
            *chunk = std::mem::take(slot);
        }
        result.map_ok(|written| written - (head - self.head.len()))
    }
}

impl SendStream for QuicSend {
    fn set_priority(&mut self, priority: i32) {
        // Fails only on a stream that is over, where it does not matter.
        let _ = self.stream.set_priority(priority);
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut [Bytes],
    ) -> Poll<Result<usize, StreamError>> {
        if self.state != Sending::Open {
            return Poll::Ready(Err(StreamError::Closed));
        }
        if let Some(error) = self.shared.closed_here() {
            return Poll::Ready(Err(error.into()));
        }
        if chunks.iter().all(Bytes::is_empty) {
            return Poll::Ready(Ok(0));
        }
        while !self.head.is_empty() {
            let payload = ready!(self.poll_first(cx, chunks))?;
            if payload > 0 {
                return Poll::Ready(Ok(payload));
            }
        }
        self.poll_chunks(cx, chunks)
    }

    fn finish(&mut self) {
        if self.state != Sending::Open {
            return;
        }
        if !self.head.is_empty() {
            // An empty stream: its head goes now, or there is no room even for that and the stream is given up.
            let mut cx = Context::from_waker(Waker::noop());
            let written = self.poll_first(&mut cx, &mut []);
            if !matches!(written, Poll::Ready(Ok(_))) || !self.head.is_empty() {
                return self.reset(CANCELLED);
            }
        }
        self.state = Sending::Finished;
        // Fails only on a stream the peer stopped.
        let _ = self.stream.finish();
    }

    fn reset(&mut self, code: u32) {
        if self.state == Sending::Reset {
            return;
        }
        self.state = Sending::Reset;
        if self.stopped.take().is_some() {
            self.shared.lose_watch();
        }
        // Fails only on a stream that the peer has completely.
        let _ = self.stream.reset(self.shared.codes.encode(code));
    }

    fn is_received(&self) -> bool {
        // Nothing is known any more of a stream that the peer has all of.
        self.state == Sending::Finished && self.stream.priority().is_err()
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        if let Some(result) = &self.closed {
            return Poll::Ready(result.clone());
        }
        if self.state == Sending::Reset {
            return Poll::Ready(Err(StreamError::Closed));
        }
        if self.stopped.is_none() && self.is_received() {
            self.closed = Some(Ok(()));
            return Poll::Ready(Ok(()));
        }
        if self.state == Sending::Open && self.stopped.is_none() && !self.shared.may_watch() {
            return Poll::Pending;
        }
        let stream = &self.stream;
        let stopped = self
            .stopped
            .get_or_insert_with(|| Box::pin(stream.stopped()));
        let result = match ready!(stopped.as_mut().poll(cx)) {
            Ok(None) => Ok(()),
            Ok(Some(code)) => Err(StreamError::Stopped(self.shared.codes.stream_code(code))),
            Err(_) => Err(self.shared.gone().into()),
        };
        self.stopped = None;
        self.closed = Some(result.clone());
        Poll::Ready(result)
    }
}

impl Drop for QuicSend {
    fn drop(&mut self) {
        if self.state == Sending::Open {
            self.reset(CANCELLED);
        }
    }
}

impl fmt::Debug for QuicSend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicSend")
            .field("id", &self.stream.id())
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug)]
enum Ended {
    Fin,
    Reset(u32),
    Stopped,
}

/// Receiving half of a stream of a [`QuicConnection`](super::QuicConnection).
#[derive(Debug)]
pub struct QuicRecv {
    shared: Arc<Shared>,
    stream: quinn::RecvStream,
    /// Payload that came in one piece with the WebTransport head.
    first: Bytes,
    ended: Option<Ended>,
}

impl QuicRecv {
    pub(super) fn new(shared: Arc<Shared>, stream: quinn::RecvStream, first: Bytes) -> Self {
        Self {
            shared,
            stream,
            first,
            ended: None,
        }
    }
}

impl RecvStream for QuicRecv {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, StreamError>> {
        match self.ended {
            None => {}
            Some(Ended::Fin) => return Poll::Ready(Ok(None)),
            Some(Ended::Reset(code)) => return Poll::Ready(Err(StreamError::Reset(code))),
            Some(Ended::Stopped) => return Poll::Ready(Err(StreamError::Closed)),
        }
        if let Some(error) = self.shared.closed_here() {
            return Poll::Ready(Err(error.into()));
        }
        let max = max.max(1);
        if !self.first.is_empty() {
            return Poll::Ready(Ok(Some(self.first.split_to(self.first.len().min(max)))));
        }
        loop {
            let result = match ready!(pin!(self.stream.read_chunk(max, true)).poll(cx)) {
                Ok(Some(chunk)) if chunk.bytes.is_empty() => continue,
                Ok(Some(chunk)) => Ok(Some(chunk.bytes)),
                Ok(None) => {
                    self.ended = Some(Ended::Fin);
                    Ok(None)
                }
                Err(quinn::ReadError::Reset(code)) => {
                    let code = self.shared.codes.stream_code(code);
                    self.ended = Some(Ended::Reset(code));
                    Err(StreamError::Reset(code))
                }
                Err(quinn::ReadError::ConnectionLost(_)) => Err(self.shared.gone().into()),
                Err(
                    quinn::ReadError::ClosedStream
                    | quinn::ReadError::IllegalOrderedRead
                    | quinn::ReadError::ZeroRttRejected,
                ) => Err(StreamError::Closed),
            };
            return Poll::Ready(result);
        }
    }

    fn stop(&mut self, code: u32) {
        if self.ended.is_none() {
            self.ended = Some(Ended::Stopped);
            self.first.clear();
            // Fails only on a stream that is over.
            let _ = self.stream.stop(self.shared.codes.encode(code));
        }
    }
}

impl Drop for QuicRecv {
    fn drop(&mut self) {
        // A reader that knows the length may leave without asking for the FIN; that is no reason to stop the sender.
        let last = self.poll_read(&mut Context::from_waker(Waker::noop()), usize::MAX);
        if !matches!(last, Poll::Ready(Ok(None))) {
            self.stop(CANCELLED);
        }
    }
}
