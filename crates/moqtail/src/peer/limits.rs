//! Caps and times of a session's driver.

use std::time::Duration;

/// What the driver of a session holds at most, and how long it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerLimits {
    /// Streams of the peer whose head is still being read; further ones wait in the transport. Default 128.
    pub max_pending_heads: usize,
    /// How long a stream may take to show its head before it is stopped. Default 10 s.
    pub head_timeout: Duration,
    /// Most bytes of the control stream handled at once. Default 16 KiB.
    pub control_read: usize,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            max_pending_heads: 128,
            head_timeout: Duration::from_secs(10),
            control_read: 16 * 1024,
        }
    }
}
