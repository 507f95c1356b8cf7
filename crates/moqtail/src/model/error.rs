//! Why bytes are not draft 14, and why a value cannot be written.

use std::fmt;

use super::SessionCode;

/// Bytes of a peer break draft 14. The peer is to blame; the session ends with [`DecodeError::code`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} at byte {offset}: {kind}")]
pub struct DecodeError {
    /// What is wrong.
    pub kind: DecodeErrorKind,
    /// Field of the draft in which it was found.
    pub field: &'static str,
    /// Offset in bytes from the start of the message, datagram or stream.
    pub offset: u64,
}

/// What is wrong with the bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The message, datagram, stream or enclosing length ends inside the field.
    #[error("ends inside the field")]
    UnexpectedEnd,
    /// Bytes are left over after the last field.
    #[error("{0} bytes left over")]
    TrailingBytes(usize),
    /// A message, stream or datagram type that draft 14 does not have.
    #[error("unknown type {0:#x}")]
    UnknownType(u64),
    /// A number outside the values that draft 14 allows.
    #[error("value {0:#x} is not allowed")]
    InvalidValue(u64),
    /// A length or count over the limit.
    #[error("length {len} is over the limit of {max}")]
    TooLong {
        /// What the peer said.
        len: u64,
        /// What is allowed.
        max: u64,
    },
    /// A namespace or name outside its limits.
    #[error(transparent)]
    Name(#[from] super::NameError),
    /// A parameter that may stand once stands twice.
    #[error("parameter {0:#x} is repeated")]
    DuplicateParameter(u64),
    /// A value that does not fit the type of its Key-Value-Pair.
    #[error("value does not fit parameter {0:#x}")]
    KeyValueFormat(u64),
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// Extension headers on an object that does not exist.
    #[error("extension headers on an object that does not exist")]
    Extensions,
    /// A Track Namespace Prefix without fields (draft-14 §9.28); see [`Tolerance::EmptyNamespacePrefix`].
    #[error("a prefix without fields")]
    EmptyNamespacePrefix,
    /// Legal in draft 14, but more than this endpoint takes.
    #[error("length {len} is over this endpoint's limit of {max}")]
    OverLimit {
        /// What the peer said.
        len: u64,
        /// What is accepted.
        max: u64,
    },
}

impl DecodeError {
    /// The session termination code that draft 14 asks for; INTERNAL_ERROR for limits of this endpoint.
    pub fn code(&self) -> SessionCode {
        match self.kind {
            // draft-14 §1.4.2, §9.2.1.1
            DecodeErrorKind::KeyValueFormat(_) => SessionCode::KEY_VALUE_FORMATTING_ERROR,
            DecodeErrorKind::UnexpectedEnd
            | DecodeErrorKind::TrailingBytes(_)
            | DecodeErrorKind::UnknownType(_)
            | DecodeErrorKind::InvalidValue(_)
            | DecodeErrorKind::TooLong { .. }
            | DecodeErrorKind::Name(_)
            | DecodeErrorKind::DuplicateParameter(_)
            | DecodeErrorKind::NotUtf8
            | DecodeErrorKind::EmptyNamespacePrefix
            | DecodeErrorKind::Extensions => SessionCode::PROTOCOL_VIOLATION,
            DecodeErrorKind::OverLimit { .. } => SessionCode::INTERNAL_ERROR,
        }
    }

    /// The deviation by which these bytes would have been accepted, if it was tolerated.
    pub fn tolerance(&self) -> Option<Tolerance> {
        match self.kind {
            DecodeErrorKind::EmptyNamespacePrefix => Some(Tolerance::EmptyNamespacePrefix),
            _ => None,
        }
    }
}

/// A deviation from draft 14 that widely used peers show and that can be let pass. `Display` is its name, as the command line
/// takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tolerance {
    /// SUBSCRIBE_NAMESPACE and UNSUBSCRIBE_NAMESPACE with a prefix without fields (draft-14 §9.28 forbids it, later drafts
    /// allow it): [`allow_empty_namespace_prefix`](super::DecodeOptions::allow_empty_namespace_prefix).
    EmptyNamespacePrefix,
    /// Requests whose Request IDs are not in order (draft-14 §9.1):
    /// [`allow_any_request_id_order`](crate::session::Tolerances::allow_any_request_id_order).
    RequestIdOrder,
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyNamespacePrefix => "empty-namespace-prefix",
            Self::RequestIdOrder => "request-id-order",
        })
    }
}

/// Extension headers make the track malformed (draft-14 §2.5, §11). The original publisher is to blame; the session goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedExtensions {
    /// Prior Group ID Gap or Prior Object ID Gap stands twice.
    #[error("a gap is told twice")]
    RepeatedGap,
    /// A gap reaches below group 0 or object 0.
    #[error("a gap is larger than the ID before which it lies")]
    GapTooLarge,
    /// Immutable Extensions inside Immutable Extensions.
    #[error("Immutable Extensions are nested")]
    NestedImmutable,
    /// The inside of Immutable Extensions is no sequence of pairs.
    #[error("Immutable Extensions are broken: {0}")]
    BrokenImmutable(#[source] DecodeError),
}

/// A value cannot be written in draft 14. The caller is to blame; nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A number over 2^62 - 1.
    #[error("{field} is {value}, over the largest varint 2^62 - 1")]
    VarintRange {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// A length over the limit of its field.
    #[error("{field} has {len} bytes, over the limit of {max}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its length.
        len: usize,
        /// What is allowed.
        max: usize,
    },
    /// Objects of a subgroup must rise by Object ID.
    #[error("object {object} does not follow object {previous}")]
    ObjectOrder {
        /// The object written before.
        previous: u64,
        /// The object asked for.
        object: u64,
    },
    /// Extension headers on a stream or datagram type without them, or on status 0x1.
    #[error("extension headers are not possible here")]
    Extensions,
    /// A field that draft 14 forbids in this place, such as an empty namespace prefix.
    #[error("{0} is not allowed here")]
    NotAllowed(&'static str),
}
