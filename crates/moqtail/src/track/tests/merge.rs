//! Several publishers of one track, and several streams of one subgroup (draft-14 §8.2, §10.4.3).

use std::time::Duration;

use super::support::*;
use crate::model::{
    KeyValuePair, ObjectStatus, PublishDoneCode, StreamCode, SubgroupHeader, SubgroupId,
};
use crate::track::{DeliveryLimits, IngestError, Spared, TrackLimits, TrackLog};

const RESET: StreamCode = StreamCode::SESSION_CLOSED;

/// S8.2-01, S8.2-02, S10.4-03: two streams with one header in, one out.
#[test]
fn copies_of_a_second_publisher_are_dropped() {
    let mut world = World::subscribed();
    let mut a = world.publish(header(0, 0));
    let mut b = world.publish_as(world.second_publisher(), header(0, 0));
    for id in 0..10 {
        let (first, second) = if id % 3 == 0 {
            (&mut b, &mut a)
        } else {
            (&mut a, &mut b)
        };
        first.objects(&objects(id..id + 1)).unwrap();
        world.run();
        second.objects(&objects(id..id + 1)).unwrap();
        world.run();
    }
    a.finish().unwrap();
    world.run();
    b.finish().unwrap();
    world.run();
    assert_eq!(world.wire.streams.len(), 1);
    let expected = encode(
        &SubgroupHeader {
            track_alias: ALIAS,
            ..header(0, 0)
        },
        &objects(0..10),
    );
    assert_eq!(world.stream(0).bytes, expected);
    assert_eq!(world.stream(0).state, State::Finished);
}

/// S8.4.1-01: the leader is lost between objects; the follower goes on, on the same stream.
#[test]
fn a_follower_goes_on_where_the_leader_ended() {
    for follower_is_ahead in [false, true] {
        let mut world = World::subscribed();
        let mut a = world.publish(header(0, 0));
        let mut b = world.publish_as(world.second_publisher(), header(0, 0));
        a.objects(&objects(0..4)).unwrap();
        b.objects(&objects(0..2)).unwrap();
        if follower_is_ahead {
            b.objects(&objects(2..4)).unwrap();
        }
        world.run();
        a.reset(RESET);
        world.run();
        assert_eq!(world.stream(0).state, State::Open);
        let from = if follower_is_ahead { 4 } else { 2 };
        b.objects(&objects(from..7)).unwrap();
        b.finish().unwrap();
        world.run();
        assert_eq!(world.wire.streams.len(), 1);
        assert_eq!(world.stream(0).objects(), objects(0..7));
        assert_eq!(world.stream(0).state, State::Finished);
    }
}

/// S10.4.3-12: a subgroup that nobody continues is reset with the code of upstream.
#[test]
fn without_a_follower_the_reset_is_passed_on() {
    for inside in [false, true] {
        let mut world = World::subscribed();
        let mut a = world.publish(header(0, 0));
        a.objects(&objects(0..2)).unwrap();
        if inside {
            a.begin(2, b"partial", 3);
        }
        world.run();
        a.reset(RESET);
        world.run();
        assert_eq!(world.stream(0).state, State::Reset(RESET));
        assert_eq!(world.log.borrow().malformed(), None);
        // The object may come again, whole.
        world.send(header(0, 0), &[object(2, b"whole")]);
        world.run();
        assert_eq!(world.stream(1).objects(), [object(2, b"whole")]);
    }
}

/// Complete objects that are known when upstream is reset are delivered, and have time to arrive; the partial one is not
/// begun.
#[test]
fn a_reset_waits_for_what_is_on_its_way() {
    let delivery = DeliveryLimits {
        reset_delay: Duration::from_millis(100),
        ..DeliveryLimits::default()
    };
    for opened in [true, false] {
        let mut world = World::with(TrackLimits::default(), delivery);
        world.subscribe(SUB, params(from_start())).unwrap();
        let mut a = world.publish(header(0, 0));
        a.objects(&objects(0..2)).unwrap();
        if opened {
            world.run();
        }
        a.objects(&objects(2..3)).unwrap();
        a.begin(3, b"partial", 3);
        a.reset(RESET);
        let mut void = world.publish(header(1, 0));
        void.begin(0, b"partial", 3);
        void.reset(RESET);
        world.run();
        assert_eq!(world.wire.streams.len(), 1);
        assert_eq!(world.stream(0).objects(), objects(0..3));
        assert_eq!(world.stream(0).state, State::Open);
        world.log.borrow_mut().end(PublishDoneCode::TRACK_ENDED, "");
        world.pass(Duration::from_millis(99));
        assert_eq!(world.stream(0).state, State::Open);
        assert_eq!(world.ended(), None);
        world.pass(Duration::from_millis(1));
        assert_eq!(world.stream(0).state, State::Reset(RESET));
        assert_eq!(world.ended(), Some((PublishDoneCode::TRACK_ENDED, 1)));
        assert_eq!(world.delivery.deadline(), None);
    }
}

/// What was taken out of the log of an object that is never completed is not sent either.
#[test]
fn a_partial_object_that_waits_for_a_stream_is_not_begun() {
    let mut world = World::subscribed();
    world.wire.credit = 0;
    let mut a = world.publish(header(0, 0));
    a.objects(&objects(0..2)).unwrap();
    a.begin(2, b"partial", 3);
    world.run();
    a.reset(RESET);
    world.run();
    world.give_credit(1);
    assert_eq!(world.stream(0).objects(), objects(0..2));
    assert_eq!(world.stream(0).state, State::Reset(RESET));
    assert_eq!(world.delivery.staged(), 0);
}

/// S10.4.3-07: a follower that begins further on does not take the lead over a gap.
#[test]
fn a_follower_does_not_skip_what_the_leader_may_still_bring() {
    let mut world = World::subscribed();
    let mut a = world.publish(header(0, 0));
    let mut b = world.publish_as(world.second_publisher(), header(0, 0));
    a.objects(&objects(0..2)).unwrap();
    b.objects(&objects(5..7)).unwrap();
    world.run();
    assert_eq!(world.stream(0).ids(), [0, 1]);
    a.objects(&objects(2..5)).unwrap();
    world.run();
    assert_eq!(world.wire.streams.len(), 1);
    assert_eq!(world.stream(0).objects(), objects(0..7));
    b.finish().unwrap();
    a.objects(&objects(5..7)).unwrap();
    a.finish().unwrap();
    world.run();
    assert_eq!(world.stream(0).state, State::Finished);
}

/// The last follower leaves without having gone on.
#[test]
fn an_orphan_is_reset_when_its_followers_are_gone() {
    let mut world = World::subscribed();
    let mut a = world.publish(header(0, 0));
    let mut b = world.publish_as(world.second_publisher(), header(0, 0));
    a.objects(&objects(0..4)).unwrap();
    b.objects(&objects(0..1)).unwrap();
    world.run();
    a.reset(RESET);
    world.run();
    assert_eq!(world.stream(0).state, State::Open);
    b.reset(StreamCode::CANCELLED);
    world.run();
    assert_eq!(world.stream(0).state, State::Reset(RESET));
}

/// No object is made of parts from two publishers.
#[test]
fn a_partial_object_is_never_spliced() {
    let whole = vec![5; 1000];
    for held in [0, 400, 1000] {
        let mut world = World::subscribed();
        let mut a = world.publish(header(0, 0));
        let mut b = world.publish_as(world.second_publisher(), header(0, 0));
        a.objects(&objects(0..1)).unwrap();
        a.begin(1, &whole, 500);
        b.objects(&objects(0..1)).unwrap();
        let rest = b.begin(1, &whole, held);
        world.run();
        assert_eq!(world.wire.streams.len(), 1);
        a.reset(RESET);
        world.run();
        assert_eq!(world.stream(0).state, State::Reset(RESET));
        b.bytes(&rest).unwrap();
        b.object(2, b"after");
        b.finish().unwrap();
        world.run();
        assert_eq!(world.wire.streams.len(), 2);
        let expected = [object(1, &whole), object(2, b"after")];
        assert_eq!(world.stream(1).objects(), expected);
        assert_eq!(world.stream(1).state, State::Finished);
    }
}

/// Objects beyond the one the leader is in wait for it, and go in when their turn comes.
#[test]
fn a_follower_that_is_ahead_waits_for_the_object_of_the_leader() {
    let slow = vec![1; 1000];
    let mut world = World::subscribed();
    let mut a = world.publish(header(0, 0));
    let mut b = world.publish_as(world.second_publisher(), header(0, 0));
    let rest = a.begin(0, &slow, 10);
    b.object(0, &slow);
    b.object(1, b"one");
    let more = b.begin(2, b"two is partial", 3);
    world.run();
    assert_eq!(world.wire.streams.len(), 1);
    assert_eq!(world.stream(0).ids(), [0]);
    a.bytes(&rest).unwrap();
    world.run();
    assert_eq!(world.stream(0).ids(), [0, 1, 2]);
    b.bytes(&more).unwrap();
    a.object(1, b"one");
    a.object(2, b"two is partial");
    a.object(3, b"three");
    a.finish().unwrap();
    world.run();
    let expected = [
        object(0, &slow),
        object(1, b"one"),
        object(2, b"two is partial"),
        object(3, b"three"),
    ];
    assert_eq!(world.wire.streams.len(), 1);
    assert_eq!(world.stream(0).objects(), expected);
    assert_eq!(world.stream(0).state, State::Finished);
}

/// S2.5-08 across publishers, also for objects that waited.
#[test]
fn publishers_that_disagree_make_the_track_malformed() {
    let world = World::new();
    let mut a = world.publish(header(0, 0));
    let mut b = world.publish_as(world.second_publisher(), header(0, 0));
    let rest = a.begin(0, b"aaaa", 2);
    b.object(0, b"aaab");
    let error = a.bytes(&rest).unwrap_err();
    assert!(matches!(error, IngestError::Malformed(_)), "{error}");
    assert!(world.log.borrow().malformed().is_some());
}

/// What waits is bounded; then it becomes a stream of its own, and the stream that lacks it does not end as if it were
/// complete (S10.4.3-12), which would make two ends of one subgroup (S2.5-05).
#[test]
fn held_objects_are_bounded() {
    let limits = TrackLimits {
        max_held_bytes: 1000,
        ..TrackLimits::default()
    };
    let mut world = World::with(limits, at_once());
    world.subscribe(SUB, params(from_start())).unwrap();
    let mut a = world.publish(header(0, 0));
    let mut b = world.publish_as(world.second_publisher(), header(0, 0));
    let slow = vec![1; 5000];
    let rest = a.begin(0, &slow, 10);
    b.object(0, &slow);
    b.object(1, &[2; 2000]);
    b.object(2, b"two");
    world.run();
    assert_eq!(world.wire.streams.len(), 2);
    assert_eq!(world.stream(1).ids(), [1, 2]);
    a.bytes(&rest).unwrap();
    a.object(1, &[2; 2000]);
    a.object(2, b"two");
    a.finish().unwrap();
    world.run();
    assert_eq!(world.stream(0).state, State::Open);
    b.finish().unwrap();
    world.run();
    assert_eq!(world.received().len(), 3);
    let states: Vec<_> = world.wire.streams.iter().map(|one| one.state).collect();
    assert_eq!(
        states,
        [State::Reset(StreamCode::CANCELLED), State::Finished]
    );
}

/// Tiny objects cost more than their bytes while they wait.
#[test]
fn held_objects_of_no_bytes_are_bounded() {
    let limits = TrackLimits {
        max_held_bytes: 50_000,
        ..TrackLimits::default()
    };
    let world = World::with(limits, at_once());
    let mut a = world.publish(header(0, 0));
    let mut b = world.publish_as(world.second_publisher(), header(0, 0));
    a.begin(0, b"slow", 1);
    for id in 1..1000 {
        b.object(id, b"");
        let waiting = |log: &TrackLog| log.subgroups[&(0, 0)].held.len();
        assert!(waiting(&world.log.borrow()) < 200);
    }
    assert_eq!(world.log.borrow().held_bytes, 0);
}

/// S10.4.3-07, S10.4.3-08, S10.4.2-08: what is not known to be the next object goes on a new stream.
#[test]
fn an_object_that_may_not_be_the_next_gets_a_new_stream() {
    let mut world = World::subscribed();
    let mut a = world.publish(header(0, 0));
    a.objects(&objects(0..2)).unwrap();
    world.run();
    a.reset(RESET);
    world.send(header(0, 0), &objects(3..5));
    world.run();
    assert_eq!(world.stream(0).ids(), [0, 1]);
    assert_eq!(world.stream(0).state, State::Reset(RESET));
    assert_eq!(world.stream(1).ids(), [3, 4]);
    // S10.4.3-12: what became of object 2 is not known.
    assert_eq!(world.stream(1).state, State::Reset(StreamCode::CANCELLED));
}

/// The same for a reader that joined at that object: no stream is opened for it.
#[test]
fn a_partial_object_of_a_late_reader_that_waits_for_a_stream_is_not_begun() {
    let mut world = World::new();
    let mut a = world.publish(header(0, 0));
    a.objects(&objects(0..2)).unwrap();
    world.subscribe(SUB, params(from_start())).unwrap();
    world.wire.credit = 0;
    a.begin(2, b"cut", 1);
    world.run();
    a.reset(RESET);
    world.run();
    world.give_credit(10);
    assert_eq!(world.wire.streams.len(), 0);
}

/// S10.4.3-07: ids between that are elsewhere or do not exist are no obstacle.
#[test]
fn known_gaps_do_not_part_streams() {
    let extended = |subgroup| SubgroupHeader {
        extensions: true,
        ..header(0, subgroup)
    };
    for how in ["other subgroup", "status", "gap"] {
        let mut world = World::subscribed();
        let mut a = world.publish(extended(0));
        let mut b = world.publish_as(world.second_publisher(), extended(0));
        a.objects(&objects(0..2)).unwrap();
        b.objects(&objects(0..1)).unwrap();
        let other = |objects: &[Object]| world.send(extended(1), objects);
        match how {
            "other subgroup" => other(&objects(2..5)),
            "status" => {
                other(&[2, 3, 4].map(|id| status(id, ObjectStatus::DoesNotExist)));
            }
            _ => other(&[with_gap(5, 0x3E, 3)]),
        }
        a.reset(RESET);
        b.objects(&[object(1, b"payload of 1"), object(6, b"next?")])
            .unwrap();
        world.run();
        let of_subgroup: Vec<_> = world
            .wire
            .streams
            .iter()
            .filter(|stream| decode(&stream.bytes).0.subgroup == SubgroupId::Explicit(0))
            .map(Stream::ids)
            .collect();
        assert_eq!(of_subgroup, [vec![0, 1, 6]], "{how}");
    }
}

/// Two streams of one publisher: it had a reason; the second one does not wait.
#[test]
fn a_publisher_may_split_a_subgroup() {
    let mut world = World::subscribed();
    let mut a = world.publish(header(0, 0));
    a.objects(&objects(0..2)).unwrap();
    a.begin(2, b"slow", 1);
    let mut b = world.publish(header(0, 0));
    b.objects(&objects(5..6)).unwrap();
    world.run();
    assert_eq!(world.wire.streams.len(), 2);
    a.reset(RESET);
    b.finish().unwrap();
    world.run();
    assert_eq!(world.stream(0).state, State::Reset(RESET));
    assert_eq!(world.stream(1).state, State::Reset(StreamCode::CANCELLED));
}

/// Streams that differ in their type cannot be joined.
#[test]
fn streams_of_different_types_are_kept_apart() {
    let mut world = World::subscribed();
    let extended = SubgroupHeader {
        extensions: true,
        ..header(0, 0)
    };
    let mut with_one = object(2, b"payload of 2");
    with_one.extensions =
        crate::model::Extensions::from_pairs(&[KeyValuePair::Varint { key: 2, value: 5 }]).unwrap();
    let mut a = world.publish(header(0, 0));
    let mut b = world.publish_as(world.second_publisher(), extended);
    a.objects(&objects(0..2)).unwrap();
    b.objects(&objects(0..2)).unwrap();
    world.run();
    a.reset(RESET);
    b.objects(std::slice::from_ref(&with_one)).unwrap();
    b.finish().unwrap();
    world.run();
    assert_eq!(world.received().len(), 3);
    let last = world.wire.streams.last().unwrap();
    assert_eq!(last.objects(), [with_one]);
    assert_eq!(last.state, State::Finished);
}

/// A first object that was dropped as a copy: the subgroup keeps its ID.
#[test]
fn the_subgroup_of_the_first_object_survives_its_loss() {
    let mut world = World::subscribed();
    let first = SubgroupHeader {
        subgroup: SubgroupId::FirstObject,
        ..header(0, 0)
    };
    let mut a = world.publish(first);
    a.objects(&objects(7..9)).unwrap();
    a.begin(9, b"cut", 1);
    a.reset(RESET);
    let mut b = world.publish_as(world.second_publisher(), first);
    b.objects(&objects(7..9)).unwrap();
    b.object(9, b"cut");
    b.finish().unwrap();
    world.run();
    let (header, objects) = decode(&world.wire.streams.last().unwrap().bytes);
    assert_eq!(header.subgroup, SubgroupId::Explicit(7));
    assert_eq!(objects, [object(9, b"cut")]);
}

/// S10.4.3: where a stream goes on after objects that came by another, readers get a new stream: none leaves out an object
/// between two others.
#[test]
fn no_stream_goes_on_after_an_object_that_is_on_another() {
    let mut world = World::subscribed();
    let other = world.second_publisher();
    let mut late = world.publish(header(0, 0));
    late.object(1, b"b");
    let mut early = world.publish_as(other, header(0, 0));
    for (id, payload) in [(0, b"a"), (1, b"b"), (2, b"c")] {
        early.object(id, payload);
    }
    early.finish().unwrap();
    world.run();
    assert_eq!(world.stream(0).ids(), [0]);
    assert_eq!(world.stream(1).ids(), [1, 2]);
    assert_eq!(world.stream(0).state, State::Reset(StreamCode::CANCELLED));
    assert_eq!(world.stream(1).state, State::Finished);
}

/// The same where the object between has come by a stream that is lost.
#[test]
fn no_stream_joins_another_after_an_object_that_is_on_a_third() {
    let mut world = World::subscribed();
    let mut first = world.publish(header(0, 0));
    first.object(0, b"a");
    let mut second = world.publish(header(0, 0));
    second.object(2, b"c");
    second.begin(3, b"dd", 1);
    second.reset(StreamCode::CANCELLED);
    first.object(1, b"b");
    let other = world.second_publisher();
    let mut third = world.publish_as(other, header(0, 0));
    third.object(3, b"dd");
    world.run();
    first.object(2, b"c");
    first.object(3, b"dd");
    first.finish().unwrap();
    third.finish().unwrap();
    world.run();
    assert_eq!(world.received().len(), 4);
    let streams = 0..world.wire.streams.len();
    let mut ids: Vec<_> = streams.map(|at| world.stream(at).ids()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [vec![0, 1], vec![2], vec![3]]);
}

/// The same where it came by a stream that has left the log.
#[test]
fn no_stream_goes_on_after_an_object_that_was_on_one_that_left() {
    for leaves_first in [false, true] {
        let mut world = World::subscribed();
        let other = world.second_publisher();
        let mut late = world.publish(header(0, 0));
        late.object(1, b"b");
        let mut early = world.publish_as(other, header(0, 0));
        early.object(0, b"a");
        world.run();
        late.begin(2, b"cc", 1);
        let log = world.log.clone();
        let leave = || log.borrow_mut().evict_before(u64::MAX, Spared::Nothing);
        if leaves_first {
            leave();
        }
        late.reset(RESET);
        world.run();
        if !leaves_first {
            leave();
        }
        early.object(1, b"b");
        early.object(2, b"cc");
        early.finish().unwrap();
        world.run();
        let streams = 0..world.wire.streams.len();
        let ids: Vec<_> = streams.map(|at| world.stream(at).ids()).collect();
        assert_eq!(ids, [vec![0], vec![1], vec![2]], "{leaves_first}");
    }
}

/// Nothing of its subgroup is left, but what it had is known to have come.
#[test]
fn no_stream_goes_on_after_an_object_of_a_subgroup_that_left() {
    let mut world = World::subscribed();
    world.send(header(0, 0), &[object(1, b"b")]);
    world.run();
    world.send(header(1, 0), &[object(0, b"x")]);
    world
        .log
        .borrow_mut()
        .evict_before(u64::MAX, Spared::Newest);
    let mut again = world.publish_as(world.second_publisher(), header(0, 0));
    for (id, payload) in [(0, b"a"), (1, b"b"), (2, b"c")] {
        again.object(id, payload);
    }
    world.run();
    let streams = 0..world.wire.streams.len();
    let mut ids: Vec<_> = streams.map(|at| world.stream(at).ids()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [[0], [0], [1], [2]]);
}

/// An End of Group that waits for the leader of its subgroup is the end, not an object before it, also on a stream that
/// says to end with the last object.
#[test]
fn an_end_that_waits_contradicts_no_copy_of_it() {
    let mut world = World::subscribed();
    let header = SubgroupHeader {
        end_of_group: true,
        ..header(0, 0)
    };
    let mut leader = world.publish(header);
    leader.object(0, b"a");
    let rest = leader.begin(1, b"bb", 1);
    let end = || [object(1, b"bb"), status(2, ObjectStatus::EndOfGroup)];
    for _ in 0..2 {
        let mut follower = world.publish_as(world.second_publisher(), header);
        follower.object(0, b"a");
        follower.objects(&end()).unwrap();
        follower.finish().unwrap();
    }
    leader.bytes(&rest).unwrap();
    leader.objects(&end()[1..]).unwrap();
    leader.finish().unwrap();
    world.run();
    assert_eq!(world.stream(0).ids(), [0, 1, 2]);
    assert_eq!(world.stream(0).state, State::Finished);
}
