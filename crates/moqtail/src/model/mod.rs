//! Pure: the values of MOQT draft 14 and how they look on the wire. No state, no time, no I/O.
//!
//! A reader meets names, messages and objects here; [`draft14`] turns them into bytes and back.

mod code;
mod control;
mod data;
pub mod draft14;
mod error;
mod location;
mod name;
mod param;

pub use code::*;
pub use control::*;
pub use data::*;
/// The draft in use. Later drafts join beside it; who uses the codec names it here.
pub use draft14::{
    ALPN, ControlDecoder, DecodeOptions, FetchDecoder, ObjectFrame, ObjectItem, ObjectLimits,
    Pairs, StreamHeaderDecoder, SubgroupDecoder, SubgroupEncoder, VERSION, decode_datagram,
    encode_control, encode_datagram, encode_fetch_object, encode_stream_header,
};
pub use error::*;
pub use location::*;
pub use name::*;
pub use param::*;

pub(crate) use draft14::{put_varint, varint_len};

/// Largest value of a variable-length integer: 2^62 - 1 (draft-14 §1.4).
pub const MAX_VARINT: u64 = (1 << 62) - 1;
