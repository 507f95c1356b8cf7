//! What becomes of a track whose publishers are gone: sealed, continued, or begun anew.

use super::support::*;
use crate::model::{
    DatagramBody, Extensions, Filter, Location, ObjectDatagram, ObjectStatus, PublishDoneCode,
    StreamCode, TrackAlias,
};
use crate::track::{
    PublisherId, StreamIngest, SubscriptionId, SubscriptionParams, TrackLimits, UpdateParams,
};

const CANCELLED: State = State::Reset(StreamCode::CANCELLED);

/// The publisher of a world goes; the next one may begin.
fn replace_publisher(world: &mut World) -> PublisherId {
    let publisher = world.publisher;
    world.log.borrow_mut().remove_publisher(publisher);
    world.publisher = world.second_publisher();
    world.publisher
}

/// A stream that is opened while its publisher is being removed: it may not begin a new life of the track.
#[test]
fn a_publisher_that_is_gone_feeds_nothing() {
    let world = World::subscribed();
    world.send(header(4, 0), &objects(0..3));
    let mut log = world.log.borrow_mut();
    log.remove_publisher(world.publisher);
    let limits = crate::model::ObjectLimits::default();
    let late = StreamIngest::new(&mut log, world.publisher, &header(0, 0), limits);
    assert!(late.is_none());
    assert_eq!(log.largest(), Some(Location::new(4, 2)));
}

/// After the last publisher has gone a new one goes on above Largest, or begins the track anew.
#[test]
fn a_sealed_track_goes_on_or_begins_anew() {
    for (group, anew) in [(5, false), (0, true)] {
        let mut world = World::subscribed();
        world.send(header(4, 0), &objects(0..3));
        world.run();
        let publisher = world.publisher;
        world.log.borrow_mut().remove_publisher(publisher);
        world.publisher = world.second_publisher();
        world.send(header(group, 0), &[object(0, b"new life")]);
        world.run();
        assert_eq!(world.log.borrow().malformed(), None);
        let largest = Location::new(group, 0);
        assert_eq!(world.log.borrow().largest(), Some(largest));
        assert_eq!(world.wire.streams.len(), 2, "{anew}");
        assert!(world.ended().is_none());
    }
}

/// What the old publisher had open is reset, and the new one goes on with the rest of its subgroup.
#[test]
fn a_publisher_that_comes_back_goes_on_inside_a_subgroup() {
    let mut world = World::subscribed();
    let mut upstream = world.publish(header(4, 0));
    upstream.objects(&objects(0..3)).unwrap();
    world.run();
    replace_publisher(&mut world);
    world.run();
    assert_eq!(world.stream(0).state, CANCELLED);
    world.send(header(4, 0), &objects(3..5));
    world.run();
    assert_eq!(world.log.borrow().epoch(), 0);
    assert_eq!(world.stream(1).ids(), [3, 4]);
    assert_eq!(world.stream(1).state, State::Finished);
    assert_eq!(world.received().len(), 5);
}

/// S9.7: subscriptions that asked for what comes next go on with a track that begins anew below its old Largest;
/// those that named a location keep to it.
#[test]
fn running_subscriptions_go_on_when_the_track_begins_anew() {
    let absolute = |group, object| Filter::AbsoluteStart {
        start: Location::new(group, object),
    };
    for (filter, passes) in [
        (Filter::LargestObject, true),
        (Filter::NextGroupStart, true),
        (absolute(0, 0), true),
        (absolute(1000, 0), false),
    ] {
        let mut world = World::new();
        world.send(header(1000, 0), &objects(0..3));
        let info = world.subscribe(SUB, params(filter)).unwrap();
        replace_publisher(&mut world);
        // SUBSCRIBE_UPDATE has to name a start; naming the same again changes nothing.
        let update = UpdateParams {
            start: info.start,
            subscriber_priority: 3,
            ..open_update()
        };
        world.update(SUB, update).unwrap();
        world.send(header(0, 0), &objects(0..2));
        world.run();
        world.update(SUB, update).unwrap();
        world.send(header(1, 0), &objects(0..2));
        world.run();
        let got = if passes { 4 } else { 0 };
        assert_eq!(world.received().len(), got, "{filter:?}");
        assert!(world.ended().is_none());
    }
}

/// What was on its way of the old life is reset, nothing of it comes later, and nobody is said to be too slow.
#[test]
fn a_new_life_resets_what_was_on_its_way() {
    let mut world = World::subscribed();
    world.wire.window = 10;
    for group in 5..10 {
        world.send(header(group, 0), &[object(0, &[1; 1000])]);
        world.run();
    }
    replace_publisher(&mut world);
    world.send(header(3, 0), &[object(0, b"new")]);
    world.wire.window = usize::MAX;
    world.run();
    assert!(
        world.wire.streams[..5]
            .iter()
            .all(|stream| stream.state == CANCELLED)
    );
    assert_eq!(world.stream(5).objects(), [object(0, b"new")]);
    assert_eq!(world.stream(5).state, State::Finished);
    assert!(world.ended().is_none());
    assert_eq!(world.delivery.staged(), 0);
}

/// S10.4.3-02: what this subscriber lacks of the old life is nothing that the new one would have to have before a FIN.
#[test]
fn what_was_skipped_of_the_old_life_is_not_missing_in_the_new_one() {
    let mut world = World::subscribed();
    let forward = |forward| UpdateParams {
        forward,
        ..open_update()
    };
    world.update(SUB, forward(false)).unwrap();
    world.send(header(1000, 0), &objects(0..3));
    world.run();
    world.update(SUB, forward(true)).unwrap();
    replace_publisher(&mut world);
    let mut first = world.publish(header(0, 0));
    first.objects(&objects(0..2)).unwrap();
    first.reset(StreamCode::CANCELLED);
    world.run();
    world.send(header(0, 0), &objects(2..4));
    world.run();
    assert_eq!(world.log.borrow().largest(), Some(Location::new(0, 3)));
    assert_eq!(world.stream(1).ids(), [2, 3]);
    assert_eq!(world.stream(1).state, State::Finished);
}

/// Nothing that was known of the old life binds the new one: ends, gaps, preference, contents.
#[test]
fn a_new_life_knows_nothing_of_the_old_one() {
    let mut world = World::subscribed();
    let gap = crate::model::SubgroupHeader {
        extensions: true,
        ..header(9, 0)
    };
    world.send(
        gap,
        &[with_gap(0, 0x3C, 4), status(1, ObjectStatus::EndOfTrack)],
    );
    world.run();
    replace_publisher(&mut world);
    world.send(header(6, 0), &[object(0, b"in a gap")]);
    world.send(header(20, 0), &[object(0, b"beyond the end")]);
    world.run();
    assert_eq!(world.log.borrow().malformed(), None);
    assert_eq!(world.log.borrow().largest(), Some(Location::new(20, 0)));
    replace_publisher(&mut world);
    let datagram = ObjectDatagram {
        track_alias: TrackAlias(3),
        group: 1,
        object: 1,
        object_id_absent: false,
        publisher_priority: 9,
        end_of_group: false,
        extensions: Extensions::default(),
        body: DatagramBody::Payload(bytes::Bytes::from_static(b"datagram")),
    };
    let now = world.now;
    world
        .log
        .borrow_mut()
        .receive_datagram(datagram, now)
        .unwrap();
    world.run();
    assert_eq!(world.wire.datagrams.len(), 1);
    assert_eq!(world.log.borrow().largest(), Some(Location::new(1, 1)));
}

/// A contradiction is one only within one life of the track.
#[test]
fn a_contradiction_inside_one_life_is_malformed() {
    let mut world = World::subscribed();
    world.send(header(4, 0), &objects(0..3));
    let second = world.second_publisher();
    let first = std::mem::replace(&mut world.publisher, second);
    // The other one is still there.
    world.log.borrow_mut().remove_publisher(first);
    let mut upstream = world.publish(header(4, 0));
    assert!(upstream.objects(&[object(0, b"other")]).is_err());
    world.run();
    let malformed = PublishDoneCode::MALFORMED_TRACK;
    assert_eq!(world.ended().map(|(code, _)| code), Some(malformed));
}

/// Many lives: nothing of the old ones is left, and readers that come and go get each life's objects.
#[test]
fn a_publisher_that_begins_anew_again_and_again_leaves_nothing_behind() {
    let mut world = World::with(TrackLimits::default(), at_once());
    let mut bytes = None;
    for life in 0..100 {
        let reader = SubscriptionId(life);
        let params = SubscriptionParams {
            forward: true,
            ..params(Filter::LargestObject)
        };
        world.subscribe(reader, params).unwrap();
        for group in 0..5 {
            world.send(header(group, 0), &objects(0..10));
            world.run();
        }
        let held = world.log.borrow().bytes();
        assert_eq!(*bytes.get_or_insert(held), held);
        assert_eq!(world.log.borrow().runs.len(), 5);
        if life > 3 {
            world.detach(SubscriptionId(life - 3));
        }
        replace_publisher(&mut world);
    }
    let streams = world.streams_by_subscription();
    assert_eq!(streams[&SubscriptionId(50)].len(), 4 * 5);
}

/// What a publisher told counts for new subscribers (S9.7-08) as long as it is there: another one may begin at any place.
/// It never judges what is received.
#[test]
fn what_publishers_told_goes_with_them() {
    let mut world = World::new();
    let told = Some(Location::new(100, 0));
    let first = world.publisher;
    world.log.borrow_mut().note_told(first, told);
    let info = world.subscribe(SUB, params(Filter::LargestObject)).unwrap();
    assert_eq!(info.largest, told);
    assert_eq!(world.log.borrow().largest(), None);
    // The one that died is missed only when it has come back as another one.
    world.publisher = world.second_publisher();
    world.log.borrow_mut().remove_publisher(first);
    world.log.borrow_mut().note_told(first, told);
    let second = SubscriptionId(2);
    let info = world
        .subscribe(second, params(Filter::LargestObject))
        .unwrap();
    assert_eq!((info.largest, info.start), (None, Location::default()));
    world.send(header(3, 0), &[object(0, b"new life")]);
    world.run();
    assert_eq!(world.log.borrow().malformed(), None);
    assert_eq!(world.wire.streams.len(), 1);
}

/// What leaves the log in a new life of the track before the reader looks at it again was missed as in any other.
#[test]
fn who_missed_the_beginning_of_a_new_life_is_told() {
    for evicts in [false, true] {
        let mut world = World::subscribed();
        world.send(header(4, 0), &objects(0..3));
        world.run();
        replace_publisher(&mut world);
        world.send(header(0, 0), &[object(0, b"new life")]);
        if evicts {
            world.evict_all();
        }
        world.run();
        let expected = evicts.then_some(PublishDoneCode::TOO_FAR_BEHIND);
        assert_eq!(world.ended().map(|(code, _)| code), expected);
    }
}
