//! Data streams of the peer: reading their head, and telling the session of their end.

use std::{
    future::{Future as _, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::handle::{PeerHandle, now};
use crate::{
    model::{DecodeError, StreamCode, StreamHeader, StreamHeaderDecoder},
    session::StreamKey,
    transport::{RecvStream, StreamError},
};

/// Most bytes read at once while a head is not complete; what is read beyond it goes to the stream's reader.
const HEAD_READ: usize = 16 * 1024;

/// How reading a head went.
pub(super) enum StreamHead {
    /// The head, and bytes that came with it.
    Read { header: StreamHeader, rest: Bytes },
    /// Not a head of draft 14.
    Malformed(DecodeError),
    /// The stream was reset before its head was complete, which may happen at any time (draft-14 §10.4.3), or finished
    /// without a byte.
    Ended,
}

/// Reads the head of a stream. The session times it.
pub(super) async fn read_head<R: RecvStream>(
    stream: StreamKey,
    mut recv: R,
) -> (StreamKey, R, StreamHead) {
    let mut decoder = StreamHeaderDecoder::new();
    let head = loop {
        match poll_fn(|cx| recv.poll_read(cx, HEAD_READ)).await {
            Ok(Some(mut rest)) => match decoder.decode(&mut rest) {
                Ok(Some(header)) => break StreamHead::Read { header, rest },
                Ok(None) => {}
                Err(error) => break StreamHead::Malformed(error),
            },
            // draft-14 §10.4: a FIN inside a header leaves bytes that are no stream; before the first byte it is a
            // sender that had nothing to say.
            Ok(None) => match decoder.finish() {
                Ok(()) => break StreamHead::Ended,
                Err(error) => break StreamHead::Malformed(error),
            },
            Err(_) => break StreamHead::Ended,
        }
    };
    (stream, recv, head)
}

/// A data stream after its head. Dropping it stops what is unread with CANCELLED and tells the session that it ended.
pub(crate) struct InboundStream<R> {
    stream: StreamKey,
    peer: PeerHandle,
    /// Bytes that came with the head.
    rest: Bytes,
    recv: R,
    stopped: oneshot::Receiver<StreamCode>,
}

impl<R: RecvStream> InboundStream<R> {
    pub(super) fn new(stream: StreamKey, rest: Bytes, recv: R, peer: PeerHandle) -> Self {
        let (stop, stopped) = oneshot::channel();
        peer.lock().reading.insert(stream, stop);
        Self {
            stream,
            peer,
            rest,
            recv,
            stopped,
        }
    }
}

impl<R: RecvStream> RecvStream for InboundStream<R> {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, StreamError>> {
        if let Poll::Ready(Ok(code)) = Pin::new(&mut self.stopped).poll(cx) {
            self.recv.stop(stream_code(code));
            self.stopped.close();
            return Poll::Ready(Err(StreamError::Closed));
        }
        if !self.rest.is_empty() {
            let len = self.rest.len().min(max);
            return Poll::Ready(Ok(Some(self.rest.split_to(len))));
        }
        self.recv.poll_read(cx, max)
    }

    fn stop(&mut self, code: u32) {
        self.recv.stop(code);
    }
}

impl<R> Drop for InboundStream<R> {
    fn drop(&mut self) {
        self.peer.lock().reading.remove(&self.stream);
        self.peer
            .call(|session, _| session.inbound_stream_ended(self.stream, now()));
    }
}

/// Stream codes are 32 bits wide on every transport (draft-14 §10.4.3).
pub(crate) fn stream_code(code: StreamCode) -> u32 {
    u32::try_from(code.0).unwrap_or(u32::MAX)
}
