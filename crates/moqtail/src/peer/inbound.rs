//! Data streams of the peer: reading their head, and telling the session of their end.

use std::{
    future::{Future as _, poll_fn},
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    PeerLimits,
    handle::{PeerHandle, now},
};
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
    /// The session waited for the rest of it no longer.
    GivenUp(StreamCode),
    /// The stream was reset before its head was complete, which may happen at any time (draft-14 §10.4.3), or finished
    /// without a byte.
    Ended,
}

/// A stream, and its head or what is known of that.
pub(super) type Head<R> = (StreamKey, R, ControlFlow<StreamHead, StreamHeaderDecoder>);

/// Reads what comes first on a stream, which may be all of its head.
pub(super) async fn begin_head<R: RecvStream>(stream: StreamKey, mut recv: R) -> Head<R> {
    let mut decoder = StreamHeaderDecoder::new();
    let head = match read_some(&mut recv, &mut decoder).await {
        Some(head) => ControlFlow::Break(head),
        None => ControlFlow::Continue(decoder),
    };
    (stream, recv, head)
}

/// Reads the rest of a head, as long as the session waits for it.
pub(super) async fn finish_head<R: RecvStream>(
    stream: StreamKey,
    mut recv: R,
    mut decoder: StreamHeaderDecoder,
    given_up: oneshot::Receiver<StreamCode>,
) -> Head<R> {
    let rest = async {
        loop {
            if let Some(head) = read_some(&mut recv, &mut decoder).await {
                break head;
            }
        }
    };
    let head = tokio::select! {
        biased;
        head = rest => head,
        Ok(code) = given_up => StreamHead::GivenUp(code),
    };
    (stream, recv, ControlFlow::Break(head))
}

/// Reads on in a head; `None`: it is not complete.
async fn read_some<R: RecvStream>(
    recv: &mut R,
    decoder: &mut StreamHeaderDecoder,
) -> Option<StreamHead> {
    match poll_fn(|cx| recv.poll_read(cx, HEAD_READ)).await {
        Ok(Some(mut rest)) => match decoder.decode(&mut rest) {
            Ok(Some(header)) => Some(StreamHead::Read { header, rest }),
            Ok(None) => None,
            Err(error) => Some(StreamHead::Malformed(error)),
        },
        // draft-14 §10.4: a FIN inside a header leaves bytes that are no stream; before the first byte it is a
        // sender that had nothing to say.
        Ok(None) => Some(match decoder.finish() {
            Ok(()) => StreamHead::Ended,
            Err(error) => StreamHead::Malformed(error),
        }),
        Err(_) => Some(StreamHead::Ended),
    }
}

/// A data stream after its head. Dropping it stops what is unread with CANCELLED and tells the session that it ended.
pub(crate) struct InboundStream<R> {
    stream: StreamKey,
    peer: PeerHandle,
    /// Bytes that came with the head.
    rest: Bytes,
    recv: R,
    stop: Stop,
    max_after_stop: usize,
}

/// Whether the session wants no more of a stream.
enum Stop {
    /// It does, unless it says so here.
    Waiting(oneshot::Receiver<StreamCode>),
    /// It does not. What was received may still be read, so many bytes at most, and then the peer is told.
    Told { code: StreamCode, left: usize },
    /// The peer was told.
    Done,
}

impl<R: RecvStream> InboundStream<R> {
    pub(super) fn new(
        stream: StreamKey,
        rest: Bytes,
        recv: R,
        peer: PeerHandle,
        limits: &PeerLimits,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        peer.lock().reading.insert(stream, stop);
        Self {
            stream,
            peer,
            rest,
            recv,
            stop: Stop::Waiting(stopped),
            max_after_stop: limits.max_after_stop,
        }
    }

    /// How much may be read at most, of `max` bytes.
    fn allowed(&mut self, cx: &mut Context<'_>, max: usize) -> usize {
        if let Stop::Waiting(stopped) = &mut self.stop
            && let Poll::Ready(told) = Pin::new(stopped).poll(cx)
        {
            let left = self.max_after_stop;
            self.stop = told.map_or(Stop::Done, |code| Stop::Told { code, left });
        }
        match self.stop {
            Stop::Waiting(_) => max,
            Stop::Told { left, .. } => max.min(left),
            Stop::Done => 0,
        }
    }

    /// What was received, as far as it may be read.
    fn poll_received(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, StreamError>> {
        if !self.rest.is_empty() {
            let len = self.rest.len().min(max);
            return Poll::Ready(Ok(Some(self.rest.split_to(len))));
        }
        self.recv.poll_read(cx, max)
    }
}

impl<R: RecvStream> RecvStream for InboundStream<R> {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, StreamError>> {
        let max = self.allowed(cx, max);
        let received = match max {
            0 => Poll::Pending,
            max => self.poll_received(cx, max),
        };
        match (&mut self.stop, &received) {
            (Stop::Waiting(_), _) => received,
            (Stop::Told { left, .. }, Poll::Ready(read)) => {
                let taken = read.iter().flatten().map(Bytes::len).sum::<usize>();
                *left = left.saturating_sub(taken);
                received
            }
            (Stop::Told { code, .. }, Poll::Pending) => {
                self.recv.stop(stream_code(*code));
                self.stop = Stop::Done;
                Poll::Ready(Err(StreamError::Closed))
            }
            (Stop::Done, _) => Poll::Ready(Err(StreamError::Closed)),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Carrier, Role, Session, SessionConfig};

    /// A stream whose sender is never silent, and what it was stopped with.
    struct Endless(std::sync::Arc<std::sync::Mutex<Vec<u32>>>);

    impl RecvStream for Endless {
        fn poll_read(
            &mut self,
            _cx: &mut Context<'_>,
            max: usize,
        ) -> Poll<Result<Option<Bytes>, StreamError>> {
            Poll::Ready(Ok(Some(vec![0; max].into())))
        }

        fn stop(&mut self, code: u32) {
            self.0.lock().unwrap().push(code);
        }
    }

    #[test]
    fn so_much_is_read_of_a_stream_that_is_not_wanted_any_more() {
        let config = SessionConfig::new(Role::Server, Carrier::Raw);
        let peer = PeerHandle::new(Session::new(config, now()).unwrap());
        let (key, codes) = (StreamKey(1), std::sync::Arc::default());
        let limits = PeerLimits {
            max_after_stop: 250_000,
            ..PeerLimits::default()
        };
        let recv = Endless(std::sync::Arc::clone(&codes));
        let mut stream = InboundStream::new(key, "rest".into(), recv, peer.clone(), &limits);
        let mut read = |max| {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            match stream.poll_read(&mut cx, max) {
                Poll::Ready(read) => read,
                Poll::Pending => panic!("nothing to read"),
            }
        };
        assert_eq!(read(2), Ok(Some("re".into())));
        let stop = peer.lock().reading.remove(&key).unwrap();
        stop.send(StreamCode::CANCELLED).unwrap();
        let mut left = 0;
        while let Ok(piece) = read(100_000) {
            assert!(codes.lock().unwrap().is_empty());
            left += piece.unwrap().len();
        }
        assert_eq!(left, limits.max_after_stop);
        assert_eq!(read(1), Err(StreamError::Closed));
        assert_eq!(*codes.lock().unwrap(), [1]);
    }
}
