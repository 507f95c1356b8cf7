//! A budget of bytes that the logs of several tracks share.
//!
//! A log is charged once per turn of writing, by atomics alone. The order of age among all tracks is the number of bytes
//! written so far: what was last written more than a *window* of bytes ago is old.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::track::{Spared, TrackLog};

#[derive(Debug)]
pub(super) struct LogBudget {
    max: usize,
    held: AtomicUsize,
    /// Bytes charged so far, ever.
    written: AtomicU64,
    /// What was last written more than so many bytes ago leaves when there is too much.
    window: AtomicU64,
    over: Notify,
    /// When so much is written it is worth trying to make room again.
    again: AtomicU64,
}

impl LogBudget {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            held: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            window: AtomicU64::new(max as u64),
            over: Notify::new(),
            again: AtomicU64::new(0),
        }
    }

    /// Bytes that all logs hold.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Above this old groups leave.
    fn soft(&self) -> usize {
        self.max - self.max / 8
    }

    /// Room is made down to this.
    pub(super) fn goal(&self) -> usize {
        self.max - self.max / 4
    }

    /// The time of a turn that begins.
    pub(super) fn tick(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// The time before which things are old, when no more than `window` bytes are to stay.
    pub(super) fn narrow(&self, window: u64) -> u64 {
        self.window.store(window, Ordering::Relaxed);
        self.tick().saturating_sub(window)
    }

    /// Charges a log after a turn and holds it within the budget. `charged` is what it was charged before.
    pub(super) fn settle(&self, log: &mut TrackLog, charged: &mut usize) {
        self.charge(log, charged);
        if self.held() <= self.soft() {
            return;
        }
        let window = self.window.load(Ordering::Relaxed);
        log.evict_before(self.tick().saturating_sub(window), Spared::Newest);
        self.charge(log, charged);
        while self.held() > self.max && log.shed() {
            self.charge(log, charged);
        }
        if self.held() > self.soft() && self.tick() >= self.again.load(Ordering::Relaxed) {
            self.over.notify_one();
        }
    }

    fn charge(&self, log: &TrackLog, charged: &mut usize) {
        let footprint = log.footprint();
        let before = std::mem::replace(charged, footprint);
        if footprint > before {
            let more = footprint - before;
            self.held.fetch_add(more, Ordering::Relaxed);
            self.written.fetch_add(more as u64, Ordering::Relaxed);
        } else {
            self.release(before - footprint);
        }
    }

    /// So much less is held.
    pub(super) fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Waits until there is too much. Dropping the future loses nothing.
    pub(super) async fn exceeded(&self) {
        self.over.notified().await;
    }

    /// Room was made, or there is none to be made for now.
    pub(super) fn rest(&self) {
        let again = self.tick().saturating_add(self.max as u64 / 64);
        self.again.store(again, Ordering::Relaxed);
    }
}
