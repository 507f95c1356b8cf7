//! Listening and connecting: what works, and what a person is told when it does not.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, UdpSocket},
    time::Duration,
};

use moqtail::transport::{
    AcceptError, CloseReason, ConnectConfig, ConnectError, Connection, Dialer, Identity,
    ListenConfig, ListenError, Listener, QuicConnection, TlsError, TransportKind, TransportLimits,
    Trust, connect,
};
use tokio::task::JoinSet;

use crate::{
    carrier::{identity, in_time, listen, url},
    io::uni,
    raw,
};

async fn meet(
    listener: &Listener,
    config: ConnectConfig,
) -> (
    Result<QuicConnection, ConnectError>,
    Result<QuicConnection, AcceptError>,
) {
    tokio::join!(connect(config), async {
        listener.accept().await.unwrap().establish().await
    })
}

fn pinned(identity: &Identity) -> Trust {
    Trust::Fingerprints(vec![identity.fingerprint()])
}

/// S3.1.2-04, S3.1-01: both transports on one port, told apart by ALPN, with datagrams.
#[tokio::test]
async fn one_port_serves_both_transports() {
    in_time(async {
        let (listener, identity) = listen(TransportLimits::default());
        for (scheme, kind) in [
            ("moqt", TransportKind::Quic),
            ("https", TransportKind::WebTransport),
        ] {
            let config = ConnectConfig::new(url(scheme, &listener, "/p"), pinned(&identity));
            let (client, server) = meet(&listener, config).await;
            let (client, server) = (client.unwrap(), server.unwrap());
            assert_eq!((client.kind(), server.kind()), (kind, kind));
            assert_eq!(client.remote_address(), Some(listener.local_addr()));
            assert!(server.remote_address().is_some());
            let path = (kind == TransportKind::WebTransport).then_some("/p");
            assert_eq!((client.request_path(), server.request_path()), (path, path));
            assert!(client.max_datagram_size().is_some() && server.max_datagram_size().is_some());
            uni(&client, &server).await;
            let stats = client.stats();
            assert!(stats.sent_bytes > 1000 && stats.received_bytes > 1000);
            assert!(stats.congestion_window > 0 && stats.rtt > Duration::ZERO);
        }
    })
    .await;
}

#[tokio::test]
async fn trust_is_by_fingerprint_roots_or_not_at_all() {
    in_time(async {
        let (listener, identity) = listen(TransportLimits::default());
        let roots = Trust::Roots(identity.certificate_pem().into());
        for trust in [pinned(&identity), roots, Trust::Insecure] {
            for scheme in ["moqt", "https"] {
                let config = ConnectConfig::new(url(scheme, &listener, ""), trust.clone());
                let (client, server) = meet(&listener, config).await;
                uni(&client.unwrap(), &server.unwrap()).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn another_certificate_is_not_trusted() {
    in_time(async {
        let (listener, _) = listen(TransportLimits::default());
        let other = identity();
        for trust in [
            pinned(&other),
            Trust::Roots(other.certificate_pem().into()),
            pinned(&other),
        ] {
            let config = ConnectConfig::new(url("moqt", &listener, ""), trust);
            let (client, server) = meet(&listener, config).await;
            let error = client.unwrap_err();
            assert!(matches!(error, ConnectError::Untrusted { .. }), "{error:?}");
            assert!(
                error
                    .to_string()
                    .starts_with("certificate of 127.0.0.1 not trusted")
            );
            assert!(matches!(server, Err(AcceptError::Handshake(_))));
        }
    })
    .await;
}

#[tokio::test]
async fn the_system_does_not_trust_a_generated_certificate() {
    in_time(async {
        let (listener, _) = listen(TransportLimits::default());
        let config = ConnectConfig::new(url("https", &listener, ""), Trust::System);
        tokio::select! {
            biased;
            client = connect(config) => match client {
                Err(ConnectError::Untrusted { .. } | ConnectError::Tls(TlsError::NoRoots(_))) => {}
                other => panic!("{other:?}"),
            },
            () = async {
                drop(listener.accept().await.unwrap().establish().await);
                std::future::pending().await
            } => {}
        }
    })
    .await;
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_from_then_on() {
    in_time(async {
        let (listener, old) = listen(TransportLimits::default());
        let new = identity();
        let config = |identity| ConnectConfig::new(url("moqt", &listener, ""), pinned(identity));
        let before = meet(&listener, config(&old)).await;
        let (client, server) = (before.0.unwrap(), before.1.unwrap());
        listener.set_identity(&new);
        assert!(meet(&listener, config(&old)).await.0.is_err());
        assert!(meet(&listener, config(&new)).await.0.is_ok());
        uni(&client, &server).await;
    })
    .await;
}

#[tokio::test]
async fn where_nothing_listens_the_connection_is_refused() {
    in_time(async {
        let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = free.local_addr().unwrap();
        drop(free);
        for scheme in ["moqt", "https"] {
            let url = format!("{scheme}://{addr}/").parse().unwrap();
            let error = connect(ConnectConfig::new(url, Trust::Insecure))
                .await
                .unwrap_err();
            assert!(
                matches!(error, ConnectError::Refused(at) if at == addr),
                "{error:?}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn where_nobody_answers_the_connection_times_out() {
    in_time(async {
        let mute = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("moqt://{}/", mute.local_addr().unwrap())
            .parse()
            .unwrap();
        let mut config = ConnectConfig::new(url, Trust::Insecure);
        config.limits.connect_timeout = Duration::from_millis(400);
        let error = connect(config).await.unwrap_err();
        assert!(matches!(error, ConnectError::Timeout { .. }), "{error:?}");
    })
    .await;
}

/// A firewall that drops the packets of one address family is no reason to be told of the network.
#[tokio::test]
async fn an_address_that_says_nothing_does_not_hide_what_another_one_said() {
    in_time(async {
        let (listener, mute) = loop {
            let (listener, _) = listen(TransportLimits::default());
            match UdpSocket::bind((Ipv6Addr::LOCALHOST, listener.local_addr().port())) {
                Ok(mute) => break (listener, mute),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                // There is only one address.
                Err(_) => return,
            }
        };
        let port = mute.local_addr().unwrap().port();
        let url = format!("moqt://localhost:{port}/").parse().unwrap();
        let mut config = ConnectConfig::new(url, pinned(&identity()));
        config.limits.connect_timeout = Duration::from_secs(2);
        let (client, _) = meet(&listener, config).await;
        let error = client.unwrap_err();
        assert!(matches!(error, ConnectError::Untrusted { .. }), "{error:?}");
    })
    .await;
}

/// S3.1.2-05
#[tokio::test]
async fn a_client_without_our_protocols_fails_in_tls() {
    in_time(async {
        let (listener, identity) = listen(TransportLimits::default());
        let (client, server) = tokio::join!(raw::dial("foo", &listener, &identity), async {
            listener.accept().await.unwrap().establish().await
        });
        let Err(quinn::ConnectionError::ConnectionClosed(close)) = client else {
            panic!("{client:?}")
        };
        assert_eq!(u64::from(close.error_code), 0x178);
        assert!(matches!(server, Err(AcceptError::Handshake(_))));
    })
    .await;
}

#[tokio::test]
async fn a_server_of_another_protocol_is_named_so() {
    in_time(async {
        let (endpoint, pem) = raw::server("foo");
        for (scheme, wanted) in [("moqt", "moq-00"), ("https", "h3")] {
            let url = format!("{scheme}://{}/", endpoint.local_addr().unwrap())
                .parse()
                .unwrap();
            let client = connect(ConnectConfig::new(url, Trust::Roots(pem.clone().into())));
            let serve = async { endpoint.accept().await.unwrap().await.map(drop) };
            let (client, _) = tokio::join!(client, serve);
            match client {
                Err(ConnectError::Protocol { alpn, .. }) => assert_eq!(alpn, wanted),
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_name_without_address_is_named_so() {
    in_time(async {
        // Over the longest label there is, so no server is asked.
        let url = format!("moqt://{}.test:1/", "x".repeat(70))
            .parse()
            .unwrap();
        let error = connect(ConnectConfig::new(url, Trust::Insecure))
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::Resolve { .. }), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn unusable_roots_are_named_so() {
    let url = "moqt://127.0.0.1:1/".parse().unwrap();
    let error = connect(ConnectConfig::new(url, Trust::Roots(b"no pem".into())))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::Tls(TlsError::Pem { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let (listener, identity) = listen(TransportLimits::default());
    let error = Listener::bind(ListenConfig::new(listener.local_addr(), identity)).unwrap_err();
    assert!(matches!(error, ListenError::Bind { addr, .. } if addr == listener.local_addr()));
    assert!(
        error
            .to_string()
            .contains(&listener.local_addr().to_string())
    );
}

#[tokio::test]
async fn localhost_is_both_families_on_one_port() {
    in_time(async {
        let identity = identity();
        let config = ListenConfig::new((Ipv4Addr::UNSPECIFIED, 0).into(), identity.clone());
        let mut listeners = Listener::bind_localhost(config).unwrap();
        let port = listeners[0].local_addr().port();
        assert_ne!(port, 0);
        assert!(listeners.iter().all(|l| l.local_addr().port() == port));
        assert!(listeners.iter().all(|l| l.local_addr().ip().is_loopback()));
        // Whichever family is left, `localhost` finds it.
        while listeners.len() > 1 {
            meet_at_localhost(&listeners[0], &identity).await;
            drop(listeners.remove(0));
        }
        meet_at_localhost(&listeners[0], &identity).await;
    })
    .await;
}

async fn meet_at_localhost(listener: &Listener, identity: &Identity) {
    let url = format!("moqt://localhost:{}/", listener.local_addr().port())
        .parse()
        .unwrap();
    let (client, server) = meet(listener, ConnectConfig::new(url, pinned(identity))).await;
    uni(&client.unwrap(), &server.unwrap()).await;
}

#[tokio::test]
async fn closing_a_listener_ends_everything() {
    in_time(async {
        let (listener, identity) = listen(TransportLimits::default());
        let dialer = Dialer::new(&pinned(&identity), TransportLimits::default()).unwrap();
        let mut clients = Vec::new();
        let mut servers = Vec::new();
        for scheme in ["moqt", "https", "moqt", "https"] {
            let url = url(scheme, &listener, "");
            let (client, server) = tokio::join!(dialer.connect(&url), async {
                listener.accept().await.unwrap().establish().await.unwrap()
            });
            clients.push(client.unwrap());
            servers.push(server);
        }
        listener.close(4, "going away");
        assert!(listener.accept().await.is_none());
        for client in &clients {
            let reason = CloseReason::Peer {
                code: 4,
                reason: "going away".into(),
            };
            assert_eq!(client.closed().await, reason);
        }
        for server in &servers {
            let reason = CloseReason::Local {
                code: 4,
                reason: "going away".into(),
            };
            assert_eq!(server.closed().await, reason);
        }
        listener.wait_idle().await;
        dialer.wait_idle().await;
        clients[0].wait_idle().await;
    })
    .await;
}

#[tokio::test]
async fn connections_over_the_limit_are_refused() {
    in_time(async {
        let mut limits = TransportLimits::default();
        limits.connections = 1;
        let (listener, identity) = listen(limits);
        let config = ConnectConfig::new(url("moqt", &listener, ""), pinned(&identity));
        let (first, server) = meet(&listener, config.clone()).await;
        let (first, server) = (first.unwrap(), server.unwrap());
        let accept = async { listener.accept().await.unwrap().establish().await };
        tokio::pin!(accept);
        let second = tokio::select! {
            biased;
            _ = &mut accept => panic!("accepted"),
            second = connect(config.clone()) => second,
        };
        assert!(matches!(second, Err(ConnectError::Busy(_))), "{second:?}");
        first.close(0, "");
        server.closed().await;
        drop((first, server));
        let (third, server) = tokio::join!(connect(config), accept);
        uni(&third.unwrap(), &server.unwrap()).await;
    })
    .await;
}

/// Who connects and then asks for nothing holds a place until its time is over, and one host could take all of them.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_host_cannot_take_all_handshakes() {
    in_time(async {
        let mut limits = TransportLimits::default();
        limits.handshakes = 12;
        limits.handshakes_per_host = 2;
        let (listener, identity) = listen(limits);
        let accepting = async {
            let mut handshakes = JoinSet::new();
            while let Some(incoming) = listener.accept().await {
                handshakes.spawn(incoming.establish());
            }
        };
        let crowding = async {
            let mut silent = Vec::new();
            loop {
                match raw::dial("h3", &listener, &identity).await {
                    Ok(connection) => silent.push(connection),
                    Err(refused) => break (silent, refused),
                }
            }
        };
        let visiting = async {
            let (silent, refused) = crowding.await;
            // Half of them before addresses have to be proven, and its own from then on.
            assert_eq!(silent.len(), 6 + 2);
            assert!(refused.to_string().contains("refused"), "{refused}");
            for number in 2..6 {
                let from = Ipv4Addr::new(127, 0, 0, number);
                let other = raw::dial_from(from, "h3", &listener, &identity).await;
                assert!(other.is_ok(), "{other:?}");
            }
        };
        tokio::select! {
            () = accepting => panic!("the listener ended"),
            () = visiting => {}
        }
    })
    .await;
}
