//! Subscriptions in which this side is the subscriber (draft-14 §5.1, §9.7-§9.14).
//!
//! ```text
//! own SUBSCRIBE:   Queued ──sent──> Pending ──OK──> Active ──PUBLISH_DONE──> Draining ──> ended
//! PUBLISH of peer: [Held ──>] Offered ──accept──> Active
//! ```
//!
//! | | Queued | Pending | Held | Offered | Active | Draining |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | SUBSCRIBE_OK | | Active | | | second answer | second answer |
//! | SUBSCRIBE_ERROR | | ended | | | second answer | second answer |
//! | PUBLISH_DONE | | violation | noted | noted | Draining | violation |
//! | PUBLISH, same track | ended | Held | refused | refused, Offered if noted | refused | Offered |
//! | GOAWAY | ended | | | | | |
//! | accept | | | | Active, Draining if noted | | |
//! | reject | | | | ended | | |
//! | unsubscribe | ended | ended | | | ended | ended |
//! | answer_timeout | ended | ended | | | | |
//! | streams in, timers | | | | | | ended |
//!
//! Empty cells cannot happen, or are calls that fail. Messages about a subscription that has ended crossed its end and
//! are ignored. A PUBLISH that crosses the SUBSCRIBE for its track is held until that is answered: it is refused after
//! SUBSCRIBE_OK and offered to the application after SUBSCRIBE_ERROR, so that exactly one of both lives, whichever of
//! them the peer prefers. A SUBSCRIBE that still waits for credit gives way to it. The offer is told before the failure, so
//! that who waits for the track is not sent away.

mod calls;
mod messages;
mod streams;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{
    context::{Context, NO_ID},
    error::SessionError,
    event::{Event, PublishRequest, RequestFailure, RequestHandle, StreamKey},
    range::Range,
    request::RequestKind,
    timer::Timer,
};
use crate::model::{
    ControlMessage, Filter, FullTrackName, Location, Parameters, PublishErrorCode, ReasonPhrase,
    RequestError, RequestId, Subscribe, SubscribeErrorCode, SubscribeUpdate, TrackAlias,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Queued,
    Pending,
    Held,
    Offered,
    Active,
    Draining {
        /// When `done_linger` is over; `None`: never.
        until: Option<Instant>,
        /// It is: no further stream is taken.
        late: bool,
    },
}

#[derive(Debug)]
struct Subscription {
    state: State,
    /// By PUBLISH of the peer.
    published: bool,
    id: Option<RequestId>,
    track: FullTrackName,
    alias: Option<TrackAlias>,
    filter: Filter,
    /// As PUBLISH said.
    largest: Option<Location>,
    range: Range,
    priority: u8,
    forward: bool,
    /// An own SUBSCRIBE until it is sent.
    request: Option<Box<Subscribe>>,
    /// A PUBLISH until it is offered.
    offer: Option<Box<PublishRequest>>,
    /// Parameters of a change that is not sent yet.
    update: Option<Parameters>,
    delivery_timeout: Option<Duration>,
    /// The PUBLISH that is held for this SUBSCRIBE.
    held: Option<RequestHandle>,
    /// PUBLISH_DONE has come.
    done: Option<Done>,
    streams_seen: u64,
    /// Streams without a header before it was asked for.
    headless: u64,
    open: BTreeSet<StreamKey>,
}

#[derive(Debug)]
struct Done {
    stream_count: Option<u64>,
    /// To be told when the PUBLISH is offered.
    event: Option<Box<Event>>,
}

impl Subscription {
    fn new(state: State, track: FullTrackName, filter: Filter) -> Self {
        Self {
            state,
            published: matches!(state, State::Held | State::Offered),
            id: None,
            track,
            alias: None,
            filter,
            largest: None,
            range: Range::of(filter),
            priority: 0,
            forward: false,
            request: None,
            offer: None,
            update: None,
            delivery_timeout: None,
            held: None,
            done: None,
            streams_seen: 0,
            headless: 0,
            open: BTreeSet::new(),
        }
    }

    /// A SUBSCRIBE_UPDATE that asks for `range`.
    fn update_message(
        &self,
        id: RequestId,
        range: Range,
        parameters: Parameters,
    ) -> ControlMessage {
        let range = range.sayable();
        ControlMessage::SubscribeUpdate(SubscribeUpdate {
            request_id: id,
            subscription: self.id.unwrap_or(NO_ID),
            start: range.start.unwrap_or_default(),
            end_group: range.end_group,
            subscriber_priority: self.priority,
            forward: self.forward,
            parameters,
        })
    }
}

/// All subscriptions in which this side is the subscriber.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    all: BTreeMap<RequestHandle, Subscription>,
    /// The one of each track that is not held, and for which PUBLISH_DONE has not come.
    tracks: BTreeMap<FullTrackName, RequestHandle>,
    /// SUBSCRIBE_OK has come or a PUBLISH was accepted.
    has_begun: bool,
}

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there ever was one that a publisher serves.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    pub(super) fn is_sent(&self, handle: RequestHandle) -> bool {
        self.all
            .get(&handle)
            .is_some_and(|subscription| subscription.id.is_some())
    }

    /// Writes a queued SUBSCRIBE or SUBSCRIBE_UPDATE, which got this Request ID.
    pub(super) fn send(
        &mut self,
        cx: &mut Context,
        kind: RequestKind,
        handle: RequestHandle,
        id: RequestId,
    ) -> Result<(), SessionError> {
        let Some(subscription) = self.all.get_mut(&handle) else {
            return Ok(());
        };
        if kind == RequestKind::SubscribeUpdate {
            let parameters = subscription.update.take().unwrap_or_default();
            let update = subscription.update_message(id, subscription.range, parameters);
            cx.out.send(&update)?;
        } else if let Some(mut request) = subscription.request.take() {
            request.request_id = id;
            cx.out.send(&ControlMessage::Subscribe(*request))?;
            subscription.state = State::Pending;
            subscription.id = Some(id);
        }
        Ok(())
    }

    /// The peer is going away: a SUBSCRIBE that still waits is not sent any more.
    pub(super) fn going_away(&mut self, cx: &mut Context, handle: RequestHandle) {
        self.reject_own(cx, handle, RequestFailure::GoingAway);
    }

    /// `answer_timeout` is over.
    pub(super) fn unanswered(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
    ) -> Result<(), SessionError> {
        let Some(subscription) = self.all.get(&handle) else {
            return Ok(());
        };
        if let Some(id) = subscription.id {
            cx.out.send(&ControlMessage::Unsubscribe(id))?;
        }
        self.reject_own(cx, handle, RequestFailure::TimedOut);
        Ok(())
    }

    fn reject_own(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
        failure: RequestFailure<SubscribeErrorCode>,
    ) {
        // A PUBLISH that was held for it comes first, so that what the application had by the SUBSCRIBE goes on with that.
        self.end(cx, handle);
        cx.out.event(Event::SubscribeRejected { handle, failure });
    }

    /// Forgets a subscription; its alias is retired, its streams are stopped, a PUBLISH held for it is offered.
    fn end(&mut self, cx: &mut Context, handle: RequestHandle) {
        let Some(subscription) = self.all.remove(&handle) else {
            return;
        };
        if self.tracks.get(&subscription.track) == Some(&handle) {
            self.tracks.remove(&subscription.track);
        }
        for timer in [
            Timer::Answer(handle),
            Timer::Linger(handle),
            Timer::Drain(handle),
        ] {
            cx.timers.cancel(timer);
        }
        cx.requests.dequeue(handle);
        if let Some(id) = subscription.id {
            if subscription.published {
                cx.requests.finish_peer(id);
            } else {
                cx.requests.finish_own(id);
            }
        }
        if let Some(alias) = subscription.alias {
            cx.retire_alias(alias, handle);
        }
        for stream in subscription.open {
            cx.streams.remove(stream, &mut cx.timers);
            cx.out.stop(stream);
        }
        if let Some(held) = subscription.held {
            self.offer(cx, held);
        }
    }

    /// Tells the application about a PUBLISH.
    fn offer(&mut self, cx: &mut Context, handle: RequestHandle) {
        let Some(subscription) = self.all.get_mut(&handle) else {
            return;
        };
        subscription.state = State::Offered;
        if subscription.done.is_none() {
            self.tracks.insert(subscription.track.clone(), handle);
        }
        if let Some(request) = subscription.offer.take() {
            cx.out.event(Event::PublishRequested(*request));
        }
        if let Some(event) = subscription
            .done
            .as_mut()
            .and_then(|done| done.event.take())
        {
            cx.out.event(*event);
        }
    }

    /// Refuses a PUBLISH because its track has a subscription already.
    fn refuse_second(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
    ) -> Result<(), SessionError> {
        let Some(Subscription { id: Some(id), .. }) = self.all.get(&handle) else {
            return Ok(());
        };
        cx.out.send(&ControlMessage::PublishError(RequestError {
            request_id: *id,
            code: PublishErrorCode::UNINTERESTED,
            reason: ReasonPhrase::new("the track is subscribed already"),
        }))?;
        self.end(cx, handle);
        Ok(())
    }
}

/// The delivery timeout in force when both sides may give one (draft-14 §9.2.1.2).
fn shorter(own: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (own, other) {
        (Some(own), Some(other)) => Some(own.min(other)),
        (own, other) => own.or(other),
    }
}
