//! The session of a driver, reachable from other tasks.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

use crate::session::Session;

/// A session shared between its driver and those who call it; clones refer to the same session.
#[derive(Clone, Debug)]
pub(crate) struct PeerHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    session: Mutex<Session>,
    called: Notify,
}

impl PeerHandle {
    pub(crate) fn new(session: Session) -> Self {
        Self(Arc::new(Shared { session: Mutex::new(session), called: Notify::new() }))
    }

    /// Calls the session now and lets the driver send what comes of it.
    pub(crate) fn call<R>(&self, call: impl FnOnce(&mut Session, Instant) -> R) -> R {
        let result = call(&mut self.lock(), now());
        self.0.called.notify_one();
        result
    }

    /// Access for the driver, which looks for outputs itself.
    pub(super) fn lock(&self) -> MutexGuard<'_, Session> {
        self.0.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until somebody called the session.
    pub(super) async fn called(&self) {
        self.0.called.notified().await;
    }
}

/// The clock of the shells.
#[expect(clippy::disallowed_methods, reason = "the one place where the shells read the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
