//! One client: its session, and the connection underneath.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use moqtail::{
    session::{CallError, Session},
    transport::QuicConnection,
};
use tokio::sync::Notify;

/// A client of the floor.
#[derive(Debug)]
pub(crate) struct Peer {
    session: Mutex<Session>,
    pub(crate) called: Notify,
    pub(crate) connection: QuicConnection,
}

impl Peer {
    pub(crate) fn new(session: Session, connection: QuicConnection) -> Self {
        Self {
            session: Mutex::new(session),
            called: Notify::new(),
            connection,
        }
    }

    /// Calls the session; its task then does what comes of it. A request that has ended meanwhile needs no answer.
    pub(crate) fn call<T>(
        &self,
        call: impl FnOnce(&mut Session) -> Result<T, CallError>,
    ) -> Option<T> {
        let result = self.with(call);
        self.called.notify_one();
        result.ok()
    }

    /// As [`Peer::call`], from its own task.
    pub(crate) fn with<R>(&self, call: impl FnOnce(&mut Session) -> R) -> R {
        call(&mut self.session.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The QUIC connection, to do on it what a bare program would.
    pub(crate) fn quic(&self) -> &quinn::Connection {
        self.connection.quinn_connection()
    }
}

/// The clock.
#[expect(clippy::disallowed_methods, reason = "a program in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
