//! Every number that bounds what a connection may hold or how long it may wait.

use std::time::Duration;

/// How a connection finds the rate at which it may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Congestion {
    /// CUBIC (RFC 9438): each loss is a sign of a full link. Keeps queues short and shares well.
    #[default]
    Cubic,
    /// BBR, first version: follows the measured rate whatever is lost. For long paths that lose or reorder packets, where
    /// CUBIC nearly stops; on a link that is full it drops more and delays urgent objects longer.
    Bbr,
}

/// Bounds of one transport endpoint and of each of its connections.
///
/// All sizes are bytes, all counts are per connection unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportLimits {
    /// Unidirectional streams the peer may have open at first; more are granted with
    /// [`Connection::set_max_incoming_uni`](super::Connection::set_max_incoming_uni). Default 64.
    pub initial_incoming_uni: u32,
    /// Largest count that `set_max_incoming_uni` grants; more is lowered to this. QUIC keeps an entry for every
    /// stream it permits. Default 1024.
    pub max_incoming_uni: u32,
    /// Bidirectional streams the peer may have open. MOQT uses one; a few more let a violation be seen. Default 4.
    pub incoming_bidi: u32,
    /// Received bytes that one stream may hold unread before its sender must wait. Default 512 KiB.
    pub stream_window: u32,
    /// Received bytes that all streams of a connection may hold unread at first: enough for the control stream beside a few
    /// others, little for a peer that never publishes. More is allowed with
    /// [`Connection::set_receive_window`](super::Connection::set_receive_window). Default 1 MiB.
    pub initial_window: u32,
    /// Most that `set_receive_window` allows; more is lowered to this. Default 520 MiB: more than `max_incoming_uni`
    /// streams can hold, so that streams nobody reads never take the control stream's share.
    pub max_window: u32,
    /// The in-flight budget: bytes handed to the transport and not yet acknowledged. It grows with the path to twice the
    /// congestion window, so that a long path can be filled. Default 256 kB.
    pub send_window: u32,
    /// Most that the in-flight budget grows to. Default 8 MB: 640 Mbit/s at a round-trip time of 100 ms.
    pub max_send_window: u32,
    /// How the rate of sending is found. Default CUBIC.
    pub congestion: Congestion,
    /// Datagram bytes waiting to be read; the oldest give way. Default 256 kB.
    pub datagram_buffer: usize,
    /// Most datagram bytes handed to QUIC and not yet sent, but for one datagram. QUIC sends them before all streams, the
    /// control stream too, so on a narrow path it is less: what leaves there in some 10 ms. Less than 1500 counts as that, which
    /// is a packet. Default 24 kB.
    pub datagram_backlog: usize,
    /// HTTP/3 streams that carry no data but must stay open for the life of a WebTransport connection
    /// (QPACK and the like). More are refused. Default 16.
    pub parked_streams: usize,
    /// Silence after which a packet is sent to keep the path open. A peer that only receives is found at a new address
    /// no sooner: for live playback 2 s is better. Default 10 s.
    pub keep_alive: Duration,
    /// Silence after which the connection counts as lost. Default 30 s.
    pub idle_timeout: Duration,
    /// Longest time a server gives a client for QUIC handshake and WebTransport request. Default 10 s.
    pub handshake_timeout: Duration,
    /// Longest time a client tries to connect, all addresses and the WebTransport request included. Default 10 s.
    pub connect_timeout: Duration,
    /// Handshakes that one listener runs at once; more are refused. Default 1024.
    pub handshakes: usize,
    /// Handshakes that one host, an IPv4 address or a /64 of IPv6, may run at once while more than half of `handshakes` are
    /// taken; more are refused. Only those count whose address was proven by a Retry, as it is from then on. Default 64.
    pub handshakes_per_host: usize,
    /// Established connections of one listener; more are refused. Default 16384.
    pub connections: usize,
    /// Socket buffer asked of the operating system in each direction, as far as it allows, see
    /// [`Listener::buffer_shortfall`](super::Listener::buffer_shortfall). Default 4 MiB.
    pub socket_buffer: usize,
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self {
            initial_incoming_uni: 64,
            max_incoming_uni: 1024,
            incoming_bidi: 4,
            stream_window: 512 << 10,
            initial_window: 1 << 20,
            max_window: 520 << 20,
            send_window: 256 * 1000,
            max_send_window: 8 * 1000 * 1000,
            congestion: Congestion::default(),
            datagram_buffer: 256 * 1000,
            datagram_backlog: 24_000,
            parked_streams: 16,
            keep_alive: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            handshakes: 1024,
            handshakes_per_host: 64,
            connections: 16384,
            socket_buffer: 4 << 20,
        }
    }
}

impl TransportLimits {
    /// `datagram_backlog` as it is applied.
    pub(super) fn datagram_backlog(&self) -> usize {
        self.datagram_backlog.max(MIN_DATAGRAM_BACKLOG)
    }
}

/// What QUIC may hold beyond `datagram_backlog`: the datagram that crosses it.
pub(super) const DATAGRAM_SLACK: usize = 1 << 16;

/// Least datagram bytes that are handed to QUIC at once: a packet.
pub(super) const MIN_DATAGRAM_BACKLOG: usize = 1500;

/// Unidirectional streams that HTTP/3 uses for itself: control and two for QPACK.
pub(super) const HTTP3_STREAMS: u32 = 3;

/// Largest datagram that the in-memory twin takes, in bytes: what a QUIC packet of common size leaves.
pub(super) const MAX_MEMORY_DATAGRAM: usize = 1200;

/// Largest HTTP/3 frame read during the WebTransport handshake, in bytes; a larger one fails it.
pub(super) const MAX_HANDSHAKE_FRAME: u64 = 16 * 1024;

/// Streams of a connection that were watched for a stop and then reset here: quinn keeps about a hundred bytes for each until
/// the connection is over. With more, streams are watched no longer, and a stop is found at the next write.
pub(super) const MAX_LOST_WATCHES: usize = 2000;

/// Longest close reason, in bytes: what the WebTransport capsule may carry. Longer ones are cut, and those of a peer end the
/// session without.
pub(super) const MAX_CLOSE_REASON: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_receive_window_leaves_the_control_stream_its_share() {
        let limits = TransportLimits::default();
        assert!(limits.max_window > (limits.max_incoming_uni + 1) * limits.stream_window);
        assert!(limits.initial_window > limits.stream_window);
    }
}
