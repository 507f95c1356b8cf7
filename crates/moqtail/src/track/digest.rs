//! Telling payloads apart without keeping them.

/// Bytes that are taken in at once, as one number for each lane.
const BLOCK: usize = 32;

/// An odd number without pattern: 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Takes in a payload in pieces of any size, far faster than a network brings them. It finds what is different by accident
/// or neglect; who wants two payloads with one digest can make them.
#[derive(Clone, Debug)]
pub(super) struct Digest {
    lanes: [u64; BLOCK / 8],
    /// Bytes that are not a block yet.
    rest: [u8; BLOCK],
    held: usize,
}

impl Default for Digest {
    fn default() -> Self {
        Self {
            lanes: [1, 2, 3, 4],
            rest: [0; BLOCK],
            held: 0,
        }
    }
}

impl Digest {
    /// Takes in the next bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        if self.held > 0 {
            bytes = self.keep(bytes);
            if self.held < BLOCK {
                return;
            }
            let block = self.rest;
            self.take(&block);
            self.held = 0;
        }
        let (blocks, rest) = bytes.as_chunks();
        for block in blocks {
            self.take(block);
        }
        self.keep(rest);
    }

    /// The digest of all that was taken in, up to zeros at the end.
    pub(super) fn finish(mut self) -> u64 {
        if let Some(unused) = self.rest.get_mut(self.held..) {
            unused.fill(0);
        }
        let block = self.rest;
        self.take(&block);
        self.lanes.into_iter().fold(0, mix)
    }

    /// Fills the block that is not complete; returns what is left.
    fn keep<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let space = self.rest.get_mut(self.held..).unwrap_or_default();
        let (kept, left) = bytes.split_at(space.len().min(bytes.len()));
        for (space, byte) in space.iter_mut().zip(kept) {
            *space = *byte;
        }
        self.held += kept.len();
        left
    }

    fn take(&mut self, block: &[u8; BLOCK]) {
        let (words, _) = block.as_chunks();
        for (lane, word) in self.lanes.iter_mut().zip(words) {
            *lane = mix(*lane, u64::from_le_bytes(*word));
        }
    }
}

fn mix(lane: u64, word: u64) -> u64 {
    (lane.rotate_left(23) ^ word).wrapping_mul(FACTOR)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u64 {
        let mut digest = Digest::default();
        pieces.into_iter().for_each(|piece| digest.push(piece));
        digest.finish()
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference_and_bytes_do(
            bytes in prop::collection::vec(any::<u8>(), 1..300),
            step in 1_usize..100,
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let whole = digest([&bytes[..]]);
            prop_assert_eq!(digest(bytes.chunks(step)), whole);
            let mut other = bytes.clone();
            *at.get_mut(&mut other) ^= 1_u8 << bit;
            prop_assert_ne!(digest([&other[..]]), whole);
            let (front, back) = bytes.split_at(at.index(bytes.len()));
            if front != back && bytes != [back, front].concat() {
                prop_assert_ne!(digest([back, front]), whole);
            }
        }
    }
}
