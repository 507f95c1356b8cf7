//! Nothing is said for longer than connections may be silent, and then the same subgroup goes on. Time is not real.

use std::{future::poll_fn, time::Duration};

use moqtail::client::{Incoming, SubgroupOptions};
use moqtail::model::{ControlMessage, Extensions, Filter, ObjectStatus, StreamCode};
use moqtail::relay::RelayConfig;
use moqtail::transport::{StreamError, TransportKind, TransportLimits};
use tokio::time::{Instant, sleep};

use crate::raw::{plain_header, subgroup_bytes, write};
use crate::world::{World, live, soon, text};

/// More than the idle timeout of a connection, and than anything a session or a relay waits for.
const SILENCE: Duration = Duration::from_secs(45);

/// Publisher, relay and subscriber, each between two objects and in the middle of one.
#[tokio::test(start_paused = true)]
async fn a_subgroup_goes_on_through_a_relay_after_45_s_of_silence() {
    let mut world = World::new(TransportKind::Memory).await;
    let (broadcast, track) = live("rare");
    let _publisher = world.publisher(&broadcast).await;
    let mut viewer = world.viewer("rare", Filter::LargestObject).await;
    let none = Extensions::default();
    let mut subgroup = track.subgroup(SubgroupOptions::new(1)).unwrap();
    subgroup.object(0, &none, text(1, 0)).unwrap();
    let Some(Incoming::Subgroup(mut stream)) = soon("a stream", viewer.subscription.next()).await
    else {
        panic!("a stream");
    };
    let first = soon("an object", stream.next_object()).await.unwrap();
    assert_eq!(first.unwrap().payload, text(1, 0));

    let before = Instant::now();
    sleep(SILENCE).await;
    assert!(before.elapsed() >= SILENCE);
    subgroup.object(1, &none, text(1, 1)).unwrap();
    let second = soon("an object", stream.next_object()).await.unwrap();
    assert_eq!(second.unwrap().payload, text(1, 1));

    let (begin, rest) = (text(1, 2), text(1, 3));
    subgroup
        .begin(2, &none, (begin.len() + rest.len()) as u64)
        .unwrap();
    subgroup.payload(begin.clone()).unwrap();
    let mut object = soon("an object", stream.open_object())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        soon("its begin", object.chunk()).await.unwrap(),
        Some(begin)
    );
    sleep(SILENCE).await;
    subgroup.payload(rest.clone()).unwrap();
    assert_eq!(soon("its rest", object.chunk()).await.unwrap(), Some(rest));
    assert_eq!(soon("its end", object.chunk()).await.unwrap(), None);

    sleep(SILENCE).await;
    subgroup.finish().unwrap();
    assert_eq!(soon("the end", stream.next_object()).await, Ok(None));
    assert_eq!(viewer.subscription.end(), None);
    assert_eq!(world.relay.stats().sessions, 2);
}

/// S3.4-09, S12.1-03, limit `max_pending_heads`: streams that stop inside their header keep the next ones of their session
/// waiting until they are given up.
#[tokio::test(start_paused = true)]
async fn headers_that_stay_unfinished_hold_up_their_session_for_a_time() {
    let mut config = RelayConfig::default();
    config.peer.max_pending_heads = 2;
    let timeout = Duration::from_secs(10);
    config.session.header_timeout = timeout;
    let mut world = World::with(TransportKind::Memory, config).await;
    let mut publisher = world.raw(TransportLimits::default()).await;
    publisher.offer("live#video", 3).await.unwrap();
    let mut viewer = world.raw(TransportLimits::default()).await;
    viewer.subscribe("video").await;
    let update = publisher.hear().await;
    assert!(
        matches!(update, ControlMessage::SubscribeUpdate(_)),
        "{update:?}"
    );
    let header = plain_header(3, 1);
    let object = (0, Extensions::default(), ObjectStatus::Normal, text(1, 0));
    let bytes = subgroup_bytes(&header, std::slice::from_ref(&object));
    let before = Instant::now();
    let mut cut = Vec::new();
    for _ in 0..2 {
        let mut stream = publisher.open().await;
        write(&mut *stream, bytes.slice(..1)).await.unwrap();
        cut.push(stream);
    }
    let mut whole = publisher.open().await;
    write(&mut *whole, bytes).await.unwrap();
    whole.finish();
    assert_eq!(viewer.stream().await.objects().await.unwrap(), [object]);
    assert!(before.elapsed() >= timeout);
    let cancelled = u32::try_from(StreamCode::CANCELLED.0).unwrap();
    for mut stream in cut {
        let closed = soon("the end of a stream", poll_fn(|cx| stream.poll_closed(cx))).await;
        assert_eq!(closed, Err(StreamError::Stopped(cancelled)));
    }
    publisher.round_trip().await;
}
