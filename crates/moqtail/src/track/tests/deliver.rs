//! How subscriptions are served: priorities, credit, timeouts, updates, ends.

use std::time::Duration;

use super::support::*;
use crate::model::{Filter, GroupOrder, Location, PublishDoneCode, StreamCode, SubgroupHeader};
use crate::track::{
    AttachError, DeliveryEvent, DeliveryLimits, SubscriptionId, SubscriptionParams, TrackLimits,
};

const A: SubscriptionId = SubscriptionId(10);
const B: SubscriptionId = SubscriptionId(20);
const CANCELLED: State = State::Reset(StreamCode::CANCELLED);
const TIMED_OUT: State = State::Reset(StreamCode::DELIVERY_TIMEOUT);

fn with_timeout(ms: u64) -> SubscriptionParams {
    SubscriptionParams {
        delivery_timeout: Some(Duration::from_millis(ms)),
        ..params(from_start())
    }
}

/// Groups of the streams in the order in which they were finished by the wire.
fn order_of_groups(world: &World) -> Vec<u64> {
    let mut groups = Vec::new();
    for (stream, _) in &world.wire.writes {
        let group = decode(&world.stream(*stream).bytes).0.group;
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

/// S7.2-01, S7.2-02, S7.2-03, S7.2-04, S8.5-03, S2.2-05, S2.3.1-02: a backlog leaves in the order of the draft.
#[test]
fn a_backlog_leaves_by_priority() {
    for (order, groups) in [
        (GroupOrder::Ascending, [7, 1, 2, 3]),
        (GroupOrder::Descending, [7, 3, 2, 1]),
    ] {
        let mut world = World::new();
        let params = SubscriptionParams {
            group_order: order,
            ..params(from_start())
        };
        world.subscribe(A, params).unwrap();
        world.wire.credit = 0;
        for group in [2, 3, 1] {
            for subgroup in [1, 0] {
                world.send(header(group, subgroup), &[object(subgroup, b"x")]);
            }
        }
        let urgent = SubgroupHeader {
            publisher_priority: 1,
            ..header(7, 0)
        };
        world.send(urgent, &[object(0, b"urgent")]);
        world.run();
        world.give_credit(100);
        assert_eq!(order_of_groups(&world), groups, "{order:?}");
        // The transport is told the same order.
        let streams = &world.wire.streams;
        assert!(streams.is_sorted_by(|a, b| a.priority >= b.priority));
        for pair in streams[1..].chunks(2) {
            assert_eq!((pair[0].ids(), pair[1].ids()), (vec![0], vec![1]));
        }
    }
}

/// S7.2-03, S7.2-04: the transport has an order for streams that were opened between others, too.
#[test]
fn the_transport_is_told_apart_what_was_opened_between() {
    let mut world = World::subscribed();
    let mut open = Vec::new();
    for group in [1, 2, 9, 5, 7, 6, 3, 8, 4] {
        let mut upstream = world.publish(header(group, 0));
        upstream.object(0, b"x");
        open.push(upstream);
        world.run();
    }
    let mut streams: Vec<_> = world.wire.streams.iter().collect();
    streams.sort_by_key(|stream| decode(&stream.bytes).0.group);
    assert!(streams.is_sorted_by(|a, b| a.priority > b.priority));
}

/// S7.1-01, S7.2-01, S7.2-06.
#[test]
fn subscriptions_go_by_priority_and_equals_take_turns() {
    for (priorities, expected) in [
        ([5, 9], vec![0, 0, 0, 0, 1, 1, 1, 1]),
        ([9, 5], vec![1, 1, 1, 1, 0, 0, 0, 0]),
        ([7, 7], vec![0, 1, 0, 1, 0, 1, 0, 1]),
    ] {
        let limits = DeliveryLimits {
            quantum_bytes: 100,
            ..at_once()
        };
        let mut world = World::with(TrackLimits::default(), limits);
        world.subscribe(A, with_priority(priorities[0])).unwrap();
        world.subscribe(B, with_priority(priorities[1])).unwrap();
        world.wire.window = 100;
        world.send(header(0, 0), &[object(0, &[1; 491])]);
        world.run();
        world.wire.writes.clear();
        for at in [0, 1] {
            world.wire.streams[at].window = usize::MAX;
            world
                .delivery
                .woken(crate::track::StreamKey(at), &mut world.wire);
        }
        world.run();
        let a_is_first = priorities[0] <= priorities[1];
        let order: Vec<_> = world
            .wire
            .writes
            .iter()
            .map(|(stream, _)| usize::from((*stream == 0) != a_is_first))
            .collect();
        assert_eq!(order, expected);
    }
}

/// S7.1-05: a stream that takes nothing does not stop others, however many there are.
#[test]
fn blocked_streams_do_not_stop_others() {
    let mut world = World::subscribed();
    world.wire.window = 0;
    for group in 0..100 {
        world.send(header(group, 0), &[object(0, b"stuck")]);
    }
    world.pass(Duration::from_secs(1));
    world.wire.window = usize::MAX;
    world.send(header(100, 0), &[object(0, b"free")]);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.wire.streams.len(), 101);
    assert_eq!(world.stream(100).state, State::Finished);
    // Each was tried once: nothing spins.
    assert_eq!(world.wire.blocked_writes, 100);
}

/// When the whole connection is full only a few streams are tried.
#[test]
fn a_full_connection_is_not_polled_for_every_stream() {
    let mut world = World::subscribed();
    world.wire.total = 0;
    for group in 0..100 {
        world.send(header(group, 0), &[object(0, b"x")]);
    }
    world.run();
    assert!(world.wire.blocked_writes <= 8);
    assert!(world.delivery.deadline().is_some());
    world.wire.total = usize::MAX;
    world.open_window(0, usize::MAX);
    let finished = |stream: &&Stream| stream.state == State::Finished;
    assert_eq!(world.wire.streams.iter().filter(finished).count(), 93);
}

/// Bytes taken out of the log are bounded, and none are kept for streams that take nothing.
#[test]
fn what_is_staged_is_bounded() {
    let limits = DeliveryLimits {
        in_flight_bytes: 1000,
        quantum_bytes: 500,
        ..at_once()
    };
    let mut world = World::with(TrackLimits::default(), limits);
    world.subscribe(SUB, params(from_start())).unwrap();
    world.wire.window = 3;
    for group in 0..50 {
        world.send(header(group, 0), &[object(0, &[1; 10_000])]);
        world.run();
    }
    assert!(
        world.delivery.staged() <= 1500,
        "{}",
        world.delivery.staged()
    );
    for stream in 0..50 {
        if let Some(stream) = world.wire.streams.get_mut(stream) {
            stream.window = usize::MAX;
            world.wire.window = usize::MAX;
        }
    }
    for stream in 0..world.wire.streams.len() {
        world
            .delivery
            .woken(crate::track::StreamKey(stream), &mut world.wire);
    }
    world.run();
    assert_eq!(world.received().len(), 50);
    assert_eq!(world.delivery.staged(), 0);
}

/// The budget is the session's: more subscriptions do not hold more.
#[test]
fn what_many_subscriptions_have_staged_is_bounded() {
    let limits = DeliveryLimits {
        in_flight_bytes: 1000,
        quantum_bytes: 500,
        ..at_once()
    };
    let mut world = World::with(TrackLimits::default(), limits);
    for id in 0..50 {
        world
            .subscribe(SubscriptionId(id), params(from_start()))
            .unwrap();
    }
    world.wire.credit = 0;
    world.send(header(0, 0), &[object(0, &[1; 10_000])]);
    world.run();
    assert!(
        world.delivery.staged() <= 1000,
        "{}",
        world.delivery.staged()
    );
    world.give_credit(50);
    let finished = |stream: &Stream| stream.state == State::Finished;
    assert_eq!(world.wire.streams.len(), 50);
    assert!(world.wire.streams.iter().all(finished));
}

/// No stream credit: runs wait without a stream, the best is opened first, expired ones never (S9.12-07: and do not
/// count).
#[test]
fn runs_wait_for_credit() {
    let mut world = World::new();
    world.subscribe(SUB, with_timeout(100)).unwrap();
    world.wire.credit = 0;
    world.send(header(5, 0), &[object(0, b"old")]);
    world.run();
    world.pass(Duration::from_millis(60));
    world.send(header(9, 0), &[object(0, b"b")]);
    world.send(header(8, 0), &[object(0, b"a")]);
    world.run();
    world.pass(Duration::from_millis(60));
    world.give_credit(1);
    world.give_credit(5);
    let groups: Vec<_> = world.received().keys().map(|at| at.group).collect();
    assert_eq!(groups, [8, 9]);
    assert_eq!(decode(&world.stream(0).bytes).0.group, 8);
    world.log.borrow_mut().end(PublishDoneCode::TRACK_ENDED, "");
    world.run();
    assert_eq!(world.ended(), Some((PublishDoneCode::TRACK_ENDED, 2)));
}

/// S9.2.1.2-02, S9.2.1.2-08: counted from the header; the stream of an expired object is reset.
#[test]
fn an_expired_object_resets_its_stream() {
    for (unblocked_at, delivered) in [(300, true), (800, false)] {
        let mut world = World::new();
        world.subscribe(SUB, with_timeout(500)).unwrap();
        world.wire.window = 5;
        world.send(header(0, 0), &[object(0, &[1; 100])]);
        world.run();
        world.pass(Duration::from_millis(unblocked_at));
        if delivered {
            world.open_window(0, usize::MAX);
            assert_eq!(world.stream(0).state, State::Finished);
        }
        world.pass(Duration::from_secs(5));
        assert_eq!(world.stream(0).state == TIMED_OUT, !delivered);
        assert_eq!(world.delivery.deadline(), None);
    }
}

/// Only the oldest object that is not handed over counts, not those before it.
#[test]
fn delivered_objects_do_not_expire() {
    let mut world = World::new();
    world.subscribe(SUB, with_timeout(100)).unwrap();
    let mut upstream = world.publish(header(0, 0));
    for id in 0..20 {
        upstream.object(id, b"x");
        world.run();
        world.pass(Duration::from_millis(90));
        upstream.now = world.now;
    }
    assert_eq!(world.stream(0).state, State::Open);
    assert_eq!(world.stream(0).ids().len(), 20);
    world.wire.streams[0].window = 0;
    upstream.object(20, b"late");
    world.run();
    upstream.object(21, b"later");
    world.pass(Duration::from_millis(110));
    assert_eq!(world.stream(0).state, TIMED_OUT);
    // The rest of the subgroup is not wanted without it.
    upstream.object(22, b"rest");
    world.run();
    assert_eq!(world.wire.streams.len(), 1);
}

/// A stream expires also after FIN was handed over, as long as the peer has not received all of it.
#[test]
fn a_finished_stream_may_expire() {
    for received in [true, false] {
        let mut world = World::new();
        world.wire.acknowledge = false;
        world.subscribe(SUB, with_timeout(100)).unwrap();
        world.send(header(0, 0), &[object(0, b"x")]);
        world.run();
        assert_eq!(world.stream(0).state, State::Finished);
        if received {
            world.wire.streams[0].received = true;
            world
                .delivery
                .woken(crate::track::StreamKey(0), &mut world.wire);
        }
        world.pass(Duration::from_millis(150));
        assert_eq!(world.stream(0).state == TIMED_OUT, !received);
        assert_eq!(world.told(), (1, 1));
    }
}

/// S5.1-18, S9.11-02: UNSUBSCRIBE resets all open streams, and nothing follows.
#[test]
fn detaching_resets_all_streams() {
    let mut world = World::subscribed();
    world.wire.acknowledge = false;
    let mut upstreams: Vec<_> = (0..3)
        .map(|group| world.publish(header(group, 0)))
        .collect();
    for upstream in &mut upstreams {
        upstream.object(0, b"x");
    }
    world.send(header(9, 0), &[object(0, b"finished")]);
    world.run();
    world.detach(SUB);
    assert!(
        world
            .wire
            .streams
            .iter()
            .all(|stream| stream.state == CANCELLED)
    );
    for upstream in &mut upstreams {
        upstream.object(1, b"y");
    }
    world.run();
    assert_eq!(world.wire.streams.len(), 4);
    assert_eq!(world.ended(), None);
    assert_eq!(world.delivery.deadline(), None);
}

/// S5.1-20, S9.12-02, S9.12-07, S9.12-14: the end is told after the last stream is closed, with the exact count.
#[test]
fn the_end_waits_for_the_streams() {
    let mut world = World::subscribed();
    world.wire.acknowledge = false;
    let mut open = world.publish(header(0, 0));
    open.object(0, b"x");
    for group in 1..7 {
        world.send(header(group, 0), &[object(0, b"x")]);
    }
    world.run();
    world
        .log
        .borrow_mut()
        .end(PublishDoneCode::TRACK_ENDED, "over");
    world.run();
    assert_eq!(world.stream(0).state, CANCELLED);
    assert_eq!(world.ended(), None);
    world.wire.acknowledge = true;
    for stream in 1..7 {
        assert_eq!(world.ended(), None);
        world
            .delivery
            .woken(crate::track::StreamKey(stream), &mut world.wire);
        world.drain_events();
    }
    assert_eq!(world.ended(), Some((PublishDoneCode::TRACK_ENDED, 7)));
    assert_eq!(world.told(), (7, 7));
    assert!(matches!(
        world.events.last(),
        Some(DeliveryEvent::Ended { .. })
    ));
    assert_eq!(
        world.subscribe(B, params(from_start())),
        Err(AttachError::Ended(PublishDoneCode::TRACK_ENDED))
    );
}

/// A backlog is delivered before the end is told.
#[test]
fn the_end_comes_after_the_backlog() {
    let mut world = World::subscribed();
    world.wire.credit = 0;
    for group in 0..5 {
        world.send(header(group, 0), &[object(0, b"x")]);
    }
    world.log.borrow_mut().end(PublishDoneCode::TRACK_ENDED, "");
    world.run();
    assert_eq!(world.ended(), None);
    world.give_credit(5);
    assert_eq!(world.received().len(), 5);
    assert_eq!(world.ended(), Some((PublishDoneCode::TRACK_ENDED, 5)));
}

/// Ended from this side: streams are reset first.
#[test]
fn finishing_resets_and_tells() {
    let mut world = World::subscribed();
    let mut open = world.publish(header(0, 0));
    open.object(0, b"x");
    world.run();
    world.delivery.finish(
        SUB,
        PublishDoneCode::EXPIRED,
        "time is over",
        &mut world.wire,
    );
    world.drain_events();
    assert_eq!(world.stream(0).state, CANCELLED);
    assert_eq!(world.ended(), Some((PublishDoneCode::EXPIRED, 1)));
}

/// S10.4.3-13, S10.4.3-14, S10.4.1-01: STOP_SENDING ends one stream only, idle or blocked.
#[test]
fn a_stopped_stream_is_reset_alone() {
    for idle in [true, false] {
        let mut world = World::subscribed();
        let mut upstreams: Vec<_> = (0..3).map(|id| world.publish(header(0, id))).collect();
        for (id, upstream) in (0..).zip(&mut upstreams) {
            upstream.object(id, b"x");
        }
        world.run();
        if !idle {
            world.wire.streams[1].window = 0;
            upstreams[1].object(5, b"blocked");
            world.run();
        }
        world.stop(1);
        assert_eq!(world.stream(1).state, CANCELLED);
        for (id, upstream) in (10..).zip(&mut upstreams) {
            upstream.object(id, b"y");
        }
        world.run();
        for upstream in upstreams {
            upstream.finish().unwrap();
        }
        world.send(header(1, 0), &[object(0, b"z")]);
        world.run();
        assert_eq!(world.stream(0).state, State::Finished);
        assert_eq!(world.stream(2).state, State::Finished);
        assert_eq!(world.wire.streams.len(), 4);
        assert_eq!(world.stream(3).state, State::Finished);
    }
}

/// S10.4.3-13: nobody tells of a stream that was stopped before the transport was asked to.
#[test]
fn a_stream_that_stays_idle_is_found_stopped_without_a_wake_up() {
    let mut world = World::subscribed();
    let mut upstream = world.publish(header(0, 0));
    upstream.object(0, b"x");
    world.run();
    world.wire.streams[0].stopped = true;
    world.run();
    assert_eq!(world.stream(0).state, State::Open);
    assert!(world.delivery.deadline().is_some());
    world.pass(Duration::from_millis(50));
    assert_eq!(world.stream(0).state, CANCELLED);
    assert_eq!(world.delivery.deadline(), None);
}

/// S9.12-15, S10.4.3-09: a range that was delivered ends by itself, after a time for late ones.
#[test]
fn a_delivered_range_ends() {
    let mut world = World::new();
    let range = Filter::AbsoluteRange {
        start: Location::new(0, 0),
        end_group: 1,
    };
    world.subscribe(SUB, params(range)).unwrap();
    for group in 0..4 {
        world.send(header(group, 0), &[object(0, b"x")]);
        world.run();
    }
    world.pass(Duration::from_secs(1));
    world.send(header(1, 1), &[object(1, b"late")]);
    world.run();
    assert_eq!(world.received().len(), 3);
    world.pass(Duration::from_secs(3));
    assert_eq!(
        world.ended(),
        Some((PublishDoneCode::SUBSCRIPTION_ENDED, 3))
    );
    assert!(
        world
            .wire
            .streams
            .iter()
            .all(|stream| stream.state == State::Finished)
    );
}

/// Small pieces of a backlog go to the transport together.
#[test]
fn a_backlog_of_small_objects_is_put_together() {
    let mut world = World::subscribed();
    world.wire.window = 1;
    let mut upstream = world.publish(header(0, 0));
    for id in 0..100 {
        upstream.object(id, &[1; 100]);
        world.run();
    }
    world.open_window(0, usize::MAX);
    assert_eq!(world.stream(0).ids().len(), 100);
    let pieces = world.wire.pieces;
    assert!(pieces < 10, "{pieces}");
}

/// More streams than are followed to their end: the oldest count as closed.
#[test]
fn finished_streams_are_bounded() {
    let limits = DeliveryLimits {
        max_closing: 5,
        ..at_once()
    };
    let mut world = World::with(TrackLimits::default(), limits);
    world.wire.acknowledge = false;
    world.subscribe(SUB, params(from_start())).unwrap();
    for group in 0..20 {
        world.send(header(group, 0), &[object(0, b"x")]);
    }
    world.run();
    assert_eq!(world.told(), (20, 15));
}

/// The caps of subscriptions and of inbound streams.
#[test]
fn counts_are_limited() {
    let limits = DeliveryLimits {
        max_subscriptions: 1,
        ..at_once()
    };
    let mut world = World::with(TrackLimits::default(), limits);
    world.subscribe(A, params(from_start())).unwrap();
    assert_eq!(
        world.subscribe(B, params(from_start())),
        Err(AttachError::TooMany(1))
    );
    let limits = TrackLimits {
        max_streams: 1,
        ..TrackLimits::default()
    };
    let world = World::with(limits, at_once());
    let first = world.publish(header(0, 0));
    let second = crate::track::StreamIngest::new(
        &mut world.log.borrow_mut(),
        world.publisher,
        &header(0, 1),
        crate::model::draft14::ObjectLimits::default(),
    );
    assert!(second.is_none());
    first.finish().unwrap();
    world.publish(header(0, 1));
}
