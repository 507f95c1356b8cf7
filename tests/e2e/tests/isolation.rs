//! Fifty subscribers on a busy machine, some of whom behave badly: the others do not notice.

#![cfg(all(target_os = "linux", feature = "readers"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use moqtail::client::{Incoming, SubscriptionEnd};
use moqtail::model::PublishDoneCode;
use moqtail_e2e::{Carrier, Host, Steady, Usage, memory_bound, soon, subscribe};
use tokio::{
    task::JoinSet,
    time::{Instant, interval},
};

const HEALTHY: u64 = 47;

/// As much as two cores carry together with all the subscribers, and a little less.
const BUSY: Steady = Steady {
    rate: if cfg!(debug_assertions) { 25 } else { 100 },
    len: 10_000,
    seconds: 20,
};

async fn isolation(carrier: Carrier) {
    let host = Host::start(carrier);
    let (_publisher, _publication, track) = host.publisher("busy").await;
    let usage = Usage::of(host.relay().process().id());
    let mut healthy = JoinSet::new();
    let mut misbehaving = JoinSet::new();
    let epoch = Instant::now();
    for _ in 0..HEALTHY {
        let client = host.client().await;
        let mut objects = subscribe(&client, "busy").await.into_objects();
        healthy.spawn(async move {
            let latency = BUSY.read(&mut objects, epoch).await;
            drop(client);
            latency
        });
    }
    let stalled_client = host.client().await;
    let stalled = subscribe(&stalled_client, "busy").await;
    let slow_client = host.client().await;
    let mut slow = subscribe(&slow_client, "busy").await;
    misbehaving.spawn(async move {
        // 1 Mbit/s.
        let mut tick = interval(Duration::from_secs(1) * 8 * BUSY.len as u32 / 1_000_000);
        while let Some(Incoming::Subgroup(mut stream)) = slow.next().await {
            while let Ok(Some(object)) = stream.next_object().await {
                BUSY.check(&object);
                tick.tick().await;
            }
        }
        drop(slow_client);
    });
    let churning_client = host.client().await;
    misbehaving.spawn(async move {
        let mut tick = interval(Duration::from_millis(5));
        loop {
            tick.tick().await;
            drop(subscribe(&churning_client, "busy").await);
        }
    });
    let peak = usage.watch();
    let (begun, cpu) = (Instant::now(), usage.cpu());
    BUSY.publish(&track, epoch).await;
    let mut worst = Duration::ZERO;
    let mut p99 = Vec::new();
    while let Some(latency) = soon("a healthy reader", healthy.join_next()).await {
        let latency = latency.unwrap();
        worst = worst.max(latency.max);
        p99.push(latency.p99);
    }
    let took = begun.elapsed();
    let cores = (usage.cpu() - cpu).as_secs_f64() / took.as_secs_f64();
    p99.sort_unstable();
    let (median, most) = (p99[p99.len() / 2], p99[p99.len() - 1]);
    println!(
        "{HEALTHY} healthy of 50, {} objects each: p99 {median:?} (median reader), {most:?} (worst reader), max {worst:?}; \
         {took:?}; relay: {cores:.2} cores, {} kB at most",
        BUSY.objects(),
        peak.bytes() / 1000
    );
    assert!(most < Duration::from_secs(2), "{most:?}");
    assert!(peak.bytes() < memory_bound(51), "{} bytes", peak.bytes());
    misbehaving.shutdown().await;
    // Whoever was too slow was told so.
    if let Some(SubscriptionEnd::Done { status, .. }) = stalled.end() {
        assert_eq!(status, PublishDoneCode::TOO_FAR_BEHIND);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_readers_do_not_notice_bad_ones_over_quic() {
    isolation(Carrier::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_readers_do_not_notice_bad_ones_over_webtransport() {
    isolation(Carrier::Web).await;
}
