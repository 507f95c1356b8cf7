//! Objects that travel in datagrams (draft-14 §10.3).

use super::support::*;
use crate::model::{
    DatagramBody, Extensions, Filter, Location, ObjectDatagram, ObjectStatus, PublishDoneCode,
    TrackAlias,
};
use crate::track::{DeliveryLimits, TrackLimits};

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
