//! What the HTTP side holds at most.

use std::time::Duration;

/// Caps and times of the HTTP side, per listener.
#[derive(Clone, Debug)]
pub(crate) struct HttpLimits {
    /// Open connections, handshakes among them. One more, and the oldest is closed: requests are short, so that is one that
    /// stalls or idles. Default 256.
    pub(crate) connections: usize,
    /// How long a TLS handshake may take before the connection is closed. Default 10 s.
    pub(crate) handshake_timeout: Duration,
    /// How long a connection may be without a complete request head before it is closed. Default 30 s.
    pub(crate) request_timeout: Duration,
    /// Most bytes of a connection that are held, the head of its request among them; a longer one is refused. Default 16 KiB.
    pub(crate) request_bytes: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 256,
            handshake_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            request_bytes: 16 << 10,
        }
    }
}
