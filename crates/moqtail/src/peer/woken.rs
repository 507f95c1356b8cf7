//! A future that is left alone until something wakes it, though others share its task.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// Polls its future at first and then once for each wake-up of that future itself. A session's driver costs a dozen
/// registrations when it is polled; without this it would pay them for every object that is sent beside it.
#[derive(Debug)]
pub(crate) struct Woken<F> {
    future: Pin<Box<F>>,
    flag: Arc<Flag>,
    waker: Waker,
}

#[derive(Debug)]
struct Flag {
    woken: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F: Future> Woken<F> {
    pub(crate) fn new(future: F) -> Self {
        let flag = Arc::new(Flag {
            woken: AtomicBool::new(true),
            task: AtomicWaker::new(),
        });
        Self {
            future: Box::pin(future),
            waker: flag.clone().into(),
            flag,
        }
    }
}

impl<F: Future> Future for Woken<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Before the look at the flag, so that a wake-up in between is not lost.
        self.flag.task.register(cx.waker());
        if !self.flag.woken.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let Self { future, waker, .. } = &mut *self;
        future.as_mut().poll(&mut Context::from_waker(waker))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        future::poll_fn,
        pin::pin,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[derive(Debug, Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_its_own_wake_ups_reach_the_future() {
        let (polls, inner) = (Cell::new(0), Cell::new(None));
        let mut woken = pin!(Woken::new(poll_fn(|cx| {
            polls.set(polls.get() + 1);
            inner.set(Some(cx.waker().clone()));
            match polls.get() {
                1 | 2 => Poll::Pending,
                _ => Poll::Ready("done"),
            }
        })));
        let task = Arc::new(Count::default());
        let waker = Waker::from(task.clone());
        let mut cx = Context::from_waker(&waker);
        for _ in 0..3 {
            assert_eq!(woken.as_mut().poll(&mut cx), Poll::Pending);
        }
        assert_eq!(polls.get(), 1);
        for expected in [Poll::Pending, Poll::Ready("done")] {
            let wakes = task.0.load(Ordering::Relaxed);
            inner.take().unwrap().wake();
            assert_eq!(task.0.load(Ordering::Relaxed), wakes + 1);
            assert_eq!(woken.as_mut().poll(&mut cx), expected);
        }
        assert_eq!(polls.get(), 3);
    }
}
