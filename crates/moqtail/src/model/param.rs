//! Key-Value-Pairs, setup parameters, version-specific parameters and authorization tokens (draft-14 §1.4.2, §9.2).

use std::time::Duration;

use bytes::Bytes;

/// Largest length of an odd-typed value in bytes (draft-14 §1.4.2).
pub const MAX_VALUE_LEN: usize = 65535;

/// A Key-Value-Pair whose meaning is not known here; kept as it came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyValuePair {
    /// Even type with a number.
    Varint {
        /// Even type number.
        key: u64,
        /// The value.
        value: u64,
    },
    /// Odd type with bytes.
    Bytes {
        /// Odd type number.
        key: u64,
        /// The value, at most [`MAX_VALUE_LEN`] bytes.
        value: Bytes,
    },
}

impl KeyValuePair {
    /// The type number.
    pub fn key(&self) -> u64 {
        match self {
            Self::Varint { key, .. } | Self::Bytes { key, .. } => *key,
        }
    }
}

/// An authorization token or an order about one (draft-14 §9.2.1.1).
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum AuthToken {
    /// 0x0: forget `alias` and its token.
    Delete {
        /// Alias in the sender's alias space.
        alias: u64,
    },
    /// 0x1: keep the token under `alias` and use it now.
    Register {
        /// Alias in the sender's alias space.
        alias: u64,
        /// Token Type; 0 is agreed out of band.
        token_type: u64,
        /// The token.
        value: Bytes,
    },
    /// 0x2: use the token kept under `alias`.
    UseAlias {
        /// Alias in the sender's alias space.
        alias: u64,
    },
    /// 0x3: use the token once.
    UseValue {
        /// Token Type; 0 is agreed out of band.
        token_type: u64,
        /// The token.
        value: Bytes,
    },
}

impl std::fmt::Debug for AuthToken {
    /// Token values are secrets and are not printed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Delete { alias } => write!(f, "Delete({alias})"),
            Self::Register {
                alias,
                token_type,
                value,
            } => {
                write!(
                    f,
                    "Register({alias}, type {token_type}, {} bytes)",
                    value.len()
                )
            }
            Self::UseAlias { alias } => write!(f, "UseAlias({alias})"),
            Self::UseValue { token_type, value } => {
                write!(f, "UseValue(type {token_type}, {} bytes)", value.len())
            }
        }
    }
}

/// One setup parameter (draft-14 §9.3.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SetupParameter {
    /// 0x01 PATH: path and query; client on raw QUIC only.
    Path(Bytes),
    /// 0x02 MAX_REQUEST_ID: exclusive limit of the receiver's Request IDs.
    MaxRequestId(u64),
    /// 0x03 AUTHORIZATION TOKEN; may repeat.
    AuthorizationToken(AuthToken),
    /// 0x04 MAX_AUTH_TOKEN_CACHE_SIZE in bytes.
    MaxAuthTokenCacheSize(u64),
    /// 0x05 AUTHORITY; client on raw QUIC only.
    Authority(Bytes),
    /// 0x07 MOQT_IMPLEMENTATION: name and version as text (printed as 0x05 in the draft, 0x07 in practice).
    Implementation(Bytes),
    /// Any other parameter; ignored unless an application knows it.
    Unknown(KeyValuePair),
}

/// The parameters of CLIENT_SETUP or SERVER_SETUP, in the order of the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SetupParameters(pub Vec<SetupParameter>);

impl SetupParameters {
    /// PATH, if present.
    pub fn path(&self) -> Option<&Bytes> {
        self.0.iter().find_map(|p| match p {
            SetupParameter::Path(value) => Some(value),
            _ => None,
        })
    }

    /// AUTHORITY, if present.
    pub fn authority(&self) -> Option<&Bytes> {
        self.0.iter().find_map(|p| match p {
            SetupParameter::Authority(value) => Some(value),
            _ => None,
        })
    }

    /// MAX_REQUEST_ID; 0 when absent (draft-14 §9.3.2.3).
    pub fn max_request_id(&self) -> u64 {
        self.0
            .iter()
            .find_map(|p| match p {
                SetupParameter::MaxRequestId(value) => Some(*value),
                _ => None,
            })
            .unwrap_or(0)
    }

    /// MAX_AUTH_TOKEN_CACHE_SIZE; 0 when absent (draft-14 §9.3.2.4).
    pub fn max_auth_token_cache_size(&self) -> u64 {
        self.0
            .iter()
            .find_map(|p| match p {
                SetupParameter::MaxAuthTokenCacheSize(value) => Some(*value),
                _ => None,
            })
            .unwrap_or(0)
    }

    /// MOQT_IMPLEMENTATION as text, if present and UTF-8.
    pub fn implementation(&self) -> Option<&str> {
        self.0.iter().find_map(|p| match p {
            SetupParameter::Implementation(value) => std::str::from_utf8(value).ok(),
            _ => None,
        })
    }

    /// The authorization tokens in order.
    pub fn tokens(&self) -> impl Iterator<Item = &AuthToken> {
        self.0.iter().filter_map(|p| match p {
            SetupParameter::AuthorizationToken(token) => Some(token),
            _ => None,
        })
    }
}

/// One version-specific parameter (draft-14 §9.2.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Parameter {
    /// 0x02 DELIVERY TIMEOUT in milliseconds.
    DeliveryTimeout(u64),
    /// 0x03 AUTHORIZATION TOKEN; may repeat.
    AuthorizationToken(AuthToken),
    /// 0x04 MAX_CACHE_DURATION in milliseconds.
    MaxCacheDuration(u64),
    /// Any other parameter, and a known one in a message that does not define it; ignored, kept as it came.
    Unknown(KeyValuePair),
}

/// The parameters of one message, in the order of the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Parameters(pub Vec<Parameter>);

impl Parameters {
    /// DELIVERY TIMEOUT, if present and not 0, which draft 14 does not define.
    pub fn delivery_timeout(&self) -> Option<Duration> {
        self.0.iter().find_map(|p| match p {
            Parameter::DeliveryTimeout(ms) if *ms > 0 => Some(Duration::from_millis(*ms)),
            _ => None,
        })
    }

    /// MAX_CACHE_DURATION, if present.
    pub fn max_cache_duration(&self) -> Option<Duration> {
        self.0.iter().find_map(|p| match p {
            Parameter::MaxCacheDuration(ms) => Some(Duration::from_millis(*ms)),
            _ => None,
        })
    }

    /// The authorization tokens in order.
    pub fn tokens(&self) -> impl Iterator<Item = &AuthToken> {
        self.0.iter().filter_map(|p| match p {
            Parameter::AuthorizationToken(token) => Some(token),
            _ => None,
        })
    }
}
