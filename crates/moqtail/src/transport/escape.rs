//! The one place where the QUIC crate shows through.

use super::QuicConnection;

impl QuicConnection {
    /// The connection underneath, for measurements and options that have no name here. Opening, accepting or closing
    /// through it breaks the session.
    pub fn quinn_connection(&self) -> &quinn::Connection {
        self.quinn()
    }
}
