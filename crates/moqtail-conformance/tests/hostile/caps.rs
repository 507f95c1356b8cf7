//! More than one session may have: refused, and no other session is the worse for it.

use std::time::Duration;

use moqtail::{
    relay::{RelayConfig, RelayLimits},
    transport::TransportLimits,
};
use moqtail_conformance::{Carrier, Failure, Message, RawPeer, messages, types};
use tokio::time::sleep;

use crate::{
    carrier::{INTERNAL_ERROR, TIMEOUT, publisher, refusal, viewer},
    over_both_carriers,
    world::World,
};

/// PUBLISH_ERROR UNINTERESTED.
const UNINTERESTED: u64 = 0x4;

const SPACE: [&str; 2] = ["hostile", "caps"];

/// What the relay under test takes of anything, and how many more are tried.
const ROOM: u64 = 4;
const OVER: u64 = 2;

/// A relay with room for little.
async fn small(change: impl FnOnce(&mut RelayLimits, usize)) -> World {
    let mut config = RelayConfig::default();
    change(&mut config.limits, ROOM as usize);
    World::embedded_with(config, TransportLimits::default()).await
}

/// Makes as many requests as there is room for, and some more, all in one go; the last of them have to be refused with
/// INTERNAL_ERROR, and that before anything else is answered that takes time.
async fn overdo(
    peer: &mut RawPeer,
    first: u64,
    error: u64,
    request: impl Fn(u64) -> Message,
) -> Result<(), Failure> {
    let ids = (0..ROOM + OVER).map(|number| first + 2 * number);
    let batch: Vec<u8> = ids.flat_map(|id| request(id).encode()).collect();
    peer.send(batch).await?;
    for number in ROOM..ROOM + OVER {
        let refused = refusal(peer, error).await?;
        assert_eq!(refused, (first + 2 * number, INTERNAL_ERROR));
    }
    Ok(())
}

over_both_carriers! {
    /// `max_subscriptions_per_session`; one that ends makes room for another.
    async fn a_session_subscribes_to_no_more_than_it_may(carrier: Carrier) {
        let world = small(|limits, room| limits.max_subscriptions_per_session = room).await;
        let mut publishing = RawPeer::established(&world.target, carrier).await?;
        for id in (0..=ROOM).map(|number| 2 * number) {
            publishing.send(messages::publish(id, &SPACE, &id.to_string(), id)).await?;
            publishing.expect(types::PUBLISH_OK).await?;
        }
        let mut peer = RawPeer::established(&world.target, carrier).await?;
        for id in (0..ROOM).map(|number| 2 * number) {
            peer.send(messages::subscribe(id, &SPACE, &id.to_string())).await?;
            peer.expect(types::SUBSCRIBE_OK).await?;
        }
        let name = (2 * ROOM).to_string();
        peer.send(messages::subscribe(2 * ROOM, &SPACE, &name)).await?;
        assert_eq!(refusal(&mut peer, types::SUBSCRIBE_ERROR).await?, (2 * ROOM, INTERNAL_ERROR));
        let (other, _) = viewer(&world.target, carrier, &SPACE, &name).await?;
        peer.send(messages::unsubscribe(2)).await?;
        peer.send(messages::subscribe(2 * ROOM + 2, &SPACE, &name)).await?;
        peer.expect(types::SUBSCRIBE_OK).await?;
        drop((publishing, peer, other));
        world.end().await;
        Ok(())
    }

    /// `max_waiting_per_session`: one viewer cannot use up what a publisher takes.
    async fn a_session_waits_for_no_more_answers_than_it_may(carrier: Carrier) {
        let world = small(|limits, room| limits.max_waiting_per_session = room).await;
        let mut silent = RawPeer::established(&world.target, carrier).await?;
        silent.send(messages::publish_namespace(0, &SPACE)).await?;
        silent.expect(types::PUBLISH_NAMESPACE_OK).await?;
        let mut peer = RawPeer::established(&world.target, carrier).await?;
        let request = |id: u64| messages::subscribe(id, &SPACE, &id.to_string());
        overdo(&mut peer, 0, types::SUBSCRIBE_ERROR, request).await?;
        for id in (0..ROOM).map(|number| 2 * number) {
            assert_eq!(refusal(&mut peer, types::SUBSCRIBE_ERROR).await?, (id, TIMEOUT));
        }
        drop((silent, peer));
        world.end().await;
        Ok(())
    }

    /// `max_upstreams_per_session`: a publisher is asked for so many tracks, however many viewers want more.
    async fn a_publisher_is_asked_for_no_more_than_it_may_be(carrier: Carrier) {
        let world = small(|limits, room| limits.max_upstreams_per_session = room).await;
        let mut publishing = RawPeer::established(&world.target, carrier).await?;
        publishing.send(messages::publish_namespace(0, &SPACE)).await?;
        publishing.expect(types::PUBLISH_NAMESPACE_OK).await?;
        let mut peer = RawPeer::established(&world.target, carrier).await?;
        let request = |id: u64| messages::subscribe(id, &SPACE, &id.to_string());
        overdo(&mut peer, 0, types::SUBSCRIBE_ERROR, request).await?;
        for number in 0..ROOM {
            let asked = publishing.expect(types::SUBSCRIBE).await?;
            assert_eq!(asked.first_number(), Some(2 * number + 1));
        }
        drop((publishing, peer));
        world.end().await;
        Ok(())
    }

    /// `max_lookups_per_second`: who announces faster is refused, and may go on later.
    async fn a_session_announces_no_faster_than_it_may(carrier: Carrier) {
        let world = small(|limits, room| limits.max_lookups_per_second = room).await;
        let mut peer = RawPeer::established(&world.target, carrier).await?;
        let announce = |id: u64| messages::publish_namespace(id, &["hostile", &id.to_string()]);
        // More than in half a minute.
        let count = 30 * ROOM;
        let batch: Vec<u8> = (0..count).flat_map(|number| announce(2 * number).encode()).collect();
        peer.send(batch).await?;
        let mut refused = 0;
        for _ in 0..count {
            let answer = peer.next_frame("an answer").await?;
            refused += u64::from(answer.kind == types::PUBLISH_NAMESPACE_ERROR);
        }
        assert!((1..=count - ROOM).contains(&refused), "{refused} of {count}");
        let mut other = RawPeer::established(&world.target, carrier).await?;
        other.send(announce(0)).await?;
        other.expect(types::PUBLISH_NAMESPACE_OK).await?;
        let mut id = 2 * count;
        loop {
            peer.send(announce(id)).await?;
            if peer.next_frame("an answer").await?.kind == types::PUBLISH_NAMESPACE_OK {
                break;
            }
            id += 2;
            sleep(Duration::from_millis(50)).await;
        }
        drop((peer, other));
        world.end().await;
        Ok(())
    }

    /// `max_published_per_session`; the limit is each session's own.
    async fn a_session_offers_no_more_tracks_than_it_may(carrier: Carrier) {
        let world = small(|limits, room| limits.max_published_per_session = room).await;
        let mut peer = RawPeer::established(&world.target, carrier).await?;
        for id in (0..ROOM).map(|number| 2 * number) {
            peer.send(messages::publish(id, &SPACE, &id.to_string(), id)).await?;
            peer.expect(types::PUBLISH_OK).await?;
        }
        peer.send(messages::publish(2 * ROOM, &SPACE, "one more", 99)).await?;
        assert_eq!(refusal(&mut peer, types::PUBLISH_ERROR).await?, (2 * ROOM, INTERNAL_ERROR));
        let other = publisher(&world.target, carrier, &SPACE, "one more", 99).await?;
        drop((peer, other));
        world.end().await;
        Ok(())
    }

    /// `max_tracks`: by PUBLISH and by SUBSCRIBE. One of them is the watched one.
    async fn a_relay_holds_no_more_tracks_than_it_may(carrier: Carrier) {
        let world = small(|limits, room| limits.max_tracks = room).await;
        let mut peer = RawPeer::established(&world.target, carrier).await?;
        for id in (0..ROOM - 1).map(|number| 2 * number) {
            peer.send(messages::publish(id, &SPACE, &id.to_string(), id)).await?;
            peer.expect(types::PUBLISH_OK).await?;
        }
        let id = 2 * ROOM - 2;
        peer.send(messages::publish(id, &SPACE, "one more", 99)).await?;
        assert_eq!(refusal(&mut peer, types::PUBLISH_ERROR).await?, (id, INTERNAL_ERROR));
        peer.send(messages::publish_namespace(id + 2, &SPACE)).await?;
        peer.expect(types::PUBLISH_NAMESPACE_OK).await?;
        peer.send(messages::subscribe(id + 4, &SPACE, "another")).await?;
        assert_eq!(refusal(&mut peer, types::SUBSCRIBE_ERROR).await?, (id + 4, INTERNAL_ERROR));
        drop(peer);
        world.others_gone().await;
        drop(publisher(&world.target, carrier, &SPACE, "one more", 99).await?);
        world.end().await;
        Ok(())
    }

    /// `max_publishers_per_track`.
    async fn a_track_has_no_more_publishers_than_it_may(carrier: Carrier) {
        let world = small(|limits, room| limits.max_publishers_per_track = room).await;
        let mut publishers = Vec::new();
        for _ in 0..ROOM {
            publishers.push(publisher(&world.target, carrier, &SPACE, "t", 1).await?);
        }
        let mut late = RawPeer::established(&world.target, carrier).await?;
        late.send(messages::publish(0, &SPACE, "t", 1)).await?;
        assert_eq!(refusal(&mut late, types::PUBLISH_ERROR).await?, (0, UNINTERESTED));
        drop((publishers, late));
        world.end().await;
        Ok(())
    }

    /// `max_sessions`: who comes too late is refused before the handshake and may come again. Two of the sessions are the watcher's.
    async fn a_relay_serves_no_more_sessions_than_it_may(carrier: Carrier) {
        let world = small(|limits, room| limits.max_sessions = room).await;
        let mut peers = Vec::new();
        for _ in 2..ROOM {
            peers.push(RawPeer::established(&world.target, carrier).await?);
        }
        for _ in 0..OVER {
            let refused = RawPeer::connect(&world.target, carrier).await.err();
            let told = refused.map(|failure| failure.to_string()).unwrap_or_default();
            assert!(told.contains("refused"), "{told}");
        }
        drop(peers);
        world.others_gone().await;
        world.end().await;
        Ok(())
    }
}
