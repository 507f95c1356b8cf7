//! The two ways to carry a session, for tests that count objects with the library's own client.

use std::{net::SocketAddr, time::Duration};

use moqtail::{
    client::{Client, ClientConfig},
    transport::{Congestion, Trust},
};

/// As the programs have it.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// What carries the sessions of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Raw QUIC.
    Quic,
    /// WebTransport.
    Web,
}

impl Carrier {
    /// Each as the way to the relay, with the other one as the way from it.
    pub const PAIRS: [(Self, Self); 2] = [(Self::Quic, Self::Web), (Self::Web, Self::Quic)];

    /// The URL of a relay.
    pub fn url(self, relay: SocketAddr) -> String {
        match self {
            Self::Quic => format!("moqt://{relay}"),
            Self::Web => format!("https://{relay}"),
        }
    }

    /// Opens a session with a relay, whatever its certificate. It finds out within 2 s that nothing comes any more.
    ///
    /// # Panics
    /// If there is none.
    pub async fn connect(self, relay: SocketAddr) -> Client {
        self.connect_with(relay, Congestion::default()).await
    }

    /// The same with this congestion control.
    ///
    /// # Panics
    /// If there is none.
    pub async fn connect_with(self, relay: SocketAddr, congestion: Congestion) -> Client {
        let url = self.url(relay).parse().expect("a URL");
        let mut config = ClientConfig::default().trust(Trust::Insecure);
        config.transport.keep_alive = KEEP_ALIVE;
        config.transport.congestion = congestion;
        match Client::connect(&url, config).await {
            Ok(client) => client,
            Err(error) => panic!("{self:?}: {error}"),
        }
    }
}
