//! Delivers all subscriptions of one session by the rules of draft-14 §7 and §10.4.3.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use super::{
    Admission, AttachError, DeliveryLimits, StartInfo, SubscriptionId, SubscriptionParams,
    TrackLog, UpdateError, UpdateParams,
    filter::Range,
    ids::RunId,
    outlet::{DatagramSent, Opened, Outlet, Source, StreamKey, Watched, Written},
    schedule::{Item, Lane, Rank, Schedule},
    subscription::{Expiry, Outcome, Resets, Shared, Subscription},
};
use crate::model::{PublishDoneCode, StreamCode};

/// What happened to a subscription, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryEvent {
    /// A stream was opened for it.
    StreamOpened(SubscriptionId),
    /// One of its streams was reset, stopped, or received whole.
    StreamClosed(SubscriptionId),
    /// It is over and all its streams are closed: PUBLISH_DONE is due.
    Ended {
        /// The subscription.
        subscription: SubscriptionId,
        /// Status for PUBLISH_DONE.
        code: PublishDoneCode,
        /// Why, for people.
        reason: String,
        /// Streams opened.
        streams: u64,
    },
}

/// Whose stream it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// It follows a run.
    Run(SubscriptionId, RunId),
    /// It is finished, as the so-manieth; until it expires, it may still be reset.
    Finished(SubscriptionId, u64, Option<Instant>),
}

/// How one step of sending went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Progress,
    Blocked,
    NoCredit,
    Gone,
}

/// The delivery engine of one session. `S` is how it reads the log of a track.
///
/// Its owner calls [`Delivery::service`] after each wake-up and at [`Delivery::deadline`], and passes the events on.
#[derive(Debug)]
pub struct Delivery<S> {
    subscriptions: BTreeMap<SubscriptionId, (Subscription, S)>,
    streams: BTreeMap<StreamKey, Owner>,
    /// Finished streams that are not closed, in order.
    finished: BTreeMap<u64, StreamKey>,
    next_finished: u64,
    dirty: BTreeSet<SubscriptionId>,
    events: VecDeque<DeliveryEvent>,
    credit: bool,
    probe_at: Option<Instant>,
    refused_datagrams: u64,
    shared: Shared,
}

impl<S: Source> Delivery<S> {
    /// An engine without subscriptions.
    pub fn new(limits: DeliveryLimits) -> Self {
        Self {
            subscriptions: BTreeMap::new(),
            streams: BTreeMap::new(),
            finished: BTreeMap::new(),
            next_finished: 0,
            dirty: BTreeSet::new(),
            events: VecDeque::new(),
            credit: true,
            probe_at: None,
            refused_datagrams: 0,
            shared: Shared {
                limits,
                schedule: Schedule::default(),
                deadlines: BTreeSet::new(),
                staged: 0,
            },
        }
    }

    /// Adds a subscription. Nothing is sent before [`Delivery::start`]; the returned values hold for this instant.
    ///
    /// # Errors
    /// The request is to be refused.
    pub fn attach(
        &mut self,
        id: SubscriptionId,
        source: S,
        params: &SubscriptionParams,
        admission: Admission,
    ) -> Result<StartInfo, AttachError> {
        if self.subscriptions.contains_key(&id) {
            return Err(AttachError::IdInUse);
        }
        let max = self.shared.limits.max_subscriptions;
        if self.subscriptions.len() >= max {
            return Err(AttachError::TooMany(max));
        }
        let timeout = params
            .delivery_timeout
            .or(self.shared.limits.default_timeout);
        let (subscription, info) = source.read(|log| {
            if let Some(why) = log.malformed() {
                return Err(why.clone().into());
            }
            let (largest, since) = match admission {
                Admission::Now => (log.largest(), None),
                Admission::Since { mark, largest } => (largest, Some(mark)),
            };
            // What a first subscriber waited for may be over already; it still gets what came.
            if let Some(end) = log.ended().filter(|_| since.is_none()) {
                return Err(AttachError::Ended(end.code));
            }
            let range = Range::resolve(params.filter, largest)?;
            let info = StartInfo {
                alias: log.alias(),
                largest,
                start: range.start,
                end_group: range.end_group,
            };
            let subscription = Subscription::new(id, range, params, timeout, since, log);
            Ok((subscription, info))
        })?;
        self.shared.schedule.set_priority(id, subscription.priority);
        self.subscriptions.insert(id, (subscription, source));
        Ok(info)
    }

    /// Begins sending for a subscription.
    pub fn start(&mut self, id: SubscriptionId) {
        if let Some((subscription, _)) = self.subscriptions.get_mut(&id) {
            subscription.started = true;
            self.dirty.insert(id);
        }
    }

    /// Applies a SUBSCRIBE_UPDATE.
    ///
    /// # Errors
    /// The update may not be; nothing was changed.
    pub fn update(
        &mut self,
        id: SubscriptionId,
        params: &UpdateParams,
        outlet: &mut impl Outlet,
    ) -> Result<(), UpdateError> {
        let Some((subscription, source)) = self.subscriptions.get_mut(&id) else {
            return Err(UpdateError::Unknown);
        };
        let range = subscription.range.narrow(params.start, params.end_group)?;
        let shared = &mut self.shared;
        // draft-14 §9.10: a parameter that is absent keeps its value
        subscription.timeout = params.delivery_timeout.or(subscription.timeout);
        let resets = source.read(|log| {
            let mut resets = subscription.narrow(range, log, shared);
            resets.extend(subscription.set_forward(params.forward, log, shared));
            resets
        });
        if subscription.priority != params.subscriber_priority {
            subscription.priority = params.subscriber_priority;
            shared.schedule.set_priority(id, params.subscriber_priority);
            for (stream, priority) in subscription.transport_priorities() {
                outlet.set_priority(stream, priority);
            }
        }
        self.dirty.insert(id);
        self.reset_all(id, resets, outlet);
        Ok(())
    }

    /// Ends a subscription without [`DeliveryEvent::Ended`]; its streams are reset with `code`.
    pub fn detach(&mut self, id: SubscriptionId, code: StreamCode, outlet: &mut impl Outlet) {
        if let Some((subscription, _)) = self.subscriptions.get_mut(&id) {
            subscription.ending = None;
        }
        self.drop_streams(id, code, outlet);
        self.dirty.remove(&id);
        self.shared.schedule.drop_subscription(id);
        self.subscriptions.remove(&id);
    }

    /// Ends a subscription from this side; its streams are reset.
    pub fn finish(
        &mut self,
        id: SubscriptionId,
        code: PublishDoneCode,
        reason: &str,
        outlet: &mut impl Outlet,
    ) {
        let Some((subscription, _)) = self.subscriptions.get_mut(&id) else {
            return;
        };
        subscription.ending = Some((code, reason.to_owned()));
        self.drop_streams(id, StreamCode::CANCELLED, outlet);
        self.end_if_closed(id);
    }

    /// All subscriptions.
    pub fn subscriptions(&self) -> impl Iterator<Item = SubscriptionId> + '_ {
        self.subscriptions.keys().copied()
    }

    /// How a subscription reads its log.
    pub fn source(&self, id: SubscriptionId) -> Option<&S> {
        self.subscriptions.get(&id).map(|(_, source)| source)
    }

    /// Whether a subscription is in Forward State 1.
    pub fn is_forwarding(&self, id: SubscriptionId) -> bool {
        self.subscriptions
            .get(&id)
            .is_some_and(|(subscription, _)| subscription.forward)
    }

    /// Datagrams that this session could not take.
    pub fn refused_datagrams(&self) -> u64 {
        self.refused_datagrams
    }

    /// Bytes taken out of logs and not yet taken by the transport.
    pub fn staged(&self) -> usize {
        self.shared.staged
    }

    /// The log of a subscription changed.
    pub fn changed(&mut self, id: SubscriptionId) {
        self.dirty.insert(id);
    }

    /// There may be stream credit.
    pub fn credit(&mut self) {
        self.credit = true;
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<DeliveryEvent> {
        self.events.pop_front()
    }

    /// When [`Delivery::service`] is to be called without a wake-up.
    pub fn deadline(&self) -> Option<Instant> {
        let expiry = self.shared.deadlines.first().map(|(at, _)| *at);
        [expiry, self.probe_at].into_iter().flatten().min()
    }

    /// A stream can be written again, or was stopped, or was received whole.
    pub fn woken(&mut self, stream: StreamKey, outlet: &mut impl Outlet) {
        match self.streams.get(&stream).copied() {
            Some(Owner::Run(id, run)) => {
                let Some((subscription, _)) = self.subscriptions.get_mut(&id) else {
                    return;
                };
                let blocked = subscription
                    .cursors
                    .get(&run)
                    .is_some_and(|cursor| cursor.blocked);
                if blocked {
                    subscription.unblock(run, &mut self.shared);
                } else if outlet.watch(stream) == Watched::Stopped {
                    self.stopped(id, run, outlet);
                }
            }
            Some(Owner::Finished(..)) if outlet.watch(stream) != Watched::Pending => {
                outlet.release(stream);
                self.closed(stream);
            }
            _ => {}
        }
    }

    /// Sends what can be sent. True: there is more to do, call again soon.
    pub fn service(&mut self, now: Instant, outlet: &mut impl Outlet) -> bool {
        self.probe_at = None;
        self.expire(now, outlet);
        for id in std::mem::take(&mut self.dirty) {
            self.sync(id, now, outlet);
        }
        let mut blocked = 0;
        for _ in 0..self.shared.limits.turn_steps.max(1) {
            let Some((id, lane, rank)) = self.shared.schedule.first(self.credit) else {
                return !self.dirty.is_empty();
            };
            match self.step(id, lane, rank, now, outlet) {
                Step::Progress => blocked = 0,
                Step::Blocked => blocked += 1,
                Step::NoCredit => self.credit = false,
                Step::Gone => return false,
            }
            // Rather the whole connection is blocked than so many streams. If not, nobody will wake us.
            if blocked >= self.shared.limits.max_blocked_probes.max(1) {
                self.probe_at = now.checked_add(self.shared.limits.probe_interval);
                return false;
            }
        }
        true
    }

    /// Looks at the log of a subscription.
    fn sync(&mut self, id: SubscriptionId, now: Instant, outlet: &mut impl Outlet) {
        let Some((subscription, source)) = self.subscriptions.get_mut(&id) else {
            return;
        };
        let shared = &mut self.shared;
        let Outcome {
            resets,
            end,
            drained,
        } = source.read(|log| subscription.sync(log, shared, now));
        if let Some(how) = drained {
            subscription.ending = Some(how);
        }
        self.reset_all(id, resets, outlet);
        match end {
            Some((code, reason)) => self.finish(id, code, &reason, outlet),
            None => self.end_if_closed(id),
        }
    }

    /// Sends some of one item.
    fn step(
        &mut self,
        id: SubscriptionId,
        lane: Lane,
        rank: Rank,
        now: Instant,
        outlet: &mut impl Outlet,
    ) -> Step {
        let run = match rank.item {
            Item::Datagram(arrival) => {
                self.send_datagram(id, arrival, now, outlet);
                return Step::Progress;
            }
            Item::Run(run) => run,
        };
        let stream = self
            .subscriptions
            .get(&id)
            .and_then(|(subscription, _)| subscription.cursors.get(&run))
            .map(|cursor| cursor.stream);
        let stream = match stream {
            Some(Some(stream)) => stream,
            Some(None) => match self.open(id, run, rank, outlet) {
                Ok(stream) => stream,
                Err(step) => return step,
            },
            None => {
                self.shared.schedule.remove(id, lane, rank);
                return Step::Progress;
            }
        };
        let step = self.send_run(id, run, stream, outlet);
        self.shared.schedule.served(id);
        step
    }

    /// Opens the stream of a run.
    fn open(
        &mut self,
        id: SubscriptionId,
        run: RunId,
        rank: Rank,
        outlet: &mut impl Outlet,
    ) -> Result<StreamKey, Step> {
        let Some((subscription, _)) = self.subscriptions.get_mut(&id) else {
            return Err(Step::Progress);
        };
        let renumbered = subscription.choose_slot(rank);
        let stream = match outlet.open(subscription.transport_priority(rank)) {
            Opened::Stream(stream) => stream,
            refused => {
                subscription.forget_slot(rank);
                return Err(match refused {
                    Opened::NoCredit => Step::NoCredit,
                    _ => Step::Gone,
                });
            }
        };
        subscription.unqueue(run, &mut self.shared);
        if let Some(cursor) = subscription.cursors.get_mut(&run) {
            cursor.stream = Some(stream);
        }
        subscription.queue(run, &mut self.shared);
        subscription.opened += 1;
        subscription.open += 1;
        if renumbered {
            for (stream, priority) in subscription.transport_priorities() {
                outlet.set_priority(stream, priority);
            }
        }
        self.streams.insert(stream, Owner::Run(id, run));
        self.events.push_back(DeliveryEvent::StreamOpened(id));
        Ok(stream)
    }

    /// Hands over up to a quantum of a run, and its end.
    fn send_run(
        &mut self,
        id: SubscriptionId,
        run: RunId,
        stream: StreamKey,
        outlet: &mut impl Outlet,
    ) -> Step {
        let quantum = self.shared.limits.quantum_bytes.max(1);
        let mut sent = 0;
        while sent < quantum {
            let Some((subscription, source)) = self.subscriptions.get_mut(&id) else {
                return Step::Progress;
            };
            let shared = &mut self.shared;
            let Some(cursor) = subscription.cursors.get_mut(&run) else {
                return Step::Progress;
            };
            if let Some(complete) = cursor.is_done() {
                self.end_run(id, run, stream, complete, outlet);
                return Step::Progress;
            }
            if !cursor.is_ready() {
                subscription.unqueue(run, shared);
                if outlet.watch(stream) == Watched::Stopped {
                    self.stopped(id, run, outlet);
                }
                return Step::Progress;
            }
            if cursor.staged_len() == 0 {
                let taken = source.read(|log| subscription.take_out(log, run, quantum, shared));
                if taken.is_err() {
                    // The log moved on; reading it decides what is done about it.
                    subscription.unqueue(run, shared);
                    self.dirty.insert(id);
                    return Step::Progress;
                }
                continue;
            }
            match outlet.write(stream, cursor.chunks()) {
                Written::Taken(taken) => {
                    subscription.advance(run, taken, shared);
                    sent += taken;
                }
                Written::Blocked => {
                    subscription.block(run, shared);
                    return if sent > 0 {
                        Step::Progress
                    } else {
                        Step::Blocked
                    };
                }
                Written::Stopped => {
                    self.stopped(id, run, outlet);
                    return Step::Progress;
                }
                Written::Gone => return Step::Gone,
            }
        }
        Step::Progress
    }

    /// Everything of a run is handed over.
    fn end_run(
        &mut self,
        id: SubscriptionId,
        run: RunId,
        stream: StreamKey,
        complete: bool,
        outlet: &mut impl Outlet,
    ) {
        let Some((subscription, source)) = self.subscriptions.get_mut(&id) else {
            return;
        };
        subscription.remove_cursor(run, &mut self.shared);
        // draft-14 §10.4.3: FIN only on all of the subgroup
        if !complete {
            self.reset_all(id, vec![(stream, StreamCode::CANCELLED)], outlet);
            self.dirty.insert(id);
            return;
        }
        // draft-14 §9.2.1.2: the last object may still expire
        let expires = subscription.timeout.and_then(|timeout| {
            let last = source.read(|log| log.run(run).and_then(|run| run.last));
            last?.received.checked_add(timeout)
        });
        outlet.finish(stream);
        let number = self.next_finished;
        self.next_finished += 1;
        self.streams
            .insert(stream, Owner::Finished(id, number, expires));
        if let Some(at) = expires {
            self.shared.deadlines.insert((at, Expiry::Stream(stream)));
        }
        self.finished.insert(number, stream);
        if outlet.watch(stream) != Watched::Pending {
            outlet.release(stream);
            self.closed(stream);
        }
        if self.finished.len() > self.shared.limits.max_closing
            && let Some(oldest) = self.finished.first_entry().map(|entry| *entry.get())
        {
            outlet.release(oldest);
            self.closed(oldest);
        }
        self.dirty.insert(id);
    }

    /// The peer stopped a stream; this changes nothing for others (draft-14 §10.4.3).
    fn stopped(&mut self, id: SubscriptionId, run: RunId, outlet: &mut impl Outlet) {
        let Some((subscription, _)) = self.subscriptions.get_mut(&id) else {
            return;
        };
        let mut resets = Resets::new();
        subscription.give_up(run, StreamCode::CANCELLED, &mut self.shared, &mut resets);
        self.dirty.insert(id);
        self.reset_all(id, resets, outlet);
    }

    fn send_datagram(
        &mut self,
        id: SubscriptionId,
        arrival: u64,
        now: Instant,
        outlet: &mut impl Outlet,
    ) {
        let Some((subscription, _)) = self.subscriptions.get_mut(&id) else {
            return;
        };
        let Some(datagram) = subscription.drop_datagram(arrival, &mut self.shared) else {
            return;
        };
        if subscription.is_drained() {
            self.dirty.insert(id);
        }
        if datagram.expires.is_some_and(|expires| expires <= now) {
            return;
        }
        // draft-14 §10.3: too large here is dropped here
        if outlet.datagram(datagram.wire) == DatagramSent::Refused {
            self.refused_datagrams += 1;
        }
        self.shared.schedule.served(id);
    }

    /// Acts on everything whose time is over.
    fn expire(&mut self, now: Instant, outlet: &mut impl Outlet) {
        while let Some((at, what)) = self.shared.deadlines.first().copied() {
            if at > now {
                return;
            }
            self.shared.deadlines.remove(&(at, what));
            match what {
                Expiry::Run(id, run) => self.expire_run(id, run, now, outlet),
                Expiry::Stream(stream) => {
                    if let Some(Owner::Finished(id, ..)) = self.streams.get(&stream).copied() {
                        let code = StreamCode::DELIVERY_TIMEOUT;
                        self.reset_all(id, vec![(stream, code)], outlet);
                        self.end_if_closed(id);
                    }
                }
                Expiry::Range(id) => {
                    if let Some((subscription, _)) = self.subscriptions.get_mut(&id)
                        && subscription.is_drained()
                    {
                        // draft-14 §9.12
                        let reason = "the end of the range was reached".to_owned();
                        subscription.ending = Some((PublishDoneCode::SUBSCRIPTION_ENDED, reason));
                        self.end_if_closed(id);
                    }
                }
            }
        }
    }

    fn expire_run(
        &mut self,
        id: SubscriptionId,
        run: RunId,
        now: Instant,
        outlet: &mut impl Outlet,
    ) {
        let Some((subscription, source)) = self.subscriptions.get_mut(&id) else {
            return;
        };
        let shared = &mut self.shared;
        if !source.read(|log| subscription.has_expired(log, run, now, shared)) {
            return;
        }
        // draft-14 §9.2.1.2: the stream of an expired object is reset; without a stream there will be none
        let mut resets = Resets::new();
        subscription.give_up(run, StreamCode::DELIVERY_TIMEOUT, shared, &mut resets);
        self.dirty.insert(id);
        self.reset_all(id, resets, outlet);
    }

    /// Resets all streams of a subscription, finished ones too, and forgets what it has to send.
    fn drop_streams(&mut self, id: SubscriptionId, code: StreamCode, outlet: &mut impl Outlet) {
        let Some((subscription, _)) = self.subscriptions.get_mut(&id) else {
            return;
        };
        let mut resets = subscription.drop_all(code, &mut self.shared);
        if subscription.open > resets.len() as u64 {
            resets.extend(
                self.streams
                    .iter()
                    .filter(|(_, owner)| matches!(owner, Owner::Finished(who, ..) if *who == id))
                    .map(|(stream, _)| (*stream, code)),
            );
        }
        self.reset_all(id, resets, outlet);
    }

    fn reset_all(&mut self, id: SubscriptionId, resets: Resets, outlet: &mut impl Outlet) {
        for (stream, code) in resets {
            outlet.reset(stream, code);
            self.closed(stream);
        }
        self.end_if_closed(id);
    }

    /// A stream is over and known to the outlet no more.
    fn closed(&mut self, stream: StreamKey) {
        let id = match self.streams.remove(&stream) {
            Some(Owner::Run(id, _)) => id,
            Some(Owner::Finished(id, number, expires)) => {
                if let Some(at) = expires {
                    self.shared.deadlines.remove(&(at, Expiry::Stream(stream)));
                }
                self.finished.remove(&number);
                id
            }
            None => return,
        };
        if let Some((subscription, _)) = self.subscriptions.get_mut(&id) {
            subscription.open = subscription.open.saturating_sub(1);
            self.events.push_back(DeliveryEvent::StreamClosed(id));
        }
        self.end_if_closed(id);
    }

    /// Tells the end of a subscription once its streams are closed (draft-14 §5.1, §9.12).
    fn end_if_closed(&mut self, id: SubscriptionId) {
        let Some((subscription, _)) = self.subscriptions.get_mut(&id) else {
            return;
        };
        if subscription.open > 0 {
            return;
        }
        let Some((code, reason)) = subscription.ending.take() else {
            return;
        };
        self.events.push_back(DeliveryEvent::Ended {
            subscription: id,
            code,
            reason,
            streams: subscription.opened,
        });
        subscription.drop_all(StreamCode::CANCELLED, &mut self.shared);
        self.shared.schedule.drop_subscription(id);
        self.dirty.remove(&id);
        self.subscriptions.remove(&id);
    }
}

/// Reads a log that lives in the same thread, for engines without a shell.
impl Source for std::rc::Rc<std::cell::RefCell<TrackLog>> {
    fn read<R>(&self, f: impl FnOnce(&TrackLog) -> R) -> R {
        f(&self.borrow())
    }
}
