use moqtail::{
    client::{
        Broadcast, Client, ClientConfig, LocalSubgroup, LocalTrack, SubgroupOptions,
        SubscribeOptions, TrackOptions,
    },
    model::{Extensions, PublishDoneCode, SubgroupId},
    relay::{Relay, RelayConfig},
    transport::{MemoryConnection, TransportLimits},
};
use tokio::task::JoinSet;

use super::*;
use crate::{client_options::ClientOptions, link::Link};

const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of the largest object that is received whole.
const MAX_OBJECT: u64 = 1000;

/// A track that one client publishes through a relay and another one receives.
struct World {
    track: LocalTrack,
    received: Ordered<'static>,
    _sessions: (Client, Client, JoinSet<()>),
}

impl World {
    async fn new(late: Late) -> Self {
        Self::with(late, MAX_OBJECT).await
    }

    async fn with(late: Late, max_object_len: u64) -> Self {
        let relay = Relay::new(RelayConfig::default());
        let link = Link::new("moqt://memory:1", ClientOptions::default(), false).unwrap();
        let losses = Losses::new(Box::leak(Box::new(link)), &"a#t".parse().unwrap(), false);
        let mut tasks = JoinSet::new();
        let mut client = async || {
            let (here, there) = MemoryConnection::pair(TransportLimits::default());
            let relay = relay.clone();
            tasks.spawn(async move { drop(relay.attach(there).await) });
            let mut config = ClientConfig::default();
            config.limits.max_object_len = max_object_len;
            Client::over(here, config).await.unwrap()
        };
        let (publisher, subscriber) = (client().await, client().await);
        let broadcast = Broadcast::new("a".parse().unwrap());
        let track = broadcast.track("t", TrackOptions::default()).unwrap();
        // Without the announcement nobody could find the track.
        std::mem::forget(publisher.publish(&broadcast).await.unwrap());
        let options = SubscribeOptions::default();
        let subscription = subscriber
            .subscribe("a#t".parse().unwrap(), options)
            .await
            .unwrap();
        let received = Ordered::new(subscription, losses, PATIENCE, late);
        Self {
            track,
            received,
            _sessions: (publisher, subscriber, tasks),
        }
    }

    fn group(&self, group: u64) -> LocalSubgroup {
        self.layer(group, 0)
    }

    fn layer(&self, group: u64, subgroup: u64) -> LocalSubgroup {
        let options = SubgroupOptions {
            group,
            subgroup: SubgroupId::Explicit(subgroup),
            publisher_priority: 128,
            extensions: false,
            end_of_group: false,
        };
        self.track.subgroup(options).unwrap()
    }

    /// Group and object of the next object, and how long it took.
    async fn next(&mut self) -> (u64, u64, Duration) {
        let begin = Instant::now();
        let object = self.received.next().await.unwrap();
        (object.group, object.object, begin.elapsed())
    }
}

fn write(subgroup: &mut LocalSubgroup, object: u64) {
    subgroup
        .object(object, &Extensions::default(), "x".into())
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_group_waits_for_the_one_before_it() {
    let mut world = World::new(Late::Deliver).await;
    let mut first = world.group(1);
    write(&mut first, 0);
    assert_eq!(world.next().await, (1, 0, SETTLE));
    let mut second = world.group(2);
    write(&mut second, 0);
    let late = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        write(&mut first, 1);
        first.finish().unwrap();
    };
    let read = async { [world.received.next().await, world.received.next().await] };
    let ((), read) = tokio::join!(late, read);
    let groups = read.map(|object| object.unwrap().location());
    assert_eq!(groups.map(|at| (at.group, at.object)), [(1, 1), (2, 0)]);
}

/// A group that stood still until an object of the next one was delivered, and that next one.
async fn overtaken(late: Late) -> (World, LocalSubgroup, LocalSubgroup) {
    let mut world = World::new(late).await;
    let mut first = world.group(1);
    write(&mut first, 0);
    world.next().await;
    let mut second = world.group(2);
    write(&mut second, 0);
    assert_eq!(world.next().await, (2, 0, PATIENCE));
    (world, first, second)
}

#[tokio::test(start_paused = true)]
async fn a_group_that_stands_still_is_overtaken_and_delivered_late() {
    let (mut world, mut first, _second) = overtaken(Late::Deliver).await;
    write(&mut first, 1);
    let (group, object, _) = world.next().await;
    assert_eq!((group, object), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_player_leaves_out_what_comes_too_late() {
    let (mut world, mut first, mut second) = overtaken(Late::Drop).await;
    write(&mut first, 1);
    write(&mut second, 1);
    let (group, object, _) = world.next().await;
    assert_eq!((group, object), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn groups_that_do_not_exist_are_missed_only_a_few_times() {
    let mut world = World::new(Late::Drop).await;
    let mut waits = Vec::new();
    for group in [10, 20, 30, 40, 50, 60] {
        let mut subgroup = world.group(group);
        write(&mut subgroup, 0);
        subgroup.finish().unwrap();
        waits.push(world.next().await.2);
    }
    let none = Duration::ZERO;
    assert_eq!(waits, [SETTLE, OVERTAKEN, OVERTAKEN, OVERTAKEN, none, none]);
}

#[tokio::test(start_paused = true)]
async fn what_follows_an_object_that_is_too_large_is_delivered() {
    let mut world = World::new(Late::Deliver).await;
    let mut subgroup = world.group(1);
    write(&mut subgroup, 0);
    assert_eq!(world.next().await.1, 0);
    let large = vec![0; 2 * MAX_OBJECT as usize];
    subgroup
        .object(1, &Extensions::default(), large.into())
        .unwrap();
    write(&mut subgroup, 2);
    let (_, object, took) = world.next().await;
    assert_eq!((object, took), (2, Duration::ZERO), "it is not waited for");
}

#[tokio::test(start_paused = true)]
async fn a_hole_every_few_groups_is_not_missed_for_ever() {
    let mut world = World::new(Late::Drop).await;
    let mut waited = Duration::ZERO;
    for group in (0..600).filter(|group| group % 3 != 2) {
        let mut subgroup = world.group(group);
        write(&mut subgroup, 0);
        subgroup.finish().unwrap();
        waited += world.next().await.2;
    }
    assert_eq!(waited, SETTLE + 4 * OVERTAKEN);
}

#[tokio::test(start_paused = true)]
async fn layers_of_a_group_are_merged_by_object_id() {
    let mut world = World::new(Late::Drop).await;
    for group in 1..3 {
        let (mut base, mut upper) = (world.layer(group, 0), world.layer(group, 1));
        for object in [0, 2, 4] {
            write(&mut base, object);
        }
        tokio::task::yield_now().await;
        for object in [1, 3, 5] {
            write(&mut upper, object);
        }
        base.finish().unwrap();
        upper.finish().unwrap();
        for expected in 0..6 {
            let (got, object, waited) = world.next().await;
            assert_eq!((got, object), (group, expected));
            assert!(waited <= SETTLE);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn streams_of_one_object_each_may_overtake_each_other() {
    let mut world = World::new(Late::Drop).await;
    let write_alone = |world: &World, object| {
        let mut subgroup = world.layer(1, object);
        write(&mut subgroup, object);
        subgroup.finish().unwrap();
    };
    write_alone(&world, 0);
    assert_eq!(world.next().await.1, 0);
    write_alone(&world, 2);
    write_alone(&world, 3);
    let begin = Instant::now();
    let early = tokio::time::timeout(OVERTAKEN / 2, world.received.next()).await;
    assert!(early.is_err());
    write_alone(&world, 1);
    for expected in [1, 2, 3] {
        assert_eq!(world.next().await.1, expected);
    }
    assert_eq!(begin.elapsed(), OVERTAKEN / 2);
}

#[tokio::test(start_paused = true)]
async fn objects_that_do_not_exist_are_missed_only_a_few_times() {
    let mut world = World::new(Late::Drop).await;
    let mut subgroup = world.group(1);
    let mut waits = Vec::new();
    for object in [0, 10, 20, 30, 40, 50] {
        write(&mut subgroup, object);
        waits.push(world.next().await.2);
    }
    let none = Duration::ZERO;
    assert_eq!(waits, [SETTLE, OVERTAKEN, OVERTAKEN, OVERTAKEN, none, none]);
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_stands_still_is_waited_for_once() {
    let mut world = World::new(Late::Drop).await;
    let (mut base, mut upper) = (world.layer(1, 0), world.layer(1, 1));
    write(&mut base, 0);
    write(&mut upper, 1);
    let mut waits = vec![world.next().await.2, world.next().await.2];
    for object in [2, 4, 6, 8, 10] {
        write(&mut base, object);
        waits.push(world.next().await.2);
    }
    let none = Duration::ZERO;
    let in_vain = [PATIENCE, OVERTAKEN, OVERTAKEN, none];
    assert_eq!(waits[..3], [SETTLE, none, none]);
    assert_eq!(waits[3..], in_vain);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_an_object_before_it_is_bounded() {
    let len = MAX_HELD as u64 / 2 + 1;
    let mut world = World::with(Late::Drop, len).await;
    let mut base = world.layer(1, 0);
    write(&mut base, 0);
    assert_eq!(world.next().await.1, 0);
    for object in [2, 3] {
        let mut upper = world.layer(1, object);
        let payload = vec![0; len as usize];
        upper
            .object(object, &Extensions::default(), payload.into())
            .unwrap();
        upper.finish().unwrap();
    }
    let (_, object, waited) = world.next().await;
    assert_eq!((object, waited), (2, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn the_end_comes_after_all_objects() {
    let mut world = World::new(Late::Deliver).await;
    let mut subgroup = world.group(1);
    write(&mut subgroup, 0);
    subgroup.finish().unwrap();
    world.next().await;
    let World {
        track,
        mut received,
        _sessions,
    } = world;
    track.end(PublishDoneCode::TRACK_ENDED, "over");
    assert!(received.next().await.is_none());
    let SubscriptionEnd::Done { status, .. } = received.end() else {
        panic!("no PUBLISH_DONE")
    };
    assert_eq!(status, PublishDoneCode::TRACK_ENDED);
}

/// Some of a track are lost in bad weather, which says nothing of those that come next.
#[tokio::test(start_paused = true)]
async fn a_group_is_waited_for_again_when_the_next_ones_followed() {
    let mut world = World::new(Late::Drop).await;
    let mut waits = Vec::new();
    for group in [1, 3, 5, 7, 9, 10, 11, 12, 13, 14, 16] {
        let mut subgroup = world.group(group);
        write(&mut subgroup, 0);
        subgroup.finish().unwrap();
        waits.push(world.next().await.2);
    }
    let mut expected = vec![SETTLE, OVERTAKEN, OVERTAKEN, OVERTAKEN];
    expected.extend([Duration::ZERO; 6]);
    expected.push(OVERTAKEN);
    assert_eq!(waits, expected);
}

/// A track whose publisher counts in leaps is not slowed down, however many objects there are.
#[tokio::test(start_paused = true)]
async fn leaps_within_a_group_cost_no_time_in_the_end() {
    let mut world = World::new(Late::Drop).await;
    let mut subgroup = world.group(1);
    for object in 0..1000 {
        write(&mut subgroup, 10 * object);
    }
    let begin = Instant::now();
    for _ in 0..1000 {
        world.next().await;
    }
    assert!(
        begin.elapsed() <= SETTLE + 3 * OVERTAKEN,
        "{:?}",
        begin.elapsed()
    );
}
