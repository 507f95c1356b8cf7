//! What the application asks of the session.

use std::time::Instant;

use super::{
    error::{CallError, SetupRefusal},
    event::{
        PublishAnswer, PublishOptions, RequestHandle, SubscribeAnswer, SubscribeOptions,
        SubscriptionUpdate,
    },
    machine::Session,
};
use crate::model::{
    Parameters, PublishDoneCode, PublishErrorCode, PublishNamespaceErrorCode, ReasonPhrase,
    SessionCode, SubscribeErrorCode, TrackNamespace,
};

/// Setup and end of the session.
impl Session {
    /// Server: sends SERVER_SETUP in answer to [`Event::SetupRequested`](super::Event::SetupRequested).
    ///
    /// # Errors
    /// There is no CLIENT_SETUP to answer, or the session is closed.
    pub fn accept_setup(&mut self) -> Result<(), CallError> {
        unimplemented!()
    }

    /// Server: closes the session with the code of `refusal`.
    ///
    /// # Errors
    /// There is no CLIENT_SETUP to answer, or the session is closed.
    pub fn refuse_setup(&mut self, _refusal: SetupRefusal, _reason: &str) -> Result<(), CallError> {
        unimplemented!()
    }

    /// Sends GOAWAY. If subscriptions are left at `deadline`, the session closes with GOAWAY_TIMEOUT, else with
    /// NO_ERROR (draft-14 §3.5). `uri` is empty for the current URI and on a client.
    ///
    /// # Errors
    /// Not established, GOAWAY was sent, or a client gives a URI.
    pub fn goaway(&mut self, _uri: &str, _deadline: Instant) -> Result<(), CallError> {
        unimplemented!()
    }

    /// Closes the session. Does nothing when it is closed.
    pub fn close(&mut self, _code: SessionCode, _reason: &str) {
        unimplemented!()
    }
}

/// As a subscriber.
impl Session {
    /// Subscribes to a track. The request waits for the peer's MAX_REQUEST_ID if need be.
    /// Ends with [`Event::SubscribeRejected`](super::Event::SubscribeRejected), [`Event::SubscriptionClosed`](super::Event::SubscriptionClosed) or [`unsubscribe`](Self::unsubscribe).
    ///
    /// # Errors
    /// The track has a subscription in this session, the range is backward, or no request can be made.
    pub fn subscribe(
        &mut self,
        _options: SubscribeOptions,
        _now: Instant,
    ) -> Result<RequestHandle, CallError> {
        unimplemented!()
    }

    /// Changes an own subscription, or one that came by PUBLISH. Before the answer to SUBSCRIBE the change is kept and
    /// sent after it; a start below the one that the answer gives is then raised to it.
    ///
    /// # Errors
    /// The subscription has ended, or the change would widen it.
    pub fn update_subscription(
        &mut self,
        _handle: RequestHandle,
        _update: SubscriptionUpdate,
    ) -> Result<(), CallError> {
        unimplemented!()
    }

    /// Ends a subscription of this side, however it came about and in any state but an unanswered PUBLISH. No event
    /// about it follows; its open streams are stopped ([`Output::StopStream`](super::Output::StopStream)).
    ///
    /// # Errors
    /// It has ended already.
    pub fn unsubscribe(&mut self, _handle: RequestHandle) -> Result<(), CallError> {
        unimplemented!()
    }

    /// The track breaks the data model: ends the subscription (draft-14 §2.5).
    ///
    /// # Errors
    /// It has ended already.
    pub fn malformed_track(&mut self, _handle: RequestHandle) -> Result<(), CallError> {
        unimplemented!()
    }

    /// Accepts a track offered by PUBLISH; parked streams of it are resumed.
    ///
    /// # Errors
    /// It was answered already or has ended.
    pub fn accept_publish(
        &mut self,
        _handle: RequestHandle,
        _answer: PublishAnswer,
        _now: Instant,
    ) -> Result<(), CallError> {
        unimplemented!()
    }

    /// Refuses a track offered by PUBLISH; its streams are stopped.
    ///
    /// # Errors
    /// It was answered already or has ended.
    pub fn reject_publish(
        &mut self,
        _handle: RequestHandle,
        _code: PublishErrorCode,
        _reason: impl Into<ReasonPhrase>,
    ) -> Result<(), CallError> {
        unimplemented!()
    }

    /// Accepts a namespace offered by the peer.
    ///
    /// # Errors
    /// It was answered already or withdrawn.
    pub fn accept_namespace(&mut self, _handle: RequestHandle) -> Result<(), CallError> {
        unimplemented!()
    }

    /// Refuses a namespace offered by the peer.
    ///
    /// # Errors
    /// It was answered already or withdrawn.
    pub fn reject_namespace(
        &mut self,
        _handle: RequestHandle,
        _code: PublishNamespaceErrorCode,
        _reason: impl Into<ReasonPhrase>,
    ) -> Result<(), CallError> {
        unimplemented!()
    }

    /// Revokes the acceptance of a namespace.
    ///
    /// # Errors
    /// It was not accepted, or was withdrawn.
    pub fn cancel_namespace(
        &mut self,
        _handle: RequestHandle,
        _code: PublishNamespaceErrorCode,
        _reason: impl Into<ReasonPhrase>,
    ) -> Result<(), CallError> {
        unimplemented!()
    }
}

/// As a publisher.
impl Session {
    /// Offers a namespace. Ends with [`Event::NamespaceRejected`](super::Event::NamespaceRejected), [`Event::NamespaceCancelled`](super::Event::NamespaceCancelled) or [`namespace_done`](Self::namespace_done).
    ///
    /// # Errors
    /// It is announced in this session already, or no request can be made.
    pub fn publish_namespace(
        &mut self,
        _namespace: TrackNamespace,
        _parameters: Parameters,
        _now: Instant,
    ) -> Result<RequestHandle, CallError> {
        unimplemented!()
    }

    /// Withdraws a namespace. Subscriptions under it go on.
    ///
    /// # Errors
    /// It has ended already.
    pub fn namespace_done(&mut self, _handle: RequestHandle) -> Result<(), CallError> {
        unimplemented!()
    }

    /// Offers a track. With [`PublishOptions::forward`], streams may be opened as soon as the PUBLISH was written
    /// (see [`is_sent`](Self::is_sent)). Ends with [`Event::PublishRejected`](super::Event::PublishRejected),
    /// [`Event::Unsubscribed`](super::Event::Unsubscribed) or [`finish_publish`](Self::finish_publish).
    ///
    /// # Errors
    /// The peer has a subscription to the track, the alias is in use for another track, or no request can be made.
    pub fn publish(
        &mut self,
        _options: PublishOptions,
        _now: Instant,
    ) -> Result<RequestHandle, CallError> {
        unimplemented!()
    }

    /// Accepts a SUBSCRIBE of the peer. The answer stands before any data of the subscription if the shell takes outputs
    /// in order and then opens streams.
    ///
    /// # Errors
    /// It was answered already or has ended, or the alias is in use for another track.
    pub fn accept_subscribe(
        &mut self,
        _handle: RequestHandle,
        _answer: SubscribeAnswer,
    ) -> Result<(), CallError> {
        unimplemented!()
    }

    /// Refuses a SUBSCRIBE of the peer.
    ///
    /// # Errors
    /// It was answered already or has ended.
    pub fn reject_subscribe(
        &mut self,
        _handle: RequestHandle,
        _code: SubscribeErrorCode,
        _reason: impl Into<ReasonPhrase>,
    ) -> Result<(), CallError> {
        unimplemented!()
    }

    /// Ends a subscription of the peer: PUBLISH_DONE is sent once all its streams are closed, with their number.
    ///
    /// # Errors
    /// It is not answered yet (refuse it instead), is finished already, or has ended.
    pub fn finish_publish(
        &mut self,
        _handle: RequestHandle,
        _status: PublishDoneCode,
        _reason: impl Into<ReasonPhrase>,
    ) -> Result<(), CallError> {
        unimplemented!()
    }

    /// A data stream is about to be opened for a subscription of the peer.
    ///
    /// # Errors
    /// The subscription has ended or is finished: do not open it.
    pub fn outbound_stream_opened(&mut self, _handle: RequestHandle) -> Result<(), CallError> {
        unimplemented!()
    }

    /// A data stream of a subscription was finished or reset. Does nothing when the subscription has ended.
    pub fn outbound_stream_closed(&mut self, _handle: RequestHandle) {
        unimplemented!()
    }

    /// Whether an own request was given a Request ID and put on the control stream.
    pub fn is_sent(&self, _handle: RequestHandle) -> bool {
        unimplemented!()
    }
}
