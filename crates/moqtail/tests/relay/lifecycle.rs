//! Beginnings and ends: of tracks, publishers, subscribers, relays.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use moqtail::client::{
    Broadcast, Client, ClientConfig, ConnectError, Farewell, Incoming, PublishError,
    SubgroupOptions, SubscribeError, SubscribeOptions, SubscriptionEnd, TrackOptions,
};
use moqtail::model::{
    ControlMessage, Extensions, Filter, FullTrackName, ObjectStatus, PublishDone, PublishDoneCode,
    PublishErrorCode, PublishNamespaceErrorCode, ReasonPhrase, RequestError, SubscribeErrorCode,
    TrackNamespace,
};
use moqtail::relay::{Hooks, Relay, RelayConfig, SessionInfo, Verdict};
use moqtail::session::SetupRefusal;
use moqtail::transport::{CloseReason, MemoryConnection, TransportKind, TransportLimits};

use crate::over_every_carrier;
use crate::raw::{plain_header, subgroup_bytes, write};
use crate::world::{World, live, publish_group, soon, subscriptions, text};

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

    /// S6-01
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

    /// S9.12-17
    async fn a_subscription_ends_when_its_time_is_over(world: World) {
        let broadcast = Broadcast::new("live".parse().unwrap());
        let mut options = TrackOptions::default();
        options.expires = Some(Duration::from_millis(300));
        let track = broadcast.track("video", options).unwrap();
        let _publisher = world.publisher(&broadcast).await;
        for _ in 0..2 {
            let mut reader = world.viewer("video", Filter::LargestObject).await.objects();
            publish_group(&track, 1 + track.track().largest().map_or(0, |at| at.group), 0..1);
            reader.take(1).await;
            assert!(soon("the end", reader.objects.next()).await.is_none());
            let end = reader.objects.subscription().end();
            assert!(
                matches!(end, Some(SubscriptionEnd::Done { status: PublishDoneCode::EXPIRED, .. })),
                "{end:?}"
            );
        }
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

    /// Its track has not ended, for another process goes on with it.
    async fn a_publisher_that_leaves_delivers_what_it_has_published(world: World) {
        const OBJECTS: u64 = 4_000;
        let (broadcast, track) = live("video");
        let publisher = world.publisher(&broadcast).await;
        let mut reader = world.viewer("video", Filter::LargestObject).await.objects();
        let large = Bytes::from(vec![7; 1 << 12]);
        let mut subgroup = track.subgroup(SubgroupOptions::new(1)).unwrap();
        for object in 0..OBJECTS {
            subgroup.object(object, &Extensions::default(), large.clone()).unwrap();
        }
        subgroup.finish().unwrap();
        let grace = Duration::from_secs(3600);
        let (taken, farewell) = tokio::join!(
            reader.take(OBJECTS as usize),
            soon("the end of the session", publisher.client.shutdown(grace)),
        );
        assert_eq!(farewell, Farewell::Delivered);
        assert_eq!(taken.last().unwrap().0, (1, OBJECTS - 1));
        assert_eq!(reader.objects.subscription().end(), None);
    }

    async fn a_publisher_that_leaves_too_early_knows(world: World) {
        let (broadcast, track) = live("video");
        let publisher = world.publisher(&broadcast).await;
        let mut reader = world.viewer("video", Filter::LargestObject).await.objects();
        let mut open = track.subgroup(SubgroupOptions::new(1)).unwrap();
        open.object(0, &Extensions::default(), text(1, 0)).unwrap();
        reader.take(1).await;
        let farewell = soon("the end", publisher.client.shutdown(Duration::ZERO)).await;
        assert_eq!(farewell, Farewell::Incomplete);
        // And again, when nothing can be known any more.
        let farewell = soon("the end", publisher.client.shutdown(Duration::MAX)).await;
        assert_eq!(farewell, Farewell::Incomplete);
        // Who has published nothing owes nothing.
        let client = world.client().await;
        let farewell = soon("the end", client.shutdown(Duration::MAX)).await;
        assert_eq!(farewell, Farewell::Delivered);
    }

    async fn what_is_delivered_is_told_until_the_session_ends(world: World) {
        let (broadcast, track) = live("video");
        let publisher = world.publisher(&broadcast).await;
        let client = publisher.client.clone();
        assert_eq!(soon("nothing", client.delivered()).await, Ok(()));
        let mut reader = world.viewer("video", Filter::LargestObject).await.objects();
        publish_group(&track, 1, 0..3);
        assert_eq!(soon("the first group", client.delivered()).await, Ok(()));
        let open = track.subgroup(SubgroupOptions::new(2)).unwrap();
        let mut open = Some(open);
        open.as_mut().unwrap().object(0, &Extensions::default(), text(2, 0)).unwrap();
        reader.take(4).await;
        let mut delivered = std::pin::pin!(client.delivered());
        // The viewer has it, but no transport tells so of a stream that goes on.
        tokio::select! {
            biased;
            early = &mut delivered => panic!("{early:?}"),
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
        open.take().unwrap().finish().unwrap();
        assert_eq!(soon("the second group", delivered).await, Ok(()));
        let _open = track.subgroup(SubgroupOptions::new(3)).unwrap();
        publisher.client.close(moqtail::model::SessionCode::NO_ERROR, "");
        client.closed().await;
        let ended = soon("the end", client.delivered()).await;
        assert!(matches!(ended, Err(CloseReason::Local { .. })), "{ended:?}");
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

    /// S3.5-02: who watches is told to go before the publisher loses its subscriber.
    async fn a_relay_that_ends_says_so_before_it_leaves_its_publishers(world: World) {
        let mut publisher = world.raw(TransportLimits::default()).await;
        publisher.announce("live").await;
        let mut viewer = world.raw(TransportLimits::default()).await;
        tokio::join!(publisher.accept_subscribe(3, None), viewer.subscribe("video"));
        let hearing = async {
            for told in [viewer.hear().await, publisher.hear().await] {
                assert!(matches!(told, ControlMessage::Goaway(_)), "{told:?}");
            }
        };
        tokio::join!(world.relay.shutdown(Duration::from_millis(300)), hearing);
    }

    /// The publisher offers by PUBLISH what it is being asked for, and refuses the SUBSCRIBE.
    async fn who_waits_is_served_by_an_offer_that_crosses_the_subscribe(world: World) {
        let mut publisher = world.raw(TransportLimits::default()).await;
        publisher.announce("live").await;
        let offering = async {
            let ControlMessage::Subscribe(asked) = publisher.hear().await else {
                panic!("expected SUBSCRIBE");
            };
            let offer = publisher.begin_offer("live#video", 5, None).await;
            publisher.say(ControlMessage::SubscribeError(RequestError {
                request_id: asked.request_id,
                code: SubscribeErrorCode::INTERNAL_ERROR,
                reason: ReasonPhrase::new("offered by PUBLISH"),
            }))
            .await;
            assert_eq!(publisher.offer_answered(offer).await, Ok(()));
        };
        let (viewer, ()) = tokio::join!(world.viewer("video", Filter::LargestObject), offering);
        let header = plain_header(5, 1);
        let object = (0, Extensions::default(), ObjectStatus::Normal, text(1, 0));
        let mut stream = publisher.open().await;
        write(&mut *stream, subgroup_bytes(&header, &[object])).await.unwrap();
        assert_eq!(viewer.objects().take(1).await, [((1, 0), text(1, 0))]);
    }

    /// Its Track Aliases are in use as long as its subscriptions run.
    async fn a_broadcast_in_place_of_one_that_is_still_watched_is_served(world: World) {
        let client = world.client().await;
        let mut watched = Vec::new();
        for name in ["first", "second"] {
            let broadcast = Broadcast::new(name.parse().unwrap());
            let track = broadcast.track("video", TrackOptions::default()).unwrap();
            let publication = soon("an answer", client.publish(&broadcast)).await.unwrap();
            let viewer = world.client().await;
            let track_name = format!("{name}#video").parse().unwrap();
            let subscription =
                soon("an answer", viewer.subscribe(track_name, Default::default())).await.unwrap();
            watched.push((track, subscription.into_objects(), viewer));
            drop(publication);
        }
        for (group, (track, objects, _)) in (1..).zip(&mut watched) {
            publish_group(track, group, 0..1);
            let object = soon("an object", objects.next()).await.unwrap().unwrap();
            assert_eq!((object.group, object.payload), (group, text(group, 0)));
        }
    }

    async fn a_track_without_end_of_its_delivery_time_is_served(world: World) {
        let broadcast = Broadcast::new("live".parse().unwrap());
        let mut options = TrackOptions::default();
        options.delivery_timeout = Some(Duration::MAX);
        let track = broadcast.track("video", options).unwrap();
        let _publisher = world.publisher(&broadcast).await;
        let viewer = world.client().await;
        let mut options = SubscribeOptions::default();
        options.delivery_timeout = Some(Duration::MAX);
        let name = "live#video".parse().unwrap();
        let subscription = soon("an answer", viewer.subscribe(name, options)).await.unwrap();
        let mut objects = subscription.into_objects();
        publish_group(&track, 1, 0..1);
        let object = soon("an object", objects.next()).await.unwrap().unwrap();
        assert_eq!(object.payload, text(1, 0));
    }

    async fn a_relay_that_ends_may_give_its_sessions_all_the_time(world: World) {
        let client = world.client().await;
        let leaving = async {
            client.goaway().await;
            client.shutdown(Duration::ZERO).await;
        };
        let ended = async { tokio::join!(world.relay.shutdown(Duration::MAX), leaving) };
        soon("the end", ended).await;
        assert_eq!(world.relay.stats().sessions, 0);
    }

    /// Limit `lag_bytes` of a publisher: what was given up is not said to be delivered.
    async fn a_publisher_that_outran_its_relay_says_so(world: World) {
        let grace = Duration::from_secs(20);
        let mut config = ClientConfig::default();
        config.delivery.lag_bytes = 10_000;
        let (broadcast, track) = live("video");
        let client = world.client_with(config).await;
        let _publication = soon("an answer", client.publish(&broadcast)).await.unwrap();
        let other = broadcast.track("other", TrackOptions::default()).unwrap();
        let _viewer = world.viewer("video", Filter::LargestObject).await;
        let mut other_viewer = world.viewer("other", Filter::LargestObject).await;
        for group in 0..100 {
            let mut subgroup = track.subgroup(SubgroupOptions::new(group)).unwrap();
            subgroup.object(0, &Extensions::default(), vec![7; 100_000].into()).unwrap();
            subgroup.finish().unwrap();
        }
        other.end(PublishDoneCode::TRACK_ENDED, "over");
        let begin = tokio::time::Instant::now();
        assert_eq!(client.shutdown(grace).await, Farewell::Incomplete);
        assert!(begin.elapsed() < grace, "it was waited for");
        assert!(soon("the end", other_viewer.subscription.next()).await.is_none());
        let end = other_viewer.subscription.end();
        let is_ended = |status| status == PublishDoneCode::TRACK_ENDED;
        assert!(matches!(end, Some(SubscriptionEnd::Done { status, .. }) if is_ended(status)));
    }

    /// Whoever keeps readers need not drop them for the subscription to end.
    async fn a_reader_that_is_at_its_end_holds_nothing_up(world: World) {
        let (broadcast, track) = live("video");
        let _publisher = world.publisher(&broadcast).await;
        let mut viewer = world.viewer("video", Filter::LargestObject).await;
        publish_group(&track, 1, 0..1);
        track.end(PublishDoneCode::TRACK_ENDED, "over");
        let Some(Incoming::Subgroup(mut reader)) =
            soon("a stream", viewer.subscription.next()).await
        else {
            panic!("no stream");
        };
        while soon("an object", reader.next_object()).await.unwrap().is_some() {}
        let begin = tokio::time::Instant::now();
        assert!(soon("the end", viewer.subscription.next()).await.is_none());
        assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
        drop(reader);
    }

    /// S5.1-13
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

/// S9.12-14: the last objects, PUBLISH_DONE and the close of the publisher come at once, and the relay has received them all.
#[tokio::test]
async fn what_a_publisher_sent_before_its_close_is_delivered() {
    const GROUPS: u64 = 30;
    let mut world = World::new(TransportKind::Memory).await;
    let mut publisher = world.raw(TransportLimits::default()).await;
    let request_id = publisher.begin_offer("live#video", 7, None).await;
    assert_eq!(publisher.offer_answered(request_id).await, Ok(()));
    let viewer = world.viewer("video", Filter::LargestObject).await;
    let mut reader = viewer.objects();
    for group in 0..GROUPS {
        let objects: Vec<_> = (0..10)
            .map(|id| {
                (
                    id,
                    Extensions::default(),
                    ObjectStatus::Normal,
                    text(group, id),
                )
            })
            .collect();
        let mut stream = publisher.open().await;
        let bytes = subgroup_bytes(&plain_header(7, group), &objects);
        write(&mut *stream, bytes).await.unwrap();
        stream.finish();
    }
    publisher
        .say(ControlMessage::PublishDone(PublishDone {
            request_id,
            status: PublishDoneCode::TRACK_ENDED,
            stream_count: GROUPS,
            reason: "over".into(),
        }))
        .await;
    publisher.close();
    assert_eq!(reader.take(300).await.last().unwrap().0, (GROUPS - 1, 9));
    assert!(soon("the end", reader.objects.next()).await.is_none());
    let end = reader.objects.subscription().end();
    assert!(
        matches!(
            end,
            Some(SubscriptionEnd::Done {
                status: PublishDoneCode::TRACK_ENDED,
                ..
            })
        ),
        "{end:?}"
    );
}

/// S8.3-01, S8.4-02, S9.13-08: hooks decide who may do what.
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

        fn publish(&self, _session: &SessionInfo, _track: &FullTrackName) -> Verdict {
            Verdict::Deny
        }

        fn publish_namespace(&self, _session: &SessionInfo, name: &TrackNamespace) -> Verdict {
            if name.to_string() == "reserved" {
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

    let reserved = Broadcast::new("reserved".parse().unwrap());
    let client = world.client().await;
    let refused = soon("an answer", client.publish(&reserved)).await;
    assert!(
        matches!(
            refused,
            Err(PublishError::Rejected {
                code: PublishNamespaceErrorCode::UNAUTHORIZED,
                ..
            })
        ),
        "{refused:?}"
    );
    let mut pushing = world.raw(TransportLimits::default()).await;
    assert_eq!(
        pushing.offer("other#t", 5).await,
        Err(PublishErrorCode::UNAUTHORIZED)
    );
}

/// A hook is called with no lock held.
#[tokio::test]
async fn hooks_may_ask_the_relay() {
    #[derive(Clone, Default)]
    struct Curious(Arc<OnceLock<Relay>>);
    impl Curious {
        fn ask(&self) -> Verdict {
            match self.0.get() {
                Some(relay) if relay.stats().sessions > 0 => Verdict::Allow,
                _ => Verdict::Deny,
            }
        }
    }
    impl Hooks for Curious {
        fn connect(&self, _session: &SessionInfo) -> Result<(), SetupRefusal> {
            match self.ask() {
                Verdict::Allow => Ok(()),
                Verdict::Deny => Err(SetupRefusal::Unauthorized),
            }
        }

        fn publish_namespace(&self, _session: &SessionInfo, _name: &TrackNamespace) -> Verdict {
            self.ask()
        }

        fn subscribe(&self, _session: &SessionInfo, _track: &FullTrackName) -> Verdict {
            self.ask()
        }
    }
    let hooks = Curious::default();
    let config = RelayConfig::default().hooks(hooks.clone());
    let mut world = World::with(TransportKind::Memory, config).await;
    assert!(hooks.0.set(world.relay.clone()).is_ok());
    let (broadcast, _track) = live("video");
    let _publisher = world.publisher(&broadcast).await;
    let _viewer = world.viewer("video", Filter::LargestObject).await;
}

/// S9.3.2.1-05, S9.3.2.2-05, S9.2.1.1-14: whoever embeds the relay says why a client may not have a session.
async fn refused_by_the_embedder(carrier: TransportKind) {
    struct Closed(SetupRefusal);
    impl Hooks for Closed {
        fn connect(&self, session: &SessionInfo) -> Result<(), SetupRefusal> {
            let host = session.authority.as_deref().unwrap_or_default();
            assert!(
                host.starts_with("127.0.0.1:") || host == "localhost",
                "{host}"
            );
            assert_eq!(session.path, "", "the root");
            Err(self.0)
        }
    }
    for (refusal, expected) in [
        (SetupRefusal::Unauthorized, 0x2),
        (SetupRefusal::Path, 0x8),
        (SetupRefusal::MalformedToken, 0x16),
        (SetupRefusal::ExpiredToken, 0x18),
        (SetupRefusal::Authority, 0x19),
    ] {
        let config = RelayConfig::default().hooks(Closed(refusal));
        let mut world = World::with(carrier, config).await;
        let refused = world.try_client(ClientConfig::default()).await;
        let Err(ConnectError::Setup(CloseReason::Peer { code, .. })) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(code, expected, "{refusal}");
    }
}

#[tokio::test]
async fn a_client_hears_why_the_relay_does_not_take_it() {
    for carrier in [
        TransportKind::Memory,
        TransportKind::Quic,
        TransportKind::WebTransport,
    ] {
        refused_by_the_embedder(carrier).await;
    }
}

#[tokio::test]
async fn a_session_that_comes_while_the_relay_ends_is_turned_away() {
    let relay = Relay::new(RelayConfig::default());
    soon("the end", relay.shutdown(Duration::ZERO)).await;
    let (here, there) = MemoryConnection::pair(TransportLimits::default());
    let late = async {
        tokio::join!(
            relay.attach(there),
            Client::over(here, ClientConfig::default())
        )
    };
    let (_, refused) = soon("a refusal", late).await;
    let Err(ConnectError::Setup(reason)) = refused else {
        panic!("{refused:?}")
    };
    assert!(
        matches!(reason, CloseReason::Peer { code: 0, .. }),
        "{reason:?}"
    );
}

#[tokio::test]
async fn a_client_that_never_spoke_does_not_hold_the_end_up() {
    let relay = Relay::new(RelayConfig::default());
    let (_silent, there) = MemoryConnection::pair(TransportLimits::default());
    let mut tasks = tokio::task::JoinSet::new();
    let served = relay.clone();
    tasks.spawn(async move { served.attach(there).await });
    while relay.stats().sessions == 0 {
        soon("the session", tokio::task::yield_now()).await;
    }
    soon("the end", relay.shutdown(Duration::ZERO)).await;
    assert_eq!(relay.stats().sessions, 0);
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
