//! What goes in comes out: every subgroup type, gap, status, extension and end-of-group bit.

use std::collections::BTreeMap;

use bytes::Bytes;
use moqtail::client::{
    Broadcast, Incoming, LocalTrack, ReadError, SubgroupOptions, TrackOptions, WriteError,
};
use moqtail::model::{
    DatagramBody, Extensions, Filter, KeyValuePair, ObjectDatagram, ObjectStatus, StreamCode,
    SubgroupHeader, SubgroupId, TrackAlias,
};
use moqtail::transport::StreamError;

use crate::over_every_carrier;
use crate::raw::subgroup_bytes;
use crate::world::{World, live, publish_group, soon, subscriptions, text};

/// The 12 subgroup types, each in a group of its own.
pub(crate) fn all_types() -> Vec<SubgroupOptions> {
    let mut all = Vec::new();
    for end_of_group in [false, true] {
        for subgroup in [
            SubgroupId::Zero,
            SubgroupId::FirstObject,
            SubgroupId::Explicit(9),
        ] {
            for extensions in [false, true] {
                let group = 100 + all.len() as u64;
                let publisher_priority = 10 + u8::try_from(all.len()).unwrap();
                all.push(SubgroupOptions {
                    group,
                    subgroup,
                    publisher_priority,
                    extensions,
                    end_of_group,
                });
            }
        }
    }
    all
}

/// A pair that nobody knows, a gap of ids, and nested immutable ones.
pub(crate) fn extensions(object: u64) -> Extensions {
    Extensions::from_pairs(&[
        KeyValuePair::Varint {
            key: 0x3E,
            value: if object == 2 { 0 } else { 1 },
        },
        KeyValuePair::Bytes {
            key: 0x4001,
            value: Bytes::from_static(b"\x00\xffunknown"),
        },
        KeyValuePair::Bytes {
            key: 0x0B,
            value: Bytes::from_static(&[0x02, 0x05]),
        },
        KeyValuePair::Varint {
            key: 0x4002,
            value: 1 << 40,
        },
    ])
    .unwrap()
}

/// What is published in each subgroup: ids with gaps, an empty object, a status at the end.
pub(crate) type Sent = Vec<(u64, Extensions, ObjectStatus, Bytes)>;

pub(crate) fn content(options: &SubgroupOptions) -> Sent {
    let extension = |object| match options.extensions {
        true => extensions(object),
        false => Extensions::default(),
    };
    vec![
        (
            2,
            extension(2),
            ObjectStatus::Normal,
            Bytes::from_static(b"first"),
        ),
        (4, extension(4), ObjectStatus::Normal, Bytes::new()),
        (
            6,
            Extensions::default(),
            ObjectStatus::DoesNotExist,
            Bytes::new(),
        ),
        (
            8,
            extension(8),
            ObjectStatus::Normal,
            vec![7; 70_000].into(),
        ),
        (
            9,
            Extensions::default(),
            ObjectStatus::EndOfGroup,
            Bytes::new(),
        ),
    ]
}

fn publish(track: &LocalTrack, options: SubgroupOptions) {
    let mut subgroup = track.subgroup(options).unwrap();
    for (object, extensions, status, payload) in content(&options) {
        match status {
            ObjectStatus::Normal => subgroup.object(object, &extensions, payload).unwrap(),
            status => subgroup.status(object, &extensions, status).unwrap(),
        }
    }
    subgroup.finish().unwrap();
}

/// Bytes without any meaning, the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Up to `max` of them, and at least one.
    fn bytes(&mut self, max: u64) -> Bytes {
        let len = 1 + self.next() % max;
        (0..len).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

over_every_carrier! {
    /// S8.5-01, S10.2.1.2-03, S10.2.1.2-05, S11.1-04, S11.2-03, S11.3-03, S10.4.2-02, S2.1-04, S3.1-03, S7.1-04,
    /// S11.1-03, S11.2-02, S11.2-04, S10.2.1.2-06: all 12 subgroup types with id gaps, statuses, unknown extensions and the
    /// end-of-group bit pass the relay unchanged.
    async fn every_subgroup_type_passes_unchanged(world: World) {
        let (broadcast, track) = live("types");
        let _publisher = world.publisher(&broadcast).await;
        let mut viewer = world.viewer("types", Filter::LargestObject).await;
        let types = all_types();
        for options in &types {
            publish(&track, *options);
        }
        let mut seen: BTreeMap<u64, (SubgroupHeader, Sent)> = BTreeMap::new();
        while seen.len() < types.len() {
            let Some(Incoming::Subgroup(mut reader)) = soon("a stream", viewer.subscription.next()).await else {
                panic!("streams only");
            };
            let mut objects = Sent::new();
            while let Some(object) = soon("an object", reader.next_object()).await.unwrap() {
                assert_eq!(object.group, reader.group());
                objects.push((object.object, object.extensions, object.status, object.payload));
            }
            assert!(seen.insert(reader.group(), (*reader.header(), objects)).is_none());
        }
        for options in types {
            let (header, objects) = &seen[&options.group];
            let expected = SubgroupHeader {
                track_alias: header.track_alias,
                group: options.group,
                subgroup: options.subgroup,
                publisher_priority: options.publisher_priority,
                extensions: options.extensions,
                end_of_group: options.end_of_group,
            };
            assert_eq!(*header, expected);
            assert_eq!(*objects, content(&options), "{options:?}");
        }
    }

    /// S10.4.3-12: a reset stays a reset, with its code, and no partial object is delivered.
    async fn a_reset_stays_a_reset(world: World) {
        let (broadcast, track) = live("reset");
        let _publisher = world.publisher(&broadcast).await;
        let mut viewer = world.viewer("reset", Filter::LargestObject).await;
        let mut subgroup = track.subgroup(SubgroupOptions::new(1)).unwrap();
        subgroup.object(0, &Extensions::default(), Bytes::from_static(b"whole")).unwrap();
        let Some(Incoming::Subgroup(mut reader)) = soon("a stream", viewer.subscription.next()).await else {
            panic!("a stream");
        };
        let object = soon("the object", reader.next_object()).await.unwrap().unwrap();
        assert_eq!(object.payload, b"whole"[..]);
        subgroup.begin(1, &Extensions::default(), 1000).unwrap();
        subgroup.payload(Bytes::from_static(b"only a part")).unwrap();
        subgroup.reset(StreamCode::DELIVERY_TIMEOUT);
        let end = soon("the reset", reader.next_object()).await;
        let Err(ReadError::Stream(cause) | ReadError::Partial { cause, .. }) = end else {
            panic!("{end:?}");
        };
        assert_eq!(cause, StreamError::Reset(0x2));
        // S10.4.3-14: the subscription goes on.
        drop(reader);
        publish_group(&track, 2, 0..1);
        let next = soon("the next group", viewer.subscription.next()).await;
        assert!(matches!(next, Some(Incoming::Subgroup(reader)) if reader.group() == 2));
    }

    /// S10.3.1-02, S10.3-02, S7.1-04: datagrams of every kind keep all fields.
    async fn datagrams_pass_unchanged(world: World) {
        let (broadcast, track) = live("datagrams");
        let _publisher = world.publisher(&broadcast).await;
        let mut viewer = world.viewer("datagrams", Filter::LargestObject).await;
        subscriptions(&track, 1).await;
        let datagram = |group, object, end_of_group, with_extensions, body| ObjectDatagram {
            track_alias: TrackAlias(0),
            group,
            object,
            object_id_absent: object == 0 && matches!(body, DatagramBody::Payload(_)),
            publisher_priority: 3,
            end_of_group,
            extensions: if with_extensions { extensions(2) } else { Extensions::default() },
            body,
        };
        let payload = || DatagramBody::Payload(Bytes::from_static(b"sample"));
        let mut sent = Vec::new();
        for end_of_group in [false, true] {
            for with_extensions in [false, true] {
                let group = 10 + sent.len() as u64;
                sent.push(datagram(group, 0, end_of_group, with_extensions, payload()));
                sent.push(datagram(group + 50, 2, end_of_group, with_extensions, payload()));
            }
        }
        sent.push(datagram(90, 0, false, false, DatagramBody::Status(ObjectStatus::EndOfGroup)));
        sent.push(datagram(91, 0, false, true, DatagramBody::Status(ObjectStatus::EndOfGroup)));
        for expected in sent {
            track.datagram(expected.clone()).unwrap();
            let Some(Incoming::Datagram(mut got)) = soon("a datagram", viewer.subscription.next()).await else {
                panic!("a datagram");
            };
            got.track_alias = expected.track_alias;
            assert_eq!(got, expected);
        }
    }

    /// S10.2.1-03: what payloads look like is nobody's business but the reader's.
    async fn payloads_are_opaque(world: World) {
        let broadcast = Broadcast::new("live".parse().unwrap());
        let add = |name| broadcast.track(name, TrackOptions::default()).unwrap();
        let (streams, datagrams) = (add("streams"), add("datagrams"));
        let _publisher = world.publisher(&broadcast).await;
        let mut reader = world.viewer("streams", Filter::LargestObject).await.objects();
        let mut heard = world.viewer("datagrams", Filter::LargestObject).await.objects();
        let mut noise = Noise(0x2545_F491_4F6C_DD1D);
        let header = SubgroupOptions::new(1);
        let stream = |payload: Bytes| {
            let header = SubgroupHeader {
                track_alias: streams.track().alias(),
                group: 1,
                subgroup: header.subgroup,
                publisher_priority: 0,
                extensions: false,
                end_of_group: true,
            };
            subgroup_bytes(&header, &[(0, Extensions::default(), ObjectStatus::Normal, payload)])
        };
        let mut payloads: Vec<Bytes> = (0..300).map(|_| noise.bytes(2000)).collect();
        payloads.extend([0, 0x3F, 0xFF].map(|byte| Bytes::from(vec![byte; 5000])));
        payloads.push(stream(stream(noise.bytes(100))));
        let mut subgroup = streams.subgroup(header).unwrap();
        for (object, payload) in payloads.iter().enumerate() {
            subgroup.object(object as u64, &Extensions::default(), payload.clone()).unwrap();
        }
        subgroup.finish().unwrap();
        for payload in &payloads {
            assert!(reader.next().await.payload == *payload);
        }
        for group in 0..50 {
            let payload = noise.bytes(900);
            let datagram = ObjectDatagram {
                track_alias: TrackAlias(0),
                group,
                object: 0,
                object_id_absent: true,
                publisher_priority: 3,
                end_of_group: false,
                extensions: Extensions::default(),
                body: DatagramBody::Payload(payload.clone()),
            };
            datagrams.datagram(datagram).unwrap();
            assert!(heard.next().await.payload == payload);
        }
    }

    /// S11.1-05: without a gap extension a jump says nothing of the groups between, which may come later.
    async fn a_jump_over_groups_does_not_rule_them_out(world: World) {
        let (broadcast, track) = live("jumps");
        let _publisher = world.publisher(&broadcast).await;
        let mut reader = world.viewer("jumps", Filter::LargestObject).await.objects();
        for group in [5, 9, 7, 8] {
            publish_group(&track, group, 0..1);
            assert_eq!(reader.take(1).await, [((group, 0), text(group, 0))]);
        }
        // With it, they are: the publisher would contradict itself.
        let gap = KeyValuePair::Varint { key: 0x3C, value: 10 };
        let with_extensions = SubgroupOptions { extensions: true, ..SubgroupOptions::new(20) };
        let mut subgroup = track.subgroup(with_extensions).unwrap();
        let extensions = Extensions::from_pairs(&[gap]).unwrap();
        subgroup.object(0, &extensions, Bytes::new()).unwrap();
        subgroup.finish().unwrap();
        assert_eq!(reader.take(1).await, [((20, 0), Bytes::new())]);
        let mut within = track.subgroup(SubgroupOptions::new(15)).unwrap();
        let refused = within.object(0, &Extensions::default(), Bytes::new());
        assert!(matches!(refused, Err(WriteError::Malformed(_))), "{refused:?}");
        let mut before = track.subgroup(SubgroupOptions::new(6)).unwrap();
        before.object(0, &Extensions::default(), text(6, 0)).unwrap();
        assert_eq!(reader.take(1).await, [((6, 0), text(6, 0))]);
    }

    /// S2.1-03, S2.1-01: objects of every size keep their bytes.
    async fn payloads_of_every_size_pass_unchanged(world: World) {
        let (broadcast, track) = live("sizes");
        let _publisher = world.publisher(&broadcast).await;
        let mut reader = world.viewer("sizes", Filter::LargestObject).await.objects();
        for (group, size) in [0usize, 1, 1200, 64_000, 65_536, 4 << 20, 32_000_000].into_iter().enumerate() {
            let payload: Bytes = (0..size).map(|i| (i * 31 + i / 251) as u8).collect::<Vec<_>>().into();
            let mut subgroup = track.subgroup(SubgroupOptions::new(group as u64)).unwrap();
            subgroup.object(0, &Extensions::default(), payload.clone()).unwrap();
            subgroup.finish().unwrap();
            let object = reader.next().await;
            assert_eq!(object.payload.len(), size);
            assert!(object.payload == payload);
        }
    }
}
