//! Objects on their way: cut through, broken off, in pieces of any size.

use bytes::Bytes;
use moqtail::client::{Broadcast, LocalTrack, SubgroupOptions, TrackOptions};
use moqtail::model::{
    Extensions, Filter, ObjectItem, ObjectStatus, SessionCode, StreamCode, SubgroupHeader,
    SubgroupId, TrackAlias,
};
use moqtail::transport::{CloseReason, StreamError, TransportLimits};

use crate::fidelity::{all_types, content};
use crate::over_every_carrier;
use crate::raw::{RawObject, RawPeer, subgroup_bytes, write};
use crate::world::{World, live, publish_group};

const ALIAS: u64 = 7;

fn header(group: u64) -> SubgroupHeader {
    SubgroupHeader {
        track_alias: TrackAlias(ALIAS),
        group,
        subgroup: SubgroupId::Zero,
        publisher_priority: 128,
        extensions: false,
        end_of_group: false,
    }
}

/// Bytes in which every place is known.
fn pattern(len: usize) -> Bytes {
    (0..len)
        .map(|i| (i * 7 + i / 253) as u8)
        .collect::<Vec<_>>()
        .into()
}

fn object(id: u64, len: usize) -> RawObject {
    (
        id,
        Extensions::default(),
        ObjectStatus::Normal,
        pattern(len),
    )
}

/// A publisher by hand of the track `raw` of a broadcast, and its first viewer.
async fn raw_publisher(world: &mut World, broadcast: &str) -> (RawPeer, RawPeer) {
    let mut publisher = world.raw(TransportLimits::default()).await;
    publisher.announce(broadcast).await;
    let mut watcher = world.raw(TransportLimits::default()).await;
    let track = format!("{broadcast}#raw");
    tokio::join!(
        watcher.subscribe_to(&track, Filter::LargestObject),
        publisher.accept_subscribe(ALIAS, None)
    );
    (publisher, watcher)
}

/// A track of another broadcast.
fn beside(track: &str) -> (Broadcast, LocalTrack) {
    let broadcast = Broadcast::new("beside".parse().unwrap());
    let track = broadcast
        .track(track.to_owned(), TrackOptions::default())
        .unwrap();
    (broadcast, track)
}

async fn cut_through(world: &mut World, len: usize) {
    let (broadcast, track) = live("large");
    let _publisher = world.publisher(&broadcast).await;
    let mut viewer = world.raw(TransportLimits::default()).await;
    viewer.subscribe("large").await;
    let payload = pattern(len);
    let mut subgroup = track.subgroup(SubgroupOptions::new(1)).unwrap();
    subgroup
        .begin(0, &Extensions::default(), len as u64)
        .unwrap();
    subgroup.payload(payload.slice(..len / 2)).unwrap();
    let mut stream = viewer.stream().await;
    let head = stream.item().await.unwrap();
    assert!(
        matches!(head, Some(ObjectItem::Header { header, .. }) if header.payload_len == len as u64)
    );
    // The publisher stands still: all that can come is the first half.
    assert!(stream.payload(len / 2).await.unwrap() == payload.slice(..len / 2));
    subgroup.payload(payload.slice(len / 2..)).unwrap();
    subgroup.finish().unwrap();
    assert!(stream.payload(len - len / 2).await.unwrap() == payload.slice(len / 2..));
    assert!(matches!(stream.item().await, Ok(Some(ObjectItem::End))));
    assert!(matches!(stream.item().await, Ok(None)));
}

over_every_carrier! {
    async fn the_first_half_of_4_mb_leaves_before_the_second_is_there(world: World) {
        cut_through(&mut world, 4_000_000).await;
    }

    async fn the_first_half_of_32_mb_leaves_before_the_second_is_there(world: World) {
        cut_through(&mut world, 32_000_000).await;
    }

    /// S10.4.3-12: an object that upstream resets half-way is reset downstream with the same code, and is gone: who comes
    /// while it arrives, or afterwards, sees what follows and nothing of it.
    async fn a_reset_half_way_passes_on_with_its_code(world: World) {
        let (publisher, watcher) = raw_publisher(&mut world, "live").await;
        for (code, group) in [0_u32, 1, 2, 3, 0x77].into_iter().zip(0..) {
            let bytes = subgroup_bytes(&header(group), &[object(0, 10), object(1, 1_000_000)]);
            let mut upstream = publisher.open().await;
            write(&mut *upstream, bytes.slice(..500_000)).await.unwrap();
            let mut stream = watcher.stream().await;
            assert_eq!(stream.object().await.unwrap(), Some(object(0, 10)));
            stream.item().await.unwrap();
            let begun = stream.payload(400_000).await.unwrap();
            assert!(begun == pattern(1_000_000).slice(..begun.len()));
            let mut inside = world.raw(TransportLimits::default()).await;
            inside.subscribe("raw").await;
            upstream.reset(code);
            let end = loop {
                match stream.item().await {
                    Ok(Some(ObjectItem::Payload(_))) => {}
                    other => break other.err(),
                }
            };
            assert_eq!(end, Some(StreamError::Reset(code)));
            let mut after = world.raw(TransportLimits::default()).await;
            after.subscribe("raw").await;
            // The rest of the subgroup comes on another stream, as S10.4.3-08 asks for.
            let mut upstream = publisher.open().await;
            write(&mut *upstream, subgroup_bytes(&header(group), &[object(2, 20)])).await.unwrap();
            upstream.finish();
            for peer in [&inside, &after] {
                assert_eq!(peer.stream().await.objects().await.unwrap(), [object(2, 20)]);
            }
            // Who should have had the lost object does not see the subgroup end as if it were whole.
            let mut rest = watcher.stream().await;
            assert_eq!(rest.object().await.unwrap(), Some(object(2, 20)));
            let end = rest.object().await;
            assert_eq!(end, Err(StreamError::Reset(StreamCode::CANCELLED.0 as u32)));
        }
    }

    /// S10.4-02: a FIN inside an object ends the session of who sent it. Downstream the stream is reset, never finished;
    /// other tracks go on.
    async fn a_fin_inside_an_object_costs_only_its_sender(world: World) {
        let (broadcast, track) = beside("bystander");
        let _bystander = world.publisher(&broadcast).await;
        let mut other = world.raw(TransportLimits::default()).await;
        other.subscribe_to("beside#bystander", Filter::LargestObject).await;
        for cut in [1, 30_000, 99_999] {
            let (publisher, watcher) = raw_publisher(&mut world, &format!("live{cut}")).await;
            let bytes = subgroup_bytes(&header(1), &[object(0, 10), object(1, 100_000)]);
            let end = bytes.len() - 100_000 + cut;
            let mut upstream = publisher.open().await;
            write(&mut *upstream, bytes.slice(..end)).await.unwrap();
            let mut stream = watcher.stream().await;
            assert_eq!(stream.object().await.unwrap(), Some(object(0, 10)));
            upstream.finish();
            let closed = publisher.closed().await;
            let code = SessionCode::PROTOCOL_VIOLATION.0 as u32;
            assert!(matches!(closed, CloseReason::Peer { code: given, .. } if given == code), "{closed}");
            let end = loop {
                match stream.item().await {
                    Ok(Some(_)) => {}
                    other => break other.err(),
                }
            };
            let code = StreamCode::INTERNAL_ERROR.0 as u32;
            assert_eq!(end, Some(StreamError::Reset(code)));
            publish_group(&track, cut as u64, 0..2);
            assert_eq!(other.stream().await.objects().await.unwrap().len(), 2);
        }
    }

    /// Heads and objects of all types, cut at every byte: what comes out is the same.
    async fn streams_cut_at_every_byte_come_out_whole(world: World) {
        let (mut publisher, watcher) = raw_publisher(&mut world, "live").await;
        let mut group = 1000;
        for options in all_types() {
            // Short payloads: their inside is all alike.
            let objects: Vec<_> = content(&options)
                .into_iter()
                .map(|(id, extensions, status, payload)| {
                    let len = payload.len().min(70);
                    (id, extensions, status, payload.slice(..len))
                })
                .collect();
            let mut header = SubgroupHeader {
                subgroup: options.subgroup,
                publisher_priority: options.publisher_priority,
                extensions: options.extensions,
                end_of_group: options.end_of_group,
                ..header(0)
            };
            for cut in 1..subgroup_bytes(&header, &objects).len() {
                group += 1;
                header.group = group;
                let bytes = subgroup_bytes(&header, &objects);
                let mut upstream = publisher.open().await;
                write(&mut *upstream, bytes.slice(..cut.min(bytes.len()))).await.unwrap();
                // What was written is on its way before the rest is.
                publisher.round_trip().await;
                write(&mut *upstream, bytes.slice(cut.min(bytes.len())..)).await.unwrap();
                upstream.finish();
                let stream = watcher.stream().await;
                let expected = SubgroupHeader { track_alias: stream.header.track_alias, ..header };
                assert_eq!(stream.header, expected);
                assert_eq!(stream.objects().await.unwrap(), objects, "cut at {cut}: {header:?}");
            }
        }
    }

    /// A stream that comes byte by byte.
    async fn a_stream_of_single_bytes_comes_out_whole(world: World) {
        let (mut publisher, watcher) = raw_publisher(&mut world, "live").await;
        let objects = [object(0, 3), object(1, 0), object(2, 70)];
        let bytes = subgroup_bytes(&header(1), &objects);
        let mut upstream = publisher.open().await;
        for at in 0..bytes.len() {
            write(&mut *upstream, bytes.slice(at..=at)).await.unwrap();
            publisher.round_trip().await;
        }
        upstream.finish();
        assert_eq!(watcher.stream().await.objects().await.unwrap(), objects);
    }
}
