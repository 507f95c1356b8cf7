//! What an application tells its client.

use super::ClientLimits;
use crate::{
    peer::PeerLimits,
    session::{SessionConfig, SessionLimits, Token, Tolerances},
    track::DeliveryLimits,
    transport::{ConnectConfig, MoqtUrl, TransportLimits, Trust},
};

/// Configuration of a [`super::Client`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Which certificates to accept. Default: those that the system accepts.
    pub trust: Trust,
    /// Tokens for CLIENT_SETUP.
    pub tokens: Vec<Token>,
    /// Deviations of the peer that are tolerated; none by default.
    pub tolerances: Tolerances,
    /// Caps of what is held for the application.
    pub limits: ClientLimits,
    /// Caps and times of the session.
    pub session: SessionLimits,
    /// Caps of the session's driver.
    pub peer: PeerLimits,
    /// Caps of the delivery to the peer.
    pub delivery: DeliveryLimits,
    /// Caps and times of the connection.
    pub transport: TransportLimits,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            trust: Trust::System,
            tokens: Vec::new(),
            tolerances: Tolerances::default(),
            limits: ClientLimits::default(),
            session: SessionLimits::default(),
            peer: PeerLimits::default(),
            delivery: DeliveryLimits::default(),
            transport: TransportLimits::default(),
        }
    }
}

impl ClientConfig {
    /// This configuration with another trust.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    pub(super) fn connect_config(&self, url: &MoqtUrl) -> ConnectConfig {
        let mut config = ConnectConfig::new(url.clone(), self.trust.clone());
        config.limits = self.transport.clone();
        config
    }

    pub(super) fn session_config(&self, mut config: SessionConfig) -> SessionConfig {
        config.tokens = self.tokens.clone();
        config.limits = self.session.clone();
        config.tolerances = self.tolerances;
        config
    }
}
