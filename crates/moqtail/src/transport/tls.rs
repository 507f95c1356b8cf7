//! TLS with an explicit provider: two are compiled in if both features are on, and then rustls has no default.

use std::sync::{Arc, PoisonError, RwLock};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, hash::HashAlgorithm, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{ALPN, ALPN_HTTP3};

/// Which server certificates a client accepts.
///
/// # The system's roots
/// [`Trust::System`] reads the operating system's certificate files or store (on Linux also `SSL_CERT_FILE` and
/// `SSL_CERT_DIR`), and verification is done by rustls with the same provider as all else: the same result on every
/// system, at the price of ignoring revocation services of the platform.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Trust {
    /// Certificates that lead to a root of the operating system.
    #[default]
    System,
    /// Certificates that lead to one of these roots, or are one of them and no authority themselves (`CA:FALSE`): PEM text.
    Roots(Vec<u8>),
    /// Exactly the certificates with these SHA-256 fingerprints of the DER form, whatever name and dates they carry.
    Fingerprints(Vec<[u8; 32]>),
    /// Any certificate. Encrypts, but anybody may be at the other end.
    Insecure,
}

/// A certificate, key or root that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// PEM text without what it should hold, or damaged.
    #[error("cannot read {what}: {reason}")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// Why it was not found.
        reason: String,
    },
    /// A certificate could not be made.
    #[error("cannot generate a certificate: {0}")]
    Generate(String),
    /// No usable root certificate, so no server could ever be trusted.
    #[error("no usable root certificate: {0}")]
    NoRoots(String),
    /// Key and certificate do not fit together or are of a kind not supported.
    #[error("cannot use this certificate: {0}")]
    Unusable(String),
}

/// A rustls error about what was configured.
pub(super) fn unusable(error: rustls::Error) -> TlsError {
    TlsError::Unusable(error.to_string())
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    let provider = rustls::crypto::ring::default_provider();
    Arc::new(provider)
}

/// SHA-256 by the provider; `None` only if it has no TLS 1.3 suite with that hash.
pub(super) fn sha256(provider: &CryptoProvider, data: &[u8]) -> Option<[u8; 32]> {
    let hash = provider
        .cipher_suites
        .iter()
        .filter_map(|suite| suite.tls13())
        .map(|suite| suite.common.hash_provider)
        .find(|hash| hash.algorithm() == HashAlgorithm::SHA256)?;
    hash.hash(data).as_ref().try_into().ok()
}

/// Server side for raw QUIC and WebTransport on one port. QUIC is TLS 1.3 only.
pub(super) fn server(certificate: Arc<Certificate>) -> Result<QuicServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![ALPN_HTTP3.into(), ALPN.into()];
    QuicServerConfig::try_from(config).map_err(|error| TlsError::Unusable(error.to_string()))
}

/// Client side that offers one protocol.
pub(super) fn client(
    verifier: Arc<dyn ServerCertVerifier>,
    alpn: &str,
) -> Result<QuicClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.into()];
    QuicClientConfig::try_from(config).map_err(|error| TlsError::Unusable(error.to_string()))
}

/// Reads what is to be trusted.
pub(super) fn verifier(trust: &Trust) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let provider = provider();
    let pinned = |allowed| {
        Arc::new(Pinned {
            provider: provider.clone(),
            allowed,
        })
    };
    Ok(match trust {
        Trust::System => web_pki(system_roots()?, &provider)?,
        Trust::Roots(pem) => web_pki(roots(pem)?, &provider)?,
        Trust::Fingerprints(fingerprints) => pinned(Some(fingerprints.clone())),
        Trust::Insecure => pinned(None),
    })
}

fn web_pki(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| TlsError::NoRoots(error.to_string()))
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    match (added, found.errors.first()) {
        (0, Some(error)) => Err(TlsError::NoRoots(error.to_string())),
        (0, None) => Err(TlsError::NoRoots("the system has none".to_owned())),
        _ => Ok(roots),
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::NoRoots(error.to_string()))?;
    }
    Ok(roots)
}

/// At least one certificate.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |reason| TlsError::Pem {
        what: "a certificate",
        reason,
    };
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad(error.to_string()))?;
    if found.is_empty() {
        return Err(bad("no CERTIFICATE block in the PEM text".to_owned()));
    }
    Ok(found)
}

/// The server's certificate, which can be replaced while it listens.
#[derive(Debug)]
pub(super) struct Certificate(RwLock<Arc<CertifiedKey>>);

impl Certificate {
    pub(super) fn new(key: Arc<CertifiedKey>) -> Self {
        Self(RwLock::new(key))
    }

    pub(super) fn set(&self, key: Arc<CertifiedKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = key;
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(
            self.0
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
    }
}

/// Accepts certificates by fingerprint, or all of them.
#[derive(Debug)]
struct Pinned {
    provider: Arc<CryptoProvider>,
    allowed: Option<Vec<[u8; 32]>>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(allowed) = &self.allowed else {
            return Ok(ServerCertVerified::assertion());
        };
        match sha256(&self.provider, end_entity) {
            Some(fingerprint) if allowed.contains(&fingerprint) => {
                Ok(ServerCertVerified::assertion())
            }
            _ => Err(rustls::CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_nothing() {
        let hash = sha256(&provider(), b"").unwrap();
        assert_eq!(hash[..4], [0xe3, 0xb0, 0xc4, 0x42]);
    }

    #[test]
    fn roots_without_a_certificate_are_refused() {
        let nothing = Trust::Roots(b"nothing".into());
        assert!(matches!(verifier(&nothing), Err(TlsError::Pem { .. })));
    }
}
