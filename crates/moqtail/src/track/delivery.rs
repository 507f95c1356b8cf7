//! Delivers all subscriptions of one session by the rules of draft-14 §7 and §10.4.3.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use super::{
    Admission, AttachError, DeliveryLimits, StartInfo, SubscriptionId, SubscriptionParams,
    UpdateError, UpdateParams,
    filter::Range,
    idle::Idle,
    ids::RunId,
    outlet::{Outlet, Source, StreamKey, Watched},
    owners::{Owner, Owners},
    schedule::Schedule,
    subscription::{Expiry, Outcome, Resets, Shared, Subscription},
};
use crate::model::{PublishDoneCode, StreamCode};

/// What happened to a subscription, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryEvent {
    /// Streams of it that were opened, and streams that were reset, stopped, or received whole. One event tells of all
    /// until the next event.
    Streams {
        /// The subscription.
        subscription: SubscriptionId,
        /// How many were opened.
        opened: u64,
        /// How many are over.
        closed: u64,
    },
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

/// The delivery engine of one session. `S` is how it reads the log of a track.
///
/// Its owner calls [`Delivery::service`] after each wake-up and at [`Delivery::deadline`], and passes the events on.
#[derive(Debug)]
pub struct Delivery<S> {
    pub(super) subscriptions: BTreeMap<SubscriptionId, (Subscription, S)>,
    pub(super) streams: Owners,
    /// A subscription has ended but for its streams.
    closing: bool,
    pub(super) dirty: BTreeSet<SubscriptionId>,
    pub(super) idle: Idle,
    pub(super) events: VecDeque<DeliveryEvent>,
    pub(super) credit: bool,
    /// The transport takes datagrams.
    pub(super) takes_datagrams: bool,
    /// Some were sent since the turn began.
    pub(super) sends_datagrams: bool,
    /// When the datagram that is to be sent next expires, if it waits for the path.
    pub(super) datagram_expires: Option<Instant>,
    pub(super) probe_at: Option<Instant>,
    pub(super) shared: Shared,
}

impl<S: Source> Delivery<S> {
    /// An engine without subscriptions.
    pub fn new(limits: DeliveryLimits) -> Self {
        Self {
            subscriptions: BTreeMap::new(),
            streams: Owners::default(),
            closing: false,
            dirty: BTreeSet::new(),
            idle: Idle::default(),
            events: VecDeque::new(),
            credit: true,
            takes_datagrams: true,
            sends_datagrams: false,
            datagram_expires: None,
            probe_at: None,
            shared: Shared {
                limits,
                schedule: Schedule::default(),
                deadlines: BTreeSet::new(),
                staged: 0,
                waiting: 0,
                datagrams: 0,
                refused_datagrams: 0,
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
        let default = self.shared.limits.default_timeout;
        let (subscription, info) = source.read(|log| {
            if let Some(why) = log.malformed() {
                return Err(why.clone().into());
            }
            let (largest, since) = match admission {
                Admission::Now => (log.known_largest(), None),
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
            let subscription = Subscription::new(id, range, params, default, since, log);
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
        let range = subscription.narrowed(params.start, params.end_group)?;
        let shared = &mut self.shared;
        subscription.narrow(range);
        subscription.ask_timeout(params.delivery_timeout);
        let resets = source.read(|log| subscription.set_forward(params.forward, log, shared));
        if subscription.priority != params.subscriber_priority {
            subscription.priority = params.subscriber_priority;
            subscription.is_reprioritized = true;
            shared.schedule.set_priority(id, params.subscriber_priority);
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

    /// Datagrams that this session could not take: too large for it, or too many waited.
    pub fn refused_datagrams(&self) -> u64 {
        self.shared.refused_datagrams
    }

    /// Datagrams that wait for the path.
    pub fn waiting_datagrams(&self) -> usize {
        self.shared.datagrams
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

    /// Datagrams may be sent again.
    pub fn datagrams(&mut self) {
        self.takes_datagrams = true;
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<DeliveryEvent> {
        self.events.pop_front()
    }

    /// Whether the end of a subscription depends on streams that were finished and are not yet known to be closed. If
    /// not, [`Delivery::woken`] for such a stream has time until the next call of [`Delivery::service`].
    pub fn awaits_closing(&mut self) -> bool {
        self.closing &= self.streams.finished() > 0;
        self.closing
    }

    /// Whether nothing is on its way: all that was published for the subscriptions was received, or never will be.
    pub fn is_delivered(&self) -> bool {
        let mut subscriptions = self.subscriptions.values();
        self.dirty.is_empty()
            && self.streams.is_empty()
            && subscriptions
                .all(|(subscription, _)| subscription.started && subscription.is_drained())
    }

    /// When [`Delivery::service`] is to be called without a wake-up.
    pub fn deadline(&self) -> Option<Instant> {
        let expiry = self.shared.deadlines.first().map(|(at, _)| *at);
        let idle = self.idle.deadline().filter(|_| !self.streams.is_empty());
        let all = [expiry, self.probe_at, idle, self.datagram_expires];
        all.into_iter().flatten().min()
    }

    /// A stream can be written again, or was stopped, or was received whole.
    pub fn woken(&mut self, stream: StreamKey, outlet: &mut impl Outlet) {
        match self.streams.get(stream) {
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
                self.over(stream, outlet);
            }
            _ => {}
        }
    }

    /// A stream that was finished is over.
    pub fn over(&mut self, stream: StreamKey, outlet: &mut impl Outlet) {
        outlet.release(stream);
        self.closed(stream);
    }

    /// Looks at the log of a subscription.
    pub(super) fn sync(&mut self, id: SubscriptionId, now: Instant, outlet: &mut impl Outlet) {
        let Some((subscription, source)) = self.subscriptions.get_mut(&id) else {
            return;
        };
        // However many updates there were in one turn, this is done once.
        if std::mem::take(&mut subscription.is_reprioritized) {
            for (stream, priority) in subscription.transport_priorities() {
                outlet.set_priority(stream, priority);
            }
        }
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

    /// Acts on everything whose time is over.
    pub(super) fn expire(&mut self, now: Instant, outlet: &mut impl Outlet) {
        while let Some((at, what)) = self.shared.deadlines.first().copied() {
            if at > now {
                return;
            }
            self.shared.deadlines.remove(&(at, what));
            match what {
                Expiry::Run(id, run) => self.expire_run(id, run, now, outlet),
                Expiry::Linger(id, run) => self.linger_over(id, run, now, outlet),
                Expiry::Stream(stream) => {
                    if let Some(Owner::Finished(id, ..)) = self.streams.get(stream) {
                        let code = StreamCode::DELIVERY_TIMEOUT;
                        self.reset_all(id, vec![(stream, code)], outlet);
                        self.end_if_closed(id);
                    }
                }
                Expiry::Look(id) => {
                    if let Some((subscription, _)) = self.subscriptions.get_mut(&id) {
                        subscription.look();
                        self.dirty.insert(id);
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

    /// Gives a run up if the time of its oldest object is over.
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
            resets.extend(self.streams.finished_of(id).map(|stream| (stream, code)));
        }
        self.reset_all(id, resets, outlet);
    }

    pub(super) fn reset_all(
        &mut self,
        id: SubscriptionId,
        resets: Resets,
        outlet: &mut impl Outlet,
    ) {
        for (stream, code) in resets {
            outlet.reset(stream, code);
            self.closed(stream);
        }
        self.end_if_closed(id);
    }

    /// A stream is over and known to the outlet no more.
    pub(super) fn closed(&mut self, stream: StreamKey) {
        let id = match self.streams.remove(stream) {
            Some(Owner::Run(id, _)) => id,
            Some(Owner::Finished(id, _, expires)) => {
                if let Some(at) = expires {
                    self.shared.deadlines.remove(&(at, Expiry::Stream(stream)));
                }
                id
            }
            None => return,
        };
        if let Some((subscription, _)) = self.subscriptions.get_mut(&id) {
            subscription.open = subscription.open.saturating_sub(1);
            self.tell(id, 0, 1);
        }
        self.end_if_closed(id);
    }

    /// Tells of streams that were opened or closed.
    pub(super) fn tell(&mut self, id: SubscriptionId, opened: u64, closed: u64) {
        if let Some(DeliveryEvent::Streams {
            subscription,
            opened: opened_before,
            closed: closed_before,
        }) = self.events.back_mut()
            && *subscription == id
        {
            *opened_before += opened;
            *closed_before += closed;
            return;
        }
        self.events.push_back(DeliveryEvent::Streams {
            subscription: id,
            opened,
            closed,
        });
    }

    /// Tells the end of a subscription once its streams are closed (draft-14 §5.1, §9.12).
    fn end_if_closed(&mut self, id: SubscriptionId) {
        let Some((subscription, _)) = self.subscriptions.get_mut(&id) else {
            return;
        };
        if subscription.open > 0 {
            self.closing |= subscription.ending.is_some();
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
