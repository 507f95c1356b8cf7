//! A run: what is delivered of one subgroup as one stream, bytes and an index of its objects.

use std::{collections::VecDeque, time::Instant};

use bytes::{Bytes, BytesMut};

use super::{
    chunks::{CHUNK_COST, ChunkList},
    claim::Properties,
    ids::{RunId, StreamId},
};
use crate::model::{
    EncodeError, ObjectStatus, StreamCode, StreamHeader, SubgroupHeader, SubgroupId,
};
use crate::model::{encode_stream_header, put_varint};

/// Whether a run still grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunState {
    /// More may come.
    Open,
    /// The subgroup is complete.
    Finished,
    /// The rest will not come this way; readers pass the code on.
    Reset(StreamCode),
}

/// Where an object stands in its run. Offsets count from the start of the stream header.
#[derive(Clone, Copy, Debug)]
pub(super) struct ObjectEntry {
    pub(super) id: u64,
    /// First byte of the object's header.
    pub(super) start: u64,
    /// First byte of the payload.
    pub(super) payload: u64,
    /// After the last byte of the payload.
    pub(super) end: u64,
    /// Bytes of the Object ID Delta.
    pub(super) delta_len: u8,
    pub(super) status: ObjectStatus,
    /// When the header was received.
    pub(super) received: Instant,
    /// Place in the order of arrival in the track.
    pub(super) arrival: u64,
}

/// What a run and an entry of its index cost besides their bytes.
pub(super) const RUN_COST: usize = size_of::<Run>() + 256;
const ENTRY_COST: usize = size_of::<ObjectEntry>();
const TAKEN_COST: usize = size_of::<(u64, u64)>();

/// What a run lets go of at once.
pub(super) struct Trimmed {
    /// What it cost.
    pub(super) cost: usize,
    /// When the latest object among it that had waited went into the run, in the order of arrivals.
    pub(super) taken: Option<u64>,
}

/// One run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: RunId,
    /// As it stands at the start of the bytes: downstream Track Alias, Subgroup ID given as upstream gave it.
    pub(super) header: SubgroupHeader,
    pub(super) subgroup: u64,
    /// Its first object.
    pub(super) first: u64,
    /// The object before that on its stream; there is none of the subgroup between the two.
    previous: Option<u64>,
    /// It is finished, and the subgroup had objects on streams before this one.
    pub(super) continues: bool,
    /// It is finished, and this object of the subgroup before its first one may be missing: the last such.
    pub(super) gap: Option<u64>,
    pub(super) state: RunState,
    /// The stream that may append; `None`: it is gone, and another one of the subgroup may go on.
    pub(super) leader: Option<StreamId>,
    /// Why the leader is gone.
    pub(super) lost: StreamCode,
    /// When it last changed, in the order of changes of the track.
    pub(super) change: u64,
    /// The last object that was begun.
    pub(super) last: Option<ObjectEntry>,
    /// The last object whose index entry is gone.
    pub(super) forgotten: Option<ObjectEntry>,
    /// Objects of the index that had waited before they went into the run, and when that was in the order of arrivals.
    taken: VecDeque<(u64, u64)>,
    /// Where an object began that was never completed.
    cut: Option<u64>,
    entries: VecDeque<ObjectEntry>,
    chunks: ChunkList,
    /// Allocated and not used, in the block at hand.
    slack: usize,
    /// The same in earlier blocks, each with an offset: it is free once nothing before that is kept.
    waste: VecDeque<(u64, usize)>,
    wasted: usize,
}

impl Run {
    /// A run whose first object is `first`, which came after `previous` on its stream.
    pub(super) fn new(
        id: RunId,
        header: SubgroupHeader,
        subgroup: u64,
        (previous, first): (Option<u64>, u64),
    ) -> Self {
        Self {
            id,
            header,
            subgroup,
            first,
            previous,
            continues: false,
            gap: None,
            state: RunState::Open,
            leader: None,
            lost: StreamCode::CANCELLED,
            change: 0,
            last: None,
            forgotten: None,
            taken: VecDeque::new(),
            cut: None,
            entries: VecDeque::new(),
            chunks: ChunkList::default(),
            slack: 0,
            waste: VecDeque::new(),
            wasted: 0,
        }
    }

    pub(super) fn group(&self) -> u64 {
        self.header.group
    }

    /// What copies of an object of the run have to have, too.
    pub(super) fn properties(&self, entry: &ObjectEntry) -> Properties {
        Properties {
            subgroup: Some(self.subgroup),
            status: entry.status,
            publisher_priority: self.header.publisher_priority,
            len: entry.end - entry.payload,
        }
    }

    /// The run ends with all of its subgroup, of which `lowest` was the first object; `last_unknown` gives the last object in
    /// a range that may be missing.
    pub(super) fn finish(
        &mut self,
        lowest: u64,
        last_unknown: impl FnOnce(u64, u64) -> Option<u64>,
    ) {
        self.continues = lowest < self.first;
        let to = self.previous.map_or(self.first, |previous| previous + 1);
        self.gap = last_unknown(lowest, to);
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == RunState::Open
    }

    /// Offset after the last byte.
    pub(super) fn end(&self) -> u64 {
        self.chunks.end()
    }

    /// Offset after the last byte that is worth delivering: not those of an object that was never completed.
    pub(super) fn deliverable(&self) -> u64 {
        self.cut.unwrap_or(self.end())
    }

    /// Offset of the first byte that is kept.
    pub(super) fn base(&self) -> u64 {
        self.chunks.base()
    }

    /// Whether the last object that was begun is complete.
    pub(super) fn is_between_objects(&self) -> bool {
        self.last.is_none_or(|last| last.end <= self.end())
    }

    /// Memory that the run holds.
    pub(super) fn cost(&self) -> usize {
        RUN_COST + self.slack + self.wasted
    }

    /// Bytes allocated and not used, in the block at hand.
    pub(super) fn slack(&self) -> usize {
        self.slack
    }

    /// Appends bytes and returns what they cost.
    pub(super) fn push(&mut self, bytes: Bytes) -> usize {
        let cost = bytes.len() + CHUNK_COST;
        self.chunks.push(bytes);
        cost
    }

    /// Counts allocated bytes that are not used yet, and those before the end that will never be.
    pub(super) fn add_slack(&mut self, slack: isize, waste: usize) {
        self.slack = self.slack.saturating_add_signed(slack);
        if waste > 0 {
            self.waste.push_back((self.end(), waste));
            self.wasted += waste;
        }
    }

    /// Adds an object to the index and returns what that costs.
    pub(super) fn begin(&mut self, entry: ObjectEntry) -> usize {
        self.last = Some(entry);
        if self.entries.is_empty() {
            // Most runs have one object or very many.
            self.entries.reserve_exact(1);
        }
        self.entries.push_back(entry);
        ENTRY_COST
    }

    /// Notes that the last object, `id`, had waited and went into the run at `order`; returns what that costs.
    pub(super) fn note_taken(&mut self, id: u64, order: u64) -> usize {
        if self.entries.back().is_none_or(|last| last.id != id) {
            return 0;
        }
        self.taken.push_back((id, order));
        TAKEN_COST
    }

    /// Takes the last object out of the index, because it will not be completed; returns what it cost.
    pub(super) fn abandon_last(&mut self) -> usize {
        let Some(partial) = self.entries.pop_back() else {
            return 0;
        };
        self.last = self.entries.back().copied();
        self.cut = Some(partial.start);
        let waited = self.taken.pop_back_if(|(id, _)| *id == partial.id);
        ENTRY_COST + waited.map_or(0, |_| TAKEN_COST)
    }

    /// Lets the oldest piece go, and index entries with it.
    pub(super) fn trim_front(&mut self) -> Option<Trimmed> {
        let mut taken = None;
        let mut cost = self.chunks.pop_front()? + CHUNK_COST;
        while let Some(entry) = self
            .entries
            .front()
            .filter(|entry| entry.end <= self.chunks.base())
        {
            let gone = *entry;
            self.forgotten = Some(gone);
            self.entries.pop_front();
            cost += ENTRY_COST;
            if let Some((_, order)) = self.taken.pop_front_if(|(id, _)| *id <= gone.id) {
                taken = taken.max(Some(order));
                cost += TAKEN_COST;
            }
        }
        while let Some((_, waste)) = self
            .waste
            .pop_front_if(|(end, _)| *end <= self.chunks.base())
        {
            self.wasted -= waste;
            cost += waste;
        }
        Some(Trimmed { cost, taken })
    }

    /// When the last object of which the oldest piece has bytes was received.
    pub(super) fn front_received(&self) -> Option<Instant> {
        let last = self.chunks.front_end()?.checked_sub(1)?;
        self.entry_at(last).map(|entry| entry.received)
    }

    pub(super) fn read(&self, from: u64, to: u64) -> impl Iterator<Item = Bytes> + '_ {
        self.chunks.read(from, to)
    }

    /// Whether the bytes at `offset` are `expected`, as far as they are here.
    pub(super) fn agrees(&self, offset: u64, expected: &[u8]) -> bool {
        self.chunks.agrees(offset, expected)
    }

    /// Index entry of an object.
    pub(super) fn entry(&self, id: u64) -> Option<&ObjectEntry> {
        let at = self.entries.binary_search_by_key(&id, |entry| entry.id);
        self.entries.get(at.ok()?)
    }

    /// Whether an object after `previous` and before `next` is in it, or was before it left.
    pub(super) fn had_between(&self, previous: u64, next: u64) -> bool {
        let at = self.entries.partition_point(|entry| entry.id <= previous);
        if self.entries.get(at).is_some_and(|entry| entry.id < next) {
            return true;
        }
        let kept = match self.entries.front() {
            Some(front) => front.id,
            None => self.last_id().map_or(0, |last| last.saturating_add(1)),
        };
        self.forgotten.is_some() && self.first < next && kept > previous.saturating_add(1)
    }

    /// The last object that is in it, or was before it left.
    pub(super) fn last_object(&self) -> Option<ObjectEntry> {
        let objects = [self.last, self.forgotten].into_iter().flatten();
        objects.max_by_key(|object| object.id)
    }

    fn last_id(&self) -> Option<u64> {
        self.last_object().map(|object| object.id)
    }

    /// The object that holds the byte at `offset`.
    pub(super) fn entry_at(&self, offset: u64) -> Option<&ObjectEntry> {
        let at = self.entries.partition_point(|entry| entry.end <= offset);
        self.entries.get(at)
    }

    /// The first object whose header begins at `offset` or after it.
    pub(super) fn entry_from(&self, offset: u64) -> Option<&ObjectEntry> {
        let at = self.entries.partition_point(|entry| entry.start < offset);
        self.entries.get(at)
    }

    /// The first object that `passes`, where objects that pass are the last ones; and the one before it.
    pub(super) fn first_passing(
        &self,
        passes: impl Fn(&ObjectEntry) -> bool,
    ) -> Option<(&ObjectEntry, Option<&ObjectEntry>)> {
        let at = match self.entries.back() {
            // The usual cases: all of a new run, or the newest object of an old one.
            _ if self.entries.front().is_some_and(&passes) => 0,
            _ => self.entries.partition_point(|entry| !passes(entry)),
        };
        let before = at
            .checked_sub(1)
            .and_then(|before| self.entries.get(before));
        Some((self.entries.get(at)?, before))
    }

    /// Whether nothing before `entry` was ever in the run, so that the stream can start with the run's own header.
    pub(super) fn starts_with(&self, entry: &ObjectEntry) -> bool {
        self.forgotten.is_none()
            && self.chunks.base() == 0
            && self
                .entries
                .front()
                .is_some_and(|first| first.id == entry.id)
    }

    /// The header for a stream that starts with `entry`, which is not the first of the run: the Subgroup ID is explicit
    /// where it was that of the first object, and the first delta is the Object ID itself. The object continues after
    /// its own delta.
    pub(super) fn late_header(&self, entry: &ObjectEntry) -> Result<Bytes, EncodeError> {
        let mut header = self.header;
        // draft-14 §10.4.2: another first object would mean another subgroup
        if header.subgroup == SubgroupId::FirstObject {
            header.subgroup = SubgroupId::Explicit(self.subgroup);
        }
        let mut out = BytesMut::with_capacity(48);
        encode_stream_header(&StreamHeader::Subgroup(header), &mut out)?;
        put_varint(&mut out, "Object ID Delta", entry.id)?;
        Ok(out.freeze())
    }
}

/// The stream header as bytes.
pub(super) fn header_bytes(header: &SubgroupHeader) -> Result<Bytes, EncodeError> {
    let mut out = BytesMut::with_capacity(40);
    encode_stream_header(&StreamHeader::Subgroup(*header), &mut out)?;
    Ok(out.freeze())
}

/// The Object ID Delta of an object that follows `previous`, or begins its stream.
pub(super) fn delta_bytes(previous: Option<u64>, id: u64) -> Result<Bytes, EncodeError> {
    let delta = previous.map_or(id, |previous| id.saturating_sub(previous).saturating_sub(1));
    let mut out = BytesMut::with_capacity(8);
    put_varint(&mut out, "Object ID Delta", delta)?;
    Ok(out.freeze())
}
