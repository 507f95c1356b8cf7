//! Beginnings and ends: of tracks, publishers, subscribers, relays.

use moqtail::client::{Broadcast, SubscribeError, SubscriptionEnd, TrackOptions};
use moqtail::model::{Filter, FullTrackName, PublishDoneCode, SubscribeErrorCode};
use moqtail::relay::{Hooks, RelayConfig, SessionInfo, Verdict};
use moqtail::transport::TransportKind;

use crate::over_every_carrier;
use crate::world::{World, live, publish_group, soon, subscriptions};

fn code(error: Option<SubscribeError>) -> SubscribeErrorCode {
    match error {
        Some(SubscribeError::Rejected { code, .. }) => code,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

over_every_carrier! {
    async fn an_unknown_track_is_refused_at_once(world: World) {
        let error = world.try_viewer("video", Filter::LargestObject).await.err();
        assert_eq!(code(error), SubscribeErrorCode::TRACK_DOES_NOT_EXIST);
        let (broadcast, _track) = live("video");
        let _publisher = world.publisher(&broadcast).await;
        let error = world.try_viewer("nothing", Filter::LargestObject).await.err();
        assert_eq!(code(error), SubscribeErrorCode::TRACK_DOES_NOT_EXIST);
    }

    async fn many_viewers_cost_the_publisher_one_subscription(world: World) {
        let (broadcast, track) = live("video");
        let _publisher = world.publisher(&broadcast).await;
        let mut readers = Vec::new();
        for _ in 0..5 {
            readers.push(world.viewer("video", Filter::LargestObject).await.objects());
        }
        assert_eq!(track.track().interest().borrow().subscriptions, 1);
        publish_group(&track, 1, 0..3);
        for reader in &mut readers {
            assert_eq!(reader.take(3).await.len(), 3);
        }
        drop(readers);
        // S5.1-18: the last viewer that leaves releases the publisher.
        subscriptions(&track, 0).await;
        // And the track can be watched again.
        let mut again = world.viewer("video", Filter::LargestObject).await.objects();
        publish_group(&track, 2, 0..1);
        assert_eq!(again.take(1).await[0].0, (2, 0));
    }

    /// S9.12-14: the end of a track reaches every viewer after its last object.
    async fn the_end_of_a_track_comes_after_its_last_object(world: World) {
        let (broadcast, track) = live("video");
        let _publisher = world.publisher(&broadcast).await;
        let mut reader = world.viewer("video", Filter::LargestObject).await.objects();
        publish_group(&track, 1, 0..50);
        track.end(PublishDoneCode::TRACK_ENDED, "that was all");
        assert_eq!(reader.take(50).await.last().unwrap().0, (1, 49));
        assert!(soon("the end", reader.objects.next()).await.is_none());
        let end = reader.objects.subscription().end();
        let reason = "that was all".to_owned();
        assert_eq!(end, Some(SubscriptionEnd::Done { status: PublishDoneCode::TRACK_ENDED, reason }));
    }

    async fn viewers_go_on_with_a_publisher_that_restarts(world: World) {
        let (broadcast, track) = live("video");
        let publisher = world.publisher(&broadcast).await;
        let mut reader = world.viewer("video", Filter::LargestObject).await.objects();
        publish_group(&track, 1, 0..2);
        reader.take(2).await;
        publisher.client.close(moqtail::model::SessionCode::INTERNAL_ERROR, "killed");
        publisher.client.closed().await;
        drop((publisher, broadcast, track));

        let (broadcast, track) = live("video");
        let _publisher = world.publisher(&broadcast).await;
        subscriptions(&track, 1).await;
        publish_group(&track, 2, 0..2);
        let object = reader.next_after_loss().await;
        assert_eq!((object.group, object.object), (2, 0));
    }

    async fn nothing_is_left_of_sessions_that_ended(world: World) {
        let (broadcast, track) = live("video");
        let publisher = world.publisher(&broadcast).await;
        let reader = world.viewer("video", Filter::LargestObject).await.objects();
        assert_eq!(world.relay.stats().subscriptions, 1);
        drop((publisher, reader, track));
        while world.relay.stats() != Default::default() {
            soon("the relay to forget", tokio::task::yield_now()).await;
        }
    }

    async fn a_session_may_watch_what_it_publishes(world: World) {
        let (broadcast, track) = live("video");
        let publisher = world.publisher(&broadcast).await;
        let name: FullTrackName = "live#video".parse().unwrap();
        let subscription =
            soon("an answer", publisher.client.subscribe(name, Default::default())).await.unwrap();
        publish_group(&track, 1, 0..1);
        let mut objects = subscription.into_objects();
        let object = soon("its own object", objects.next()).await.unwrap().unwrap();
        assert_eq!((object.group, object.object), (1, 0));
    }
}

/// S8.3-01, S8.4-02: hooks decide who may do what.
#[tokio::test]
async fn hooks_refuse() {
    struct Closed;
    impl Hooks for Closed {
        fn subscribe(&self, _session: &SessionInfo, track: &FullTrackName) -> Verdict {
            if track.name() == "secret" {
                Verdict::Deny
            } else {
                Verdict::Allow
            }
        }
    }
    let mut world = World::with(TransportKind::Memory, RelayConfig::default().hooks(Closed)).await;
    let broadcast = Broadcast::new("live".parse().unwrap());
    let _open = broadcast.track("open", TrackOptions::default()).unwrap();
    let _secret = broadcast.track("secret", TrackOptions::default()).unwrap();
    let _publisher = world.publisher(&broadcast).await;
    assert!(
        world
            .try_viewer("open", Filter::LargestObject)
            .await
            .is_ok()
    );
    let error = world
        .try_viewer("secret", Filter::LargestObject)
        .await
        .err();
    assert_eq!(code(error), SubscribeErrorCode::UNAUTHORIZED);
}

#[tokio::test]
async fn two_relays_in_one_process_share_nothing() {
    let mut one = World::new(TransportKind::Memory).await;
    let mut other = World::new(TransportKind::Memory).await;
    let (broadcast, _track) = live("video");
    let _publisher = one.publisher(&broadcast).await;
    assert!(one.try_viewer("video", Filter::LargestObject).await.is_ok());
    let error = other.try_viewer("video", Filter::LargestObject).await.err();
    assert_eq!(code(error), SubscribeErrorCode::TRACK_DOES_NOT_EXIST);
}
