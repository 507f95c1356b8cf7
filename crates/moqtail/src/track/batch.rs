//! What one stream brought in one turn, parsed and packed before the log is locked.

use bytes::Bytes;

use super::{
    chunks::{Packed, Packer},
    claim::Claim,
};
use crate::model::{Gaps, Location, ObjectStatus, SubgroupHeader};

/// The header of an object that begins in a batch. Offsets count from the end of the stream header.
#[derive(Clone, Copy, Debug)]
pub(super) struct ObjectMark {
    pub(super) id: u64,
    pub(super) start: u64,
    pub(super) head_len: u64,
    pub(super) delta_len: u8,
    pub(super) payload_len: u64,
    pub(super) status: ObjectStatus,
    pub(super) gaps: Gaps,
}

impl ObjectMark {
    pub(super) fn payload(&self) -> u64 {
        self.start + self.head_len
    }

    pub(super) fn end(&self) -> u64 {
        self.payload() + self.payload_len
    }

    /// What the object says in this group.
    pub(super) fn claim(&self, group: u64) -> Claim {
        Claim {
            at: Location::new(group, self.id),
            status: self.status,
            gaps: self.gaps,
        }
    }
}

/// Bytes of a stream in order, and the objects that begin in them. Never holds part of an object's header.
#[derive(Debug)]
pub(super) struct Batch {
    /// Stream offset of the first byte that is not the stream header.
    pub(super) start: u64,
    /// Stream offset after the last byte.
    pub(super) end: u64,
    /// Bytes of the stream header that go before `start`; 0 but in the first batch of a stream.
    pub(super) header_len: u64,
    pub(super) objects: Vec<ObjectMark>,
    pub(super) slack: isize,
    pub(super) waste: usize,
    chunks: Vec<Bytes>,
}

impl Batch {
    /// Packs `pieces`, which start at `start`, after the encoded stream header if there is one.
    pub(super) fn pack(
        packer: &mut Packer,
        header: Option<Bytes>,
        mut pieces: Vec<Bytes>,
        start: u64,
        objects: Vec<ObjectMark>,
    ) -> Self {
        let end = start + pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let header_len = header.as_ref().map_or(0, |header| header.len() as u64);
        pieces.splice(0..0, header);
        let Packed {
            chunks,
            slack,
            waste,
        } = packer.pack(&pieces);
        Self {
            start,
            end,
            header_len,
            objects,
            slack,
            waste,
            chunks,
        }
    }

    /// The bytes from stream offset `from` up to, not including, `to`; with the stream header if `header`.
    pub(super) fn bytes(
        &self,
        header: bool,
        from: u64,
        to: u64,
    ) -> impl Iterator<Item = Bytes> + '_ {
        let from = if header {
            0
        } else {
            from - self.start + self.header_len
        };
        let to = to - self.start + self.header_len;
        let mut at = 0;
        self.chunks.iter().filter_map(move |chunk| {
            let len = chunk.len() as u64;
            let (begin, end) = (from.max(at), to.min(at + len));
            let piece = (begin < end).then(|| {
                if end - begin == len {
                    chunk.clone()
                } else {
                    chunk.slice((begin - at) as usize..(end - at) as usize)
                }
            });
            at += len;
            piece
        })
    }
}

/// A stream header with the Track Alias that this side tells its subscribers.
pub(super) fn downstream(
    header: &SubgroupHeader,
    alias: crate::model::TrackAlias,
) -> SubgroupHeader {
    SubgroupHeader {
        track_alias: alias,
        ..*header
    }
}
