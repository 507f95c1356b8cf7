//! Where one subscription stands in one run.

use std::{collections::VecDeque, time::Instant};

use bytes::{Bytes, BytesMut};

use super::{
    outlet::StreamKey,
    run::{ObjectEntry, Run, RunState},
    schedule::{Lane, Rank},
};

/// Neighbouring pieces below this are put together before they go to the transport, which is slow with many small ones.
const JOIN_BELOW: usize = 1024;

/// Size up to which they are put together.
const JOIN_TO: usize = 4096;

/// A run on its way to a subscriber.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) rank: Rank,
    pub(super) group: u64,
    /// The stream, once it is open.
    pub(super) stream: Option<StreamKey>,
    /// The transport takes nothing now.
    pub(super) blocked: bool,
    /// Where it stands in the schedule.
    pub(super) lane: Option<Lane>,
    /// Nothing that belongs to the subscription is missing before the first object.
    complete: bool,
    /// When the oldest object that is not handed over expires.
    pub(super) deadline: Option<Instant>,
    /// Offset in the run of the next byte to take out.
    next: u64,
    /// End of the run as far as known.
    end: u64,
    /// Taken out of the log and not handed over.
    staged: VecDeque<Bytes>,
    staged_len: usize,
    /// Bytes at the front of `staged` that are not from the run.
    head_len: usize,
    /// How the run ended.
    pub(super) over: Option<RunState>,
}

/// A cursor's run left the log before it was sent.
#[derive(Debug)]
pub(super) struct Lost;

impl Cursor {
    /// A cursor that begins at `first`; `complete` tells whether objects before it are missing that should not be.
    pub(super) fn new(run: &Run, first: &ObjectEntry, rank: Rank, complete: bool) -> Self {
        let mut cursor = Self {
            rank,
            group: run.group(),
            stream: None,
            blocked: false,
            lane: None,
            complete,
            deadline: None,
            next: 0,
            end: 0,
            staged: VecDeque::new(),
            staged_len: 0,
            head_len: 0,
            over: None,
        };
        if !run.starts_with(first) {
            cursor.next = first.start + u64::from(first.delta_len);
            // Numbers that were read from a stream can be written.
            if let Ok(head) = run.late_header(first) {
                cursor.head_len = head.len();
                cursor.staged_len = head.len();
                cursor.staged.push_back(head);
            }
        }
        cursor.end = cursor.next;
        cursor
    }

    /// Learns how far the run goes now.
    pub(super) fn observe(&mut self, run: &Run) {
        self.end = run.end();
        self.over = (!run.is_open()).then_some(run.state);
    }

    /// Bytes of the run that are known and not handed over.
    pub(super) fn behind(&self) -> u64 {
        self.end - self.unsent()
    }

    /// Offset in the run of the first byte that is not handed over.
    pub(super) fn unsent(&self) -> u64 {
        self.next - (self.staged_len - self.head_len) as u64
    }

    /// Whether there is something to do for the stream.
    pub(super) fn is_ready(&self) -> bool {
        self.staged_len > 0 || self.next < self.end || self.over.is_some()
    }

    /// Whether everything is handed over that the run will ever have; then whether FIN is right.
    pub(super) fn is_done(&self) -> Option<bool> {
        let all = self.staged_len == 0 && self.next == self.end;
        match self.over {
            Some(RunState::Finished) if all => Some(self.complete),
            _ => None,
        }
    }

    /// Whether bytes that are still to be taken out have left the log.
    pub(super) fn is_lost(&self, run: Option<&Run>) -> bool {
        match run {
            Some(run) => self.next < run.base(),
            None => self.next < self.end || self.over.is_none(),
        }
    }

    /// Takes bytes out of the log until `max` are staged; returns how many it took.
    pub(super) fn stage(&mut self, run: &Run, max: usize) -> Result<usize, Lost> {
        if self.next < run.base() {
            return Err(Lost);
        }
        let room = max.saturating_sub(self.staged_len);
        let to = self.end.min(self.next + room as u64);
        if to <= self.next {
            return Ok(0);
        }
        let mut small: Option<BytesMut> = None;
        for piece in run.read(self.next, to) {
            let joins =
                piece.len() < JOIN_BELOW && small.as_ref().is_none_or(|row| row.len() < JOIN_TO);
            match &mut small {
                Some(row) if joins => row.extend_from_slice(&piece),
                None if joins && self.joins_back() => {
                    // The piece before was small too: both go on together.
                    let mut row = BytesMut::with_capacity(JOIN_TO);
                    if let Some(back) = self.staged.pop_back() {
                        row.extend_from_slice(&back);
                    }
                    row.extend_from_slice(&piece);
                    small = Some(row);
                }
                _ => {
                    self.staged.extend(small.take().map(BytesMut::freeze));
                    self.staged.push_back(piece);
                }
            }
        }
        self.staged.extend(small.map(BytesMut::freeze));
        let taken = (to - self.next) as usize;
        self.staged_len += taken;
        self.next = to;
        Ok(taken)
    }

    fn joins_back(&self) -> bool {
        self.staged
            .back()
            .is_some_and(|back| back.len() < JOIN_BELOW)
    }

    /// What is staged, to be written.
    pub(super) fn chunks(&mut self) -> &mut [Bytes] {
        self.staged.make_contiguous()
    }

    pub(super) fn staged_len(&self) -> usize {
        self.staged_len
    }

    /// `taken` bytes were taken from the front of the chunks.
    pub(super) fn advance(&mut self, taken: usize) {
        while self.staged.front().is_some_and(Bytes::is_empty) {
            self.staged.pop_front();
        }
        self.staged_len = self.staged_len.saturating_sub(taken);
        self.head_len = self.head_len.saturating_sub(taken);
    }

    /// Gives back what is staged from the run: it can be taken out again; returns how much.
    pub(super) fn unstage(&mut self) -> usize {
        let back = self.staged_len - self.head_len;
        self.next -= back as u64;
        let mut keep = self.head_len;
        for chunk in &mut self.staged {
            chunk.truncate(keep);
            keep -= chunk.len();
        }
        self.staged.retain(|chunk| !chunk.is_empty());
        self.staged_len = self.head_len;
        back
    }
}
