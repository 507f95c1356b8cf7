//! Wake-ups of a session's sending task, each cause at most once until it is looked at.

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use tokio::sync::Notify;

use crate::track::{StreamKey, SubscriptionId};

/// Why the sending task of a session is to run.
#[derive(Debug, Default)]
pub(super) struct SessionWake {
    notify: Notify,
    /// Subscriptions whose track changed; bounded by their number, each is in it once.
    changed: Mutex<Vec<SubscriptionId>>,
    /// Streams that can be written or are over; bounded by their number.
    streams: Mutex<Vec<StreamKey>>,
    credit: AtomicBool,
}

impl SessionWake {
    /// Waits for a cause, also one from before the call.
    pub(super) async fn wait(&self) {
        self.notify.notified().await;
    }

    /// Has the task run without a cause of its own.
    pub(super) fn kick(&self) {
        self.notify.notify_one();
    }

    pub(super) fn take_changed(&self) -> Vec<SubscriptionId> {
        take(&self.changed)
    }

    pub(super) fn take_streams(&self) -> Vec<StreamKey> {
        take(&self.streams)
    }

    pub(super) fn take_credit(&self) -> bool {
        self.credit.swap(false, Ordering::AcqRel)
    }
}

fn take<T>(list: &Mutex<Vec<T>>) -> Vec<T> {
    mem::take(&mut *list.lock().unwrap_or_else(PoisonError::into_inner))
}

fn push<T>(list: &Mutex<Vec<T>>, item: T) {
    list.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(item);
}

/// Woken when there may be stream credit.
#[derive(Debug)]
pub(super) struct CreditWake(pub(super) Arc<SessionWake>);

impl Wake for CreditWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.credit.store(true, Ordering::Release);
        self.0.kick();
    }
}

/// Woken when a stream may be written, or is over.
#[derive(Debug)]
pub(super) struct StreamWake {
    session: Arc<SessionWake>,
    stream: StreamKey,
    listed: AtomicBool,
}

impl StreamWake {
    pub(super) fn new(session: Arc<SessionWake>, stream: StreamKey) -> Arc<Self> {
        Arc::new(Self {
            session,
            stream,
            listed: AtomicBool::new(false),
        })
    }

    /// The cause was looked at.
    pub(super) fn taken(&self) {
        self.listed.store(false, Ordering::Release);
    }

    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        self.clone().into()
    }
}

impl Wake for StreamWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.listed.swap(true, Ordering::AcqRel) {
            push(&self.session.streams, self.stream);
            self.session.kick();
        }
    }
}

/// Woken when the track of a subscription changes.
#[derive(Debug)]
pub(super) struct SubscriptionWake {
    session: Arc<SessionWake>,
    subscription: SubscriptionId,
    /// In the wake list of the track.
    waiting: AtomicBool,
    /// Told to the session and not yet looked at.
    listed: AtomicBool,
}

impl SubscriptionWake {
    pub(super) fn new(session: Arc<SessionWake>, subscription: SubscriptionId) -> Arc<Self> {
        Arc::new(Self {
            session,
            subscription,
            waiting: AtomicBool::new(false),
            listed: AtomicBool::new(false),
        })
    }

    /// Whether it is to be put into the wake list, being in it not yet.
    pub(super) fn begin_wait(&self) -> bool {
        !self.waiting.swap(true, Ordering::AcqRel)
    }

    /// The cause was looked at; later changes are told anew.
    pub(super) fn taken(&self) {
        self.listed.store(false, Ordering::Release);
    }

    /// The track changed; it was taken off the wake list.
    pub(super) fn wake(self: &Arc<Self>) {
        self.waiting.store(false, Ordering::Release);
        if !self.listed.swap(true, Ordering::AcqRel) {
            push(&self.session.changed, self.subscription);
            self.session.kick();
        }
    }
}
