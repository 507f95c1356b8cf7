//! The in-memory twin of a QUIC connection: same semantics, no network, no time, no randomness.
//!
//! It differs from QUIC where that makes tests stricter or repeatable:
//! * what was written is acknowledged when the peer has *read* it, so a FIN can stay unacknowledged as long as a
//!   test wants, and closing loses everything unread;
//! * a waiting stream of higher priority is accepted before others, whatever the order of opening;
//! * datagrams are lost only when the peer leaves more than the limit unread;
//! * each stream has a window, and all of them together have none.

mod link;
mod stream;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::{Future, poll_fn},
    net::SocketAddr,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{
    CloseReason, Connection, ConnectionError, ConnectionStats, DatagramError, TransportKind,
    TransportLimits, codes::NO_ERROR, limits::MAX_MEMORY_DATAGRAM,
};
use link::{End, Link, Shape, Side, State};
pub use stream::{MemoryRecv, MemorySend};

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
        let Some((_, id)) = state.end(side).ready_uni.pop_first() else {
            state.check_open(side)?;
            link.end(side).accept_uni.register(cx.waker());
            return Poll::Pending;
        };
        Poll::Ready(Ok(self.receiver(id)))
    }

    fn poll_read_datagram(&self, cx: &mut Context<'_>) -> Poll<Result<Bytes, ConnectionError>> {
        let (link, side) = (self.link(), self.side());
        let mut state = link.lock();
        let end = state.end(side);
        let Some(payload) = end.datagrams.pop_front() else {
            state.check_open(side)?;
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

    fn request_authority(&self) -> Option<&str> {
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
        if payload.len() > MAX_MEMORY_DATAGRAM {
            return Err(DatagramError::TooLarge {
                size: payload.len(),
                max: MAX_MEMORY_DATAGRAM,
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

    /// None ever waits here.
    fn poll_datagrams(&self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn max_datagram_size(&self) -> Option<usize> {
        Some(MAX_MEMORY_DATAGRAM)
    }

    fn read_datagram(&self) -> impl Future<Output = Result<Bytes, ConnectionError>> + Send {
        poll_fn(|cx| self.poll_read_datagram(cx))
    }

    fn set_max_incoming_uni(&self, count: u32) {
        let (link, side) = (self.link(), self.side());
        link.lock().end(side).max_uni = count.min(link.limits.max_incoming_uni);
        link.end(1 - side).open_uni.wake_all();
    }

    fn set_receive_window(&self, _bytes: u32) {}

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
        self.close(NO_ERROR, "");
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::transport::{RecvStream, SendStream};

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
