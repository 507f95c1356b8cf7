//! What a session is told at its start.

use std::fmt;

use bytes::Bytes;

use super::limits::SessionLimits;
use crate::model::{AuthToken, DecodeOptions};

/// Which side of the session this is (draft-14 §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opened the connection; its Request IDs are even.
    Client {
        /// AUTHORITY of the URI, such as `relay.example:4443`. Sent on raw QUIC only (draft-14 §9.3.2.1).
        authority: String,
        /// Path and query of the URI; may be empty. Sent on raw QUIC only (draft-14 §9.3.2.2).
        path: String,
    },
    /// Accepted the connection; its Request IDs are odd.
    Server,
}

/// What the session runs over, as far as its setup depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Raw QUIC or the in-memory twin: AUTHORITY and PATH are in CLIENT_SETUP.
    Raw,
    /// WebTransport: they are in the request, and forbidden in CLIENT_SETUP.
    WebTransport,
}

impl Carrier {
    /// The scheme of URIs of such sessions (draft-14 §3.1.1, §3.1.2).
    pub(super) fn scheme(self) -> &'static str {
        match self {
            Self::Raw => "moqt",
            Self::WebTransport => "https",
        }
    }
}

/// An authorization token with its value at hand (draft-14 §9.2.1.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Token Type; 0 is agreed out of band.
    pub token_type: u64,
    /// The token, a secret.
    pub value: Bytes,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Token(type {}, {} bytes)",
            self.token_type,
            self.value.len()
        )
    }
}

impl From<Token> for AuthToken {
    fn from(token: Token) -> Self {
        Self::UseValue {
            token_type: token.token_type,
            value: token.value,
        }
    }
}

/// Deviations of the peer from draft 14 that are tolerated; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tolerances {
    /// Those that decoding lets pass.
    pub decode: DecodeOptions,
    /// Accept requests in another order than that of their Request IDs, for which draft-14 §9.1 closes the session. Each ID
    /// still has the peer's parity, is below MAX_REQUEST_ID and is used once. An ID that never comes costs the peer credit:
    /// MAX_REQUEST_ID rises with the requests that are finished and have none missing before them, so what is
    /// remembered is no more than [`max_peer_requests`](SessionLimits::max_peer_requests).
    pub allow_any_request_id_order: bool,
}

/// Everything a session is told at its start.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Client or server.
    pub role: Role,
    /// What the session runs over.
    pub carrier: Carrier,
    /// Name and version for MOQT_IMPLEMENTATION; empty: not sent (draft-14 §9.3.2.6).
    pub implementation: String,
    /// Tokens for CLIENT_SETUP or SERVER_SETUP.
    pub tokens: Vec<Token>,
    /// Caps and times.
    pub limits: SessionLimits,
    /// Tolerated deviations of the peer; none by default.
    pub tolerances: Tolerances,
}

impl SessionConfig {
    /// A session of this role over this carrier; the rest is default.
    pub fn new(role: Role, carrier: Carrier) -> Self {
        Self {
            role,
            carrier,
            implementation: concat!("moqtail/", env!("CARGO_PKG_VERSION")).to_owned(),
            tokens: Vec::new(),
            limits: SessionLimits::default(),
            tolerances: Tolerances::default(),
        }
    }
}
