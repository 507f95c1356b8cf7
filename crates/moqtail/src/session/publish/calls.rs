//! What the application asks of the subscriptions that it serves.

use std::time::Instant;

use super::{Publication, Publications, State};
use crate::{
    model::{
        ControlMessage, Filter, MAX_VARINT, Publish, PublishDoneCode, ReasonPhrase, RequestError,
        RequestId, SubscribeErrorCode, SubscribeOk, TrackAlias,
    },
    session::{
        context::{Context, NO_ID, check_encodable},
        error::{CallError, SessionError},
        event::{Event, PublishOptions, RequestHandle, SubscribeAnswer},
        range::Range,
        request::RequestKind,
        timer::Timer,
        token,
    },
};

impl Publications {
    pub(in crate::session) fn publish(
        &mut self,
        cx: &mut Context,
        options: PublishOptions,
        now: Instant,
    ) -> Result<RequestHandle, CallError> {
        if let Some(handle) = self.tracks.get(&options.track) {
            return Err(CallError::AlreadyServed(*handle));
        }
        self.check_alias(options.alias)?;
        token::check_sent(&options.parameters)?;
        let offer = Publish {
            request_id: NO_ID,
            track: options.track.clone(),
            track_alias: options.alias,
            group_order: options.group_order,
            largest: options.largest,
            forward: options.forward,
            parameters: options.parameters,
        };
        check_encodable(&ControlMessage::Publish(offer.clone()))?;
        let handle = cx.new_handle();
        cx.enqueue(RequestKind::Publish, handle, now)?;
        self.tracks.insert(options.track.clone(), handle);
        self.aliases.insert(options.alias, handle);
        let filter = Filter::LargestObject;
        let publication = Publication {
            state: State::Queued,
            id: None,
            own: true,
            track: options.track,
            alias: Some(options.alias),
            largest: options.largest,
            filter,
            range: Range::of(filter),
            offer: Some(Box::new(offer)),
            change: None,
            streams_opened: 0,
            streams_open: 0,
            failed: false,
        };
        self.all.insert(handle, publication);
        Ok(handle)
    }

    pub(in crate::session) fn accept(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
        answer: SubscribeAnswer,
        now: Instant,
    ) -> Result<(), CallError> {
        let id = self.requested(handle)?;
        self.check_alias(answer.alias)?;
        token::check_sent(&answer.parameters)?;
        let expires = answer.expires.map_or(0, |time| time.as_millis().max(1));
        let expires = u64::try_from(expires).unwrap_or(MAX_VARINT);
        cx.out.send(&ControlMessage::SubscribeOk(SubscribeOk {
            request_id: id,
            track_alias: answer.alias,
            expires_ms: expires.min(MAX_VARINT),
            group_order: answer.group_order,
            largest: answer.largest,
            parameters: answer.parameters,
        }))?;
        if let Some(time) = answer.expires {
            cx.timers.set_after(Timer::Expires(handle), now, time);
        }
        self.aliases.insert(answer.alias, handle);
        let publication = self
            .all
            .get_mut(&handle)
            .ok_or(CallError::NoSuchRequest(handle))?;
        publication.state = State::Active;
        publication.alias = Some(answer.alias);
        publication.range = publication
            .range
            .resolve(publication.filter, answer.largest);
        if let Some(mut change) = publication.change.take() {
            change.start = publication.range.start.unwrap_or(change.start);
            change.end_group = publication.range.end_group;
            cx.out.event(Event::SubscriptionUpdated(*change));
        }
        Ok(())
    }

    pub(in crate::session) fn reject(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
        code: SubscribeErrorCode,
        reason: ReasonPhrase,
    ) -> Result<(), CallError> {
        let id = self.requested(handle)?;
        let error = RequestError {
            request_id: id,
            code,
            reason,
        };
        cx.out.send(&ControlMessage::SubscribeError(error))?;
        self.end(cx, handle);
        Ok(())
    }

    pub(in crate::session) fn finish(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
        status: PublishDoneCode,
        reason: ReasonPhrase,
    ) -> Result<(), CallError> {
        let publication = self
            .all
            .get_mut(&handle)
            .ok_or(CallError::NoSuchRequest(handle))?;
        match publication.state {
            State::Requested | State::Finishing(..) => return Err(CallError::WrongState(handle)),
            State::Queued => {
                self.end(cx, handle);
                return Ok(());
            }
            State::Offered | State::Active => {}
        }
        publication.state = State::Finishing(status, reason);
        cx.timers.cancel(Timer::Answer(handle));
        cx.timers.cancel(Timer::Expires(handle));
        match self.finish_if_closed(cx, handle) {
            Err(SessionError::Encode(error)) => Err(CallError::Encode(error)),
            _ => Ok(()),
        }
    }

    pub(in crate::session) fn stream_opened(
        &mut self,
        handle: RequestHandle,
    ) -> Result<(), CallError> {
        let publication = self
            .all
            .get_mut(&handle)
            .ok_or(CallError::NoSuchRequest(handle))?;
        if !matches!(publication.state, State::Offered | State::Active) {
            return Err(CallError::WrongState(handle));
        }
        publication.streams_opened += 1;
        publication.streams_open += 1;
        Ok(())
    }

    pub(in crate::session) fn stream_closed(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
    ) -> Result<(), SessionError> {
        let Some(publication) = self.all.get_mut(&handle) else {
            return Ok(());
        };
        publication.streams_open = publication.streams_open.saturating_sub(1);
        self.finish_if_closed(cx, handle)
    }

    /// The Request ID of a SUBSCRIBE that awaits its answer.
    fn requested(&self, handle: RequestHandle) -> Result<RequestId, CallError> {
        let publication = self
            .all
            .get(&handle)
            .ok_or(CallError::NoSuchRequest(handle))?;
        match (&publication.state, publication.id) {
            (State::Requested, Some(id)) => Ok(id),
            _ => Err(CallError::WrongState(handle)),
        }
    }

    /// There is at most one subscription of a track here, so an alias in use is in use for another track.
    fn check_alias(&self, alias: TrackAlias) -> Result<(), CallError> {
        // draft-14 §9.8, §9.13
        if self.aliases.contains_key(&alias) {
            return Err(CallError::AliasInUse(alias));
        }
        Ok(())
    }
}
