//! [`QuicConnection`]: one type for raw QUIC and WebTransport, on quinn.
//!
//! WebTransport data streams are opened and accepted on the QUIC connection itself, their head written together with
//! the first payload: so a priority set before the first write holds, and a stream costs the same as on raw QUIC.

mod capsules;
mod datagrams;
mod handshake;
mod inbound;
mod keeper;
mod offer;
mod request;
mod send_window;
mod shared;
mod stream;
mod web;

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Weak, atomic::Ordering},
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes, BytesMut};
use web_transport_proto::VarInt;

use super::{
    CloseReason, Connection, ConnectionError, ConnectionStats, DatagramError, TransportKind,
    TransportLimits,
    codes::NO_ERROR,
    limits::HTTP3_STREAMS,
    prefix::{BIDI_HEAD, SESSION_ID, UNI_HEAD},
};
pub(super) use handshake::HandshakeError;
use request::WebRequest;
pub(super) use shared::Owner;
use shared::Shared;
pub use stream::{QuicRecv, QuicSend};
use web::Web;

/// Quarter stream id of the session, in front of every WebTransport datagram.
const DATAGRAM_HEAD: u8 = (SESSION_ID / 4) as u8;

/// An established QUIC connection that carries MOQT, with or without WebTransport in between.
///
/// Made by [`Listener`](super::Listener) and [`Dialer`](super::Dialer). Clones are the same connection; dropping the
/// last one closes it with NO_ERROR.
///
/// # Closing
/// Data that was finished but not yet acknowledged is lost when the connection closes. Who wants it delivered waits
/// for [`SendStream::poll_closed`](super::SendStream::poll_closed) of each stream first. A close is sent in the
/// background: a program that ends right after it waits for [`QuicConnection::wait_idle`], on the listening side for
/// [`Listener::wait_idle`](super::Listener::wait_idle).
///
/// # Codes
/// A reset or stop of the peer with a code outside MOQT's range reads as INTERNAL_ERROR (0x0).
#[derive(Clone, Debug)]
pub struct QuicConnection(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close(NO_ERROR, "");
    }
}

/// Lets a listener close its connections without keeping them open.
#[derive(Debug)]
pub(super) struct WeakConnection(Weak<Shared>);

impl WeakConnection {
    pub(super) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }

    pub(super) fn close(&self, code: u32, reason: &str) {
        if let Some(shared) = self.0.upgrade() {
            shared.close(code, reason);
        }
    }
}

impl QuicConnection {
    /// Raw QUIC: the connection is the session.
    pub(super) fn raw(conn: quinn::Connection, limits: &TransportLimits, owner: Owner) -> Self {
        let shared = Shared::new(conn, None, limits, owner);
        Self(Arc::new(Handle {
            shared: Arc::new(shared),
        }))
    }

    /// WebTransport, server side.
    pub(super) async fn accept_web(
        conn: quinn::Connection,
        limits: &TransportLimits,
        allow: impl FnOnce(&str) -> bool,
        owner: Owner,
    ) -> Result<Self, HandshakeError> {
        let web = Web::new(limits.parked_streams);
        let (streams, request) = handshake::accept(&conn, &web, allow).await?;
        Ok(Self::established(
            conn, web, streams, request, limits, owner,
        ))
    }

    /// WebTransport, client side.
    pub(super) async fn connect_web(
        conn: quinn::Connection,
        limits: &TransportLimits,
        url: url::Url,
        owner: Owner,
    ) -> Result<Self, HandshakeError> {
        let request = WebRequest::of(&url);
        let web = Web::new(limits.parked_streams);
        let streams = handshake::connect(&conn, &web, url).await?;
        Ok(Self::established(
            conn, web, streams, request, limits, owner,
        ))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "ends with the connection, which it also closes"
    )]
    fn established(
        conn: quinn::Connection,
        web: Web,
        streams: handshake::SessionStreams,
        request: WebRequest,
        limits: &TransportLimits,
        owner: Owner,
    ) -> Self {
        let web = Some((web, request));
        let shared = Arc::new(Shared::new(conn, web, limits, owner));
        tokio::spawn(keeper::keep(shared.clone(), streams));
        Self(Arc::new(Handle { shared }))
    }

    pub(in crate::transport) fn quinn(&self) -> &quinn::Connection {
        &self.0.shared.conn
    }

    /// On the dialling side, waits until every connection of the same socket is closed and the peer was told.
    /// Returns at once on an accepted connection.
    pub async fn wait_idle(&self) {
        if let Owner::Dialer(endpoint) = &self.0.shared.owner {
            endpoint.wait_idle().await;
        }
    }

    pub(super) fn downgrade(&self) -> WeakConnection {
        WeakConnection(Arc::downgrade(&self.0.shared))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// Runs `poll` until it is ready or this side closes a WebTransport session whose connection is still open.
    async fn until_closed<T>(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<Result<T, quinn::ConnectionError>>,
    ) -> Result<T, ConnectionError> {
        let shared = self.shared();
        let mut ended = pin!(shared.ended.wait());
        let mut over = false;
        poll_fn(|cx| {
            if let Some(error) = shared.closed_here() {
                return Poll::Ready(Err(error));
            }
            if !over {
                over = ended.as_mut().poll(cx).is_ready();
                if let Some(error) = shared.closed_here() {
                    return Poll::Ready(Err(error));
                }
            }
            poll(cx).map_err(|_| shared.gone())
        })
        .await
    }
}

impl Connection for QuicConnection {
    type Send = QuicSend;
    type Recv = QuicRecv;

    fn kind(&self) -> TransportKind {
        match self.shared().web {
            Some(_) => TransportKind::WebTransport,
            None => TransportKind::Quic,
        }
    }

    fn remote_address(&self) -> Option<SocketAddr> {
        Some(self.shared().conn.remote_address())
    }

    /// As the URL standard normalises it: in lower case, without the port that is usual for `https`.
    fn request_authority(&self) -> Option<&str> {
        let request = self.shared().request.as_ref()?;
        Some(&request.authority)
    }

    /// As the URL standard normalises it: dot segments are resolved, an empty path is `/`.
    fn request_path(&self) -> Option<&str> {
        let request = self.shared().request.as_ref()?;
        Some(&request.path)
    }

    async fn open_bi(&self) -> Result<(QuicSend, QuicRecv), ConnectionError> {
        let shared = self.shared();
        let mut open = pin!(shared.conn.open_bi());
        let (send, recv) = self.until_closed(|cx| open.as_mut().poll(cx)).await?;
        Ok((
            QuicSend::new(shared.clone(), send, BIDI_HEAD),
            QuicRecv::new(shared.clone(), recv, Bytes::new()),
        ))
    }

    async fn accept_bi(&self) -> Result<(QuicSend, QuicRecv), ConnectionError> {
        let shared = self.shared();
        let mut accept = pin!(shared.conn.accept_bi());
        let (send, recv, first) = match &shared.web {
            None => {
                let (send, recv) = accept.await.map_err(|_| shared.gone())?;
                (send, recv, Bytes::new())
            }
            Some(web) => {
                self.until_closed(|cx| web.poll_accept_bi(&shared.conn, accept.as_mut(), cx))
                    .await?
            }
        };
        Ok((
            QuicSend::new(shared.clone(), send, &[]),
            QuicRecv::new(shared.clone(), recv, first),
        ))
    }

    fn poll_open_uni(&self, cx: &mut Context<'_>) -> Poll<Result<QuicSend, ConnectionError>> {
        let shared = self.shared();
        shared
            .poll_open_uni(cx)
            .map_ok(|stream| QuicSend::new(shared.clone(), stream, UNI_HEAD))
    }

    async fn accept_uni(&self) -> Result<QuicRecv, ConnectionError> {
        let shared = self.shared();
        let mut accept = pin!(shared.conn.accept_uni());
        let (recv, first) = match &shared.web {
            None => (accept.await.map_err(|_| shared.gone())?, Bytes::new()),
            Some(web) => {
                self.until_closed(|cx| web.poll_accept_uni(&shared.conn, accept.as_mut(), cx))
                    .await?
            }
        };
        Ok(QuicRecv::new(shared.clone(), recv, first))
    }

    /// An empty payload is not sent: browsers fail on one, and MOQT has none.
    fn send_datagram(&self, payload: Bytes) -> Result<(), DatagramError> {
        let shared = self.shared();
        if let Some(error) = shared.closed_here() {
            return Err(error.into());
        }
        if payload.is_empty() {
            return Ok(());
        }
        let size = payload.len();
        let framed = if shared.web.is_some() {
            let mut framed = BytesMut::with_capacity(1 + size);
            framed.put_u8(DATAGRAM_HEAD);
            framed.put(payload);
            framed.freeze()
        } else {
            payload
        };
        shared
            .datagrams
            .send(&shared.conn, framed)
            .map_err(|error| match error {
                quinn::SendDatagramError::TooLarge => DatagramError::TooLarge {
                    size,
                    max: self.max_datagram_size().unwrap_or(0),
                },
                quinn::SendDatagramError::UnsupportedByPeer
                | quinn::SendDatagramError::Disabled => DatagramError::Unsupported,
                quinn::SendDatagramError::ConnectionLost(_) => shared.gone().into(),
            })
    }

    fn poll_datagrams(&self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.shared();
        shared.datagrams.poll(&shared.conn, cx)
    }

    fn max_datagram_size(&self) -> Option<usize> {
        let size = self.shared().conn.max_datagram_size()?;
        Some(if self.shared().web.is_some() {
            size.saturating_sub(1)
        } else {
            size
        })
    }

    async fn read_datagram(&self) -> Result<Bytes, ConnectionError> {
        let shared = self.shared();
        loop {
            let mut read = pin!(shared.conn.read_datagram());
            let datagram = self.until_closed(|cx| read.as_mut().poll(cx)).await?;
            if shared.web.is_none() {
                return Ok(datagram);
            }
            // Datagrams of other sessions or without a session are dropped, as lost ones would be.
            if let Some(payload) = own_payload(datagram) {
                return Ok(payload);
            }
        }
    }

    fn set_max_incoming_uni(&self, count: u32) {
        let shared = self.shared();
        let own = if shared.web.is_some() {
            HTTP3_STREAMS
        } else {
            0
        };
        let count = count.min(shared.limits.max_incoming_uni);
        shared
            .conn
            .set_max_concurrent_uni_streams(count.saturating_add(own).into());
    }

    fn set_receive_window(&self, bytes: u32) {
        let shared = self.shared();
        let bytes = bytes.min(shared.limits.max_window);
        // A window that shrank and grew again would count twice at the peer.
        if shared.receive_window.fetch_max(bytes, Ordering::Relaxed) < bytes {
            shared.conn.set_receive_window(bytes.into());
        }
    }

    fn close(&self, code: u32, reason: &str) {
        self.shared().close(code, reason);
    }

    async fn closed(&self) -> CloseReason {
        let shared = self.shared();
        shared.conn.closed().await;
        if let Some(web) = &shared.web {
            web.over.wait().await;
        }
        shared.cause()
    }

    fn stats(&self) -> ConnectionStats {
        let stats = self.shared().conn.stats();
        ConnectionStats {
            rtt: stats.path.rtt,
            congestion_window: stats.path.cwnd,
            lost_packets: stats.path.lost_packets,
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
        }
    }
}

/// What an HTTP/3 datagram brings for the only session, however its number is written.
fn own_payload(mut datagram: Bytes) -> Option<Bytes> {
    let session = VarInt::decode(&mut datagram).ok()?;
    (session.into_inner() == u64::from(DATAGRAM_HEAD)).then_some(datagram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_of_the_session_is_known_however_its_number_is_written() {
        for (datagram, payload) in [
            (&[0, 7, 8][..], Some(&[7, 8][..])),
            (&[0x40, 0, 7, 8], Some(&[7, 8])),
            (&[0x80, 0, 0, 0, 7, 8], Some(&[7, 8])),
            (&[0], Some(&[])),
            (&[1, 7, 8], None),
            (&[0x40], None),
            (&[], None),
        ] {
            let read = own_payload(Bytes::copy_from_slice(datagram));
            assert_eq!(read.as_deref(), payload, "{datagram:?}");
        }
    }
}
