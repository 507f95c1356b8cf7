//! Nothing is said for longer than connections may be silent, and then the same subgroup goes on. Time is not real.

use std::time::Duration;

use moqtail::client::{Incoming, SubgroupOptions};
use moqtail::model::{Extensions, Filter};
use moqtail::transport::TransportKind;
use tokio::time::{Instant, sleep};

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
