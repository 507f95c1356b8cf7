//! Why the session is to have a turn, as the sending task of a session in production knows it: it sleeps until one of the
//! causes comes or a deadline is due, and is told of nothing else.

use std::collections::BTreeSet;

use crate::track::{StreamKey, SubscriptionId};

/// Causes since the last turn.
#[derive(Debug, Default)]
pub(super) struct Wake {
    kicked: bool,
    changed: BTreeSet<SubscriptionId>,
    streams: BTreeSet<StreamKey>,
    credit: bool,
    datagrams: bool,
    /// The end of a finished stream is a cause by itself.
    closing: bool,
}

impl Wake {
    /// A turn is due without a cause of its own.
    pub(super) fn kick(&mut self) {
        self.kicked = true;
    }

    /// The track of a subscription changed.
    pub(super) fn change(&mut self, id: SubscriptionId) {
        self.kicked |= self.changed.insert(id);
    }

    /// A stream can be written or is over; of a finished one only the latter is possible.
    pub(super) fn stream(&mut self, key: StreamKey, finished: bool) {
        let in_time = finished && !self.closing;
        self.kicked |= self.streams.insert(key) && !in_time;
    }

    /// There may be stream credit.
    pub(super) fn credit(&mut self) {
        self.credit = true;
        self.kicked = true;
    }

    /// Datagrams may be sent again.
    pub(super) fn datagrams(&mut self) {
        self.datagrams = true;
        self.kicked = true;
    }

    pub(super) fn take_kick(&mut self) -> bool {
        std::mem::take(&mut self.kicked)
    }

    pub(super) fn take_changed(&mut self) -> BTreeSet<SubscriptionId> {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn take_streams(&mut self) -> BTreeSet<StreamKey> {
        std::mem::take(&mut self.streams)
    }

    pub(super) fn take_credit(&mut self) -> bool {
        std::mem::take(&mut self.credit)
    }

    pub(super) fn take_datagrams(&mut self) -> bool {
        std::mem::take(&mut self.datagrams)
    }

    /// Whether somebody waits for finished streams to be closed. True: some are.
    pub(super) fn await_closing(&mut self, awaited: bool) -> bool {
        self.closing = awaited;
        awaited && !self.streams.is_empty()
    }
}
