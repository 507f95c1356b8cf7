//! What becomes of readers that are behind, or still wanted what has left the log.

use std::time::Duration;

use super::support::*;
use crate::model::{Filter, Location, PublishDoneCode, StreamCode};
use crate::track::{
    Admission, DeliveryLimits, Spared, SubscriptionId, SubscriptionParams, TrackLimits,
};

/// S9.2.1.2-07, S9.12-18: without a timeout a reader that is too slow is ended, and nobody else is disturbed.
#[test]
fn a_slow_reader_ends_too_far_behind() {
    for lag_bytes in [50_000, u64::MAX] {
        let delivery = DeliveryLimits {
            lag_bytes,
            ..at_once()
        };
        let mut world = World::with(small(), delivery);
        world.subscribe(SUB, params(from_start())).unwrap();
        world.wire.window = 1000;
        for group in 0..20 {
            world.send(header(group, 0), &[object(0, &[1; 10_000])]);
            world.run();
        }
        let opened = world.wire.streams.len() as u64;
        assert_eq!(
            world.ended(),
            Some((PublishDoneCode::TOO_FAR_BEHIND, opened))
        );
        let reset = State::Reset(StreamCode::CANCELLED);
        assert!(
            world
                .wire
                .streams
                .iter()
                .all(|stream| stream.state == reset)
        );
        // The log goes on, and a new reader gets new objects.
        world.wire.window = usize::MAX;
        world
            .subscribe(SubscriptionId(2), params(from_start()))
            .unwrap();
        world.send(header(30, 0), &[object(0, b"x")]);
        world.run();
        assert_eq!(world.wire.streams.last().unwrap().state, State::Finished);
    }
}

/// What was taken out of the log is given back when the transport takes nothing, and may have left the log in between.
#[test]
fn a_reader_blocked_on_what_has_left_is_ended() {
    let mut world = World::with(small(), at_once());
    world.subscribe(SUB, params(from_start())).unwrap();
    world.wire.credit = 0;
    world.wire.window = 1000;
    for group in 0..20 {
        world.send(header(group, 0), &[object(0, &[1; 10_000])]);
        world.run();
    }
    world.give_credit(1);
    assert_eq!(world.ended(), None);
    world.open_window(0, usize::MAX);
    let behind = PublishDoneCode::TOO_FAR_BEHIND;
    assert_eq!(world.ended(), Some((behind, 1)));
}

/// A first subscriber waits for the answer of upstream, and what came meanwhile may have left; what left in an earlier
/// life of the track is not missed.
#[test]
fn a_reader_that_waited_knows_that_it_missed_something() {
    for (mark_after, anew, behind) in [(0, false, true), (30, false, false), (0, true, false)] {
        let mut world = World::with(small(), at_once());
        let mut mark = world.log.borrow().mark();
        for group in 1..=30 {
            world.send(header(group, 0), &[object(0, &[1; 10_000])]);
            if group == mark_after {
                mark = world.log.borrow().mark();
            }
        }
        if anew {
            world.log.borrow_mut().remove_publisher(world.publisher);
            world.publisher = world.second_publisher();
            world.send(header(0, 0), &[object(0, b"anew")]);
        }
        let admission = Admission::Since {
            mark,
            largest: None,
        };
        let log = world.log.clone();
        let attached = world
            .delivery
            .attach(SUB, log, &params(from_start()), admission);
        assert!(attached.is_ok());
        world.delivery.start(SUB);
        world.run();
        let code = world.ended().map(|(code, _)| code);
        assert_eq!(code, behind.then_some(PublishDoneCode::TOO_FAR_BEHIND));
    }
}

/// A run whose objects had left leaves with its end, and a reader that had all of them did not see the end.
#[test]
fn a_reader_does_not_wait_for_a_run_that_left_with_its_end() {
    let second = Duration::from_secs(1);
    let mut world = World::new();
    world.subscribe(SUB, params(from_start())).unwrap();
    let mut upstream = world.publish(header(0, 0));
    upstream.object(0, b"x");
    world.run();
    let mut log = world.log.borrow_mut();
    log.evict_before(u64::MAX, Spared::Nothing);
    log.set_cache_duration(world.publisher, Some(second));
    drop(log);
    world.run();
    upstream.reset(StreamCode::CANCELLED);
    world.now += 2 * second;
    world.send(header(0, 1), &[object(1, b"y")]);
    let end = PublishDoneCode::TRACK_ENDED;
    world.log.borrow_mut().end(end, "over");
    world.run();
    assert_eq!(world.ended(), Some((end, 2)));
}

/// As when a publisher is gone and other tracks need the memory at the same moment.
#[test]
fn a_reader_of_a_run_that_left_when_it_broke_off_inside_an_object_is_not_slow() {
    for credit in [0, 1] {
        let mut world = World::subscribed();
        world.wire.credit = credit;
        let mut upstream = world.publish(header(0, 0));
        upstream.begin(0, b"xx", 1);
        world.run();
        upstream.reset(StreamCode::CANCELLED);
        world.evict_all();
        world.run();
        assert_eq!(world.ended(), None);
        assert_eq!(world.wire.streams.len(), credit);
        for stream in 0..credit {
            let reset = State::Reset(StreamCode::CANCELLED);
            assert_eq!(world.stream(stream).state, reset);
        }
    }
}

/// The last one of a group that ends may be the first one that leaves.
#[test]
fn the_end_of_a_long_run_is_known_beside_many_short_ones() {
    let mut world = World::subscribed();
    let mut long = world.publish(header(0, 0));
    long.object(0, b"x");
    for subgroup in 1..=100 {
        world.send(header(0, subgroup), &[object(subgroup, b"y")]);
    }
    world.run();
    long.finish().unwrap();
    world.evict_all();
    world.run();
    assert_eq!(world.ended(), None);
    assert_eq!(world.stream(0).state, State::Finished);
}

/// Subgroups of one object so far.
fn begun(world: &World, count: u64) -> Vec<Upstream> {
    let begin = |subgroup| {
        let mut upstream = world.publish(header(0, subgroup));
        upstream.object(subgroup, b"x");
        upstream
    };
    (0..count).map(begin).collect()
}

/// Readers with very many streams look at all of them now and then only.
#[test]
fn a_reader_of_very_many_streams_knows_the_ends_of_all() {
    let mut world = World::subscribed();
    let mut open = begun(&world, 400);
    world.run();
    while !open.is_empty() {
        for upstream in open.split_off(open.len() - 8) {
            upstream.finish().unwrap();
        }
        world.evict_all();
        world.run();
    }
    assert_eq!(world.ended(), None);
}

/// What waited when it subscribed was never its own.
#[test]
fn a_reader_does_not_miss_what_had_waited_before_it_came() {
    let mut world = World::new();
    let mut leader = world.publish(header(0, 0));
    let mut follower = world.publish_as(world.second_publisher(), header(0, 0));
    leader.begin(0, b"never whole", 1);
    follower.object(1, b"waits");
    world.subscribe(SUB, params(from_start())).unwrap();
    world.run();
    leader.reset(StreamCode::CANCELLED);
    world.evict_all();
    world.run();
    assert_eq!(world.ended(), None);
}

/// More runs end and leave at once than are remembered: how some of them ended is not known, but nothing is missed.
#[test]
fn a_reader_of_many_runs_that_end_and_leave_at_once_is_not_behind() {
    let mut world = World::subscribed();
    let open = begun(&world, 100);
    world.run();
    for upstream in open {
        upstream.finish().unwrap();
    }
    world.evict_all();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.ended(), None);
    let states: Vec<_> = world.wire.streams.iter().map(|one| one.state).collect();
    let cancelled = State::Reset(StreamCode::CANCELLED);
    let known = |state: &&State| **state == State::Finished;
    assert!(states.iter().filter(known).count() >= 16);
    let told = [State::Finished, cancelled];
    assert!(
        states.iter().all(|state| told.contains(state)),
        "{states:?}"
    );
}

/// An object that waited for another one had arrived long before it could be delivered.
#[test]
fn a_reader_knows_that_it_missed_what_had_waited() {
    let mut world = World::subscribed();
    let mut leader = world.publish(header(0, 0));
    let mut follower = world.publish_as(world.second_publisher(), header(0, 0));
    leader.begin(0, b"never whole", 1);
    follower.object(1, b"waits");
    world.run();
    leader.reset(StreamCode::CANCELLED);
    world.evict_all();
    world.run();
    let code = world.ended().map(|(code, _)| code);
    assert_eq!(code, Some(PublishDoneCode::TOO_FAR_BEHIND));
}

/// Two had waited, and only the first of them has left by the time the session looks.
#[test]
fn a_reader_knows_that_it_missed_the_first_of_those_that_had_waited() {
    let mut world = World::subscribed();
    let mut leader = world.publish(header(0, 0));
    let mut follower = world.publish_as(world.second_publisher(), header(0, 0));
    leader.begin(0, b"never whole", 1);
    follower.object(1, b"waits");
    follower.object(2, b"waits too");
    world.run();
    leader.reset(StreamCode::CANCELLED);
    follower.object(3, b"does not wait");
    let holds = |world: &World, object| {
        let log = world.log.borrow();
        let mut runs = log.changed_since(0);
        runs.any(|run| run.entry(object).is_some())
    };
    while holds(&world, 1) {
        assert!(world.log.borrow_mut().shed());
    }
    assert!(holds(&world, 2));
    world.run();
    let code = world.ended().map(|(code, _)| code);
    assert_eq!(code, Some(PublishDoneCode::TOO_FAR_BEHIND));
}

/// Who has missed something does not take the end of the track for the end of what it has read.
#[test]
fn a_reader_that_missed_the_last_objects_knows_it_although_the_track_has_ended() {
    let mut world = World::with(small(), at_once());
    world.subscribe(SUB, params(from_start())).unwrap();
    for group in 0..20 {
        world.send(header(group, 0), &[object(0, &[1; 10_000])]);
    }
    let mut log = world.log.borrow_mut();
    log.end(PublishDoneCode::TRACK_ENDED, "over");
    log.evict_before(u64::MAX, Spared::Nothing);
    drop(log);
    world.run();
    let behind = PublishDoneCode::TOO_FAR_BEHIND;
    assert_eq!(world.ended(), Some((behind, 0)));
}

/// What left before the session came to see it was missed, whatever left after it.
#[test]
fn a_reader_of_one_group_knows_that_it_missed_it() {
    for groups in [20, 200] {
        let mut world = World::with(small(), at_once());
        let filter = Filter::AbsoluteRange {
            start: Location::new(1, 0),
            end_group: 1,
        };
        world.subscribe(SUB, params(filter)).unwrap();
        for group in 0..groups {
            world.send(header(group, 0), &[object(0, &[1; 20_000])]);
        }
        world.run();
        let behind = PublishDoneCode::TOO_FAR_BEHIND;
        assert_eq!(world.ended(), Some((behind, 0)), "{groups}");
    }
}

/// Of its first group it missed nothing if all that left lies before its first object.
#[test]
fn a_reader_that_begins_inside_a_group_does_not_miss_what_lies_before() {
    for (start, ended) in [(3, false), (2, true)] {
        let mut world = World::new();
        let filter = Filter::AbsoluteStart {
            start: Location::new(0, start),
        };
        world.subscribe(SUB, params(filter)).unwrap();
        world.send(
            header(0, 0),
            &[object(0, b""), object(1, b""), object(2, b"")],
        );
        world.evict_all();
        world.send(header(0, 3), &[object(3, b"x")]);
        world.run();
        assert_eq!(world.ended().is_some(), ended, "from {start}");
    }
}

/// Who waits for nothing but one object and the next is not behind, however large they are: they are delivered at the
/// reader's pace. What waits between them counts.
#[test]
fn an_object_larger_than_the_lag_reaches_slow_readers() {
    let delivery = DeliveryLimits {
        lag_bytes: 50_000,
        ..at_once()
    };
    for more in [0, 1, 2] {
        let mut world = World::with(TrackLimits::default(), delivery);
        world.subscribe(SUB, params(from_start())).unwrap();
        world.wire.window = 1000;
        let mut upstream = world.publish(header(0, 0));
        let payload = vec![1; 400_000];
        let mut rest = upstream.begin(0, &payload, 0);
        while !rest.is_empty() {
            let tail = rest.split_off(rest.len().min(8_000));
            upstream.bytes(&rest).unwrap();
            rest = tail;
            world.run();
        }
        assert_eq!(world.ended(), None);
        for id in 1..=more {
            assert_eq!(world.ended(), None);
            upstream.object(id, &payload);
            world.run();
        }
        if more == 2 {
            assert_eq!(world.ended(), Some((PublishDoneCode::TOO_FAR_BEHIND, 1)));
            continue;
        }
        upstream.finish().unwrap();
        world.run();
        world.open_window(0, usize::MAX);
        let all: Vec<_> = (0..=more).map(|id| object(id, &payload)).collect();
        assert_eq!(world.stream(0).objects(), all);
        assert_eq!(world.stream(0).state, State::Finished);
    }
}

/// Two objects above the lag that are there at once, as when they are published from memory, reach a reader that takes
/// all it can get; so does a small one behind a large one.
#[test]
fn large_objects_one_behind_the_other_reach_a_reader_that_keeps_up() {
    let large = vec![1; 20 << 20];
    for (groups, second) in [([0, 0], &large[..]), ([0, 1], &large), ([0, 0], b"small")] {
        let mut world = World::with(TrackLimits::default(), DeliveryLimits::default());
        world.subscribe(SUB, params(from_start())).unwrap();
        let mut upstream = world.publish(header(groups[0], 0));
        upstream.object(0, &large);
        if groups[1] != groups[0] {
            upstream.finish().unwrap();
            upstream = world.publish(header(groups[1], 0));
        }
        upstream.object(1, second);
        upstream.finish().unwrap();
        world.run();
        assert_eq!(world.ended(), None);
        let received = world.received();
        let at = |group, object| Location::new(group, object);
        assert!(received[&at(groups[0], 0)] == large);
        assert!(received[&at(groups[1], 1)] == second);
    }
}

/// S9.2.1.2-05: with a timeout, or where the operator allows it, old groups are skipped; never with FIN.
#[test]
fn a_slow_reader_skips_groups_where_it_may() {
    for negotiated in [true, false] {
        let delivery = DeliveryLimits {
            lag_bytes: 25_000,
            skip_groups: !negotiated,
            ..at_once()
        };
        let mut world = World::with(TrackLimits::default(), delivery);
        let timeout = negotiated.then_some(Duration::from_secs(100));
        let params = SubscriptionParams {
            delivery_timeout: timeout,
            ..params(from_start())
        };
        world.subscribe(SUB, params).unwrap();
        world.wire.window = 100;
        for group in 0..10 {
            world.send(header(group, 0), &[object(0, &[1; 10_000])]);
            world.run();
        }
        assert_eq!(world.ended(), None);
        let code = match negotiated {
            true => StreamCode::DELIVERY_TIMEOUT,
            false => StreamCode::CANCELLED,
        };
        assert_eq!(world.stream(0).state, State::Reset(code));
        let last = world.wire.streams.len() - 1;
        world.open_window(last, usize::MAX);
        assert_eq!(world.stream(last).state, State::Finished);
        assert_eq!(decode(&world.stream(last).bytes).0.group, 9);
        let whole = world.wire.streams.iter().filter(|stream| {
            stream.state == State::Finished && stream.objects().iter().any(|object| !object.whole)
        });
        assert_eq!(whole.count(), 0);
    }
}

/// One blocked reader beside one that is not.
#[test]
fn a_stalled_stream_holds_nobody_back() {
    let mut world = World::subscribed();
    world
        .subscribe(SubscriptionId(2), params(from_start()))
        .unwrap();
    world.wire.window = 0;
    world.send(header(0, 0), &[object(0, &[1; 100_000])]);
    world.run();
    world.wire.window = usize::MAX;
    for group in 1..50 {
        world.send(header(group, 0), &[object(0, &[1; 1000])]);
        world.run();
    }
    let finished = |stream: &&Stream| stream.state == State::Finished;
    assert_eq!(world.wire.streams.iter().filter(finished).count(), 98);
    world.open_window(0, usize::MAX);
    world.open_window(1, usize::MAX);
    assert!(
        world
            .wire
            .streams
            .iter()
            .all(|stream| stream.state == State::Finished)
    );
}

/// Nothing of a stream is lost that was to come of it: when the end of an object leaves that was never completed, a reader
/// who waits before it is not behind.
#[test]
fn a_reader_that_waits_where_an_object_was_cut_is_not_behind() {
    let mut world = World::with(small(), at_once());
    world.subscribe(SUB, params(from_start())).unwrap();
    let mut upstream = world.publish(header(0, 0));
    upstream.object(0, &[1; 100]);
    world.run();
    world.wire.streams[0].window = 0;
    let mut rest = upstream.begin(1, &[2; 60_000], 1000);
    for _ in 0..5 {
        let more = rest.split_off(10_000);
        upstream.bytes(&rest).unwrap();
        world.run();
        rest = more;
    }
    upstream.reset(StreamCode::SESSION_CLOSED);
    // The group stays as the newest one, and what was written first leaves it.
    let mut next = world.publish(header(0, 1));
    for id in 2..9 {
        next.object(id, &[3; 10_000]);
        world.run();
    }
    let log = world.log.borrow();
    assert!(
        log.runs
            .newest_first()
            .any(|run| run.base() > run.deliverable())
    );
    drop(log);
    assert_eq!(world.ended(), None);
    world.open_window(0, usize::MAX);
    assert_eq!(world.stream(0).ids(), [0]);
    let reset = State::Reset(StreamCode::SESSION_CLOSED);
    assert_eq!(world.stream(0).state, reset);
    assert_eq!(world.ended(), None);
}
