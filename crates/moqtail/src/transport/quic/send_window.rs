//! How much is handed to QUIC at once: little, so that what is urgent overtakes the rest, yet enough to fill the path.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::transport::TransportLimits;

/// The send window of one connection. It follows the congestion window, which then stays what limits the sending.
#[derive(Debug)]
pub(super) struct SendWindow {
    least: u64,
    most: u64,
    current: AtomicU64,
}

/// Whether a window grew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    More,
    Same,
}

impl SendWindow {
    /// The window that the connection was set up with.
    pub(super) fn new(limits: &TransportLimits) -> Self {
        let least = u64::from(limits.send_window);
        Self {
            least,
            most: least.max(limits.max_send_window.into()),
            current: AtomicU64::new(least),
        }
    }

    /// For a write that found no room: looks at the path again.
    pub(super) fn follow(&self, conn: &quinn::Connection) -> Room {
        let wanted = self.wanted(conn.stats().path.cwnd);
        let current = self.current.load(Ordering::Relaxed);
        // A smaller window is worth a change only when the path got much worse.
        if wanted > current || wanted < current / 2 {
            conn.set_send_window(wanted);
            self.current.store(wanted, Ordering::Relaxed);
        }
        match wanted > current {
            true => Room::More,
            false => Room::Same,
        }
    }

    fn wanted(&self, congestion_window: u64) -> u64 {
        congestion_window
            .saturating_mul(2)
            .clamp(self.least, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_twice_that_of_the_path_within_its_bounds() {
        let window = SendWindow::new(&TransportLimits::default());
        assert_eq!(window.wanted(12_000), 256_000);
        assert_eq!(window.wanted(1_000_000), 2_000_000);
        assert_eq!(window.wanted(u64::MAX), 8_000_000);
    }

    #[test]
    fn a_maximum_below_the_beginning_keeps_it_fixed() {
        let limits = TransportLimits {
            max_send_window: 0,
            ..TransportLimits::default()
        };
        assert_eq!(SendWindow::new(&limits).wanted(1_000_000), 256_000);
    }
}
