//! The in-memory twin of a QUIC connection: same semantics, no network, no time, no randomness.
//!
//! It differs from QUIC where that makes tests stricter or repeatable:
//! * what was written is acknowledged when the peer has *read* it, so a FIN can stay unacknowledged as long as a
//!   test wants, and closing loses everything unread;
//! * a waiting stream of higher priority is accepted before others, whatever the order of opening;
//! * datagrams are lost only when the peer leaves more than the limit unread.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::{Future, poll_fn},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::{
    CANCELLED, CloseReason, Connection, ConnectionError, ConnectionStats, DatagramError,
    RecvStream, SendStream, StreamError, TransportKind, TransportLimits, wakers::WakerSet,
};

/// Largest datagram the twin takes, in bytes: what a QUIC packet of common size leaves.
const MAX_DATAGRAM: usize = 1200;

/// One end of a pair of connections inside this process.
///
/// Clones are the same end. Unlike on a network, [`MemoryConnection::lose`] can break the connection at will.
#[derive(Clone, Debug)]
pub struct MemoryConnection(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    link: Arc<Link>,
    side: Side,
}

/// Both ends share one state under one short lock.
#[derive(Debug)]
struct Link {
    limits: TransportLimits,
    state: Mutex<State>,
    ends: [EndWakers; 2],
}

/// Index of an end: 0 and 1.
type Side = usize;

#[derive(Debug, Default)]
struct EndWakers {
    open_uni: WakerSet,
    open_bi: WakerSet,
    accept_uni: WakerSet,
    accept_bi: WakerSet,
    datagram: WakerSet,
    closed: WakerSet,
}

#[derive(Debug)]
struct State {
    ends: [End; 2],
    pipes: BTreeMap<u64, Pipe>,
    next_id: u64,
    closed: Option<[CloseReason; 2]>,
}

/// What one end holds of its peer.
#[derive(Debug)]
struct End {
    max_uni: u32,
    uni: u32,
    bi: u32,
    ready_uni: BTreeSet<(Reverse<i32>, u64)>,
    /// Receiving and sending pipe of streams the peer opened.
    ready_bi: VecDeque<(u64, u64)>,
    datagrams: VecDeque<Bytes>,
    datagram_bytes: usize,
    sent_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Open,
    Finished,
    Reset(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Uni,
    /// The half that made the stream known, with the way back.
    BiOpened {
        back: u64,
    },
    BiBack,
}

/// One direction of a stream.
#[derive(Debug)]
struct Pipe {
    from: Side,
    shape: Shape,
    announced: bool,
    /// The peer had everything when the connection closed.
    acknowledged: bool,
    priority: i32,
    chunks: VecDeque<Bytes>,
    held: usize,
    written: Written,
    stopped: Option<u32>,
    /// The reader saw the end or gave up.
    read_done: bool,
    credit_returned: bool,
    sender_gone: bool,
    receiver_gone: bool,
    write_waker: Option<Waker>,
    closed_waker: Option<Waker>,
    read_waker: Option<Waker>,
}

impl Pipe {
    fn new(from: Side, shape: Shape) -> Self {
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

    fn has_arrived(&self) -> bool {
        self.written == Written::Finished && self.held == 0
    }

    fn clear(&mut self) {
        self.chunks.clear();
        self.held = 0;
    }

    fn wake_sender(&mut self) {
        for waker in [self.write_waker.take(), self.closed_waker.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }

    fn wake_receiver(&mut self) {
        if let Some(waker) = self.read_waker.take() {
            waker.wake();
        }
    }
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, side: Side) -> &EndWakers {
        &self.ends[side & 1]
    }

    fn close(&self, reasons: [CloseReason; 2]) {
        let mut state = self.lock();
        if state.closed.is_some() {
            return;
        }
        state.closed = Some(reasons);
        for pipe in state.pipes.values_mut() {
            pipe.acknowledged = pipe.has_arrived();
            pipe.clear();
            pipe.wake_sender();
            pipe.wake_receiver();
        }
        for end in &mut state.ends {
            end.ready_uni.clear();
            end.ready_bi.clear();
            end.datagrams.clear();
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
    fn announce(&self, state: &mut State, id: u64) {
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
    fn settle(&self, state: &mut State, id: u64) {
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
    fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[side & 1]
    }

    fn check_open(&self, side: Side) -> Result<(), ConnectionError> {
        match &self.closed {
            Some(reasons) => Err(ConnectionError(reasons[side & 1].clone())),
            None => Ok(()),
        }
    }

    fn add(&mut self, from: Side, shape: Shape) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.pipes.insert(id, Pipe::new(from, shape));
        id
    }
}

impl MemoryConnection {
    /// Two connected ends. `limits` holds for both; times and socket sizes in it mean nothing here.
    pub fn pair(limits: TransportLimits) -> (Self, Self) {
        let end = || End {
            max_uni: limits.initial_incoming_uni,
            uni: 0,
            bi: 0,
            ready_uni: BTreeSet::new(),
            ready_bi: VecDeque::new(),
            datagrams: VecDeque::new(),
            datagram_bytes: 0,
            sent_bytes: 0,
        };
        let state = State {
            ends: [end(), end()],
            pipes: BTreeMap::new(),
            next_id: 0,
            closed: None,
        };
        let link = Arc::new(Link {
            state: Mutex::new(state),
            ends: Default::default(),
            limits,
        });
        let handle = |side| {
            Self(Arc::new(Handle {
                link: link.clone(),
                side,
            }))
        };
        (handle(0), handle(1))
    }

    /// Breaks the connection as a lost network would: both ends see [`CloseReason::Lost`].
    pub fn lose(&self, why: &str) {
        let lost = CloseReason::Lost(why.to_owned());
        self.0.link.close([lost.clone(), lost]);
    }

    fn link(&self) -> &Link {
        &self.0.link
    }

    fn side(&self) -> Side {
        self.0.side
    }

    fn sender(&self, id: u64) -> MemorySend {
        MemorySend {
            link: self.0.link.clone(),
            side: self.0.side,
            id,
        }
    }

    fn receiver(&self, id: u64) -> MemoryRecv {
        MemoryRecv {
            link: self.0.link.clone(),
            side: self.0.side,
            id,
        }
    }

    fn poll_open_bi(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(MemorySend, MemoryRecv), ConnectionError>> {
        let (link, side) = (self.link(), self.side());
        let mut state = link.lock();
        state.check_open(side)?;
        if state.end(1 - side).bi >= link.limits.incoming_bidi {
            link.end(side).open_bi.register(cx.waker());
            return Poll::Pending;
        }
        state.end(1 - side).bi += 1;
        let back = state.add(1 - side, Shape::BiBack);
        let id = state.add(side, Shape::BiOpened { back });
        Poll::Ready(Ok((self.sender(id), self.receiver(back))))
    }

    fn poll_accept_bi(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(MemorySend, MemoryRecv), ConnectionError>> {
        let (link, side) = (self.link(), self.side());
        let mut state = link.lock();
        state.check_open(side)?;
        let Some((id, back)) = state.end(side).ready_bi.pop_front() else {
            link.end(side).accept_bi.register(cx.waker());
            return Poll::Pending;
        };
        Poll::Ready(Ok((self.sender(back), self.receiver(id))))
    }

    fn poll_accept_uni(&self, cx: &mut Context<'_>) -> Poll<Result<MemoryRecv, ConnectionError>> {
        let (link, side) = (self.link(), self.side());
        let mut state = link.lock();
        state.check_open(side)?;
        let Some((_, id)) = state.end(side).ready_uni.pop_first() else {
            link.end(side).accept_uni.register(cx.waker());
            return Poll::Pending;
        };
        Poll::Ready(Ok(self.receiver(id)))
    }

    fn poll_read_datagram(&self, cx: &mut Context<'_>) -> Poll<Result<Bytes, ConnectionError>> {
        let (link, side) = (self.link(), self.side());
        let mut state = link.lock();
        state.check_open(side)?;
        let end = state.end(side);
        let Some(payload) = end.datagrams.pop_front() else {
            link.end(side).datagram.register(cx.waker());
            return Poll::Pending;
        };
        end.datagram_bytes -= payload.len();
        Poll::Ready(Ok(payload))
    }

    fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let (link, side) = (self.link(), self.side());
        match link.lock().check_open(side) {
            Err(ConnectionError(reason)) => Poll::Ready(reason),
            Ok(()) => {
                link.end(side).closed.register(cx.waker());
                Poll::Pending
            }
        }
    }
}

impl Connection for MemoryConnection {
    type Send = MemorySend;
    type Recv = MemoryRecv;

    fn kind(&self) -> TransportKind {
        TransportKind::Memory
    }

    fn remote_address(&self) -> Option<SocketAddr> {
        None
    }

    fn request_path(&self) -> Option<&str> {
        None
    }

    fn open_bi(
        &self,
    ) -> impl Future<Output = Result<(MemorySend, MemoryRecv), ConnectionError>> + Send {
        poll_fn(|cx| self.poll_open_bi(cx))
    }

    fn accept_bi(
        &self,
    ) -> impl Future<Output = Result<(MemorySend, MemoryRecv), ConnectionError>> + Send {
        poll_fn(|cx| self.poll_accept_bi(cx))
    }

    fn poll_open_uni(&self, cx: &mut Context<'_>) -> Poll<Result<MemorySend, ConnectionError>> {
        let (link, side) = (self.link(), self.side());
        let mut state = link.lock();
        state.check_open(side)?;
        let peer = state.end(1 - side);
        if peer.uni >= peer.max_uni {
            link.end(side).open_uni.register(cx.waker());
            return Poll::Pending;
        }
        peer.uni += 1;
        let id = state.add(side, Shape::Uni);
        Poll::Ready(Ok(self.sender(id)))
    }

    fn accept_uni(&self) -> impl Future<Output = Result<MemoryRecv, ConnectionError>> + Send {
        poll_fn(|cx| self.poll_accept_uni(cx))
    }

    fn send_datagram(&self, payload: Bytes) -> Result<(), DatagramError> {
        let (link, side) = (self.link(), self.side());
        let mut state = link.lock();
        state.check_open(side)?;
        if payload.len() > MAX_DATAGRAM {
            return Err(DatagramError::TooLarge {
                size: payload.len(),
                max: MAX_DATAGRAM,
            });
        }
        if payload.is_empty() {
            return Ok(());
        }
        state.end(side).sent_bytes += payload.len() as u64;
        let peer = state.end(1 - side);
        peer.datagram_bytes += payload.len();
        peer.datagrams.push_back(payload);
        while peer.datagram_bytes > link.limits.datagram_buffer {
            let Some(oldest) = peer.datagrams.pop_front() else {
                break;
            };
            peer.datagram_bytes -= oldest.len();
        }
        drop(state);
        link.end(1 - side).datagram.wake_all();
        Ok(())
    }

    fn max_datagram_size(&self) -> Option<usize> {
        Some(MAX_DATAGRAM)
    }

    fn read_datagram(&self) -> impl Future<Output = Result<Bytes, ConnectionError>> + Send {
        poll_fn(|cx| self.poll_read_datagram(cx))
    }

    fn set_max_incoming_uni(&self, count: u32) {
        let (link, side) = (self.link(), self.side());
        link.lock().end(side).max_uni = count.min(link.limits.max_incoming_uni);
        link.end(1 - side).open_uni.wake_all();
    }

    fn close(&self, code: u32, reason: &str) {
        self.0.close(code, reason);
    }

    fn closed(&self) -> impl Future<Output = CloseReason> + Send {
        poll_fn(|cx| self.poll_closed(cx))
    }

    fn stats(&self) -> ConnectionStats {
        let mut state = self.link().lock();
        let sent_bytes = state.end(self.side()).sent_bytes;
        let received_bytes = state.end(1 - self.side()).sent_bytes;
        ConnectionStats {
            sent_bytes,
            received_bytes,
            ..ConnectionStats::default()
        }
    }
}

impl Handle {
    fn close(&self, code: u32, reason: &str) {
        let local = CloseReason::Local {
            code,
            reason: reason.to_owned(),
        };
        let peer = CloseReason::Peer {
            code,
            reason: reason.to_owned(),
        };
        self.link.close(if self.side == 0 {
            [local, peer]
        } else {
            [peer, local]
        });
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close(0, "");
    }
}

/// Sending half of a stream of a [`MemoryConnection`].
#[derive(Debug)]
pub struct MemorySend {
    link: Arc<Link>,
    side: Side,
    id: u64,
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

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let mut state = self.link.lock();
        let open = state.check_open(self.side);
        let Some(pipe) = state.pipes.get_mut(&self.id) else {
            return Poll::Ready(Err(StreamError::Closed));
        };
        match (pipe.written, pipe.stopped) {
            (Written::Reset(_), _) => Poll::Ready(Err(StreamError::Closed)),
            (_, None) if pipe.acknowledged || open.is_ok() && pipe.has_arrived() => {
                Poll::Ready(Ok(()))
            }
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

/// Receiving half of a stream of a [`MemoryConnection`].
#[derive(Debug)]
pub struct MemoryRecv {
    link: Arc<Link>,
    side: Side,
    id: u64,
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
        open?;
        if pipe.written == Written::Finished {
            pipe.read_done = true;
            self.link.settle(&mut state, self.id);
            return Poll::Ready(Ok(None));
        }
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
        pipe.stopped = Some(code);
        pipe.read_done = true;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn poll<T>(f: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        f(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_fin_is_acknowledged_when_the_peer_has_read_up_to_it() {
        let (client, server) = MemoryConnection::pair(TransportLimits::default());
        let Poll::Ready(Ok(mut send)) = poll(|cx| client.poll_open_uni(cx)) else {
            panic!()
        };
        let mut chunks = [Bytes::from_static(b"abc")];
        assert_eq!(
            poll(|cx| send.poll_write(cx, &mut chunks)),
            Poll::Ready(Ok(3))
        );
        send.finish();
        assert!(poll(|cx| send.poll_closed(cx)).is_pending());
        let Poll::Ready(Ok(mut recv)) = poll(|cx| server.poll_accept_uni(cx)) else {
            panic!()
        };
        let read = poll(|cx| recv.poll_read(cx, 9));
        assert_eq!(read, Poll::Ready(Ok(Some(Bytes::from_static(b"abc")))));
        assert_eq!(poll(|cx| send.poll_closed(cx)), Poll::Ready(Ok(())));
        server.close(0, "");
        assert_eq!(poll(|cx| send.poll_closed(cx)), Poll::Ready(Ok(())));
    }

    #[test]
    fn nothing_of_a_stream_is_kept_when_both_ends_dropped_it() {
        let (client, server) = MemoryConnection::pair(TransportLimits::default());
        for _ in 0..200 {
            let Poll::Ready(Ok(mut send)) = poll(|cx| client.poll_open_uni(cx)) else {
                panic!()
            };
            send.finish();
            let Poll::Ready(Ok(recv)) = poll(|cx| server.poll_accept_uni(cx)) else {
                panic!()
            };
            drop((send, recv));
        }
        assert!(client.link().lock().pipes.is_empty());
    }

    #[test]
    fn datagrams_over_the_buffer_push_out_the_oldest() {
        let limits = TransportLimits {
            datagram_buffer: 10,
            ..TransportLimits::default()
        };
        let (client, server) = MemoryConnection::pair(limits);
        for payload in [b"aaaa", b"bbbb", b"cccc"] {
            client.send_datagram(Bytes::from_static(payload)).unwrap();
        }
        let first = poll(|cx| server.poll_read_datagram(cx));
        assert_eq!(first, Poll::Ready(Ok(Bytes::from_static(b"bbbb"))));
    }
}
