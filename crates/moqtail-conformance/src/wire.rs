//! Variable-length integers (RFC 9000 §16) written and read by hand.

/// Largest variable-length integer: 2^62 - 1.
pub const HUGE: u64 = (1 << 62) - 1;

/// `value` in its shortest form; bits above 62 are lost.
pub fn varint(value: u64) -> Vec<u8> {
    let value = value & HUGE;
    let (length, mark) = match value {
        0..0x40 => (1, 0x00),
        0x40..0x4000 => (2, 0x40),
        0x4000..0x4000_0000 => (4, 0x80),
        _ => (8, 0xc0),
    };
    let mut bytes = value.to_be_bytes()[8 - length..].to_vec();
    if let Some(first) = bytes.first_mut() {
        *first |= mark;
    }
    bytes
}

/// Bytes with their length in front.
pub fn prefixed(bytes: &[u8]) -> Vec<u8> {
    let mut out = varint(bytes.len() as u64);
    out.extend_from_slice(bytes);
    out
}

/// Reads fields off the front of bytes; `None` when they end too early.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A variable-length integer.
    pub fn varint(&mut self) -> Option<u64> {
        let length = 1_usize << (self.0.first()? >> 6);
        let bytes = self.bytes(length)?;
        let value = bytes
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte));
        Some(value & (HUGE >> (64 - 8 * length)))
    }

    /// So many bytes.
    pub fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_way_there_and_back() {
        for value in [
            0,
            0x3f,
            0x40,
            0x3fff,
            0x4000,
            0x3fff_ffff,
            0x4000_0000,
            HUGE,
        ] {
            let bytes = varint(value);
            let mut reader = Reader(&bytes);
            assert_eq!(reader.varint(), Some(value), "{bytes:x?}");
            assert!(reader.0.is_empty());
            let cut = &bytes[..bytes.len() - 1];
            assert_eq!(Reader(cut).varint(), None);
        }
    }

    #[test]
    fn the_examples_of_rfc_9000_are_written_as_they_stand_there() {
        assert_eq!(varint(37), [0x25]);
        assert_eq!(varint(15_293), [0x7b, 0xbd]);
        assert_eq!(varint(494_878_333), [0x9d, 0x7f, 0x3e, 0x7d]);
        assert_eq!(
            varint(151_288_809_941_952_652),
            [0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]
        );
    }
}
