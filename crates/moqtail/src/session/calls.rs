//! What the application asks of the session.

use std::time::Instant;

use super::{
    error::{CallError, SessionError, SetupRefusal},
    event::{
        PublishAnswer, PublishOptions, RequestHandle, SubscribeAnswer, SubscribeOptions,
        SubscriptionUpdate,
    },
    machine::{Phase, Session},
    timer::Timer,
};
use crate::model::{
    ControlMessage, Goaway, Parameters, PublishDoneCode, PublishErrorCode,
    PublishNamespaceErrorCode, ReasonPhrase, SessionCode, SubscribeErrorCode, TrackNamespace,
};

/// Setup and end of the session.
impl Session {
    /// Server: sends SERVER_SETUP in answer to [`Event::SetupRequested`](super::Event::SetupRequested).
    ///
    /// # Errors
    /// There is no CLIENT_SETUP to answer, or the session is closed.
    pub fn accept_setup(&mut self) -> Result<(), CallError> {
        let phase = std::mem::replace(&mut self.phase, Phase::Open);
        let Phase::AwaitAnswer(peer) = phase else {
            self.phase = phase;
            return Err(self.not_now());
        };
        if let Some(setup) = self.own_setup.take() {
            self.cx.out.send(&setup)?;
        }
        self.open(*peer);
        self.settle(Ok(()));
        Ok(())
    }

    /// Server: closes the session with the code of `refusal`.
    ///
    /// # Errors
    /// There is no CLIENT_SETUP to answer, or the session is closed.
    pub fn refuse_setup(&mut self, refusal: SetupRefusal, reason: &str) -> Result<(), CallError> {
        if !matches!(self.phase, Phase::AwaitAnswer(_)) {
            return Err(self.not_now());
        }
        self.end(&SessionError::Refused {
            refusal,
            reason: reason.to_owned(),
        });
        Ok(())
    }

    /// Sends GOAWAY. If subscriptions are left at `deadline`, the session closes with GOAWAY_TIMEOUT, else with
    /// NO_ERROR (draft-14 §3.5). `uri` is empty for the current URI and on a client, else at most 8192 bytes long.
    ///
    /// # Errors
    /// Not established, GOAWAY was sent, a client gives a URI, or it has another scheme than this session or is too long.
    pub fn goaway(&mut self, uri: &str, deadline: Instant) -> Result<(), CallError> {
        self.open_session()?;
        self.goaway
            .check_send(self.client, uri, self.carrier.scheme())?;
        let goaway = Goaway {
            new_session_uri: uri.to_owned(),
        };
        self.cx.out.send(&ControlMessage::Goaway(goaway))?;
        self.goaway.sent();
        self.cx.timers.set(Timer::Goaway, deadline);
        self.settle(Ok(()));
        Ok(())
    }

    /// Closes the session. Does nothing when it is closed.
    pub fn close(&mut self, code: SessionCode, reason: &str) {
        self.end(&SessionError::Application {
            code,
            reason: reason.to_owned(),
        });
    }
}

/// As a subscriber.
impl Session {
    /// Subscribes to a track. The request waits for the peer's MAX_REQUEST_ID if need be, at most until
    /// [`answer_timeout`](super::SessionLimits::answer_timeout) is over.
    /// Ends with [`Event::SubscribeRejected`](super::Event::SubscribeRejected),
    /// [`Event::SubscribeSuperseded`](super::Event::SubscribeSuperseded),
    /// [`Event::SubscriptionClosed`](super::Event::SubscriptionClosed) or [`unsubscribe`](Self::unsubscribe).
    ///
    /// # Errors
    /// The track has a subscription in this session, the range is backward, or no request can be made.
    pub fn subscribe(
        &mut self,
        options: SubscribeOptions,
        now: Instant,
    ) -> Result<RequestHandle, CallError> {
        self.may_request()?;
        let result = self.subscriptions.subscribe(&mut self.cx, options, now);
        self.settle(Ok(()));
        result
    }

    /// Changes an own subscription, or one that came by PUBLISH. Before the answer to SUBSCRIBE the change is kept and
    /// sent after it; a start below the one that the answer gives is then raised to it.
    ///
    /// # Errors
    /// The subscription has ended, or the change would widen it.
    pub fn update_subscription(
        &mut self,
        handle: RequestHandle,
        update: SubscriptionUpdate,
    ) -> Result<(), CallError> {
        self.open_session()?;
        let result = self.subscriptions.update(&mut self.cx, handle, update);
        self.settle(Ok(()));
        result
    }

    /// Ends a subscription of this side, however it came about and in any state but an unanswered PUBLISH. No event
    /// about it follows; its open streams are stopped ([`Output::StopStream`](super::Output::StopStream)).
    ///
    /// # Errors
    /// It has ended already.
    pub fn unsubscribe(&mut self, handle: RequestHandle) -> Result<(), CallError> {
        self.open_session()?;
        let result = self.subscriptions.unsubscribe(&mut self.cx, handle);
        self.settle(Ok(()));
        result
    }

    /// The track breaks the data model: ends the subscription (draft-14 §2.5).
    ///
    /// # Errors
    /// It has ended already.
    pub fn malformed_track(&mut self, handle: RequestHandle) -> Result<(), CallError> {
        tracing::debug!(%handle, "malformed track, unsubscribing (draft-14 §2.5)");
        self.unsubscribe(handle)
    }

    /// Accepts a track offered by PUBLISH; parked streams of it are resumed.
    ///
    /// # Errors
    /// It was answered already or has ended.
    pub fn accept_publish(
        &mut self,
        handle: RequestHandle,
        answer: PublishAnswer,
        now: Instant,
    ) -> Result<(), CallError> {
        self.open_session()?;
        let result = self.subscriptions.accept(&mut self.cx, handle, answer, now);
        self.settle(Ok(()));
        result
    }

    /// Refuses a track offered by PUBLISH; its streams are stopped.
    ///
    /// # Errors
    /// It was answered already or has ended.
    pub fn reject_publish(
        &mut self,
        handle: RequestHandle,
        code: PublishErrorCode,
        reason: impl Into<ReasonPhrase>,
    ) -> Result<(), CallError> {
        self.open_session()?;
        let result = self
            .subscriptions
            .reject(&mut self.cx, handle, code, reason.into());
        self.settle(Ok(()));
        result
    }

    /// Accepts a namespace offered by the peer.
    ///
    /// # Errors
    /// It was answered already or withdrawn.
    pub fn accept_namespace(&mut self, handle: RequestHandle) -> Result<(), CallError> {
        self.open_session()?;
        let result = self.namespaces.accept(&mut self.cx, handle);
        self.settle(Ok(()));
        result
    }

    /// Refuses a namespace offered by the peer.
    ///
    /// # Errors
    /// It was answered already or withdrawn.
    pub fn reject_namespace(
        &mut self,
        handle: RequestHandle,
        code: PublishNamespaceErrorCode,
        reason: impl Into<ReasonPhrase>,
    ) -> Result<(), CallError> {
        self.open_session()?;
        let result = self
            .namespaces
            .reject(&mut self.cx, handle, code, reason.into());
        self.settle(Ok(()));
        result
    }

    /// Revokes the acceptance of a namespace.
    ///
    /// # Errors
    /// It was not accepted, or was withdrawn.
    pub fn cancel_namespace(
        &mut self,
        handle: RequestHandle,
        code: PublishNamespaceErrorCode,
        reason: impl Into<ReasonPhrase>,
    ) -> Result<(), CallError> {
        self.open_session()?;
        let result = self
            .namespaces
            .cancel(&mut self.cx, handle, code, reason.into());
        self.settle(Ok(()));
        result
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
        namespace: TrackNamespace,
        parameters: Parameters,
        now: Instant,
    ) -> Result<RequestHandle, CallError> {
        self.may_request()?;
        let result = self
            .namespaces
            .publish(&mut self.cx, namespace, parameters, now);
        self.settle(Ok(()));
        result
    }

    /// Withdraws a namespace. Subscriptions under it go on.
    ///
    /// # Errors
    /// It has ended already.
    pub fn namespace_done(&mut self, handle: RequestHandle) -> Result<(), CallError> {
        self.open_session()?;
        let result = self.namespaces.done(&mut self.cx, handle);
        self.settle(Ok(()));
        result
    }

    /// Offers a track. With [`PublishOptions::forward`], streams may be opened as soon as the PUBLISH was written
    /// (see [`is_sent`](Self::is_sent)). Ends with [`Event::PublishRejected`](super::Event::PublishRejected),
    /// [`Event::Unsubscribed`](super::Event::Unsubscribed) or [`finish_publish`](Self::finish_publish).
    ///
    /// # Errors
    /// The peer has a subscription to the track, the alias is in use for another track, or no request can be made.
    pub fn publish(
        &mut self,
        options: PublishOptions,
        now: Instant,
    ) -> Result<RequestHandle, CallError> {
        self.may_request()?;
        let result = self.publications.publish(&mut self.cx, options, now);
        self.settle(Ok(()));
        result
    }

    /// Accepts a SUBSCRIBE of the peer. The answer stands before any data of the subscription if the shell takes outputs
    /// in order and then opens streams. With [`SubscribeAnswer::expires`],
    /// [`Event::SubscriptionExpired`](super::Event::SubscriptionExpired) follows unless the subscription ends before.
    ///
    /// # Errors
    /// It was answered already or has ended, or the alias is in use for another track.
    pub fn accept_subscribe(
        &mut self,
        handle: RequestHandle,
        answer: SubscribeAnswer,
        now: Instant,
    ) -> Result<(), CallError> {
        self.open_session()?;
        let result = self.publications.accept(&mut self.cx, handle, answer, now);
        self.settle(Ok(()));
        result
    }

    /// Refuses a SUBSCRIBE of the peer.
    ///
    /// # Errors
    /// It was answered already or has ended.
    pub fn reject_subscribe(
        &mut self,
        handle: RequestHandle,
        code: SubscribeErrorCode,
        reason: impl Into<ReasonPhrase>,
    ) -> Result<(), CallError> {
        self.open_session()?;
        let result = self
            .publications
            .reject(&mut self.cx, handle, code, reason.into());
        self.settle(Ok(()));
        result
    }

    /// Ends a subscription of the peer: PUBLISH_DONE is sent once all its streams are closed, with their number.
    ///
    /// # Errors
    /// It is not answered yet (refuse it instead), is finished already, or has ended.
    pub fn finish_publish(
        &mut self,
        handle: RequestHandle,
        status: PublishDoneCode,
        reason: impl Into<ReasonPhrase>,
    ) -> Result<(), CallError> {
        self.open_session()?;
        let result = self
            .publications
            .finish(&mut self.cx, handle, status, reason.into());
        self.settle(Ok(()));
        result
    }

    /// A data stream is about to be opened for a subscription of the peer.
    ///
    /// # Errors
    /// The subscription has ended or is finished: do not open it.
    pub fn outbound_stream_opened(&mut self, handle: RequestHandle) -> Result<(), CallError> {
        self.open_session()?;
        self.publications.stream_opened(handle)
    }

    /// A data stream of a subscription was finished or reset. Does nothing when the subscription has ended.
    pub fn outbound_stream_closed(&mut self, handle: RequestHandle) {
        if self.is_established() {
            let result = self.publications.stream_closed(&mut self.cx, handle);
            self.settle(result);
        }
    }

    /// Whether an own request was given a Request ID and put on the control stream.
    pub fn is_sent(&self, handle: RequestHandle) -> bool {
        self.subscriptions.is_sent(handle)
            || self.publications.is_sent(handle)
            || self.namespaces.is_sent(handle)
    }
}

impl Session {
    /// Why a call that needs another phase is not possible.
    fn not_now(&self) -> CallError {
        if self.is_closed() {
            CallError::Closed
        } else {
            CallError::NotEstablished
        }
    }

    fn open_session(&self) -> Result<(), CallError> {
        if self.is_established() {
            Ok(())
        } else {
            Err(self.not_now())
        }
    }

    fn may_request(&self) -> Result<(), CallError> {
        self.open_session()?;
        // draft-14 §9.4
        if self.goaway.is_received() {
            return Err(CallError::GoingAway);
        }
        Ok(())
    }
}
