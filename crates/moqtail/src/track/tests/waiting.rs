//! Runs that wait: how many, and what becomes of readers with more.

use std::rc::Rc;

use super::support::*;
use crate::model::{Filter, Location, PublishDoneCode};
use crate::track::{
    Admission, DeliveryEvent, DeliveryLimits, SubscriptionId, TrackLimits, TrackLog,
};

const SECOND: SubscriptionId = SubscriptionId(2);

fn waiting(world: &World) -> usize {
    let subscriptions = world.delivery.subscriptions.values();
    subscriptions
        .map(|(subscription, _)| subscription.cursors.len())
        .sum()
}

fn send(world: &World, groups: std::ops::Range<u64>) {
    for group in groups {
        world.send(
            header(group / 100, group % 100),
            &[object(group % 100, b"ten bytes!")],
        );
    }
}

fn ended(world: &World, id: SubscriptionId) -> Option<PublishDoneCode> {
    world.events.iter().find_map(|event| match event {
        DeliveryEvent::Ended {
            subscription, code, ..
        } if *subscription == id => Some(*code),
        _ => None,
    })
}

/// S9.12-18: as many as come in a second and a half of a stream for each object may wait, and then be delivered. More do
/// not, whether they come a few at a time or all at once, and whether there are streams which take nothing or none.
#[test]
fn a_reader_that_takes_no_streams_ends_when_too_many_runs_wait() {
    const STEP: u64 = 1000;
    let max = DeliveryLimits::default().max_waiting_runs;
    for (step, credit) in [(STEP, 0), (20 * STEP, 0), (STEP, usize::MAX)] {
        let mut world = World::subscribed();
        world.wire.credit = credit;
        world.wire.window = 0;
        for at in 0..20 * STEP / step {
            send(&world, at * step..(at + 1) * step);
            world.run();
            assert!(waiting(&world) <= max, "{} wait", waiting(&world));
            let many = (at + 1) * step > max as u64;
            assert_eq!(world.ended().is_some(), many, "after {at}");
        }
        let (code, _) = world.ended().unwrap();
        assert_eq!(code, PublishDoneCode::TOO_FAR_BEHIND);
        assert_eq!(world.delivery.shared.waiting, 0);
        assert_eq!(world.delivery.deadline(), None);
    }
    let mut world = World::subscribed();
    world.wire.credit = 0;
    send(&world, 0..16 * STEP);
    world.run();
    world.give_credit(usize::MAX);
    assert_eq!(world.ended(), None);
    assert_eq!(world.received().len() as u64, 16 * STEP);
    assert_eq!(world.delivery.shared.waiting, 0);
}

/// S9.2.1.2-05: where groups may be skipped the newest ones go on.
#[test]
fn too_many_waiting_runs_are_skipped_where_that_is_allowed() {
    let limits = DeliveryLimits {
        max_waiting_runs: 250,
        skip_groups: true,
        ..at_once()
    };
    for step in [10, 1000] {
        let mut world = World::with(TrackLimits::default(), limits);
        world.subscribe(SUB, params(from_start())).unwrap();
        world.wire.credit = 0;
        for at in 0..1000 / step {
            send(&world, at * step..(at + 1) * step);
            world.run();
            assert!(waiting(&world) <= 250, "{} wait", waiting(&world));
        }
        world.give_credit(usize::MAX);
        assert_eq!(world.ended(), None);
        let received = world.received();
        let newest: Vec<_> = received.keys().filter(|at| at.group == 9).collect();
        assert_eq!(newest.len(), 100);
        assert!(received.len() <= 250);
        // What comes next is delivered.
        send(&world, 1000..1100);
        world.run();
        assert!(world.received().contains_key(&Location::new(10, 99)));
    }
}

/// One group alone may be too much, of streams that are open, too.
#[test]
fn a_group_of_too_many_open_runs_is_skipped_and_the_next_goes_on() {
    let limits = DeliveryLimits {
        max_waiting_runs: 50,
        skip_groups: true,
        ..at_once()
    };
    let mut world = World::with(TrackLimits::default(), limits);
    world.subscribe(SUB, params(from_start())).unwrap();
    world.wire.credit = 0;
    let mut open: Vec<_> = (0..100).map(|id| world.publish(header(0, id))).collect();
    for (id, upstream) in open.iter_mut().enumerate() {
        upstream.object(id as u64, b"first");
    }
    world.run();
    assert!(waiting(&world) <= 50);
    world.give_credit(usize::MAX);
    for (id, upstream) in open.iter_mut().enumerate() {
        upstream.object(100 + id as u64, b"second");
    }
    world.run();
    for at in 10..20 {
        send(&world, 10 * at..10 * (at + 1));
        world.run();
    }
    for upstream in open {
        upstream.finish().unwrap();
    }
    world.run();
    let received = world.received();
    assert!(received.keys().all(|at| at.group == 1), "{received:?}");
    assert_eq!(received.len(), 100);
}

/// A subscription with few waiting runs does not pay for one with many.
#[test]
fn the_share_of_each_subscription_is_its_own() {
    let limits = DeliveryLimits {
        max_waiting_runs: 100,
        ..at_once()
    };
    let mut world = World::with(TrackLimits::default(), limits);
    world.subscribe(SUB, params(from_start())).unwrap();
    world.wire.credit = 0;
    let few = Rc::new(std::cell::RefCell::new(TrackLog::new(
        ALIAS,
        TrackLimits::default(),
    )));
    let filter = params(Filter::LargestObject);
    let admission = Admission::Now;
    let attached = world
        .delivery
        .attach(SECOND, few.clone(), &filter, admission);
    attached.unwrap();
    world.delivery.start(SECOND);
    let publisher = few.borrow_mut().add_publisher();
    send(&world, 0..100);
    world.run();
    // The session has as many as it may.
    for group in 0..10 {
        let mut upstream = world.publish_in(few.clone(), publisher, header(group, 0));
        upstream.object(0, b"few");
        upstream.finish().unwrap();
        world.run();
    }
    assert_eq!(waiting(&world), 110);
    assert_eq!(world.ended(), None);
    send(&world, 100..101);
    world.run();
    assert_eq!(ended(&world, SUB), Some(PublishDoneCode::TOO_FAR_BEHIND));
    assert_eq!(ended(&world, SECOND), None);
    world.give_credit(usize::MAX);
    assert_eq!(world.wire.streams.len(), 10);
}
