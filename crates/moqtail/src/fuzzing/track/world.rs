//! One track, its publishers, and one session that follows it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    content::Content,
    history::History,
    log::{Follow, SharedLog},
    reader::Reader,
    reading::Reading,
    sending::Sending,
    wire::{Ask, End, Wire},
};
use crate::model::{Location, PublishDoneCode, TrackAlias};
use crate::track::{
    ArrivalMark, Delivery, DeliveryEvent, DeliveryLimits, PublisherId, SubscriptionId, TrackLimits,
    TrackLog,
};

pub(super) const DOWNSTREAM: TrackAlias = TrackAlias(1000);

/// What kind of world it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) track: TrackLimits,
    pub(super) delivery: DeliveryLimits,
    /// Publishers contradict each other.
    pub(super) lies: bool,
    /// The track travels in datagrams.
    pub(super) datagrams: bool,
    /// The log keeps everything.
    pub(super) keeps: bool,
    /// The log remembers everything, kept or not.
    pub(super) remembers: bool,
}

impl Setting {
    /// What two bytes say.
    pub(super) fn new(a: u8, b: u8) -> Self {
        let bit = |byte: u8, at: u8| byte >> at & 1 == 1;
        let all = 1 << 40;
        let mut track = TrackLimits {
            max_bytes: [all, 2000, 6000, 20_000][usize::from(b & 3)],
            max_datagrams: all,
            max_remembered_groups: all,
            max_ranges: all,
            max_held_bytes: all,
            max_runs: all,
            max_searched_runs: all,
            max_streams: 12,
        };
        if bit(a, 0) {
            track = TrackLimits {
                max_bytes: track.max_bytes,
                max_datagrams: 3,
                max_remembered_groups: 2,
                max_ranges: 3,
                max_held_bytes: 500,
                max_runs: 3,
                max_searched_runs: 4,
                max_streams: 8,
            };
        }
        let mut delivery = DeliveryLimits {
            lag_bytes: if bit(a, 1) { 1000 } else { 1 << 40 },
            skip_groups: bit(a, 2),
            default_timeout: bit(a, 3).then_some(Duration::from_secs(2)),
            reset_delay: Duration::from_millis(if bit(a, 6) { 200 } else { 0 }),
            max_closing: if bit(a, 7) { 2 } else { 4096 },
            max_waiting_datagrams: if bit(b, 3) { 3 } else { all },
            ..DeliveryLimits::default()
        };
        if bit(b, 2) {
            delivery.in_flight_bytes = 200;
            delivery.quantum_bytes = 50;
            delivery.turn_steps = 3;
        }
        if bit(b, 3) {
            delivery.max_waiting_runs = 4;
        }
        Self {
            track,
            delivery,
            lies: bit(a, 4),
            datagrams: bit(a, 5),
            keeps: !bit(a, 0) && b & 3 == 0,
            remembers: !bit(a, 0),
        }
    }

    /// A session with many datagrams that wait drops some.
    pub(super) fn drops_datagrams(&self) -> bool {
        self.delivery.max_waiting_datagrams < 10
    }
}

pub(super) struct World {
    pub(super) setting: Setting,
    pub(super) content: Content,
    pub(super) log: SharedLog,
    pub(super) delivery: Delivery<Follow>,
    pub(super) wire: Wire,
    pub(super) now: Instant,
    begun: Instant,
    pub(super) publishers: Vec<PublisherId>,
    pub(super) sendings: Vec<Sending>,
    pub(super) readers: BTreeMap<SubscriptionId, Reader>,
    pub(super) history: History,
    pub(super) reading: Reading,
    /// A moment that subscriptions may begin at: in the log, in the history, and Largest then.
    pub(super) mark: (ArrivalMark, u64, Option<Location>),
    /// Everything was kept.
    pub(super) keeps: bool,
    /// Everything is remembered.
    pub(super) remembers: bool,
    /// Objects may be too old to be sent.
    pub(super) ages: bool,
    /// The session is to have another turn soon.
    more: bool,
    /// Streams that are attributed to their subscriptions.
    attributed: usize,
    /// Objects that came and streams that were served, which is what work may cost.
    pub(super) work: usize,
    /// How many datagrams were handed over in which life of the track.
    pub(super) datagram_epochs: Vec<u64>,
}

impl World {
    pub(super) fn new(setting: Setting, now: Instant) -> Self {
        let mut log = TrackLog::new(DOWNSTREAM, setting.track);
        let publishers = vec![log.add_publisher()];
        let mark = (log.mark(), 0, None);
        Self {
            setting,
            content: Content::default(),
            log: SharedLog::new(log),
            delivery: Delivery::new(setting.delivery),
            wire: Wire::new(),
            now,
            begun: now,
            publishers,
            sendings: Vec::new(),
            readers: BTreeMap::new(),
            history: History::default(),
            reading: Reading::default(),
            mark,
            keeps: setting.keeps,
            remembers: setting.remembers,
            ages: false,
            more: true,
            attributed: 0,
            work: 0,
            datagram_epochs: Vec::new(),
        }
    }

    /// Changes the log; who has read it is told.
    pub(super) fn write<R>(&mut self, f: impl FnOnce(&mut TrackLog) -> R) -> R {
        let (result, armed) = self.log.write(f);
        for id in armed {
            self.wire.wake.change(id);
        }
        result
    }

    /// Lets things go; who has read the log is told if anything went.
    pub(super) fn clean(&mut self, f: impl FnOnce(&mut TrackLog) -> bool) {
        if self.log.with(f) {
            self.keeps = false;
            self.write(|_| ());
        }
    }

    /// Time passes, or an operation comes.
    pub(super) fn tick(&mut self) {
        self.history.now += 1;
        self.history.elapsed = self.now - self.begun;
    }

    /// Subscriptions that have not ended.
    pub(super) fn alive(&self) -> Vec<SubscriptionId> {
        let readers = self.readers.iter();
        readers
            .filter(|(_, reader)| reader.is_alive())
            .map(|(id, _)| *id)
            .collect()
    }

    /// The session has a turn: it looks at all causes and sends.
    pub(super) fn turn(&mut self) {
        let (delivery, wire) = (&mut self.delivery, &mut self.wire);
        for id in wire.wake.take_changed() {
            delivery.changed(id);
        }
        for key in wire.wake.take_streams() {
            delivery.woken(key, wire);
        }
        let ask = match delivery.awaits_closing() {
            true => Ask::All,
            false => Ask::Oldest,
        };
        while let Some(key) = wire.next_closed(ask) {
            delivery.over(key, wire);
        }
        if wire.wake.take_credit() {
            delivery.credit();
        }
        if wire.wake.take_datagrams() {
            delivery.datagrams();
        }
        let more = self.service();
        let awaited = self.delivery.awaits_closing();
        let closed_meanwhile =
            self.wire.wake.await_closing(awaited) || (awaited && self.wire.has_unasked());
        self.more = more || closed_meanwhile;
    }

    /// Sends what can be sent. True: there is more to do.
    fn service(&mut self) -> bool {
        let epoch = self.history.epoch;
        for reader in self.readers.values_mut().filter(|reader| reader.is_alive()) {
            reader.turn(epoch);
        }
        self.wire.blocked = 0;
        let before = self.wire.actions;
        let more = self.delivery.service(self.now, &mut self.wire);
        self.work += 1 + self.alive().len() + self.wire.actions - before + self.wire.blocked;
        self.take_events();
        let datagrams = self.wire.datagrams.len();
        self.datagram_epochs.resize(datagrams, epoch);
        let limits = &self.setting.delivery;
        let most = limits.in_flight_bytes + limits.quantum_bytes;
        let staged = self.delivery.staged();
        assert!(
            staged <= most || self.wire.gone,
            "{staged} bytes are taken out"
        );
        let closing = self.wire.named(End::Finished).len();
        assert!(
            closing <= limits.max_closing,
            "too many streams are closing"
        );
        let refused = self.delivery.refused_datagrams();
        let dropped = refused.checked_sub(self.wire.refused);
        let may_drop = self.setting.drops_datagrams();
        let most = self.setting.delivery.max_waiting_datagrams;
        let waiting = self.delivery.waiting_datagrams();
        assert!(waiting <= 2 * most, "{waiting} datagrams wait");
        assert!(dropped.is_some_and(|dropped| dropped == 0 || may_drop));
        more
    }

    /// Whether the session does not sleep.
    pub(super) fn is_awake(&mut self) -> bool {
        let due = self.delivery.deadline().is_some_and(|due| due <= self.now);
        self.wire.wake.take_kick() || self.more || due
    }

    /// The session has turns until it sleeps.
    pub(super) fn serve(&mut self) {
        let mut turns = 0;
        while self.is_awake() {
            self.turn();
            turns += 1;
            assert!(turns < 10_000, "it never rests");
        }
    }

    /// The session sleeps, and with all causes at once there is nothing to do for it.
    pub(super) fn expect_rest(&mut self) {
        self.serve();
        if self.wire.gone || self.wire.blocked >= self.setting.delivery.max_blocked_probes {
            return;
        }
        // Which of very many streams have left the log may be found out some time later.
        let soon = self.now + Duration::from_millis(100);
        if self.delivery.deadline().is_some_and(|due| due <= soon) {
            return;
        }
        let actions = self.wire.actions;
        for id in self.alive() {
            self.delivery.changed(id);
        }
        for key in self.wire.named(End::Open) {
            // That an idle stream was stopped is asked for some time later, and what a stream without window missed is
            // found when it takes something again.
            let at = self.wire.behind(key);
            if at.is_some_and(|at| self.wire.streams[at].takes_more()) {
                self.delivery.woken(key, &mut self.wire);
            }
        }
        self.delivery.credit();
        self.delivery.datagrams();
        let ended = self.alive().len();
        self.more = self.service();
        self.serve();
        assert_eq!(self.wire.actions, actions, "nobody would have been woken");
        assert_eq!(self.alive().len(), ended, "nobody would have been told");
    }

    pub(super) fn take_events(&mut self) {
        while let Some(event) = self.delivery.poll_event() {
            match event {
                DeliveryEvent::Streams {
                    subscription,
                    opened,
                    closed,
                } => {
                    let reader = self.readers.get_mut(&subscription).expect("a reader");
                    for _ in 0..opened {
                        reader.open(self.attributed, self.history.epoch);
                        self.attributed += 1;
                    }
                    reader.closed += closed;
                }
                DeliveryEvent::Ended {
                    subscription,
                    code,
                    reason,
                    streams,
                } => {
                    self.check_end(subscription, code, &reason);
                    let reader = self.readers.get_mut(&subscription).expect("a reader");
                    assert!(reader.is_alive(), "ended twice");
                    reader.ended = Some(Some(code));
                    assert_eq!(reader.opened, streams, "streams that it never had");
                    assert_eq!(reader.closed, streams, "ended with open streams");
                    for stream in &reader.streams {
                        let stream = &self.wire.streams[stream.at];
                        assert!(stream.released, "ended with open streams");
                    }
                }
            }
        }
        assert_eq!(self.attributed, self.wire.streams.len(), "streams untold");
    }

    /// Whether a subscription may end like that.
    fn check_end(&self, id: SubscriptionId, code: PublishDoneCode, reason: &str) {
        let reader = &self.readers[&id];
        let limits = &self.setting.delivery;
        let (ended, malformed) = self
            .log
            .with(|log| (log.ended().is_some(), log.malformed().is_some()));
        let may = match code {
            PublishDoneCode::TRACK_ENDED => ended,
            PublishDoneCode::MALFORMED_TRACK => malformed,
            PublishDoneCode::SUBSCRIPTION_ENDED => {
                let from = reader.may_end(&self.history, limits.range_grace);
                from.is_some_and(|from| from <= self.now - self.begun)
            }
            PublishDoneCode::TOO_FAR_BEHIND => {
                let crowded = limits.max_waiting_runs < 100;
                let leaves_out = limits.skip_groups || limits.default_timeout.is_some();
                // How old what left was is not always known.
                !leaves_out && (!self.keeps || self.ages || crowded || limits.lag_bytes < 1 << 20)
            }
            _ => code == CANCELLED,
        };
        assert!(may, "ended with {code}: {reason}");
    }
}

/// How subscriptions end that are ended from this side.
pub(super) const CANCELLED: PublishDoneCode = PublishDoneCode::GOING_AWAY;
