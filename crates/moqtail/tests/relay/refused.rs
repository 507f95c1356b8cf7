//! Clients that a relay has no room for.

use std::time::Duration;

use moqtail::client::{Client, ClientConfig, ConnectError};
use moqtail::relay::RelayConfig;
use moqtail::transport::{self, MemoryConnection, TransportKind, TransportLimits};
use tokio::task::JoinSet;

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
        while let Err(error) = soon("a place", world.try_client(ClientConfig::default())).await {
            assert_refused(Some(error));
        }
    }
}

/// Whoever has places to spare gives none of the last ones to a host that has many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_host_cannot_take_all_places_of_a_relay() {
    for carrier in [TransportKind::Quic, TransportKind::WebTransport] {
        let mut config = RelayConfig::default();
        config.limits.max_sessions = 6;
        config.limits.max_sessions_per_host = 1;
        let mut world = World::with(carrier, config).await;
        let mut crowd = Vec::new();
        for _ in 0..3 {
            crowd.push(world.client().await);
        }
        assert_refused(world.try_client(ClientConfig::default()).await.err());
        // One from somewhere else.
        let (other, connection) = MemoryConnection::pair(TransportLimits::default());
        let relay = world.relay.clone();
        let mut served = JoinSet::new();
        served.spawn(async move { relay.attach(connection).await });
        let other = soon("a place", Client::over(other, ClientConfig::default())).await;
        assert!(other.is_ok(), "{other:?}");
        drop((crowd, other));
        soon("the end", served.join_all()).await;
    }
}

/// It may have been one that obeyed the GOAWAY.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_ends_refuses_clients_at_once() {
    for carrier in [TransportKind::Quic, TransportKind::WebTransport] {
        let mut world = World::with(carrier, RelayConfig::default()).await;
        let mut stays = world.raw(TransportLimits::default()).await;
        let relay = world.relay.clone();
        let coming = async {
            // The relay is closing when the session hears of it.
            stays.hear().await;
            let mut config = ClientConfig::default();
            config.transport.connect_timeout = Duration::from_secs(5);
            assert_refused(world.try_client(config).await.err());
            assert_eq!(world.relay.stats().sessions, 1);
            drop(stays);
        };
        tokio::join!(relay.shutdown(Duration::from_secs(10)), coming);
    }
}
