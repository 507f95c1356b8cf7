//! What has been withdrawn, or left behind, has no effect any more.

use std::time::Duration;

use moqtail::{relay::RelayConfig, transport::TransportLimits};
use moqtail_conformance::{
    Carrier, Failure, RawPeer, RecvEnd, data, messages, types, wire::Reader,
};

use crate::{
    carrier::{TRACK_DOES_NOT_EXIST, publisher, refusal, tiny, viewer},
    over_both_carriers,
    world::World,
};

/// CANCELLED, the code for streams that nobody wants (draft-14 §10.4.3).
const CANCELLED: u64 = 0x1;

/// Codes of PUBLISH_DONE.
const INTERNAL_ERROR: u64 = 0x0;
const TRACK_ENDED: u64 = 0x2;

const SPACE: [&str; 2] = ["hostile", "gone"];

const SHORT: Duration = Duration::from_millis(700);

/// A relay that waits for what may still come no longer than it must.
async fn impatient() -> World {
    let mut config = RelayConfig::default();
    config.session.done_linger = SHORT;
    config.session.done_drain = SHORT;
    config.limits.publisher_linger = SHORT;
    World::embedded_with(config, TransportLimits::default()).await
}

/// A viewer is told that its track has ended, and with this code.
async fn is_told(viewer: &mut RawPeer, code: u64) -> Result<(), Failure> {
    let done = viewer.expect(types::PUBLISH_DONE).await?;
    let mut reader = Reader(&done.payload);
    assert_eq!((reader.varint(), reader.varint()), (Some(0), Some(code)));
    Ok(())
}

/// A peer that announces the namespace.
async fn announcer(world: &World, carrier: Carrier) -> Result<RawPeer, Failure> {
    let mut peer = RawPeer::established(&world.target, carrier).await?;
    peer.send(messages::publish_namespace(0, &SPACE)).await?;
    peer.expect(types::PUBLISH_NAMESPACE_OK).await?;
    Ok(peer)
}

/// Asks for a track of the namespace, which nobody may be asked for.
async fn is_unknown(world: &World, carrier: Carrier) -> Result<(), Failure> {
    let mut asking = RawPeer::established(&world.target, carrier).await?;
    asking.send(messages::subscribe(0, &SPACE, "t")).await?;
    let refused = refusal(&mut asking, types::SUBSCRIBE_ERROR).await?;
    assert_eq!(refused, (0, TRACK_DOES_NOT_EXIST));
    Ok(())
}

over_both_carriers! {
    /// S9.26-02.
    async fn nobody_is_asked_for_a_namespace_after_its_withdrawal(carrier: Carrier) {
        let world = World::embedded().await;
        let mut peer = announcer(&world, carrier).await?;
        peer.send(messages::publish_namespace_done(&SPACE)).await?;
        assert_eq!(peer.reaction(2).await?, None);
        is_unknown(&world, carrier).await?;
        // It may come back.
        peer.send(messages::publish_namespace(4, &SPACE)).await?;
        peer.expect(types::PUBLISH_NAMESPACE_OK).await?;
        let mut asking = RawPeer::established(&world.target, carrier).await?;
        asking.send(messages::subscribe(0, &SPACE, "t")).await?;
        peer.expect(types::SUBSCRIBE).await?;
        drop((peer, asking));
        world.end().await;
        Ok(())
    }

    /// A session takes its namespaces along when it ends.
    async fn a_namespace_goes_with_its_publisher(carrier: Carrier) {
        let world = World::embedded().await;
        drop(announcer(&world, carrier).await?);
        world.others_gone().await;
        is_unknown(&world, carrier).await?;
        world.end().await;
        Ok(())
    }

    /// S5.1-18: open streams are reset, and what comes later is not sent, although the viewer comes back.
    async fn a_viewer_that_left_gets_nothing_more(carrier: Carrier) {
        let world = World::embedded().await;
        let publisher = publisher(&world.target, carrier, &SPACE, "t", 1).await?;
        let (mut leaving, _) = viewer(&world.target, carrier, &SPACE, "t").await?;
        let (mut staying, _) = viewer(&world.target, carrier, &SPACE, "t").await?;
        let mut open = publisher.open_uni().await?;
        open.write(&tiny(1, 1, b"before")).await?;
        let mut received = leaving.accept_uni().await?;
        leaving.send(messages::unsubscribe(0)).await?;
        assert_eq!(received.to_end().await?.1, RecvEnd::Reset(CANCELLED));
        assert_eq!(leaving.reaction(2).await?, None);

        publisher.stream(&tiny(1, 2, b"meanwhile")).await?;
        open.finish();
        for _ in 0..2 {
            assert_eq!(staying.accept_uni().await?.to_end().await?.1, RecvEnd::Fin);
        }
        leaving.send(messages::subscribe(4, &SPACE, "t")).await?;
        leaving.expect(types::SUBSCRIBE_OK).await?;
        publisher.stream(&tiny(1, 3, b"after")).await?;
        let (bytes, end) = leaving.accept_uni().await?.to_end().await?;
        assert!(bytes.ends_with(&data::object(0, b"after")), "{bytes:x?}");
        assert_eq!(end, RecvEnd::Fin);
        drop((publisher, leaving, staying));
        world.end().await;
        Ok(())
    }

    /// S9.12-11: streams that were counted and never come are not waited for without end.
    async fn a_publisher_that_counts_streams_it_never_opens_is_done_all_the_same(carrier: Carrier) {
        let world = impatient().await;
        let mut publisher = publisher(&world.target, carrier, &SPACE, "t", 1).await?;
        let (mut watching, _) = viewer(&world.target, carrier, &SPACE, "t").await?;
        publisher.send(messages::publish_done(0, 5)).await?;
        is_told(&mut watching, TRACK_ENDED).await?;
        drop((publisher, watching));
        world.end().await;
        Ok(())
    }

    /// S9.12-06: nor is one that stays open.
    async fn a_stream_that_outlives_its_track_is_stopped(carrier: Carrier) {
        let world = impatient().await;
        let mut publisher = publisher(&world.target, carrier, &SPACE, "t", 1).await?;
        let (mut watching, _) = viewer(&world.target, carrier, &SPACE, "t").await?;
        let mut open = publisher.open_uni().await?;
        open.write(&tiny(1, 1, b"one, and no end")).await?;
        let mut received = watching.accept_uni().await?;
        publisher.send(messages::publish_done(0, 1)).await?;
        assert_eq!(open.stopped().await?, Some(CANCELLED));
        assert!(matches!(received.to_end().await?.1, RecvEnd::Reset(_)));
        is_told(&mut watching, TRACK_ENDED).await?;
        drop((publisher, watching));
        world.end().await;
        Ok(())
    }

    /// S9.12-13: viewers of a publisher that leaves without a word wait for it to come back, but not for ever.
    async fn viewers_of_a_publisher_that_never_comes_back_are_told(carrier: Carrier) {
        let world = impatient().await;
        let publisher = publisher(&world.target, carrier, &SPACE, "t", 1).await?;
        let (mut watching, _) = viewer(&world.target, carrier, &SPACE, "t").await?;
        drop(publisher);
        is_told(&mut watching, INTERNAL_ERROR).await?;
        assert_eq!(watching.reaction(2).await?, None);
        drop(watching);
        world.end().await;
        Ok(())
    }
}
