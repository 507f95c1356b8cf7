//! Budgets: what leaves the log.

use std::time::Duration;

use super::support::*;
use crate::model::StreamCode;
use crate::track::{StreamIngest, TrackLimits};

/// The oldest groups leave, the newest stays, the budget holds after every step.
#[test]
fn whole_groups_leave() {
    let world = World::with(small(), at_once());
    for group in 0..100 {
        world.send(
            header(group, 0),
            &[object(0, &[1; 10_000]), object(1, &[2; 10_000])],
        );
        assert!(world.log.borrow().bytes() <= 100_000);
    }
    let log = world.log.borrow();
    let kept: Vec<_> = log
        .groups
        .iter()
        .filter(|(_, group)| group.written.is_some())
        .map(|(id, _)| *id)
        .collect();
    assert_eq!(kept, [96, 97, 98, 99]);
    assert!(log.groups.len() <= 8, "{}", log.groups.len());
    assert!(log.runs.len() == 4);
}

/// An endless group does not grow without end, whether of one stream or of many; readers that keep up lose nothing.
#[test]
fn the_newest_group_is_trimmed_from_its_front() {
    let mut world = World::with(small(), at_once());
    world.subscribe(SUB, params(from_start())).unwrap();
    let mut endless = world.publish(header(0, 0));
    for id in 0..200 {
        endless.object(2 * id, &[1; 5_000]);
        world.send(header(0, id + 1), &[object(2 * id + 1, &[2; 3_000])]);
        world.run();
        assert!(world.log.borrow().bytes() <= 110_000);
    }
    assert_eq!(world.received().len(), 400);
    assert!(world.ended().is_none());
    assert!(world.log.borrow().runs.len() < 30);
    assert!(world.log.borrow().subgroups.len() < 30);
}

/// What the blocks of packed pieces leave unused counts as long as they are kept, and no longer.
#[test]
fn the_log_of_an_endless_subgroup_holds_as_much_later_as_at_first() {
    let limits = TrackLimits {
        max_bytes: 1 << 20,
        ..TrackLimits::default()
    };
    let mut world = World::with(limits, at_once());
    world.subscribe(SUB, params(from_start())).unwrap();
    let mut endless = world.publish(header(0, 0));
    for id in 0..6000 {
        endless.object(id, &[1; 3_900]);
        world.run();
        let log = world.log.borrow();
        let run = log.runs.newest_first().next().unwrap();
        let kept = run.end() - run.base();
        assert!(log.bytes() <= 1_100_000);
        assert!(kept >= 800_000 || id < 300, "{kept} bytes after {id}");
    }
    assert!(world.ended().is_none());
}

/// Streams of an endless group that end long after their objects have left leave nothing behind.
#[test]
fn runs_that_end_after_their_objects_have_left_are_forgotten() {
    let mut world = World::with(small(), at_once());
    world.subscribe(SUB, params(from_start())).unwrap();
    let mut open = std::collections::VecDeque::new();
    for id in 0..500 {
        let mut upstream = world.publish(header(0, id));
        upstream.object(id, &[1; 10_000]);
        open.push_back(upstream);
        world.run();
        if open.len() > 20 {
            open.pop_front().unwrap().finish().unwrap();
            world.run();
        }
    }
    assert!(world.log.borrow().runs.len() < 60);
    assert!(world.log.borrow().bytes() <= 110_000);
    let finished = |stream: &&Stream| stream.state == State::Finished;
    assert_eq!(world.wire.streams.iter().filter(finished).count(), 480);
}

/// An object over the whole budget flows through and is not kept.
#[test]
fn an_object_over_the_budget_is_forwarded() {
    let mut world = World::with(small(), at_once());
    world.subscribe(SUB, params(from_start())).unwrap();
    let mut upstream = world.publish(header(0, 0));
    let payload: Vec<u8> = (0..1_000_000_u32).map(|i| i as u8).collect();
    let mut rest = upstream.begin(0, &payload, 1);
    world.run();
    while !rest.is_empty() {
        let tail = rest.split_off(rest.len().min(8_000));
        upstream.bytes(&rest).unwrap();
        rest = tail;
        world.run();
        assert!(world.log.borrow().bytes() <= 110_000);
    }
    upstream.finish().unwrap();
    world.run();
    assert_eq!(world.stream(0).objects(), [object(0, &payload)]);
    assert_eq!(world.stream(0).state, State::Finished);
}

/// An old group that is still written does not push out the newest one.
#[test]
fn the_newest_group_outlasts_an_old_one_that_is_still_written() {
    let world = World::with(small(), at_once());
    let mut old = world.publish(header(0, 0));
    old.object(0, &[1; 1000]);
    world.send(header(1, 0), &[object(0, &[2; 20_000])]);
    for id in 1..100 {
        old.object(id, &[1; 5000]);
        assert!(world.log.borrow().bytes() <= 110_000);
    }
    let log = world.log.borrow();
    let kept = |group| {
        log.groups
            .get(&group)
            .is_some_and(|group| group.written.is_some())
    };
    assert!(kept(0) && kept(1));
    assert!(
        log.runs
            .newest_first()
            .any(|run| run.group() == 1 && run.base() == 0)
    );
}

/// A stream that goes on after its group has left is not disturbed, and late copies stay copies.
#[test]
fn an_old_stream_goes_on_after_its_group_has_left() {
    let mut world = World::with(small(), at_once());
    world.subscribe(SUB, params(from_start())).unwrap();
    let mut old = world.publish(header(0, 0));
    old.object(0, b"first");
    world.run();
    for group in 1..20 {
        world.send(header(group, 0), &[object(0, &[1; 20_000])]);
        world.run();
    }
    old.object(1, b"second");
    old.finish().unwrap();
    world.run();
    assert_eq!(world.stream(0).ids(), [0, 1]);
    assert_eq!(world.stream(0).state, State::Finished);
    let second = world.second_publisher();
    let mut copy = world.publish_as(second, header(0, 0));
    copy.object(0, b"first");
    copy.object(1, b"second");
    copy.finish().unwrap();
    let mut copy = world.publish_as(second, header(18, 0));
    copy.object(0, &[1; 20_000]);
    copy.finish().unwrap();
    world.run();
    assert_eq!(world.wire.streams.len(), 20);
}

/// S8.2-02: copies of one old group do not push out what is known of others.
#[test]
fn what_is_remembered_survives_many_late_copies() {
    let mut world = World::with(small(), at_once());
    world.subscribe(SUB, params(from_start())).unwrap();
    for group in 0..8 {
        world.send(header(group, 0), &[object(0, &[1; 30_000])]);
        world.run();
    }
    let second = world.second_publisher();
    let copy = |group| {
        let mut copy = world.publish_as(second, header(group, 0));
        copy.object(0, &[1; 30_000]);
        copy.finish().unwrap();
    };
    (0..10).for_each(|_| copy(3));
    copy(2);
    copy(3);
    world.run();
    assert_eq!(world.wire.streams.len(), 8);
}

/// Part of a header that waits for the rest does not keep the 64 kB that it may have been received in.
#[test]
fn a_waiting_header_does_not_keep_its_receive_buffer() {
    let world = World::new();
    let header = header(0, 0);
    let limits = crate::model::ObjectLimits::default();
    let mut log = world.log.borrow_mut();
    let mut ingest = StreamIngest::new(&mut log, world.publisher, &header, limits).unwrap();
    let mut bytes = encode_objects(&header, None, &[object(70, b"whole"), object(140, b"cut")]);
    bytes.resize(65_536, 0);
    let buffer = bytes::Bytes::from(bytes);
    // The delta has two bytes.
    for range in [0..1, 1..9] {
        ingest.read(buffer.slice(range)).unwrap();
        if let Some(turn) = ingest.prepare() {
            ingest.commit(&mut log, &turn, world.now).unwrap();
        }
        assert!(buffer.is_unique());
    }
}

/// Everything that is counted is given back.
#[test]
fn an_empty_log_holds_nothing() {
    let limits = TrackLimits {
        max_bytes: 0,
        ..small()
    };
    let world = World::with(limits, at_once());
    for group in 0..10 {
        let mut a = world.publish(header(group, 0));
        a.object(0, &[1; 5000]);
        a.objects(&[object(1, b"x"), object(2, &[3; 9000])])
            .unwrap();
        a.begin(3, b"partial", 2);
        a.reset(StreamCode::CANCELLED);
        world.send(header(group, 1), &[object(9, &[1; 100])]);
    }
    let mut log = world.log.borrow_mut();
    log.fresh = 0;
    log.keep_budget();
    // The newest group itself stays.
    assert_eq!(log.bytes(), crate::track::group::GROUP_COST);
    assert_eq!(log.runs.len(), 0);
    assert_eq!(log.held_bytes, 0);
}

/// S10.4.3-12: an object that was never completed is out of the index at once. Its bytes count as long as the pieces are
/// kept that they came in, and leave with these: then the log is as if it had never begun.
#[test]
fn an_object_that_was_cut_is_gone_from_the_log() {
    for whole in [0, 1, 3] {
        let worlds = [true, false].map(|cut| {
            let world = World::with(small(), at_once());
            let mut upstream = world.publish(header(0, 0));
            for id in 0..whole {
                upstream.object(id, &[1; 100]);
            }
            let before = world.log.borrow().bytes();
            if cut {
                let mut rest = upstream.begin(whole, &[2; 30_000], 5000);
                let last = rest.split_off(10_000);
                upstream.bytes(&rest).unwrap();
                assert!(world.log.borrow().bytes() > before + 15_000);
                upstream.reset(StreamCode::CANCELLED);
                let log = world.log.borrow();
                let run = log.runs.newest_first().next().unwrap();
                assert!(run.entry(whole).is_none() && last.len() == 15_000);
                assert_eq!(run.last.map_or(0, |last| last.id + 1), whole);
                assert!(!run.is_open() && run.deliverable() < run.end());
                assert!(!log.groups[&0].facts.is_settled(whole));
            } else {
                upstream.reset(StreamCode::CANCELLED);
            }
            for group in 1..20 {
                world.send(header(group, 0), &[object(0, &[1; 20_000])]);
            }
            world
        });
        let [cut, never] = worlds.map(|world| world.log.borrow().bytes());
        assert_eq!(cut, never);
    }
}

/// draft-14 §9.2.1.3: the end of an object that was never completed does not keep what came before it beyond its time.
#[test]
fn what_was_cut_expires_with_the_rest() {
    let world = World::new();
    let second = Duration::from_secs(1);
    let mut log = world.log.borrow_mut();
    log.set_cache_duration(world.publisher, Some(second));
    drop(log);
    let mut cut = world.publish(header(0, 0));
    cut.begin(0, &[1; 5000], 4500);
    cut.reset(StreamCode::CANCELLED);
    let mut upstream = world.publish(header(0, 1));
    for id in 1..10 {
        upstream.now += second;
        upstream.object(id, &[1; 5000]);
        assert!(world.log.borrow().bytes() < 20_000);
    }
}
