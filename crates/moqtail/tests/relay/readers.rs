//! Subscribers that read oddly: few streams granted, none at first, streams stopped, small windows, coming and going.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use moqtail::client::SubgroupOptions;
use moqtail::model::{Extensions, Filter, PublishDoneCode, StreamCode, SubgroupId};
use moqtail::relay::RelayConfig;
use moqtail::transport::{TransportKind, TransportLimits};

use crate::over_every_carrier;
use crate::world::{World, live, publish_group, soon, text};

fn limits(set: impl FnOnce(&mut TransportLimits)) -> TransportLimits {
    let mut limits = TransportLimits::default();
    set(&mut limits);
    limits
}

over_every_carrier! {
    /// S12.1-02: a peer that lets three streams be open at once gets everything, three streams at a time, of what waits
    /// the oldest group first (S7.2-02). S5.1-20, S9.12-07: PUBLISH_DONE comes after the last of them and counts all.
    async fn three_streams_at_a_time_are_enough(world: World) {
        let (broadcast, track) = live("three");
        let _publisher = world.publisher(&broadcast).await;
        let mut healthy = world.viewer("three", Filter::LargestObject).await.objects();
        let mut odd = world.raw(limits(|limits| limits.initial_incoming_uni = 3)).await;
        odd.subscribe("three").await;
        let mut open = VecDeque::new();
        let held = 3 + odd.spare_streams() as u64;
        for group in 0..held {
            publish_group(&track, group, 0..2);
            healthy.take(2).await;
            open.push_back(odd.stream().await);
        }
        for group in held..20 {
            publish_group(&track, group, 0..2);
            healthy.take(2).await;
        }
        odd.no_stream().await;
        track.end(PublishDoneCode::TRACK_ENDED, "over");
        for group in 0..20 {
            let stream = open.pop_front().expect("a stream");
            assert_eq!(stream.header.group, group);
            let objects = stream.objects().await.unwrap();
            let payloads: Vec<_> = objects.into_iter().map(|object| object.3).collect();
            assert_eq!(payloads, [text(group, 0), text(group, 1)]);
            if group + held < 20 {
                open.push_back(odd.stream().await);
            }
        }
        let done = odd.done().await;
        assert_eq!((done.status, done.stream_count), (PublishDoneCode::TRACK_ENDED, 20));
    }

    /// A peer that lets no stream be open for 5 s is still answered, and gets what waited once it grants some.
    async fn streams_wait_for_credit_and_hold_up_nothing_else(world: World) {
        let (broadcast, track) = live("none");
        let _publisher = world.publisher(&broadcast).await;
        let mut healthy = world.viewer("none", Filter::LargestObject).await.objects();
        let mut odd = world.raw(limits(|limits| limits.initial_incoming_uni = 0)).await;
        odd.subscribe("none").await;
        let mut streams = Vec::new();
        let mut tick = tokio::time::interval(Duration::from_millis(125));
        for group in 0..40 {
            tick.tick().await;
            publish_group(&track, group, 0..1);
            healthy.take(1).await;
            if streams.len() < odd.spare_streams() {
                streams.push(odd.stream().await);
            }
        }
        odd.no_stream().await;
        odd.grant(100);
        while streams.len() < 40 {
            streams.push(odd.stream().await);
        }
        let mut groups = Vec::new();
        for stream in streams {
            groups.push(stream.header.group);
            assert_eq!(stream.objects().await.unwrap().len(), 1);
        }
        groups.sort_unstable();
        assert_eq!(groups, (0..40).collect::<Vec<_>>());
        track.end(PublishDoneCode::TRACK_ENDED, "over");
        assert_eq!(odd.done().await.stream_count, 40);
    }

    /// S10.4.1-01, S10.4.3-14: STOP_SENDING ends one stream; other streams, the subscription and other subscribers go on.
    async fn stopped_streams_change_nothing_else(world: World) {
        let (broadcast, track) = live("stopped");
        let _publisher = world.publisher(&broadcast).await;
        let mut healthy = world.viewer("stopped", Filter::LargestObject).await.objects();
        let mut odd = world.raw(TransportLimits::default()).await;
        odd.subscribe("stopped").await;
        let mut subgroups = Vec::new();
        for group in 0..10 {
            let mut subgroup = track.subgroup(SubgroupOptions::new(group)).unwrap();
            subgroup.object(0, &Extensions::default(), text(group, 0)).unwrap();
            subgroups.push(subgroup);
        }
        let mut kept = Vec::new();
        for _ in 0..10 {
            let mut stream = odd.stream().await;
            stream.object().await.unwrap().expect("the first object");
            match stream.header.group % 2 {
                0 => kept.push(stream),
                _ => stream.stop(StreamCode::CANCELLED.0 as u32),
            }
        }
        odd.round_trip().await;
        for (subgroup, group) in subgroups.iter_mut().zip(0..) {
            subgroup.object(1, &Extensions::default(), vec![7; 100_000].into()).unwrap();
            subgroup.object(2, &Extensions::default(), text(group, 2)).unwrap();
        }
        subgroups.into_iter().try_for_each(|subgroup| subgroup.finish()).unwrap();
        publish_group(&track, 10, 0..3);
        for stream in kept {
            let group = stream.header.group;
            let objects = stream.objects().await.unwrap();
            assert_eq!(objects.len(), 2);
            assert_eq!(objects[1].3, text(group, 2));
        }
        let next = odd.stream().await;
        assert_eq!(next.header.group, 10, "a stopped subgroup came back");
        assert_eq!(next.objects().await.unwrap().len(), 3);
        let seen = healthy.take(33).await;
        assert_eq!(seen.len(), 33);
        track.end(PublishDoneCode::TRACK_ENDED, "over");
        let done = odd.done().await;
        assert_eq!((done.status, done.stream_count), (PublishDoneCode::TRACK_ENDED, 11));
    }

    /// A live track may have hundreds of subgroups open at once: who publishes, and who subscribes, gets credit for them.
    async fn hundreds_of_open_subgroups_are_not_held_up(world: World) {
        let (broadcast, track) = live("wide");
        let _publisher = world.publisher(&broadcast).await;
        let mut reader = world.viewer("wide", Filter::LargestObject).await.objects();
        let mut open = Vec::new();
        for id in 0..300 {
            let subgroup = SubgroupId::Explicit(id);
            let mut subgroup = track.subgroup(SubgroupOptions { subgroup, ..SubgroupOptions::new(1) }).unwrap();
            subgroup.object(id, &Extensions::default(), text(1, id)).unwrap();
            open.push(subgroup);
        }
        assert_eq!(reader.take(300).await.len(), 300);
        open.into_iter().try_for_each(|subgroup| subgroup.finish()).unwrap();
    }

    /// Windows of a few bytes slow one subscriber down and nobody else; nothing is lost or mixed up.
    async fn a_small_stream_window_delivers_everything(world: World) {
        let (broadcast, track) = live("narrow");
        let _publisher = world.publisher(&broadcast).await;
        let mut odd = world.raw(limits(|limits| limits.stream_window = 1000)).await;
        odd.subscribe("narrow").await;
        let payload: Bytes = (0..300_000_u32).map(|i| (i / 7) as u8).collect::<Vec<_>>().into();
        for group in 0..3 {
            let mut subgroup = track.subgroup(SubgroupOptions::new(group)).unwrap();
            subgroup.object(0, &Extensions::default(), payload.clone()).unwrap();
            subgroup.object(1, &Extensions::default(), text(group, 1)).unwrap();
            subgroup.finish().unwrap();
        }
        for _ in 0..3 {
            let objects = odd.stream().await.objects().await.unwrap();
            assert!(objects[0].3 == payload);
            assert_eq!(objects.len(), 2);
        }
    }

    /// S5.1-18: UNSUBSCRIBE again and again, while objects are on their way; who stays loses nothing.
    async fn coming_and_going_disturbs_nobody(world: World) {
        let (broadcast, track) = live("busy");
        let publisher = world.publisher(&broadcast).await;
        let mut watcher = world.viewer("busy", Filter::LargestObject).await.objects();
        let viewer = world.client().await;
        let coming_and_going = async {
            for _ in 0..150 {
                let name = "live#busy".parse().unwrap();
                let subscribed = viewer.subscribe(name, Default::default());
                drop(soon("an answer", subscribed).await.unwrap());
            }
        };
        let publishing = async {
            for group in 0..300 {
                publish_group(&track, group, 0..3);
                let last = loop {
                    let object = watcher.next().await;
                    if object.object == 2 {
                        break object.group;
                    }
                };
                assert_eq!(last, group);
            }
        };
        tokio::join!(coming_and_going, publishing);
        let mut look = tokio::time::interval(Duration::from_millis(5));
        soon("the last of them to be gone", async {
            while world.relay.viewers(&"live".parse().unwrap()) > 1 {
                look.tick().await;
            }
        })
        .await;
        drop(publisher);
    }
}

/// A subscriber over its lag ends with TOO_FAR_BEHIND; what it got until then is whole, and no incomplete subgroup looks
/// complete.
async fn stalled(carrier: TransportKind) {
    const WHOLE: u64 = 2;
    let mut config = RelayConfig::default();
    config.delivery.lag_bytes = 2 << 20;
    let mut world = World::with(carrier, config).await;
    let (broadcast, track) = live("stalled");
    let _publisher = world.publisher(&broadcast).await;
    let mut healthy = world
        .viewer("stalled", Filter::LargestObject)
        .await
        .objects();
    let mut odd = world
        .raw(limits(|limits| limits.stream_window = 100_000))
        .await;
    odd.subscribe("stalled").await;
    // Each stream has 100 kB at the reader, the rest of its 500 kB is lag.
    let payload = |group: u64, object: u64| Bytes::from(vec![(16 * group + object) as u8; 50_000]);
    let mut begun = None;
    for group in 0..10 {
        let mut subgroup = track.subgroup(SubgroupOptions::new(group)).unwrap();
        for object in 0..10 {
            let payload = payload(group, object);
            subgroup
                .object(object, &Extensions::default(), payload)
                .unwrap();
        }
        subgroup.finish().unwrap();
        if group <= WHOLE {
            let mut stream = odd.stream().await;
            assert_eq!(stream.header.group, group);
            // The last of these is left in the middle of an object.
            let count = if group < WHOLE { 10 } else { 1 };
            for next in 0..count {
                let object = stream.object().await.unwrap().expect("an object");
                assert!(object.0 == next && object.3 == payload(group, next));
            }
            match group {
                WHOLE => begun = Some(stream),
                _ => assert_eq!(stream.object().await, Ok(None)),
            }
        }
        for (at, _) in healthy.take(10).await {
            assert_eq!(at.0, group);
        }
    }
    let done = odd.done().await;
    // S9.12-18
    assert_eq!(done.status, PublishDoneCode::TOO_FAR_BEHIND);
    let mut begun = begun.expect("its stream");
    let mut next = 1;
    while let Ok(object) = begun.object().await {
        let object = object.expect("no FIN on an incomplete subgroup");
        assert!(object.0 == next && object.3 == payload(WHOLE, next));
        next += 1;
    }
    // What came after it was cut as well, most of it before its head could be read.
    for mut stream in odd.streams_left().await {
        let (group, mut next) = (stream.header.group, 0);
        while let Ok(object) = stream.object().await {
            let object = object.expect("no FIN on an incomplete subgroup");
            assert!(object.0 == next && object.3 == payload(group, next));
            next += 1;
        }
    }
    drop((track, broadcast));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_is_too_far_behind_over_quic() {
    stalled(TransportKind::Quic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_is_too_far_behind_over_webtransport() {
    stalled(TransportKind::WebTransport).await;
}
