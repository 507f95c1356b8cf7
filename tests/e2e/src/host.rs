//! A relay in a process of its own, and clients of the library that reach it.

use moqtail::{
    client::{Broadcast, Client, ClientConfig, LocalTrack, Publication, TrackOptions},
    transport::{MoqtUrl, Trust},
};

use crate::{Budget, Carrier, Relay};

/// A relay, and the way to it.
#[derive(Debug)]
pub struct Host {
    relay: Relay,
    url: MoqtUrl,
    fingerprint: [u8; 32],
}

impl Host {
    /// Starts a relay that is reached over `carrier`.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start(carrier: Carrier) -> Self {
        Self::of(Relay::start(), carrier)
    }

    /// Starts a relay that keeps within `budget`.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn within(budget: Budget, carrier: Carrier) -> Self {
        let listen = ["--listen", "localhost:0"].map(str::to_owned);
        let relay = Relay::start_with(listen.into_iter().chain(budget.arguments()));
        Self::of(relay, carrier)
    }

    fn of(relay: Relay, carrier: Carrier) -> Self {
        let url = match carrier {
            Carrier::Quic => relay.quic(),
            Carrier::Web => relay.web(),
        };
        let digits: Vec<u8> = relay
            .fingerprint()
            .chars()
            .filter_map(|c| c.to_digit(16))
            .filter_map(|digit| u8::try_from(digit).ok())
            .collect();
        let bytes: Vec<u8> = digits.chunks(2).map(|two| two[0] << 4 | two[1]).collect();
        Self {
            relay,
            url: url.parse().expect("a URL"),
            fingerprint: bytes.try_into().expect("a SHA-256"),
        }
    }

    /// The relay.
    pub fn relay(&self) -> &Relay {
        &self.relay
    }

    /// A session with the relay.
    ///
    /// # Panics
    /// If there is none.
    pub async fn client(&self) -> Client {
        self.client_with(ClientConfig::default()).await
    }

    /// A session with the relay under this configuration, but for its trust.
    ///
    /// # Panics
    /// If there is none.
    pub async fn client_with(&self, config: ClientConfig) -> Client {
        let config = config.trust(Trust::Fingerprints(vec![self.fingerprint]));
        Client::connect(&self.url, config)
            .await
            .expect("the relay takes a session")
    }

    /// A session that publishes the broadcast `live` with one track.
    ///
    /// # Panics
    /// If the relay does not take it.
    pub async fn publisher(&self, track: &str) -> (Client, Publication, LocalTrack) {
        self.publisher_with(track, ClientConfig::default()).await
    }

    /// The same under this configuration, but for its trust.
    ///
    /// # Panics
    /// If the relay does not take it.
    pub async fn publisher_with(
        &self,
        track: &str,
        config: ClientConfig,
    ) -> (Client, Publication, LocalTrack) {
        let broadcast = Broadcast::new("live".parse().expect("a namespace"));
        let track = broadcast
            .track(track.to_owned(), TrackOptions::default())
            .expect("a track");
        let client = self.client_with(config).await;
        let publication = client
            .publish(&broadcast)
            .await
            .expect("the relay takes the broadcast");
        (client, publication, track)
    }
}
