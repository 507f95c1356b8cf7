//! One subscription: what it admits, its cursors, and how far it is behind.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    ArrivalMark, DeliveryLimits, SubscriptionId, TrackLog,
    cursor::{Cursor, Lost},
    filter::Range,
    ids::RunId,
    outlet::StreamKey,
    run::{ObjectEntry, Run},
    schedule::{HALF_SLOTS, Item, Lane, Rank, Schedule, transport_priority},
};
use crate::model::{GroupOrder, Location, PublishDoneCode, StreamCode};

/// What expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Expiry {
    /// An object of a run.
    Run(SubscriptionId, RunId),
    /// The time that a stream has before it is reset.
    Linger(SubscriptionId, RunId),
    /// A stream that was finished.
    Stream(StreamKey),
    /// The time in which the range may still bring something.
    Range(SubscriptionId),
}

/// What the subscriptions of a session share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: DeliveryLimits,
    pub(super) schedule: Schedule,
    pub(super) deadlines: BTreeSet<(Instant, Expiry)>,
    /// Bytes taken out of logs and not handed over.
    pub(super) staged: usize,
}

impl Shared {
    fn set_deadline(&mut self, what: Expiry, from: Option<Instant>, to: Option<Instant>) {
        if from == to {
            return;
        }
        from.map(|at| self.deadlines.remove(&(at, what)));
        to.map(|at| self.deadlines.insert((at, what)));
    }
}

/// A datagram that is to be sent.
#[derive(Debug)]
pub(super) struct PendingDatagram {
    pub(super) at: Location,
    pub(super) rank: Rank,
    pub(super) wire: Bytes,
    pub(super) expires: Option<Instant>,
}

/// Streams to be reset, and why.
pub(super) type Resets = Vec<(StreamKey, StreamCode)>;

/// What reading the log asked for.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) resets: Resets,
    /// The subscription ends from this side, at once.
    pub(super) end: Option<(PublishDoneCode, String)>,
    /// The subscription ends because nothing is left.
    pub(super) drained: Option<(PublishDoneCode, String)>,
}

/// One subscription; its log is kept beside it.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) id: SubscriptionId,
    pub(super) range: Range,
    pub(super) forward: bool,
    pub(super) priority: u8,
    pub(super) order: GroupOrder,
    pub(super) timeout: Option<Duration>,
    pub(super) started: bool,
    pub(super) cursors: BTreeMap<RunId, Cursor>,
    pub(super) datagrams: BTreeMap<u64, PendingDatagram>,
    /// Open streams in order, with their slots in the transport's priorities.
    slots: BTreeMap<Rank, i32>,
    /// Objects count from this arrival on.
    frontier: u64,
    /// The same when the subscription began.
    first_frontier: u64,
    /// Change of the log up to which runs were looked at.
    seen: u64,
    /// Arrival up to which objects are known.
    seen_arrivals: u64,
    evictions: u64,
    epoch: u64,
    /// Runs that grow and are not wanted any more.
    done: BTreeSet<RunId>,
    behind: u64,
    range_over: Option<Instant>,
    /// Streams opened so far.
    pub(super) opened: u64,
    /// Those of them that are not closed.
    pub(super) open: u64,
    /// How it ends, when its streams are closed.
    pub(super) ending: Option<(PublishDoneCode, String)>,
}

impl Subscription {
    pub(super) fn new(
        id: SubscriptionId,
        range: Range,
        params: &super::SubscriptionParams,
        timeout: Option<Duration>,
        since: Option<ArrivalMark>,
        log: &TrackLog,
    ) -> Self {
        let frontier = since.map_or(log.arrivals, |mark| mark.0);
        Self {
            id,
            range,
            forward: params.forward,
            priority: params.subscriber_priority,
            order: params.group_order,
            timeout,
            started: false,
            cursors: BTreeMap::new(),
            datagrams: BTreeMap::new(),
            slots: BTreeMap::new(),
            frontier,
            first_frontier: frontier,
            seen: since.map_or(log.last_change(), |_| 0),
            seen_arrivals: frontier,
            evictions: log.evictions(),
            epoch: log.epoch(),
            done: BTreeSet::new(),
            behind: 0,
            range_over: None,
            opened: 0,
            open: 0,
            ending: None,
        }
    }

    /// Looks at what changed in the log, takes bytes out and finds out whether the subscription is over.
    pub(super) fn sync(&mut self, log: &TrackLog, shared: &mut Shared, now: Instant) -> Outcome {
        let mut out = Outcome::default();
        if !self.started || self.ending.is_some() {
            return out;
        }
        if let Some(why) = log.malformed() {
            out.end = Some((PublishDoneCode::MALFORMED_TRACK, why.to_string()));
            return out;
        }
        if self.epoch != log.epoch() {
            // What was on its way is of a life of the track that is over; nobody is to blame.
            self.epoch = log.epoch();
            self.evictions = log.evictions();
            out.resets = self.drop_all(StreamCode::CANCELLED, shared);
            self.done.clear();
        }
        let mut lost = Vec::new();
        let mut missed = false;
        if self.evictions != log.evictions() {
            self.evictions = log.evictions();
            self.done.retain(|run| log.run(*run).is_some());
            let cursors = self.cursors.iter();
            lost.extend(
                cursors
                    .filter(|(id, cursor)| cursor.is_lost(log.run(**id)))
                    .map(|(id, _)| *id),
            );
            missed = self.forward
                && log
                    .evicted_since(self.seen_arrivals)
                    .is_some_and(|group| self.range.has_group(group));
        }
        if self.forward {
            for run in log.changed_since(self.seen) {
                if self.note(run, shared).is_err() {
                    lost.push(run.id);
                }
            }
            self.note_datagrams(log, shared);
        }
        self.seen = log.last_change();
        self.seen_arrivals = log.arrivals;
        self.fill(log, shared, &mut lost);
        self.catch_up(lost, missed, shared, &mut out);
        self.watch_range(log, shared, now);
        if let Some(end) = log.ended().filter(|_| self.is_drained()) {
            out.drained = Some((end.code, end.reason.clone()));
        }
        out
    }

    /// Whether nothing is left to send of what is known.
    pub(super) fn is_drained(&self) -> bool {
        self.cursors.is_empty() && self.datagrams.is_empty()
    }

    /// Looks at a run that is new or has changed.
    fn note(&mut self, run: &Run, shared: &mut Shared) -> Result<(), Lost> {
        if let Some(cursor) = self.cursors.get_mut(&run.id) {
            self.behind -= cursor.behind();
            shared.staged = shared.staged.saturating_sub(cursor.observe(run));
            self.behind += cursor.behind();
            if cursor.is_void() {
                self.remove_cursor(run.id, shared);
            } else {
                self.queue(run.id, shared);
            }
            return Ok(());
        }
        if self.done.contains(&run.id) {
            if !run.is_open() {
                self.done.remove(&run.id);
            }
            return Ok(());
        }
        if !self.range.has_group(run.group()) {
            return Ok(());
        }
        let least = self.range.first_object(run.group());
        let passes = |entry: &ObjectEntry| entry.arrival >= self.frontier && entry.id >= least;
        let Some((first, before)) = run.first_passing(passes) else {
            return Ok(());
        };
        if first.start < run.base() && !run.starts_with(first) {
            return Err(Lost);
        }
        // draft-14 §10.4.3: FIN stays right without objects that are not part of the subscription
        let missing = match before {
            Some(entry) => entry.arrival >= self.first_frontier && entry.id >= least,
            None => run
                .forgotten
                .is_some_and(|arrival| arrival >= self.first_frontier),
        };
        let rank = Rank::new(
            run.header.publisher_priority,
            self.order,
            run.group(),
            run.subgroup,
            Item::Run(run.id),
        );
        let mut cursor = Cursor::new(run, first, rank, !missing);
        cursor.observe(run);
        self.behind += cursor.behind();
        self.cursors.insert(run.id, cursor);
        self.update_deadline(run.id, Some(first.received), shared);
        self.queue(run.id, shared);
        Ok(())
    }

    fn note_datagrams(&mut self, log: &TrackLog, shared: &mut Shared) {
        for (arrival, entry) in log.datagrams_since(self.seen_arrivals.max(self.frontier)) {
            let at = entry.at;
            let passes =
                self.range.has_group(at.group) && at.object >= self.range.first_object(at.group);
            if !passes {
                continue;
            }
            let rank = Rank::new(
                entry.publisher_priority,
                self.order,
                at.group,
                at.object,
                Item::Datagram(arrival),
            );
            shared.schedule.insert(self.id, Lane::Open, rank);
            self.datagrams.insert(
                arrival,
                PendingDatagram {
                    at,
                    rank,
                    wire: entry.wire.clone(),
                    expires: self
                        .timeout
                        .and_then(|timeout| entry.received.checked_add(timeout)),
                },
            );
        }
    }

    /// Puts a run into the schedule if there is something to do for it.
    pub(super) fn queue(&mut self, id: RunId, shared: &mut Shared) {
        let Some(cursor) = self.cursors.get_mut(&id) else {
            return;
        };
        if cursor.lane.is_some() || cursor.blocked || !cursor.is_ready() {
            return;
        }
        let lane = match cursor.stream {
            Some(_) => Lane::Open,
            None => Lane::Unopened,
        };
        cursor.lane = Some(lane);
        shared.schedule.insert(self.id, lane, cursor.rank);
    }

    /// Takes a run out of the schedule.
    pub(super) fn unqueue(&mut self, id: RunId, shared: &mut Shared) {
        if let Some(cursor) = self.cursors.get_mut(&id)
            && let Some(lane) = cursor.lane.take()
        {
            shared.schedule.remove(self.id, lane, cursor.rank);
        }
    }

    /// Takes bytes out of the log for the most urgent runs; always for the first one.
    fn fill(&mut self, log: &TrackLog, shared: &mut Shared, lost: &mut Vec<RunId>) {
        let ranks: Vec<_> = shared.schedule.of(self.id).take(FILL_RUNS).collect();
        for (at, rank) in ranks.into_iter().enumerate() {
            let Item::Run(id) = rank.item else { continue };
            let room = shared.limits.in_flight_bytes.saturating_sub(shared.staged);
            if at > 0 && room == 0 {
                break;
            }
            let max = shared.limits.quantum_bytes;
            let max = if at == 0 { max } else { max.min(room) };
            if self.take_out(log, id, max.max(1), shared).is_err() {
                lost.push(id);
            }
        }
    }

    /// Takes bytes of one run out of the log.
    pub(super) fn take_out(
        &mut self,
        log: &TrackLog,
        id: RunId,
        max: usize,
        shared: &mut Shared,
    ) -> Result<(), Lost> {
        let Some(cursor) = self.cursors.get_mut(&id) else {
            return Ok(());
        };
        let Some(run) = log.run(id) else {
            return if cursor.is_lost(None) {
                Err(Lost)
            } else {
                Ok(())
            };
        };
        shared.staged += cursor.stage(run, max)?;
        let received = run.entry_at(cursor.unsent()).map(|entry| entry.received);
        self.update_deadline(id, received, shared);
        Ok(())
    }

    /// Sets when the oldest object of a run that is not handed over expires (draft-14 §9.2.1.2).
    fn update_deadline(&mut self, id: RunId, received: Option<Instant>, shared: &mut Shared) {
        let Some(cursor) = self.cursors.get_mut(&id) else {
            return;
        };
        let deadline = self
            .timeout
            .and_then(|timeout| received?.checked_add(timeout));
        shared.set_deadline(Expiry::Run(self.id, id), cursor.deadline, deadline);
        cursor.deadline = deadline;
    }

    /// Looks at the oldest object again whose time seems over. True: it is.
    pub(super) fn has_expired(
        &mut self,
        log: &TrackLog,
        id: RunId,
        now: Instant,
        shared: &mut Shared,
    ) -> bool {
        let Some(cursor) = self.cursors.get_mut(&id) else {
            return false;
        };
        if let Some(run) = log.run(id) {
            let received = run.entry_at(cursor.unsent()).map(|entry| entry.received);
            self.update_deadline(id, received, shared);
        }
        self.cursors
            .get(&id)
            .and_then(|cursor| cursor.deadline)
            .is_some_and(|deadline| deadline <= now)
    }

    /// Applies what is done about a subscription that is too far behind.
    fn catch_up(&mut self, lost: Vec<RunId>, missed: bool, shared: &mut Shared, out: &mut Outcome) {
        let too_far = self.behind > shared.limits.lag_bytes;
        if lost.is_empty() && !missed && !too_far {
            return;
        }
        // draft-14 §9.2.1.2: without a timeout nothing may be left out
        if self.timeout.is_none() && !shared.limits.skip_groups {
            let reason = "the subscriber reads too slowly".to_owned();
            out.end = Some((PublishDoneCode::TOO_FAR_BEHIND, reason));
            return;
        }
        let code = match self.timeout {
            Some(_) => StreamCode::DELIVERY_TIMEOUT,
            None => StreamCode::CANCELLED,
        };
        for id in lost {
            self.give_up(id, code, shared, &mut out.resets);
        }
        if !too_far {
            return;
        }
        let newest = self.cursors.values().map(|cursor| cursor.group).max();
        let (kept, older): (Vec<_>, Vec<_>) = self
            .cursors
            .iter()
            .map(|(id, cursor)| (*id, Some(cursor.group) == newest))
            .partition(|(_, newest)| *newest);
        // The newest group alone may be too much.
        let dropped = if older.is_empty() { kept } else { older };
        for (id, _) in dropped {
            self.give_up(id, code, shared, &mut out.resets);
        }
    }

    /// Starts or stops the time after which a range that seems to be over ends.
    fn watch_range(&mut self, log: &TrackLog, shared: &mut Shared, now: Instant) {
        let past = log
            .largest()
            .is_some_and(|largest| self.range.is_past(largest.group));
        let over = match self.range_over {
            _ if !past || !self.is_drained() => None,
            Some(at) => Some(at),
            None => now.checked_add(shared.limits.range_grace),
        };
        shared.set_deadline(Expiry::Range(self.id), self.range_over, over);
        self.range_over = over;
    }

    /// Drops a run and whatever it still brings.
    pub(super) fn give_up(
        &mut self,
        id: RunId,
        code: StreamCode,
        shared: &mut Shared,
        resets: &mut Resets,
    ) {
        if self.cursors.get(&id).is_none_or(|cursor| !cursor.is_over()) {
            self.done.insert(id);
        }
        self.drop_cursor(id, code, shared, resets);
    }

    /// Drops a cursor and has its stream reset.
    pub(super) fn drop_cursor(
        &mut self,
        id: RunId,
        code: StreamCode,
        shared: &mut Shared,
        resets: &mut Resets,
    ) {
        if let Some(cursor) = self.remove_cursor(id, shared) {
            resets.extend(cursor.stream.map(|stream| (stream, code)));
        }
    }

    /// Forgets a cursor.
    pub(super) fn remove_cursor(&mut self, id: RunId, shared: &mut Shared) -> Option<Cursor> {
        self.unqueue(id, shared);
        let mut cursor = self.cursors.remove(&id)?;
        self.behind = self.behind.saturating_sub(cursor.behind());
        shared.staged = shared.staged.saturating_sub(cursor.unstage());
        shared.set_deadline(Expiry::Run(self.id, id), cursor.deadline, None);
        let lingers = cursor.lingers.map(|(at, _)| at);
        shared.set_deadline(Expiry::Linger(self.id, id), lingers, None);
        self.slots.remove(&cursor.rank);
        Some(cursor)
    }

    /// `taken` bytes of a run were handed over.
    pub(super) fn advance(&mut self, id: RunId, taken: usize, shared: &mut Shared) {
        if let Some(cursor) = self.cursors.get_mut(&id) {
            let before = (cursor.behind(), cursor.unsent());
            cursor.advance(taken);
            self.behind = self.behind.saturating_sub(before.0 - cursor.behind());
            let from_run = (cursor.unsent() - before.1) as usize;
            shared.staged = shared.staged.saturating_sub(from_run);
        }
    }

    /// Everything of a run is handed over: its stream has until then to arrive before it is reset with `code`.
    pub(super) fn linger(
        &mut self,
        id: RunId,
        until: Instant,
        code: StreamCode,
        shared: &mut Shared,
    ) {
        self.unqueue(id, shared);
        self.update_deadline(id, None, shared);
        if let Some(cursor) = self.cursors.get_mut(&id) {
            cursor.lingers = Some((until, code));
            shared.set_deadline(Expiry::Linger(self.id, id), None, Some(until));
        }
    }

    /// The transport takes nothing for a run now.
    pub(super) fn block(&mut self, id: RunId, shared: &mut Shared) {
        self.unqueue(id, shared);
        if let Some(cursor) = self.cursors.get_mut(&id) {
            cursor.blocked = true;
            shared.staged = shared.staged.saturating_sub(cursor.unstage());
        }
    }

    /// The transport may take something for a run again.
    pub(super) fn unblock(&mut self, id: RunId, shared: &mut Shared) {
        if let Some(cursor) = self.cursors.get_mut(&id) {
            cursor.blocked = false;
        }
        self.queue(id, shared);
    }

    /// Chooses a place in the transport's order for a stream that is to be opened. True: all are to be told anew.
    pub(super) fn choose_slot(&mut self, rank: Rank) -> bool {
        let after = self.slots.range(rank..).next().map(|(_, slot)| slot - 1);
        let before = self
            .slots
            .range(..rank)
            .next_back()
            .map(|(_, slot)| slot + 1);
        let slot = after.or(before).unwrap_or_default();
        self.slots.insert(rank, slot);
        let crowded = slot.abs() > RENUMBER_AT.min(HALF_SLOTS);
        if crowded {
            for (slot, at) in self.slots.values_mut().zip(0..) {
                *slot = at;
            }
        }
        crowded
    }

    /// The transport's priority of a stream.
    pub(super) fn transport_priority(&self, rank: Rank) -> i32 {
        let slot = self.slots.get(&rank).copied().unwrap_or_default();
        transport_priority(self.id, self.priority, rank.publisher_priority, slot)
    }

    pub(super) fn forget_slot(&mut self, rank: Rank) {
        self.slots.remove(&rank);
    }

    /// Priorities of all open streams.
    pub(super) fn transport_priorities(&self) -> VecDeque<(StreamKey, i32)> {
        self.cursors
            .values()
            .filter_map(|cursor| Some((cursor.stream?, self.transport_priority(cursor.rank))))
            .collect()
    }

    /// Applies a narrower range: what it excludes is dropped, what is left of a run is looked at anew.
    pub(super) fn narrow(&mut self, range: Range, log: &TrackLog, shared: &mut Shared) -> Resets {
        self.range = range;
        let mut resets = Resets::new();
        let excluded: Vec<_> = self
            .cursors
            .iter()
            .filter(|(id, cursor)| {
                let least = range.first_object(cursor.group);
                let next = log.run(**id).and_then(|run| {
                    let here = run.entry_at(cursor.unsent()).map(|entry| entry.id);
                    here.or(run.last.map(|last| last.id + 1))
                });
                !range.has_group(cursor.group) || next.is_some_and(|next| next < least)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in excluded {
            // draft-14 §10.4.3: the rest of the subgroup is not delivered on this stream
            self.drop_cursor(id, StreamCode::CANCELLED, shared, &mut resets);
            if let Some(run) = log.run(id).filter(|_| self.forward)
                && self.note(run, shared).is_err()
            {
                self.done.insert(id);
            }
        }
        let outside: Vec<_> = self
            .datagrams
            .iter()
            .filter(|(_, datagram)| {
                let at = datagram.at;
                !range.has_group(at.group) || at.object < range.first_object(at.group)
            })
            .map(|(arrival, _)| *arrival)
            .collect();
        for arrival in outside {
            self.drop_datagram(arrival, shared);
        }
        resets
    }

    /// Takes a datagram out.
    pub(super) fn drop_datagram(
        &mut self,
        arrival: u64,
        shared: &mut Shared,
    ) -> Option<PendingDatagram> {
        let datagram = self.datagrams.remove(&arrival)?;
        shared.schedule.remove(self.id, Lane::Open, datagram.rank);
        Some(datagram)
    }

    /// Changes the Forward State (draft-14 §5.1).
    pub(super) fn set_forward(
        &mut self,
        forward: bool,
        log: &TrackLog,
        shared: &mut Shared,
    ) -> Resets {
        let mut resets = Resets::new();
        if self.forward == forward {
            return resets;
        }
        self.forward = forward;
        if forward {
            self.frontier = log.arrivals;
            self.seen = log.last_change();
            self.seen_arrivals = log.arrivals;
            self.evictions = log.evictions();
        } else {
            resets = self.drop_all(StreamCode::CANCELLED, shared);
        }
        resets
    }

    /// Drops everything that is on its way.
    pub(super) fn drop_all(&mut self, code: StreamCode, shared: &mut Shared) -> Resets {
        let mut resets = Resets::new();
        for id in self.cursors.keys().copied().collect::<Vec<_>>() {
            self.drop_cursor(id, code, shared, &mut resets);
        }
        for arrival in self.datagrams.keys().copied().collect::<Vec<_>>() {
            self.drop_datagram(arrival, shared);
        }
        shared.set_deadline(Expiry::Range(self.id), self.range_over.take(), None);
        resets
    }
}

/// Most runs for which bytes are taken out of the log at once.
const FILL_RUNS: usize = 64;

/// Slots are numbered anew when they leave this range.
const RENUMBER_AT: i32 = 64;
