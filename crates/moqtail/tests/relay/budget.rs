//! What a relay keeps of the tracks that it carries.

use bytes::Bytes;
use moqtail::client::SubgroupOptions;
use moqtail::model::{Extensions, Filter, PublishErrorCode};
use moqtail::relay::RelayConfig;
use moqtail::transport::{TransportKind, TransportLimits};

use crate::world::{World, live};

/// Several times what the relay may hold goes through it, over two tracks; viewers get all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_stay_within_their_budget_and_viewers_get_everything() {
    const BUDGET: usize = 2 << 20;
    for carrier in [TransportKind::Memory, TransportKind::Quic] {
        let mut config = RelayConfig::default();
        config.limits.max_log_bytes = BUDGET;
        let mut world = World::with(carrier, config).await;
        let (broadcast, video) = live("video");
        let audio = broadcast
            .track("audio".to_owned(), Default::default())
            .unwrap();
        let _publisher = world.publisher(&broadcast).await;
        let mut readers = Vec::new();
        for track in ["video", "audio"] {
            readers.push(world.viewer(track, Filter::LargestObject).await.objects());
        }
        let mut most = 0;
        for group in 0..100 {
            for (track, reader) in [&video, &audio].into_iter().zip(&mut readers) {
                let mut subgroup = track.subgroup(SubgroupOptions::new(group)).unwrap();
                let payload = Bytes::from(vec![group as u8; 50_000]);
                subgroup
                    .object(0, &Extensions::default(), payload.clone())
                    .unwrap();
                subgroup.finish().unwrap();
                let object = reader.next().await;
                assert_eq!((object.group, object.payload), (group, payload));
                let held = world.relay.stats().log_bytes;
                assert!(held > 50_000 && held <= BUDGET, "{held}");
                most = most.max(held);
            }
        }
        // It is used, not only kept.
        assert!(most > BUDGET / 2, "{most}");
    }
}

/// What a track costs that holds nothing cannot leave: it would take the room of what is published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tracks_that_hold_nothing_take_no_more_than_a_quarter_of_the_budget() {
    const BUDGET: usize = 1 << 20;
    let mut config = RelayConfig::default();
    config.limits.max_log_bytes = BUDGET;
    let mut world = World::with(TransportKind::Memory, config).await;
    let mut publisher = world.raw(TransportLimits::default()).await;
    let mut tracks = 0;
    let refused = loop {
        match publisher.offer(&format!("live#{tracks}"), tracks).await {
            Ok(()) => tracks += 1,
            Err(code) => break code,
        }
    };
    assert_eq!(refused, PublishErrorCode::INTERNAL_ERROR);
    let held = world.relay.stats().log_bytes;
    assert!(
        held > BUDGET / 8 && held <= BUDGET / 4,
        "{held} of {tracks} tracks"
    );
    // It is not for the session that offered too many.
    let mut other = world.raw(TransportLimits::default()).await;
    assert_eq!(other.offer("live#more", 1).await, Err(refused));
}
