//! Slow and odd readers beside healthy ones, for as long as it takes in real time. The relay is a process of its own;
//! its memory is looked at from outside.

#![cfg(all(target_os = "linux", feature = "readers"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use moqtail::{
    client::{
        Client, Incoming, LocalTrack, Object, Objects, SubgroupOptions, SubscribeOptions,
        Subscription, SubscriptionEnd,
    },
    model::{Extensions, PublishDoneCode},
};
use moqtail_e2e::{Carrier, Host, PATIENCE, Usage};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

/// What the relay may hold: the log of one track, and what is on its way in each session; and what a process needs.
const fn memory_bound(sessions: u64) -> u64 {
    const LOG: u64 = 32 << 20;
    const SESSION: u64 = 2 * (256 << 10);
    const PROCESS: u64 = 32_000_000;
    LOG + sessions * SESSION + PROCESS
}

/// A live track: so many objects a second of so many bytes, in groups of 2 s.
#[derive(Clone, Copy)]
struct Media {
    rate: u32,
    len: usize,
    seconds: u32,
}

/// 8 Mbit/s.
const HD: Media = Media {
    rate: 40,
    len: 25_000,
    seconds: 30,
};

impl Media {
    fn objects(self) -> u64 {
        u64::from(self.rate * self.seconds)
    }

    fn per_group(self) -> u64 {
        u64::from(2 * self.rate)
    }

    async fn publish(self, track: &LocalTrack, epoch: Instant) {
        let mut tick = interval(Duration::from_secs(1) / self.rate);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for first in (0..self.objects()).step_by(self.per_group() as usize) {
            let group = first / self.per_group();
            let mut subgroup = track.subgroup(SubgroupOptions::new(group)).unwrap();
            for object in 0..self.per_group() {
                tick.tick().await;
                let mut payload = BytesMut::zeroed(self.len - 8);
                payload.fill((group + object) as u8);
                payload.put_u64(epoch.elapsed().as_micros() as u64);
                subgroup
                    .object(object, &Extensions::default(), payload.freeze())
                    .unwrap();
            }
            subgroup.finish().unwrap();
        }
    }

    /// Checks that an object is what was published.
    fn check(self, object: &Object) {
        let fill = (object.group + object.object) as u8;
        assert_eq!(object.payload.len(), self.len);
        let body = &object.payload[..self.len - 8];
        assert!(body.iter().all(|byte| *byte == fill), "corrupted");
    }

    /// Reads everything, in order, and tells how long each object took.
    async fn read(self, objects: &mut Objects, epoch: Instant) -> Latency {
        let mut all = Vec::new();
        let mut next: BTreeMap<u64, u64> = BTreeMap::new();
        while (all.len() as u64) < self.objects() {
            let object = soon("an object", objects.next()).await.unwrap().unwrap();
            let now = epoch.elapsed();
            self.check(&object);
            let expected = next.entry(object.group).or_default();
            assert_eq!(object.object, *expected, "group {}", object.group);
            *expected += 1;
            let stamp = object.payload[self.len - 8..].try_into().unwrap();
            all.push(now.saturating_sub(Duration::from_micros(u64::from_be_bytes(stamp))));
        }
        Latency::of(all)
    }
}

/// How long objects were on their way.
#[derive(Debug)]
struct Latency {
    p50: Duration,
    p99: Duration,
    max: Duration,
}

impl Latency {
    fn of(mut all: Vec<Duration>) -> Self {
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
    fn check(&self) {
        assert!(self.p50 < Duration::from_millis(100), "{self:?}");
        assert!(self.p99 < Duration::from_secs(1), "{self:?}");
    }
}

async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited too long for {what}"),
    }
}

async fn subscribe(client: &Client, track: &str) -> Subscription {
    let name = format!("live#{track}").parse().unwrap();
    soon(
        "an answer",
        client.subscribe(name, SubscribeOptions::default()),
    )
    .await
    .unwrap()
}

/// Waits until the subscription is over.
async fn end(subscription: &Subscription) -> SubscriptionEnd {
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

/// A subscriber that reads nothing for 30 s of 8 Mbit/s. S9.12-18: it ends with TOO_FAR_BEHIND, what it got is not
/// corrupted; the other one does not notice, and the relay holds no more than it may.
async fn stalled(carrier: Carrier) {
    let host = Host::start(carrier);
    let (_publisher, _publication, track) = host.publisher("video").await;
    let (good, bad) = (host.client().await, host.client().await);
    let mut healthy = subscribe(&good, "video").await.into_objects();
    let mut stalled = subscribe(&bad, "video").await;
    let memory = Usage::of(host.relay().process().id()).watch();
    let epoch = Instant::now();
    let (_, latency) = tokio::join!(HD.publish(&track, epoch), HD.read(&mut healthy, epoch));
    println!(
        "healthy reader: {latency:?}; relay: {} kB at most",
        memory.bytes() / 1000
    );
    latency.check();
    assert!(memory.bytes() < memory_bound(3), "{} bytes", memory.bytes());
    let status = match end(&stalled).await {
        SubscriptionEnd::Done { status, .. } => status,
        other => panic!("{other:?}"),
    };
    assert_eq!(status, PublishDoneCode::TOO_FAR_BEHIND);
    let mut seen = 0;
    while let Some(Incoming::Subgroup(mut stream)) = soon("a stream", stalled.next()).await {
        let mut next = 0;
        while let Ok(object) = soon("an object", stream.next_object()).await {
            let Some(object) = object else {
                assert_eq!(next, HD.per_group(), "FIN on an incomplete subgroup");
                break;
            };
            HD.check(&object);
            assert_eq!(object.object, next);
            next += 1;
            seen += 1;
        }
    }
    println!("stalled reader: {seen} whole objects");
    // The session is as good as new.
    let mut again = subscribe(&bad, "video").await.into_objects();
    let mut subgroup = track.subgroup(SubgroupOptions::new(1000)).unwrap();
    subgroup
        .object(0, &Extensions::default(), Bytes::from_static(b"on"))
        .unwrap();
    let object = soon("an object", again.next()).await.unwrap().unwrap();
    assert_eq!((object.group, &object.payload[..]), (1000, &b"on"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_for_30_s_hurts_only_itself_over_quic() {
    stalled(Carrier::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_for_30_s_hurts_only_itself_over_webtransport() {
    stalled(Carrier::Web).await;
}

/// Viewers that come and go 200 times a second for 20 s, beside one who watches and loses nothing.
async fn churn(carrier: Carrier) {
    const VIEWERS: u32 = 4;
    const TIMES: u32 = 1000;
    let media = Media { seconds: 20, ..HD };
    let host = Host::start(carrier);
    let (_publisher, _publication, track) = host.publisher("video").await;
    let client = host.client().await;
    let mut watcher = subscribe(&client, "video").await.into_objects();
    let usage = Usage::of(host.relay().process().id());
    let memory = usage.watch();
    let epoch = Instant::now();
    let mut viewers = JoinSet::new();
    for _ in 0..VIEWERS {
        let client = host.client().await;
        viewers.spawn(async move {
            let mut tick = interval(Duration::from_secs(20) / TIMES);
            for _ in 0..TIMES {
                tick.tick().await;
                drop(subscribe(&client, "video").await);
            }
        });
    }
    let (_, latency) = tokio::join!(
        media.publish(&track, epoch),
        media.read(&mut watcher, epoch)
    );
    soon("the viewers", async {
        while viewers.join_next().await.transpose().unwrap().is_some() {}
    })
    .await;
    println!(
        "watcher: {latency:?}; {} subscriptions in {:?}; relay: {} kB at most",
        VIEWERS * TIMES,
        epoch.elapsed(),
        memory.bytes() / 1000
    );
    latency.check();
    assert!(memory.bytes() < memory_bound(6), "{} bytes", memory.bytes());
    assert_eq!(track.track().interest().borrow().subscriptions, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_that_come_and_go_200_times_a_second_cost_nobody_an_object_over_quic() {
    churn(Carrier::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_that_come_and_go_200_times_a_second_cost_nobody_an_object_over_webtransport() {
    churn(Carrier::Web).await;
}

/// Nothing is published for 17 s; then the subgroup goes on, on the stream it was on.
async fn silence(carrier: Carrier) {
    let host = Host::start(carrier);
    let (_publisher, _publication, track) = host.publisher("rare").await;
    let client = host.client().await;
    let mut viewer = subscribe(&client, "rare").await;
    let mut subgroup = track.subgroup(SubgroupOptions::new(1)).unwrap();
    let mut publish = |object| {
        let payload = Bytes::from(vec![object as u8; 1000]);
        subgroup
            .object(object, &Extensions::default(), payload)
            .unwrap();
    };
    publish(0);
    let Some(Incoming::Subgroup(mut stream)) = soon("a stream", viewer.next()).await else {
        panic!("a stream");
    };
    assert_eq!(
        soon("an object", stream.next_object())
            .await
            .unwrap()
            .unwrap()
            .object,
        0
    );
    // The silence is what is tested.
    sleep(Duration::from_secs(17)).await;
    for object in 1..4 {
        publish(object);
        let next = soon("an object", stream.next_object())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (next.object, &next.payload[..]),
            (object, &vec![object as u8; 1000][..])
        );
    }
    subgroup.finish().unwrap();
    assert_eq!(soon("the end", stream.next_object()).await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subgroup_goes_on_after_17_s_of_silence_over_quic() {
    silence(Carrier::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subgroup_goes_on_after_17_s_of_silence_over_webtransport() {
    silence(Carrier::Web).await;
}
