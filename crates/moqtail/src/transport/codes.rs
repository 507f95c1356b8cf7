//! MOQT codes to QUIC codes and back.
//!
//! Raw QUIC carries a code as it is; WebTransport maps it into a range of its own among the HTTP/3 codes
//! (0x52e4a40fa8db + n + n / 0x1e).

use quinn::VarInt;
use web_transport_proto::{error_from_http3, error_to_http3};

/// MOQT: the session ends without an error (draft-14 §3.4).
pub(super) const NO_ERROR: u32 = 0x0;
/// HTTP/3: a stream of a type we do not take.
pub(super) const H3_STREAM_CREATION_ERROR: u32 = 0x103;
/// HTTP/3: the connection ends without an error.
pub(super) const H3_NO_ERROR: u32 = 0x100;
/// HTTP/3: a request was not worked on.
pub(super) const H3_REQUEST_REJECTED: u32 = 0x10b;

/// How codes are written on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CodeSpace {
    Quic,
    WebTransport,
}

impl CodeSpace {
    pub(super) fn encode(self, code: u32) -> VarInt {
        match self {
            Self::Quic => VarInt::from_u32(code),
            // The range ends far below 2^62, so the conversion cannot fail.
            Self::WebTransport => VarInt::from_u64(error_to_http3(code)).unwrap_or(VarInt::MAX),
        }
    }

    /// `None` if the peer used a code that no MOQT code maps to.
    pub(super) fn decode(self, code: VarInt) -> Option<u32> {
        match self {
            Self::Quic => u32::try_from(code.into_inner()).ok(),
            Self::WebTransport => error_from_http3(code.into_inner()),
        }
    }

    /// Like [`CodeSpace::decode`] for streams, where INTERNAL_ERROR 0x0 stands for whatever has no MOQT code.
    pub(super) fn stream_code(self, code: VarInt) -> u32 {
        self.decode(code).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_the_way_there_and_back() {
        for code in [
            0,
            1,
            2,
            3,
            29,
            30,
            31,
            42,
            255,
            256,
            65536,
            u32::MAX - 1,
            u32::MAX,
        ] {
            for space in [CodeSpace::Quic, CodeSpace::WebTransport] {
                assert_eq!(
                    space.decode(space.encode(code)),
                    Some(code),
                    "{space:?} {code}"
                );
            }
        }
    }

    #[test]
    fn the_reserved_codes_are_skipped() {
        assert_eq!(
            CodeSpace::WebTransport.encode(0).into_inner(),
            0x52e4a40fa8db
        );
        assert_eq!(
            CodeSpace::WebTransport.encode(29).into_inner(),
            0x52e4a40fa8f8
        );
        assert_eq!(
            CodeSpace::WebTransport.encode(30).into_inner(),
            0x52e4a40fa8fa
        );
    }

    #[test]
    fn codes_outside_the_range_are_not_moqt_codes() {
        assert_eq!(
            CodeSpace::WebTransport.decode(VarInt::from_u32(0x104)),
            None
        );
        assert_eq!(CodeSpace::Quic.decode(VarInt::MAX), None);
        assert_eq!(
            CodeSpace::WebTransport.stream_code(VarInt::from_u32(0x104)),
            0
        );
    }
}
