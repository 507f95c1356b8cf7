//! The bytes of a run: shared pieces, small ones packed.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Pieces below this are copied, because the buffers they were received in may be far larger than they are.
const PACK_BELOW: usize = 4096;

/// Largest block that packed pieces share, unless one turn brings more. A stream holds one as long as it is open, and there
/// may be thousands that have nothing to say.
const BLOCK: usize = 16 << 10;

/// What a piece costs besides its bytes.
pub(super) const CHUNK_COST: usize = 96;

/// Bytes of a growing sequence whose front may leave.
#[derive(Debug, Default)]
pub(super) struct ChunkList {
    chunks: VecDeque<(u64, Bytes)>,
    base: u64,
    end: u64,
}

impl ChunkList {
    /// Offset of the first byte that is still here.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Offset after the last byte.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        let start = self.end;
        self.end += bytes.len() as u64;
        if self.chunks.is_empty() {
            self.chunks.reserve_exact(1);
        }
        self.chunks.push_back((start, bytes));
    }

    /// Offset after the first piece.
    pub(super) fn front_end(&self) -> Option<u64> {
        let (start, bytes) = self.chunks.front()?;
        Some(start + bytes.len() as u64)
    }

    /// Lets the first piece go; returns its length.
    pub(super) fn pop_front(&mut self) -> Option<usize> {
        let (start, bytes) = self.chunks.pop_front()?;
        self.base = start + bytes.len() as u64;
        Some(bytes.len())
    }

    fn find(&self, offset: u64) -> usize {
        match self.chunks.back() {
            Some((start, _)) if offset >= *start => self.chunks.len() - 1,
            _ => self
                .chunks
                .partition_point(|(start, _)| *start <= offset)
                .saturating_sub(1),
        }
    }

    /// The pieces from `from` up to, not including, `to`, as far as they are here.
    pub(super) fn read(&self, from: u64, to: u64) -> impl Iterator<Item = Bytes> + '_ {
        let (from, to) = (from.max(self.base), to.min(self.end));
        self.chunks
            .range(self.find(from).min(self.chunks.len())..)
            .take_while(move |(start, _)| *start < to && from < to)
            .map(move |(start, bytes)| {
                let skip = from.saturating_sub(*start) as usize;
                let len = ((to - start) as usize).min(bytes.len());
                if skip == 0 && len == bytes.len() {
                    bytes.clone()
                } else {
                    bytes.slice(skip.min(len)..len)
                }
            })
            .filter(|bytes| !bytes.is_empty())
    }

    /// Whether the bytes at `offset` are `expected`, as far as both are known.
    pub(super) fn agrees(&self, offset: u64, expected: &[u8]) -> bool {
        let known = offset.max(self.base);
        let mut rest = expected
            .get((known - offset) as usize..)
            .unwrap_or_default();
        for piece in self.read(known, offset + expected.len() as u64) {
            let (head, tail) = rest.split_at(piece.len().min(rest.len()));
            if head != piece {
                return false;
            }
            rest = tail;
        }
        true
    }
}

/// Copies small pieces of one stream into blocks of its own.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    block: BytesMut,
    packed: usize,
}

/// What a turn of packing gave.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    /// All bytes, in order.
    pub(crate) chunks: Vec<Bytes>,
    /// Bytes that the block at hand has allocated and not used, more or less than before.
    pub(crate) slack: isize,
    /// Bytes of earlier blocks that will never be used: there as long as what was packed before.
    pub(crate) waste: usize,
}

impl Packer {
    /// Packs the pieces of one turn.
    pub(crate) fn pack(&mut self, pieces: &[Bytes]) -> Packed {
        let mut out = Packed::default();
        let mut rest = pieces;
        while let Some(first) = rest.first() {
            if first.len() >= PACK_BELOW {
                out.chunks.push(first.clone());
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let small = rest
                .iter()
                .take_while(|piece| piece.len() < PACK_BELOW)
                .count();
            let (row, others) = rest.split_at(small);
            self.pack_row(row, &mut out);
            rest = others;
        }
        out
    }

    fn pack_row(&mut self, row: &[Bytes], out: &mut Packed) {
        let len: usize = row.iter().map(Bytes::len).sum();
        if len == 0 {
            return;
        }
        if self.block.capacity() < len {
            out.slack -= self.block.capacity() as isize;
            out.waste += self.block.capacity();
            // A stream of one turn gets exactly what it needs; longer ones get blocks that grow with them.
            self.block = BytesMut::with_capacity(len.max(self.packed.min(BLOCK)));
            out.slack += self.block.capacity() as isize;
        }
        out.slack -= len as isize;
        self.packed += len;
        row.iter()
            .for_each(|piece| self.block.extend_from_slice(piece));
        out.chunks.push(self.block.split().freeze());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gather(pieces: impl Iterator<Item = Bytes>) -> Vec<u8> {
        pieces.flat_map(|piece| piece.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn any_part_can_be_read(
            lens in prop::collection::vec(0_usize..9, 0..20),
            gone in 0_usize..20,
            from in 0_u64..100,
            len in 0_u64..100,
        ) {
            let (mut list, mut all) = (ChunkList::default(), Vec::new());
            for (i, len) in lens.iter().enumerate() {
                let piece = vec![i as u8; *len];
                all.extend_from_slice(&piece);
                list.push(piece.into());
            }
            for _ in 0..gone {
                list.pop_front();
            }
            let clamp = |offset: u64| offset.clamp(list.base(), list.end()) as usize;
            let expected = &all[clamp(from)..clamp(from + len)];
            prop_assert_eq!(gather(list.read(from, from + len)), expected);
            let end = (from + len).min(list.end()) as usize;
            let known = all.get(from as usize..end).unwrap_or_default();
            prop_assert!(list.agrees(from, known));
            if expected.len() == known.len() && !known.is_empty() {
                let mut other = known.to_vec();
                other[known.len() / 2] ^= 1;
                prop_assert!(!list.agrees(from, &other));
            }
        }

        #[test]
        fn packing_keeps_the_bytes_and_counts_them(
            turns in prop::collection::vec(prop::collection::vec(0_usize..9000, 0..6), 0..20),
        ) {
            let (mut packer, mut slack) = (Packer::default(), 0);
            for turn in turns {
                let pieces: Vec<_> = turn
                    .iter()
                    .enumerate()
                    .map(|(i, len)| Bytes::from(vec![i as u8; *len]))
                    .collect();
                let packed = packer.pack(&pieces);
                slack += packed.slack;
                prop_assert!(slack >= 0 && slack == packer.block.capacity() as isize);
                prop_assert_eq!(
                    gather(packed.chunks.into_iter()),
                    gather(pieces.into_iter())
                );
            }
        }
    }

    #[test]
    fn large_pieces_are_shared_and_small_ones_are_not() {
        let large = Bytes::from(vec![1; PACK_BELOW]);
        let small = Bytes::from(vec![2; 10]);
        let packed = Packer::default().pack(&[small.clone(), small.clone(), large.clone()]);
        assert_eq!(packed.chunks.len(), 2);
        assert_eq!(packed.slack, 0);
        assert_eq!(packed.chunks[1].as_ptr(), large.as_ptr());
        assert_ne!(packed.chunks[0].as_ptr(), small.as_ptr());
    }
}
