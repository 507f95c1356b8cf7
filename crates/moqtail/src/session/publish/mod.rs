//! Subscriptions in which this side is the publisher (draft-14 §5.1, §9.7-§9.14).
//!
//! ```text
//! SUBSCRIBE of peer: Requested ──accept──> Active ──finish──> Finishing ──streams closed──> ended
//! own PUBLISH:       Queued ──sent──> Offered ──PUBLISH_OK──> Active
//! ```
//!
//! | | Queued | Offered | Requested | Active | Finishing |
//! | --- | --- | --- | --- | --- | --- |
//! | PUBLISH_OK | | Active | | second answer | ignored once |
//! | PUBLISH_ERROR | | ended | | second answer | ended |
//! | SUBSCRIBE, same track, after own PUBLISH | ended, served | refused | | refused | refused |
//! | SUBSCRIBE, same track, after SUBSCRIBE | | | violation | violation | violation |
//! | SUBSCRIBE_UPDATE | | violation | folded | told | ignored |
//! | UNSUBSCRIBE | | violation | answered, ended | ended | ended |
//! | GOAWAY | ended | | | | |
//! | accept | | | Active | | |
//! | reject | | | ended | | |
//! | finish | ended | Finishing | | Finishing | |
//! | answer_timeout | ended | Finishing | | | |
//! | last stream closed | | | | | PUBLISH_DONE, ended |
//!
//! Empty cells cannot happen, or are calls that fail. Messages about a subscription that has ended crossed its end and
//! are ignored; after `answer_timeout` the end was told already. A SUBSCRIBE for a track that an own PUBLISH offers
//! crossed it: it is refused, the offer stands.

mod calls;
mod messages;

use std::collections::BTreeMap;

use super::{
    context::Context,
    error::SessionError,
    event::{Event, RequestFailure, RequestHandle, SubscriptionChange},
    range::Range,
    timer::Timer,
};
use crate::model::{
    ControlMessage, Filter, FullTrackName, Location, Publish, PublishDone, PublishDoneCode,
    ReasonPhrase, RequestId, TrackAlias,
};

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Queued,
    Offered,
    Requested,
    Active,
    Finishing(PublishDoneCode, ReasonPhrase),
}

#[derive(Debug)]
struct Publication {
    state: State,
    id: Option<RequestId>,
    /// By an own PUBLISH.
    own: bool,
    track: FullTrackName,
    alias: Option<TrackAlias>,
    /// As an own PUBLISH said.
    largest: Option<Location>,
    filter: Filter,
    range: Range,
    /// An own PUBLISH until it is sent.
    offer: Option<Box<Publish>>,
    /// SUBSCRIBE_UPDATE before the answer.
    change: Option<Box<SubscriptionChange>>,
    streams_opened: u64,
    streams_open: u64,
    /// The application was told that it failed; streams are still open.
    failed: bool,
}

/// All subscriptions in which this side is the publisher.
#[derive(Debug, Default)]
pub(super) struct Publications {
    all: BTreeMap<RequestHandle, Publication>,
    tracks: BTreeMap<FullTrackName, RequestHandle>,
    /// Aliases in use, chosen by the application.
    aliases: BTreeMap<TrackAlias, RequestHandle>,
}

impl Publications {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_sent(&self, handle: RequestHandle) -> bool {
        self.all
            .get(&handle)
            .is_some_and(|publication| publication.id.is_some())
    }

    /// Writes a queued PUBLISH, which got this Request ID.
    pub(super) fn send(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
        id: RequestId,
    ) -> Result<(), SessionError> {
        let Some(publication) = self.all.get_mut(&handle) else {
            return Ok(());
        };
        let Some(mut offer) = publication.offer.take() else {
            return Ok(());
        };
        offer.request_id = id;
        cx.out.send(&ControlMessage::Publish(*offer))?;
        publication.state = State::Offered;
        publication.id = Some(id);
        Ok(())
    }

    /// The peer is going away: a PUBLISH that still waits is not sent any more.
    pub(super) fn going_away(&mut self, cx: &mut Context, handle: RequestHandle) {
        cx.out.event(Event::PublishRejected {
            handle,
            failure: RequestFailure::GoingAway,
        });
        self.end(cx, handle);
    }

    /// `answer_timeout` is over.
    pub(super) fn unanswered(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
    ) -> Result<(), SessionError> {
        let Some(publication) = self.all.get_mut(&handle) else {
            return Ok(());
        };
        cx.out.event(Event::PublishRejected {
            handle,
            failure: RequestFailure::TimedOut,
        });
        if publication.state == State::Queued {
            self.end(cx, handle);
            return Ok(());
        }
        publication.failed = true;
        publication.state = State::Finishing(
            PublishDoneCode::INTERNAL_ERROR,
            ReasonPhrase::new("no answer to PUBLISH in time"),
        );
        self.finish_if_closed(cx, handle)
    }

    /// Sends PUBLISH_DONE when a finishing subscription has no open stream.
    fn finish_if_closed(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
    ) -> Result<(), SessionError> {
        let Some(publication) = self.all.get_mut(&handle) else {
            return Ok(());
        };
        let (State::Finishing(status, reason), Some(id)) = (&publication.state, publication.id)
        else {
            return Ok(());
        };
        // draft-14 §9.12
        if publication.streams_open > 0 {
            return Ok(());
        }
        cx.out.send(&ControlMessage::PublishDone(PublishDone {
            request_id: id,
            status: *status,
            stream_count: publication.streams_opened,
            reason: reason.clone(),
        }))?;
        self.end(cx, handle);
        Ok(())
    }

    fn end(&mut self, cx: &mut Context, handle: RequestHandle) {
        let Some(publication) = self.all.remove(&handle) else {
            return;
        };
        self.tracks.remove(&publication.track);
        if let Some(alias) = publication.alias {
            self.aliases.remove(&alias);
        }
        cx.timers.cancel(Timer::Answer(handle));
        cx.timers.cancel(Timer::Expires(handle));
        cx.requests.dequeue(handle);
        if let Some(id) = publication.id {
            if publication.own {
                cx.requests.finish_own(id);
            } else {
                cx.requests.finish_peer(id);
            }
        }
    }
}
