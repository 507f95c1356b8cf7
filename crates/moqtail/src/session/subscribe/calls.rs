//! What the application asks of its subscriptions.

use std::time::Instant;

use super::{State, Subscription, Subscriptions, shorter};
use crate::{
    model::{ControlMessage, PublishErrorCode, PublishOk, ReasonPhrase, RequestError, Subscribe},
    session::{
        context::{Context, NO_ID, check_encodable},
        error::{CallError, RangeFault},
        event::{PublishAnswer, RequestHandle, SubscribeOptions, SubscriptionUpdate},
        parameters,
        range::Range,
        request::RequestKind,
        token,
    },
};

impl Subscriptions {
    pub(in crate::session) fn subscribe(
        &mut self,
        cx: &mut Context,
        options: SubscribeOptions,
        now: Instant,
    ) -> Result<RequestHandle, CallError> {
        // draft-14 §9.7
        if let Some(handle) = self.tracks.get(&options.track) {
            return Err(CallError::AlreadySubscribed(*handle));
        }
        Range::of(options.filter).check()?;
        token::check_sent(&options.parameters)?;
        let delivery_timeout = options.parameters.delivery_timeout();
        let request = Subscribe {
            request_id: NO_ID,
            track: options.track.clone(),
            subscriber_priority: options.priority,
            group_order: options.group_order,
            forward: options.forward,
            filter: options.filter,
            parameters: options.parameters,
        };
        check_encodable(&ControlMessage::Subscribe(request.clone()))?;
        let handle = cx.new_handle();
        cx.enqueue(RequestKind::Subscribe, handle, now)?;
        self.tracks.insert(options.track.clone(), handle);
        let subscription = Subscription {
            priority: options.priority,
            forward: options.forward,
            request: Some(Box::new(request)),
            delivery_timeout,
            headless: cx.streams.headless(),
            ..Subscription::new(State::Queued, options.track, options.filter)
        };
        self.all.insert(handle, subscription);
        Ok(handle)
    }

    pub(in crate::session) fn update(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
        update: SubscriptionUpdate,
    ) -> Result<(), CallError> {
        let subscription = self
            .all
            .get_mut(&handle)
            .ok_or(CallError::NoSuchRequest(handle))?;
        if !matches!(
            subscription.state,
            State::Queued | State::Pending | State::Active
        ) {
            return Err(CallError::WrongState(handle));
        }
        token::check_sent(&update.parameters)?;
        let range = narrowed(subscription.range, &update)?.sayable();
        let older = subscription.update.clone().unwrap_or_default();
        let parameters = parameters::updated(&older, update.parameters);
        check_encodable(&subscription.update_message(NO_ID, range, parameters.clone()))?;

        subscription.range = range;
        subscription.priority = update.priority.unwrap_or(subscription.priority);
        subscription.forward = update.forward.unwrap_or(subscription.forward);
        if let Some(timeout) = parameters.delivery_timeout() {
            subscription.delivery_timeout = Some(timeout);
        }
        subscription.update = Some(parameters);
        if subscription.state == State::Active {
            cx.requests.enqueue_update(handle);
        }
        Ok(())
    }

    pub(in crate::session) fn unsubscribe(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
    ) -> Result<(), CallError> {
        let subscription = self
            .all
            .get(&handle)
            .ok_or(CallError::NoSuchRequest(handle))?;
        match (subscription.state, subscription.id) {
            (State::Held | State::Offered, _) => return Err(CallError::WrongState(handle)),
            (State::Pending | State::Active, Some(id)) => {
                cx.out.send(&ControlMessage::Unsubscribe(id))?;
            }
            // Nothing to tell: SUBSCRIBE was not sent, or PUBLISH_DONE has come.
            _ => {}
        }
        self.end(cx, handle);
        Ok(())
    }

    pub(in crate::session) fn accept(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
        answer: PublishAnswer,
        now: Instant,
    ) -> Result<(), CallError> {
        let subscription = self
            .all
            .get_mut(&handle)
            .ok_or(CallError::NoSuchRequest(handle))?;
        let (State::Offered, Some(id)) = (subscription.state, subscription.id) else {
            return Err(CallError::WrongState(handle));
        };
        Range::of(answer.filter).check()?;
        token::check_sent(&answer.parameters)?;
        let delivery_timeout = answer.parameters.delivery_timeout();
        cx.out.send(&ControlMessage::PublishOk(PublishOk {
            request_id: id,
            forward: answer.forward,
            subscriber_priority: answer.priority,
            group_order: answer.group_order,
            filter: answer.filter,
            parameters: answer.parameters,
        }))?;
        self.has_begun = true;
        subscription.state = State::Active;
        subscription.filter = answer.filter;
        subscription.range = Range::of(answer.filter).resolve(answer.filter, subscription.largest);
        subscription.priority = answer.priority;
        subscription.forward = answer.forward;
        subscription.delivery_timeout = shorter(delivery_timeout, subscription.delivery_timeout);
        self.resume(cx, handle);
        self.drain_if_done(cx, handle, now);
        Ok(())
    }

    pub(in crate::session) fn reject(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
        code: PublishErrorCode,
        reason: ReasonPhrase,
    ) -> Result<(), CallError> {
        let subscription = self
            .all
            .get(&handle)
            .ok_or(CallError::NoSuchRequest(handle))?;
        let (State::Offered, Some(id)) = (subscription.state, subscription.id) else {
            return Err(CallError::WrongState(handle));
        };
        cx.out.send(&ControlMessage::PublishError(RequestError {
            request_id: id,
            code,
            reason,
        }))?;
        self.end(cx, handle);
        Ok(())
    }
}

/// The range after an update; fields that are not named stay.
fn narrowed(range: Range, update: &SubscriptionUpdate) -> Result<Range, RangeFault> {
    let end_group = update.end_group.or(range.end_group);
    match update.start.or(range.start) {
        Some(start) => range.narrow(start, end_group),
        None => {
            // The start becomes known with the answer; only the end can be judged now.
            if let (Some(current), Some(end)) = (range.end_group, end_group)
                && end > current
            {
                return Err(RangeFault::EndRaised { current });
            }
            Ok(Range { end_group, ..range })
        }
    }
}
