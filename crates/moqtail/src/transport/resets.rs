//! Stateless resets that outlive the process (RFC 9000 §10.3): a listener that is started again tells the clients of its
//! predecessor at once that their connections are gone, instead of leaving them to their idle timeouts.
//!
//! A reset token ends the connection that it belongs to, so who else can make or ask for one could end it, too:
//! - Tokens are an HMAC under a key that is derived from the certificate's private key, by a function that cannot be
//!   turned back. A token tells nothing of the key, of other tokens or of the certificate.
//! - Any listener with the same key answers with the token of whatever connection it is asked about, and knows only its own
//!   to be alive (RFC 9000 §21.11). So the key also depends on the address and on the name of the machine: of two that show
//!   one certificate none makes tokens for the other.
//! - Connection IDs are recognized by a hash that may be guessed by who sees enough of them. What that gives is an answer to
//!   made-up ones, smaller than the question and at most so often.
//!
//! A generated certificate has a new key, from which nothing survives.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use quinn::{
    EndpointConfig,
    crypto::{CryptoError, HmacKey},
};
use quinn_proto::HashedConnectionIdGenerator;
use rustls::crypto::{
    CryptoProvider,
    hash::HashAlgorithm,
    tls13::{Hkdf, HkdfExpander, OkmBlock},
};

/// Time between two resets of a listener at least. The crowd that a relay had is back in seconds, and what others send that
/// is no packet of a connection costs a thousand small packets a second at most.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

const SALT: &[u8] = b"moqtail stateless reset";

/// What tokens and connection IDs of a listener are derived from.
#[derive(Clone)]
pub(super) struct ResetSecret {
    hkdf: &'static dyn Hkdf,
    expander: Arc<dyn HkdfExpander>,
}

impl ResetSecret {
    /// Derived from a private key; `None` only if the provider has no TLS 1.3 suite with SHA-256.
    pub(super) fn new(provider: &CryptoProvider, private_key: &[u8]) -> Option<Self> {
        let hkdf = provider
            .cipher_suites
            .iter()
            .filter_map(|suite| suite.tls13())
            .find(|suite| suite.common.hash_provider.algorithm() == HashAlgorithm::SHA256)?
            .hkdf_provider;
        Some(Self {
            hkdf,
            expander: hkdf.extract_from_secret(Some(SALT), private_key).into(),
        })
    }

    /// Settings of the endpoint that listens at `addr` on this machine.
    pub(super) fn endpoint_config(&self, addr: SocketAddr) -> EndpointConfig {
        let host = gethostname::gethostname();
        self.config_at(host.as_encoded_bytes(), addr)
    }

    fn config_at(&self, host: &[u8], addr: SocketAddr) -> EndpointConfig {
        let mut config = EndpointConfig::new(Arc::new(self.key(host, addr)));
        let ids = self.derive(b"connection ids", host, addr);
        let key = ids.as_ref().iter().take(size_of::<u64>());
        let key = key.fold(0, |key, byte| key << u8::BITS | u64::from(*byte));
        config
            .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(key)))
            .min_reset_interval(MIN_INTERVAL);
        config
    }

    fn key(&self, host: &[u8], addr: SocketAddr) -> TokenKey {
        TokenKey {
            hkdf: self.hkdf,
            key: self.derive(b"tokens", host, addr),
        }
    }

    fn derive(&self, purpose: &[u8], host: &[u8], addr: SocketAddr) -> OkmBlock {
        // A host name has no NUL, so nothing can be read in two ways.
        let addr = addr.to_string();
        self.expander
            .expand_block(&[purpose, b"\0", host, b"\0", addr.as_bytes()])
    }
}

impl fmt::Debug for ResetSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResetSecret").finish_non_exhaustive()
    }
}

/// Signs connection IDs; the signature is the token.
struct TokenKey {
    hkdf: &'static dyn Hkdf,
    key: OkmBlock,
}

impl HmacKey for TokenKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        let tag = self.hkdf.hmac_sign(&self.key, data);
        signature.copy_from_slice(tag.as_ref());
    }

    fn signature_len(&self) -> usize {
        self.key.as_ref().len()
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let tag = self.hkdf.hmac_sign(&self.key, data);
        let tag = tag.as_ref();
        // In constant time: where they differ is nobody's business.
        let pairs = tag.iter().zip(signature);
        let differs = pairs.fold(0, |differs, (a, b)| differs | (a ^ b));
        match differs == 0 && tag.len() == signature.len() {
            true => Ok(()),
            false => Err(CryptoError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::tls::provider;

    fn token(private_key: &[u8], host: &[u8], addr: &str) -> Vec<u8> {
        let secret = ResetSecret::new(&provider(), private_key).unwrap();
        let key = secret.key(host, addr.parse().unwrap());
        let mut token = vec![0; key.signature_len()];
        key.sign(b"an id", &mut token);
        assert!(key.verify(b"an id", &token).is_ok());
        assert!(key.verify(b"another", &token).is_err());
        assert!(key.verify(b"an id", &token[1..]).is_err());
        token
    }

    #[test]
    fn tokens_are_those_of_one_key_at_one_place() {
        let here = token(b"key", b"host", "192.0.2.1:443");
        assert_eq!(here, token(b"key", b"host", "192.0.2.1:443"));
        assert_eq!(here.len(), 32);
        for other in [
            token(b"other", b"host", "192.0.2.1:443"),
            token(b"key", b"another", "192.0.2.1:443"),
            token(b"key", b"host", "192.0.2.2:443"),
            token(b"key", b"host", "192.0.2.1:444"),
        ] {
            assert_ne!(here, other);
        }
    }
}
