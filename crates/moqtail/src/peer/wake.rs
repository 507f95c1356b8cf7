//! Wake-ups of a session's sending task, each cause at most once until it is looked at.

use std::{
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
};

use tokio::sync::{Notify, watch};

use crate::track::{StreamKey, SubscriptionId};
use crate::transport::lock;

/// Why the sending task of a session is to run.
#[derive(Debug, Default)]
pub(super) struct SessionWake {
    notify: Notify,
    /// Subscriptions whose track changed; bounded by their number, each is in it once.
    changed: Mutex<Vec<SubscriptionId>>,
    /// Streams that can be written or are over; bounded by their number.
    streams: Mutex<Vec<StreamKey>>,
    credit: AtomicBool,
    datagrams: AtomicBool,
    /// The end of a finished stream is a cause by itself.
    closing: AtomicBool,
    /// How often it was asked whether the peer has everything.
    asked: AtomicU64,
    /// Up to which question that is so; [`OVER`]: the session is over.
    delivered: watch::Sender<u64>,
}

/// No question has this number.
const OVER: u64 = u64::MAX;

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

    /// Whether somebody waits for finished streams to be closed; else that is looked at in the next turn, whatever its
    /// cause. True: some are.
    pub(super) fn await_closing(&self, awaited: bool) -> bool {
        self.closing.store(awaited, Ordering::Release);
        // After the store: who comes later sees it.
        awaited && !lock(&self.streams).is_empty()
    }

    pub(super) fn take_credit(&self) -> bool {
        self.credit.swap(false, Ordering::AcqRel)
    }

    pub(super) fn take_datagrams(&self) -> bool {
        self.datagrams.swap(false, Ordering::AcqRel)
    }

    /// Waits until the peer has everything that was published before the call. False: the session ended first.
    pub(super) async fn delivered(&self) -> bool {
        let mut delivered = self.delivered.subscribe();
        let question = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        self.kick();
        match delivered.wait_for(|answered| *answered >= question).await {
            Ok(answered) => *answered != OVER,
            Err(_) => false,
        }
    }

    /// The last question that is not answered. Who asked it published before, so this is to be looked at before the
    /// changes are.
    pub(super) fn question(&self) -> Option<u64> {
        let asked = self.asked.load(Ordering::Acquire);
        (asked > 0 && *self.delivered.borrow() < asked).then_some(asked)
    }

    /// The peer has everything that was published before this question.
    pub(super) fn answer(&self, question: u64) {
        self.delivered.send_if_modified(|answered| {
            mem::replace(answered, question.max(*answered)) < question
        });
    }

    /// The session is over: no question will be answered.
    pub(super) fn over(&self) {
        self.answer(OVER);
    }
}

fn take<T>(list: &Mutex<Vec<T>>) -> Vec<T> {
    mem::take(&mut *lock(list))
}

fn push<T>(list: &Mutex<Vec<T>>, item: T) {
    lock(list).push(item);
}

/// Woken when there may be more of what the connection gives out.
#[derive(Debug)]
pub(super) struct RoomWake(pub(super) Arc<SessionWake>, pub(super) Room);

/// What a connection gives out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Room {
    /// Stream credit.
    Streams,
    /// Turns to send datagrams.
    Datagrams,
}

impl Wake for RoomWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Self(session, room) = &**self;
        let flag = match room {
            Room::Streams => &session.credit,
            Room::Datagrams => &session.datagrams,
        };
        flag.store(true, Ordering::Release);
        session.kick();
    }
}

/// Woken when a stream may be written, or is over.
#[derive(Debug)]
pub(super) struct StreamWake {
    session: Arc<SessionWake>,
    stream: StreamKey,
    listed: AtomicBool,
    /// Everything is handed over: that the stream is over is no reason to hurry.
    finished: AtomicBool,
}

impl StreamWake {
    pub(super) fn new(session: Arc<SessionWake>, stream: StreamKey) -> Arc<Self> {
        Arc::new(Self {
            session,
            stream,
            listed: AtomicBool::new(false),
            finished: AtomicBool::new(false),
        })
    }

    /// The cause was looked at.
    pub(super) fn taken(&self) {
        self.listed.store(false, Ordering::Release);
    }

    /// Another stream has the place: it may be written now.
    pub(super) fn begin(&self) {
        self.finished.store(false, Ordering::Release);
        // The end of the one before may be listed, which would keep the causes of this one from being told.
        if self.listed.fetch_or(false, Ordering::AcqRel) {
            self.session.kick();
        }
    }

    /// Everything of the stream is handed over.
    pub(super) fn finish(&self) {
        self.finished.store(true, Ordering::Release);
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
            let in_time = self.finished.load(Ordering::Acquire)
                && !self.session.closing.load(Ordering::Acquire);
            if !in_time {
                self.session.kick();
            }
        }
    }
}

/// Woken when the track of a subscription changes.
#[derive(Debug)]
pub(super) struct SubscriptionWake {
    session: Arc<SessionWake>,
    subscription: SubscriptionId,
    /// Place in the wake list of the track, counted from 1; 0: in none.
    place: AtomicUsize,
    /// Told to the session and not yet looked at.
    listed: AtomicBool,
}

impl SubscriptionWake {
    pub(super) fn new(session: Arc<SessionWake>, subscription: SubscriptionId) -> Arc<Self> {
        Arc::new(Self {
            session,
            subscription,
            place: AtomicUsize::new(0),
            listed: AtomicBool::new(false),
        })
    }

    /// The cause was looked at; later changes are told anew.
    pub(super) fn taken(&self) {
        self.listed.store(false, Ordering::Release);
    }

    /// The track changed; it was taken off the wake list.
    pub(super) fn wake(self: &Arc<Self>) {
        self.place.store(0, Ordering::Release);
        if !self.listed.swap(true, Ordering::AcqRel) {
            push(&self.session.changed, self.subscription);
            self.session.kick();
        }
    }
}

/// Subscriptions to be woken by the next change of a track; each at most once. It stands under the lock of the track.
#[derive(Debug, Default)]
pub(super) struct WakeList(Vec<Arc<SubscriptionWake>>);

impl WakeList {
    pub(super) fn add(&mut self, wake: &Arc<SubscriptionWake>) {
        let place = self.0.len() + 1;
        let free = wake
            .place
            .compare_exchange(0, place, Ordering::AcqRel, Ordering::Acquire);
        // One that was taken off the list and is not woken yet will look again anyway.
        if free.is_ok() {
            self.0.push(wake.clone());
        }
    }

    /// Takes one off, wherever it stands.
    pub(super) fn remove(&mut self, wake: &Arc<SubscriptionWake>) {
        let place = wake.place.load(Ordering::Acquire);
        let Some(at) = place.checked_sub(1) else {
            return;
        };
        if !self.0.get(at).is_some_and(|other| Arc::ptr_eq(other, wake)) {
            return;
        }
        self.0.swap_remove(at);
        if let Some(moved) = self.0.get(at) {
            moved.place.store(place, Ordering::Release);
        }
    }

    /// Takes all off; they are to be woken without the lock.
    pub(super) fn take(&mut self) -> Vec<Arc<SubscriptionWake>> {
        mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future as _, pin::pin, task::Context};

    use super::*;

    #[test]
    fn leaving_takes_a_subscription_off_wherever_it_stands() {
        let session = Arc::new(SessionWake::default());
        let wake = |id| SubscriptionWake::new(session.clone(), SubscriptionId(id));
        let wakes: Vec<_> = (0..5).map(wake).collect();
        let mut list = WakeList::default();
        for wake in wakes.iter().chain(&wakes) {
            list.add(wake);
        }
        for gone in [0, 3, 4, 3] {
            list.remove(&wakes[gone]);
        }
        list.take().iter().for_each(SubscriptionWake::wake);
        let mut woken = session.take_changed();
        woken.sort();
        assert_eq!(woken, [SubscriptionId(1), SubscriptionId(2)]);
        // One that is off the list and not woken yet is not put on again, nor taken off in place of another.
        list.add(&wakes[1]);
        let taken = list.take();
        list.add(&wakes[1]);
        list.add(&wakes[2]);
        list.remove(&wakes[1]);
        assert_eq!((taken.len(), list.take().len()), (1, 1));
    }

    fn was_kicked(session: &SessionWake) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        pin!(session.notify.notified()).poll(&mut cx).is_ready()
    }

    #[test]
    fn the_end_of_a_finished_stream_has_time_until_the_next_turn() {
        let session = Arc::new(SessionWake::default());
        let stream = StreamWake::new(session.clone(), StreamKey(7));
        stream.waker().wake();
        assert!(was_kicked(&session), "an open stream can be written");
        assert_eq!(session.take_streams(), [StreamKey(7)]);
        stream.taken();
        stream.finish();
        stream.waker().wake();
        assert!(!was_kicked(&session));
        assert_eq!(session.take_streams(), [StreamKey(7)]);
    }

    /// It ended after the causes of a turn were taken, and in that turn its place was given to another stream.
    #[test]
    fn the_end_of_a_finished_stream_keeps_no_cause_of_the_next_one_in_its_place() {
        let session = Arc::new(SessionWake::default());
        let stream = StreamWake::new(session.clone(), StreamKey(7));
        stream.finish();
        stream.waker().wake();
        assert!(!was_kicked(&session));
        stream.begin();
        stream.waker().wake();
        assert!(was_kicked(&session), "the next one can be written");
    }

    #[test]
    fn the_end_of_a_finished_stream_is_told_at_once_when_a_subscription_ends_with_it() {
        let session = Arc::new(SessionWake::default());
        let [early, late] =
            [1, 2].map(|number| StreamWake::new(session.clone(), StreamKey(number)));
        for stream in [&early, &late] {
            stream.finish();
        }
        early.waker().wake();
        assert!(session.await_closing(true), "one came before");
        session.take_streams();
        assert!(!session.await_closing(true));
        late.waker().wake();
        assert!(was_kicked(&session));
        session.await_closing(false);
    }
}
