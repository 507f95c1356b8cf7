//! Sub-protocol offers that cannot be parsed.
//!
//! The library that decodes the CONNECT request refuses a request whose `wt-available-protocols` is not a list of
//! strings. Draft 14 negotiates its version in SETUP, so such an offer counts as none: the field is cut out of the
//! encoded field section and the request is decoded again.

use web_transport_proto::{ConnectError, ConnectRequest, Frame, VarInt};

const NAME: &[u8] = b"wt-available-protocols";

/// [`NAME`] in the Huffman code of RFC 7541, of which every string has one form.
const NAME_HUFFMAN: &[u8] = &[
    0xf0, 0x95, 0x87, 0xdc, 0x66, 0xa0, 0x71, 0xd0, 0x55, 0xab, 0xb0, 0xe9, 0x39, 0x0f, 0x42, 0x3f,
];

/// Decodes a field section into a request, with no offered protocols if the offer cannot be parsed.
pub(super) fn decode_request(section: &[u8]) -> Result<ConnectRequest, ConnectError> {
    match ConnectRequest::decode(&mut frame(section).as_slice()) {
        // The second: it may be an offer that is not even text.
        Err(error @ (ConnectError::InvalidProtocol | ConnectError::QpackError(_))) => {
            let section = without_offer(section).ok_or(error)?;
            ConnectRequest::decode(&mut frame(&section).as_slice())
        }
        result => result,
    }
}

fn frame(section: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    Frame::HEADERS.encode(&mut frame);
    VarInt::from_u32(u32::try_from(section.len()).unwrap_or(u32::MAX)).encode(&mut frame);
    frame.extend_from_slice(section);
    frame
}

/// Copies a QPACK field section (RFC 9204 §4.5) without its offer lines; `None` if it is malformed or uses the dynamic
/// table, which is never offered.
pub(super) fn without_offer(section: &[u8]) -> Option<Vec<u8>> {
    let mut rest = section;
    integer(&mut rest, 8)?;
    integer(&mut rest, 7)?;
    let mut kept = section[..section.len() - rest.len()].to_vec();
    while let Some(first) = rest.first() {
        let line = rest;
        let mut offer = false;
        if first & 0b1100_0000 == 0b1100_0000 {
            integer(&mut rest, 6)?;
        } else if first & 0b1101_0000 == 0b0101_0000 {
            integer(&mut rest, 4)?;
            string(&mut rest, 7)?;
        } else if first & 0b1110_0000 == 0b0010_0000 {
            let huffman = first & 0b1000 != 0;
            let name = string(&mut rest, 3)?;
            string(&mut rest, 7)?;
            offer = name == if huffman { NAME_HUFFMAN } else { NAME };
        } else {
            return None;
        }
        if !offer {
            kept.extend_from_slice(&line[..line.len() - rest.len()]);
        }
    }
    Some(kept)
}

/// An integer with a prefix of so many bits (RFC 7541 §5.1).
fn integer(bytes: &mut &[u8], bits: u32) -> Option<usize> {
    let (first, mut rest) = bytes.split_first()?;
    let mask = usize::from(u8::MAX >> (8 - bits));
    let mut value = usize::from(*first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (byte, tail) = rest.split_first()?;
            rest = tail;
            if shift > 21 {
                return None;
            }
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *bytes = rest;
    Some(value)
}

fn string<'a>(bytes: &mut &'a [u8], bits: u32) -> Option<&'a [u8]> {
    let length = integer(bytes, bits)?;
    let (string, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(string)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A request with this offer line between other lines.
    fn section(name: &[u8], huffman: bool, value: &[u8]) -> Vec<u8> {
        let request = ConnectRequest::new(url::Url::parse("https://example.org/p?q").unwrap());
        let mut encoded = Vec::new();
        request.encode(&mut encoded).unwrap();
        let mut frame = encoded.as_slice();
        let (_, payload) = Frame::read(&mut frame).unwrap();
        let length = payload.limit();
        let mut section = encoded[encoded.len() - length..].to_vec();
        let mut line = vec![0b0010_0111 | u8::from(huffman) << 3];
        line.push(u8::try_from(name.len() - 7).unwrap());
        line.extend_from_slice(name);
        line.push(u8::try_from(value.len()).unwrap());
        line.extend_from_slice(value);
        section.splice(2..2, line);
        section
    }

    #[test]
    fn an_offer_is_read_in_both_spellings_of_its_name() {
        for (name, huffman) in [(NAME, false), (NAME_HUFFMAN, true)] {
            let request = decode_request(&section(name, huffman, b"\"moq-00\"")).unwrap();
            assert_eq!(request.protocols, ["moq-00"]);
        }
    }

    #[test]
    fn an_offer_that_cannot_be_parsed_counts_as_none() {
        for value in [
            &b"moq-00"[..],
            b"\"moq-00",
            b"(",
            b"1, 2",
            b"moq-00, \"x\"",
            b"\"moq-\xff\"",
        ] {
            for (name, huffman) in [(NAME, false), (NAME_HUFFMAN, true)] {
                let request = decode_request(&section(name, huffman, value)).unwrap();
                assert!(request.protocols.is_empty());
                assert_eq!(request.url.as_str(), "https://example.org/p?q");
            }
        }
    }

    #[test]
    fn a_cut_section_is_an_error() {
        let whole = section(NAME, false, b"(");
        for end in 0..whole.len() {
            let _ = without_offer(&whole[..end]);
        }
        assert!(without_offer(&whole[..10]).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(kept) = without_offer(&bytes) {
                prop_assert!(kept.len() <= bytes.len());
            }
            let _ = decode_request(&bytes);
        }
    }
}
