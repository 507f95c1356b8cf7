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

/// How long viewers may take to learn of the track's end.
pub(super) const GRACE: Duration = Duration::from_secs(10);

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

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Running,
    /// By Ctrl-C: nothing more is published or measured; what is on its way is taken.
    Ending,
    /// By another one, and when no subscriber is left: what there is by then is the result.
    Stopped,
}

/// Of a subscriber that takes no more. Bytes that it took meanwhile may come on top.
const GONE: u64 = 1 << 63;

/// One run of a benchmark.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) clock: Clock,
    warm_up: Duration,
    duration: Duration,
    interval: watch::Sender<Option<Interval>>,
    stage: watch::Sender<Stage>,
    /// Bytes of payload that each healthy subscriber has; [`GONE`]: it takes no more.
    taken: Vec<AtomicU64>,
    /// A publisher that saturates is woken each time a subscriber has taken this many bytes.
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
            stage: watch::Sender::new(Stage::Running),
            taken: (0..plan.healthy()).map(|_| AtomicU64::new(0)).collect(),
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

    /// Whether the measured interval is over, and with it what is published.
    pub(super) fn is_over(&self) -> bool {
        let interval = *self.interval.borrow();
        let is_past = interval.is_some_and(|interval| self.clock.now() >= interval.to);
        // One that began at the same moment is not cut.
        is_past || *self.stage.borrow() >= Stage::Ending
    }

    /// Waits for the first object. `None`: the run was stopped before.
    pub(super) async fn begun(&self) -> Option<Interval> {
        let mut interval = self.interval.subscribe();
        tokio::select! {
            interval = interval.wait_for(Option::is_some) => interval.ok().and_then(|i| *i),
            () = self.ending() => None,
        }
    }

    /// Ctrl-C: the interval is over now. Another time: stops the run.
    pub(super) fn interrupt(&self) {
        let now = self.clock.now();
        self.interval.send_if_modified(|interval| {
            if let Some(interval) = interval {
                interval.to = interval.to.min(now);
            }
            false
        });
        self.stage.send_modify(|stage| {
            *stage = match stage {
                Stage::Running => Stage::Ending,
                Stage::Ending | Stage::Stopped => Stage::Stopped,
            }
        });
    }

    /// What there is by now is the result.
    pub(super) fn stop(&self) {
        self.stage.send_replace(Stage::Stopped);
    }

    /// Waits until nothing more is to be published or measured, before the interval is over.
    pub(super) async fn ending(&self) {
        self.wait_for(Stage::Ending).await;
    }

    /// Waits until the run is stopped.
    pub(super) async fn stopped(&self) {
        self.wait_for(Stage::Stopped).await;
    }

    async fn wait_for(&self, wanted: Stage) {
        let mut stage = self.stage.subscribe();
        // Fails only without a sender, which is here.
        let _ = stage.wait_for(|stage| *stage >= wanted).await;
    }

    /// Waits until `time`, or until the run is ending.
    pub(super) async fn until(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep_until(self.clock.instant(time)) => {}
            () = self.ending() => {}
        }
    }

    /// A subscriber has `bytes` more.
    pub(super) fn took(&self, subscriber: usize, bytes: u64) {
        let Some(taken) = self.taken.get(subscriber) else {
            return;
        };
        let before = taken.fetch_add(bytes, Ordering::AcqRel);
        if before / self.step != (before + bytes) / self.step {
            self.progress.notify_one();
        }
    }

    /// A subscriber takes no more; without any the run is over.
    pub(super) fn left(&self, subscriber: usize) {
        if let Some(taken) = self.taken.get(subscriber) {
            taken.store(GONE, Ordering::Release);
        }
        self.progress.notify_one();
        if self.slowest().is_none() {
            self.stop();
        }
    }

    /// Waits until less than `window` of `published` bytes are on their way to the slowest subscriber. `None`: none is
    /// left.
    pub(super) async fn room(&self, window: u64, published: u64) -> Option<()> {
        while self.slowest()?.saturating_add(window) <= published {
            self.progress.notified().await;
        }
        Some(())
    }

    fn taken(&self) -> impl Iterator<Item = u64> {
        let taken = self.taken.iter().map(|taken| taken.load(Ordering::Acquire));
        taken.filter(|bytes| *bytes < GONE)
    }

    /// Bytes that the slowest subscriber has taken; `None`: none is left.
    pub(super) fn slowest(&self) -> Option<u64> {
        self.taken().min()
    }

    /// Bytes taken by all subscribers that are left, to see whether anything moves.
    pub(super) fn total(&self) -> u64 {
        self.taken().sum()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::bench::plan::tests::plan;

    #[test]
    fn an_interrupt_ends_the_interval_and_another_one_the_run() {
        let run = Run::new(&plan("--warm-up 0").unwrap());
        let whole = run.begin(run.clock.now());
        run.interrupt();
        assert!(run.ending().now_or_never().is_some());
        assert!(run.stopped().now_or_never().is_none());
        let cut = run.begin(run.clock.now());
        assert_eq!(cut.from, whole.from);
        assert!(cut.to < whole.to && cut.to <= run.clock.now());
        assert!(run.is_over());
        run.interrupt();
        assert!(run.stopped().now_or_never().is_some());
    }

    /// The publisher and the interrupt see each other only afterwards.
    #[test]
    fn a_run_that_begins_when_it_is_interrupted_is_over() {
        let run = Run::new(&plan("--warm-up 0").unwrap());
        run.interrupt();
        run.begin(run.clock.now());
        assert!(run.is_over());
    }
}
