//! Everything that makes a track malformed (draft-14 §2.5, §8.1, §11), and what only looks like it.

use super::{integrity, support::*};
use crate::model::{
    DatagramBody, Extensions, KeyValuePair, Location, MalformedExtensions, ObjectDatagram,
    ObjectStatus, PublishDoneCode, StreamCode, SubgroupHeader, TrackAlias,
};
use crate::track::{IngestError, MalformedTrack};

const GROUP_GAP: u64 = 0x3C;
const OBJECT_GAP: u64 = 0x3E;

fn with_extensions(group: u64, subgroup: u64) -> SubgroupHeader {
    SubgroupHeader {
        extensions: true,
        ..header(group, subgroup)
    }
}

/// Sends whole subgroups and gives the first complaint, which is that of a log and of a subscriber that keeps nothing.
fn complaint(world: &World, subgroups: &[(SubgroupHeader, Vec<Object>)]) -> Option<MalformedTrack> {
    let complaint = complaint_of_log(world, subgroups);
    let mut track = integrity::new();
    let read = subgroups.iter().try_for_each(|(header, objects)| {
        integrity::read(&mut track, header, objects, State::Finished)
    });
    assert_eq!(read.err(), complaint);
    complaint
}

fn complaint_of_log(
    world: &World,
    subgroups: &[(SubgroupHeader, Vec<Object>)],
) -> Option<MalformedTrack> {
    for (header, objects) in subgroups {
        let mut upstream = world.publish(*header);
        let result = upstream.objects(objects).and_then(|()| upstream.finish());
        match result {
            Ok(()) => {}
            Err(IngestError::Malformed(why)) => {
                assert_eq!(world.log.borrow().malformed(), Some(&why));
                return Some(why);
            }
            Err(other) => panic!("{other}"),
        }
    }
    None
}

fn expect(subgroups: &[(SubgroupHeader, Vec<Object>)]) -> MalformedTrack {
    let mut world = World::subscribed();
    let why = complaint(&world, subgroups).expect("a complaint");
    world.run();
    // S2.5-13: subscriptions end at once
    let (code, streams) = world.ended().expect("an end");
    assert_eq!(code, PublishDoneCode::MALFORMED_TRACK);
    assert_eq!(streams, world.wire.streams.len() as u64);
    assert_eq!(world.log.borrow().bytes(), 0);
    why
}

fn accept(subgroups: &[(SubgroupHeader, Vec<Object>)]) {
    let world = World::subscribed();
    assert_eq!(complaint(&world, subgroups), None);
}

fn at(group: u64, object: u64) -> Location {
    Location::new(group, object)
}

/// S2.5-04.
#[test]
fn an_object_after_the_end_of_its_subgroup() {
    let why = expect(&[
        (header(1, 0), vec![object(3, b"x")]),
        (header(1, 0), vec![object(5, b"y")]),
    ]);
    let expected = MalformedTrack::AfterSubgroupEnd {
        at: at(1, 5),
        subgroup: 0,
        last: 3,
    };
    assert_eq!(why, expected);
    accept(&[
        (header(1, 0), vec![object(3, b"x")]),
        (header(1, 0), vec![object(2, b"late"), object(3, b"x")]),
        (header(1, 1), vec![object(5, b"y")]),
    ]);
}

/// S2.5-05.
#[test]
fn two_ends_of_a_subgroup() {
    let why = expect(&[
        (header(1, 0), vec![object(2, b"x"), object(3, b"x")]),
        (header(1, 0), vec![object(2, b"x")]),
    ]);
    let expected = MalformedTrack::TwoSubgroupEnds {
        group: 1,
        subgroup: 0,
        first: 3,
        second: 2,
    };
    assert_eq!(why, expected);
}

/// S2.5-06, S10.2.1.1-06: by status, by stream type.
#[test]
fn an_object_after_the_end_of_its_group() {
    let ends = SubgroupHeader {
        end_of_group: true,
        ..header(1, 0)
    };
    let by_status = (header(1, 0), vec![status(4, ObjectStatus::EndOfGroup)]);
    let by_type = (ends, vec![object(3, b"x")]);
    for end in [&by_status, &by_type] {
        for late in [4, 6] {
            let late = (header(1, 1), vec![object(late, b"y")]);
            let why = expect(&[end.clone(), late.clone()]);
            assert!(
                matches!(why, MalformedTrack::AfterGroupEnd { end: 4, .. }),
                "{why}"
            );
            let largest = late.1[0].id;
            if largest > 4 {
                let why = expect(&[late, end.clone()]);
                assert!(
                    matches!(why, MalformedTrack::AfterGroupEnd { end: 4, .. }),
                    "{why}"
                );
            }
        }
        accept(&[
            end.clone(),
            (header(1, 1), vec![object(2, b"y")]),
            (header(2, 0), vec![object(9, b"y")]),
        ]);
    }
    accept(&[
        by_type,
        (header(1, 1), vec![status(4, ObjectStatus::EndOfGroup)]),
    ]);
    let other = (header(1, 1), vec![status(7, ObjectStatus::EndOfGroup)]);
    expect(&[by_status, other]);
}

/// S10.4.2-04: after a reset the end of the group is not known.
#[test]
fn a_reset_does_not_end_the_group() {
    let world = World::new();
    let ends = SubgroupHeader {
        end_of_group: true,
        ..header(1, 0)
    };
    let mut upstream = world.publish(ends);
    upstream.object(3, b"x");
    upstream.reset(StreamCode::CANCELLED);
    assert_eq!(
        complaint(&world, &[(header(1, 1), vec![object(6, b"y")])]),
        None
    );
}

/// S2.5-07, S10.2.1.1-07 [A37].
#[test]
fn an_object_after_the_end_of_the_track() {
    let end = (header(5, 0), vec![status(3, ObjectStatus::EndOfTrack)]);
    for late in [at(6, 0), at(5, 3), at(5, 4)] {
        let late = (header(late.group, 1), vec![object(late.object, b"y")]);
        let why = expect(&[end.clone(), late]);
        assert!(matches!(why, MalformedTrack::AfterTrackEnd { .. }), "{why}");
    }
    let larger = (header(6, 0), vec![object(0, b"y")]);
    let why = expect(&[larger, end.clone()]);
    assert!(matches!(why, MalformedTrack::AfterTrackEnd { .. }), "{why}");
    let next_group = (header(6, 0), vec![status(0, ObjectStatus::EndOfTrack)]);
    accept(&[(header(5, 0), vec![object(2, b"x")]), next_group]);
    accept(&[end.clone(), (header(4, 1), vec![object(9, b"y")]), end]);
}

/// S2.5-08, S8.1-04, S2.2-04.
#[test]
fn the_same_object_with_other_properties() {
    let first = (header(1, 0), vec![object(0, b"aa")]);
    let urgent = SubgroupHeader {
        publisher_priority: 1,
        ..header(1, 0)
    };
    let cases = [
        (header(1, 0), object(0, b"bb"), "payload"),
        (header(1, 0), object(0, b"aaa"), "payload"),
        (header(1, 0), status(0, ObjectStatus::EndOfGroup), "status"),
        (header(1, 1), object(0, b"aa"), "subgroup"),
        (urgent, object(0, b"aa"), "priority"),
    ];
    for (header, object, property) in cases {
        let why = expect(&[first.clone(), (header, vec![object])]);
        let expected = MalformedTrack::Contradiction {
            at: at(1, 0),
            what: property,
        };
        assert_eq!(why, expected);
    }
    accept(&[first.clone(), first]);
}

/// The same where the copy came first and waited for the stream that leads.
#[test]
fn an_object_that_waited_has_the_properties_of_its_copy() {
    let urgent = SubgroupHeader {
        publisher_priority: 1,
        ..header(1, 0)
    };
    let cases = [
        (urgent, object(1, b"aa"), Some("priority")),
        (header(1, 0), object(1, b"aaa"), Some("payload")),
        (
            header(1, 0),
            status(1, ObjectStatus::EndOfGroup),
            Some("status"),
        ),
        (header(1, 0), object(1, b"aa"), None),
    ];
    for (header_of_copy, copy, property) in cases {
        let world = World::new();
        let mut first = world.publish(header(1, 0));
        let mut rest = first.begin(0, b"first", 1);
        rest.extend(first.encode(&[object(1, b"aa")]));
        let mut second = world.publish_as(world.second_publisher(), header_of_copy);
        second.objects(&[copy]).unwrap();
        assert_eq!(first.bytes(&rest).is_err(), property.is_some());
        let expected = property.map(|what| MalformedTrack::Contradiction { at: at(1, 1), what });
        assert_eq!(world.log.borrow().malformed(), expected.as_ref());
    }
}

/// S8.1-02, S8.1-03, S8.1-05.
#[test]
fn extensions_may_differ_and_objects_may_cease_to_exist() {
    let mut other = object(0, b"aa");
    other.extensions =
        Extensions::from_pairs(&[KeyValuePair::Varint { key: 2, value: 1 }]).unwrap();
    accept(&[
        (with_extensions(1, 0), vec![object(0, b"aa")]),
        (with_extensions(1, 0), vec![other]),
    ]);
    let mut world = World::subscribed();
    world.send(
        header(1, 0),
        &[status(0, ObjectStatus::DoesNotExist), object(1, b"x")],
    );
    world.send(header(1, 0), &[object(0, b"zombie"), object(1, b"x")]);
    world.run();
    assert_eq!(world.wire.streams.len(), 1);
    assert_eq!(world.received()[&at(1, 0)], b"");
    world.send(header(2, 0), &[object(0, b"was")]);
    world.send(header(2, 0), &[status(0, ObjectStatus::DoesNotExist)]);
    world.send(header(2, 0), &[object(0, b"was something else")]);
    world.run();
    assert_eq!(world.log.borrow().malformed(), None);
    assert_eq!(world.received()[&at(2, 0)], b"was");
}

/// S8.1-03: an end, too, may cease to exist; nothing comes after it all the same.
#[test]
fn ends_may_cease_to_exist() {
    for end in [ObjectStatus::EndOfGroup, ObjectStatus::EndOfTrack] {
        let whole = (header(1, 0), vec![object(0, b"x"), status(1, end)]);
        let gone = (header(1, 0), vec![status(1, ObjectStatus::DoesNotExist)]);
        accept(&[whole.clone(), gone.clone()]);
        let after = (header(1, 2), vec![object(2, b"y")]);
        let why = expect(&[whole, gone, after]);
        let expected = match end {
            ObjectStatus::EndOfGroup => matches!(why, MalformedTrack::AfterGroupEnd { .. }),
            _ => matches!(why, MalformedTrack::AfterTrackEnd { .. }),
        };
        assert!(expected, "{why}");
    }
    // What never was there is not an end.
    let last = SubgroupHeader {
        end_of_group: true,
        ..header(1, 0)
    };
    let beyond = (header(1, 1), vec![status(1, ObjectStatus::DoesNotExist)]);
    expect(&[(last, vec![object(0, b"x")]), beyond]);
}

fn datagram(group: u64, object: u64, payload: &'static [u8]) -> ObjectDatagram {
    ObjectDatagram {
        track_alias: TrackAlias(3),
        group,
        object,
        object_id_absent: false,
        publisher_priority: 9,
        end_of_group: false,
        extensions: Extensions::default(),
        body: DatagramBody::Payload(bytes::Bytes::from_static(payload)),
    }
}

/// S2.5-09, S10-05.
#[test]
fn streams_and_datagrams_on_one_track() {
    let world = World::new();
    let why = MalformedTrack::ForwardingPreference { at: at(1, 1) };
    world.send(header(1, 0), &[object(0, b"x")]);
    let result = world
        .log
        .borrow_mut()
        .receive_datagram(datagram(1, 1, b"y"), world.now);
    assert_eq!(result, Err(why.clone()));
    let mut track = integrity::new();
    let objects = [object(0, b"x")];
    integrity::read(&mut track, &header(1, 0), &objects, State::Open).unwrap();
    assert_eq!(track.datagram(&datagram(1, 1, b"y")), Err(why.clone()));
    let world = World::new();
    let first = datagram(1, 0, b"x");
    world
        .log
        .borrow_mut()
        .receive_datagram(first, world.now)
        .unwrap();
    let got = complaint_of_log(&world, &[(header(1, 0), vec![object(1, b"y")])]);
    assert_eq!(got, Some(why.clone()));
    let mut track = integrity::new();
    track.datagram(&datagram(1, 0, b"x")).unwrap();
    let objects = [object(1, b"y")];
    let read = integrity::read(&mut track, &header(1, 0), &objects, State::Open);
    assert_eq!(read, Err(why));
}

/// S2.5-06, S2.5-08, S10.3.1-04 for datagrams.
#[test]
fn datagrams_that_contradict() {
    let last = ObjectDatagram {
        end_of_group: true,
        ..datagram(1, 4, b"x")
    };
    let other = ObjectDatagram {
        publisher_priority: 1,
        ..datagram(1, 4, b"x")
    };
    for second in [datagram(1, 5, b"y"), datagram(1, 4, b"other"), other] {
        let world = World::new();
        let mut log = world.log.borrow_mut();
        log.receive_datagram(last.clone(), world.now).unwrap();
        log.receive_datagram(last.clone(), world.now).unwrap();
        let why = log.receive_datagram(second.clone(), world.now).unwrap_err();
        assert_eq!(log.malformed(), Some(&why));
        let mut track = integrity::new();
        track.datagram(&last).unwrap();
        track.datagram(&last).unwrap();
        assert_eq!(track.datagram(&second), Err(why));
    }
}

/// S11.1-02: all five.
#[test]
fn prior_group_gaps_that_contradict() {
    let pair = KeyValuePair::Varint {
        key: GROUP_GAP,
        value: 1,
    };
    let mut twice = object(0, b"x");
    twice.extensions = Extensions::from_pairs(&[pair.clone(), pair]).unwrap();
    let why = expect(&[(with_extensions(9, 0), vec![twice])]);
    let cause = MalformedExtensions::RepeatedGap;
    assert_eq!(
        why,
        MalformedTrack::Extensions {
            at: at(9, 0),
            cause
        }
    );

    let gap = |id, gap| with_gap(id, GROUP_GAP, gap);
    expect(&[(with_extensions(9, 0), vec![gap(0, 2), gap(1, 3)])]);
    expect(&[(with_extensions(1, 0), vec![gap(0, 2)])]);
    let told = (with_extensions(9, 0), vec![gap(0, 2)]);
    let inside = (header(8, 0), vec![object(0, b"x")]);
    expect(&[inside.clone(), told.clone()]);
    let why = expect(&[told.clone(), inside]);
    assert_eq!(
        why,
        MalformedTrack::Gap {
            at: at(8, 0),
            what: "group"
        }
    );
    accept(&[
        told.clone(),
        (with_extensions(9, 1), vec![object(5, b"x"), gap(6, 2)]),
        (header(6, 0), vec![object(0, b"x")]),
    ]);
    // S10.2.1.1-05: that a group is empty may be told in both ways, in any order.
    for kind in [ObjectStatus::EndOfGroup, ObjectStatus::DoesNotExist] {
        let empty = (header(8, 0), vec![status(0, kind)]);
        accept(&[empty.clone(), told.clone(), empty.clone()]);
        accept(&[told.clone(), empty]);
    }
    let not_empty = (header(8, 0), vec![status(1, ObjectStatus::EndOfGroup)]);
    expect(&[not_empty.clone(), told.clone()]);
    expect(&[told, not_empty]);
}

/// S11.3-02: all four.
#[test]
fn prior_object_gaps_that_contradict() {
    let pair = KeyValuePair::Varint {
        key: OBJECT_GAP,
        value: 1,
    };
    let mut twice = object(9, b"x");
    twice.extensions = Extensions::from_pairs(&[pair.clone(), pair]).unwrap();
    expect(&[(with_extensions(9, 0), vec![twice])]);

    let gap = |id, gap| with_gap(id, OBJECT_GAP, gap);
    expect(&[(with_extensions(9, 0), vec![gap(1, 2)])]);
    let told = (with_extensions(9, 0), vec![gap(9, 2)]);
    let inside = (header(9, 1), vec![object(8, b"x")]);
    expect(&[inside.clone(), told.clone()]);
    let why = expect(&[told.clone(), inside]);
    assert_eq!(
        why,
        MalformedTrack::Gap {
            at: at(9, 8),
            what: "object"
        }
    );
    accept(&[told.clone(), (header(9, 1), vec![object(6, b"x")])]);
    // That an object does not exist may be told in both ways, in any order.
    let gone = (header(9, 1), vec![status(8, ObjectStatus::DoesNotExist)]);
    accept(&[gone.clone(), told.clone(), gone.clone()]);
    accept(&[told, gone]);
}

/// S11.2-05 [A36].
#[test]
fn immutable_extensions_that_are_broken() {
    let immutable = |inner: &'static [u8]| KeyValuePair::Bytes {
        key: 0xB,
        value: bytes::Bytes::from_static(inner),
    };
    for inner in [&[0x0B, 0x00][..], &[0x40][..]] {
        let mut broken = object(0, b"x");
        broken.extensions = Extensions::from_pairs(&[immutable(inner)]).unwrap();
        let why = expect(&[(with_extensions(0, 0), vec![broken])]);
        assert!(matches!(why, MalformedTrack::Extensions { .. }), "{why}");
    }
    let mut inside = object(5, b"x");
    inside.extensions = Extensions::from_pairs(&[immutable(&[0x3E, 2])]).unwrap();
    // S11.2-01: what stands inside counts.
    let late = (header(0, 1), vec![object(4, b"y")]);
    expect(&[(with_extensions(0, 0), vec![inside]), late]);
}

/// S10.4-02: the session of the publisher ends, subscribers see a reset.
#[test]
fn fin_inside_an_object() {
    let mut world = World::subscribed();
    let mut upstream = world.publish(header(0, 0));
    upstream.object(0, b"x");
    upstream.begin(1, b"yyy", 1);
    world.run();
    let error = upstream.finish().unwrap_err();
    assert!(matches!(error, IngestError::Decode(_)), "{error}");
    world.run();
    assert_eq!(
        world.stream(0).state,
        State::Reset(StreamCode::INTERNAL_ERROR)
    );
    assert_eq!(world.log.borrow().malformed(), None);
}

/// S8.4-16: bytes that break the draft go no further.
#[test]
fn broken_bytes_are_not_passed_on() {
    let mut world = World::subscribed();
    let mut upstream = world.publish(header(0, 0));
    upstream.object(0, b"x");
    world.run();
    let before = world.stream(0).bytes.clone();
    // Delta 0, length 0, status 7.
    let error = upstream.bytes(&[0, 0, 7]).unwrap_err();
    assert!(matches!(error, IngestError::Decode(_)), "{error}");
    world.run();
    assert_eq!(world.stream(0).bytes, before);
    assert_eq!(
        world.stream(0).state,
        State::Reset(StreamCode::INTERNAL_ERROR)
    );
}
