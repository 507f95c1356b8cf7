//! What publisher, subscribers and meter of one run share.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::sync::{Notify, watch};

use super::{
    plan::{Pace, Plan},
    stamp::Clock,
};

/// Objects published from `from` on and before `to` are measured; both since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) from: Duration,
    pub(super) to: Duration,
}

impl Interval {
    pub(super) fn holds(&self, time: Duration) -> bool {
        self.from <= time && time < self.to
    }
}

/// One run of a benchmark.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) clock: Clock,
    warm_up: Duration,
    duration: Duration,
    interval: watch::Sender<Option<Interval>>,
    /// Set by Ctrl-C, and when no subscriber is left: what there is by then is the result.
    pub(super) stop: watch::Sender<bool>,
    /// Objects that each subscriber has; `u64::MAX`: it is gone.
    taken: Vec<AtomicU64>,
    /// A publisher that saturates is woken each time a subscriber has taken this many.
    step: u64,
    pub(super) progress: Notify,
}

impl Run {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            clock: Clock::new(),
            warm_up: plan.warm_up,
            duration: plan.duration,
            interval: watch::Sender::new(None),
            stop: watch::Sender::new(false),
            taken: (0..plan.subscribers).map(|_| AtomicU64::new(0)).collect(),
            step: match plan.pace {
                Pace::Window(window) => (window / 8).max(1),
                Pace::Rate(_) => u64::MAX,
            },
            progress: Notify::new(),
        }
    }

    /// The interval that is measured, fixed by the first object: it was published at `first`.
    pub(super) fn begin(&self, first: Duration) -> Interval {
        let from = first + self.warm_up;
        let interval = Interval {
            from,
            to: from + self.duration,
        };
        self.interval.send_if_modified(|begun| {
            let fresh = begun.is_none();
            begun.get_or_insert(interval);
            fresh
        });
        self.interval.borrow().unwrap_or(interval)
    }

    /// Waits for the first object. `None`: the run was stopped before.
    pub(super) async fn begun(&self) -> Option<Interval> {
        let mut interval = self.interval.subscribe();
        tokio::select! {
            interval = interval.wait_for(Option::is_some) => interval.ok().and_then(|i| *i),
            () = self.stopped() => None,
        }
    }

    /// Waits until the run is stopped.
    pub(super) async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // Fails only without a sender, which is here.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    /// Waits until `time`, or until the run is stopped.
    pub(super) async fn until(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep_until(self.clock.instant(time)) => {}
            () = self.stopped() => {}
        }
    }

    /// A subscriber has `count` objects.
    pub(super) fn took(&self, subscriber: usize, count: u64) {
        if let Some(taken) = self.taken.get(subscriber) {
            taken.store(count, Ordering::Release);
        }
        if count.is_multiple_of(self.step) {
            self.progress.notify_one();
        }
    }

    /// A subscriber takes no more; without any the run is over.
    pub(super) fn left(&self, subscriber: usize) {
        if let Some(taken) = self.taken.get(subscriber) {
            taken.store(u64::MAX, Ordering::Release);
        }
        self.progress.notify_one();
        if self.slowest().is_none() {
            self.stop.send_replace(true);
        }
    }

    /// What the slowest subscriber has taken; `None`: none is left.
    pub(super) fn slowest(&self) -> Option<u64> {
        let taken = self.taken.iter().map(|taken| taken.load(Ordering::Acquire));
        taken.min().filter(|slowest| *slowest != u64::MAX)
    }

    /// Objects taken by all subscribers that are left, to see whether anything moves.
    pub(super) fn total(&self) -> u64 {
        let taken = self.taken.iter().map(|taken| taken.load(Ordering::Acquire));
        taken.filter(|count| *count != u64::MAX).sum()
    }
}
