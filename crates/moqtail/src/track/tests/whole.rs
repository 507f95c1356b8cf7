//! When the stream of a subgroup that came on several streams ends with FIN (draft-14 §10.4.3).

use std::time::Duration;

use super::support::*;
use crate::model::{Filter, Location, StreamCode, SubgroupHeader};
use crate::track::{DeliveryLimits, SubscriptionParams, TrackLimits, UpdateParams};

const RESET: StreamCode = StreamCode::SESSION_CLOSED;
const CUT: State = State::Reset(StreamCode::CANCELLED);

/// Objects expire after 100 ms.
fn hastily() -> SubscriptionParams {
    SubscriptionParams {
        delivery_timeout: Some(Duration::from_millis(100)),
        ..params(from_start())
    }
}

fn hasty() -> World {
    let mut world = World::new();
    world.subscribe(SUB, hastily()).unwrap();
    world
}

/// Streams that are to be reset have 50 ms.
fn lingering(params: SubscriptionParams) -> World {
    let delivery = DeliveryLimits {
        reset_delay: Duration::from_millis(50),
        ..at_once()
    };
    let mut world = World::with(TrackLimits::default(), delivery);
    world.subscribe(SUB, params).unwrap();
    world
}

/// The first three objects of a subgroup come on a stream that is reset.
fn first_stream(world: &World) {
    let mut first = world.publish(header(0, 0));
    first.objects(&objects(0..3)).unwrap();
    first.reset(RESET);
}

fn keep_for_a_second(world: &World) {
    let mut log = world.log.borrow_mut();
    log.set_cache_duration(world.publisher, Some(Duration::from_secs(1)));
}

/// The log forgets the subgroup, but not all of its group.
fn forget(world: &mut World) {
    keep_for_a_second(world);
    let mut log = world.log.borrow_mut();
    world.now += Duration::from_secs(2);
    assert!(log.expire(world.now));
    assert!(log.subgroups.is_empty());
}

/// The others come on a second one that is whole; how it ended for the subscriber.
fn second_stream(world: &mut World) -> State {
    world.send(header(0, 0), &objects(3..5));
    world.give_credit(10);
    let last = world.wire.streams.last().unwrap();
    assert_eq!(last.ids(), [3, 4]);
    last.state
}

/// Nothing is lost for this subscriber.
#[test]
fn who_was_handed_both_streams_gets_fin() {
    let mut world = hasty();
    first_stream(&world);
    world.run();
    assert_eq!(second_stream(&mut world), State::Finished);
}

/// S10.4.3-01: all of the second stream is delivered, but of the subgroup only that.
#[test]
fn what_came_while_nothing_was_forwarded_is_missing_before_a_fin() {
    for (start, evicted) in [(0, false), (3, false), (0, true), (3, true)] {
        let mut world = without_the_first_stream(start);
        if evicted {
            forget(&mut world);
        }
        let state = if start == 0 { CUT } else { State::Finished };
        assert_eq!(second_stream(&mut world), state, "from {start}");
        // The next group is not concerned.
        world.send(header(1, 0), &objects(0..2));
        world.run();
        assert_eq!(world.wire.streams.last().unwrap().state, State::Finished);
    }
}

/// A world that was told to forward nothing while the first stream came.
fn without_the_first_stream(start: u64) -> World {
    let mut world = World::new();
    let start = Location::new(0, start);
    let filter = Filter::AbsoluteStart { start };
    world.subscribe(SUB, params(filter)).unwrap();
    let forward = |forward| UpdateParams {
        start,
        forward,
        ..open_update()
    };
    world.update(SUB, forward(false)).unwrap();
    first_stream(&world);
    world.run();
    world.update(SUB, forward(true)).unwrap();
    world
}

/// The second stream is handed over and leaves the log with its end, at which nobody has looked.
#[test]
fn what_lies_before_the_subscription_is_not_missing_before_a_fin_that_left() {
    for (start, end) in [(0, CUT), (3, State::Finished)] {
        let mut world = without_the_first_stream(start);
        let mut second = world.publish(header(0, 0));
        second.objects(&objects(3..5)).unwrap();
        world.run();
        second.finish().unwrap();
        world.evict_all();
        world.run();
        assert_eq!(world.stream(0).ids(), [3, 4]);
        assert_eq!(world.stream(0).state, end, "from {start}");
    }
}

/// The log knows no more with which object the subgroup began, but the second stream had it, too.
#[test]
fn what_the_second_stream_repeats_is_missing_before_its_fin() {
    let mut world = without_the_first_stream(0);
    for subgroup in 1..=32 {
        let mut other = world.publish(header(0, subgroup));
        let first = 100 + subgroup;
        other.objects(&objects(first..first + 1)).unwrap();
        other.reset(RESET);
    }
    world.run();
    forget(&mut world);
    world.send(header(0, 0), &objects(0..5));
    world.run();
    let last = world.wire.streams.last().unwrap();
    assert_eq!(last.ids(), [3, 4]);
    assert_eq!(last.state, CUT);
}

/// The log forgot the subgroup twice, and came to know of lower objects in between.
#[test]
fn a_hole_below_what_was_known_at_first_is_missing_before_a_fin() {
    let mut world = World::subscribed();
    for ids in [3..5, 0..1] {
        let mut upstream = world.publish(header(0, 0));
        upstream.objects(&objects(ids)).unwrap();
        upstream.reset(RESET);
        world.run();
        forget(&mut world);
    }
    world.send(header(0, 0), &objects(5..7));
    world.run();
    let last = world.wire.streams.last().unwrap();
    assert_eq!(last.ids(), [5, 6]);
    assert_eq!(last.state, CUT);
}

/// S10.4.3-02: the first stream was begun too late, or not at all.
#[test]
fn what_expired_is_missing_before_a_fin() {
    for (window, evicted) in [(0, false), (20, false), (0, true), (20, true)] {
        let mut world = hasty();
        world.wire.window = window;
        world.wire.credit = usize::from(window > 0);
        first_stream(&world);
        world.pass(Duration::from_millis(200));
        if evicted {
            forget(&mut world);
        }
        world.wire.window = usize::MAX;
        assert_eq!(second_stream(&mut world), CUT, "window {window}");
    }
}

/// What became too old before this session looked at it, or after an update that leaves out only what comes before it.
#[test]
fn what_left_because_of_its_age_is_missing_before_a_fin() {
    for looked in [false, true] {
        let mut world = World::subscribed();
        keep_for_a_second(&world);
        world.wire.credit = 0;
        first_stream(&world);
        if looked {
            world.run();
            let update = UpdateParams {
                start: Location::new(0, 1),
                ..open_update()
            };
            world.update(SUB, update).unwrap();
        }
        forget(&mut world);
        assert_eq!(second_stream(&mut world), CUT, "looked {looked}");
        assert_eq!(world.wire.streams.len(), 1);
        assert_eq!(world.ended(), None);
    }
}

/// What left the log before it was begun.
#[test]
fn what_left_the_log_is_missing_before_a_fin() {
    for looked in [false, true] {
        let limits = TrackLimits {
            max_runs: 2,
            ..TrackLimits::default()
        };
        // Nothing is taken out before it is sent.
        let delivery = DeliveryLimits {
            in_flight_bytes: 0,
            ..at_once()
        };
        let mut world = World::with(limits, delivery);
        world.subscribe(SUB, hastily()).unwrap();
        world.wire.credit = 0;
        for ids in [0..1, 1..3] {
            let mut upstream = world.publish(header(0, 0));
            upstream.objects(&objects(ids)).unwrap();
            upstream.reset(RESET);
            if looked {
                world.run();
            }
        }
        assert_eq!(second_stream(&mut world), CUT, "looked {looked}");
        assert_eq!(world.stream(0).ids(), [1, 2]);
    }
}

/// What lies before the subscription is not missing, though the log has it no more.
#[test]
fn what_left_the_log_below_the_start_is_not_missing_before_a_fin() {
    for (start, end) in [(1, State::Finished), (0, CUT)] {
        let mut world = World::new();
        let params = SubscriptionParams {
            filter: Filter::AbsoluteStart {
                start: Location::new(0, start),
            },
            ..hastily()
        };
        world.subscribe(SUB, params).unwrap();
        let mut upstream = world.publish(header(0, 0));
        upstream.object(0, b"zero");
        world.evict_all();
        upstream.object(1, b"one");
        upstream.finish().unwrap();
        world.run();
        assert_eq!(world.stream(0).ids(), [1]);
        assert_eq!(world.stream(0).state, end, "from {start}");
    }
}

/// The peer stopped the first stream.
#[test]
fn what_was_stopped_is_missing_before_a_fin() {
    let mut world = hasty();
    world.wire.window = 20;
    first_stream(&world);
    world.run();
    world.stop(0);
    world.wire.window = usize::MAX;
    assert_eq!(second_stream(&mut world), CUT);
}

/// The first stream takes nothing more when the second one is all delivered: that waits for its end.
#[test]
fn what_is_still_on_its_way_is_waited_for_before_a_fin() {
    for arrives in [true, false] {
        let mut world = lingering(hastily());
        world.wire.acknowledge = false;
        world.wire.window = 20;
        first_stream(&world);
        world.run();
        world.wire.window = usize::MAX;
        assert_eq!(second_stream(&mut world), State::Open);
        world.pass(Duration::from_millis(70));
        assert_eq!(world.stream(1).state, State::Open);
        if arrives {
            world.open_window(0, usize::MAX);
            // At once, and with some time to arrive though its objects are as old as they may become.
            world.pass(Duration::from_millis(40));
            assert_eq!(world.stream(1).state, State::Finished);
        }
        world.pass(Duration::from_millis(80));
        let states = [world.stream(0).state, world.stream(1).state];
        let expected = match arrives {
            // The timeout still holds for what has not arrived.
            true => [
                State::Reset(RESET),
                State::Reset(StreamCode::DELIVERY_TIMEOUT),
            ],
            false => [State::Reset(StreamCode::DELIVERY_TIMEOUT), CUT],
        };
        assert_eq!(states, expected);
    }
}

/// The earlier stream has nothing to send for the moment, though it has not ended: all that there is has been handed over.
#[test]
fn a_stream_waits_no_longer_than_until_the_others_have_sent_all() {
    let mut world = lingering(params(from_start()));
    world.wire.window = 20;
    let mut earlier = world.publish(header(0, 0));
    earlier.objects(&objects(0..2)).unwrap();
    world.run();
    world.wire.window = usize::MAX;
    let mut later = world.publish(header(0, 0));
    later.objects(&objects(3..5)).unwrap();
    earlier.objects(&objects(2..3)).unwrap();
    later.finish().unwrap();
    world.run();
    // However long that takes: nothing may be left out.
    world.pass(Duration::from_secs(20));
    assert_eq!(world.stream(1).state, State::Open);
    world.open_window(0, usize::MAX);
    world.run();
    let states = [world.stream(0).state, world.stream(1).state];
    assert_eq!(states, [State::Open, State::Finished]);
}

/// The earlier stream cannot be opened before a later one ends.
#[test]
fn a_stream_does_not_wait_for_one_that_needs_its_credit() {
    let mut world = lingering(params(from_start()));
    world.wire.credit = 1;
    let mut later = world.publish(header(0, 0));
    later.objects(&objects(3..5)).unwrap();
    world.run();
    let mut earlier = world.publish(header(0, 0));
    earlier.objects(&objects(0..3)).unwrap();
    world.run();
    earlier.reset(RESET);
    later.finish().unwrap();
    world.pass(Duration::from_millis(60));
    assert_eq!(world.stream(0).state, CUT);
    world.give_credit(1);
    assert_eq!(world.stream(1).ids(), [0, 1, 2]);
}

/// Of one subgroup the earlier stream is sent first, whichever came first.
#[test]
fn the_streams_of_a_subgroup_are_sent_in_their_order() {
    let mut world = World::subscribed();
    world.wire.credit = 0;
    for ids in [3..5, 0..3] {
        let mut upstream = world.publish(header(0, 0));
        upstream.objects(&objects(ids)).unwrap();
        upstream.reset(RESET);
    }
    world.give_credit(1);
    assert_eq!(world.stream(0).ids(), [0, 1, 2]);
}

/// Between two objects of one stream there is nothing of the subgroup, though the first of them was on another before.
#[test]
fn what_a_stream_leaves_out_is_not_missing_before_a_fin() {
    let mut world = World::subscribed();
    let mut whole = world.publish(header(0, 0));
    whole.objects(&objects(0..1)).unwrap();
    let mut part = world.publish(header(0, 0));
    part.objects(&objects(0..2)).unwrap();
    part.begin(5, b"payload of 5", 1);
    part.reset(RESET);
    whole.objects(&objects(1..2)).unwrap();
    whole.objects(&objects(5..6)).unwrap();
    whole.finish().unwrap();
    world.run();
    let last = world.wire.streams.last().unwrap();
    assert_eq!(last.ids(), [5]);
    assert_eq!(last.state, State::Finished);
}

/// S10.4.3-01: what comes first is not all of the subgroup, as is known when it ends.
#[test]
fn what_came_later_is_missing_before_a_fin() {
    for (ids, expected) in [(0..2, CUT), (0..3, State::Finished)] {
        let mut world = World::subscribed();
        let mut later = world.publish(header(0, 0));
        later.objects(&objects(3..5)).unwrap();
        world.run();
        let mut earlier = world.publish(header(0, 0));
        earlier.objects(&objects(ids)).unwrap();
        world.run();
        earlier.reset(RESET);
        world.run();
        later.finish().unwrap();
        world.run();
        assert_eq!(world.stream(0).ids(), [3, 4]);
        assert_eq!(world.stream(0).state, expected);
    }
}

/// S10.4.3-12: the first stream breaks off inside an object after the second one has ended, but before that one's end is
/// delivered.
#[test]
fn what_breaks_off_after_the_end_is_missing_before_a_fin() {
    for evicted in [false, true] {
        what_breaks_off_after_the_end_is_missing(evicted);
    }
}

fn what_breaks_off_after_the_end_is_missing(evicted: bool) {
    let mut world = hasty();
    let mut first = world.publish(header(0, 0));
    first.objects(&objects(0..2)).unwrap();
    first.begin(2, b"never whole", 1);
    world.wire.credit = 1;
    world.send(header(0, 0), &objects(3..5));
    world.run();
    first.reset(RESET);
    if evicted {
        // All of it was taken out before.
        world.evict_all();
    }
    world.run();
    assert_eq!(world.stream(0).state, State::Reset(RESET));
    world.give_credit(10);
    assert_eq!(world.stream(1).ids(), [3, 4]);
    assert_eq!(world.stream(1).state, CUT);
}

/// S10.4.3-01, S10.4.3-12: the second stream of a subgroup that was reset ends with FIN where nothing is missing between
/// the two, or only what the subscription does not cover.
#[test]
fn a_subgroup_on_two_streams_ends_with_fin_only_if_it_is_whole() {
    let extended = SubgroupHeader {
        extensions: true,
        ..header(0, 0)
    };
    for (rest, start, whole) in [
        (vec![object(2, b"2")], 0, true),
        (vec![object(3, b"3")], 0, false),
        (vec![object(3, b"3")], 3, true),
        (vec![with_gap(3, 0x3E, 1)], 0, true),
    ] {
        let mut world = World::new();
        let filter = crate::model::Filter::AbsoluteStart {
            start: Location::new(0, start),
        };
        world.subscribe(SUB, params(filter)).unwrap();
        let mut first = world.publish(extended);
        first.objects(&objects(0..2)).unwrap();
        first.begin(2, b"cut", 1);
        first.reset(RESET);
        world.send(extended, &rest);
        world.run();
        let state = match whole {
            true => State::Finished,
            false => State::Reset(StreamCode::CANCELLED),
        };
        let last = world.wire.streams.last().unwrap();
        assert_eq!(last.ids(), [rest[0].id]);
        assert_eq!(last.state, state, "{rest:?} from {start}");
    }
}

/// The same where the hole lies further back, or opens only later.
#[test]
fn a_subgroup_on_three_streams_with_a_hole_ends_with_a_reset() {
    for start in [0, 3] {
        let mut world = World::new();
        let filter = crate::model::Filter::AbsoluteStart {
            start: Location::new(0, start),
        };
        world.subscribe(SUB, params(filter)).unwrap();
        for ids in [0..2, 3..5] {
            let mut upstream = world.publish(header(0, 0));
            upstream.objects(&objects(ids)).unwrap();
            upstream.reset(RESET);
        }
        world.send(header(0, 0), &objects(5..7));
        world.run();
        let last = world.wire.streams.last().unwrap();
        assert_eq!(last.ids(), [5, 6]);
        let state = match start {
            0 => State::Reset(StreamCode::CANCELLED),
            _ => State::Finished,
        };
        assert_eq!(last.state, state, "from {start}");
    }
    let mut world = World::subscribed();
    let mut first = world.publish(header(0, 0));
    first.begin(0, b"never whole", 1);
    let mut second = world.publish(header(0, 0));
    second.objects(&objects(1..3)).unwrap();
    world.run();
    first.reset(RESET);
    second.finish().unwrap();
    world.run();
    assert_eq!(world.stream(1).ids(), [1, 2]);
    assert_eq!(world.stream(1).state, State::Reset(StreamCode::CANCELLED));
}
