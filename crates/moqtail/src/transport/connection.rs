//! What MOQT needs of a transport: one trait, implemented by QUIC, WebTransport and the in-memory twin.

use std::{
    future::Future,
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;

/// The transport that carries a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportKind {
    /// Raw QUIC, ALPN `moq-00`.
    Quic,
    /// WebTransport over HTTP/3, ALPN `h3`.
    WebTransport,
    /// The in-memory twin for tests and for peers inside one process.
    Memory,
}

/// One established connection; clones refer to the same connection.
///
/// Dropping every clone without [`Connection::close`] closes the connection with NO_ERROR.
pub trait Connection: Clone + Send + Sync + 'static {
    /// Sending half of a stream.
    type Send: SendStream;
    /// Receiving half of a stream.
    type Recv: RecvStream;

    /// What carries this connection.
    fn kind(&self) -> TransportKind;

    /// The peer's address, if the transport has one.
    fn remote_address(&self) -> Option<SocketAddr>;

    /// Host and port that the WebTransport request names; `None` on other transports (there AUTHORITY is in CLIENT_SETUP).
    fn request_authority(&self) -> Option<&str>;

    /// Path and query of the WebTransport request; `None` on other transports (there PATH is in CLIENT_SETUP).
    fn request_path(&self) -> Option<&str>;

    /// Opens the bidirectional stream that a client uses as control stream.
    /// Cancel safe.
    fn open_bi(
        &self,
    ) -> impl Future<Output = Result<(Self::Send, Self::Recv), ConnectionError>> + Send;

    /// Waits for a bidirectional stream of the peer. Cancel safe.
    fn accept_bi(
        &self,
    ) -> impl Future<Output = Result<(Self::Send, Self::Recv), ConnectionError>> + Send;

    /// Opens a unidirectional stream if the peer's stream credit allows one now.
    /// With `Pending` the task is woken when there may be credit. Nothing is sent before the first write,
    /// so a priority set right after opening is in force from the first byte.
    fn poll_open_uni(&self, cx: &mut Context<'_>) -> Poll<Result<Self::Send, ConnectionError>>;

    /// Waits for a unidirectional stream of the peer, transport prefix already taken off. Cancel safe.
    fn accept_uni(&self) -> impl Future<Output = Result<Self::Recv, ConnectionError>> + Send;

    /// Sends a datagram now or never. Of those that wait for the path, where they overtake all streams, older ones may be
    /// dropped for it; who first waits for [`Connection::poll_datagrams`] loses none so.
    fn send_datagram(&self, payload: Bytes) -> Result<(), DatagramError>;

    /// Waits until another datagram may be sent: the path takes it, and the streams had their share. With `Pending` the task,
    /// the last one that asked, is woken when it is time to ask again.
    fn poll_datagrams(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Largest payload for [`Connection::send_datagram`] now, in bytes.
    fn max_datagram_size(&self) -> Option<usize>;

    /// Waits for a datagram of the peer. Cancel safe.
    fn read_datagram(&self) -> impl Future<Output = Result<Bytes, ConnectionError>> + Send;

    /// Sets how many unidirectional streams the peer may have open at once.
    fn set_max_incoming_uni(&self, count: u32);

    /// Lets all streams of the peer together hold so many received bytes unread, up to the transport's `max_window`. What
    /// was allowed before is not taken back. The in-memory twin bounds each stream alone.
    fn set_receive_window(&self, bytes: u32);

    /// Closes the connection with a session termination code (draft-14 §3.4) and reason.
    /// The first call wins. Streams end with [`ConnectionError`] on both sides.
    fn close(&self, code: u32, reason: &str);

    /// Waits until the connection is closed and tells why.
    fn closed(&self) -> impl Future<Output = CloseReason> + Send;

    /// What the transport measured so far.
    fn stats(&self) -> ConnectionStats;
}

/// Sending half of a stream. Dropping it unfinished resets the stream with CANCELLED.
pub trait SendStream: Send + 'static {
    /// Larger numbers are sent first; set it before the first write.
    fn set_priority(&mut self, priority: i32);

    /// Writes from the front of `chunks` without copying; written bytes are split off their chunk, fully written
    /// chunks are left empty. Returns the number of bytes taken; 0 only if all chunks are empty.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut [Bytes],
    ) -> Poll<Result<usize, StreamError>>;

    /// Marks the end of the stream (FIN). Later writes fail. Errors are ignored: the peer stopped it.
    fn finish(&mut self);

    /// Resets the stream with a data stream reset code (draft-14 §10.4.3). Allowed after [`SendStream::finish`] too,
    /// where it ends retransmission.
    fn reset(&mut self, code: u32);

    /// Whether the peer has all bytes and the FIN. Cheaper than [`SendStream::poll_closed`], and nobody is woken later.
    fn is_received(&self) -> bool;

    /// Ready when the peer has all bytes and the FIN (`Ok(())`), or stopped the stream. A connection that has reset very many
    /// streams which were asked about may tell of the stop of an open one by [`SendStream::poll_write`] alone.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>>;
}

/// Receiving half of a stream. Dropping it unread stops the stream with CANCELLED.
pub trait RecvStream: Send + 'static {
    /// Reads at most `max` bytes as the transport holds them, without copying. `None` is the FIN. Never an empty chunk.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, StreamError>>;

    /// Asks the peer to stop sending (STOP_SENDING) with a data stream reset code.
    fn stop(&mut self, code: u32);
}

/// Why a stream ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer reset its sending half; the code is from the data stream reset registry.
    #[error("peer reset the stream with code {0:#x}")]
    Reset(u32),
    /// The peer asked to stop sending.
    #[error("peer stopped the stream with code {0:#x}")]
    Stopped(u32),
    /// Already finished, reset or stopped on this side.
    #[error("stream is already closed on this side")]
    Closed,
    /// The whole connection is gone.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

/// The connection is gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection closed: {0}")]
pub struct ConnectionError(pub CloseReason);

/// Who ended a connection, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// This side called [`Connection::close`].
    #[error("closed here with {code:#x} ({reason})")]
    Local {
        /// Session termination code.
        code: u32,
        /// Text given with it.
        reason: String,
    },
    /// The peer closed the session.
    #[error("closed by the peer with {code:#x} ({reason})")]
    Peer {
        /// Session termination code; 0 where the transport carried none.
        code: u32,
        /// Text given with it.
        reason: String,
    },
    /// No close was exchanged: idle timeout, stateless reset, path lost.
    #[error("connection lost: {0}")]
    Lost(String),
}

/// Why a datagram was not sent. None of these ends the session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramError {
    /// Larger than [`Connection::max_datagram_size`].
    #[error("datagram of {size} bytes is over the limit of {max} bytes")]
    TooLarge {
        /// Size asked for.
        size: usize,
        /// Largest size now.
        max: usize,
    },
    /// The peer takes no datagrams.
    #[error("peer does not take datagrams")]
    Unsupported,
    /// The connection is gone.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

/// Transport measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Congestion window in bytes.
    pub congestion_window: u64,
    /// Packets declared lost.
    pub lost_packets: u64,
    /// UDP payload bytes sent.
    pub sent_bytes: u64,
    /// UDP payload bytes received.
    pub received_bytes: u64,
}
