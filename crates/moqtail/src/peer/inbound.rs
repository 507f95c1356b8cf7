//! Data streams of the peer: reading their head, and telling the session of their end.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;

use super::{driver::stream_code, handle::{PeerHandle, now}};
use crate::{
    model::{DecodeError, StreamCode, StreamHeader, draft14::StreamHeaderDecoder},
    session::StreamKey,
    transport::RecvStream,
};

/// Most bytes read at once while a head is not complete; what is read beyond it goes to the stream's reader.
const HEAD_READ: usize = 16 * 1024;

/// How reading a head went.
pub(super) enum StreamHead<R> {
    /// The head, and bytes that came with it.
    Read { header: StreamHeader, rest: Bytes, recv: R },
    /// Not a head of draft 14.
    Malformed(DecodeError),
    /// The stream ended before its head was complete, which a reset may cause at any time (draft-14 §10.4.3).
    Ended,
}

/// Reads the head of a stream; one that does not come in time is stopped.
pub(super) async fn read_head<R: RecvStream>(mut recv: R, patience: Duration) -> StreamHead<R> {
    let mut decoder = StreamHeaderDecoder::new();
    let reading = async {
        loop {
            match poll_fn(|cx| recv.poll_read(cx, HEAD_READ)).await {
                Ok(Some(mut rest)) => match decoder.decode(&mut rest) {
                    Ok(Some(header)) => return Ok(Some((header, rest))),
                    Ok(None) => {}
                    Err(error) => return Err(error),
                },
                Ok(None) | Err(_) => return Ok(None),
            }
        }
    };
    match tokio::time::timeout(patience, reading).await {
        Ok(Ok(Some((header, rest)))) => StreamHead::Read { header, rest, recv },
        Ok(Err(error)) => StreamHead::Malformed(error),
        Ok(Ok(None)) | Err(_) => StreamHead::Ended,
    }
}

/// A data stream whose head is resolved. Dropping it stops the stream with CANCELLED and tells the session.
pub(crate) struct InboundStream<R: RecvStream> {
    /// Bytes that came with the head.
    pub(crate) rest: Bytes,
    /// The rest of the stream.
    pub(crate) recv: R,
    _open: OpenStream,
}

impl<R: RecvStream> InboundStream<R> {
    pub(super) fn new(key: StreamKey, rest: Bytes, recv: R, peer: PeerHandle) -> Self {
        Self { rest, recv, _open: OpenStream { key, peer } }
    }

    /// Stops the stream with `code`.
    pub(super) fn refuse(mut self, code: StreamCode) {
        self.recv.stop(stream_code(code));
    }
}

/// The session counts a stream until this is dropped.
struct OpenStream {
    key: StreamKey,
    peer: PeerHandle,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.peer.call(|session, _| session.inbound_stream_ended(self.key, now()));
    }
}
