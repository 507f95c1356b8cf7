//! The four filters of SUBSCRIBE at a live track, by their exact first object.

use std::time::Duration;

use moqtail::client::{SubgroupOptions, SubscribeError, SubscribeOptions, SubscriptionUpdate};
use moqtail::model::{Extensions, Filter, GroupOrder, Location, SubscribeErrorCode};

use crate::over_every_carrier;
use crate::world::{World, live, publish_group, soon, text};

over_every_carrier! {
    /// S9.7-06, S9.7-07, S9.7-09, S9.7-10, S9.7-14, S9.7-22: in the middle of group 5, after object 2.
    async fn each_filter_starts_at_its_exact_object(world: World) {
        let (broadcast, track) = live("video");
        let _publisher = world.publisher(&broadcast).await;
        // The first viewer makes the relay subscribe and shows when it has an object.
        let mut first = world.viewer("video", Filter::LargestObject).await.objects();
        publish_group(&track, 4, 0..3);
        let mut subgroup = track.subgroup(SubgroupOptions::new(5)).unwrap();
        for object in 0..3 {
            subgroup.object(object, &Extensions::default(), text(5, object)).unwrap();
        }
        // Groups travel on streams of their own, so their order is open.
        assert_eq!(first.take(6).await.iter().map(|(at, _)| *at).max(), Some((5, 2)));

        let at = Location::new;
        let largest = world.viewer("video", Filter::LargestObject).await;
        assert_eq!(largest.subscription.info().largest, Some(at(5, 2)));
        let next = world.viewer("video", Filter::NextGroupStart).await;
        assert_eq!(next.subscription.info().largest, Some(at(5, 2)));
        // A start below Largest delivers nothing that is past.
        let past = world.viewer("video", Filter::AbsoluteStart { start: at(4, 1) }).await;
        let start = world.viewer("video", Filter::AbsoluteStart { start: at(6, 2) }).await;
        let range = Filter::AbsoluteRange { start: at(5, 4), end_group: 6 };
        let range = world.viewer("video", range).await;

        for object in 3..6 {
            subgroup.object(object, &Extensions::default(), text(5, object)).unwrap();
        }
        subgroup.finish().unwrap();
        publish_group(&track, 6, 0..4);
        publish_group(&track, 7, 0..1);

        let all = |locations: &[(u64, u64)]| {
            locations.iter().map(|&(g, o)| ((g, o), text(g, o))).collect::<Vec<_>>()
        };
        let tail = [(5, 3), (5, 4), (5, 5), (6, 0), (6, 1), (6, 2), (6, 3), (7, 0)];
        let sorted = |mut got: Vec<_>| { got.sort(); got };
        assert_eq!(sorted(largest.objects().take(8).await), all(&tail));
        assert_eq!(sorted(past.objects().take(8).await), all(&tail));
        assert_eq!(sorted(next.objects().take(5).await), all(&tail[3..]));
        assert_eq!(sorted(start.objects().take(3).await), all(&tail[5..]));
        let mut range = range.objects();
        assert_eq!(sorted(range.take(6).await), all(&tail[1..7]));
        // S9.12-15: the end of the range ends the subscription, and nothing of group 7 comes.
        assert!(soon("the end of the range", range.objects.next()).await.is_none());
    }

    /// S9.7-08: without content every open filter starts at {0, 0}.
    async fn a_track_without_content_starts_at_its_first_object(world: World) {
        let (broadcast, track) = live("video");
        let _publisher = world.publisher(&broadcast).await;
        let largest = world.viewer("video", Filter::LargestObject).await;
        let next = world.viewer("video", Filter::NextGroupStart).await;
        assert_eq!(largest.subscription.info().largest, None);
        publish_group(&track, 0, 0..1);
        assert_eq!(largest.objects().take(1).await[0].0, (0, 0));
        assert_eq!(next.objects().take(1).await[0].0, (0, 0));
    }

    /// S9.7-21: a range that is over is refused.
    async fn a_range_in_the_past_is_refused(world: World) {
        let (broadcast, track) = live("video");
        let _publisher = world.publisher(&broadcast).await;
        let mut first = world.viewer("video", Filter::LargestObject).await.objects();
        publish_group(&track, 9, 0..1);
        first.take(1).await;
        let range = Filter::AbsoluteRange { start: Location::new(1, 0), end_group: 2 };
        let error = world.try_viewer("video", range).await.err();
        assert!(matches!(
            error,
            Some(SubscribeError::Rejected { code: SubscribeErrorCode::INVALID_RANGE, .. })
        ));
    }

    /// S5.1-07, S9.10-10: Forward 0 delivers nothing, Forward 1 from the next object on.
    async fn forward_decides_whether_objects_flow(world: World) {
        let (broadcast, track) = live("video");
        let _publisher = world.publisher(&broadcast).await;
        let mut watcher = world.viewer("video", Filter::LargestObject).await.objects();
        let client = world.client().await;
        let mut options = SubscribeOptions::default();
        options.forward = false;
        let paused = client.subscribe("live#video".parse().unwrap(), options).await.unwrap();
        publish_group(&track, 1, 0..1);
        watcher.take(1).await;
        let update = SubscriptionUpdate { forward: Some(true), ..Default::default() };
        paused.update(update).unwrap();
        // The update travels on its own stream: publish until it has arrived.
        let mut objects = paused.into_objects();
        let mut group = 2;
        let first = loop {
            publish_group(&track, group, 0..1);
            watcher.take(1).await;
            let wait = Duration::from_millis(50);
            match tokio::time::timeout(wait, objects.next()).await {
                Ok(object) => break object.unwrap().unwrap(),
                Err(_) => group += 1,
            }
            assert!(group < 200, "the update never arrived");
        };
        assert!(first.group >= 2);
    }

    /// S9.10-02, S9.12-15: a range that is narrowed while it is served.
    async fn an_update_narrows_what_comes_and_ends_it(world: World) {
        let (broadcast, track) = live("video");
        let _publisher = world.publisher(&broadcast).await;
        let mut watcher = world.viewer("video", Filter::LargestObject).await.objects();
        publish_group(&track, 1, 0..1);
        watcher.take(1).await;
        let client = world.client().await;
        let subscribed = client.subscribe("live#video".parse().unwrap(), SubscribeOptions::default());
        let narrowed = soon("an answer", subscribed).await.unwrap();
        let update = SubscriptionUpdate {
            start: Some(Location::new(4, 0)),
            end_group: Some(5),
            ..Default::default()
        };
        narrowed.update(update).unwrap();
        // What is asked for behind it is answered after it was read.
        let nothing = client.subscribe("nobody#a".parse().unwrap(), SubscribeOptions::default());
        assert!(soon("an answer", nothing).await.is_err());
        for group in 2..8 {
            publish_group(&track, group, 0..1);
        }
        watcher.take(6).await;
        let mut objects = narrowed.into_objects();
        let mut groups = Vec::new();
        while let Some(object) = soon("the end of the range", objects.next()).await {
            groups.push(object.unwrap().group);
        }
        groups.sort_unstable();
        assert_eq!(groups, [4, 5]);
    }

    /// S7.1-06, S7.3-03: an order that is asked for is in force, and a priority that is not set is in the middle.
    async fn the_order_that_is_asked_for_is_in_force(world: World) {
        let (broadcast, track) = live("video");
        let _publisher = world.publisher(&broadcast).await;
        assert_eq!(SubscribeOptions::default().priority, 128);
        assert_eq!(SubgroupOptions::new(0).publisher_priority, 128);
        for (asked, expected) in [
            (None, GroupOrder::Ascending),
            (Some(GroupOrder::Ascending), GroupOrder::Ascending),
            (Some(GroupOrder::Descending), GroupOrder::Descending),
        ] {
            let client = world.client().await;
            let mut options = SubscribeOptions::default();
            options.group_order = asked;
            let subscribed = client.subscribe("live#video".parse().unwrap(), options);
            let subscription = soon("an answer", subscribed).await.unwrap();
            assert_eq!(subscription.info().group_order, expected);
        }
        drop(track);
    }

    /// S2.5.1-02, S5.1-23: how a track is asked for decides when it comes, never what.
    async fn parameters_change_nothing_of_what_is_delivered(world: World) {
        let (broadcast, track) = live("video");
        let _publisher = world.publisher(&broadcast).await;
        let mut readers = Vec::new();
        for (priority, order, timeout) in [
            (0, None, None),
            (255, Some(GroupOrder::Descending), Some(60_000)),
            (7, Some(GroupOrder::Ascending), Some(600_000)),
        ] {
            let client = world.client().await;
            let mut options = SubscribeOptions::default();
            options.priority = priority;
            options.group_order = order;
            options.delivery_timeout = timeout.map(Duration::from_millis);
            let subscribed = client.subscribe("live#video".parse().unwrap(), options);
            readers.push((soon("an answer", subscribed).await.unwrap().into_objects(), client));
        }
        for group in 0..5 {
            publish_group(&track, group, 0..4);
        }
        let mut all = Vec::new();
        for (objects, _) in &mut readers {
            let mut got = Vec::new();
            for _ in 0..20 {
                let object = soon("an object", objects.next()).await.unwrap().unwrap();
                got.push((object.location(), object.payload));
            }
            got.sort();
            all.push(got);
        }
        assert_eq!(all[0], all[1]);
        assert_eq!(all[0], all[2]);
    }
}
