//! Sending, step by step: opens a stream, hands over some of a run, ends it; or sends a datagram.

use std::time::Instant;

use super::{
    SubscriptionId,
    cursor::End,
    delivery::Delivery,
    ids::RunId,
    outlet::{DatagramSent, Opened, Outlet, Source, StreamKey, Watched, Written},
    schedule::{Item, Lane, Rank},
    subscription::{Expiry, Resets},
    whole::{Before, FIN_DELAYS},
};
use crate::model::StreamCode;

/// How one step of sending went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Progress,
    Blocked,
    NoCredit,
    /// A datagram waits for the path.
    Full,
    Gone,
}

impl<S: Source> Delivery<S> {
    /// Sends what can be sent. True: there is more to do, call again soon.
    pub fn service(&mut self, now: Instant, outlet: &mut impl Outlet) -> bool {
        self.probe_at = None;
        self.sends_datagrams = false;
        self.datagram_expires = None;
        for id in std::mem::take(&mut self.dirty) {
            self.sync(id, now, outlet);
        }
        // After the logs were read: what is too old already is not begun, and what has ended is not watched.
        self.expire(now, outlet);
        self.watch_idle(now, outlet);
        let mut blocked = 0;
        for _ in 0..self.shared.limits.turn_steps.max(1) {
            let Some((id, lane, rank)) = self.shared.schedule.first(self.credit) else {
                return !self.dirty.is_empty();
            };
            match self.step(id, lane, rank, now, outlet) {
                Step::Progress => blocked = 0,
                Step::Blocked => blocked += 1,
                Step::NoCredit => self.credit = false,
                // draft-14 §7.2: what comes after it in rank waits too. Those of this turn may leave before the next one.
                Step::Full => return self.sends_datagrams || !self.dirty.is_empty(),
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

    /// Has the outlet tell when the peer stops a stream that has nothing to send for some time.
    fn watch_idle(&mut self, now: Instant, outlet: &mut impl Outlet) {
        for (id, run) in self.idle.due(now) {
            let cursors = self.subscriptions.get(&id);
            let stream =
                cursors.and_then(|(subscription, _)| subscription.cursors.get(&run)?.stream);
            if let Some(stream) = stream
                && outlet.watch(stream) == Watched::Stopped
            {
                self.stopped(id, run, outlet);
            }
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
            Item::Datagram(arrival) => return self.send_datagram(id, arrival, now, outlet),
            Item::Run(run) => run,
        };
        let subscription = self.subscriptions.get(&id);
        let stream = subscription
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
        let step = self.send_run(id, run, stream, now, outlet);
        self.shared.schedule.served(id);
        step
    }

    /// Opens the stream of a run, which leaves the schedule with that.
    fn open(
        &mut self,
        id: SubscriptionId,
        run: RunId,
        rank: Rank,
        outlet: &mut impl Outlet,
    ) -> Result<StreamKey, Step> {
        let Some((subscription, source)) = self.subscriptions.get_mut(&id) else {
            return Err(Step::Progress);
        };
        // Credit for streams may be scarce.
        if subscription.is_unsure() && source.read(|log| subscription.has_lost(run, log)) {
            subscription.suspect(run, &mut self.shared);
            self.dirty.insert(id);
            return Err(Step::Progress);
        }
        let placed = subscription.slots.insert(rank);
        let stream = match outlet.open(subscription.transport_priority(rank, placed.slot)) {
            Opened::Stream(stream) => stream,
            refused => {
                subscription.slots.remove(rank);
                return Err(match refused {
                    Opened::NoCredit => Step::NoCredit,
                    _ => Step::Gone,
                });
            }
        };
        if let Some(cursor) = subscription.cursors.get_mut(&run) {
            cursor.unqueue(id, &mut self.shared.schedule);
            cursor.stream = Some(stream);
            cursor.count(&mut subscription.waiting, &mut self.shared.waiting);
        }
        subscription.opened += 1;
        subscription.open += 1;
        if placed.renumbered {
            for (stream, priority) in subscription.transport_priorities() {
                outlet.set_priority(stream, priority);
            }
        }
        self.streams.open(stream, id, run);
        self.tell(id, 1, 0);
        Ok(stream)
    }

    /// Hands over up to a quantum of a run, and its end.
    fn send_run(
        &mut self,
        id: SubscriptionId,
        run: RunId,
        stream: StreamKey,
        now: Instant,
        outlet: &mut impl Outlet,
    ) -> Step {
        let quantum = self.shared.limits.quantum_bytes.max(1);
        let mut sent = 0;
        loop {
            let Some((subscription, source)) = self.subscriptions.get_mut(&id) else {
                return Step::Progress;
            };
            let shared = &mut self.shared;
            let Some(cursor) = subscription.cursors.get_mut(&run) else {
                return Step::Progress;
            };
            while cursor.staged_len() > 0 && sent < quantum {
                match outlet.write(stream, cursor.chunks()) {
                    Written::Taken(taken) => {
                        let from_run = cursor.advance(taken);
                        subscription.behind = subscription.behind.saturating_sub(from_run as u64);
                        cursor.count(&mut subscription.waiting, &mut shared.waiting);
                        shared.staged = shared.staged.saturating_sub(from_run);
                        sent += taken;
                    }
                    Written::Blocked => {
                        let back = cursor.block(id, &mut shared.schedule);
                        shared.staged = shared.staged.saturating_sub(back);
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
            if let Some(end) = cursor.done() {
                self.end_run(id, run, stream, end, now, outlet);
                return Step::Progress;
            }
            if !cursor.is_ready() {
                let known = std::mem::replace(&mut cursor.watched, true);
                cursor.unqueue(id, &mut shared.schedule);
                let subgroup = cursor.subgroup();
                subscription.tell_those_that_wait(subgroup, shared);
                if !known {
                    self.idle.add((id, run), now);
                }
                return Step::Progress;
            }
            if sent >= quantum {
                cursor.queue(id, &mut shared.schedule);
                return Step::Progress;
            }
            let taken = source.read(|log| subscription.take_out(log, run, shared));
            if taken.is_err() {
                subscription.suspect(run, shared);
                self.dirty.insert(id);
                return Step::Progress;
            }
        }
    }

    /// Everything of a run is handed over.
    fn end_run(
        &mut self,
        id: SubscriptionId,
        run: RunId,
        stream: StreamKey,
        end: End,
        now: Instant,
        outlet: &mut impl Outlet,
    ) {
        let Some((subscription, source)) = self.subscriptions.get_mut(&id) else {
            return;
        };
        let delay = self.shared.limits.reset_delay;
        // draft-14 §10.4.3: FIN only after all of the subgroup
        let (code, delay) = match end {
            End::Reset(code) => (code, delay),
            End::Fin => match subscription.before(run, source) {
                Before::Whole => return self.finish_run(id, run, stream, now, outlet),
                Before::OnItsWay => (StreamCode::CANCELLED, delay.saturating_mul(FIN_DELAYS)),
                Before::Unopened | Before::Missing => (StreamCode::CANCELLED, delay),
            },
        };
        // A reset takes back what the transport has not delivered, so it waits for that a little.
        match now.checked_add(delay).filter(|_| !delay.is_zero()) {
            Some(until) => subscription.linger(run, until, code, &mut self.shared),
            None => self.reset_run(id, run, code, outlet),
        }
    }

    /// The time is over that the stream of a run had before its end, or what it waited for is done.
    pub(super) fn linger_over(
        &mut self,
        id: SubscriptionId,
        run: RunId,
        now: Instant,
        outlet: &mut impl Outlet,
    ) {
        let Some((subscription, source)) = self.subscriptions.get_mut(&id) else {
            return;
        };
        let Some(cursor) = subscription.cursors.get(&run) else {
            return;
        };
        let (Some((until, code)), Some(stream)) = (cursor.lingers, cursor.stream) else {
            return;
        };
        let before = match cursor.waits_for_fin() {
            true => subscription.before(run, source),
            false => Before::Missing,
        };
        let delay = self.shared.limits.reset_delay;
        let again = now.checked_add(delay.saturating_mul(FIN_DELAYS));
        match (before, again) {
            (Before::Whole, _) => self.finish_run(id, run, stream, now, outlet),
            (Before::OnItsWay, Some(again)) if until <= now => {
                subscription.linger(run, again, code, &mut self.shared);
            }
            _ if until <= now => self.reset_run(id, run, code, outlet),
            (Before::OnItsWay, _) => {}
            (Before::Unopened | Before::Missing, _) => {
                let sooner = now.checked_add(delay).map_or(until, |at| at.min(until));
                subscription.linger(run, sooner, code, &mut self.shared);
            }
        }
    }

    /// All of a subgroup was handed over.
    fn finish_run(
        &mut self,
        id: SubscriptionId,
        run: RunId,
        stream: StreamKey,
        now: Instant,
        outlet: &mut impl Outlet,
    ) {
        let delay = self.shared.limits.reset_delay;
        let Some((subscription, _)) = self.subscriptions.get_mut(&id) else {
            return;
        };
        let cursor = subscription.remove_cursor(run, &mut self.shared);
        if subscription.may_be_over() {
            self.dirty.insert(id);
        }
        // draft-14 §9.2.1.2: the last object may still expire
        let timeout = subscription.timeout;
        let expires = timeout.and_then(|timeout| {
            let cursor = cursor?;
            let expires = cursor.newest_received.checked_add(timeout)?;
            // The end of one that waited for it has some time to arrive.
            let least = now.checked_add(delay).filter(|_| cursor.lingers.is_some());
            Some(expires.max(least.unwrap_or(expires)))
        });
        outlet.finish(stream);
        self.streams.finish(stream, id, expires);
        if let Some(at) = expires {
            self.shared.deadlines.insert((at, Expiry::Stream(stream)));
        }
        if outlet.watch(stream) != Watched::Pending {
            outlet.release(stream);
            self.closed(stream);
        }
        if self.streams.finished() > self.shared.limits.max_closing
            && let Some(oldest) = self.streams.oldest_finished()
        {
            outlet.release(oldest);
            self.closed(oldest);
        }
    }

    /// Resets the stream of a run that has ended.
    pub(super) fn reset_run(
        &mut self,
        id: SubscriptionId,
        run: RunId,
        code: StreamCode,
        outlet: &mut impl Outlet,
    ) {
        let Some((subscription, _)) = self.subscriptions.get_mut(&id) else {
            return;
        };
        let mut resets = Resets::new();
        subscription.drop_cursor(run, code, &mut self.shared, &mut resets);
        self.dirty.insert(id);
        self.reset_all(id, resets, outlet);
    }

    /// The peer stopped a stream; this changes nothing for others (draft-14 §10.4.3).
    pub(super) fn stopped(&mut self, id: SubscriptionId, run: RunId, outlet: &mut impl Outlet) {
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
    ) -> Step {
        let Some((subscription, _)) = self.subscriptions.get_mut(&id) else {
            return Step::Progress;
        };
        let Some(datagram) = subscription.datagrams.get(&arrival) else {
            return Step::Progress;
        };
        // draft-14 §9.2.1.2
        let expires = subscription
            .timeout
            .and_then(|timeout| datagram.received.checked_add(timeout));
        if expires.is_none_or(|expires| expires > now) {
            self.datagram_expires = expires;
            if !self.takes_datagrams {
                return Step::Full;
            }
            match outlet.datagram(datagram.wire.clone()) {
                DatagramSent::Sent => self.sends_datagrams = true,
                DatagramSent::Blocked => {
                    self.takes_datagrams = self.sends_datagrams;
                    return Step::Full;
                }
                // draft-14 §10.3: too large here is dropped here
                DatagramSent::Refused => self.shared.refused_datagrams += 1,
            }
            self.datagram_expires = None;
            self.shared.schedule.served(id);
        }
        subscription.drop_datagram(arrival, &mut self.shared);
        if subscription.may_be_over() {
            self.dirty.insert(id);
        }
        Step::Progress
    }
}
