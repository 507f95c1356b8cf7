//! Namespaces that the two sides announce to each other (draft-14 §6.2, §9.23-§9.27).
//!
//! ```text
//! own:  Queued ──sent──> Pending ──OK──> Accepted ──CANCEL──> ended
//! peer: Requested ──accept──> Accepted ──DONE──> ended
//! ```
//!
//! | own | Queued | Pending | Accepted |
//! | --- | --- | --- | --- |
//! | PUBLISH_NAMESPACE_OK | | Accepted | second answer |
//! | PUBLISH_NAMESPACE_ERROR | | ended | second answer |
//! | PUBLISH_NAMESPACE_CANCEL | ignored | ignored | ended |
//! | GOAWAY | ended | | |
//! | done | ended | DONE sent, ended | DONE sent, ended |
//! | answer_timeout | ended | DONE sent, ended | |
//!
//! | of the peer | Requested | Accepted |
//! | --- | --- | --- |
//! | PUBLISH_NAMESPACE, same namespace | refused | refused |
//! | PUBLISH_NAMESPACE_DONE | refused, ended | ended |
//! | accept | Accepted | |
//! | reject | ended | |
//! | cancel | | CANCEL sent, ended |
//!
//! Empty cells cannot happen, or are calls that fail. DONE and CANCEL name a namespace only; an unknown one crossed the
//! end of its announcement and is ignored. A CANCEL cannot mean an announcement whose answer is still to come.

use std::{collections::BTreeMap, time::Instant};

use super::{
    context::{Context, NO_ID, check_encodable},
    error::{CallError, SessionError},
    event::{Event, RequestFailure, RequestHandle},
    request::{Referred, RequestKind},
    timer::Timer,
    token,
};
use crate::model::{
    ControlMessage, Parameters, PublishNamespace, PublishNamespaceCancel,
    PublishNamespaceErrorCode, ReasonPhrase, RequestError, RequestId, TrackNamespace,
};

#[derive(Debug)]
enum OwnState {
    Queued(Box<PublishNamespace>),
    Pending(RequestId),
    Accepted(RequestId),
}

#[derive(Debug)]
struct Own {
    namespace: TrackNamespace,
    state: OwnState,
}

#[derive(Debug)]
struct OfPeer {
    namespace: TrackNamespace,
    id: RequestId,
    accepted: bool,
}

/// The announcements of both sides.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    own: BTreeMap<RequestHandle, Own>,
    own_names: BTreeMap<TrackNamespace, RequestHandle>,
    peer: BTreeMap<RequestHandle, OfPeer>,
    peer_names: BTreeMap<TrackNamespace, RequestHandle>,
}

/// Announcements of this side.
impl Namespaces {
    pub(super) fn publish(
        &mut self,
        cx: &mut Context,
        namespace: TrackNamespace,
        parameters: Parameters,
        now: Instant,
    ) -> Result<RequestHandle, CallError> {
        if self.own_names.contains_key(&namespace) {
            return Err(CallError::AlreadyAnnounced(namespace));
        }
        token::check_sent(&parameters)?;
        let message = PublishNamespace {
            request_id: NO_ID,
            namespace: namespace.clone(),
            parameters,
        };
        check_encodable(&ControlMessage::PublishNamespace(message.clone()))?;
        let handle = cx.new_handle();
        cx.enqueue(RequestKind::PublishNamespace, handle, now)?;
        self.own_names.insert(namespace.clone(), handle);
        let state = OwnState::Queued(Box::new(message));
        self.own.insert(handle, Own { namespace, state });
        Ok(handle)
    }

    /// Writes a queued PUBLISH_NAMESPACE, which got this Request ID.
    pub(super) fn send(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
        id: RequestId,
    ) -> Result<(), SessionError> {
        let Some(own) = self.own.get_mut(&handle) else {
            return Ok(());
        };
        if let OwnState::Queued(message) = std::mem::replace(&mut own.state, OwnState::Pending(id))
        {
            let message = PublishNamespace {
                request_id: id,
                ..*message
            };
            cx.out.send(&ControlMessage::PublishNamespace(message))?;
        }
        Ok(())
    }

    pub(super) fn done(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
    ) -> Result<(), CallError> {
        let own = self
            .own
            .get(&handle)
            .ok_or(CallError::NoSuchRequest(handle))?;
        if !matches!(own.state, OwnState::Queued(_)) {
            let namespace = own.namespace.clone();
            cx.out
                .send(&ControlMessage::PublishNamespaceDone(namespace))?;
        }
        self.end_own(cx, handle);
        Ok(())
    }

    /// The peer is going away: a PUBLISH_NAMESPACE that still waits is not sent any more.
    pub(super) fn going_away(&mut self, cx: &mut Context, handle: RequestHandle) {
        cx.out.event(Event::NamespaceRejected {
            handle,
            failure: RequestFailure::GoingAway,
        });
        self.end_own(cx, handle);
    }

    /// `answer_timeout` is over.
    pub(super) fn unanswered(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
    ) -> Result<(), SessionError> {
        let Some(own) = self.own.get(&handle) else {
            return Ok(());
        };
        if !matches!(own.state, OwnState::Queued(_)) {
            cx.out
                .send(&ControlMessage::PublishNamespaceDone(own.namespace.clone()))?;
        }
        cx.out.event(Event::NamespaceRejected {
            handle,
            failure: RequestFailure::TimedOut,
        });
        self.end_own(cx, handle);
        Ok(())
    }

    pub(super) fn on_ok(&mut self, cx: &mut Context, id: RequestId) -> Result<(), SessionError> {
        let kind = RequestKind::PublishNamespace;
        if let Referred::Active(handle) = cx.requests.answered(id, "PUBLISH_NAMESPACE_OK", kind)?
            && let Some(own) = self.own.get_mut(&handle)
        {
            own.state = OwnState::Accepted(id);
            cx.timers.cancel(Timer::Answer(handle));
            cx.out.event(Event::NamespaceAccepted { handle });
        }
        Ok(())
    }

    pub(super) fn on_error(
        &mut self,
        cx: &mut Context,
        error: RequestError<PublishNamespaceErrorCode>,
    ) -> Result<(), SessionError> {
        let kind = RequestKind::PublishNamespace;
        let message = "PUBLISH_NAMESPACE_ERROR";
        if let Referred::Active(handle) = cx.requests.answered(error.request_id, message, kind)? {
            let failure = RequestFailure::Refused {
                code: error.code,
                reason: error.reason,
            };
            cx.out.event(Event::NamespaceRejected { handle, failure });
            self.end_own(cx, handle);
        }
        Ok(())
    }

    pub(super) fn on_cancel(&mut self, cx: &mut Context, cancel: PublishNamespaceCancel) {
        let Some(handle) = self.own_names.get(&cancel.namespace).copied() else {
            return;
        };
        if let Some(Own {
            state: OwnState::Accepted(_),
            ..
        }) = self.own.get(&handle)
        {
            let (code, reason) = (cancel.code, cancel.reason);
            cx.out.event(Event::NamespaceCancelled {
                handle,
                code,
                reason,
            });
            self.end_own(cx, handle);
        }
    }

    fn end_own(&mut self, cx: &mut Context, handle: RequestHandle) {
        let Some(own) = self.own.remove(&handle) else {
            return;
        };
        self.own_names.remove(&own.namespace);
        cx.timers.cancel(Timer::Answer(handle));
        match own.state {
            OwnState::Queued(_) => cx.requests.dequeue(handle),
            OwnState::Pending(id) | OwnState::Accepted(id) => cx.requests.finish_own(id),
        }
    }

    pub(super) fn is_sent(&self, handle: RequestHandle) -> bool {
        self.own
            .get(&handle)
            .is_some_and(|own| !matches!(own.state, OwnState::Queued(_)))
    }

    pub(super) fn own_len(&self) -> usize {
        self.own.len()
    }
}

/// Announcements of the peer.
impl Namespaces {
    /// PUBLISH_NAMESPACE, whose Request ID was checked and belongs to `handle`.
    pub(super) fn on_publish(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
        message: PublishNamespace,
    ) -> Result<(), SessionError> {
        let id = message.request_id;
        let namespace = message.namespace;
        if self.peer_names.contains_key(&namespace) {
            let code = PublishNamespaceErrorCode::INTERNAL_ERROR;
            return refuse(
                cx,
                id,
                code,
                "the namespace is announced already in this session",
            );
        }
        self.peer_names.insert(namespace.clone(), handle);
        self.peer.insert(
            handle,
            OfPeer {
                namespace: namespace.clone(),
                id,
                accepted: false,
            },
        );
        let parameters = message.parameters;
        cx.out.event(Event::NamespacePublished {
            handle,
            namespace,
            parameters,
        });
        Ok(())
    }

    pub(super) fn on_done(
        &mut self,
        cx: &mut Context,
        namespace: &TrackNamespace,
    ) -> Result<(), SessionError> {
        let Some(handle) = self.peer_names.get(namespace).copied() else {
            return Ok(());
        };
        let Some(of_peer) = self.end_peer(cx, handle) else {
            return Ok(());
        };
        cx.out.event(Event::NamespaceDone { handle });
        if !of_peer.accepted {
            // draft-14 §6.2: exactly one answer
            let code = PublishNamespaceErrorCode::UNINTERESTED;
            refuse(cx, of_peer.id, code, "withdrawn before the answer")?;
        }
        Ok(())
    }

    pub(super) fn accept(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
    ) -> Result<(), CallError> {
        let of_peer = self.unanswered_of_peer(handle)?;
        cx.out
            .send(&ControlMessage::PublishNamespaceOk(of_peer.id))?;
        of_peer.accepted = true;
        Ok(())
    }

    pub(super) fn reject(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
        code: PublishNamespaceErrorCode,
        reason: ReasonPhrase,
    ) -> Result<(), CallError> {
        let request_id = self.unanswered_of_peer(handle)?.id;
        let error = RequestError {
            request_id,
            code,
            reason,
        };
        cx.out.send(&ControlMessage::PublishNamespaceError(error))?;
        self.end_peer(cx, handle);
        Ok(())
    }

    pub(super) fn cancel(
        &mut self,
        cx: &mut Context,
        handle: RequestHandle,
        code: PublishNamespaceErrorCode,
        reason: ReasonPhrase,
    ) -> Result<(), CallError> {
        let of_peer = self
            .peer
            .get(&handle)
            .ok_or(CallError::NoSuchRequest(handle))?;
        if !of_peer.accepted {
            return Err(CallError::WrongState(handle));
        }
        let namespace = of_peer.namespace.clone();
        let cancel = PublishNamespaceCancel {
            namespace,
            code,
            reason,
        };
        cx.out
            .send(&ControlMessage::PublishNamespaceCancel(cancel))?;
        self.end_peer(cx, handle);
        Ok(())
    }

    fn unanswered_of_peer(&mut self, handle: RequestHandle) -> Result<&mut OfPeer, CallError> {
        let of_peer = self
            .peer
            .get_mut(&handle)
            .ok_or(CallError::NoSuchRequest(handle))?;
        if of_peer.accepted {
            return Err(CallError::WrongState(handle));
        }
        Ok(of_peer)
    }

    fn end_peer(&mut self, cx: &mut Context, handle: RequestHandle) -> Option<OfPeer> {
        let of_peer = self.peer.remove(&handle)?;
        self.peer_names.remove(&of_peer.namespace);
        cx.requests.finish_peer(of_peer.id);
        Some(of_peer)
    }

    pub(super) fn peer_len(&self) -> usize {
        self.peer.len()
    }
}

/// Answers a PUBLISH_NAMESPACE with PUBLISH_NAMESPACE_ERROR.
fn refuse(
    cx: &mut Context,
    id: RequestId,
    code: PublishNamespaceErrorCode,
    reason: &str,
) -> Result<(), SessionError> {
    let error = RequestError {
        request_id: id,
        code,
        reason: ReasonPhrase::new(reason),
    };
    cx.refuse(id, &ControlMessage::PublishNamespaceError(error))
}
