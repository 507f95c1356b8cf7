//! How draft 14 looks on the wire. Type numbers are known here and nowhere else.

mod coding;
mod control;
mod datagram;
mod extension;
mod fetch;
mod fetch_object;
mod head;
mod message_type;
mod namespace;
mod object;
mod param;
mod primitive;
mod publish;
mod setup;
mod stream;
mod subgroup;
mod subscribe;

pub(crate) use coding::{put_varint, varint_len};
pub use control::{ControlDecoder, MAX_MESSAGE_LEN, encode_control};
pub use datagram::{decode_datagram, encode_datagram};
pub use extension::Pairs;
pub use fetch_object::{FetchDecoder, encode_fetch_object};
pub use object::{ObjectItem, ObjectLimits};
pub use stream::{StreamHeaderDecoder, encode_stream_header};
pub use subgroup::{ObjectFrame, SubgroupDecoder, SubgroupEncoder};

/// Version number in CLIENT_SETUP and SERVER_SETUP (draft-14 §9.3.1).
pub const VERSION: u64 = 0xff00_000e;

/// ALPN of raw QUIC (draft-14 §3.1.2).
pub const ALPN: &str = "moq-00";

/// Deviations from draft 14 that decoding tolerates; all off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodeOptions {
    /// Accept a Track Namespace Prefix without fields in SUBSCRIBE_NAMESPACE and UNSUBSCRIBE_NAMESPACE (draft-14 §9.28 forbids it, later drafts allow it).
    pub allow_empty_namespace_prefix: bool,
}
