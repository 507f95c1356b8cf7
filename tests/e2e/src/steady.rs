//! A live track of objects that tell when they were published, and reading it with care.

use std::{collections::BTreeMap, time::Duration};

use bytes::{BufMut as _, BytesMut};
use moqtail::{
    client::{
        Client, LocalTrack, Object, Objects, SubgroupOptions, SubscribeOptions, Subscription,
        SubscriptionEnd,
    },
    model::Extensions,
};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::PATIENCE;

/// What is on its way in one session at most, and what its own side of the connection holds.
const SESSION: u64 = 2 * (256 << 10);

/// What a process needs.
const PROCESS: u64 = 32_000_000;

/// What the relay may hold: the log of one track, and what is on its way in each session; and what a process needs.
pub const fn memory_bound(sessions: u64) -> u64 {
    const LOG: u64 = 48 << 20;
    LOG + sessions * SESSION + PROCESS
}

/// What a relay is told to keep at most: so little that a broadcast of half a minute is several times as large.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes of the log of a track.
    pub log: u64,
    /// Bytes that a subscription may be behind.
    pub lag: u64,
}

/// More than two groups of [`HD`].
pub const SMALL: Budget = Budget {
    log: 8 << 20,
    lag: 4 << 20,
};

impl Budget {
    /// The arguments that tell it to `moqtail relay`.
    pub fn arguments(self) -> [String; 4] {
        let Self { log, lag } = self;
        [
            "--max-track-bytes",
            &log.to_string(),
            "--lag-bytes",
            &lag.to_string(),
        ]
        .map(str::to_owned)
    }

    /// What a relay that keeps one track within it may grow by while it serves so many sessions.
    pub const fn growth(self, sessions: u64) -> u64 {
        self.log + sessions * SESSION + PROCESS
    }
}

/// A live track: so many objects a second of so many bytes, in groups of a second.
#[derive(Clone, Copy, Debug)]
pub struct Steady {
    /// Objects a second.
    pub rate: u32,
    /// Bytes of an object.
    pub len: usize,
    /// How long it takes.
    pub seconds: u32,
}

/// 24 Mbit/s for 30 s: a group is larger than a stream may hold unread, and all of them are more than twice what a relay
/// of a [`SMALL`] budget may grow by.
pub const HD: Steady = Steady {
    rate: 40,
    len: 75_000,
    seconds: 30,
};

impl Steady {
    /// Objects in all.
    pub fn objects(self) -> u64 {
        u64::from(self.rate * self.seconds)
    }

    /// Objects of a group.
    pub fn per_group(self) -> u64 {
        u64::from(self.rate)
    }

    /// Publishes it; each object carries its time since `epoch`.
    ///
    /// # Panics
    /// If the track does not take it.
    pub async fn publish(self, track: &LocalTrack, epoch: Instant) {
        let mut tick = interval(Duration::from_secs(1) / self.rate);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for first in (0..self.objects()).step_by(self.per_group() as usize) {
            let group = first / self.per_group();
            let mut subgroup = track
                .subgroup(SubgroupOptions::new(group))
                .expect("the test goes on");
            for object in 0..self.per_group() {
                tick.tick().await;
                let mut payload = BytesMut::zeroed(self.len - 8);
                payload.fill((group + object) as u8);
                payload.put_u64(epoch.elapsed().as_micros() as u64);
                subgroup
                    .object(object, &Extensions::default(), payload.freeze())
                    .expect("the test goes on");
            }
            subgroup.finish().expect("the test goes on");
        }
    }

    /// Checks that an object is what was published.
    ///
    /// # Panics
    /// If it is not.
    pub fn check(self, object: &Object) {
        let fill = (object.group + object.object) as u8;
        assert_eq!(object.payload.len(), self.len);
        let body = &object.payload[..self.len - 8];
        assert!(body.iter().all(|byte| *byte == fill), "corrupted");
    }

    /// Reads everything, in order, and tells how long the objects took.
    ///
    /// # Panics
    /// If anything is missing.
    pub async fn read(self, objects: &mut Objects, epoch: Instant) -> Latency {
        let mut all = Vec::new();
        let mut next: BTreeMap<u64, u64> = BTreeMap::new();
        while (all.len() as u64) < self.objects() {
            let object = soon("an object", objects.next())
                .await
                .expect("the test goes on")
                .expect("the test goes on");
            let now = epoch.elapsed();
            self.check(&object);
            let expected = next.entry(object.group).or_default();
            assert_eq!(object.object, *expected, "group {}", object.group);
            *expected += 1;
            let stamp = object.payload[self.len - 8..]
                .try_into()
                .expect("the test goes on");
            all.push(now.saturating_sub(Duration::from_micros(u64::from_be_bytes(stamp))));
        }
        Latency::of(all)
    }
}

/// How long objects were on their way.
#[derive(Debug)]
pub struct Latency {
    /// The median.
    pub p50: Duration,
    /// Of the slowest hundredth.
    pub p99: Duration,
    /// Of the slowest.
    pub max: Duration,
}

impl Latency {
    /// Of these times.
    ///
    /// # Panics
    /// If there are none.
    pub fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |part: usize| all[(all.len() - 1) * part / 100];
        Self {
            p50: at(50),
            p99: at(99),
            max: at(100),
        }
    }

    /// Far above what a reader at rest sees, far below what one behind a stalled reader would see; for machines that do
    /// other work meanwhile.
    ///
    /// # Panics
    /// If objects took longer.
    pub fn check(&self) {
        assert!(self.p50 < Duration::from_millis(100), "{self:?}");
        assert!(self.p99 < Duration::from_secs(1), "{self:?}");
    }
}

/// Waits as long as a test waits.
///
/// # Panics
/// If that was not enough.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited too long for {what}"),
    }
}

/// Subscribes to a track of the broadcast `live`.
///
/// # Panics
/// If it is refused.
pub async fn subscribe(client: &Client, track: &str) -> Subscription {
    let name = format!("live#{track}").parse().expect("the test goes on");
    soon(
        "an answer",
        client.subscribe(name, SubscribeOptions::default()),
    )
    .await
    .expect("the test goes on")
}

/// Waits until the subscription is over.
///
/// # Panics
/// If it is not.
pub async fn end(subscription: &Subscription) -> SubscriptionEnd {
    let mut look = interval(Duration::from_millis(20));
    soon("the end of the subscription", async {
        loop {
            if let Some(end) = subscription.end() {
                return end;
            }
            look.tick().await;
        }
    })
    .await
}
