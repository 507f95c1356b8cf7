//! Finds out what each stream of the peer is, without waiting for any single one.

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, Bytes};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::transport::{
    prefix::{HeadReader, StreamHead},
    wakers::WakerSet,
};

/// A stream of the peer whose head was read.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) send: Option<quinn::SendStream>,
    pub(super) recv: quinn::RecvStream,
    /// `None` if the stream ended before its head was complete: normal for a sender that gave up early.
    pub(super) head: Option<StreamHead>,
    /// What came in one piece with the head.
    pub(super) first: Bytes,
}

/// Reads the head of one stream.
#[derive(Debug)]
struct ReadHead {
    streams: Option<(Option<quinn::SendStream>, quinn::RecvStream)>,
    reader: HeadReader,
}

impl Future for ReadHead {
    type Output = Arrived;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Arrived> {
        let Self { streams, reader } = &mut *self;
        let Some((_, recv)) = streams else {
            return Poll::Pending;
        };
        let (head, first) = loop {
            match ready!(pin!(recv.read_chunk(usize::MAX, true)).poll(cx)) {
                Ok(Some(mut chunk)) => {
                    let (used, head) = reader.read(&chunk.bytes);
                    chunk.bytes.advance(used);
                    if head.is_some() {
                        break (head, chunk.bytes);
                    }
                }
                Ok(None) | Err(_) => break (None, Bytes::new()),
            }
        };
        match streams.take() {
            Some((send, recv)) => Poll::Ready(Arrived {
                send,
                recv,
                head,
                first,
            }),
            None => Poll::Pending,
        }
    }
}

/// Streams whose head has not arrived yet. Their number is bounded by the stream credit the peer was given, and each
/// holds a few bytes.
pub(super) struct Inbound {
    reading: FuturesUnordered<ReadHead>,
    tasks: Arc<WakerSet>,
    waker: Waker,
    reader: HeadReader,
}

impl Inbound {
    pub(super) fn new(reader: HeadReader) -> Self {
        let tasks = Arc::new(WakerSet::default());
        let waker = Waker::from(tasks.clone());
        Self {
            reading: FuturesUnordered::new(),
            tasks,
            waker,
            reader,
        }
    }

    /// Takes in a stream; answers at once if its head is already there, as it is for most.
    pub(super) fn add(
        &mut self,
        send: Option<quinn::SendStream>,
        recv: quinn::RecvStream,
        cx: &mut Context<'_>,
    ) -> Option<Arrived> {
        let mut read = ReadHead {
            streams: Some((send, recv)),
            reader: self.reader.clone(),
        };
        match Pin::new(&mut read).poll(cx) {
            Poll::Ready(arrived) => Some(arrived),
            Poll::Pending => {
                self.reading.push(read);
                None
            }
        }
    }

    /// Lets other tasks go on reading heads, for a task that takes a stream and may not come back soon.
    pub(super) fn hand_over(&self) {
        if !self.reading.is_empty() {
            self.tasks.wake_all();
        }
    }

    /// The next stream whose head is complete. Any number of tasks may wait.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Arrived> {
        self.tasks.register(cx.waker());
        match self
            .reading
            .poll_next_unpin(&mut Context::from_waker(&self.waker))
        {
            Poll::Ready(Some(arrived)) => Poll::Ready(arrived),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound")
            .field("reading", &self.reading.len())
            .finish_non_exhaustive()
    }
}
