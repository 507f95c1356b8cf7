//! What it costs to find what came before.

use std::time::Duration;

use super::support::*;
use crate::model::{Filter, Location, PublishDoneCode, StreamCode};
use crate::track::{Spared, SubscriptionParams, TrackLimits};

fn objects(ids: std::ops::Range<u64>) -> Vec<Object> {
    ids.map(|id| object(id, b"")).collect()
}

/// Copies of objects that have left the log, in a group of very many runs, are not searched for without end.
#[test]
fn copies_of_what_has_left_are_not_searched_for_in_all_runs() {
    const MANY: u64 = 2000;
    let limits = TrackLimits::default();
    let world = World::new();
    let reset = |subgroup, ids| {
        let mut upstream = world.publish(header(0, subgroup));
        upstream.objects(&objects(ids)).unwrap();
        upstream.reset(StreamCode::CANCELLED);
    };
    reset(0, 0..MANY);
    let runs = limits.max_runs as u64;
    let mut next = MANY;
    for subgroup in 0..256 {
        for _ in 0..runs {
            reset(subgroup, next..next + 1);
            next += 1;
        }
    }
    let lookups = || world.log.borrow().runs.lookups.get();
    let mut again = world.publish(header(0, 0));
    let before = lookups();
    again.objects(&objects(0..MANY)).unwrap();
    let searched = lookups() - before;
    assert!(
        searched <= limits.max_searched_runs + 2 * MANY as usize,
        "{searched} runs for {MANY} objects"
    );
    // The next turn may search again.
    let before = lookups();
    again.objects(&objects(MANY..MANY + 1)).unwrap();
    assert!(lookups() > before);
    assert_eq!(world.log.borrow().malformed(), None);
}

/// Copies that are found cost nothing of that: all of them are compared.
#[test]
fn copies_that_are_found_are_compared_however_many_they_are() {
    let limits = TrackLimits {
        max_searched_runs: 10,
        ..TrackLimits::default()
    };
    let world = World::with(limits, at_once());
    let mut all = objects(0..100);
    world.send(header(0, 0), &all);
    let second = world.second_publisher();
    world
        .publish_as(second, header(0, 0))
        .objects(&all)
        .unwrap();
    all[99] = object(99, b"other");
    let mut other = world.publish_as(second, header(0, 0));
    assert!(other.objects(&all).is_err());
}

/// A stream knows the run that it leads, however many others of its subgroup are open.
#[test]
fn the_run_of_a_stream_is_not_searched_for_among_all_that_are_open() {
    const OPEN: u64 = 500;
    const MANY: u64 = 1000;
    let mut world = World::subscribed();
    let mut first = world.publish(header(0, 0));
    first.objects(&objects(0..1)).unwrap();
    let _others: Vec<_> = (1..OPEN)
        .map(|id| {
            let mut other = world.publish(header(0, 0));
            other
                .objects(&objects(10 * MANY + 2 * id..10 * MANY + 2 * id + 1))
                .unwrap();
            other
        })
        .collect();
    assert_eq!(world.log.borrow().runs.len() as u64, OPEN);
    let lookups = || world.log.borrow().runs.lookups.get();
    let before = lookups();
    for at in 0..2 {
        let next = objects(at * MANY + 1..(at + 1) * MANY + 1);
        first.objects(&next).unwrap();
    }
    let searched = lookups() - before;
    assert!(searched < 10 * MANY as usize, "{searched} runs");
    world.run();
    assert_eq!(world.stream(0).objects(), objects(0..2 * MANY + 1));
    assert_eq!(world.log.borrow().runs.len() as u64, OPEN);
}

/// Streams that come and go one after the other beside others of their subgroup, all of one publisher.
#[test]
fn a_stream_costs_the_same_however_many_others_of_its_subgroup_are_open() {
    const OPEN: u64 = 1000;
    let mut world = World::subscribed();
    let lookups = |world: &World| world.log.borrow().runs.lookups.get();
    let mut all: Vec<_> = (0..OPEN).map(|_| world.publish(header(0, 0))).collect();
    for (at, stream) in all.iter_mut().enumerate() {
        let id = 2 * at as u64;
        stream.objects(&objects(id..id + 1)).unwrap();
    }
    world.run();
    assert_eq!(world.log.borrow().runs.len() as u64, OPEN);
    // The last object of the subgroup is known from now on.
    all.pop().unwrap().finish().unwrap();
    let before = lookups(&world);
    for stream in all.drain(1..) {
        stream.reset(StreamCode::INTERNAL_ERROR);
    }
    let looked = lookups(&world) - before;
    assert!(looked <= 20 * OPEN as usize, "{looked} runs");
    all.pop().unwrap().reset(StreamCode::CANCELLED);
    world.run();
    let ends: Vec<_> = world
        .wire
        .streams
        .iter()
        .map(|stream| stream.state)
        .collect();
    assert_eq!(ends.len() as u64, OPEN);
    let count = |end| ends.iter().filter(|state| **state == end).count() as u64;
    assert_eq!(count(State::Finished), 0);
    assert_eq!(count(State::Open), 0);
}

/// What leaves a log is not looked for in all runs that wait each time: a track whose objects age lets something go with
/// each one that comes.
#[test]
fn what_leaves_costs_the_same_however_many_runs_wait() {
    const OLD: u64 = 300;
    const WAITING: u64 = 1000;
    let tick = Duration::from_millis(10);
    let mut world = World::new();
    let start = Location::new(OLD, 0);
    let filter = Filter::AbsoluteStart { start };
    world.subscribe(SUB, params(filter)).unwrap();
    world.wire.credit = 0;
    let publisher = world.publisher;
    let keep = Duration::from_secs(60);
    world
        .log
        .borrow_mut()
        .set_cache_duration(publisher, Some(keep));
    let begun = world.now;
    for group in 0..OLD {
        world.now += tick;
        world.send(header(group, 0), &[object(0, b"old")]);
    }
    for group in OLD..OLD + WAITING {
        world.send(header(group, 0), &[object(0, b"waits")]);
    }
    world.run();
    world.now = begun + keep;
    let log = world.log.clone();
    let lookups = || log.borrow().runs.lookups.get();
    let (before, evictions) = (lookups(), world.log.borrow().evictions);
    let mut upstream = world.publish(header(OLD + WAITING, 0));
    for id in 0..100 {
        world.now += tick;
        upstream.now = world.now;
        upstream.object(id, b"new");
        world.run();
    }
    let gone = world.log.borrow().evictions - evictions;
    assert!((90..=110).contains(&gone), "{gone} left");
    let looked = lookups() - before;
    assert!(looked <= 200 * 100, "{looked} runs looked at");
    // All that waits is still there.
    world.give_credit(usize::MAX);
    assert_eq!(world.received().len() as u64, WAITING + 100);
}

/// What left while nobody looked is found out a moment later, also if nothing happens any more: streams that had all there
/// was end, and the subscription with them.
#[test]
fn runs_that_have_left_are_found_out_though_nothing_comes_any_more() {
    const MANY: u64 = 300;
    let mut world = World::subscribed();
    let mut upstreams: Vec<_> = (0..MANY)
        .map(|group| {
            let mut upstream = world.publish(header(group, 0));
            upstream.object(0, b"x");
            upstream
        })
        .collect();
    world.run();
    assert_eq!(world.wire.streams.len() as u64, MANY);
    for upstream in upstreams.drain(..) {
        upstream.finish().unwrap();
    }
    world.evict_all();
    world
        .log
        .borrow_mut()
        .end(PublishDoneCode::TRACK_ENDED, "over");
    world.pass(Duration::from_secs(1));
    assert!(world.ended().is_some());
}

/// Streams are not opened for runs that have left the log.
#[test]
fn credit_is_not_spent_on_runs_that_have_left() {
    const MANY: u64 = 300;
    let mut world = World::new();
    let params = SubscriptionParams {
        delivery_timeout: Some(Duration::from_secs(60)),
        ..params(from_start())
    };
    world.subscribe(SUB, params).unwrap();
    world.wire.credit = 0;
    for group in 0..MANY {
        world.send(header(group, 0), &[object(0, &[7; 4000])]);
    }
    world.run();
    // What was taken out of the log already is not lost.
    let evicted = world
        .log
        .borrow_mut()
        .evict_before(u64::MAX, Spared::Newest);
    assert!(evicted > 200);
    world.give_credit(10);
    assert_eq!(world.wire.streams.len(), 10);
    assert_eq!(world.received().len(), 10);
}
