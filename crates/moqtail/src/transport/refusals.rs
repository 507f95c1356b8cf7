//! Tells of clients that were refused, no more than once a second: who is refused comes again at once.

use std::net::SocketAddr;

use super::Seldom;

#[derive(Debug, Default)]
pub(crate) struct Refusals(Seldom);

impl Refusals {
    /// A client was refused; one inside the process has no address.
    pub(crate) fn tell(&self, peer: Option<SocketAddr>, why: &'static str) {
        if let Some(others) = self.0.count() {
            let peer = peer.map(tracing::field::display);
            tracing::warn!(peer, others, "connection refused: {why}");
        }
    }
}
