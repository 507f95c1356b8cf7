//! Steady streams of small objects arrive whole and in order.

use std::time::Duration;

use bytes::Bytes;
use moqtail::client::SubgroupOptions;
use moqtail::model::{Extensions, Filter};

use crate::over_every_carrier;
use crate::world::{World, live};

over_every_carrier! {
    /// 160-byte objects at 1000/s for 10 s, a group per second: none is lost on streams.
    async fn small_objects_at_a_high_rate_are_not_lost(world: World) {
        const PER_SECOND: u64 = 1000;
        const SECONDS: u64 = 10;
        let (broadcast, track) = live("sensor");
        let _publisher = world.publisher(&broadcast).await;
        let mut reader = world.viewer("sensor", Filter::LargestObject).await.objects();
        let publishing = async {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            for group in 0..SECONDS {
                let mut subgroup = track.subgroup(SubgroupOptions::new(group)).unwrap();
                for object in 0..PER_SECOND {
                    if object % (PER_SECOND / 100) == 0 {
                        tick.tick().await;
                    }
                    let payload = Bytes::from(vec![(object % 251) as u8; 160]);
                    subgroup.object(object, &Extensions::default(), payload).unwrap();
                }
                subgroup.finish().unwrap();
            }
        };
        let reading = async {
            let mut next = vec![0; usize::try_from(SECONDS).unwrap()];
            for _ in 0..PER_SECOND * SECONDS {
                let object = reader.next().await;
                assert_eq!(object.payload, vec![(object.object % 251) as u8; 160]);
                let expected = &mut next[usize::try_from(object.group).unwrap()];
                assert_eq!(object.object, *expected);
                *expected += 1;
            }
        };
        tokio::join!(publishing, reading);
    }
}
