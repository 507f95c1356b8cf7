//! Long times: readers that stall beside one that does not, and publishers that say nothing for a while.

use std::{collections::BTreeMap, time::Duration};

use super::support::*;
use crate::model::{Location, MAX_VARINT, PublishDoneCode, StreamCode};
use crate::track::{
    Admission, Delivery, DeliveryEvent, DeliveryLimits, SubscriptionId, SubscriptionParams,
    TrackLimits,
};

const FRAMES: u64 = 30;
/// 8 Mbit/s at 30 frames a second.
const FRAME_BYTES: usize = 33_333;
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / FRAMES);

/// A second session at the track of a world.
struct Session {
    delivery: Delivery<Log>,
    wire: Wire,
    ended: Option<PublishDoneCode>,
}

impl Session {
    fn at(world: &World, params: &SubscriptionParams) -> Self {
        let mut delivery = Delivery::new(DeliveryLimits::default());
        let log = world.log.clone();
        delivery.attach(SUB, log, params, Admission::Now).unwrap();
        delivery.start(SUB);
        Self {
            delivery,
            wire: Wire::default(),
            ended: None,
        }
    }

    fn run(&mut self, world: &World) {
        self.delivery.changed(SUB);
        while self.delivery.service(world.now, &mut self.wire) {}
        while let Some(event) = self.delivery.poll_event() {
            if let DeliveryEvent::Ended { code, .. } = event {
                self.ended = Some(code);
            }
        }
    }

    fn objects(&self) -> BTreeMap<Location, Vec<u8>> {
        let mut all = BTreeMap::new();
        for stream in self
            .wire
            .streams
            .iter()
            .filter(|stream| !stream.bytes.is_empty())
        {
            let (header, objects) = decode(&stream.bytes);
            for object in objects.into_iter().filter(|object| object.whole) {
                let at = Location::new(header.group, object.id);
                assert_eq!(all.insert(at, object.payload), None, "{at} came twice");
            }
        }
        all
    }
}

fn frame(second: u64, frame: u64) -> Vec<u8> {
    vec![(second * FRAMES + frame) as u8; FRAME_BYTES]
}

/// One second of video, which both read after each frame; `check` looks at them.
fn play(world: &mut World, second: u64, stalled: &mut Session, check: impl Fn(&World, &Session)) {
    let mut upstream = world.publish(header(second, 0));
    for id in 0..FRAMES {
        upstream.now = world.now;
        upstream.objects(&[object(id, &frame(second, id))]).unwrap();
        world.run();
        stalled.run(world);
        check(world, stalled);
        world.now += FRAME;
    }
    upstream.finish().unwrap();
    world.run();
    stalled.run(world);
}

/// S9.2.1.2-07, S9.12-18, S9.2.1.2-06: one that does not read for 30 s at 8 Mbit/s ends when it is too far behind,
/// without a false FIN; the one beside it gets each frame at once, and memory stays within its bounds.
#[test]
fn a_reader_that_stalls_for_30_seconds_ends_and_disturbs_nobody() {
    let limits = TrackLimits::default();
    let mut world = World::with(limits, DeliveryLimits::default());
    world.subscribe(SUB, params(from_start())).unwrap();
    let mut stalled = Session::at(&world, &params(from_start()));
    play(&mut world, 0, &mut stalled, |_, _| ());
    stalled.wire.total = 0;
    for second in 1..31 {
        play(&mut world, second, &mut stalled, |world, stalled| {
            assert!(world.log.borrow().bytes() <= limits.max_bytes);
            assert!(stalled.delivery.staged() <= 256 << 10);
            assert!(world.wire.writes.len() as u64 >= second * FRAMES);
        });
        // 16 MiB are 16.8 s of it.
        assert_eq!(stalled.ended.is_some(), second > 16, "after {second} s");
    }
    assert_eq!(stalled.ended, Some(PublishDoneCode::TOO_FAR_BEHIND));
    assert_eq!(stalled.objects().len() as u64, FRAMES);
    let whole = |stream: &&Stream| stream.state == State::Finished;
    assert_eq!(stalled.wire.streams.iter().filter(whole).count(), 1);
    assert!(
        stalled
            .wire
            .streams
            .iter()
            .all(|stream| stream.state != State::Open)
    );
    let received = world.received();
    assert_eq!(received.len() as u64, 31 * FRAMES);
    assert!(
        received
            .iter()
            .all(|(at, payload)| *payload == frame(at.group, at.object))
    );
    assert!(
        world
            .wire
            .streams
            .iter()
            .all(|stream| stream.state == State::Finished)
    );
}

/// S9.2.1.2-05, S10.4.3-02: with a DELIVERY TIMEOUT it is not ended: what was too old is reset, and from then on it gets
/// everything again.
#[test]
fn a_reader_with_a_timeout_survives_a_stall_of_30_seconds() {
    let mut world = World::with(TrackLimits::default(), DeliveryLimits::default());
    world.subscribe(SUB, params(from_start())).unwrap();
    let params = SubscriptionParams {
        delivery_timeout: Some(Duration::from_secs(2)),
        ..params(from_start())
    };
    let mut stalled = Session::at(&world, &params);
    stalled.wire.total = 0;
    for second in 0..30 {
        play(&mut world, second, &mut stalled, |_, stalled| {
            assert!(stalled.delivery.subscriptions[&SUB].0.cursors.len() <= 3);
        });
    }
    stalled.wire.total = usize::MAX;
    for stream in 0..stalled.wire.streams.len() {
        let key = crate::track::StreamKey(stream);
        if stalled.wire.streams[stream].state == State::Open {
            stalled.delivery.woken(key, &mut stalled.wire);
        }
    }
    for second in 30..35 {
        play(&mut world, second, &mut stalled, |_, _| ());
    }
    assert_eq!(stalled.ended, None);
    let received = stalled.objects();
    let of = |group| received.keys().filter(|at| at.group == group).count() as u64;
    assert_eq!([of(0), of(10), of(26)], [0; 3]);
    assert!((30..35).all(|group| of(group) == FRAMES));
    for stream in &stalled.wire.streams {
        let late = State::Reset(StreamCode::DELIVERY_TIMEOUT);
        assert!(stream.state == late || stream.state == State::Finished);
        if stream.state == State::Finished {
            assert_eq!(stream.ids(), (0..FRAMES).collect::<Vec<_>>());
        }
    }
    assert_eq!(world.received().len() as u64, 35 * FRAMES);
}

/// A subgroup that is silent for 45 s is still the same stream afterwards, for readers that were there before and for
/// one that joined meanwhile; with a delivery timeout too, for nothing waits.
#[test]
fn a_subgroup_goes_on_after_45_seconds_of_silence() {
    for timeout in [None, Some(Duration::from_secs(1))] {
        let mut world = World::with(TrackLimits::default(), DeliveryLimits::default());
        let params = SubscriptionParams {
            delivery_timeout: timeout,
            ..params(from_start())
        };
        world.subscribe(SUB, params).unwrap();
        let mut upstream = world.publish(header(0, 0));
        upstream.object(0, b"before");
        world.pass(Duration::from_secs(20));
        world.subscribe(SubscriptionId(2), params).unwrap();
        world.pass(Duration::from_secs(25));
        upstream.now = world.now;
        upstream.object(1, b"after");
        world.run();
        upstream.finish().unwrap();
        world.run();
        assert_eq!(world.wire.streams.len(), 2);
        assert_eq!(
            [world.stream(0).ids(), world.stream(1).ids()],
            [vec![0, 1], vec![1]]
        );
        assert!(
            world
                .wire
                .streams
                .iter()
                .all(|stream| stream.state == State::Finished)
        );
    }
}

/// S9.1: the largest numbers there are.
#[test]
fn the_largest_ids_pass() {
    let mut world = World::subscribed();
    let mut header = header(MAX_VARINT, MAX_VARINT);
    header.end_of_group = true;
    let mut upstream = world.publish(header);
    upstream.object(MAX_VARINT - 2, b"a");
    world.run();
    world
        .subscribe(SubscriptionId(2), params(from_start()))
        .unwrap();
    upstream.object(MAX_VARINT - 1, b"b");
    upstream.object(MAX_VARINT, b"c");
    upstream.finish().unwrap();
    world.run();
    let all = [MAX_VARINT - 2, MAX_VARINT - 1, MAX_VARINT];
    assert_eq!(world.stream(0).ids(), all);
    assert_eq!(world.stream(1).ids(), all[1..]);
    assert!(
        world
            .wire
            .streams
            .iter()
            .all(|stream| stream.state == State::Finished)
    );
    let largest = Some(Location::new(MAX_VARINT, MAX_VARINT));
    assert_eq!(world.log.borrow().largest(), largest);
    let nothing = world.subscribe(
        SubscriptionId(3),
        params(crate::model::Filter::NextGroupStart),
    );
    assert!(nothing.is_ok());
}

/// A reset needs no window: what is never completed does not wait until the peer takes more of it.
#[test]
fn a_blocked_stream_is_reset_when_its_object_breaks_off() {
    let mut world = World::subscribed();
    world.wire.window = 20;
    let mut upstream = world.publish(header(0, 0));
    upstream.begin(0, &[7; 100], 50);
    world.run();
    assert_eq!(world.stream(0).state, State::Open);
    let code = StreamCode(9);
    upstream.reset(code);
    world.run();
    assert_eq!(world.stream(0).state, State::Reset(code));
}
