//! A track that streams feed and sessions follow: its log behind one short lock, and who waits for more.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::budget::{Charge, LogBudget};
use super::wake::{SubscriptionWake, WakeList};
use crate::model::{Location, ObjectDatagram, PublishDoneCode, TrackAlias};
use crate::track::{
    ArrivalMark, MalformedTrack, PublisherId, Source, Spared, TrackEnd, TrackLimits, TrackLog,
};
use crate::transport::lock;

/// One track as every session of this process shares it.
#[derive(Debug)]
pub struct Track {
    alias: TrackAlias,
    budget: Option<Arc<LogBudget>>,
    inner: Mutex<Inner>,
    interest: watch::Sender<Interest>,
}

#[derive(Debug)]
struct Inner {
    log: TrackLog,
    waiting: WakeList,
    /// Bytes that the budget was charged with.
    charged: Charge,
}

/// Who wants the track now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Subscriptions attached.
    pub subscriptions: usize,
    /// Those among them with Forward State 1.
    pub forwarding: usize,
}

impl Track {
    /// An empty track. `alias` is its Track Alias in every session that it is delivered to; no two tracks of a process
    /// that meet in one session may share it. At most 2^62 - 1.
    pub fn new(alias: TrackAlias, limits: TrackLimits) -> Arc<Self> {
        Self::make(alias, limits, None)
    }

    /// The same, with a log that shares a budget with those of other tracks.
    pub(super) fn within(
        budget: Arc<LogBudget>,
        alias: TrackAlias,
        limits: TrackLimits,
    ) -> Arc<Self> {
        let track = Self::make(alias, limits, Some(budget));
        track.with_log(|_| ());
        track
    }

    fn make(alias: TrackAlias, limits: TrackLimits, budget: Option<Arc<LogBudget>>) -> Arc<Self> {
        Arc::new(Self {
            alias,
            budget,
            inner: Mutex::new(Inner {
                log: TrackLog::new(alias, limits),
                waiting: WakeList::default(),
                charged: Charge::default(),
            }),
            interest: watch::Sender::default(),
        })
    }

    /// The Track Alias in every session that the track is delivered to.
    pub fn alias(&self) -> TrackAlias {
        self.alias
    }

    /// Largest location that arrived; `None`: none. It moves when an object begins.
    pub fn largest(&self) -> Option<Location> {
        self.lock().log.largest()
    }

    /// Notes the Largest Location that a publisher told of in SUBSCRIBE_OK or PUBLISH, for what later subscribers are told.
    pub fn note_told(&self, publisher: PublisherId, largest: Option<Location>) {
        self.with_log(|log| log.note_told(publisher, largest));
    }

    /// This moment, for [`Admission::Since`](crate::track::Admission::Since).
    pub fn mark(&self) -> ArrivalMark {
        self.lock().log.mark()
    }

    /// Bytes that the log holds, index included.
    pub fn bytes(&self) -> usize {
        self.lock().log.bytes()
    }

    /// Adds a publisher: one upstream subscription, or the local one.
    pub fn add_publisher(&self) -> PublisherId {
        self.lock().log.add_publisher()
    }

    /// The publisher is gone; streams of it that are still read count as reset. When it was the last one the log is
    /// sealed: a later publisher either continues above Largest or starts the track anew.
    pub fn remove_publisher(&self, publisher: PublisherId) {
        self.write(|log| log.remove_publisher(publisher));
    }

    /// MAX_CACHE_DURATION that a publisher told (draft-14 §9.2.1.3): what is older is not begun to be delivered, and not
    /// kept.
    pub fn set_cache_duration(&self, publisher: PublisherId, duration: Option<Duration>) {
        self.write(|log| log.set_cache_duration(publisher, duration));
    }

    /// Takes one object that came as a datagram.
    ///
    /// # Errors
    /// The track is malformed, by this object or before.
    pub fn datagram(&self, datagram: ObjectDatagram) -> Result<(), MalformedTrack> {
        let now = Instant::now().into_std();
        self.write(|log| log.receive_datagram(datagram, now))
    }

    /// Ends the track: subscriptions end with `code` when they have delivered what is there. The first call wins.
    pub fn end(&self, code: PublishDoneCode, reason: &str) {
        self.write(|log| log.end(code, reason));
    }

    /// How the track ended, if it did.
    pub fn ended(&self) -> Option<TrackEnd> {
        self.lock().log.ended().cloned()
    }

    /// Why the track is malformed, if it is.
    pub fn malformed(&self) -> Option<MalformedTrack> {
        self.lock().log.malformed().cloned()
    }

    /// Follows who wants the track.
    pub fn interest(&self) -> watch::Receiver<Interest> {
        self.interest.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// Reads the log, or changes what no reader sees.
    pub(super) fn with_log<R>(&self, f: impl FnOnce(&mut TrackLog) -> R) -> R {
        self.turn(&mut self.lock(), f)
    }

    /// One turn with the log, within the budget.
    fn turn<R>(&self, inner: &mut Inner, f: impl FnOnce(&mut TrackLog) -> R) -> R {
        let Some(budget) = &self.budget else {
            return f(&mut inner.log);
        };
        inner.log.set_tick(budget.tick());
        let result = f(&mut inner.log);
        budget.settle(&mut inner.log, &mut inner.charged);
        result
    }

    /// Lets groups go that were last written before `tick`; returns how many.
    pub(super) fn evict_before(&self, tick: u64, spared: Spared) -> usize {
        let mut groups = 0;
        self.clean(|log| {
            groups = log.evict_before(tick, spared);
            groups > 0
        });
        groups
    }

    /// Lets what is older than MAX_CACHE_DURATION go.
    pub(super) fn expire(&self) {
        let now = Instant::now().into_std();
        self.clean(|log| log.expire(now));
    }

    /// Wakes who follows the track only if something went.
    fn clean(&self, f: impl FnOnce(&mut TrackLog) -> bool) {
        let mut inner = self.lock();
        if self.turn(&mut inner, f) {
            let waiting = inner.waiting.take();
            drop(inner);
            waiting.iter().for_each(SubscriptionWake::wake);
        }
    }

    /// Changes the log and wakes who follows it.
    pub(super) fn write<R>(&self, f: impl FnOnce(&mut TrackLog) -> R) -> R {
        let mut inner = self.lock();
        let result = self.turn(&mut inner, f);
        let waiting = inner.waiting.take();
        drop(inner);
        waiting.iter().for_each(SubscriptionWake::wake);
        result
    }
}

impl Drop for Track {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.release(self.lock().charged);
        }
    }
}

/// A subscription's hold on its track; the track counts it as interest from [`Follow::count`] as long as it lives.
#[derive(Debug)]
pub(super) struct Follow {
    track: Arc<Track>,
    wake: Arc<SubscriptionWake>,
    /// Forward State as it is counted; `None`: not counted yet.
    counted: Mutex<Option<bool>>,
}

impl Follow {
    pub(super) fn new(track: Arc<Track>, wake: Arc<SubscriptionWake>) -> Self {
        Self {
            track,
            wake,
            counted: Mutex::new(None),
        }
    }

    /// The subscription is attached with this Forward State, or has changed to it. Who waits for interest may publish at
    /// once, so this comes after the subscription admits objects.
    pub(super) fn count(&self, forward: bool) {
        let before = self.counted().replace(forward);
        self.track.interest.send_if_modified(|interest| {
            interest.subscriptions += usize::from(before.is_none());
            interest.forwarding += usize::from(forward);
            interest.forwarding -= usize::from(before == Some(true));
            before != Some(forward)
        });
    }

    fn counted(&self) -> MutexGuard<'_, Option<bool>> {
        lock(&self.counted)
    }

    /// The session looks at the track now; later changes are told anew.
    pub(super) fn taken(&self) {
        self.wake.taken();
    }
}

impl Source for Follow {
    fn read<R>(&self, f: impl FnOnce(&TrackLog) -> R) -> R {
        let mut inner = self.track.lock();
        // Under the same lock as the reading, so that no change falls between.
        inner.waiting.add(&self.wake);
        f(&inner.log)
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let mut inner = self.track.lock();
        inner.waiting.remove(&self.wake);
        drop(inner);
        if let Some(forward) = self.counted().take() {
            self.track.interest.send_modify(|interest| {
                interest.subscriptions -= 1;
                interest.forwarding -= usize::from(forward);
            });
        }
    }
}
