//! QUIC connections to whoever is tested.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use quinn::crypto::rustls::QuicClientConfig;
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::failure::Failure;

/// Who is tested.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its UDP address.
    pub address: SocketAddr,
    /// Host for TLS and the WebTransport request.
    pub host: String,
    /// Path of the WebTransport request.
    pub path: String,
}

impl Target {
    /// A server at `address` that calls itself localhost, at the root path.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            host: "localhost".to_owned(),
            path: "/".to_owned(),
        }
    }
}

/// A connection with this ALPN from a socket of its own, which lives as long as the endpoint.
///
/// Any certificate is taken: what is tested is the protocol, and nothing secret is sent.
///
/// # Errors
/// There is no connection.
pub async fn dial(
    target: &Target,
    alpn: &str,
) -> Result<(quinn::Endpoint, quinn::Connection), Failure> {
    dial_with(target, alpn, quinn::TransportConfig::default()).await
}

/// Like [`dial`], with windows and limits of its own.
///
/// # Errors
/// There is no connection.
pub async fn dial_with(
    target: &Target,
    alpn: &str,
    transport: quinn::TransportConfig,
) -> Result<(quinn::Endpoint, quinn::Connection), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::transport("connecting", error);
    let local: SocketAddr = match (target.address.is_ipv4(), target.address.ip().is_loopback()) {
        (true, true) => (Ipv4Addr::LOCALHOST, 0).into(),
        (true, false) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        (false, true) => (Ipv6Addr::LOCALHOST, 0).into(),
        (false, false) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let endpoint = quinn::Endpoint::client(local).map_err(|e| failed(&e))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| failed(&e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.into()];
    let crypto = QuicClientConfig::try_from(tls).map_err(|e| failed(&e))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    let connection = endpoint
        .connect_with(config, target.address, &target.host)
        .map_err(|e| failed(&e))?
        .await
        .map_err(|e| failed(&e))?;
    Ok((endpoint, connection))
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
