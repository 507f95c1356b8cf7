//! The session of a driver, reachable from other tasks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use tokio::sync::{Notify, oneshot};

use crate::{
    model::{StreamCode, SubscribeErrorCode},
    session::{CallError, RequestHandle, Session, StreamKey, SubscribeAnswer},
    transport::lock,
};

/// A session shared between its driver and those who call it; clones refer to the same session.
#[derive(Clone, Debug)]
pub(crate) struct PeerHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<PeerState>,
    called: Notify,
}

#[derive(Debug)]
pub(super) struct PeerState {
    pub(super) session: Session,
    /// Accepted subscriptions whose SUBSCRIBE_OK is not yet written; their streams wait for it.
    pub(super) starting: Vec<RequestHandle>,
    /// Inbound streams that somebody reads, with the way to stop them. Bounded by the session's `max_inbound_streams`.
    pub(super) reading: BTreeMap<StreamKey, oneshot::Sender<StreamCode>>,
}

impl PeerHandle {
    pub(crate) fn new(session: Session) -> Self {
        let state = PeerState {
            session,
            starting: Vec::new(),
            reading: BTreeMap::new(),
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            called: Notify::new(),
        }))
    }

    /// Calls the session now and lets the driver do what comes of it, if anything does.
    pub(crate) fn call<R>(&self, call: impl FnOnce(&mut Session, Instant) -> R) -> R {
        let mut state = self.lock();
        let deadline = state.session.deadline();
        let result = call(&mut state.session, now());
        let consequences = state.session.has_output() || state.session.deadline() != deadline;
        drop(state);
        if consequences {
            self.0.called.notify_one();
        }
        result
    }

    /// Answers SUBSCRIBE_OK; [`super::Handler::start`] names the subscription once the answer is written. If that cannot be
    /// the answer, it is SUBSCRIBE_ERROR INTERNAL_ERROR, and the request has ended.
    ///
    /// # Errors
    /// The subscriber left, or was refused for this.
    pub(crate) fn accept_subscribe(
        &self,
        handle: RequestHandle,
        answer: SubscribeAnswer,
    ) -> Result<(), CallError> {
        let mut state = self.lock();
        let accepted = state.session.accept_subscribe(handle, answer, now());
        match &accepted {
            Ok(()) => state.starting.push(handle),
            Err(CallError::NoSuchRequest(_) | CallError::Closed) => {
                tracing::debug!(%handle, "subscriber left before its answer");
            }
            // draft-14 §5.1: exactly one answer
            Err(error) => {
                tracing::warn!(%handle, %error, "a track cannot be served to a subscriber");
                let code = SubscribeErrorCode::INTERNAL_ERROR;
                let reason = "the publisher cannot serve the track in this session";
                if let Err(error) = state.session.reject_subscribe(handle, code, reason) {
                    tracing::debug!(%handle, %error, "request ended before its answer");
                }
            }
        }
        drop(state);
        self.0.called.notify_one();
        accepted
    }

    /// Access for the driver and its streams, which look for outputs themselves.
    pub(super) fn lock(&self) -> MutexGuard<'_, PeerState> {
        lock(&self.0.state)
    }

    /// Waits until somebody called the session.
    pub(super) async fn called(&self) {
        self.0.called.notified().await;
    }
}

/// The clock of the shells, the one that their sleeps follow.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
