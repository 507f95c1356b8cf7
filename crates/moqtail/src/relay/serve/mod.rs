//! Shell: a relay over connections.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

mod config;
mod directory;
mod session;
mod shared;
#[cfg(test)]
mod tests;
mod upstream;
mod windows;

pub use config::RelayConfig;
pub use directory::RelayStats;
use directory::{Directory, SessionEntry};
use session::{RelayHandler, carrier};
use shared::{Shared, keep_time};
use upstream::{Upstreams, read_out};
use windows::Windows;

use super::{SessionId, SessionInfo};
use crate::{
    model::{SessionCode, TrackAlias, TrackNamespace},
    peer::{
        Egress, IngestLimits, PeerHandle, Report, Side, TrackPool, Woken, close_code, drive, now,
    },
    session::{Role, Session, SessionConfig, SessionError},
    track::TrackLog,
    transport::{CloseReason, Connection, Listener, Refusals, Seldom, lock},
};

/// As good as never, and still a time that can be told.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Told to peers that come or stay when the relay ends.
const SHUTTING_DOWN: &str = "relay is shutting down";

/// Why there is no room for a session.
const FULL: &str = "the relay is full";
const HOST_FULL: &str = "the host has as many sessions as it may";

/// A relay: any number of sessions that publish to and subscribe from each other. Clones refer to the same relay; two
/// relays in one process share nothing.
#[derive(Clone)]
pub struct Relay {
    shared: Arc<Shared>,
}

impl Relay {
    /// A relay without sessions. Must be called inside a tokio runtime, where the relay's clock runs until the last clone
    /// is dropped.
    pub fn new(mut config: RelayConfig) -> Self {
        let empty = TrackLog::new(TrackAlias(0), config.track);
        config.limits.max_tracks = config.limits.tracks_of(empty.footprint());
        let pool = Arc::new(TrackPool::new(config.limits.max_log_bytes));
        let shared = Arc::new(Shared {
            directory: Mutex::new(Directory::new(config.clone(), pool.clone())),
            pool,
            changed: Notify::new(),
            next_session: AtomicU64::new(0),
            windows: Windows::new(config.limits.max_receive_windows),
            config,
            open: watch::Sender::new(0),
            hosts: Arc::default(),
            refusals: Refusals::default(),
            intolerable: Seldom::default(),
            closing: watch::Sender::new(false),
        });
        #[expect(
            clippy::disallowed_methods,
            reason = "ends with the relay: it holds no strong reference"
        )]
        tokio::spawn(keep_time(Arc::downgrade(&shared)));
        Self { shared }
    }

    /// Accepts connections of `listener`, each in a task of its own, until it is closed, or after [`Relay::shutdown`] was
    /// called until the last session of the relay is over. Clients that come meanwhile, and those that come while there are
    /// [`RelayLimits::max_sessions`](super::RelayLimits::max_sessions), or as many of their host as it may have then, are refused
    /// before their handshake. Dropping the future ends its sessions.
    pub async fn serve(&self, listener: &Listener) {
        let mut sessions = JoinSet::new();
        let over = self.over();
        tokio::pin!(over);
        loop {
            let incoming = tokio::select! {
                incoming = listener.accept() => incoming,
                () = &mut over, if sessions.is_empty() => None,
                Some(_) = sessions.join_next() => continue,
            };
            let Some(incoming) = incoming else { break };
            if *self.shared.closing.borrow() {
                // It would wait for an answer as long as it can; refused, it goes elsewhere or comes again in time.
                tracing::debug!(peer = %incoming.remote_address(), "connection refused: {SHUTTING_DOWN}");
                continue;
            }
            let peer = incoming.remote_address();
            let is_full = *self.shared.open.borrow() >= self.shared.config.limits.max_sessions;
            if is_full || !self.shared.hosts.has_room(peer.ip(), self.most_of_a_host()) {
                let why = if is_full { FULL } else { HOST_FULL };
                self.shared.refusals.tell(Some(peer), why);
                continue;
            }
            let relay = self.clone();
            sessions.spawn(async move {
                match incoming.establish().await {
                    Ok(connection) => {
                        relay.attach(connection).await;
                    }
                    Err(error) => tracing::info!(%error, "connection was not established"),
                }
            });
        }
        while sessions.join_next().await.is_some() {}
    }

    /// How many sessions a host may have now.
    fn most_of_a_host(&self) -> usize {
        let limits = &self.shared.config.limits;
        match *self.shared.open.borrow() < limits.max_sessions / 2 {
            true => usize::MAX,
            false => limits.max_sessions_per_host,
        }
    }

    /// Waits until the relay is closing and has no session.
    async fn over(&self) {
        // Neither fails: the relay holds both senders.
        let mut closing = self.shared.closing.subscribe();
        let _ = closing.wait_for(|closing| *closing).await;
        let mut open = self.shared.open.subscribe();
        let _ = open.wait_for(|open| *open == 0).await;
    }

    /// Serves one connection whose peer is the client, until it ends; also for connections inside the process.
    /// Dropping the future ends the session.
    pub async fn attach<C: Connection>(&self, connection: C) -> CloseReason {
        let shared = &self.shared;
        let id = SessionId(shared.next_session.fetch_add(1, Ordering::Relaxed));
        let mut config = SessionConfig::new(Role::Server, carrier(connection.kind()));
        config.limits = shared.config.session.clone();
        config.tolerances = shared.config.tolerances;
        let session = match Session::new(config, now()) {
            Ok(session) => session,
            Err(error) => {
                tracing::error!(%error, "session could not begin");
                return refuse(&connection).await;
            }
        };
        let peer = PeerHandle::new(session);
        let egress = Egress::new(connection.clone(), shared.config.delivery);
        let upstreams: Upstreams = Arc::new(Mutex::new(BTreeMap::new()));
        let mut info = SessionInfo {
            id: id.0,
            authority: connection.request_authority().map(str::to_owned),
            path: String::new(),
            tokens: Vec::new(),
        };
        info.set_path(connection.request_path().unwrap_or_default());
        let entry = SessionEntry {
            peer: peer.clone(),
            delivery: Box::new(egress.handle()),
            upstreams: upstreams.clone(),
            ingest: IngestLimits::of_session(&shared.config.peer),
            stopped: BTreeSet::new(),
        };
        let address = connection.remote_address();
        // Its address was not proven before, and other handshakes of it may have run meanwhile.
        let enter = |peer: SocketAddr| shared.hosts.enter(peer.ip(), self.most_of_a_host());
        let place = address.map(enter);
        let why = match place {
            Some(None) => Some(HOST_FULL),
            _ if lock(&shared.directory).open(id, entry) => None,
            _ => Some(FULL),
        };
        if let Some(why) = why {
            shared.refusals.tell(address, why);
            return refuse(&connection).await;
        }
        let _registered = Registered { relay: self, id };
        shared.open.send_modify(|open| *open += 1);
        // Looked at after the session can be found: either this sees that the relay is closing, or that tells the session.
        if *shared.closing.borrow() {
            peer.call(|session, _| session.close(SessionCode::NO_ERROR, SHUTTING_DOWN));
        }

        let report = {
            let shared = Arc::downgrade(shared);
            Report::new(peer.clone(), move |handle, _| {
                if let Some(shared) = shared.upgrade() {
                    shared.change(|directory| {
                        directory.hub.downstream_ended(id, handle);
                        directory.run();
                    });
                }
            })
        };
        let mut handler = RelayHandler::new(
            shared,
            info,
            peer.clone(),
            egress.handle(),
            upstreams.clone(),
        );
        let driven = drive(
            connection.clone(),
            peer,
            Side::Server,
            shared.config.peer.clone(),
            &mut handler,
        );
        // One task for both: what the session answers is written before data that builds on it.
        let mut driven = Woken::new(driven);
        let reason = tokio::select! {
            biased;
            reason = &mut driven => reason,
            _ = egress.run(report) => driven.await,
        };
        // The driver tells of a close of our own, with its cause.
        if !matches!(reason, CloseReason::Local { .. }) {
            // What a peer says stays in its line.
            let reason = reason.to_string().replace(char::is_control, " ");
            tracing::info!(session = id.0, %reason, "session ended");
            read_out(&upstreams).await;
        }
        reason
    }

    /// What the relay does now.
    pub fn stats(&self) -> RelayStats {
        lock(&self.shared.directory).stats()
    }

    /// How many sessions are served a track of `namespace` now; other relays among them count as one.
    pub fn viewers(&self, namespace: &TrackNamespace) -> usize {
        lock(&self.shared.directory).hub.viewers(namespace)
    }

    /// Ends the relay well: new connections are refused, GOAWAY to every session, and after `grace` the end of those that stay.
    pub async fn shutdown(&self, grace: Duration) {
        self.shared.closing.send_replace(true);
        let grace = grace.min(FAR);
        let deadline = now() + grace;
        let peers = lock(&self.shared.directory).peers();
        for peer in peers {
            peer.call(|session, _| {
                if session.goaway("", deadline).is_err() {
                    session.close(SessionCode::NO_ERROR, SHUTTING_DOWN);
                }
            });
        }
        let mut open = self.shared.open.subscribe();
        let closed = open.wait_for(|open| *open == 0);
        // The session closes what is left at the deadline; this bounds a peer that does not take the close.
        if tokio::time::timeout(grace + Duration::from_millis(500), closed)
            .await
            .is_err()
        {
            tracing::info!("sessions still open after the grace time");
        }
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

async fn refuse<C: Connection>(connection: &C) -> CloseReason {
    let error = SessionError::Overloaded;
    connection.close(close_code(error.code()), &error.reason());
    connection.closed().await
}

/// Nothing of a session is left in the relay when this is dropped.
struct Registered<'r> {
    relay: &'r Relay,
    id: SessionId,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let shared = &self.relay.shared;
        shared.change(|directory| directory.close(self.id));
        shared.open.send_modify(|open| *open -= 1);
    }
}
