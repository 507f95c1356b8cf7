//! Data streams cut, split, reset and finished where they should not be.

use moqtail_conformance::{
    Carrier, Failure, RawPeer, RecvEnd, Target, codes, data, messages, types, wire::HUGE,
};

use crate::{
    carrier::{publisher, tiny, viewer},
    over_both_carriers,
    world::World,
};

/// INTERNAL_ERROR and DELIVERY_TIMEOUT among the codes for resets.
const INTERNAL_ERROR: u64 = 0x0;
const RESET: u32 = 0x2;

/// Bytes of an object larger than what any log keeps.
const GIANT: usize = 96 << 20;

/// What the log of one track may keep, and as much again for what is on its way.
const LOG: u64 = 64 << 20;

const TRACK: &str = "cut";
const ALIAS: u64 = 300;

/// Two objects behind their header.
fn subgroup(alias: u64, group: u64) -> Vec<u8> {
    [
        data::subgroup_header(0x14, alias, group, Some(0)),
        data::object(0, b"first"),
        data::object(0, b"second"),
    ]
    .concat()
}

async fn pair(target: &Target, carrier: Carrier) -> Result<(RawPeer, RawPeer, u64), Failure> {
    let publisher = publisher(target, carrier, &["hostile"], TRACK, ALIAS).await?;
    let (viewer, alias) = viewer(target, carrier, &["hostile"], TRACK).await?;
    Ok((publisher, viewer, alias))
}

over_both_carriers! {
    /// A header split over two packets once cost the whole stream elsewhere.
    async fn a_stream_split_at_every_byte_arrives_whole(carrier: Carrier) {
        let world = World::embedded().await;
        let (publisher, mut viewer, alias) = pair(&world.target, carrier).await?;
        let length = subgroup(ALIAS, 0).len();
        for cut in 1..length {
            let group = cut as u64;
            let bytes = subgroup(ALIAS, group);
            let mut stream = publisher.open_uni().await?;
            stream.write(&bytes[..cut]).await?;
            // The bytes go in different packets once this side has waited.
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            stream.write(&bytes[cut..]).await?;
            stream.finish();
            let received = viewer.accept_uni().await?.to_end().await?;
            assert_eq!(received, (subgroup(alias, group), RecvEnd::Fin), "cut at {cut}");
        }
        drop((publisher, viewer));
        world.end().await;
        Ok(())
    }

    /// Control and data one byte at a time.
    async fn a_session_that_comes_byte_by_byte_works(carrier: Carrier) {
        let world = World::embedded().await;
        let mut publisher = RawPeer::connect(&world.target, carrier).await?;
        publisher.open_control().await?;
        publisher.send_bytewise(messages::client_setup(messages::GENEROUS)).await?;
        publisher.expect(types::SERVER_SETUP).await?;
        publisher.send_bytewise(messages::publish(0, &["hostile"], TRACK, ALIAS)).await?;
        publisher.expect(types::PUBLISH_OK).await?;
        let (mut viewer, alias) = viewer(&world.target, carrier, &["hostile"], TRACK).await?;
        let mut stream = publisher.open_uni().await?;
        for byte in subgroup(ALIAS, 1) {
            stream.write(&[byte]).await?;
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        stream.finish();
        let received = viewer.accept_uni().await?.to_end().await?;
        assert_eq!(received, (subgroup(alias, 1), RecvEnd::Fin));
        drop((publisher, viewer));
        world.end().await;
        Ok(())
    }

    /// S10.4-02: a FIN inside an object was once forwarded as a clean end elsewhere.
    async fn a_fin_inside_an_object_closes_the_session_and_resets_downstream(carrier: Carrier) {
        let world = World::embedded().await;
        let whole = subgroup(ALIAS, 1);
        let head = data::subgroup_header(0x14, ALIAS, 1, Some(0)).len();
        // Inside the first object's head and payload, and likewise of the second object.
        for cut in [head + 1, head + 2, head + 5, head + 8, whole.len() - 1] {
            let (mut publisher, mut viewer, _) = pair(&world.target, carrier).await?;
            let mut stream = publisher.open_uni().await?;
            stream.write(&whole[..cut]).await?;
            // Downstream there is a stream as soon as there is an object, and its end is not overtaken by this one.
            let downstream = if cut > head + 2 {
                Some(viewer.accept_uni().await?)
            } else {
                None
            };
            stream.finish();
            publisher.expect_close(codes::PROTOCOL_VIOLATION).await?;
            if let Some(mut downstream) = downstream {
                let (_, end) = downstream.to_end().await?;
                assert_eq!(end, RecvEnd::Reset(INTERNAL_ERROR), "cut at {cut}");
            }
            assert_eq!(viewer.reaction(2).await?, None);
            drop((publisher, viewer));
            world.others_gone().await;
        }
        world.end().await;
        Ok(())
    }

    /// A header without its end is no stream of draft 14; a stream without a byte is nothing at all.
    async fn a_fin_inside_a_stream_header_closes_the_session(carrier: Carrier) {
        let world = World::embedded().await;
        let header = data::subgroup_header(0x14, ALIAS, 1, Some(0));
        for cut in 1..header.len() {
            let mut peer = RawPeer::established(&world.target, carrier).await?;
            peer.stream(&header[..cut]).await?;
            peer.expect_close(codes::PROTOCOL_VIOLATION).await?;
        }
        let mut peer = RawPeer::established(&world.target, carrier).await?;
        peer.stream(&[]).await?;
        assert_eq!(peer.reaction(0).await?, None);
        drop(peer);
        world.end().await;
        Ok(())
    }

    /// S10.4.3-12: what was reset upstream is reset downstream with the same code, and the session goes on.
    async fn a_reset_at_any_byte_reaches_the_viewer_with_its_code(carrier: Carrier) {
        let world = World::embedded().await;
        let (mut publisher, mut viewer, _) = pair(&world.target, carrier).await?;
        let whole = subgroup(ALIAS, 0);
        let head = data::subgroup_header(0x14, ALIAS, 0, Some(0)).len();
        for cut in 0..=whole.len() {
            let group = cut as u64 + 1;
            let mut stream = publisher.open_uni().await?;
            stream.write(&subgroup(ALIAS, group)[..cut]).await?;
            if cut < head + 2 {
                // Nothing of an object was sent, so nothing is due downstream.
                stream.reset(RESET);
                continue;
            }
            // Reset only once it has arrived, since a reset may overtake what it ends.
            let mut received = viewer.accept_uni().await?;
            stream.reset(RESET);
            let (_, end) = received.to_end().await?;
            assert_eq!(end, RecvEnd::Reset(RESET.into()), "cut at {cut}");
        }
        assert_eq!(publisher.reaction(2).await?, None);
        assert_eq!(viewer.reaction(2).await?, None);
        drop((publisher, viewer));
        world.end().await;
        Ok(())
    }

    /// An object that promises 4 exabytes is passed on as it comes, and never kept.
    async fn an_object_without_end_does_not_fill_the_relay(carrier: Carrier) {
        let mut world = World::program().await;
        for round in 0..2 {
            let (publisher, mut viewer, _) = pair(&world.target, carrier).await?;
            let mut stream = publisher.open_uni().await?;
            stream.write(&data::subgroup_header(0x14, ALIAS, 1, Some(0))).await?;
            stream.write(&data::object_head(0, HUGE)).await?;
            let mut received = viewer.accept_uni().await?;
            let reading = tokio::spawn(async move { received.to_end().await });
            let piece = vec![7; 1 << 20];
            for _ in 0..GIANT / piece.len() {
                stream.write(&piece).await?;
            }
            let grown = world.grown();
            assert!(grown < LOG, "{} MB more than before", grown >> 20);
            stream.reset(RESET);
            let (bytes, end) = reading.await.unwrap()?;
            assert!(!bytes.is_empty());
            // With the code from upstream, or another one if this reader was too slow to keep up.
            assert!(matches!(end, RecvEnd::Reset(_)), "{end:?}");
            drop((publisher, viewer));
            if round == 0 {
                world.take_level().await;
            }
        }
        // What it would keep of such an object is as large as a log.
        world.tolerate(LOG / 2);
        world.end().await;
        Ok(())
    }

    /// Streams that say the same, say it twice, or contradict each other harm no session but their own.
    async fn contradicting_streams_of_one_subgroup_harm_nobody_else(carrier: Carrier) {
        let world = World::embedded().await;
        let (mut publisher, viewer, _) = pair(&world.target, carrier).await?;
        for round in 0..200_u64 {
            let payload = [round as u8; 9];
            publisher.stream(&tiny(ALIAS, 1, &payload[..1 + round as usize % 9])).await?;
        }
        // The track is malformed (draft-14 §2.5), the session is not.
        assert_eq!(publisher.reaction(2).await?, None);
        drop((publisher, viewer));
        world.end().await;
        Ok(())
    }
}
