//! What a relay keeps of the tracks that it carries.

use bytes::Bytes;
use moqtail::client::SubgroupOptions;
use moqtail::model::{Extensions, Filter};
use moqtail::relay::RelayConfig;
use moqtail::transport::TransportKind;

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
