//! QUIC peers that are not ours, to send what ours would not.

use std::{net::Ipv4Addr, sync::Arc};

use moqtail::transport::{Identity, Listener};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use web_transport_proto::{ConnectRequest, ConnectResponse, Settings};

fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    let provider = rustls::crypto::ring::default_provider();
    Arc::new(provider)
}

pub(crate) fn client_config(alpn: &str, identity: &Identity) -> quinn::ClientConfig {
    let mut roots = RootCertStore::empty();
    let pem = identity.certificate_pem().as_bytes();
    roots
        .add(CertificateDer::from_pem_slice(pem).unwrap())
        .unwrap();
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.into()];
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

/// A QUIC connection with this ALPN to a listener of ours.
pub(crate) async fn dial(
    alpn: &str,
    listener: &Listener,
    identity: &Identity,
) -> Result<quinn::Connection, quinn::ConnectionError> {
    dial_from(Ipv4Addr::LOCALHOST, alpn, listener, identity).await
}

/// The same from this address.
pub(crate) async fn dial_from(
    from: Ipv4Addr,
    alpn: &str,
    listener: &Listener,
    identity: &Identity,
) -> Result<quinn::Connection, quinn::ConnectionError> {
    let endpoint = quinn::Endpoint::client((from, 0).into()).unwrap();
    let config = client_config(alpn, identity);
    endpoint
        .connect_with(config, listener.local_addr(), "localhost")
        .unwrap()
        .await
}

/// A QUIC server with this ALPN and a certificate of its own, as PEM.
pub(crate) fn server(alpn: &str) -> (quinn::Endpoint, String) {
    let key = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()]).unwrap();
    let chain = vec![key.cert.der().clone()];
    let der = PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, der)
        .unwrap();
    tls.alpn_protocols = vec![alpn.into()];
    let crypto = QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = quinn::Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let pem = pem::encode(&pem::Pem::new("CERTIFICATE", key.cert.der().to_vec()));
    (endpoint, pem)
}

/// The streams of an HTTP/3 client that asked for a WebTransport session.
pub(crate) struct Session {
    pub(crate) conn: quinn::Connection,
    pub(crate) send: quinn::SendStream,
    pub(crate) recv: quinn::RecvStream,
    pub(crate) control: quinn::SendStream,
}

impl Session {
    /// Sends settings and, as the request, these bytes.
    pub(crate) async fn ask(conn: quinn::Connection, request: &[u8]) -> Self {
        let control = send_settings(&conn, 1).await;
        let (mut send, recv) = conn.open_bi().await.unwrap();
        send.write_all(request).await.unwrap();
        Self {
            conn,
            send,
            recv,
            control,
        }
    }

    pub(crate) async fn answer(&mut self) -> ConnectResponse {
        ConnectResponse::read(&mut self.recv).await.unwrap()
    }
}

pub(crate) async fn send_settings(conn: &quinn::Connection, sessions: u32) -> quinn::SendStream {
    let mut control = conn.open_uni().await.unwrap();
    let mut settings = Settings::default();
    if sessions > 0 {
        settings.enable_webtransport(sessions);
    }
    settings.write(&mut control).await.unwrap();
    control
}

pub(crate) fn request(path: &str, offers: &[&str]) -> Vec<u8> {
    let url = format!("https://localhost{path}")
        .parse::<url::Url>()
        .unwrap();
    let request = ConnectRequest::new(url).with_protocols(offers.iter().map(|o| (*o).to_owned()));
    let mut bytes = Vec::new();
    request.encode(&mut bytes).unwrap();
    bytes
}
