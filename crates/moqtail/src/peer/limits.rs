//! Caps of a session's driver.

use std::time::Duration;

/// What the driver of a session holds at most.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerLimits {
    /// Streams of the peer whose head has begun and is not complete; meanwhile further streams wait in the transport. Those
    /// without a byte do not count: they hold nothing, and the stream credit bounds them. Default 128.
    pub max_pending_heads: usize,
    /// Most bytes of the control stream handled at once. Default 16 KiB.
    pub control_read: usize,
    /// Most events and messages of the session that are handled before other tasks have their turn. Default 32.
    pub turn_outputs: usize,
    /// Unidirectional streams that a peer may have open once this side subscribes to it; before, and for peers that are
    /// only subscribers, the transport's `initial_incoming_uni` holds. More wait at the peer. The transport's
    /// `max_incoming_uni` is above it all. Default 1024.
    pub publisher_streams: u32,
    /// Received bytes that all streams of such a peer may hold unread; before, and for peers that are only subscribers, the
    /// transport's `initial_window` holds. A relay gives less, see
    /// [`RelayLimits::max_publisher_window`](crate::relay::RelayLimits::max_publisher_window). Default 520 MiB: streams
    /// that the application does not read leave the control stream its share.
    pub publisher_window: u32,
    /// Most bytes that are read of a stream once the session wants no more of it, so that what was received is not lost: the
    /// rest is dropped, and the peer told CANCELLED. Default 512 KiB, what a stream holds unread by default.
    pub max_after_stop: usize,
    /// Bytes that all streams of a session may hold of object headers that are not complete; a stream that would hold more
    /// is stopped with CANCELLED, and its subgroup reset. Counted is what is allocated for them. Default 8 MiB.
    pub max_open_headers: usize,
    /// Longest time from the first byte of an object's header to its last; then the stream is stopped with CANCELLED, and its
    /// subgroup reset (draft-14 §3.4). Between objects a stream may be silent for ever. Default 30 s.
    pub object_header_timeout: Duration,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            max_pending_heads: 128,
            control_read: 16 * 1024,
            turn_outputs: 32,
            publisher_streams: 1024,
            publisher_window: 520 << 20,
            max_after_stop: 512 << 10,
            max_open_headers: 8 << 20,
            object_header_timeout: Duration::from_secs(30),
        }
    }
}
