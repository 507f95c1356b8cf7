//! Wakes every task that waits for the same thing, where quinn or a queue has room for one waker only.

use std::{
    sync::{Arc, Mutex},
    task::{Wake, Waker},
};

use super::lock;

/// Waiting tasks kept before all are woken to weed out those that lost interest.
const CAP: usize = 64;

/// The tasks that wait for one condition. It is a waker itself, which passes each wake-up on to all of them.
#[derive(Debug, Default)]
pub(super) struct WakerSet(Mutex<Vec<Waker>>);

impl WakerSet {
    /// Adds a task until the next wake-up.
    pub(super) fn register(&self, waker: &Waker) {
        let crowded = {
            let mut wakers = lock(&self.0);
            if wakers.iter().any(|known| known.will_wake(waker)) {
                return;
            }
            let crowded = if wakers.len() >= CAP {
                std::mem::take(&mut *wakers)
            } else {
                Vec::new()
            };
            wakers.push(waker.clone());
            crowded
        };
        crowded.into_iter().for_each(Waker::wake);
    }

    /// Wakes and forgets all tasks.
    pub(super) fn wake_all(&self) {
        let wakers = std::mem::take(&mut *lock(&self.0));
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Wake for WakerSet {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_task_is_woken_once() {
        let (one, two) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let set = Arc::new(WakerSet::default());
        let waker = Waker::from(one.clone());
        set.register(&waker);
        set.register(&waker);
        set.register(&Waker::from(two.clone()));
        Waker::from(set.clone()).wake_by_ref();
        set.wake_all();
        assert_eq!(
            (one.0.load(Ordering::Relaxed), two.0.load(Ordering::Relaxed)),
            (1, 1)
        );
    }

    #[test]
    fn a_full_set_wakes_instead_of_growing() {
        let tasks: Vec<_> = (0..=CAP).map(|_| Arc::new(Count::default())).collect();
        let set = WakerSet::default();
        for task in &tasks {
            set.register(&Waker::from(task.clone()));
        }
        assert_eq!(tasks[0].0.load(Ordering::Relaxed), 1);
        assert_eq!(tasks[CAP].0.load(Ordering::Relaxed), 0);
        assert_eq!(set.0.lock().unwrap().len(), 1);
    }
}
