//! Slow and odd readers beside healthy ones, for as long as it takes in real time. The relay is a process of its own;
//! its memory is looked at from outside.

#![cfg(all(target_os = "linux", feature = "readers"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use moqtail::{
    client::{
        ClientConfig, Incoming, ReadError, SubgroupOptions, SubgroupReader, Subscription,
        SubscriptionEnd,
    },
    model::{Extensions, PublishDoneCode, SessionCode},
};
use moqtail_e2e::{
    Budget, Carrier, HD, Host, PATIENCE, SMALL, Steady, Usage, end, soon, subscribe,
};
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep, timeout},
};

/// Reads a subgroup, every byte of it, to its end or until `count` objects are read; returns how many.
async fn read(stream: &mut SubgroupReader, count: u64) -> Result<u64, ReadError> {
    for next in 0..count {
        let Some(object) = soon("an object", stream.next_object()).await? else {
            return Ok(next);
        };
        HD.check(&object);
        assert_eq!(object.object, next);
    }
    Ok(count)
}

async fn stream(subscription: &mut Subscription) -> Option<SubgroupReader> {
    match soon("a stream", subscription.next()).await {
        Some(Incoming::Subgroup(stream)) => Some(*stream),
        None => None,
        other => panic!("{other:?}"),
    }
}

/// A subscriber that stops in the middle of a group and reads nothing for the rest of 30 s. S9.12-18: it ends with
/// TOO_FAR_BEHIND, what it got before is whole and no incomplete subgroup looks complete; the other one does not notice,
/// and the relay holds no more than it may.
async fn stalled(carrier: Carrier) {
    const WHOLE: u64 = 3;
    let (all, half) = (HD.per_group() + 1, HD.per_group() / 2);
    let host = Host::within(SMALL, carrier);
    let (_publisher, _publication, track) = host.publisher("video").await;
    let (good, bad) = (host.client().await, host.client().await);
    let mut healthy = subscribe(&good, "video").await.into_objects();
    let mut stalled = subscribe(&bad, "video").await;
    let usage = Usage::of(host.relay().process().id());
    let (before, memory) = (usage.resident(), usage.watch());
    let epoch = Instant::now();
    let starting = async {
        for group in 0..WHOLE {
            let mut whole = stream(&mut stalled).await.unwrap();
            assert_eq!(whole.group(), group);
            assert_eq!(read(&mut whole, all).await, Ok(HD.per_group()));
        }
        let mut begun = stream(&mut stalled).await.unwrap();
        assert_eq!(begun.group(), WHOLE);
        assert_eq!(read(&mut begun, half).await, Ok(half));
        begun
    };
    let (_, latency, mut begun) = tokio::join!(
        HD.publish(&track, epoch),
        HD.read(&mut healthy, epoch),
        starting
    );
    let grown = memory.bytes() - before;
    println!(
        "healthy reader: {latency:?}; relay: {} kB more at most",
        grown / 1000
    );
    latency.check();
    assert!(grown < SMALL.growth(3), "{grown} bytes");
    let status = match end(&stalled).await {
        SubscriptionEnd::Done { status, .. } => status,
        other => panic!("{other:?}"),
    };
    assert_eq!(status, PublishDoneCode::TOO_FAR_BEHIND);
    // The relay could not hand over all of this group before the reader was too far behind.
    let cut = loop {
        match soon("an object", begun.next_object()).await {
            Ok(object) => HD.check(&object.expect("no FIN on an incomplete subgroup")),
            Err(error) => break error,
        }
    };
    println!("stalled reader: its group ended with {cut}");
    while let Some(mut later) = stream(&mut stalled).await {
        if let Ok(count) = read(&mut later, all).await {
            assert_eq!(count, HD.per_group(), "FIN on an incomplete subgroup");
        }
    }
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

/// A viewer that pauses for 8 s inside an object that is larger than what it lets a stream hold, while the rest of it and
/// more is published: it is within its lag, so it gets every byte, and the end of the stream as an end.
async fn pause_inside_an_object(carrier: Carrier) {
    const HALF: usize = 1_000_000;
    let text: Bytes = (0..2 * HALF as u32)
        .map(|i| (i.wrapping_mul(i) >> 7) as u8)
        .collect();
    let host = Host::start(carrier);
    let (_publisher, _publication, track) = host.publisher("film").await;
    let (other, client) = (host.client().await, host.client().await);
    let mut healthy = subscribe(&other, "film").await.into_objects();
    let mut viewer = subscribe(&client, "film").await;
    let none = Extensions::default();

    let mut subgroup = track.subgroup(SubgroupOptions::new(0)).unwrap();
    subgroup.object(0, &none, text.slice(..1000)).unwrap();
    subgroup.begin(1, &none, text.len() as u64).unwrap();
    subgroup.payload(text.slice(..HALF)).unwrap();
    let mut film = stream(&mut viewer).await.unwrap();
    let first = soon("an object", film.next_object())
        .await
        .unwrap()
        .unwrap();
    assert!(first.payload == text[..1000]);
    let mut object = soon("an object", film.open_object())
        .await
        .unwrap()
        .unwrap();
    let mut got = BytesMut::new();
    got.extend_from_slice(&soon("its begin", object.chunk()).await.unwrap().unwrap());
    // Not to be cut short by what is known: the viewer does nothing for 8 s.
    let pause = sleep(Duration::from_secs(8));
    let meanwhile = async {
        subgroup.payload(text.slice(HALF..)).unwrap();
        subgroup.object(2, &none, text.slice(7..3000)).unwrap();
        subgroup.finish().unwrap();
        let mut next = track.subgroup(SubgroupOptions::new(1)).unwrap();
        next.object(0, &none, text.clone()).unwrap();
        next.finish().unwrap();
        let mut lens = Vec::new();
        for _ in 0..4 {
            let object = soon("an object", healthy.next()).await.unwrap().unwrap();
            lens.push((object.group, object.object, object.payload.len()));
        }
        // Groups are streams of their own, and may overtake each other.
        lens.sort_unstable();
        let whole = text.len();
        assert_eq!(
            lens,
            [(0, 0, 1000), (0, 1, whole), (0, 2, 2993), (1, 0, whole)]
        );
    };
    tokio::join!(pause, meanwhile);
    assert!(
        object.received() < text.len() as u64,
        "it was there already"
    );
    while let Some(chunk) = soon("more of it", object.chunk()).await.unwrap() {
        got.extend_from_slice(&chunk);
    }
    assert!(got == text);
    let last = soon("an object", film.next_object())
        .await
        .unwrap()
        .unwrap();
    assert!(last.object == 2 && last.payload == text[7..3000]);
    assert_eq!(soon("the end", film.next_object()).await, Ok(None));
    let mut next = stream(&mut viewer).await.unwrap();
    let whole = soon("an object", next.next_object())
        .await
        .unwrap()
        .unwrap();
    assert!(next.group() == 1 && whole.payload == text);
    assert_eq!(soon("the end", next.next_object()).await, Ok(None));
    assert_eq!(viewer.end(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_pauses_inside_an_object_gets_all_of_it_over_quic() {
    pause_inside_an_object(Carrier::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_pauses_inside_an_object_gets_all_of_it_over_webtransport() {
    pause_inside_an_object(Carrier::Web).await;
}

/// Viewers that come and go 200 times a second for 20 s, beside one who watches and loses nothing.
async fn churn(carrier: Carrier) {
    const VIEWERS: u32 = 4;
    const TIMES: u32 = 1000;
    /// Half the speed, for machines that do other work meanwhile.
    const AT_MOST: Duration = Duration::from_secs(40);
    let media = Steady { seconds: 20, ..HD };
    let host = Host::within(SMALL, carrier);
    let (_publisher, _publication, track) = host.publisher("video").await;
    let client = host.client().await;
    let mut watcher = subscribe(&client, "video").await.into_objects();
    let mut viewers = JoinSet::new();
    let mut clients = Vec::new();
    for _ in 0..VIEWERS {
        clients.push(host.client().await);
    }
    let usage = Usage::of(host.relay().process().id());
    let (before, memory) = (usage.resident(), usage.watch());
    let epoch = Instant::now();
    for client in clients {
        viewers.spawn(async move {
            let mut tick = interval(Duration::from_secs(20) / TIMES);
            for _ in 0..TIMES {
                tick.tick().await;
                drop(subscribe(&client, "video").await);
            }
            epoch.elapsed()
        });
    }
    let (_, latency) = tokio::join!(
        media.publish(&track, epoch),
        media.read(&mut watcher, epoch)
    );
    let took = soon("the viewers", viewers.join_all()).await;
    let took = took.into_iter().max().unwrap();
    let grown = memory.bytes() - before;
    println!(
        "watcher: {latency:?}; {} subscriptions in {took:?}; relay: {} kB more at most",
        VIEWERS * TIMES,
        grown / 1000
    );
    latency.check();
    assert!(took < AT_MOST, "{took:?}");
    assert!(grown < SMALL.growth(6), "{grown} bytes");
    let mut interest = track.track().interest();
    let one = interest.wait_for(|interest| interest.subscriptions == 1);
    soon("the viewers to be gone", one).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_that_come_and_go_200_times_a_second_cost_nobody_an_object_over_quic() {
    churn(Carrier::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_that_come_and_go_200_times_a_second_cost_nobody_an_object_over_webtransport() {
    churn(Carrier::Web).await;
}

/// Two minutes in which a thousand come, ask several times and leave, some of them in the middle of an object, beside one
/// who watches and loses nothing. Afterwards the relay is what it was after the first of them.
async fn a_thousand_guests(carrier: Carrier) {
    const GUESTS: u32 = 1000;
    const DOORS: u32 = 8;
    const FIRST: u32 = 25;
    const MINUTES: u32 = 2;
    /// For machines that do other work meanwhile.
    const AT_MOST: Duration = Duration::from_secs(60 * MINUTES as u64 * 3 / 2);
    /// What an allocator may keep; 5 kB of each guest are more.
    const TOLERANCE: u64 = 4_000_000;
    let media = Steady {
        rate: 40,
        len: 5_000,
        seconds: 60 * MINUTES,
    };
    let host = Arc::new(Host::within(
        Budget {
            log: 1 << 20,
            ..SMALL
        },
        carrier,
    ));
    let (_publisher, _publication, track) = host.publisher("video").await;
    let client = host.client().await;
    let mut watcher = subscribe(&client, "video").await.into_objects();
    let epoch = Instant::now();
    let come_and_go = |guests: u32, every: Duration| {
        let mut doors = JoinSet::new();
        for _ in 0..DOORS {
            let host = host.clone();
            doors.spawn(async move {
                let mut tick = interval(every * DOORS);
                for guest in 0..guests {
                    tick.tick().await;
                    let guest_client = host.client().await;
                    for _ in 0..3 {
                        drop(subscribe(&guest_client, "video").await);
                    }
                    let mut stays = subscribe(&guest_client, "video").await.into_objects();
                    if guest % 2 == 0 {
                        media.check(&soon("an object", stays.next()).await.unwrap().unwrap());
                    }
                    if guest % 3 > 0 {
                        guest_client.close(SessionCode::NO_ERROR, "");
                    }
                }
            });
        }
        doors.join_all()
    };
    let usage = Usage::of(host.relay().process().id());
    let every = Duration::from_secs(media.seconds.into()) / GUESTS;
    let guests = async {
        come_and_go(FIRST, every).await;
        let level = usage.resident();
        come_and_go(GUESTS / DOORS - FIRST, every).await;
        (level, epoch.elapsed())
    };
    let (_, latency, (level, took)) = tokio::join!(
        media.publish(&track, epoch),
        media.read(&mut watcher, epoch),
        guests
    );
    println!("watcher: {latency:?}; {GUESTS} guests in {took:?}");
    latency.check();
    assert!(took < AT_MOST, "{took:?}");
    let mut interest = track.track().interest();
    let one = interest.wait_for(|interest| interest.subscriptions == 1);
    soon("the guests to be gone", one).await.unwrap();
    let mut look = interval(Duration::from_millis(100));
    let back = async {
        while usage.resident() > level + TOLERANCE {
            look.tick().await;
        }
    };
    let back = timeout(PATIENCE, back).await;
    let now = usage.resident();
    println!(
        "relay: {} kB after the first, {} kB after the last",
        level / 1000,
        now / 1000
    );
    assert_eq!(back, Ok(()), "{level} bytes have become {now}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_guests_cost_a_watcher_nothing_and_leave_nothing_over_quic() {
    a_thousand_guests(Carrier::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_guests_cost_a_watcher_nothing_and_leave_nothing_over_webtransport() {
    a_thousand_guests(Carrier::Web).await;
}

/// Nothing is published for 17 s, several times as long as a connection of these clients may be silent; then the subgroup
/// goes on, on the stream it was on.
async fn silence(carrier: Carrier) {
    let mut config = ClientConfig::default();
    config.transport.idle_timeout = Duration::from_secs(5);
    config.transport.keep_alive = Duration::from_secs(1);
    let host = Host::start(carrier);
    let (_publisher, _publication, track) = host.publisher_with("rare", config.clone()).await;
    let client = host.client_with(config).await;
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
