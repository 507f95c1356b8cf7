//! The two ways to carry a session, for tests that count objects with the library's own client.

use std::net::SocketAddr;

use moqtail::{
    client::{Client, ClientConfig},
    transport::Trust,
};

/// What carries a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Raw QUIC.
    Quic,
    /// WebTransport.
    WebTransport,
}

impl Carrier {
    /// Each as the way to the relay, with the other one as the way from it.
    pub const PAIRS: [(Self, Self); 2] = [
        (Self::Quic, Self::WebTransport),
        (Self::WebTransport, Self::Quic),
    ];

    /// The URL of a relay.
    pub fn url(self, relay: SocketAddr) -> String {
        match self {
            Self::Quic => format!("moqt://{relay}"),
            Self::WebTransport => format!("https://{relay}"),
        }
    }

    /// Opens a session with a relay, whatever its certificate.
    ///
    /// # Panics
    /// If there is none.
    pub async fn connect(self, relay: SocketAddr) -> Client {
        let url = self.url(relay).parse().expect("a URL");
        let config = ClientConfig::default().trust(Trust::Insecure);
        match Client::connect(&url, config).await {
            Ok(client) => client,
            Err(error) => panic!("{self:?}: {error}"),
        }
    }
}
