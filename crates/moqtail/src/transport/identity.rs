//! A server's certificate and key.

use std::{fmt, sync::Arc, time::Duration};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::{
    resets::ResetSecret,
    tls::{TlsError, certificates, provider, sha256, unusable},
};

/// How long a generated certificate is valid. Browsers accept a fingerprint for at most 14 days.
const VALIDITY: Duration = Duration::from_secs(10 * 24 * 3600);

/// How far back a generated certificate reaches, for peers whose clock is late.
const CLOCK_SLACK: Duration = Duration::from_secs(3600);

/// Names that every generated certificate has.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Certificate chain and private key that a server shows its clients.
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    resets: ResetSecret,
    pem: Arc<str>,
    fingerprint: [u8; 32],
}

impl Identity {
    /// Makes a new self-signed certificate: ECDSA P-256, valid for 10 days from an hour ago, for `names` (host names or
    /// addresses) and for localhost, 127.0.0.1 and ::1. It exists in memory only.
    ///
    /// # Errors
    /// A name that is no host name.
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates are dated by the wall clock"
    )]
    pub fn generate<I>(names: I) -> Result<Self, TlsError>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let failed = |error: rcgen::Error| TlsError::Generate(error.to_string());
        let mut all: Vec<String> = LOCAL_NAMES.map(Into::into).into();
        for name in names.into_iter().map(Into::into) {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        let mut params = CertificateParams::new(all).map_err(failed)?;
        let now = std::time::SystemTime::now();
        params.not_before = (now - CLOCK_SLACK).into();
        params.not_after = (now - CLOCK_SLACK + VALIDITY).into();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        let der = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Self::new(vec![certificate.der().clone()], der)
    }

    /// Reads a certificate chain, the server's own first, and its private key from PEM text.
    ///
    /// # Errors
    /// Text without certificate or key, a key of a kind not supported, or one that belongs to another certificate.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| TlsError::Pem {
            what: "a private key",
            reason: e.to_string(),
        })?;
        Self::new(certificates(chain)?, key)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        let provider = provider();
        let no_sha256 = || TlsError::Unusable("the TLS provider has no SHA-256".to_owned());
        let fingerprint = chain
            .first()
            .and_then(|leaf| sha256(&provider, leaf))
            .ok_or_else(no_sha256)?;
        let resets = ResetSecret::new(&provider, key.secret_der()).ok_or_else(no_sha256)?;
        let blocks: Vec<_> = chain
            .iter()
            .map(|der| pem::Pem::new("CERTIFICATE", der.to_vec()))
            .collect();
        let pem = pem::encode_many(&blocks).into();
        let key = Arc::new(CertifiedKey::from_der(chain, key, &provider).map_err(unusable)?);
        Ok(Self {
            key,
            resets,
            pem,
            fingerprint,
        })
    }

    /// SHA-256 of the server's own certificate in DER form: what browsers take as `serverCertificateHashes`.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// The certificate chain as PEM text; the key is not in it.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn certified_key(&self) -> Arc<CertifiedKey> {
        self.key.clone()
    }

    pub(super) fn resets(&self) -> &ResetSecret {
        &self.resets
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_survives_as_pem() {
        let identity = Identity::generate(Vec::<String>::new()).unwrap();
        let read = certificates(identity.certificate_pem().as_bytes()).unwrap();
        assert_eq!(read, identity.certified_key().cert);
    }

    #[test]
    fn a_generated_identity_has_its_own_fingerprint() {
        let one = Identity::generate(["example.org"]).unwrap();
        let two = Identity::generate(["localhost"]).unwrap();
        assert_ne!(one.fingerprint(), two.fingerprint());
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let der = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let chain = certificates(
            Identity::generate(Vec::<String>::new())
                .unwrap()
                .certificate_pem()
                .as_bytes(),
        );
        assert!(matches!(
            Identity::new(chain.unwrap(), der),
            Err(TlsError::Unusable(_))
        ));
    }

    #[test]
    fn text_without_a_certificate_or_key_is_refused() {
        assert!(matches!(
            Identity::from_pem(b"", b""),
            Err(TlsError::Pem { .. })
        ));
    }
}
