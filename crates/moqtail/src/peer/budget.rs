//! A budget of bytes that the logs of several tracks share.
//!
//! What open streams pin cannot be made to leave. Beyond half of the budget it is not counted, so that the other half is
//! there for what was published, whatever some publishers have under way.
//!
//! A log is charged once per turn of writing, by atomics alone. The order of age among all tracks is the number of bytes
//! written so far: what was last written more than a *window* of bytes ago is old.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use tokio::sync::Notify;

use crate::track::{Spared, TrackLog};

/// What one log is charged with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Charge {
    held: usize,
    /// How much of it is pinned.
    pinned: usize,
}

/// From a 64th of the budget to a quarter.
const MOST_DOUBLINGS: u32 = 4;

#[derive(Debug)]
pub(super) struct LogBudget {
    max: usize,
    held: AtomicUsize,
    /// Bytes of these that are pinned.
    pinned: AtomicUsize,
    /// Bytes charged so far, ever.
    written: AtomicU64,
    /// What was last written more than so many bytes ago leaves when there is too much.
    window: AtomicU64,
    over: Notify,
    /// When so much is written it is worth trying to make room again.
    again: AtomicU64,
    /// How often in a row nothing could leave.
    in_vain: AtomicU32,
}

impl LogBudget {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            held: AtomicUsize::new(0),
            pinned: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            window: AtomicU64::new(max as u64),
            over: Notify::new(),
            again: AtomicU64::new(0),
            in_vain: AtomicU32::new(0),
        }
    }

    /// Bytes that all logs hold.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Bytes that count against the budget.
    pub(super) fn used(&self) -> usize {
        let pinned = self.pinned.load(Ordering::Relaxed);
        self.held()
            .saturating_sub(pinned.saturating_sub(self.max / 2))
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
    pub(super) fn settle(&self, log: &mut TrackLog, charged: &mut Charge) {
        self.charge(log, charged);
        if self.used() <= self.soft() {
            return;
        }
        let window = self.window.load(Ordering::Relaxed);
        log.evict_before(self.tick().saturating_sub(window), Spared::Newest);
        self.charge(log, charged);
        while self.used() > self.max && log.shed() {
            self.charge(log, charged);
        }
        if self.used() > self.soft() && self.tick() >= self.again.load(Ordering::Relaxed) {
            self.over.notify_one();
        }
    }

    fn charge(&self, log: &TrackLog, charged: &mut Charge) {
        let now = Charge {
            held: log.footprint(),
            pinned: log.pinned(),
        };
        let before = std::mem::replace(charged, now);
        if now.held > before.held {
            let more = (now.held - before.held) as u64;
            self.written.fetch_add(more, Ordering::Relaxed);
        }
        change(&self.held, before.held, now.held);
        change(&self.pinned, before.pinned, now.pinned);
    }

    /// A log is gone.
    pub(super) fn release(&self, charged: Charge) {
        change(&self.held, charged.held, 0);
        change(&self.pinned, charged.pinned, 0);
    }

    /// Waits until there is too much. Dropping the future loses nothing.
    pub(super) async fn exceeded(&self) {
        self.over.notified().await;
    }

    /// Room was made by letting `groups` go, or there is none to be made for now: the more often in a row, the more is
    /// written before the next try.
    pub(super) fn rest(&self, groups: usize) {
        let in_vain = match groups {
            0 if self.used() > self.goal() => {
                self.in_vain.load(Ordering::Relaxed).saturating_add(1)
            }
            _ => 0,
        };
        self.in_vain.store(in_vain, Ordering::Relaxed);
        let step = (self.max as u64 / 64) << in_vain.min(MOST_DOUBLINGS);
        let again = self.tick().saturating_add(step);
        self.again.store(again, Ordering::Relaxed);
        // The tracks that were looked at asked for it meanwhile.
        let _ = self.over.notified().now_or_never();
    }
}

/// Changes a sum in which one part goes from `before` to `after`.
fn change(sum: &AtomicUsize, before: usize, after: usize) {
    if after > before {
        sum.fetch_add(after - before, Ordering::Relaxed);
    } else if after < before {
        sum.fetch_sub(before - after, Ordering::Relaxed);
    }
}
