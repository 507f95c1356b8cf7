//! How old an object may become: DELIVERY TIMEOUT (draft-14 §9.2.1.2) and MAX_CACHE_DURATION (§9.2.1.3).

use std::time::Duration;

use super::support::*;
use crate::model::{Filter, Location, StreamCode};
use crate::track::{DeliveryLimits, SubscriptionId, SubscriptionParams, TrackLimits, UpdateParams};

const A: SubscriptionId = SubscriptionId(10);
const B: SubscriptionId = SubscriptionId(20);
const TIMED_OUT: State = State::Reset(StreamCode::DELIVERY_TIMEOUT);

fn with_timeout(ms: u64) -> SubscriptionParams {
    SubscriptionParams {
        delivery_timeout: Some(Duration::from_millis(ms)),
        ..params(from_start())
    }
}

/// S9.2.1.2-02: an object whose turn has not come expires too, although its stream had sent all before.
#[test]
fn an_object_that_waits_for_its_turn_expires() {
    let limits = DeliveryLimits {
        in_flight_bytes: 0,
        turn_steps: 1,
        ..at_once()
    };
    let mut world = World::with(TrackLimits::default(), limits);
    let params = SubscriptionParams {
        filter: Filter::AbsoluteStart {
            start: Location::new(1, 0),
        },
        ..with_timeout(100)
    };
    world.subscribe(SUB, params).unwrap();
    let mut late = world.publish(header(1, 0));
    late.object(0, b"first");
    world.pass(Duration::from_millis(200));
    assert_eq!(world.stream(0).ids(), [0]);
    late.now = world.now;
    late.object(1, b"second");
    // Another one takes the turn.
    world.subscribe(A, with_priority(0)).unwrap();
    world.send(header(0, 0), &[object(0, &[1; 200_000])]);
    world.delivery.changed(SUB);
    assert!(world.delivery.service(world.now, &mut world.wire));
    world.now += Duration::from_millis(150);
    world.run();
    assert_eq!(world.stream(0).ids(), [0]);
    assert_eq!(world.stream(0).state, TIMED_OUT);
}

/// S9.2.1.2-02, S9.2.1.2-10: what is too old when the session comes to look at it is not begun.
#[test]
fn what_is_too_old_already_is_not_begun() {
    let mut world = World::new();
    world.subscribe(SUB, with_timeout(100)).unwrap();
    world.send(header(0, 0), &[object(0, b"x")]);
    world.now += Duration::from_millis(200);
    world.run();
    assert_eq!(world.wire.streams.len(), 0);
}

/// S9.2.1.2-03, S9.10-09: an update changes the time of what waits already, and never beyond the publisher's.
#[test]
fn an_updated_timeout_holds_for_what_waits() {
    let mut world = World::new();
    world.wire.window = 0;
    world.subscribe(A, params(from_start())).unwrap();
    let offered = SubscriptionParams {
        publisher_timeout: Some(Duration::from_millis(300)),
        ..params(from_start())
    };
    world.subscribe(B, offered).unwrap();
    world.send(header(0, 0), &[object(0, b"x")]);
    world.run();
    let update = |ms| UpdateParams {
        delivery_timeout: Some(Duration::from_millis(ms)),
        ..open_update()
    };
    world.update(A, update(100)).unwrap();
    world.update(B, update(10_000)).unwrap();
    world.pass(Duration::from_millis(200));
    let states = |world: &World| [world.stream(0).state, world.stream(1).state];
    assert_eq!(states(&world), [TIMED_OUT, State::Open]);
    world.pass(Duration::from_millis(200));
    assert_eq!(states(&world), [TIMED_OUT; 2]);
}

/// A world whose publisher has said MAX_CACHE_DURATION.
fn cached(ms: u64) -> World {
    let world = World::new();
    let duration = Some(Duration::from_millis(ms));
    let mut log = world.log.borrow_mut();
    log.set_cache_duration(world.publisher, duration);
    drop(log);
    world
}

/// S9.2.1.3-02: a stream stays open until the next group begins, by which time all of its group is too old.
#[test]
fn a_reader_that_has_a_whole_run_is_not_slow_when_its_end_and_the_next_group_come_at_once() {
    let mut world = cached(1000);
    world.subscribe(SUB, params(from_start())).unwrap();
    let mut upstream = world.publish(header(0, 0));
    upstream.object(0, b"x");
    world.run();
    for _ in 0..5 {
        world.pass(Duration::from_secs(1));
    }
    upstream.finish().unwrap();
    world.send(header(1, 0), &[object(0, b"y")]);
    world.run();
    assert_eq!(world.ended(), None);
    for stream in 0..2 {
        assert_eq!(world.stream(stream).ids(), [0]);
        assert_eq!(world.stream(stream).state, State::Finished);
    }
}

/// S9.2.1.3-02: a reader that first looks when the beginning of an object has left because of its age is not slow.
#[test]
fn an_object_that_has_begun_to_leave_by_its_age_is_left_out() {
    let mut world = cached(1000);
    world.subscribe(SUB, params(from_start())).unwrap();
    let mut upstream = world.publish(header(0, 0));
    let rest = upstream.begin(0, &[1; 10_000], 5000);
    world.now += Duration::from_secs(2);
    upstream.now = world.now;
    upstream.bytes(&rest).unwrap();
    world.run();
    assert_eq!(world.ended(), None);
    world.send(header(1, 0), &[object(0, b"next")]);
    world.run();
    assert_eq!(world.received().len(), 1);
}

/// S9.2.1.3-02: an object is begun within its time or not at all; one that was begun goes on.
#[test]
fn an_object_is_not_begun_when_its_cache_time_is_over() {
    for (credit_after, comes) in [(500, true), (1500, false)] {
        let mut world = cached(1000);
        world.subscribe(SUB, params(from_start())).unwrap();
        world.wire.credit = 0;
        world.wire.window = 50;
        world.send(header(0, 0), &[object(0, &[1; 100])]);
        world.pass(Duration::from_millis(credit_after));
        world.give_credit(1);
        // What was begun has all the time it needs.
        world.pass(Duration::from_secs(2));
        if comes {
            world.open_window(0, usize::MAX);
            assert_eq!(world.stream(0).objects(), [object(0, &[1; 100])]);
            assert_eq!(world.stream(0).state, State::Finished);
        } else {
            assert_eq!(world.wire.streams.len(), 0);
        }
        // Nobody is too slow because something became too old.
        assert_eq!(world.ended(), None);
        world.send(header(1, 0), &[object(0, b"new")]);
        world.give_credit(1);
        let last = world.wire.streams.last().unwrap();
        assert_eq!(last.objects(), [object(0, b"new")]);
    }
}

/// S9.2.1.3-03: each object has its own time, counted from its first byte; the stream ends with a reset where one is
/// left out.
#[test]
fn earlier_objects_of_a_stream_leave_the_cache_earlier() {
    let mut world = cached(1000);
    world.subscribe(A, params(from_start())).unwrap();
    world.wire.window = 0;
    let mut upstream = world.publish(header(0, 0));
    upstream.object(0, &[1; 5000]);
    world.run();
    world.now += Duration::from_millis(800);
    upstream.now = world.now;
    upstream.object(1, &[2; 5000]);
    world.run();
    assert!(world.log.borrow().bytes() > 10_000);
    world.now += Duration::from_millis(400);
    upstream.now = world.now;
    upstream.object(2, &[3; 5000]);
    // The first has left, the second and third have not.
    let kept = world.log.borrow().bytes();
    assert!(kept > 10_000 && kept < 15_000, "{kept}");
    world.run();
    assert_eq!(world.stream(0).state, TIMED_OUT);
    assert_eq!(world.ended(), None);
}

/// S9.2.1.3-02: what is too old is not kept, in a sealed log and in the newest group either.
#[test]
fn nothing_too_old_is_kept() {
    let mut world = cached(1000);
    for group in 0..5 {
        world.send(header(group, 0), &[object(0, &[1; 5000])]);
        world.now += Duration::from_millis(400);
    }
    assert!(world.log.borrow().bytes() < 23_000);
    let publisher = world.publisher;
    world.log.borrow_mut().remove_publisher(publisher);
    let mut log = world.log.borrow_mut();
    assert!(!log.expire(world.now - Duration::from_millis(300)));
    assert!(log.expire(world.now + Duration::from_secs(1)));
    assert_eq!(log.bytes(), 0);
    assert!(!log.expire(world.now + Duration::from_secs(2)));
    assert_eq!(log.largest(), Some(Location::new(4, 0)));
}

/// S9.2.1.3-05: without the parameter nothing becomes too old; of several publishers the shortest time counts.
#[test]
fn only_what_publishers_say_makes_objects_too_old() {
    let world = World::new();
    let second = world.second_publisher();
    world.send(header(0, 0), &[object(0, &[1; 5000])]);
    let mut log = world.log.borrow_mut();
    assert!(!log.expire(world.now + Duration::from_secs(3600)));
    log.set_cache_duration(world.publisher, Some(Duration::from_secs(50)));
    log.set_cache_duration(second, Some(Duration::from_secs(20)));
    assert!(!log.expire(world.now + Duration::from_secs(19)));
    assert!(log.expire(world.now + Duration::from_secs(20)));
}

/// S9.2.1.3-02: a publisher that wants nothing cached is still forwarded to those who read.
#[test]
fn no_cache_time_at_all_leaves_live_readers_alone() {
    let mut world = cached(0);
    world.subscribe(SUB, params(from_start())).unwrap();
    for group in 0..5 {
        world.send(header(group, 0), &[object(0, &[1; 5000])]);
        world.run();
        world.now += Duration::from_millis(40);
    }
    assert_eq!(world.received().len(), 5);
    assert!(world.log.borrow().bytes() < 7000);
}
