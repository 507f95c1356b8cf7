//! A listener that died without a word and is started again.

use std::time::{Duration, Instant};

use moqtail::transport::{
    CloseReason, ConnectConfig, Connection as _, ListenConfig, ListenError, Listener,
    QuicConnection, TransportLimits, Trust, connect,
};

use crate::carrier::{Stopped, identity, in_time, listen, url};

/// How soon a client with something to say learns that its relay was started again.
const NOTICED: Duration = Duration::from_secs(2);

/// A connection to a listener that is gone; and where that was.
async fn left_behind(scheme: &str) -> (QuicConnection, ListenConfig) {
    let mut limits = TransportLimits::default();
    // Silence alone ends nothing here.
    limits.idle_timeout = Duration::from_secs(3600);
    limits.keep_alive = Duration::from_millis(50);
    let first = Stopped::runtime();
    let (listener, identity) = {
        let _inside = first.enter();
        listen(limits.clone())
    };
    let trust = Trust::Fingerprints(vec![identity.fingerprint()]);
    let mut config = ConnectConfig::new(url(scheme, &listener, "/"), trust);
    config.limits = limits;
    let again = ListenConfig::new(listener.local_addr(), identity);
    let accept = first.spawn(async move {
        let incoming = listener.accept().await.expect("a client");
        (incoming.establish().await.expect("a session"), listener)
    });
    let client = connect(config).await.expect("a connection");
    let lost = accept.await.expect("no panic");
    drop((first, lost));
    (client, again)
}

/// Binds as soon as the system has the port back.
async fn bind(config: ListenConfig) -> Listener {
    loop {
        match Listener::bind(config.clone()) {
            Err(ListenError::Bind { .. }) => tokio::task::yield_now().await,
            bound => return bound.expect("a listener"),
        }
    }
}

async fn accept_all(listener: &Listener) {
    while let Some(incoming) = listener.accept().await {
        drop(incoming);
    }
}

#[tokio::test]
async fn clients_of_a_listener_that_died_learn_at_once_when_it_is_back() {
    for scheme in ["moqt", "https"] {
        in_time(async {
            let (client, again) = left_behind(scheme).await;
            let gone = Instant::now();
            let listener = bind(again).await;
            // The longer nobody answers, the longer QUIC waits between two probes (RFC 9002 §6.2.1).
            let noticed = NOTICED + 2 * gone.elapsed();
            let back = Instant::now();
            let reason = tokio::select! {
                reason = client.closed() => reason,
                () = accept_all(&listener) => panic!("the listener ended"),
            };
            assert!(back.elapsed() < noticed, "{scheme}: {:?}", back.elapsed());
            assert_eq!(reason, CloseReason::Lost("reset by peer".to_owned()));
        })
        .await;
    }
}

#[tokio::test]
async fn a_listener_with_another_key_cannot_end_them() {
    in_time(async {
        let (client, mut again) = left_behind("moqt").await;
        again.identity = identity();
        let listener = bind(again).await;
        tokio::select! {
            reason = client.closed() => panic!("{reason:?}"),
            () = accept_all(&listener) => panic!("the listener ended"),
            // Twenty times what it takes the right one.
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    })
    .await;
}
