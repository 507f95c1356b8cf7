//! What all sessions of a relay share, and the relay's clock.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::{RelayConfig, directory::Directory, windows::Windows};
use crate::{
    peer::{TrackPool, now},
    transport::{Hosts, Refusals, Seldom, lock},
};

pub(super) struct Shared {
    pub(super) directory: Mutex<Directory>,
    pub(super) pool: Arc<TrackPool>,
    /// The hub's deadline may have changed.
    pub(super) changed: Notify,
    pub(super) next_session: AtomicU64,
    pub(super) config: RelayConfig,
    pub(super) windows: Arc<Windows>,
    /// Sessions that are being served.
    pub(super) open: watch::Sender<usize>,
    /// Sessions of each host.
    pub(super) hosts: Arc<Hosts>,
    /// Sessions that there was no room for.
    pub(super) refusals: Refusals,
    /// Sessions that ended for a deviation that could be tolerated.
    pub(super) intolerable: Seldom,
    /// No new sessions are taken.
    pub(super) closing: watch::Sender<bool>,
}

impl Shared {
    /// Changes the directory, and lets the relay's clock see the deadline if that is another one then.
    pub(super) fn change(&self, change: impl FnOnce(&mut Directory)) {
        let mut directory = lock(&self.directory);
        let before = directory.hub.deadline();
        change(&mut directory);
        if directory.hub.deadline() != before {
            self.changed.notify_one();
        }
    }
}

/// Calls the hub at its deadlines, and keeps the logs within their budget.
pub(super) async fn keep_time(relay: Weak<Shared>) {
    /// The longest sleep without a look at whether the relay still exists.
    const LOOK: Duration = Duration::from_secs(1);
    /// How often tracks that nobody writes are freed of what is too old.
    const EXPIRE: Duration = Duration::from_secs(10);
    let mut expire_at = now() + EXPIRE;
    loop {
        let Some(shared) = relay.upgrade() else {
            return;
        };
        let due = lock(&shared.directory).hub.deadline();
        let changed = shared.changed.notified();
        let latest = now() + LOOK;
        let until = due.map_or(latest, |due| due.min(latest));
        tokio::select! {
            () = changed => {}
            () = shared.pool.exceeded() => shared.pool.reclaim().await,
            () = tokio::time::sleep_until(until.into()) => {}
        }
        let now = now();
        if expire_at <= now {
            expire_at = now + EXPIRE;
            shared.pool.expire().await;
        }
        if due.is_some_and(|due| due <= now) {
            lock(&shared.directory).timeout(now);
        }
    }
}
