//! Drives one session over one connection: control stream, heads of data streams, datagrams, deadlines.
//!
//! Everything that the session says is handled before the next stream head is resolved, so an object never overtakes
//! the answer that made it welcome.

use std::{collections::BTreeMap, collections::VecDeque, future::poll_fn, time::Instant};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::{
    PeerLimits,
    handle::{PeerHandle, now},
    inbound::{InboundStream, StreamHead, read_head},
};
use crate::{
    model::{
        ObjectDatagram, SessionCode, StreamCode, StreamHeader, SubgroupHeader,
        draft14::decode_datagram,
    },
    session::{Event, Output, RequestHandle, StreamKey, StreamVerdict},
    transport::{CloseReason, Connection, ConnectionError, RecvStream as _, SendStream as _, StreamError},
};

/// What the owner of a session does with what arrives. Called in order from the driver's task; must not block.
pub(crate) trait Handler<C: Connection>: Send {
    /// The session says something.
    fn event(&mut self, event: Event);
    /// A stream of a subscription begins.
    fn subgroup(&mut self, handle: RequestHandle, header: SubgroupHeader, stream: InboundStream<C::Recv>);
    /// A datagram of a subscription.
    fn datagram(&mut self, handle: RequestHandle, datagram: ObjectDatagram);
}

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Opens the control stream.
    Client,
    /// Waits for the control stream.
    Server,
}

/// Runs the session to its end and tells why it ended. The connection is closed when this returns.
pub(crate) async fn drive<C: Connection, H: Handler<C>>(
    connection: C,
    peer: PeerHandle,
    side: Side,
    limits: PeerLimits,
    handler: &mut H,
) -> CloseReason {
    let streams = match side {
        Side::Client => connection.open_bi().await,
        Side::Server => accept_control(&connection, &peer).await,
    };
    let Ok((send, recv)) = streams else {
        return connection.closed().await;
    };
    let mut driver = Driver {
        connection,
        peer,
        limits,
        handler,
        send,
        recv,
        unsent: VecDeque::new(),
        parked: BTreeMap::new(),
        next_stream: 0,
    };
    // draft-14 §7.2: the control stream goes before all objects.
    driver.send.set_priority(i32::MAX);
    driver.run().await
}

/// Waits for the client's control stream as long as the session's setup deadline allows.
async fn accept_control<C: Connection>(
    connection: &C,
    peer: &PeerHandle,
) -> Result<(C::Send, C::Recv), ConnectionError> {
    loop {
        let deadline = peer.lock().deadline();
        tokio::select! {
            streams = connection.accept_bi() => return streams,
            () = sleep_until(deadline) => {
                let mut session = peer.lock();
                session.timeout(now());
                while let Some(output) = session.poll_output() {
                    if let Output::Close { code, reason } = output {
                        connection.close(close_code(code), &reason);
                    }
                }
            }
        }
    }
}

struct Driver<'h, C: Connection, H> {
    connection: C,
    peer: PeerHandle,
    limits: PeerLimits,
    handler: &'h mut H,
    send: C::Send,
    recv: C::Recv,
    unsent: VecDeque<Bytes>,
    parked: BTreeMap<StreamKey, (SubgroupHeader, InboundStream<C::Recv>)>,
    next_stream: u64,
}

impl<C: Connection, H: Handler<C>> Driver<'_, C, H> {
    async fn run(&mut self) -> CloseReason {
        let connection = self.connection.clone();
        let mut heads = FuturesUnordered::new();
        loop {
            self.handle_outputs();
            let deadline = self.peer.lock().deadline();
            let room_for_heads = heads.len() < self.limits.max_pending_heads;
            tokio::select! {
                biased;
                reason = connection.closed() => return reason,
                read = poll_fn(|cx| self.recv.poll_read(cx, self.limits.control_read)) => {
                    self.control_read(read);
                }
                written = poll_fn(|cx| self.send.poll_write(cx, self.unsent.make_contiguous())),
                    if !self.unsent.is_empty() => self.control_written(written),
                () = self.peer.called() => {}
                () = sleep_until(deadline) => self.peer.lock().timeout(now()),
                Some(head) = heads.next() => self.head_read(head),
                stream = connection.accept_uni(), if room_for_heads => {
                    if let Ok(stream) = stream {
                        heads.push(read_head(stream, self.limits.head_timeout));
                    }
                }
                bidi = connection.accept_bi() => {
                    // draft-14 §3.3: a second bidirectional stream is a violation.
                    if bidi.is_ok() {
                        self.peer.lock().unexpected_stream();
                    }
                }
                datagram = connection.read_datagram() => {
                    if let Ok(datagram) = datagram {
                        self.datagram(datagram);
                    }
                }
            }
        }
    }

    fn control_read(&mut self, read: Result<Option<Bytes>, StreamError>) {
        match read {
            Ok(Some(bytes)) => self.peer.lock().control_bytes(&bytes, now()),
            Ok(None) | Err(StreamError::Reset(_) | StreamError::Stopped(_) | StreamError::Closed) => {
                self.peer.lock().control_ended(now());
            }
            Err(StreamError::Connection(_)) => {}
        }
    }

    fn control_written(&mut self, written: Result<usize, StreamError>) {
        match written {
            Ok(count) => {
                self.unsent.retain(|chunk| !chunk.is_empty());
                self.peer.lock().control_written(count);
            }
            Err(StreamError::Connection(_)) => self.unsent.clear(),
            Err(_) => {
                self.unsent.clear();
                self.peer.lock().control_ended(now());
            }
        }
    }

    fn head_read(&mut self, head: StreamHead<C::Recv>) {
        let (header, rest, mut recv) = match head {
            StreamHead::Read { header, rest, recv } => (header, rest, recv),
            StreamHead::Malformed(error) => return self.peer.lock().data_error(&error),
            StreamHead::Ended => return,
        };
        let key = StreamKey(self.next_stream);
        self.next_stream += 1;
        let verdict = self.peer.lock().stream_header(key, &header, now());
        let StreamHeader::Subgroup(header) = header else {
            recv.stop(stream_code(StreamCode::CANCELLED));
            return;
        };
        let stream = InboundStream::new(key, rest, recv, self.peer.clone());
        match verdict {
            StreamVerdict::Deliver(handle) => {
                // What came of the head first: it may have been the last stream of its subscription.
                self.handler.subgroup(handle, header, stream);
            }
            StreamVerdict::Park => {
                self.parked.insert(key, (header, stream));
            }
            StreamVerdict::Refuse(code) => stream.refuse(code),
        }
    }

    fn datagram(&mut self, bytes: Bytes) {
        let datagram = match decode_datagram(bytes) {
            Ok(datagram) => datagram,
            Err(error) => return self.peer.lock().data_error(&error),
        };
        let handle = self.peer.lock().datagram_alias(datagram.track_alias);
        if let Some(handle) = handle {
            self.handler.datagram(handle, datagram);
        }
    }

    fn handle_outputs(&mut self) {
        loop {
            let output = self.peer.lock().poll_output();
            match output {
                None => return,
                Some(Output::Control(bytes)) => self.unsent.push_back(bytes),
                Some(Output::Event(event)) => self.handler.event(event),
                Some(Output::ResumeStream { stream, handle }) => {
                    if let Some((header, stream)) = self.parked.remove(&stream) {
                        self.handler.subgroup(handle, header, stream);
                    }
                }
                Some(Output::RefuseStream { stream, code }) => {
                    if let Some((_, stream)) = self.parked.remove(&stream) {
                        stream.refuse(code);
                    }
                }
                Some(Output::Close { code, reason }) => {
                    tracing::info!(%code, reason, "closing the session");
                    self.connection.close(close_code(code), &reason);
                }
            }
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Session codes are 32 bits wide on every transport (draft-14 §3.4).
pub(crate) fn close_code(code: SessionCode) -> u32 {
    u32::try_from(code.0).unwrap_or(u32::MAX)
}

/// Stream codes that this side sends are small; a peer's larger one passed on is cut to the transport's width.
pub(crate) fn stream_code(code: StreamCode) -> u32 {
    u32::try_from(code.0).unwrap_or(u32::MAX)
}
