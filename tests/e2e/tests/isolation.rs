//! Fifty subscribers on a busy machine, some of whom behave badly: the others do not notice.

#![cfg(all(target_os = "linux", feature = "readers"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use moqtail::client::{ClientConfig, Incoming, SubscriptionEnd};
use moqtail::model::PublishDoneCode;
use moqtail_e2e::{
    Budget, Carrier, Host, Process, Relay, Steady, Usage, end, memory_bound, soon, subscribe,
};
use serde_json::Value;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, interval},
};

const HEALTHY: u64 = 47;

/// So little that who is slow for seconds is too slow.
const BUDGET: Budget = Budget {
    log: 2 << 20,
    lag: 1 << 20,
};

/// As much as two cores carry together with all the subscribers, and a little less.
const BUSY: Steady = Steady {
    rate: if cfg!(debug_assertions) { 25 } else { 100 },
    len: 10_000,
    seconds: 20,
};

async fn isolation(carrier: Carrier) {
    let host = Host::within(BUDGET, carrier);
    let (_publisher, _publication, track) = host.publisher("busy").await;
    let usage = Usage::of(host.relay().process().id());
    let mut healthy = JoinSet::new();
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
    let mut narrow = ClientConfig::default();
    narrow.transport.stream_window = 16_000;
    let stalled_client = host.client_with(narrow.clone()).await;
    let stalled = subscribe(&stalled_client, "busy").await;
    let slow_client = host.client_with(narrow).await;
    let mut slow = subscribe(&slow_client, "busy").await;
    let mut slow_reader = JoinSet::new();
    slow_reader.spawn(async move {
        // 1 Mbit/s.
        let mut tick = interval(Duration::from_secs(1) * 8 * BUSY.len as u32 / 1_000_000);
        let mut seen = 0;
        while let Some(Incoming::Subgroup(mut stream)) = slow.next().await {
            let mut next = 0;
            while let Ok(object) = stream.next_object().await {
                let Some(object) = object else {
                    assert_eq!(next, BUSY.per_group(), "FIN on an incomplete subgroup");
                    break;
                };
                BUSY.check(&object);
                assert_eq!(object.object, next);
                next += 1;
                tick.tick().await;
            }
            seen += next;
        }
        drop(slow_client);
        (seen, slow.end())
    });
    let churning_client = host.client().await;
    let (over, mut leave) = watch::channel(false);
    let mut churning = JoinSet::new();
    churning.spawn(async move {
        let mut tick = interval(Duration::from_millis(5));
        let mut joined = 0;
        while !*leave.borrow_and_update() {
            tick.tick().await;
            drop(subscribe(&churning_client, "busy").await);
            joined += 1;
        }
        joined
    });
    let (before, peak) = (usage.resident(), usage.watch());
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
    over.send_replace(true);
    let joined = soon("the churning viewer", churning.join_all()).await[0];
    let (seen, slow_end) = soon("the slow reader", slow_reader.join_all())
        .await
        .remove(0);
    let grown = peak.bytes() - before;
    println!(
        "{HEALTHY} healthy of 50, {} objects each: p99 {median:?} (median reader), {most:?} (worst reader), max {worst:?}; \
         {took:?}; relay: {cores:.2} cores, {} kB more at most; the slow reader took {seen}, {joined} came and went",
        BUSY.objects(),
        grown / 1000
    );
    assert!(most < Duration::from_secs(2), "{most:?}");
    assert!(grown < BUDGET.growth(51), "{grown} bytes");
    assert!(joined > u64::from(BUSY.seconds), "{joined} came and went");
    // Whoever was too slow was told so, and what it got until then was whole.
    assert!(seen > 0 && seen < BUSY.objects(), "{seen}");
    for end in [slow_end, Some(end(&stalled).await)] {
        let Some(SubscriptionEnd::Done { status, .. }) = end else {
            panic!("{end:?}");
        };
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

/// As fast as the slowest healthy reader takes it, with a reader that never reads, one that reads a tenth and one that
/// comes and goes: the others lose nothing, and those who are too slow are told so.
fn saturated(url: fn(&Relay) -> String) {
    const READERS: u64 = 8;
    let relay = Relay::start();
    let pid = relay.process().id();
    let load = format!(
        "-n {READERS} --stalled 1 --slow 1 --churning 1 --saturate --size 10000 --objects-per-group 30 \
         --duration 20s --json --relay-pid {pid}"
    );
    let url = url(&relay);
    let bench = Process::moqtail(["bench", &url].into_iter().chain(load.split_whitespace()));
    let finished = bench.finish();
    assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
    let result: Value = serde_json::from_str(&finished.stdout_text()).unwrap();
    println!("{result}");
    let delivery = &result["delivery"];
    for none in ["lost", "duplicates", "reset_streams"] {
        assert_eq!(delivery[none], 0, "{none}");
    }
    assert_eq!(delivery["ended_early"], Value::Object(Default::default()));
    let peak = result["relay"]["peak_resident_bytes"].as_u64().unwrap();
    // At full load all of it is in use, and more is resident than counts: three tenths at most.
    assert!(peak < memory_bound(1 + READERS) * 13 / 10, "{peak} bytes");
    for behaviour in ["stalled", "slow"] {
        let ended = result["misbehaving"][behaviour]["ended"]
            .as_object()
            .unwrap();
        assert!(!ended.is_empty(), "{behaviour}");
        for reason in ended.keys() {
            assert!(
                reason.starts_with("TOO_FAR_BEHIND"),
                "{behaviour}: {reason}"
            );
        }
    }
    assert!(result["misbehaving"]["churning"]["joined"].as_u64() > Some(100));
}

#[test]
fn healthy_readers_do_not_notice_bad_ones_at_full_load_over_quic() {
    saturated(Relay::quic);
}

#[test]
fn healthy_readers_do_not_notice_bad_ones_at_full_load_over_webtransport() {
    saturated(Relay::web);
}
