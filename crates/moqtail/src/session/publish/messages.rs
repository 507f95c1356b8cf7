//! What the peer says about the subscriptions that this side serves.

use super::{Publication, Publications, State};
use crate::{
    model::{
        ControlMessage, PublishErrorCode, PublishOk, ReasonPhrase, RequestError, RequestId,
        Subscribe, SubscribeErrorCode, SubscribeUpdate,
    },
    session::{
        context::Context,
        error::SessionError,
        event::{
            Event, PublishAccepted, RequestFailure, RequestHandle, SubscribeRequest,
            SubscriptionChange,
        },
        parameters,
        range::Range,
        request::{Referred, RequestKind},
        timer::Timer,
    },
};

impl Publications {
    /// SUBSCRIBE, whose Request ID was checked and belongs to `handle`.
    pub(in crate::session) fn on_subscribe(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
        subscribe: Subscribe,
    ) -> Result<(), SessionError> {
        let id = subscribe.request_id;
        if let Some(other) = self.tracks.get(&subscribe.track).copied()
            && let Some(publication) = self.all.get(&other)
        {
            if !publication.own {
                // draft-14 §9.7
                return Err(SessionError::DuplicateSubscribe(subscribe.track));
            }
            if publication.state != State::Queued {
                let code = SubscribeErrorCode::INTERNAL_ERROR;
                return refuse(
                    cx,
                    id,
                    code,
                    "the track is offered by PUBLISH in this session",
                );
            }
            let failure = RequestFailure::Refused {
                code: PublishErrorCode::UNINTERESTED,
                reason: ReasonPhrase::new("the peer subscribed before the offer was sent"),
            };
            cx.out.event(Event::PublishRejected {
                handle: other,
                failure,
            });
            self.end(cx, other);
        }
        let range = Range::of(subscribe.filter);
        if let Err(fault) = range.check() {
            // draft-14 §9.7
            return refuse(
                cx,
                id,
                SubscribeErrorCode::INVALID_RANGE,
                &fault.to_string(),
            );
        }
        self.tracks.insert(subscribe.track.clone(), handle);
        let publication = Publication {
            state: State::Requested,
            id: Some(id),
            own: false,
            track: subscribe.track.clone(),
            alias: None,
            largest: None,
            filter: subscribe.filter,
            range,
            offer: None,
            change: None,
            streams_opened: 0,
            streams_open: 0,
            failed: false,
        };
        self.all.insert(handle, publication);
        cx.out.event(Event::SubscribeRequested(SubscribeRequest {
            handle,
            track: subscribe.track,
            priority: subscribe.subscriber_priority,
            group_order: subscribe.group_order,
            forward: subscribe.forward,
            filter: subscribe.filter,
            parameters: subscribe.parameters,
        }));
        Ok(())
    }

    /// SUBSCRIBE_UPDATE, whose own Request ID was checked.
    pub(in crate::session) fn on_update(
        &mut self,
        cx: &mut Context,
        update: SubscribeUpdate,
    ) -> Result<(), SessionError> {
        const MESSAGE: &str = "SUBSCRIBE_UPDATE";
        let id = update.subscription;
        let (own, peer) = (RequestKind::Publish, RequestKind::Subscribe);
        // draft-14 §9.10
        if id == update.request_id {
            return Err(SessionError::UpdateUnknown(id));
        }
        let referred = cx
            .requests
            .subscription(id, MESSAGE, own, peer)
            .map_err(|_| SessionError::UpdateUnknown(id))?;
        let Referred::Active(handle) = referred else {
            return Ok(());
        };
        let Some(publication) = self.all.get_mut(&handle) else {
            return Ok(());
        };
        match publication.state {
            State::Requested | State::Active => {}
            State::Finishing(..) => return Ok(()),
            State::Queued | State::Offered => return Err(unanswered(MESSAGE, id)),
        }
        publication.range = publication
            .range
            .update(update.start, update.end_group)
            .map_err(|fault| SessionError::Range {
                message: MESSAGE,
                id,
                fault,
            })?;
        let mut change = SubscriptionChange {
            handle,
            start: publication.range.start.unwrap_or(update.start),
            end_group: publication.range.end_group,
            priority: update.subscriber_priority,
            forward: update.forward,
            parameters: update.parameters,
        };
        if publication.state == State::Active {
            cx.out.event(Event::SubscriptionUpdated(change));
        } else {
            if let Some(older) = &publication.change {
                change.parameters = parameters::updated(&older.parameters, change.parameters);
            }
            change.parameters =
                parameters::bounded(change.parameters, cx.limits.max_kept_parameters);
            publication.change = Some(Box::new(change));
        }
        Ok(())
    }

    pub(in crate::session) fn on_unsubscribe(
        &mut self,
        cx: &mut Context,
        id: RequestId,
    ) -> Result<(), SessionError> {
        const MESSAGE: &str = "UNSUBSCRIBE";
        let (own, peer) = (RequestKind::Publish, RequestKind::Subscribe);
        let Referred::Active(handle) = cx.requests.subscription(id, MESSAGE, own, peer)? else {
            return Ok(());
        };
        let Some(publication) = self.all.get(&handle) else {
            return Ok(());
        };
        match publication.state {
            State::Queued | State::Offered => return Err(unanswered(MESSAGE, id)),
            // draft-14 §5.1: exactly one answer
            State::Requested => {
                let code = SubscribeErrorCode::INTERNAL_ERROR;
                refuse(cx, id, code, "unsubscribed before the answer")?;
            }
            State::Active | State::Finishing(..) => {}
        }
        if !publication.failed {
            cx.out.event(Event::Unsubscribed { handle });
        }
        self.end(cx, handle);
        Ok(())
    }

    pub(in crate::session) fn on_publish_ok(
        &mut self,
        cx: &mut Context,
        ok: PublishOk,
    ) -> Result<(), SessionError> {
        const MESSAGE: &str = "PUBLISH_OK";
        let id = ok.request_id;
        let answered = cx.requests.answered(id, MESSAGE, RequestKind::Publish)?;
        let range = Range::of(ok.filter);
        range.check().map_err(|fault| SessionError::Range {
            message: MESSAGE,
            id,
            fault,
        })?;
        let Referred::Active(handle) = answered else {
            return Ok(());
        };
        let Some(publication) = self.all.get_mut(&handle) else {
            return Ok(());
        };
        if publication.state != State::Offered {
            return Ok(());
        }
        cx.timers.cancel(Timer::Answer(handle));
        publication.state = State::Active;
        publication.filter = ok.filter;
        publication.range = range.resolve(ok.filter, publication.largest);
        cx.out.event(Event::PublishAccepted(PublishAccepted {
            handle,
            forward: ok.forward,
            priority: ok.subscriber_priority,
            group_order: ok.group_order,
            filter: ok.filter,
            parameters: ok.parameters,
        }));
        Ok(())
    }

    pub(in crate::session) fn on_publish_error(
        &mut self,
        cx: &mut Context,
        error: RequestError<PublishErrorCode>,
    ) -> Result<(), SessionError> {
        let kind = RequestKind::Publish;
        let id = error.request_id;
        if let Referred::Active(handle) = cx.requests.answered(id, "PUBLISH_ERROR", kind)? {
            if self.all.get(&handle).is_some_and(|p| !p.failed) {
                let failure = RequestFailure::Refused {
                    code: error.code,
                    reason: error.reason,
                };
                cx.out.event(Event::PublishRejected { handle, failure });
            }
            self.end(cx, handle);
        }
        Ok(())
    }
}

fn unanswered(message: &'static str, id: RequestId) -> SessionError {
    SessionError::WrongState {
        message,
        id,
        state: "a PUBLISH that was not answered",
    }
}

/// Answers a SUBSCRIBE with SUBSCRIBE_ERROR.
fn refuse(
    cx: &mut Context,
    id: RequestId,
    code: SubscribeErrorCode,
    reason: &str,
) -> Result<(), SessionError> {
    let error = RequestError {
        request_id: id,
        code,
        reason: ReasonPhrase::new(reason),
    };
    cx.refuse(id, &ControlMessage::SubscribeError(error))
}
