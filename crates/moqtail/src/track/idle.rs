//! Streams that have nothing to send, until the transport is asked to tell when the peer stops them.
//!
//! Most have more to send, or end, a moment later; asking costs more than that.

use std::time::{Duration, Instant};

use super::ids::{RunId, SubscriptionId};

/// How long such streams are collected.
const WATCH_AFTER: Duration = Duration::from_millis(20);

/// Streams by what they follow. Each comes here once, so it is bounded by the streams that are opened meanwhile.
#[derive(Debug, Default)]
pub(super) struct Idle {
    streams: Vec<(SubscriptionId, RunId)>,
    due: Option<Instant>,
}

impl Idle {
    pub(super) fn add(&mut self, stream: (SubscriptionId, RunId), now: Instant) {
        self.streams.push(stream);
        self.due = self.due.or_else(|| now.checked_add(WATCH_AFTER));
    }

    /// When to ask for them.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Those that are to be asked for now; some may have ended.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(SubscriptionId, RunId)> {
        match self.due {
            Some(due) if due <= now => {
                self.due = None;
                std::mem::take(&mut self.streams)
            }
            _ => Vec::new(),
        }
    }
}
