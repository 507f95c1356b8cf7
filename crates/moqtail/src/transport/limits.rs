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
    /// Most received bytes that all streams of a connection may hold unread. Less is allowed as long as fewer streams are:
    /// a `stream_window` for each one granted, so that streams nobody reads never take the control stream's share, and a
    /// peer that publishes nothing pins little. Default 520 MiB: more than `max_incoming_uni` streams can hold.
    pub connection_window: u32,
    /// The in-flight budget: bytes handed to the transport and not yet acknowledged. It grows with the path to twice the
    /// congestion window, so that a long path can be filled. Default 256 kB.
    pub send_window: u32,
    /// Most that the in-flight budget grows to. Default 8 MB: 640 Mbit/s at a round-trip time of 100 ms.
    pub max_send_window: u32,
    /// How the rate of sending is found. Default CUBIC.
    pub congestion: Congestion,
    /// Datagram bytes waiting to be read, and likewise waiting to be sent; the oldest give way. Default 256 kB.
    pub datagram_buffer: usize,
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
    /// Established connections of one listener; more are refused. Default 16384.
    pub connections: usize,
    /// Socket buffer asked of the operating system in each direction, as far as it allows. Default 4 MiB.
    pub socket_buffer: usize,
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self {
            initial_incoming_uni: 64,
            max_incoming_uni: 1024,
            incoming_bidi: 4,
            stream_window: 512 << 10,
            connection_window: 520 << 20,
            send_window: 256 * 1000,
            max_send_window: 8 * 1000 * 1000,
            congestion: Congestion::default(),
            datagram_buffer: 256 * 1000,
            parked_streams: 16,
            keep_alive: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            handshakes: 1024,
            connections: 16384,
            socket_buffer: 4 << 20,
        }
    }
}

impl TransportLimits {
    /// The receive window of a connection whose peer may have `uni` unidirectional data streams open.
    pub(super) fn receive_window(&self, uni: u32) -> u32 {
        // One more bidirectional stream carries the request of WebTransport.
        let others = self.incoming_bidi.saturating_add(1 + HTTP3_STREAMS);
        uni.saturating_add(others)
            .saturating_mul(self.stream_window)
            .min(self.connection_window)
    }
}

/// Unidirectional streams that HTTP/3 uses for itself: control and two for QPACK.
pub(super) const HTTP3_STREAMS: u32 = 3;

/// Largest datagram that the in-memory twin takes, in bytes: what a QUIC packet of common size leaves.
pub(super) const MAX_MEMORY_DATAGRAM: usize = 1200;

/// Largest HTTP/3 frame read during the WebTransport handshake, in bytes; a larger one fails it.
pub(super) const MAX_HANDSHAKE_FRAME: u64 = 16 * 1024;

/// Longest close reason sent, in bytes: what the WebTransport capsule may carry. Longer ones are cut.
pub(super) const MAX_CLOSE_REASON: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// S12.1-01: a peer that publishes nothing pins little; one that does cannot fill the control stream's share.
    #[test]
    fn the_receive_window_follows_the_streams_that_are_granted() {
        let limits = TransportLimits::default();
        let at_first = limits.receive_window(limits.initial_incoming_uni);
        assert_eq!(at_first, 36 << 20);
        let publisher = limits.receive_window(limits.max_incoming_uni);
        assert!(publisher > limits.max_incoming_uni * limits.stream_window);
        assert_eq!(limits.receive_window(u32::MAX), limits.connection_window);
    }
}
