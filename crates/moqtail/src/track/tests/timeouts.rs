//! How old an object may become: DELIVERY TIMEOUT (draft-14 §9.2.1.2).

use std::time::Duration;

use super::support::*;
use crate::model::StreamCode;
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

/// S9.2.1.2-02: an object that waits behind others for its turn expires too, although its stream had sent all before.
#[test]
fn an_object_that_waits_for_its_turn_expires() {
    let limits = DeliveryLimits {
        in_flight_bytes: 1000,
        ..at_once()
    };
    let mut world = World::with(TrackLimits::default(), limits);
    world.subscribe(SUB, with_timeout(100)).unwrap();
    let mut late = world.publish(header(1, 0));
    late.object(0, b"first");
    world.run();
    assert_eq!(world.stream(0).ids(), [0]);
    // A group that goes first takes all that may be in flight.
    world.wire.window = 0;
    world.send(header(0, 0), &[object(0, &[1; 5000])]);
    world.wire.total = 0;
    world.run();
    late.object(1, b"second");
    world.run();
    world.pass(Duration::from_millis(150));
    world.wire.total = usize::MAX;
    world.open_window(0, usize::MAX);
    assert_eq!(world.stream(0).ids(), [0]);
    assert_eq!(world.stream(0).state, TIMED_OUT);
}

/// S9.2.1.2-02: what is too old when the session comes to look at it is not begun.
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
