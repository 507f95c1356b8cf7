//! Where one subscription stands in one run.

use std::{collections::VecDeque, time::Instant};

use bytes::{Bytes, BytesMut};

use super::{
    SubscriptionId,
    ids::{RunId, SubgroupKey},
    left::Gone,
    outlet::StreamKey,
    run::{ObjectEntry, Run, RunState},
    schedule::{Lane, Rank, Schedule},
};
use crate::model::StreamCode;

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
    /// The outlet tells when the peer stops the stream, or will be asked to.
    pub(super) watched: bool,
    /// It is counted as one that waits.
    pub(super) waits: bool,
    /// Where it stands in the schedule.
    pub(super) lane: Option<Lane>,
    /// Nothing that belongs to the subscription is missing before the first object.
    complete: bool,
    /// It has ended, and the subgroup may have had objects that belong to the subscription on streams before this one.
    pub(super) continues: bool,
    /// Lowest Object ID that belongs to the subscription.
    least: u64,
    /// When the oldest object that is not handed over expires.
    pub(super) deadline: Option<Instant>,
    /// When that object was received.
    pub(super) oldest: Option<Instant>,
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
    over: Option<RunState>,
    /// The first object, and where it begins in the run.
    first_object: u64,
    origin: u64,
    /// The same, after what stands in the head instead.
    first: u64,
    /// Arrival of the newest object of the run, and where it begins.
    newest: (u64, u64),
    newest_id: u64,
    /// All of it has come.
    newest_is_whole: bool,
    /// When that object was received.
    pub(super) newest_received: Instant,
    /// Everything is handed over; until then the reset waits.
    pub(super) lingers: Option<(Instant, StreamCode)>,
}

/// How a stream ends that has all it will ever have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Fin,
    Reset(StreamCode),
}

/// A cursor's run left the log before it was sent.
#[derive(Debug)]
pub(super) struct Lost;

impl Cursor {
    /// A cursor that begins at `first`, where objects from `least` on belong to the subscription; `complete` tells whether
    /// none of them is missing before `first` in the run.
    pub(super) fn new(
        run: &Run,
        first: &ObjectEntry,
        least: u64,
        rank: Rank,
        complete: bool,
    ) -> Self {
        let mut cursor = Self {
            rank,
            group: run.group(),
            stream: None,
            blocked: false,
            watched: false,
            waits: false,
            lane: None,
            complete,
            continues: false,
            least,
            deadline: None,
            oldest: None,
            next: 0,
            end: 0,
            staged: VecDeque::new(),
            staged_len: 0,
            head_len: 0,
            over: None,
            first_object: first.id,
            origin: first.start,
            first: first.start,
            newest: (first.arrival, first.start),
            newest_id: first.id,
            newest_is_whole: false,
            newest_received: first.received,
            lingers: None,
        };
        if !run.starts_with(first) {
            cursor.next = first.start + u64::from(first.delta_len);
            cursor.first = cursor.next;
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

    /// Learns how far the run goes now; returns how many staged bytes it gave back.
    pub(super) fn observe(&mut self, run: &Run) -> usize {
        self.over = (!run.is_open()).then_some(run.state);
        self.complete &= !self.misses(run.gap);
        self.continues = run.continues && run.first > self.least;
        if let Some(last) = run.last {
            self.set_newest(&last, run.is_between_objects());
        }
        self.end_at(run.deliverable())
    }

    fn set_newest(&mut self, object: &ObjectEntry, is_whole: bool) {
        self.newest = (object.arrival, object.start);
        self.newest_id = object.id;
        self.newest_is_whole = is_whole;
        self.newest_received = object.received;
    }

    /// Whether an object that may be missing before the run belongs to the subscription.
    pub(super) fn misses(&self, gap: Option<u64>) -> bool {
        gap.is_some_and(|gap| gap >= self.least)
    }

    /// What can be delivered of the run goes on to here; returns how many staged bytes it gave back.
    fn end_at(&mut self, to: u64) -> usize {
        let back = if self.next > to { self.unstage() } else { 0 };
        // What was handed over of an object that is never completed cannot be taken back.
        self.end = to.max(self.next);
        back
    }

    /// Learns how a run ended that has left; returns how many staged bytes it gave back. `None`: it knew that, or what left
    /// is more than it knew of.
    pub(super) fn ends_with(&mut self, gone: &Gone) -> Option<usize> {
        if self.over.is_some() || gone.end > self.end {
            return None;
        }
        self.over = Some(gone.state);
        self.complete &= !self.misses(gone.gap);
        self.continues = gone.continues && gone.first > self.least;
        if let Some(last) = gone.last {
            self.set_newest(&last, true);
        }
        Some(self.end_at(gone.end))
    }

    /// Whether the run ended before there was an object to deliver.
    pub(super) fn is_void(&self) -> bool {
        self.stream.is_none() && self.over.is_some() && self.end <= self.first
    }

    /// Whether the run will not change any more.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Whether something of the objects that have begun is not handed over.
    pub(super) fn is_on_its_way(&self) -> bool {
        self.behind() > 0 || !(self.newest_is_whole || self.is_over())
    }

    pub(super) fn subgroup(&self) -> SubgroupKey {
        (self.group, self.rank.subgroup)
    }

    /// Whether its stream ends with FIN once the streams before it are handed over.
    pub(super) fn waits_for_fin(&self) -> bool {
        self.lingers.is_some() && self.done() == Some(End::Fin)
    }

    /// Bytes of the run that are known and not handed over.
    pub(super) fn behind(&self) -> u64 {
        self.end - self.unsent()
    }

    /// When the newest object of the run began to arrive, in the order of arrivals, and how many of its bytes are known
    /// and not handed over.
    pub(super) fn newest(&self) -> (u64, u64) {
        let (arrival, start) = self.newest;
        (arrival, self.end.saturating_sub(start).min(self.behind()))
    }

    /// The same of the object that is handed over next, or is in the middle of that.
    pub(super) fn next_object(&self, run: &Run) -> Option<(u64, u64)> {
        let object = run.entry_at(self.unsent())?;
        let waiting = object.end.saturating_sub(self.unsent());
        Some((object.arrival, waiting.min(self.behind())))
    }

    /// Whether it would go on with an object below `least`, as far as that is known: the object may have left the log.
    pub(super) fn is_below(&self, least: u64, run: Option<&Run>) -> bool {
        let unsent = self.unsent();
        if self.first_object >= least || unsent <= self.first {
            return self.first_object < least;
        }
        if unsent >= self.end {
            // It goes on with what comes after that.
            return self.newest_id.saturating_add(self.newest_is_whole.into()) < least;
        }
        let here = run.and_then(|run| run.entry_at(unsent));
        here.is_none_or(|entry| entry.start > unsent || entry.id < least)
    }

    /// When the last object was received that is not below `least`, has begun to leave the log and was not handed over.
    pub(super) fn missed_from(&self, least: u64, run: Option<&Run>) -> Option<Instant> {
        let Some(run) = run else {
            let missed = self.newest_id >= least && self.behind() > 0;
            return missed.then_some(self.newest_received);
        };
        let cut = run.entry_at(run.base()).filter(|at| at.start < run.base());
        let begun_to_leave = [run.forgotten, cut.copied()].into_iter().flatten();
        begun_to_leave
            .filter(|object| object.id >= least && object.end > self.unsent())
            .map(|object| object.received)
            .max()
    }

    /// Offset in the run of the first byte that is not handed over.
    pub(super) fn unsent(&self) -> u64 {
        self.next - (self.staged_len - self.head_len) as u64
    }

    /// Offset in the run from which no object was begun.
    pub(super) fn unbegun(&self) -> u64 {
        match self.head_len {
            0 => self.unsent(),
            _ => self.origin,
        }
    }

    /// Whether there is something to do for the stream.
    pub(super) fn is_ready(&self) -> bool {
        let more = self.staged_len > 0 || self.next < self.end || self.over.is_some();
        more && self.lingers.is_none()
    }

    /// How the stream ends, if everything is handed over that the run will ever have.
    pub(super) fn done(&self) -> Option<End> {
        if self.staged_len > 0 || self.next < self.end {
            return None;
        }
        // draft-14 §10.4.3: FIN only on all of the subgroup
        match self.over? {
            RunState::Reset(code) => Some(End::Reset(code)),
            RunState::Finished if self.complete => Some(End::Fin),
            _ => Some(End::Reset(StreamCode::CANCELLED)),
        }
    }

    /// Whether bytes that are still to be taken out have left the log.
    pub(super) fn is_lost(&self, run: Option<&Run>) -> bool {
        match run {
            Some(run) => self.next < run.base().min(run.deliverable()),
            None => self.next < self.end || !(self.is_over() || self.newest_is_whole),
        }
    }

    /// How a run ended of which nothing is known any more but that no object of it was missed.
    pub(super) fn unknown_end(&self, run: RunId) -> Gone {
        Gone {
            run,
            end: self.end,
            state: RunState::Reset(StreamCode::CANCELLED),
            first: 0,
            continues: false,
            gap: None,
            last: None,
            change: 0,
        }
    }

    /// Puts it into the schedule if there is something to do for it.
    pub(super) fn queue(&mut self, subscription: SubscriptionId, schedule: &mut Schedule) {
        // An end needs no room.
        let waits = self.blocked && self.done().is_none();
        if self.lane.is_some() || waits || !self.is_ready() {
            return;
        }
        let lane = match self.stream {
            Some(_) => Lane::Open,
            None => Lane::Unopened,
        };
        self.lane = Some(lane);
        schedule.insert(subscription, lane, self.rank);
    }

    /// Takes it out of the schedule.
    pub(super) fn unqueue(&mut self, subscription: SubscriptionId, schedule: &mut Schedule) {
        if let Some(lane) = self.lane.take() {
            schedule.remove(subscription, lane, self.rank);
        }
    }

    /// The transport takes nothing for it now; returns how many staged bytes it gave back.
    pub(super) fn block(&mut self, subscription: SubscriptionId, schedule: &mut Schedule) -> usize {
        self.unqueue(subscription, schedule);
        self.blocked = true;
        self.unstage()
    }

    /// Takes bytes out of the log until `max` are staged; returns how many it took.
    pub(super) fn stage(&mut self, run: &Run, max: usize) -> Result<usize, Lost> {
        if self.is_lost(Some(run)) {
            return Err(Lost);
        }
        let room = max.saturating_sub(self.staged_len);
        let to = self.end.min(self.next + room as u64);
        if to <= self.next {
            return Ok(0);
        }
        // The run was cut since it was observed, and nothing is kept of what it was cut to.
        if self.next < run.base() {
            return Err(Lost);
        }
        let mut small: Option<BytesMut> = None;
        for piece in run.read(self.next, to) {
            let joins =
                piece.len() < JOIN_BELOW && small.as_ref().is_none_or(|row| row.len() < JOIN_TO);
            match &mut small {
                Some(row) if joins => row.extend_from_slice(&piece),
                None if joins && self.joins_back() => {
                    // The piece before was small too: both go on together.
                    let back = self.staged.pop_back().unwrap_or_default();
                    // What may wait for long takes no more than its bytes.
                    let most = back.len() as u64 + (to - self.next);
                    let mut row = BytesMut::with_capacity(most.min(JOIN_TO as u64) as usize);
                    row.extend_from_slice(&back);
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

    /// Counts it among the runs of its subscription and of the session that wait: it has no stream, or bytes for one.
    pub(super) fn count(&mut self, own: &mut usize, all: &mut usize) {
        let waits = self.stream.is_none() || self.behind() > 0;
        let waited = std::mem::replace(&mut self.waits, waits);
        for count in [own, all] {
            *count = (*count + usize::from(waits)).saturating_sub(usize::from(waited));
        }
    }

    /// What is staged, to be written.
    pub(super) fn chunks(&mut self) -> &mut [Bytes] {
        self.staged.make_contiguous()
    }

    pub(super) fn staged_len(&self) -> usize {
        self.staged_len
    }

    /// `taken` bytes were taken from the front of the chunks; returns how many of them are from the run.
    pub(super) fn advance(&mut self, taken: usize) -> usize {
        while self.staged.front().is_some_and(Bytes::is_empty) {
            self.staged.pop_front();
        }
        let before = self.staged_len - self.head_len;
        self.staged_len = self.staged_len.saturating_sub(taken);
        self.head_len = self.head_len.saturating_sub(taken);
        before - (self.staged_len - self.head_len)
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

#[cfg(test)]
mod tests {
    use super::super::schedule::Item;
    use super::*;
    use crate::model::{GroupOrder, ObjectStatus, SubgroupHeader, SubgroupId, TrackAlias};

    #[expect(clippy::disallowed_methods, reason = "an Instant is needed")]
    fn entry(start: u64, len: u64) -> ObjectEntry {
        ObjectEntry {
            id: 0,
            start,
            payload: start + 2,
            end: start + 2 + len,
            delta_len: 1,
            status: ObjectStatus::Normal,
            received: Instant::now(),
            arrival: 0,
        }
    }

    const RUN: RunId = RunId(1);

    /// A run with a stream header of 4 bytes.
    fn run() -> Run {
        let header = SubgroupHeader {
            track_alias: TrackAlias(1),
            group: 0,
            subgroup: SubgroupId::Zero,
            publisher_priority: 128,
            extensions: false,
            end_of_group: false,
        };
        let mut run = Run::new(RUN, header, 0, (None, 0));
        run.push(vec![0; 4].into());
        run
    }

    fn cursor(run: &Run, object: &ObjectEntry) -> Cursor {
        let rank = Rank::new(128, GroupOrder::Ascending, 0, (0, 0), Item::Run(RUN));
        let mut cursor = Cursor::new(run, object, 0, rank, true);
        cursor.observe(run);
        cursor
    }

    /// Between two looks at a log its oldest pieces may leave and the object that they were of be given up.
    #[test]
    fn what_was_cut_and_let_go_meanwhile_is_not_taken_for_there() {
        let mut run = run();
        let object = entry(4, 2000);
        run.begin(object);
        run.push(vec![1; 502].into());
        run.push(vec![2; 500].into());
        let mut cursor = cursor(&run, &object);
        assert_eq!(cursor.stage(&run, 100).ok(), Some(100));
        cursor.chunks().iter_mut().for_each(Bytes::clear);
        assert_eq!(cursor.advance(100), 100);
        run.trim_front();
        run.trim_front();
        run.abandon_last();
        run.state = RunState::Reset(StreamCode::CANCELLED);
        assert!(cursor.stage(&run, 1000).is_err());
        cursor.observe(&run);
        assert!(!cursor.is_lost(Some(&run)));
        assert_eq!(cursor.done(), Some(End::Reset(StreamCode::CANCELLED)));
    }

    /// Very many small objects may wait, each on a stream of its own.
    #[test]
    fn what_is_taken_out_takes_no_more_than_its_bytes() {
        let mut run = run();
        let object = entry(4, 10);
        run.begin(object);
        run.push(vec![1; 12].into());
        let mut cursor = cursor(&run, &object);
        assert_eq!(cursor.stage(&run, 1000).ok(), Some(16));
        let chunk = std::mem::take(&mut cursor.chunks()[0]);
        assert_eq!(chunk.len(), 16, "header and object in one piece");
        assert!(chunk.try_into_mut().unwrap().capacity() <= 64);
    }
}
