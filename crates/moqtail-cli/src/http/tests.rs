//! The HTTP side with clients that behave and clients that do not.

use std::{io, net::SocketAddr, time::Duration};

use rcgen::generate_simple_self_signed;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use super::*;
use crate::values::Fingerprint;

/// An HTTP side on loopback, and who may see it.
struct World {
    address: SocketAddr,
    shown: watch::Sender<Shown>,
    root: CertificateDer<'static>,
    limits: HttpLimits,
    _serving: JoinSet<Infallible>,
}

fn certificate() -> (CertificateDer<'static>, Tls) {
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    let tls = tls(made.cert.pem().as_bytes(), key.as_bytes()).unwrap();
    (made.cert.der().clone(), tls)
}

impl World {
    async fn new(change: impl FnOnce(&mut HttpLimits)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (root, tls) = certificate();
        let shown = watch::Sender::new(Shown {
            fingerprint: Fingerprint([7; 32]),
            tls: Some(tls),
        });
        let mut limits = HttpLimits::default();
        change(&mut limits);
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, shown.subscribe(), limits.clone()));
        Self {
            address,
            shown,
            root,
            limits,
            _serving: serving,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// GETs `path` over TLS, with `root` as the only one trusted.
    async fn get(&self, root: &CertificateDer<'static>, path: &str) -> io::Result<String> {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, self.connect().await)
            .await?;
        ask(stream, path).await
    }
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Waits until the server has closed `stream`.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // Whether it was closed or reset is the same here.
    let _ = stream.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn with_a_certificate_the_pages_are_served_over_tls() {
    let world = World::new(|_| ()).await;
    let answer = world.get(&world.root, "/health").await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn the_next_connection_gets_the_renewed_certificate() {
    let world = World::new(|_| ()).await;
    let (root, tls) = certificate();
    world
        .shown
        .send_modify(|shown| shown.tls = Some(tls.clone()));
    assert!(world.get(&root, "/health").await.is_ok());
    assert!(world.get(&world.root, "/health").await.is_err());
}

#[tokio::test]
async fn handshakes_that_never_finish_hold_up_nobody() {
    let world = World::new(|_| ()).await;
    let mut stalled = Vec::new();
    for begin in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = world.connect().await;
        stream.write_all(begin).await.unwrap();
        stalled.push(stream);
    }
    assert!(world.get(&world.root, "/health").await.is_ok());
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_given_up() {
    let world = World::new(|limits| limits.handshake_timeout = Duration::from_millis(50)).await;
    let silent = world.connect().await;
    let mut half = world.connect().await;
    half.write_all(b"\x16\x03\x01").await.unwrap();
    closed(silent).await;
    closed(half).await;
}

#[tokio::test]
async fn a_request_that_does_not_come_is_given_up() {
    let world = World::new(|limits| limits.request_timeout = Duration::from_millis(50)).await;
    let mut half = world.connect().await;
    half.write_all(b"GET /health HT").await.unwrap();
    closed(half).await;
}

#[tokio::test]
async fn at_the_limit_the_oldest_connection_makes_room() {
    let world = World::new(|limits| limits.connections = 2).await;
    let oldest = world.connect().await;
    let _young = world.connect().await;
    assert!(world.get(&world.root, "/health").await.is_ok());
    closed(oldest).await;
}

#[tokio::test]
async fn without_tls_this_machine_is_answered_and_others_are_sent_to_https() {
    let world = World::new(|_| ()).await;
    let answer = ask(world.connect().await, FINGERPRINT_PATH).await.unwrap();
    assert!(
        answer.ends_with(&format!("{}\n", "07".repeat(32))),
        "{answer}"
    );

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let site = Site::new(world.shown.subscribe(), world.limits.clone());
    let serving = async {
        let (stream, _) = listener.accept().await.unwrap();
        site.serve(stream, "192.0.2.1:5".parse().unwrap()).await;
    };
    let asking = async {
        let stream = TcpStream::connect(address).await.unwrap();
        ask(stream, "/a?b").await.unwrap()
    };
    let ((), answer) = tokio::join!(serving, asking);
    assert!(
        answer.starts_with("HTTP/1.1 308 ")
            && answer.contains("location: https://localhost/a?b\r\n"),
        "{answer}"
    );
}

#[test]
fn a_certificate_with_the_key_of_another_is_refused() {
    let one = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = other.signing_key.serialize_pem();
    assert!(tls(one.cert.pem().as_bytes(), key.as_bytes()).is_err());
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused() {
    let world = World::new(|_| ()).await;
    world.shown.send_modify(|shown| shown.tls = None);
    for (len, status) in [(100, "200"), (world.limits.request_bytes, "431")] {
        let path = format!("/health?{}", "x".repeat(len));
        let answer = ask(world.connect().await, &path).await.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
}
