//! One subscription: what it admits, its cursors, and how far it is behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    ArrivalMark, DeliveryLimits, SubscriptionId, TrackLog,
    cursor::{Cursor, Lost},
    filter::Range,
    ids::{RunId, SubgroupKey},
    left::{Departure, Gone},
    looks::Looks,
    outlet::StreamKey,
    run::{ObjectEntry, Run},
    schedule::{Item, Lane, Rank, Schedule},
    skipped::Skipped,
    slots::{Slots, transport_priority},
};
use crate::model::{Filter, GroupOrder, Location, PublishDoneCode, StreamCode};

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
    /// The time in which it need not be found out which of its runs have left the log.
    Look(SubscriptionId),
}

/// How long a subscription may not know which of its runs have left the log, if it does not come upon it.
const LOOK_AFTER: Duration = Duration::from_millis(100);

/// What the subscriptions of a session share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: DeliveryLimits,
    pub(super) schedule: Schedule,
    pub(super) deadlines: BTreeSet<(Instant, Expiry)>,
    /// Bytes taken out of logs and not handed over.
    pub(super) staged: usize,
    /// Runs that wait.
    pub(super) waiting: usize,
    /// Datagrams that wait.
    pub(super) datagrams: usize,
    /// Datagrams that the session could not take.
    pub(super) refused_datagrams: u64,
}

impl Shared {
    pub(super) fn set_deadline(
        &mut self,
        what: Expiry,
        from: Option<Instant>,
        to: Option<Instant>,
    ) {
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
    pub(super) received: Instant,
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
    /// The range has become narrower since the log was looked at.
    pub(super) is_narrowed: bool,
    /// Where the range began by the first Largest, if the filter was relative to that.
    pub(super) anchor: Option<Location>,
    pub(super) forward: bool,
    pub(super) priority: u8,
    pub(super) order: GroupOrder,
    /// The transport does not know of the priority yet.
    pub(super) is_reprioritized: bool,
    /// DELIVERY TIMEOUT of the subscriber, of the publisher, and what is in force.
    pub(super) asked: Option<Duration>,
    pub(super) offered: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    /// That has changed since the log was looked at.
    pub(super) is_retimed: bool,
    /// How long after its first byte an object may be begun.
    pub(super) cache: Option<Duration>,
    pub(super) started: bool,
    /// Boxed, because they come and go with every stream, and a map moves what it holds.
    pub(super) cursors: BTreeMap<RunId, Box<Cursor>>,
    pub(super) datagrams: BTreeMap<u64, PendingDatagram>,
    /// Open streams in order, with their slots in the transport's priorities.
    pub(super) slots: Slots,
    /// Objects count from this arrival on.
    pub(super) frontier: u64,
    /// The same when the subscription began.
    first_frontier: u64,
    /// Change of the log up to which runs were looked at.
    pub(super) seen: u64,
    /// Arrival up to which objects are known.
    pub(super) seen_arrivals: u64,
    pub(super) evictions: u64,
    /// Something left the log since its cursors were looked at.
    is_unsure: bool,
    /// Looks at all of its cursors: for what left, and for how far it is behind.
    looks: Looks,
    look_at: Option<Instant>,
    pub(super) lag_looks: Looks,
    /// A run could not be read on: what was given back to the log may have left it meanwhile.
    suspect: bool,
    epoch: u64,
    /// Runs that grow and are not wanted any more.
    pub(super) done: BTreeSet<RunId>,
    pub(super) skipped: Skipped,
    /// Cursors that have all of their run behind them and wait for earlier streams of the subgroup.
    pub(super) waiting_for_fin: BTreeSet<(SubgroupKey, RunId)>,
    /// Bytes that its cursors know and have not handed over.
    pub(super) behind: u64,
    /// Its runs that wait.
    pub(super) waiting: usize,
    /// Runs that it has no room for.
    pub(super) left_out: Vec<RunId>,
    range_over: Option<Instant>,
    /// When it was last looked at, the log had ended or was past the range: nothing but what is on its way will come.
    last_lap: bool,
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
        default_timeout: Option<Duration>,
        since: Option<ArrivalMark>,
        log: &TrackLog,
    ) -> Self {
        let frontier = since.map_or(log.arrivals, |mark| mark.0);
        Self {
            id,
            range,
            is_narrowed: false,
            anchor: matches!(
                params.filter,
                Filter::NextGroupStart | Filter::LargestObject
            )
            .then_some(range.start),
            forward: params.forward,
            priority: params.subscriber_priority,
            order: params.group_order,
            is_reprioritized: false,
            asked: params.delivery_timeout,
            offered: params.publisher_timeout,
            timeout: smaller(params.delivery_timeout, params.publisher_timeout).or(default_timeout),
            is_retimed: false,
            cache: log.cache_duration(),
            started: false,
            cursors: BTreeMap::new(),
            datagrams: BTreeMap::new(),
            slots: Slots::default(),
            frontier,
            first_frontier: frontier,
            seen: since.map_or(log.last_change(), |_| 0),
            seen_arrivals: frontier,
            evictions: since.map_or(log.evictions(), |_| 0),
            is_unsure: false,
            looks: Looks::default(),
            look_at: None,
            lag_looks: Looks::default(),
            suspect: false,
            epoch: log.epoch(),
            done: BTreeSet::new(),
            skipped: Skipped::default(),
            waiting_for_fin: BTreeSet::new(),
            behind: 0,
            waiting: 0,
            left_out: Vec::new(),
            range_over: None,
            last_lap: false,
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
            out.resets = self.drop_all(StreamCode::CANCELLED, shared);
            self.done.clear();
            self.skipped = Skipped::default();
            if self.anchor.is_some() {
                // "What comes next" was meant, and the old Largest says nothing about that any more.
                self.range.start = Location::default();
            }
        }
        let mut lost = Vec::new();
        let evicted = std::mem::replace(&mut self.evictions, log.evictions()) != log.evictions();
        if evicted {
            self.learn_ends(log, shared);
        }
        if std::mem::take(&mut self.is_narrowed) {
            lost = self.drop_excluded(log, shared, now, &mut out.resets);
        }
        let cache = std::mem::replace(&mut self.cache, log.cache_duration());
        if std::mem::take(&mut self.is_retimed) || self.cache != cache {
            self.update_deadlines(log, shared);
        }
        let mut missed = false;
        self.is_unsure |= evicted;
        let all = self.cursors.len() + self.done.len();
        if std::mem::take(&mut self.suspect) || (self.is_unsure && self.looks.allow(all)) {
            self.is_unsure = false;
            lost.extend(self.look_at_all(log, shared));
        }
        self.set_look(shared, now);
        if evicted {
            self.drop_old_datagrams(log, shared);
            let left = |wants: &dyn Fn(&Departure) -> bool| {
                self.forward && log.left().since(self.seen_arrivals, wants)
            };
            let has = |gone: &Departure| {
                let range = &self.range;
                let is_new = gone.arrival >= self.frontier;
                is_new && range.has_group(gone.group) && gone.last >= range.first_object(gone.group)
            };
            missed = left(&|gone| has(gone) && !self.is_aged(gone.received, now));
            if missed || left(&has) {
                self.skipped.note_any(log);
            }
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
        if !(lost.is_empty() && self.left_out.is_empty()) {
            self.skipped.note_any(log);
        }
        self.let_age(&mut lost, log, shared, now, &mut out.resets);
        self.catch_up(log, lost, missed, shared, &mut out);
        self.watch_range(log, shared, now);
        self.last_lap |= log.ended().is_some();
        if out.end.is_none()
            && let Some(end) = log.ended().filter(|_| self.is_drained())
        {
            out.drained = Some((end.code, end.reason.clone()));
        }
        out
    }

    /// Learns how runs ended that left before anybody looked: who was handed all of one has missed nothing.
    fn learn_ends(&mut self, log: &TrackLog, shared: &mut Shared) {
        // Of a run that did not change since the last look the end was seen.
        let seen = self.seen;
        for gone in log.left().runs().filter(|gone| gone.change > seen) {
            self.learn_end(gone, shared);
        }
    }

    fn learn_end(&mut self, gone: &Gone, shared: &mut Shared) {
        let Some(cursor) = self.cursors.get_mut(&gone.run) else {
            return;
        };
        let behind = cursor.behind();
        let Some(back) = cursor.ends_with(gone) else {
            return;
        };
        shared.staged = shared.staged.saturating_sub(back);
        self.behind = self.behind - behind + cursor.behind();
        cursor.count(&mut self.waiting, &mut shared.waiting);
        if cursor.is_void() {
            self.remove_cursor(gone.run, shared);
            return;
        }
        if cursor.behind() == 0 {
            let deadline = cursor.deadline.take();
            shared.set_deadline(Expiry::Run(self.id, gone.run), deadline, None);
        }
        cursor.queue(self.id, &mut shared.schedule);
    }

    /// Looks at all cursors for runs that have left; returns those of which something is lost.
    fn look_at_all(&mut self, log: &TrackLog, shared: &mut Shared) -> Vec<RunId> {
        self.done.retain(|run| log.run(*run).is_some());
        let (mut lost, mut ended) = (Vec::new(), Vec::new());
        for (id, cursor) in &self.cursors {
            let run = log.run(*id);
            if cursor.is_lost(run) {
                lost.push(*id);
            } else if run.is_none() && !cursor.is_over() {
                ended.push(cursor.unknown_end(*id));
            }
        }
        for gone in ended {
            self.learn_end(&gone, shared);
        }
        lost
    }

    /// Sets the time of the next look at all cursors, if one is due.
    fn set_look(&mut self, shared: &mut Shared, now: Instant) {
        let at = match self.is_unsure {
            true => self.look_at.or_else(|| now.checked_add(LOOK_AFTER)),
            false => None,
        };
        shared.set_deadline(Expiry::Look(self.id), self.look_at, at);
        self.look_at = at;
    }

    /// That time is over.
    pub(super) fn look(&mut self) {
        self.look_at = None;
        self.suspect = true;
    }

    /// Whether a run may not be begun, because what was to be sent of it has left the log.
    pub(super) fn has_lost(&self, id: RunId, log: &TrackLog) -> bool {
        let cursor = self.cursors.get(&id);
        cursor.is_some_and(|cursor| cursor.is_lost(log.run(id)))
    }

    /// Whether something has left the log and it is not known what.
    pub(super) fn is_unsure(&self) -> bool {
        self.is_unsure
    }

    /// Whether nothing is left to send of what is known.
    pub(super) fn is_drained(&self) -> bool {
        self.cursors.is_empty() && self.datagrams.is_empty()
    }

    /// Whether looking at the log again may find that it is over, though nothing changed there.
    pub(super) fn may_be_over(&self) -> bool {
        self.last_lap && self.is_drained()
    }

    /// Looks at a run that is new or has changed.
    pub(super) fn note(&mut self, run: &Run, shared: &mut Shared) -> Result<(), Lost> {
        if let Some(cursor) = self.cursors.get_mut(&run.id) {
            self.behind -= cursor.behind();
            shared.staged = shared.staged.saturating_sub(cursor.observe(run));
            self.behind += cursor.behind();
            cursor.count(&mut self.waiting, &mut shared.waiting);
            if cursor.is_void() {
                self.remove_cursor(run.id, shared);
                return Ok(());
            }
            cursor.queue(self.id, &mut shared.schedule);
            let staged = cursor.stage_within(run, &shared.limits, &mut shared.staged);
            if cursor.deadline.is_none() {
                self.update_deadline(run, shared);
            }
            return staged;
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
        if self.is_crowded(shared) {
            self.left_out.push(run.id);
            return Ok(());
        }
        // draft-14 §10.4.3: FIN stays right without objects that are not part of the subscription
        let before = before.or(run.forgotten.as_ref());
        let missing =
            before.is_some_and(|entry| entry.arrival >= self.first_frontier && entry.id >= least);
        let rank = Rank::new(
            run.header.publisher_priority,
            self.order,
            run.group(),
            (run.subgroup, run.first),
            Item::Run(run.id),
        );
        let mut cursor = Box::new(Cursor::new(run, first, least, rank, !missing));
        cursor.observe(run);
        self.behind += cursor.behind();
        cursor.queue(self.id, &mut shared.schedule);
        let staged = cursor.stage_within(run, &shared.limits, &mut shared.staged);
        cursor.count(&mut self.waiting, &mut shared.waiting);
        self.cursors.insert(run.id, cursor);
        self.update_deadline(run, shared);
        staged
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
                entry.properties.publisher_priority,
                self.order,
                at.group,
                (at.object, at.object),
                Item::Datagram(arrival),
            );
            shared.schedule.insert(self.id, Lane::Open, rank);
            let pending = PendingDatagram {
                at,
                rank,
                wire: entry.wire.clone(),
                received: entry.received,
            };
            let known = self.datagrams.insert(arrival, pending);
            shared.datagrams += usize::from(known.is_none());
            // Those with few keep theirs.
            let most = shared.limits.max_waiting_datagrams.max(1);
            let subscriptions = shared.schedule.len();
            while shared.datagrams > most
                && self.datagrams.len().saturating_mul(subscriptions) >= most
                && let Some(oldest) = self.datagrams.keys().next().copied()
            {
                self.drop_datagram(oldest, shared);
                shared.refused_datagrams += 1;
            }
        }
    }

    /// Starts or stops the time after which a range that seems to be over ends.
    fn watch_range(&mut self, log: &TrackLog, shared: &mut Shared, now: Instant) {
        let past = log
            .largest()
            .is_some_and(|largest| self.range.is_past(largest.group));
        self.last_lap = past;
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
        let cursor = self.cursors.get(&id);
        if cursor.is_none_or(|cursor| !cursor.is_over()) {
            self.done.insert(id);
        }
        if let Some(cursor) = cursor.filter(|cursor| cursor.lingers.is_none()) {
            self.skipped.note(cursor.group);
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
    pub(super) fn remove_cursor(&mut self, id: RunId, shared: &mut Shared) -> Option<Box<Cursor>> {
        let mut cursor = self.cursors.remove(&id)?;
        self.waiting_for_fin.remove(&(cursor.subgroup(), id));
        cursor.unqueue(self.id, &mut shared.schedule);
        self.behind = self.behind.saturating_sub(cursor.behind());
        shared.staged = shared.staged.saturating_sub(cursor.unstage());
        shared.set_deadline(Expiry::Run(self.id, id), cursor.deadline, None);
        let lingers = cursor.lingers.map(|(at, _)| at);
        shared.set_deadline(Expiry::Linger(self.id, id), lingers, None);
        self.slots.remove(cursor.rank);
        if cursor.waits {
            self.waiting = self.waiting.saturating_sub(1);
            shared.waiting = shared.waiting.saturating_sub(1);
        }
        self.tell_those_that_wait(cursor.subgroup(), shared);
        Some(cursor)
    }

    /// Everything of a run is handed over: its stream has until then to arrive before it is reset with `code`.
    pub(super) fn linger(
        &mut self,
        id: RunId,
        until: Instant,
        code: StreamCode,
        shared: &mut Shared,
    ) {
        let Some(mut cursor) = self.cursors.remove(&id) else {
            return;
        };
        cursor.unqueue(self.id, &mut shared.schedule);
        shared.set_deadline(Expiry::Run(self.id, id), cursor.deadline.take(), None);
        let before = cursor.lingers.replace((until, code)).map(|(at, _)| at);
        shared.set_deadline(Expiry::Linger(self.id, id), before, Some(until));
        if before.is_none() {
            self.tell_those_that_wait(cursor.subgroup(), shared);
        }
        if cursor.waits_for_fin() {
            self.waiting_for_fin.insert((cursor.subgroup(), id));
        }
        self.cursors.insert(id, cursor);
    }

    /// A run cannot be read on; looking at the log decides what is done about it.
    pub(super) fn suspect(&mut self, id: RunId, shared: &mut Shared) {
        if let Some(cursor) = self.cursors.get_mut(&id) {
            cursor.unqueue(self.id, &mut shared.schedule);
        }
        self.suspect = true;
    }

    /// The transport may take something for a run again.
    pub(super) fn unblock(&mut self, id: RunId, shared: &mut Shared) {
        if let Some(cursor) = self.cursors.get_mut(&id) {
            cursor.blocked = false;
            cursor.queue(self.id, &mut shared.schedule);
        }
    }

    /// The transport's priority of a stream in a slot.
    pub(super) fn transport_priority(&self, rank: Rank, slot: i32) -> i32 {
        transport_priority(self.id, self.priority, rank.publisher_priority, slot)
    }

    /// Priorities of all open streams.
    pub(super) fn transport_priorities(&self) -> impl Iterator<Item = (StreamKey, i32)> {
        self.slots.iter().filter_map(|(rank, slot)| {
            let Item::Run(run) = rank.item else {
                return None;
            };
            let stream = self.cursors.get(&run)?.stream?;
            Some((stream, self.transport_priority(rank, slot)))
        })
    }

    /// Forgets a datagram.
    pub(super) fn drop_datagram(&mut self, arrival: u64, shared: &mut Shared) {
        if let Some(datagram) = self.datagrams.remove(&arrival) {
            shared.schedule.remove(self.id, Lane::Open, datagram.rank);
            shared.datagrams = shared.datagrams.saturating_sub(1);
        }
    }

    /// Drops everything that is on its way.
    pub(super) fn drop_all(&mut self, code: StreamCode, shared: &mut Shared) -> Resets {
        let mut resets = Resets::new();
        self.waiting_for_fin.clear();
        for id in self.cursors.keys().copied().collect::<Vec<_>>() {
            self.drop_cursor(id, code, shared, &mut resets);
        }
        for arrival in self.datagrams.keys().copied().collect::<Vec<_>>() {
            self.drop_datagram(arrival, shared);
        }
        shared.set_deadline(Expiry::Range(self.id), self.range_over.take(), None);
        shared.set_deadline(Expiry::Look(self.id), self.look_at.take(), None);
        resets
    }
}

/// draft-14 §9.2.1.2: the smaller one, if there are two.
pub(super) fn smaller(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    a.into_iter().chain(b).min()
}
