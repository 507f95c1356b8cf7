//! What the HTTP side shows, and how; it changes with the relay's certificate.

use super::tls::Tls;
use crate::values::Fingerprint;

/// The relay's certificate, as far as the HTTP side needs it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// SHA-256 of the relay's certificate.
    pub(crate) fingerprint: Fingerprint,
    /// The certificate for HTTPS; none: plain HTTP.
    pub(crate) tls: Option<Tls>,
}
