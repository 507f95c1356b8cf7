//! What a publisher tells of its track before any object comes.

use moqtail::model::{
    ControlMessage, Extensions, Filter, Location, ObjectStatus, SubscribeErrorCode,
};
use moqtail::transport::TransportLimits;

use crate::over_every_carrier;
use crate::raw::{RawPeer, plain_header, subgroup_bytes, write};
use crate::world::{World, text};

const ALIAS: u64 = 3;
const LARGEST: Location = Location {
    group: 7,
    object: 3,
};

/// Publishes one object on a stream of its own.
async fn publish(publisher: &RawPeer, group: u64, object: u64) {
    let header = plain_header(ALIAS, group);
    let object = (
        object,
        Extensions::default(),
        ObjectStatus::Normal,
        text(group, object),
    );
    let mut stream = publisher.open().await;
    write(&mut *stream, subgroup_bytes(&header, &[object]))
        .await
        .unwrap();
    stream.finish();
}

/// The Location of the one object of the next stream.
async fn next(viewer: &RawPeer) -> (u64, u64) {
    let stream = viewer.stream().await;
    let group = stream.header.group;
    (group, stream.objects().await.unwrap()[0].0)
}

/// Who comes before the first object is told of what was published, and served by it.
async fn later_viewers_know(world: &mut World, publisher: &RawPeer, first: &RawPeer) {
    let mut viewer = world.raw(TransportLimits::default()).await;
    let ok = viewer
        .subscribe_to("live#video", Filter::NextGroupStart)
        .await;
    assert_eq!(ok.largest, Some(LARGEST));
    let mut late = world.raw(TransportLimits::default()).await;
    let start = Location::new(1, 0);
    let over = Filter::AbsoluteRange {
        start,
        end_group: 6,
    };
    let answer = late.ask("live#video", over).await.1;
    assert!(
        matches!(&answer, ControlMessage::SubscribeError(error) if error.code == SubscribeErrorCode::INVALID_RANGE),
        "{answer:?}"
    );
    publish(publisher, 7, 4).await;
    assert_eq!(next(first).await, (7, 4));
    publish(publisher, 8, 0).await;
    assert_eq!(next(first).await, (8, 0));
    assert_eq!(next(&viewer).await, (8, 0));
    viewer.no_stream().await;
}

over_every_carrier! {
    /// S9.7-06, S9.7-07, S9.7-21, S9.7-22: SUBSCRIBE_OK of upstream is not for those alone who waited for it.
    async fn largest_of_subscribe_ok_is_known_to_later_viewers(world: World) {
        let mut publisher = world.raw(TransportLimits::default()).await;
        publisher.announce("live").await;
        let mut first = world.raw(TransportLimits::default()).await;
        let (ok, ()) =
            tokio::join!(first.subscribe("video"), publisher.accept_subscribe(ALIAS, Some(LARGEST)));
        assert_eq!(ok.largest, Some(LARGEST));
        later_viewers_know(&mut world, &publisher, &first).await;
    }

    /// S9.7-06, S9.7-07, S9.7-21, S9.7-22: nor is PUBLISH.
    async fn largest_of_publish_is_known_to_later_viewers(world: World) {
        let mut publisher = world.raw(TransportLimits::default()).await;
        let offer = publisher.begin_offer("live#video", ALIAS, Some(LARGEST)).await;
        assert_eq!(publisher.offer_answered(offer).await, Ok(()));
        let mut first = world.raw(TransportLimits::default()).await;
        assert_eq!(first.subscribe("video").await.largest, Some(LARGEST));
        later_viewers_know(&mut world, &publisher, &first).await;
    }

    /// S9.10-03, S8.4-09: the relay does not know what the publisher has sent when it reads PUBLISH_OK, so it asks by no
    /// filter whose start depends on that, and repeats the start in its updates.
    async fn no_update_of_a_published_track_lowers_its_start(world: World) {
        let mut publisher = world.raw(TransportLimits::default()).await;
        publisher.begin_offer("live#video", ALIAS, Some(LARGEST)).await;
        let ControlMessage::PublishOk(ok) = publisher.hear().await else {
            panic!("expected PUBLISH_OK");
        };
        let start = Location::new(0, 0);
        assert_eq!((ok.forward, ok.filter), (false, Filter::AbsoluteStart { start }));
        let mut viewer = world.raw(TransportLimits::default()).await;
        viewer.subscribe("video").await;
        let ControlMessage::SubscribeUpdate(update) = publisher.hear().await else {
            panic!("expected SUBSCRIBE_UPDATE");
        };
        assert_eq!((update.forward, update.start, update.end_group), (true, start, None));
    }
}
