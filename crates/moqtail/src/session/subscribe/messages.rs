//! What the peer says about the subscriptions of this side.

use std::time::{Duration, Instant};

use super::{Done, State, Subscription, Subscriptions, shorter};
use crate::{
    model::{
        Filter, Publish, PublishDone, RequestError, RequestId, SubscribeErrorCode, SubscribeOk,
        TrackAlias, UNKNOWN_STREAM_COUNT,
    },
    session::{
        alias::AliasState,
        context::Context,
        error::SessionError,
        event::{Event, PublishRequest, RequestFailure, RequestHandle, SubscribeAccepted},
        parameters,
        request::{Referred, RequestKind},
        timer::Timer,
    },
};

impl Subscriptions {
    pub(in crate::session) fn on_ok(
        &mut self,
        cx: &mut Context,
        ok: SubscribeOk,
    ) -> Result<(), SessionError> {
        let kind = RequestKind::Subscribe;
        let handle = match cx.requests.answered(ok.request_id, "SUBSCRIBE_OK", kind)? {
            Referred::Active(handle) => handle,
            // UNSUBSCRIBE crossed the answer: its streams may come and are dropped (draft-14 §10.1).
            Referred::Ended => {
                if cx.aliases.get(ok.track_alias) == AliasState::Unknown {
                    let nobody = cx.new_handle();
                    cx.retire_alias(ok.track_alias, nobody);
                }
                return Ok(());
            }
        };
        let Some(subscription) = self.all.get(&handle) else {
            return Ok(());
        };
        let track = subscription.track.clone();
        self.claim_alias(cx, ok.track_alias, |other| other.track == track)?;
        cx.timers.cancel(Timer::Answer(handle));

        let Some(subscription) = self.all.get_mut(&handle) else {
            return Ok(());
        };
        self.has_begun = true;
        subscription.state = State::Active;
        subscription.alias = Some(ok.track_alias);
        subscription.range = subscription.range.resolve(subscription.filter, ok.largest);
        subscription.delivery_timeout = shorter(
            subscription.delivery_timeout,
            ok.parameters.delivery_timeout(),
        );
        let held = subscription.held.take();
        if subscription.update.is_some() {
            cx.requests.enqueue_update(handle);
        }
        cx.aliases.activate(ok.track_alias, handle);
        cx.out.event(Event::SubscribeAccepted(SubscribeAccepted {
            handle,
            alias: ok.track_alias,
            expires: (ok.expires_ms > 0).then(|| Duration::from_millis(ok.expires_ms)),
            group_order: ok.group_order,
            largest: ok.largest,
            parameters: ok.parameters,
        }));
        self.resume(cx, handle);
        // draft-14 §9.7: one subscription per track
        held.map_or(Ok(()), |held| self.refuse_second(cx, held))
    }

    pub(in crate::session) fn on_error(
        &mut self,
        cx: &mut Context,
        error: RequestError<SubscribeErrorCode>,
    ) -> Result<(), SessionError> {
        let kind = RequestKind::Subscribe;
        match cx
            .requests
            .answered(error.request_id, "SUBSCRIBE_ERROR", kind)?
        {
            Referred::Active(handle) => {
                let failure = RequestFailure::Refused {
                    code: error.code,
                    reason: error.reason,
                };
                self.reject_own(cx, handle, failure);
            }
            Referred::Ended => {}
        }
        Ok(())
    }

    /// PUBLISH, whose Request ID was checked and belongs to `handle`.
    pub(in crate::session) fn on_publish(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
        publish: Publish,
    ) -> Result<(), SessionError> {
        self.claim_alias(cx, publish.track_alias, |other| {
            other.track == publish.track
        })?;
        let live = self.tracks.get(&publish.track).copied();
        let state = live.and_then(|live| Some(self.all.get(&live)?.state));
        // What waits is kept for a while; what is told at once is not.
        let (state, parameters) = if state.is_some_and(|state| state != State::Queued) {
            let kept = parameters::bounded(publish.parameters, cx.limits.max_kept_parameters);
            (State::Held, kept)
        } else {
            (State::Offered, publish.parameters)
        };
        let subscription = Subscription {
            id: Some(publish.request_id),
            alias: Some(publish.track_alias),
            largest: publish.largest,
            delivery_timeout: parameters.delivery_timeout(),
            headless: cx.streams.headless(),
            offer: Some(Box::new(PublishRequest {
                handle,
                track: publish.track.clone(),
                alias: publish.track_alias,
                group_order: publish.group_order,
                largest: publish.largest,
                forward: publish.forward,
                parameters,
            })),
            ..Subscription::new(state, publish.track, Filter::LargestObject)
        };
        self.all.insert(handle, subscription);
        if cx.aliases.get(publish.track_alias).active().is_none() {
            cx.aliases.activate(publish.track_alias, handle);
        }
        let Some((live, own)) = live.and_then(|live| Some((live, self.all.get_mut(&live)?))) else {
            self.offer(cx, handle);
            return Ok(());
        };
        if own.held.is_some() {
            return self.refuse_second(cx, handle);
        }
        match own.state {
            State::Pending => own.held = Some(handle),
            // It may never be sent.
            State::Queued => {
                own.held = Some(handle);
                self.end(cx, live);
                cx.out.event(Event::SubscribeSuperseded { handle: live });
            }
            _ => self.refuse_second(cx, handle)?,
        }
        Ok(())
    }

    pub(in crate::session) fn on_done(
        &mut self,
        cx: &mut Context,
        done: PublishDone,
        now: Instant,
    ) -> Result<(), SessionError> {
        const MESSAGE: &str = "PUBLISH_DONE";
        let id = done.request_id;
        let (own, peer) = (RequestKind::Subscribe, RequestKind::Publish);
        let Referred::Active(handle) = cx.requests.subscription(id, MESSAGE, own, peer)? else {
            return Ok(());
        };
        let Some(subscription) = self.all.get_mut(&handle) else {
            return Ok(());
        };
        if subscription.state == State::Pending {
            return Err(wrong_state(id, "not answered"));
        }
        if subscription.done.is_some() {
            return Err(wrong_state(id, "done already"));
        }
        let stream_count = (done.stream_count != UNKNOWN_STREAM_COUNT).then_some(done.stream_count);
        let event = Event::PublishDone {
            handle,
            status: done.status,
            stream_count,
            reason: done.reason,
        };
        let event = if subscription.state == State::Held {
            Some(Box::new(event))
        } else {
            cx.out.event(event);
            None
        };
        subscription.done = Some(Done {
            stream_count,
            event,
        });
        match subscription.state {
            State::Active => self.drain_if_done(cx, handle, now),
            // The publisher may offer the track anew before this offer is answered.
            State::Offered => {
                self.tracks.remove(&subscription.track);
            }
            _ => {}
        }
        Ok(())
    }

    /// Makes `alias` free for a track. Another track's active subscription keeps it, which the peer may not ask for;
    /// one whose PUBLISH_DONE has come gives it up.
    fn claim_alias(
        &mut self,
        cx: &mut Context,
        alias: TrackAlias,
        same_track: impl Fn(&Subscription) -> bool,
    ) -> Result<(), SessionError> {
        let Some(owner) = cx.aliases.get(alias).active() else {
            return Ok(());
        };
        let Some(subscription) = self.all.get_mut(&owner) else {
            return Ok(());
        };
        if subscription.done.is_some() {
            subscription.alias = None;
            if let State::Draining { late, .. } = &mut subscription.state {
                *late = true;
            }
            cx.aliases.retire(alias, owner);
            self.close_if_drained(cx, owner);
            return Ok(());
        }
        // draft-14 §9.8, §9.13
        if same_track(subscription) {
            Ok(())
        } else {
            Err(SessionError::DuplicateTrackAlias(alias))
        }
    }
}

fn wrong_state(id: RequestId, state: &'static str) -> SessionError {
    SessionError::WrongState {
        message: "PUBLISH_DONE",
        id,
        state,
    }
}
