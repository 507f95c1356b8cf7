//! SUBSCRIBE_UPDATE while objects flow.

use std::{collections::BTreeMap, time::Duration};

use super::support::*;
use crate::model::{Filter, Location, PublishDoneCode, StreamCode};
use crate::track::{SubscriptionId, UpdateError, UpdateParams};

const A: SubscriptionId = SubscriptionId(10);
const B: SubscriptionId = SubscriptionId(20);
const CANCELLED: State = State::Reset(StreamCode::CANCELLED);

/// S7.1-02, S7.1-03, S9.10-10: a new priority counts at once, for open streams too.
#[test]
fn an_update_changes_the_order_at_once() {
    let mut world = World::new();
    world.subscribe(A, with_priority(100)).unwrap();
    world.subscribe(B, with_priority(101)).unwrap();
    world.wire.window = 10;
    world.send(header(0, 0), &[object(0, &[1; 300])]);
    world.run();
    assert!(world.stream(0).priority > world.stream(1).priority);
    let update = UpdateParams {
        subscriber_priority: 0,
        ..open_update()
    };
    world.update(B, update).unwrap();
    world.run();
    assert!(world.stream(0).priority < world.stream(1).priority);
    world.wire.credit = 0;
    world.send(header(1, 0), &[object(0, b"x")]);
    world.run();
    world.wire.window = usize::MAX;
    world.give_credit(1);
    assert!(world.stream(2).priority > world.stream(0).priority);
}

/// S5.1-07, S9.10-08: Forward 0 resets and admits nothing; Forward 1 admits what begins afterwards, on new streams that
/// never end with FIN, because objects between are missing.
#[test]
fn forward_pauses_and_resumes() {
    let mut world = World::subscribed();
    let mut upstream = world.publish(header(0, 0));
    upstream.object(0, b"a");
    world.run();
    let pause = UpdateParams {
        forward: false,
        ..open_update()
    };
    world.update(SUB, pause).unwrap();
    assert_eq!(world.stream(0).state, CANCELLED);
    upstream.object(1, b"b");
    world.run();
    let rest = upstream.begin(2, b"ccc", 1);
    world.update(SUB, open_update()).unwrap();
    upstream.bytes(&rest).unwrap();
    world.run();
    assert_eq!(world.wire.streams.len(), 1);
    upstream.object(3, b"d");
    world.run();
    assert_eq!(world.stream(1).ids(), [3]);
    upstream.finish().unwrap();
    world.run();
    assert_eq!(world.stream(1).state, CANCELLED);
    world.send(header(1, 0), &[object(0, b"e")]);
    world.run();
    assert_eq!(world.stream(2).state, State::Finished);
    world.received();
    // S9.7-19: the end is told also while nothing is forwarded.
    world.update(SUB, pause).unwrap();
    world.log.borrow_mut().end(PublishDoneCode::TRACK_ENDED, "");
    world.run();
    assert_eq!(world.ended(), Some((PublishDoneCode::TRACK_ENDED, 3)));
}

/// S10.4.3-03, S9.7-22: an update that excludes the rest of a subgroup resets its stream.
#[test]
fn narrowing_resets_what_it_excludes() {
    let mut world = World::subscribed();
    let mut upstreams: Vec<_> = (0..4)
        .map(|group| world.publish(header(group, 0)))
        .collect();
    for upstream in &mut upstreams {
        upstream.object(0, b"x");
    }
    world.run();
    let narrower = UpdateParams {
        start: Location::new(1, 3),
        end_group: Some(2),
        ..open_update()
    };
    world.update(SUB, narrower).unwrap();
    world.run();
    let states: Vec<_> = world
        .wire
        .streams
        .iter()
        .map(|stream| stream.state)
        .collect();
    assert_eq!(states, [CANCELLED, CANCELLED, State::Open, CANCELLED]);
    for upstream in &mut upstreams {
        for id in 1..6 {
            upstream.object(id, b"y");
        }
    }
    for upstream in upstreams {
        upstream.finish().unwrap();
    }
    world.run();
    assert_eq!(world.wire.streams.len(), 5);
    assert_eq!(decode(&world.stream(4).bytes).0.group, 1);
    assert_eq!(world.stream(4).ids(), [3, 4, 5]);
    assert_eq!(world.stream(4).state, State::Finished);
    assert_eq!(world.stream(2).ids(), [0, 1, 2, 3, 4, 5]);
}

/// A backlog that a raised start cuts through.
#[test]
fn narrowing_reaches_the_backlog() {
    let mut world = World::subscribed();
    world.wire.window = 10;
    let objects: Vec<_> = (0..6).map(|id| object(id, &[id as u8; 20])).collect();
    world.send(header(0, 0), &objects);
    world.run();
    let narrower = UpdateParams {
        start: Location::new(0, 4),
        ..open_update()
    };
    world.update(SUB, narrower).unwrap();
    world.wire.window = usize::MAX;
    world.run();
    assert_eq!(world.stream(0).state, CANCELLED);
    assert_eq!(world.stream(1).objects(), objects[4..]);
    assert_eq!(world.stream(1).state, State::Finished);
}

/// S9.10-03, S9.10-04, S9.10-06, S9.10-09.
#[test]
fn updates_may_not_widen() {
    let mut world = World::new();
    let range = Filter::AbsoluteRange {
        start: Location::new(5, 0),
        end_group: 9,
    };
    world.subscribe(SUB, params(range)).unwrap();
    let update = |group, object, end_group| UpdateParams {
        start: Location::new(group, object),
        end_group,
        ..open_update()
    };
    let lowered = UpdateError::StartLowered {
        from: Location::new(5, 0),
        to: Location::new(4, 9),
    };
    assert_eq!(world.update(SUB, update(4, 9, Some(9))), Err(lowered));
    assert_eq!(
        world.update(SUB, update(5, 0, Some(11))),
        Err(UpdateError::EndRaised)
    );
    assert_eq!(
        world.update(SUB, update(5, 0, None)),
        Err(UpdateError::EndRaised)
    );
    assert_eq!(
        world.update(SUB, update(8, 0, Some(7))),
        Err(UpdateError::EndBeforeStart)
    );
    assert_eq!(world.update(SUB, update(8, 0, Some(8))), Ok(()));
    assert_eq!(
        world.update(B, update(8, 0, Some(8))),
        Err(UpdateError::Unknown)
    );
}

/// S9.10-03: the subscriber need not know where a relative filter began, so what lies before that changes nothing, and
/// nothing before it is sent.
#[test]
fn a_start_before_that_of_a_relative_filter_changes_nothing() {
    for (filter, received) in [
        (Filter::LargestObject, vec![(3, 2), (3, 3), (4, 0)]),
        (Filter::NextGroupStart, vec![(4, 0)]),
    ] {
        let mut world = World::new();
        let mut upstream = world.publish(header(3, 0));
        upstream.object(0, b"a");
        upstream.object(1, b"b");
        world.subscribe(SUB, params(filter)).unwrap();
        let pause = UpdateParams {
            forward: false,
            ..open_update()
        };
        for update in [pause, open_update()] {
            world.update(SUB, update).unwrap();
        }
        upstream.object(2, b"c");
        world.run();
        let lower = UpdateParams {
            start: Location::new(2, 0),
            ..open_update()
        };
        world.update(SUB, lower).unwrap();
        upstream.object(3, b"d");
        upstream.finish().unwrap();
        world.send(header(4, 0), &[object(0, b"e")]);
        world.run();
        let received: Vec<_> = received
            .into_iter()
            .map(|(group, object)| Location::new(group, object))
            .collect();
        assert!(world.received().into_keys().eq(received), "{filter:?}");
        // What raises the start is not lowered again.
        let raise = UpdateParams {
            start: Location::new(9, 0),
            ..open_update()
        };
        world.update(SUB, raise).unwrap();
        let lowered = UpdateError::StartLowered {
            from: Location::new(9, 0),
            to: Location::default(),
        };
        assert_eq!(world.update(SUB, open_update()), Err(lowered));
    }
}

/// A subscription for which a thousand runs wait.
fn thousand_waiting() -> World {
    let mut world = World::subscribed();
    world.wire.credit = 0;
    for group in 0..1000 {
        world.send(header(group, 0), &[object(0, b"x")]);
    }
    world.run();
    world
}

/// How often a run was looked up so far.
fn lookups(world: &World) -> usize {
    world.log.borrow().runs.lookups.get()
}

/// Whoever repeats an update makes the session look at nothing, however much waits.
#[test]
fn an_update_that_changes_nothing_costs_nothing() {
    let mut world = thousand_waiting();
    let before = lookups(&world);
    for _ in 0..100 {
        world.update(SUB, open_update()).unwrap();
    }
    let looked = lookups(&world) - before;
    assert!(looked <= 100, "{looked} runs looked at");
    world.give_credit(usize::MAX);
    assert_eq!(world.received().len(), 1000);
}

/// Many updates before the session's next turn cost no more than the last one of them.
#[test]
fn updates_are_applied_once_a_turn() {
    let mut world = thousand_waiting();
    let before = lookups(&world);
    for at in 1..=100 {
        let other = UpdateParams {
            start: Location::new(at, 0),
            delivery_timeout: Some(Duration::from_secs(10 + at % 2)),
            ..open_update()
        };
        world.update(SUB, other).unwrap();
    }
    world.run();
    let looked = lookups(&world) - before;
    assert!(looked <= 10_000, "{looked} runs looked at");
    world.pass(Duration::from_secs(9));
    world.give_credit(200);
    assert_eq!(world.received().len(), 200);
    world.pass(Duration::from_secs(1));
    world.give_credit(usize::MAX);
    let received = world.received();
    assert!(received.keys().map(|at| at.group).eq(100..300));
}

/// Nor does the transport hear of priorities more often, and of runs without a stream it hears nothing.
#[test]
fn priorities_reach_the_transport_once_a_turn() {
    let mut world = thousand_waiting();
    world.wire.window = 1;
    world.give_credit(10);
    for at in 0..100 {
        let update = UpdateParams {
            subscriber_priority: at % 2,
            ..open_update()
        };
        world.update(SUB, update).unwrap();
    }
    let before = lookups(&world);
    world.run();
    assert_eq!(world.wire.prioritized, 10);
    assert!(lookups(&world) - before <= 100);
}

/// A stream that waits for credit while its objects are taken out of the log and leave it.
fn waiting_for_what_left(objects: &[Object]) -> (World, Upstream) {
    let mut world = World::subscribed();
    world.wire.credit = 0;
    let mut upstream = world.publish(header(0, 0));
    upstream.objects(objects).unwrap();
    world.run();
    (world, upstream)
}

fn from_object(id: u64) -> UpdateParams {
    UpdateParams {
        start: Location::new(0, id),
        ..open_update()
    }
}

/// What was taken out of the log for a stream that is not open yet, and has left it, is left out with the rest.
#[test]
fn an_update_excludes_what_has_left_the_log() {
    let (mut world, mut upstream) = waiting_for_what_left(&[object(0, b"x")]);
    world.evict_all();
    world.update(SUB, from_object(1)).unwrap();
    world.give_credit(1);
    upstream.object(1, b"y");
    world.run();
    assert_eq!(world.received().keys().min(), Some(&Location::new(0, 1)));
}

/// The same with a run of which nothing is left in the log, not even its name.
#[test]
fn an_update_excludes_a_run_that_has_left_the_log() {
    let (mut world, upstream) = waiting_for_what_left(&[object(0, b"x")]);
    upstream.finish().unwrap();
    world.run();
    world.evict_all();
    world.update(SUB, from_object(1)).unwrap();
    world.give_credit(1);
    assert_eq!(world.received(), BTreeMap::new());
    assert_eq!(world.ended(), None);
}

/// The object that the new range begins with broke off: nothing of it is missed.
#[test]
fn an_update_excludes_all_of_a_run_that_broke_off_and_has_left() {
    let (mut world, mut upstream) = waiting_for_what_left(&[object(0, b"x")]);
    upstream.begin(1, b"never whole", 1);
    world.run();
    upstream.reset(StreamCode::CANCELLED);
    world.evict_all();
    world.update(SUB, from_object(1)).unwrap();
    world.give_credit(1);
    assert_eq!(world.received(), BTreeMap::new());
    assert_eq!(world.ended(), None);
}

/// An object that the new range has is to go on the stream of one that it has not, and is in the log no more.
#[test]
fn an_update_loses_nothing_that_was_taken_out_of_the_log() {
    for (finished, seen) in [(false, false), (true, true), (true, false)] {
        let (mut world, upstream) = waiting_for_what_left(&[object(0, b"x"), object(1, b"y")]);
        let mut upstream = Some(upstream);
        if finished {
            upstream.take().unwrap().finish().unwrap();
        }
        if seen {
            world.run();
        }
        world.evict_all();
        world.update(SUB, from_object(1)).unwrap();
        world.give_credit(1);
        assert_eq!(world.stream(0).ids(), [0, 1]);
        assert_eq!(world.ended(), None);
    }
}

/// The object that it names is the one that comes next.
#[test]
fn an_update_to_what_comes_next_leaves_the_stream() {
    let mut world = World::subscribed();
    let mut upstream = world.publish(header(0, 0));
    upstream.object(0, b"x");
    world.run();
    world.update(SUB, from_object(1)).unwrap();
    world.run();
    upstream.object(1, b"y");
    upstream.finish().unwrap();
    world.run();
    assert_eq!(world.wire.streams.len(), 1);
    assert_eq!(world.stream(0).ids(), [0, 1]);
    assert_eq!(world.stream(0).state, State::Finished);
}
