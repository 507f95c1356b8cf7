//! Joining a run at any object, by any type of stream, however its bytes are split.

use super::support::*;
use crate::model::{
    Extensions, Filter, KeyValuePair, Location, ObjectStatus, SubgroupHeader, SubgroupId,
};
use crate::track::{Admission, AttachError, SubscriptionId};

/// The twelve types of subgroup streams (draft-14 §10.4.2).
fn headers() -> Vec<SubgroupHeader> {
    let mut all = Vec::new();
    for subgroup in [
        SubgroupId::Zero,
        SubgroupId::FirstObject,
        SubgroupId::Explicit(300),
    ] {
        for extensions in [false, true] {
            for end_of_group in [false, true] {
                all.push(SubgroupHeader {
                    subgroup,
                    extensions,
                    end_of_group,
                    publisher_priority: 200,
                    ..header(5, 0)
                });
            }
        }
    }
    all
}

/// Ids in a row and with holes, empty and large payloads, extensions where they can be, statuses.
fn objects(header: &SubgroupHeader) -> Vec<Object> {
    let mut all = vec![
        object(3, b"three"),
        object(4, b""),
        object(9, &[9; 5000]),
        object(10, b"ten"),
        status(70, ObjectStatus::DoesNotExist),
        object(20_000, &[7; 100]),
    ];
    if header.extensions {
        let pairs = [
            KeyValuePair::Varint { key: 4, value: 9 },
            KeyValuePair::Bytes {
                key: 77,
                value: bytes::Bytes::from_static(b"unknown"),
            },
            KeyValuePair::Varint { key: 4, value: 8 },
        ];
        let extensions = Extensions::from_pairs(&pairs).unwrap();
        all[0].extensions = extensions.clone();
        all[3].extensions = extensions;
    }
    all
}

fn downstream(header: &SubgroupHeader, first: u64, joined: bool) -> SubgroupHeader {
    let subgroup = match header.subgroup {
        SubgroupId::FirstObject if joined => SubgroupId::Explicit(first),
        same => same,
    };
    SubgroupHeader {
        track_alias: ALIAS,
        subgroup,
        ..*header
    }
}

/// S10.4.2-02, S10.4.2-03, S10.4.2-07, S8.3-05, S10.2.1.2-05: what a subscriber gets that is there from the start is
/// the same bytes but for the Track Alias, however they come.
#[test]
fn an_unmodified_run_is_the_same_bytes_in_every_chunking() {
    for header in headers() {
        let objects = objects(&header);
        let expected = encode(&downstream(&header, 3, false), &objects);
        for step in [1, 2, 3, 7, 100, 4096, 100_000] {
            let mut world = World::subscribed();
            let mut upstream = world.publish(header);
            let bytes = upstream.encode(&objects);
            for piece in bytes.chunks(step) {
                upstream.bytes(piece).unwrap();
                if step > 3 {
                    world.run();
                }
            }
            upstream.finish().unwrap();
            world.run();
            assert_eq!(world.wire.streams.len(), 1);
            assert_eq!(world.stream(0).bytes, expected, "{header:?} in {step}");
            assert_eq!(world.stream(0).state, State::Finished);
        }
    }
}

/// S9.7-14, S10.4.2-03, S10.4.3-10: joining before, inside and after each object; never an object whose first byte came
/// before the subscription.
#[test]
fn a_late_subscriber_gets_all_objects_that_begin_after_it() {
    for header in headers() {
        let objects = objects(&header);
        for joins_before in 0..objects.len() {
            for inside in [false, true] {
                let mut world = World::new();
                let mut upstream = world.publish(header);
                let bytes = upstream.encode(&objects);
                let len = |n: usize| encode_objects(&header, None, &objects[..n]).len();
                let whole = len(joins_before);
                let partial = objects[joins_before].payload.len() / 2;
                if inside && partial == 0 {
                    continue;
                }
                let cut = match inside {
                    false => whole,
                    true => len(joins_before + 1) - objects[joins_before].payload.len() + partial,
                };
                upstream.bytes(&bytes[..cut]).unwrap();
                world.run();
                world.subscribe(SUB, params(from_start())).unwrap();
                world.run();
                assert!(world.wire.streams.is_empty());
                upstream.bytes(&bytes[cut..]).unwrap();
                upstream.finish().unwrap();
                world.run();
                let first = joins_before + usize::from(inside);
                let Some(expected) = objects.get(first..).filter(|rest| !rest.is_empty()) else {
                    assert!(world.wire.streams.is_empty());
                    continue;
                };
                assert_eq!(world.wire.streams.len(), 1);
                let joined = cut > 0;
                let (got, received) = decode(&world.stream(0).bytes);
                assert_eq!(got, downstream(&header, 3, joined));
                assert_eq!(received, expected);
                let bytes = encode(&got, expected);
                assert_eq!(world.stream(0).bytes, bytes);
                assert_eq!(world.stream(0).state, State::Finished);
            }
        }
    }
}

/// A late subscriber that has to work off what went before gets nothing for as long as that takes.
#[test]
fn a_subscriber_that_joins_in_the_middle_of_a_long_group_is_not_held_up() {
    let mut world = World::new();
    let mut upstream = world.publish(header(1, 0));
    let (past, live) = (0..365, 365..800);
    for id in past {
        upstream.object(id, b"gone by");
    }
    world.subscribe(SUB, params(Filter::LargestObject)).unwrap();
    let mut sent = 0;
    for id in live.clone() {
        upstream.object(id, b"live");
        // No time passes: each is sent when it comes.
        world.run();
        let before = std::mem::replace(&mut sent, world.stream(0).bytes.len());
        assert!(sent > before, "object {id} waits");
    }
    assert_eq!(world.stream(0).ids(), live.collect::<Vec<_>>());
}

/// S2.2-02: two streams that both find their group missing must not both make it.
#[test]
fn subgroups_that_begin_a_group_at_once_do_not_replace_each_other() {
    let mut world = World::subscribed();
    let mut upstreams: Vec<_> = (0..8)
        .map(|subgroup| world.publish(header(3, subgroup)))
        .collect();
    for (upstream, id) in upstreams.iter_mut().zip(0..) {
        upstream.object(id, b"x");
    }
    world.run();
    let got: Vec<_> = world.received().keys().map(|at| at.object).collect();
    assert_eq!(got, (0..8).collect::<Vec<_>>());
    assert_eq!(world.wire.streams.len(), 8);
}

/// S10.2.1.1-02, S8.5-04: an object of no bytes is an object.
#[test]
fn an_object_without_payload_is_not_dropped() {
    for subgroup in [
        SubgroupId::Zero,
        SubgroupId::FirstObject,
        SubgroupId::Explicit(300),
    ] {
        let mut world = World::subscribed();
        let objects = [object(0, b""), object(1, b"x"), object(2, b"")];
        let header = SubgroupHeader {
            subgroup,
            ..header(0, 0)
        };
        world.send(header, &objects);
        world.run();
        assert_eq!(world.stream(0).objects(), objects);
        assert_eq!(world.stream(0).state, State::Finished);
    }
}

/// S8.5-04: an object flows through while it arrives.
#[test]
fn bytes_leave_before_the_object_is_whole() {
    let mut world = World::subscribed();
    let mut upstream = world.publish(header(0, 0));
    let rest = upstream.begin(0, &[1; 10_000], 10);
    world.run();
    assert_eq!(world.stream(0).objects()[0].payload.len(), 10);
    upstream.bytes(&rest[..5000]).unwrap();
    world.run();
    assert_eq!(world.stream(0).objects()[0].payload.len(), 5010);
    upstream.bytes(&rest[5000..]).unwrap();
    world.run();
    assert_eq!(world.stream(0).objects(), [object(0, &[1; 10_000])]);
}

/// S9.7-06 to S9.7-10, S9.7-05: start and Largest for each filter.
#[test]
fn filters_decide_by_location() {
    let range = |end_group| Filter::AbsoluteRange {
        start: Location::new(8, 2),
        end_group,
    };
    let cases: [(Filter, &[(u64, u64)]); 5] = [
        (
            Filter::LargestObject,
            &[(7, 4), (7, 5), (8, 1), (8, 2), (9, 0)],
        ),
        (Filter::NextGroupStart, &[(8, 1), (8, 2), (9, 0)]),
        (
            from_start(),
            &[(7, 1), (7, 4), (7, 5), (8, 1), (8, 2), (9, 0)],
        ),
        (range(8), &[(8, 2)]),
        (range(9), &[(8, 2), (9, 0)]),
    ];
    for (filter, expected) in cases {
        let mut world = World::new();
        let mut first = world.publish(header(7, 0));
        first.object(3, b"x");
        let info = world.subscribe(SUB, params(filter)).unwrap();
        assert_eq!(info.largest, Some(Location::new(7, 3)));
        assert_eq!(info.alias, ALIAS);
        first.objects(&[object(4, b"y"), object(5, b"z")]).unwrap();
        first.finish().unwrap();
        world.send(header(7, 1), &[object(1, b"late")]);
        world.send(header(8, 0), &[object(1, b"a"), object(2, b"b")]);
        world.send(header(9, 0), &[object(0, b"c")]);
        world.run();
        let got: Vec<_> = world
            .received()
            .keys()
            .map(|at| (at.group, at.object))
            .collect();
        assert_eq!(got, expected, "{filter:?}");
        let finished = |stream: &Stream| stream.state == State::Finished;
        assert!(world.wire.streams.iter().all(finished), "{filter:?}");
    }
}

/// S9.7-08.
#[test]
fn without_content_everything_passes() {
    for filter in [Filter::LargestObject, Filter::NextGroupStart] {
        let mut world = World::new();
        let info = world.subscribe(SUB, params(filter)).unwrap();
        assert_eq!((info.largest, info.start), (None, Location::default()));
        world.send(header(0, 0), &[object(0, b"first")]);
        world.run();
        assert_eq!(world.received().len(), 1);
    }
}

/// S9.7-11, S9.7-21.
#[test]
fn ranges_that_cannot_be_served_are_refused() {
    let mut world = World::new();
    world.send(header(9, 0), &[object(0, b"x")]);
    let range = |start, end_group| {
        params(Filter::AbsoluteRange {
            start: Location::new(start, 0),
            end_group,
        })
    };
    let refused = Err(AttachError::InvalidRange);
    assert_eq!(world.subscribe(SUB, range(1, 3)), refused);
    assert_eq!(world.subscribe(SUB, range(20, 19)), refused);
    assert!(world.subscribe(SUB, range(1, 9)).is_ok());
    assert_eq!(world.subscribe(SUB, range(1, 9)), Err(AttachError::IdInUse));
}

/// S9.7-12: Largest moves at the first byte.
#[test]
fn largest_moves_when_an_object_begins() {
    let mut world = World::new();
    let mut upstream = world.publish(header(7, 0));
    let rest = upstream.begin(4, &[1; 100], 1);
    let info = world.subscribe(SUB, params(Filter::LargestObject)).unwrap();
    assert_eq!(info.largest, Some(Location::new(7, 4)));
    upstream.bytes(&rest).unwrap();
    world.run();
    assert!(world.wire.streams.is_empty());
}

/// For the SUBSCRIBE that opens the upstream subscription Largest is what upstream said, and nothing that came since is
/// left out (S8.3-02).
#[test]
fn the_first_subscriber_gets_what_came_while_it_waited() {
    let mut world = World::new();
    world.send(header(1, 0), &[object(0, b"before")]);
    let mark = world.log.borrow().mark();
    world.send(header(4, 0), &[object(0, b"during")]);
    world.send(header(5, 0), &[object(0, b"during")]);
    let admission = Admission::Since {
        mark,
        largest: Some(Location::new(3, 8)),
    };
    let info = world
        .delivery
        .attach(
            SUB,
            world.log.clone(),
            &params(Filter::LargestObject),
            admission,
        )
        .unwrap();
    assert_eq!(info.largest, Some(Location::new(3, 8)));
    world.run();
    assert!(world.wire.streams.is_empty(), "not before it is started");
    world.delivery.start(SUB);
    world.run();
    let groups: Vec<_> = world.received().keys().map(|at| at.group).collect();
    assert_eq!(groups, [4, 5]);
}

/// S8.3-04: subscribers with different filters, one session each in effect.
#[test]
fn subscriptions_do_not_disturb_each_other() {
    let mut world = World::new();
    world.send(header(0, 0), &[object(0, b"old")]);
    world
        .subscribe(SubscriptionId(1), params(Filter::LargestObject))
        .unwrap();
    world
        .subscribe(SubscriptionId(2), params(Filter::NextGroupStart))
        .unwrap();
    world.send(header(0, 1), &[object(1, b"x")]);
    world.send(header(1, 0), &[object(0, b"y")]);
    world.run();
    assert_eq!(world.wire.streams.len(), 3);
}
