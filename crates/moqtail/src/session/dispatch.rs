//! Where each control message of the peer goes.

use std::time::Instant;

use super::{
    error::SessionError,
    event::{Event, PeerSetup},
    machine::{Phase, Session},
    request::RequestKind,
    setup,
    timer::Timer,
    token,
};
use crate::model::{
    ControlMessage, FetchErrorCode, FetchOk, Parameters, ReasonPhrase, RequestError, RequestId,
    SubscribeErrorCode, SubscribeNamespaceErrorCode, SubscribeOk,
};

const NOT_SUPPORTED: &str = "not supported";

/// The parts of a message that starts a request.
fn as_request(message: &ControlMessage) -> Option<(RequestKind, RequestId, &Parameters)> {
    Some(match message {
        ControlMessage::Subscribe(m) => (RequestKind::Subscribe, m.request_id, &m.parameters),
        ControlMessage::SubscribeUpdate(m) => {
            (RequestKind::SubscribeUpdate, m.request_id, &m.parameters)
        }
        ControlMessage::Publish(m) => (RequestKind::Publish, m.request_id, &m.parameters),
        ControlMessage::Fetch(m) => (RequestKind::Fetch, m.request_id, &m.parameters),
        ControlMessage::TrackStatus(m) => (RequestKind::TrackStatus, m.request_id, &m.parameters),
        ControlMessage::PublishNamespace(m) => {
            (RequestKind::PublishNamespace, m.request_id, &m.parameters)
        }
        ControlMessage::SubscribeNamespace(m) => {
            (RequestKind::SubscribeNamespace, m.request_id, &m.parameters)
        }
        _ => return None,
    })
}

impl Session {
    /// A control message of the peer.
    pub(super) fn message(
        &mut self,
        message: ControlMessage,
        now: Instant,
    ) -> Result<(), SessionError> {
        let name = message.name();
        tracing::trace!(message = name, "received");
        match (message, &self.phase) {
            // draft-14 §9.3
            (ControlMessage::ClientSetup(setup), Phase::AwaitSetup) if !self.client => {
                let peer = setup::check_client(&setup, self.carrier)?;
                self.cx.timers.cancel(Timer::Setup);
                self.cx
                    .requests
                    .set_initial_limit(setup.parameters.max_request_id());
                self.cx.out.event(Event::SetupRequested(peer.clone()));
                self.phase = Phase::AwaitAnswer(Box::new(peer));
                Ok(())
            }
            (ControlMessage::ServerSetup(setup), Phase::AwaitSetup) if self.client => {
                let peer = setup::check_server(&setup, self.carrier)?;
                self.cx.timers.cancel(Timer::Setup);
                self.cx
                    .requests
                    .set_initial_limit(setup.parameters.max_request_id());
                self.open(peer);
                Ok(())
            }
            (ControlMessage::ClientSetup(_) | ControlMessage::ServerSetup(_), _) => {
                Err(SessionError::UnexpectedSetup(name))
            }
            (_, Phase::AwaitSetup) => Err(SessionError::BeforeSetup(name)),
            (message, phase) => {
                if let Some((kind, id, parameters)) = as_request(&message) {
                    // The client cannot know that it may.
                    if matches!(phase, Phase::AwaitAnswer(_)) {
                        return Err(SessionError::BeforeSetup(name));
                    }
                    let handle = self.cx.new_handle();
                    self.cx.requests.received(id, kind, handle)?;
                    token::check_received(parameters)?;
                    return self.request(message, handle);
                }
                self.follow_up(message, now)
            }
        }
    }

    /// Both SETUP messages are exchanged.
    pub(super) fn open(&mut self, peer: PeerSetup) {
        self.phase = Phase::Open;
        self.cx.out.event(Event::Established(peer));
    }

    /// A new request, whose Request ID and tokens were checked.
    fn request(
        &mut self,
        message: ControlMessage,
        handle: super::RequestHandle,
    ) -> Result<(), SessionError> {
        let cx = &mut self.cx;
        let reason = || ReasonPhrase::new(NOT_SUPPORTED);
        // draft-14 §4: what is not served is answered, never ignored
        let (request_id, answer) = match message {
            ControlMessage::Subscribe(m) => return self.publications.on_subscribe(cx, handle, m),
            ControlMessage::Publish(m) => return self.subscriptions.on_publish(cx, handle, m),
            ControlMessage::PublishNamespace(m) => {
                return self.namespaces.on_publish(cx, handle, m);
            }
            ControlMessage::SubscribeUpdate(m) => {
                cx.requests.finish_peer(m.request_id);
                return self.publications.on_update(cx, m);
            }
            ControlMessage::Fetch(m) => {
                let code = FetchErrorCode::NOT_SUPPORTED;
                let error = RequestError {
                    request_id: m.request_id,
                    code,
                    reason: reason(),
                };
                (m.request_id, ControlMessage::FetchError(error))
            }
            ControlMessage::TrackStatus(m) => {
                let code = SubscribeErrorCode::NOT_SUPPORTED;
                let error = RequestError {
                    request_id: m.request_id,
                    code,
                    reason: reason(),
                };
                (m.request_id, ControlMessage::TrackStatusError(error))
            }
            ControlMessage::SubscribeNamespace(m) => {
                let code = SubscribeNamespaceErrorCode::NOT_SUPPORTED;
                let error = RequestError {
                    request_id: m.request_id,
                    code,
                    reason: reason(),
                };
                (m.request_id, ControlMessage::SubscribeNamespaceError(error))
            }
            _ => return Ok(()),
        };
        cx.refuse(request_id, &answer)
    }

    /// An answer, or a message about something that goes on.
    fn follow_up(&mut self, message: ControlMessage, now: Instant) -> Result<(), SessionError> {
        let cx = &mut self.cx;
        let name = message.name();
        match message {
            ControlMessage::Goaway(goaway) => {
                self.goaway.receive(!self.client, &goaway.new_session_uri)?;
                let uri = goaway.new_session_uri;
                cx.out.event(Event::GoawayReceived { uri });
                self.drop_queued();
                Ok(())
            }
            ControlMessage::MaxRequestId(m) => cx.requests.raise_limit(m.limit),
            // draft-14 §9.6: credit does not depend on it
            ControlMessage::RequestsBlocked(_) => Ok(()),

            ControlMessage::SubscribeOk(m) => self.subscriptions.on_ok(cx, m),
            ControlMessage::SubscribeError(m) => self.subscriptions.on_error(cx, m),
            ControlMessage::PublishDone(m) => self.subscriptions.on_done(cx, m, now),
            ControlMessage::Unsubscribe(id) => self.publications.on_unsubscribe(cx, id),
            ControlMessage::PublishOk(m) => self.publications.on_publish_ok(cx, m),
            ControlMessage::PublishError(m) => self.publications.on_publish_error(cx, m),
            ControlMessage::PublishNamespaceOk(id) => self.namespaces.on_ok(cx, id),
            ControlMessage::PublishNamespaceError(m) => self.namespaces.on_error(cx, m),
            ControlMessage::PublishNamespaceDone(namespace) => {
                self.namespaces.on_done(cx, &namespace)
            }
            ControlMessage::PublishNamespaceCancel(m) => {
                self.namespaces.on_cancel(cx, m);
                Ok(())
            }

            // Requests that this side does not make cannot be answered.
            ControlMessage::FetchOk(FetchOk { request_id: id, .. })
            | ControlMessage::FetchError(RequestError { request_id: id, .. }) => {
                cx.requests.check_own(id, name, RequestKind::Fetch)
            }
            ControlMessage::TrackStatusOk(SubscribeOk { request_id: id, .. })
            | ControlMessage::TrackStatusError(RequestError { request_id: id, .. }) => {
                cx.requests.check_own(id, name, RequestKind::TrackStatus)
            }
            ControlMessage::SubscribeNamespaceOk(id)
            | ControlMessage::SubscribeNamespaceError(RequestError { request_id: id, .. }) => cx
                .requests
                .check_own(id, name, RequestKind::SubscribeNamespace),

            // The requests were refused: this crossed the refusal.
            ControlMessage::FetchCancel(id) => cx.requests.made_by_peer(id, name),
            ControlMessage::UnsubscribeNamespace(_) => Ok(()),

            // Taken before.
            ControlMessage::ClientSetup(_)
            | ControlMessage::ServerSetup(_)
            | ControlMessage::Subscribe(_)
            | ControlMessage::SubscribeUpdate(_)
            | ControlMessage::Publish(_)
            | ControlMessage::Fetch(_)
            | ControlMessage::TrackStatus(_)
            | ControlMessage::PublishNamespace(_)
            | ControlMessage::SubscribeNamespace(_) => Ok(()),
        }
    }

    /// The peer is going away: requests that still wait fail (draft-14 §9.4).
    fn drop_queued(&mut self) {
        let cx = &mut self.cx;
        for (kind, handle) in cx.requests.dequeue_new() {
            match kind {
                RequestKind::Publish => self.publications.going_away(cx, handle),
                RequestKind::PublishNamespace => self.namespaces.going_away(cx, handle),
                _ => self.subscriptions.going_away(cx, handle),
            }
        }
    }
}
