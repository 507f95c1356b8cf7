//! Clients that a relay has no room for.

use std::time::Duration;

use moqtail::client::{ClientConfig, ConnectError};
use moqtail::relay::RelayConfig;
use moqtail::transport::{self, TransportKind};

use crate::world::{World, soon};

/// The relay answered before any handshake.
fn assert_refused(error: Option<ConnectError>) {
    match error {
        Some(ConnectError::Transport(error @ transport::ConnectError::Busy(_))) => {
            let told = error.to_string();
            assert!(
                told.ends_with("takes no more connections now; try again later"),
                "{told}"
            );
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_relay_refuses_clients_before_their_handshake() {
    for carrier in [TransportKind::Quic, TransportKind::WebTransport] {
        let mut config = RelayConfig::default();
        config.limits.max_sessions = 1;
        let mut world = World::with(carrier, config).await;
        let first = world.client().await;
        assert_refused(world.try_client(ClientConfig::default()).await.err());
        first.shutdown(Duration::ZERO).await;
        while world.relay.stats().sessions > 0 {
            soon("the end of the session", tokio::task::yield_now()).await;
        }
        // The same place can be had again.
        world.client().await;
    }
}
