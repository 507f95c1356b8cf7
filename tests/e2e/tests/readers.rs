//! Slow and odd readers beside healthy ones, for as long as it takes in real time. The relay is a process of its own;
//! its memory is looked at from outside.

#![cfg(all(target_os = "linux", feature = "readers"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use bytes::Bytes;
use moqtail::{
    client::{Incoming, SubgroupOptions, SubscriptionEnd},
    model::{Extensions, PublishDoneCode},
};
use moqtail_e2e::{Carrier, HD, Host, Steady, Usage, end, memory_bound, soon, subscribe};
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep},
};

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
    let media = Steady { seconds: 20, ..HD };
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
