//! Data streams of subscriptions, and the end of a subscription after PUBLISH_DONE (draft-14 §9.12).

use std::time::Instant;

use super::{State, Subscription, Subscriptions};
use crate::{
    model::{StreamCode, TrackAlias},
    session::{
        alias::AliasState,
        context::Context,
        event::{Event, RequestHandle, StreamKey, StreamVerdict},
        timer::Timer,
    },
};

const REFUSED: StreamVerdict = StreamVerdict::Refuse(StreamCode::CANCELLED);

impl Subscription {
    /// All streams that PUBLISH_DONE counted were opened. A count of 0 may mean datagrams, which are not counted.
    fn all_streams_seen(&self) -> bool {
        self.is_count(self.streams_seen)
    }

    fn is_count(&self, seen: u64) -> bool {
        let count = self.done.as_ref().and_then(|done| done.stream_count);
        count.is_some_and(|count| count > 0 && seen >= count)
    }

    /// When nothing is open and what is missing of the count may be streams that ended before their header, with which
    /// the session had `headless` so far.
    fn lacks_only_headless(&self, headless: u64) -> bool {
        let of_anybody = headless.saturating_sub(self.headless);
        self.open.is_empty() && self.is_count(self.streams_seen.saturating_add(of_anybody))
    }

    fn is_drained(&self) -> bool {
        let State::Draining { late, .. } = self.state else {
            return false;
        };
        self.open.is_empty() && (late || self.all_streams_seen())
    }

    fn takes_streams(&self) -> bool {
        match self.state {
            State::Active => true,
            State::Draining { late, .. } => !late && !self.all_streams_seen(),
            State::Queued | State::Pending | State::Held | State::Offered => false,
        }
    }
}

/// The earlier of two times that may never come.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

impl Subscriptions {
    /// What becomes of a stream with this alias.
    pub(in crate::session) fn stream(
        &mut self,
        cx: &mut Context,
        stream: StreamKey,
        alias: TrackAlias,
        now: Instant,
    ) -> StreamVerdict {
        let park = match cx.aliases.get(alias) {
            AliasState::Unknown => true,
            AliasState::Retired => false,
            AliasState::Active(handle) => {
                let Some(subscription) = self.all.get_mut(&handle) else {
                    return REFUSED;
                };
                if subscription.takes_streams() {
                    subscription.streams_seen += 1;
                    subscription.open.insert(stream);
                    cx.streams.deliver(stream, handle);
                    return StreamVerdict::Deliver(handle);
                }
                matches!(subscription.state, State::Held | State::Offered)
            }
        };
        if park && cx.streams.park(stream, alias) {
            cx.timers
                .set_after(Timer::Parked(stream), now, cx.limits.park_timeout);
            return StreamVerdict::Park;
        }
        REFUSED
    }

    /// The subscription that takes datagrams with this alias.
    pub(in crate::session) fn datagram(
        &self,
        cx: &Context,
        alias: TrackAlias,
    ) -> Option<RequestHandle> {
        let handle = cx.aliases.get(alias).active()?;
        let state = self.all.get(&handle)?.state;
        matches!(state, State::Active | State::Draining { .. }).then_some(handle)
    }

    /// A stream that delivered to `handle` has ended.
    pub(in crate::session) fn stream_ended(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
        stream: StreamKey,
    ) {
        let Some(subscription) = self.all.get_mut(&handle) else {
            return;
        };
        subscription.open.remove(&stream);
        self.close_if_drained(cx, handle);
    }

    /// Hands the parked streams of its alias to an active subscription.
    pub(super) fn resume(&mut self, cx: &mut Context, handle: RequestHandle) {
        let Some(subscription) = self.all.get_mut(&handle) else {
            return;
        };
        let Some(alias) = subscription.alias else {
            return;
        };
        for stream in cx.resume_parked(alias, handle) {
            subscription.streams_seen += 1;
            subscription.open.insert(stream);
        }
    }

    /// After PUBLISH_DONE: waits for what is still on the way, if anything is.
    pub(super) fn drain_if_done(&mut self, cx: &mut Context, handle: RequestHandle, now: Instant) {
        let Some(subscription) = self.all.get_mut(&handle) else {
            return;
        };
        if subscription.done.is_none() {
            return;
        }
        // draft-14 §9.12: at least the delivery timeout, which the peer must not stretch without end
        let limits = &cx.limits;
        let timeout = subscription.delivery_timeout.unwrap_or_default();
        let linger = timeout.min(limits.done_drain).max(limits.done_linger);
        let until = now.checked_add(linger);
        subscription.state = State::Draining { until, late: false };
        subscription.update = None;
        cx.requests.dequeue(handle);
        if self.tracks.get(&subscription.track) == Some(&handle) {
            self.tracks.remove(&subscription.track);
        }
        if subscription.is_drained() {
            self.close(cx, handle);
            return;
        }
        let look = earlier(until, now.checked_add(limits.done_quiet));
        cx.timers.set_or_cancel(Timer::Linger(handle), look);
    }

    /// Finds out whether anything may still come, until `done_linger` is over.
    pub(in crate::session) fn lingered(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
        now: Instant,
    ) {
        let Some(subscription) = self.all.get_mut(&handle) else {
            return;
        };
        let State::Draining { until, .. } = subscription.state else {
            return;
        };
        if until.is_none_or(|until| now < until) {
            let quiet = cx.limits.done_quiet;
            let lacks_only_headless = subscription.lacks_only_headless(cx.streams.headless());
            let over = cx
                .streams
                .quiet_since()
                .filter(|_| lacks_only_headless)
                .and_then(|since| since.checked_add(quiet));
            if over.is_some_and(|over| over <= now) {
                // draft-14 §9.12: as many streams as were counted were processed
                self.close(cx, handle);
            } else {
                // Without a time between two looks the next one is the last.
                let next = over.or_else(|| now.checked_add(quiet).filter(|next| *next > now));
                cx.timers
                    .set_or_cancel(Timer::Linger(handle), earlier(until, next));
            }
            return;
        }
        subscription.state = State::Draining { until, late: true };
        if subscription.is_drained() {
            self.close(cx, handle);
        } else {
            cx.timers
                .set_after(Timer::Drain(handle), now, cx.limits.done_drain);
        }
    }

    pub(super) fn close_if_drained(&mut self, cx: &mut Context, handle: RequestHandle) {
        if self.all.get(&handle).is_some_and(Subscription::is_drained) {
            self.close(cx, handle);
        }
    }

    /// Nothing more is waited for; streams that are still open are stopped.
    pub(in crate::session) fn close(&mut self, cx: &mut Context, handle: RequestHandle) {
        self.end(cx, handle);
        cx.out.event(Event::SubscriptionClosed { handle });
    }
}
