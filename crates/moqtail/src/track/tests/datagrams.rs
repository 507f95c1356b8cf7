//! Objects that travel in datagrams (draft-14 §10.3).

use std::{cell::RefCell, rc::Rc, time::Duration};

use super::support::*;
use crate::model::{
    DatagramBody, Extensions, Filter, Location, ObjectDatagram, ObjectStatus, PublishDoneCode,
    TrackAlias,
};
use crate::track::{
    Admission, DeliveryLimits, SubscriptionId, SubscriptionParams, TrackLimits, TrackLog,
};

fn datagram(group: u64, object: u64, len: usize) -> ObjectDatagram {
    ObjectDatagram {
        track_alias: TrackAlias(3),
        group,
        object,
        object_id_absent: object == 0,
        publisher_priority: 9,
        end_of_group: false,
        extensions: Extensions::default(),
        body: DatagramBody::Payload(bytes::Bytes::from(vec![object as u8; len])),
    }
}

fn receive(world: &World, datagram: ObjectDatagram) {
    let mut log = world.log.borrow_mut();
    log.receive_datagram(datagram, world.now).unwrap();
}

/// S2.2-06, S10.3-02, S10.3-03, S10.2.1-01, S9.12-08: datagrams stay datagrams, in order; too large ones are skipped and
/// counted.
#[test]
fn datagrams_are_forwarded() {
    let mut world = World::new();
    let start = Filter::AbsoluteStart {
        start: Location::new(1, 1),
    };
    world.subscribe(SUB, params(start)).unwrap();
    let sent = [
        datagram(1, 0, 10),
        datagram(1, 2, 10),
        datagram(1, 1, 10),
        datagram(2, 0, 2000),
        datagram(2, 1, 0),
    ];
    for datagram in &sent {
        let mut log = world.log.borrow_mut();
        log.receive_datagram(datagram.clone(), world.now).unwrap();
        log.receive_datagram(datagram.clone(), world.now).unwrap();
    }
    let mut ended = datagram(2, 2, 0);
    ended.body = DatagramBody::Status(ObjectStatus::EndOfGroup);
    world
        .log
        .borrow_mut()
        .receive_datagram(ended, world.now)
        .unwrap();
    world.run();
    let got: Vec<_> = world
        .wire
        .datagrams
        .iter()
        .map(|got| (got.group, got.object))
        .collect();
    // S7.2-04: lowest Object ID first.
    assert_eq!(got, [(1, 1), (1, 2), (2, 1), (2, 2)]);
    let expected = ObjectDatagram {
        track_alias: ALIAS,
        ..sent[2].clone()
    };
    assert_eq!(world.wire.datagrams[0], expected);
    assert_eq!(world.delivery.refused_datagrams(), 1);
    world.log.borrow_mut().end(PublishDoneCode::TRACK_ENDED, "");
    world.run();
    assert_eq!(world.ended(), Some((PublishDoneCode::TRACK_ENDED, 0)));
    assert!(world.wire.streams.is_empty());
}

/// Datagrams: a ring by number and bytes.
#[test]
fn old_datagrams_leave() {
    let limits = TrackLimits {
        max_datagrams: 10,
        max_bytes: 100_000,
        max_remembered_groups: 4,
        ..TrackLimits::default()
    };
    let world = World::with(limits, at_once());
    for id in 0..1000 {
        receive(&world, datagram(id / 7, id % 7, 500));
    }
    let log = world.log.borrow();
    assert_eq!(log.datagrams.len(), 10);
    assert!(log.groups.len() <= 8, "{}", log.groups.len());
    assert!(log.bytes() < 10_000);
}

/// A datagram may lie in a receive buffer of 64 kB: nothing in the log keeps that.
#[test]
fn a_kept_datagram_does_not_keep_its_receive_buffer() {
    let world = World::new();
    let buffer = bytes::Bytes::from(vec![7; 65_536]);
    let mut received = datagram(0, 0, 0);
    received.body = DatagramBody::Payload(buffer.slice(100..200));
    receive(&world, received.clone());
    receive(&world, received);
    assert!(buffer.is_unique());
}

/// A session that does not come to send: what waits is no more than what the log holds.
#[test]
fn datagrams_that_wait_leave_with_the_log() {
    let limits = TrackLimits {
        max_datagrams: 10,
        ..TrackLimits::default()
    };
    let delivery = DeliveryLimits {
        turn_steps: 1,
        ..at_once()
    };
    let mut world = World::with(limits, delivery);
    world.subscribe(SUB, params(from_start())).unwrap();
    for id in 0..1000 {
        receive(&world, datagram(0, id, 100));
        if id % 5 == 0 {
            world.delivery.changed(SUB);
            world.delivery.service(world.now, &mut world.wire);
            assert!(world.delivery.subscriptions[&SUB].0.datagrams.len() <= 10);
        }
    }
    world.run();
    assert_eq!(
        world.wire.datagrams.last().map(|last| last.object),
        Some(999)
    );
}

fn objects(world: &World) -> Vec<u64> {
    world.wire.datagrams.iter().map(|got| got.object).collect()
}

/// S7.2-01, S7.2-04: what waits for the path leaves by rank, whatever came first; nothing comes twice.
#[test]
fn datagrams_wait_for_the_path_in_their_order() {
    let mut world = World::subscribed();
    world.wire.room = 1;
    for object in [3, 2, 4] {
        receive(&world, datagram(0, object, 10));
        world.run();
    }
    assert_eq!(objects(&world), [3]);
    world.run();
    receive(&world, datagram(0, 1, 10));
    world.run();
    assert_eq!(objects(&world), [3], "nobody said that there is room");
    world.give_room(2);
    assert_eq!(objects(&world), [3, 1, 2]);
    world.give_room(9);
    assert_eq!(objects(&world), [3, 1, 2, 4]);
}

/// S9.2.1.2-02, S9.2.1.2-10, S9.12-02: what became too old while it waited is not sent, and PUBLISH_DONE waits for the rest.
#[test]
fn a_datagram_that_waits_may_expire() {
    let mut world = World::new();
    let params = SubscriptionParams {
        delivery_timeout: Some(Duration::from_millis(500)),
        ..params(from_start())
    };
    world.subscribe(SUB, params).unwrap();
    world.wire.room = 0;
    receive(&world, datagram(0, 0, 10));
    world.run();
    let expires = world.now + Duration::from_millis(500);
    assert_eq!(
        world.delivery.deadline(),
        Some(expires),
        "nobody else wakes it"
    );
    world.pass(Duration::from_millis(400));
    receive(&world, datagram(0, 1, 10));
    world.log.borrow_mut().end(PublishDoneCode::TRACK_ENDED, "");
    world.pass(Duration::from_millis(400));
    assert_eq!(world.delivery.waiting_datagrams(), 1);
    assert_eq!(world.ended(), None);
    world.give_room(9);
    assert_eq!(objects(&world), [1]);
    assert_eq!(world.ended(), Some((PublishDoneCode::TRACK_ENDED, 0)));
    assert_eq!(world.delivery.refused_datagrams(), 0);
}

/// S7.2-01: while a datagram waits for the path, streams that come after it do too, and those before it do not.
#[test]
fn streams_and_datagrams_share_the_path_by_priority() {
    for (priority, goes_first) in [(3, false), (1, true)] {
        let mut world = World::new();
        let with = |subscriber_priority| SubscriptionParams {
            subscriber_priority,
            ..params(from_start())
        };
        world.subscribe(SUB, with(2)).unwrap();
        let video = Rc::new(RefCell::new(TrackLog::new(ALIAS, TrackLimits::default())));
        let publisher = video.borrow_mut().add_publisher();
        let (id, params) = (SubscriptionId(2), with(priority));
        let attached = world
            .delivery
            .attach(id, video.clone(), &params, Admission::Now);
        attached.unwrap();
        world.delivery.start(id);
        world.wire.room = 0;
        receive(&world, datagram(0, 0, 10));
        let mut upstream = world.publish_in(video, publisher, header(0, 0));
        upstream.object(0, b"video");
        world.run();
        assert_eq!(world.wire.streams.len(), usize::from(goes_first));
        world.give_room(1);
        assert_eq!((world.wire.streams.len(), objects(&world)), (1, vec![0]));
    }
}

/// Limit `max_waiting_datagrams`: of the subscription that gets more the oldest leave, and others keep theirs.
#[test]
fn the_oldest_of_very_many_datagrams_that_wait_leave() {
    let limits = DeliveryLimits {
        max_waiting_datagrams: 10,
        ..at_once()
    };
    let mut world = World::with(TrackLimits::default(), limits);
    let other = SubscriptionId(2);
    world.subscribe(SUB, params(from_start())).unwrap();
    world.wire.room = 0;
    receive(&world, datagram(0, 0, 10));
    world.run();
    world.subscribe(other, params(from_start())).unwrap();
    for object in 1..30 {
        receive(&world, datagram(0, object, 10));
        world.delivery.changed(other);
        world.delivery.service(world.now, &mut world.wire);
    }
    assert_eq!(world.delivery.refused_datagrams(), 20);
    // One that has none yet is not the one to give way.
    let urgent = SubscriptionId(3);
    world.subscribe(urgent, params(from_start())).unwrap();
    receive(&world, datagram(0, 30, 10));
    world.delivery.changed(urgent);
    world.delivery.service(world.now, &mut world.wire);
    let waiting = |id| world.delivery.subscriptions[&id].0.datagrams.len();
    assert_eq!((waiting(SUB), waiting(other), waiting(urgent)), (1, 9, 1));
    world.detach(urgent);
    world.detach(other);
    world.give_room(99);
    // The one that kept its first gets the others now, as far as there is room for them.
    assert_eq!(objects(&world).len(), 10);
    assert_eq!(world.delivery.waiting_datagrams(), 0);
}
