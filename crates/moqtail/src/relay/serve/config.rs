//! What an embedder tells a relay.

use std::sync::Arc;

use crate::relay::{AllowAll, Hooks, RelayLimits};
use crate::{
    peer::PeerLimits,
    session::{SessionLimits, Tolerances},
    track::{DeliveryLimits, TrackLimits},
};

/// Configuration of a [`Relay`](super::Relay).
#[derive(Clone)]
#[non_exhaustive]
pub struct RelayConfig {
    /// Caps and times of the relay.
    pub limits: RelayLimits,
    /// Caps and times of each session.
    pub session: SessionLimits,
    /// Caps of each session's driver.
    pub peer: PeerLimits,
    /// Caps of each track's log.
    pub track: TrackLimits,
    /// Caps of the delivery to each session.
    pub delivery: DeliveryLimits,
    /// Deviations of peers that are tolerated; none by default.
    pub tolerances: Tolerances,
    /// Who may do what; everybody everything by default.
    pub hooks: Arc<dyn Hooks>,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            limits: RelayLimits::default(),
            session: SessionLimits::default(),
            peer: PeerLimits::default(),
            track: TrackLimits::default(),
            delivery: DeliveryLimits::default(),
            tolerances: Tolerances::default(),
            hooks: Arc::new(AllowAll),
        }
    }
}

impl RelayConfig {
    /// This configuration with other hooks.
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks = Arc::new(hooks);
        self
    }
}

impl std::fmt::Debug for RelayConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayConfig")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
