//! Caps of a session's driver.

/// What the driver of a session holds at most.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerLimits {
    /// Streams of the peer whose head is still being read; further ones wait in the transport. Default 128.
    pub max_pending_heads: usize,
    /// Most bytes of the control stream handled at once. Default 16 KiB.
    pub control_read: usize,
    /// Unidirectional streams that a peer may have open once this side subscribes to it; before, and for peers that are
    /// only subscribers, the transport's `initial_incoming_uni` holds. More wait at the peer. The transport's
    /// `max_incoming_uni` is above it all. Default 1024.
    pub publisher_streams: u32,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            max_pending_heads: 128,
            control_read: 16 * 1024,
            publisher_streams: 1024,
        }
    }
}
