//! Drives one session over one connection: control stream, heads of data streams, datagrams, deadlines.
//!
//! Everything that the session says is handled before the next stream head is resolved, so an object never overtakes
//! the answer that made it welcome.

use std::{
    collections::{BTreeMap, VecDeque},
    future::{poll_fn, ready},
    ops::ControlFlow,
    pin::pin,
    task::Poll,
    time::Instant,
};

use bytes::Bytes;
use futures_util::{
    future::Either,
    stream::{FuturesUnordered, StreamExt as _},
};
use tokio::sync::oneshot;

use super::{
    PeerLimits,
    handle::{PeerHandle, now},
    inbound::{InboundStream, StreamHead, begin_head, finish_head, stream_code},
};
use crate::{
    model::{
        ObjectDatagram, SessionCode, StreamCode, StreamHeader, SubgroupHeader, decode_datagram,
    },
    session::{Event, Output, RequestHandle, StreamKey, StreamVerdict},
    transport::{
        CloseReason, Connection, ConnectionError, RecvStream as _, SendStream as _, StreamError,
    },
};

/// What the owner of a session does with what arrives. Called in order from the driver's task; must not block.
pub(crate) trait Handler<C: Connection>: Send {
    /// The session says something.
    fn event(&mut self, event: Event);
    /// The SUBSCRIBE_OK of this subscription is written: its objects may follow.
    fn start(&mut self, handle: RequestHandle);
    /// A stream of a subscription begins.
    fn subgroup(
        &mut self,
        handle: RequestHandle,
        header: SubgroupHeader,
        stream: InboundStream<C::Recv>,
    );
    /// A datagram of a subscription.
    fn datagram(&mut self, handle: RequestHandle, datagram: ObjectDatagram);
    /// The session ends for a deviation of the peer that could be tolerated; the line tells how.
    fn intolerable(&mut self, line: &str) {
        tracing::warn!("{line}");
    }
    /// The connection is over. What was received before that still comes, and nothing is sent any more.
    fn ending(&mut self) {}
    /// The peer is going to publish: how many received bytes its streams may hold unread, `most` at most. Asked once.
    fn receive_window(&mut self, most: u32) -> u32 {
        most
    }
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
    let streams = control_stream(&connection, &peer, side).await;
    let Ok((mut send, recv)) = streams else {
        return connection.closed().await;
    };
    // draft-14 §7.2: the control stream goes before all objects.
    send.set_priority(i32::MAX);
    let driver = Driver {
        connection,
        peer,
        limits,
        handler,
        send,
        recv,
        unsent: VecDeque::new(),
        starting: Vec::new(),
        begun: BTreeMap::new(),
        parked: BTreeMap::new(),
        next_stream: 0,
        publishes: false,
        open: Open {
            reading: true,
            writing: true,
            streams: true,
            datagrams: true,
        },
        over: false,
    };
    driver.run().await
}

/// Gets the control stream, as long as the session's setup deadline and the session's owner allow.
async fn control_stream<C: Connection>(
    connection: &C,
    peer: &PeerHandle,
    side: Side,
) -> Result<(C::Send, C::Recv), ConnectionError> {
    let mut streams = pin!(async {
        match side {
            Side::Client => connection.open_bi().await,
            Side::Server => connection.accept_bi().await,
        }
    });
    loop {
        let deadline = {
            let session = &mut peer.lock().session;
            if session.is_closed() {
                // A client's SETUP stands before it, and has no stream to go on.
                while let Some(output) = session.poll_output() {
                    if let Output::Close(close) = output {
                        connection.close(close_code(close.code), &close.reason);
                    }
                }
            }
            session.deadline()
        };
        tokio::select! {
            streams = &mut streams => return streams,
            // Nobody can mean anything by them yet, and each may keep alive all that it was received with.
            Ok(_) = connection.read_datagram() => tokio::task::consume_budget().await,
            () = peer.called() => {}
            () = sleep_until(deadline) => peer.lock().session.timeout(now()),
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
    /// Control bytes for the transport; the session bounds them by `max_control_backlog`.
    unsent: VecDeque<Bytes>,
    starting: Vec<RequestHandle>,
    /// Streams whose head has begun and is not complete, with the way to give it up; bounded by `max_pending_heads`.
    begun: BTreeMap<StreamKey, oneshot::Sender<StreamCode>>,
    parked: BTreeMap<StreamKey, Parked<C::Recv>>,
    next_stream: u64,
    /// The peer has the stream credit of a publisher.
    publishes: bool,
    /// What the connection may still bring.
    open: Open,
    /// This side has closed the connection: nothing is read or written any more.
    over: bool,
}

/// Which parts of a connection did not end with it yet.
struct Open {
    reading: bool,
    writing: bool,
    streams: bool,
    datagrams: bool,
}

struct Parked<R> {
    header: SubgroupHeader,
    rest: Bytes,
    recv: R,
}

impl<C: Connection, H: Handler<C>> Driver<'_, C, H> {
    async fn run(mut self) -> CloseReason {
        let connection = self.connection.clone();
        let mut heads = FuturesUnordered::new();
        // Why the connection is over: what was received before that is still taken.
        let mut ended = None;
        loop {
            self.handle_outputs().await;
            if self.over {
                return connection.closed().await;
            }
            match ended {
                // What a peer sends without end must neither hold off a deadline nor the other tasks of this thread.
                None => tokio::task::consume_budget().await,
                // All that is there has to be ready below, whatever was taken before.
                Some(_) => tokio::task::yield_now().await,
            }
            let deadline = self.peer.lock().session.deadline();
            if deadline.is_some_and(|deadline| deadline <= now()) {
                self.peer.lock().session.timeout(now());
                continue;
            }
            let room_for_heads = self.begun.len() < self.limits.max_pending_heads;
            tokio::select! {
                biased;
                reason = connection.closed(), if ended.is_none() => match reason {
                    CloseReason::Local { .. } => return reason,
                    _ => {
                        self.open.writing = false;
                        self.drop_unsent();
                        self.handler.ending();
                        ended = Some(reason);
                    }
                },
                read = poll_fn(|cx| self.recv.poll_read(cx, self.limits.control_read)), if self.open.reading => {
                    match read {
                        // Its end came with that of the connection.
                        Ok(None) | Err(_) if ended.is_some() => self.open.reading = false,
                        read => self.control_read(read),
                    }
                    // Handling it may have taken long.
                    self.handle_outputs().await;
                    tokio::task::yield_now().await;
                }
                written = poll_fn(|cx| match self.unsent.is_empty() {
                    false => self.send.poll_write(cx, self.unsent.make_contiguous()),
                    // It is never finished, so that is the peer's doing.
                    true => self.send.poll_closed(cx).map(|end| end.and(Err(StreamError::Closed))),
                }), if self.open.writing => self.control_written(written),
                () = self.peer.called() => {}
                () = sleep_until(deadline) => self.peer.lock().session.timeout(now()),
                Some((stream, recv, head)) = heads.next() => match head {
                    ControlFlow::Continue(decoder) => {
                        let given_up = self.head_begun(stream);
                        let rest = finish_head(stream, recv, decoder, given_up);
                        heads.push(Either::Right(rest));
                    }
                    ControlFlow::Break(head) => self.head_read(stream, recv, head),
                },
                stream = connection.accept_uni(), if room_for_heads && self.open.streams => match stream {
                    Ok(recv) => {
                        if let Some((stream, recv)) = self.stream_opened(recv) {
                            heads.push(Either::Left(begin_head(stream, recv)));
                        }
                    }
                    Err(_) => self.open.streams = false,
                },
                datagram = connection.read_datagram(), if self.open.datagrams => match datagram {
                    Ok(datagram) => self.datagram(datagram),
                    Err(_) => self.open.datagrams = false,
                },
                bidi = connection.accept_bi(), if self.open.writing => match bidi {
                    // draft-14 §3.3: a second bidirectional stream is a violation.
                    Ok(_) => self.peer.lock().session.unexpected_stream(),
                    Err(_) => self.open.writing = false,
                },
                Some(reason) = ready(ended.clone()) => return reason,
            }
        }
    }

    fn control_read(&mut self, read: Result<Option<Bytes>, StreamError>) {
        match read {
            Ok(Some(bytes)) => self.peer.lock().session.control_bytes(&bytes, now()),
            Ok(None)
            | Err(StreamError::Reset(_) | StreamError::Stopped(_) | StreamError::Closed) => {
                self.peer.lock().session.control_ended();
            }
            Err(StreamError::Connection(_)) => self.open.reading = false,
        }
    }

    fn control_written(&mut self, written: Result<usize, StreamError>) {
        match written {
            Ok(count) => {
                while self.unsent.pop_front_if(|chunk| chunk.is_empty()).is_some() {}
                self.peer.lock().session.control_written(count);
            }
            Err(StreamError::Connection(_)) => {
                self.open.writing = false;
                self.drop_unsent();
            }
            Err(_) => {
                self.unsent.clear();
                self.peer.lock().session.control_ended();
            }
        }
    }

    /// Nobody will read it, so it is no backlog either.
    fn drop_unsent(&mut self) {
        let left = self.unsent.drain(..).map(|chunk| chunk.len()).sum();
        self.peer.lock().session.control_written(left);
    }

    fn stream_opened(&mut self, mut recv: C::Recv) -> Option<(StreamKey, C::Recv)> {
        let stream = StreamKey(self.next_stream);
        self.next_stream += 1;
        if self
            .peer
            .lock()
            .session
            .inbound_stream_opened(stream, now())
        {
            return Some((stream, recv));
        }
        recv.stop(stream_code(StreamCode::CANCELLED));
        None
    }

    /// From now on the session times the head. What is returned tells that it waits no longer.
    fn head_begun(&mut self, stream: StreamKey) -> oneshot::Receiver<StreamCode> {
        let (give_up, given_up) = oneshot::channel();
        self.begun.insert(stream, give_up);
        self.peer.lock().session.inbound_stream_begun(stream, now());
        given_up
    }

    fn head_read(&mut self, stream: StreamKey, mut recv: C::Recv, head: StreamHead) {
        self.begun.remove(&stream);
        let (header, rest) = match head {
            StreamHead::Read { header, rest } => (header, rest),
            StreamHead::GivenUp(code) => return recv.stop(stream_code(code)),
            StreamHead::Malformed(error) => return self.peer.lock().session.data_error(&error),
            StreamHead::Ended => {
                return self.peer.lock().session.inbound_stream_ended(stream, now());
            }
        };
        let verdict = self
            .peer
            .lock()
            .session
            .stream_header(stream, &header, now());
        match (verdict, header) {
            (StreamVerdict::Deliver(handle), StreamHeader::Subgroup(header)) => {
                let stream = self.inbound(stream, rest, recv);
                self.handler.subgroup(handle, header, stream);
            }
            (StreamVerdict::Park, StreamHeader::Subgroup(header)) => {
                self.parked.insert(stream, Parked { header, rest, recv });
            }
            (StreamVerdict::Refuse(code), _) => recv.stop(stream_code(code)),
            (StreamVerdict::Deliver(_) | StreamVerdict::Park, StreamHeader::Fetch(_)) => {
                recv.stop(stream_code(StreamCode::CANCELLED));
                self.peer.lock().session.inbound_stream_ended(stream, now());
            }
        }
    }

    fn inbound(&self, stream: StreamKey, rest: Bytes, recv: C::Recv) -> InboundStream<C::Recv> {
        InboundStream::new(stream, rest, recv, self.peer.clone(), &self.limits)
    }

    fn datagram(&mut self, bytes: Bytes) {
        let datagram = match decode_datagram(bytes) {
            Ok(datagram) => datagram,
            Err(error) => return self.peer.lock().session.data_error(&error),
        };
        let handle = self
            .peer
            .lock()
            .session
            .datagram_alias(datagram.track_alias);
        if let Some(handle) = handle {
            self.handler.datagram(handle, datagram);
        }
    }

    /// Does what the session says, hands its control bytes to the transport, and starts what waited for them.
    async fn handle_outputs(&mut self) {
        while !self.handle_some_outputs() {
            self.write_some().await;
            // One message can be work for all that a subscription has waiting, and very many come at once.
            tokio::task::yield_now().await;
        }
        self.write_some().await;
        if self.unsent.is_empty() {
            for handle in std::mem::take(&mut self.starting) {
                self.handler.start(handle);
            }
        }
    }

    /// A turn of what the session says. True: that was all.
    fn handle_some_outputs(&mut self) -> bool {
        for _ in 0..self.limits.turn_outputs.max(1) {
            let mut state = self.peer.lock();
            let Some(output) = state.session.poll_output() else {
                self.starting.append(&mut state.starting);
                if !self.publishes && state.session.has_subscribed() {
                    self.publishes = true;
                    let window = self.handler.receive_window(self.limits.publisher_window);
                    self.connection.set_receive_window(window);
                    self.connection
                        .set_max_incoming_uni(self.limits.publisher_streams);
                }
                return true;
            };
            drop(state);
            self.handle_output(output);
        }
        false
    }

    /// Writes as many control bytes as the transport takes at once.
    async fn write_some(&mut self) {
        if self.unsent.is_empty() {
            return;
        }
        let written = poll_fn(|cx| {
            Poll::Ready(
                match self.send.poll_write(cx, self.unsent.make_contiguous()) {
                    Poll::Ready(written) => Some(written),
                    Poll::Pending => None,
                },
            )
        });
        if let Some(written) = written.await {
            self.control_written(written);
        }
    }

    fn handle_output(&mut self, output: Output) {
        match output {
            Output::Control(bytes) if self.open.writing => self.unsent.push_back(bytes),
            Output::Control(bytes) => self.peer.lock().session.control_written(bytes.len()),
            Output::Event(event) => self.handler.event(event),
            Output::ResumeStream { stream, handle } => {
                if let Some(Parked { header, rest, recv }) = self.parked.remove(&stream) {
                    let stream = self.inbound(stream, rest, recv);
                    self.handler.subgroup(handle, header, stream);
                }
            }
            Output::StopStream { stream, code } => {
                if let Some(mut parked) = self.parked.remove(&stream) {
                    parked.recv.stop(stream_code(code));
                } else if let Some(give_up) = self.begun.remove(&stream) {
                    // Its head may be complete at the same time.
                    let _ = give_up.send(code);
                } else if let Some(stop) = self.peer.lock().reading.remove(&stream) {
                    // Its reader may have ended it at the same time.
                    let _ = stop.send(code);
                }
            }
            Output::Close(close) => {
                if let Some(tolerance) = close.tolerance {
                    let peer = self.connection.remote_address();
                    let peer = peer.map_or("a peer".to_owned(), |address| address.to_string());
                    self.handler.intolerable(&format!(
                        "The session with {peer} ends: {}. `--tolerate {tolerance}` lets such peers in.",
                        close.reason
                    ));
                }
                tracing::info!(code = %close.code, blame = %close.blame, reason = close.reason, "closing");
                self.connection.close(close_code(close.code), &close.reason);
                self.over = true;
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
