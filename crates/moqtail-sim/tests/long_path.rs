//! A path with a long round trip is filled: the path and not our own budget limits the sending.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{future::poll_fn, io, time::Duration};

use bytes::Bytes;
use moqtail::transport::{
    ConnectConfig, Connection, Identity, ListenConfig, Listener, QuicConnection, RecvStream,
    SendStream, TransportLimits, Trust, connect,
};
use moqtail_sim::{UdpProxy, Weather};
use tokio::time::Instant;

const ROUND_TRIP: Duration = Duration::from_millis(100);
const STREAMS: usize = 8;
const STREAM_BYTES: usize = 1 << 20;

/// A server connection, and its client behind a long path.
async fn pair(limits: TransportLimits) -> (QuicConnection, QuicConnection, UdpProxy) {
    let identity = Identity::generate(["localhost"]).unwrap();
    let trust = Trust::Fingerprints(vec![identity.fingerprint()]);
    let mut config = ListenConfig::new("127.0.0.1:0".parse().unwrap(), identity);
    config.limits = limits;
    let listener = Listener::bind(config).unwrap();
    let proxy = UdpProxy::start(listener.local_addr(), 1).unwrap();
    proxy.set_both(Weather::delayed(ROUND_TRIP / 2, Duration::ZERO));
    let url = format!("moqt://{}/", proxy.addr()).parse().unwrap();
    let accept = async { listener.accept().await.unwrap().establish().await.unwrap() };
    let connect = async { connect(ConnectConfig::new(url, trust)).await.unwrap() };
    let (server, client) = tokio::join!(accept, connect);
    (server, client, proxy)
}

async fn send(connection: &QuicConnection) -> io::Result<()> {
    let mut stream = poll_fn(|cx| connection.poll_open_uni(cx))
        .await
        .map_err(io::Error::other)?;
    let mut chunks = [Bytes::from(vec![7; STREAM_BYTES])];
    while !chunks[0].is_empty() {
        poll_fn(|cx| stream.poll_write(cx, &mut chunks))
            .await
            .map_err(io::Error::other)?;
    }
    stream.finish();
    poll_fn(|cx| stream.poll_closed(cx))
        .await
        .map_err(io::Error::other)
}

async fn receive(connection: &QuicConnection) -> usize {
    let mut stream = connection.accept_uni().await.unwrap();
    let mut received = 0;
    while let Some(bytes) = poll_fn(|cx| stream.poll_read(cx, usize::MAX))
        .await
        .unwrap()
    {
        received += bytes.len();
    }
    received
}

/// How long it takes until everything has arrived.
async fn transfer(limits: TransportLimits) -> Duration {
    let (server, client, _proxy) = pair(limits).await;
    let begin = Instant::now();
    let mut transfers = tokio::task::JoinSet::new();
    for _ in 0..STREAMS {
        let (server, client) = (server.clone(), client.clone());
        transfers.spawn(async move {
            let (sent, received) = tokio::join!(send(&server), receive(&client));
            sent.unwrap();
            assert_eq!(received, STREAM_BYTES);
        });
    }
    while let Some(done) = transfers.join_next().await {
        done.unwrap();
    }
    begin.elapsed()
}

#[tokio::test]
async fn the_in_flight_budget_does_not_limit_a_long_path() {
    let mut fixed = TransportLimits::default();
    fixed.max_send_window = fixed.send_window;
    // Both at once, so that a busy machine slows both.
    let (held, free) = tokio::join!(transfer(fixed), transfer(TransportLimits::default()));
    assert!(
        free * 3 < held * 2,
        "{free:?} with a budget that follows the path, {held:?} with a fixed one"
    );
}
