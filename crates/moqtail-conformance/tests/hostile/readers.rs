//! Viewers that do not take what they asked for.

use moqtail_conformance::{
    Carrier, Failure, RawPeer, RecvEnd, Target, data, messages, types, wire::Reader,
};
use moqtail_e2e::Budget;
use quinn::TransportConfig;

use crate::{
    carrier::{publisher, tiny, viewer},
    over_both_carriers,
    watcher::{NAMESPACE, TRACK},
    world::World,
};

/// CANCELLED, the code for streams that nobody wants (draft-14 §10.4.3).
const CANCELLED: u32 = 0x1;

/// PUBLISH_DONE TOO_FAR_BEHIND.
const TOO_FAR_BEHIND: u64 = 0x6;

/// Groups of the watched track that a healthy viewer gets meanwhile.
const MEANWHILE: usize = 20;

/// Groups of 1 MB: several times as much as a viewer may be behind and the log of a track keeps.
const GROUPS: u64 = 24;
const LARGE: usize = 1 << 20;

/// What the relay is told to keep of a track, and how far behind a viewer may be.
const BUDGET: Budget = Budget {
    log: 4 << 20,
    lag: 3 << 20,
};

/// What it may grow by: that, what is on its way to and from three sessions, and what the allocator keeps. Less
/// than what is published.
const GROWTH: u64 = 16 << 20;

/// A viewer of the watched track with windows of its own.
async fn odd(
    target: &Target,
    carrier: Carrier,
    transport: TransportConfig,
) -> Result<RawPeer, Failure> {
    let mut peer = RawPeer::connect_with(target, carrier, transport).await?;
    peer.setup().await?;
    peer.send(messages::subscribe(0, &[NAMESPACE], TRACK))
        .await?;
    peer.expect(types::SUBSCRIBE_OK).await?;
    Ok(peer)
}

/// Another viewer gets whole groups.
async fn others_are_served(target: &Target, carrier: Carrier) -> Result<(), Failure> {
    let (mut healthy, _) = viewer(target, carrier, &[NAMESPACE], TRACK).await?;
    for _ in 0..MEANWHILE {
        let (_, end) = healthy.accept_uni().await?.to_end().await?;
        assert_eq!(end, RecvEnd::Fin);
    }
    Ok(())
}

over_both_carriers! {
    /// Its windows are full after a few groups.
    async fn a_viewer_that_reads_nothing_delays_nobody(carrier: Carrier) {
        let world = World::embedded().await;
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(1024_u32.into());
        let mut peer = odd(&world.target, carrier, transport).await?;
        // Its first stream is there, and nobody reads it.
        let unread = peer.accept_uni().await?;
        others_are_served(&world.target, carrier).await?;
        assert_eq!(peer.reaction(2).await?, None);
        drop((peer, unread));
        world.end().await;
        Ok(())
    }

    /// Streams wait for credit that never comes.
    async fn a_viewer_that_lets_no_stream_be_opened_delays_nobody(carrier: Carrier) {
        let world = World::embedded().await;
        let mut transport = TransportConfig::default();
        // HTTP/3 needs one for itself.
        transport.max_concurrent_uni_streams(u32::from(carrier == Carrier::WebTransport).into());
        let mut peer = odd(&world.target, carrier, transport).await?;
        others_are_served(&world.target, carrier).await?;
        assert_eq!(peer.reaction(2).await?, None);
        drop(peer);
        world.end().await;
        Ok(())
    }

    /// S10.4.3-14: STOP_SENDING is about one stream.
    async fn a_viewer_that_stops_streams_gets_the_others(carrier: Carrier) {
        let world = World::embedded().await;
        let space = ["hostile", "readers"];
        let publisher = publisher(&world.target, carrier, &space, "stopped", 1).await?;
        let (mut peer, _) = viewer(&world.target, carrier, &space, "stopped").await?;
        for round in 0..10 {
            let mut unwanted = publisher.open_uni().await?;
            unwanted.write(&tiny(1, 2 * round, b"unwanted")).await?;
            peer.accept_uni().await?.stop(CANCELLED);
            // The relay has heard of it before it answers, and notices when it goes on.
            assert_eq!(peer.reaction(2 * round + 2).await?, None);
            unwanted.write(&data::object(0, b"more of it")).await?;
            publisher.stream(&tiny(1, 2 * round + 1, b"wanted")).await?;
            let (bytes, end) = peer.accept_uni().await?.to_end().await?;
            assert!(bytes.ends_with(&data::object(0, b"wanted")), "{bytes:x?}");
            assert_eq!(end, RecvEnd::Fin);
        }
        drop((publisher, peer));
        world.end().await;
        Ok(())
    }

    /// S9.12-18: what waits for a viewer is bounded, and one that is over it is told so.
    async fn a_viewer_too_far_behind_is_let_go(carrier: Carrier) {
        let mut world = World::program_within(BUDGET).await;
        for round in 0..2 {
            let space = ["hostile", "readers"];
            let publisher = publisher(&world.target, carrier, &space, "large", 1).await?;
            let mut transport = TransportConfig::default();
            transport.stream_receive_window(4096_u32.into());
            let mut slow = RawPeer::connect_with(&world.target, carrier, transport).await?;
            slow.setup().await?;
            slow.send(messages::subscribe(0, &space, "large")).await?;
            slow.expect(types::SUBSCRIBE_OK).await?;
            let (mut healthy, _) = viewer(&world.target, carrier, &space, "large").await?;
            for group in 0..GROUPS {
                let head = data::subgroup_header(0x14, 1, group, Some(0));
                publisher.stream(&[head, data::object(0, &vec![7; LARGE])].concat()).await?;
                let (bytes, end) = healthy.accept_uni().await?.to_end().await?;
                assert!(bytes.len() > LARGE && end == RecvEnd::Fin);
            }
            let done = slow.expect_among(types::PUBLISH_DONE).await?;
            let mut reader = Reader(&done.payload);
            assert_eq!((reader.varint(), reader.varint()), (Some(0), Some(TOO_FAR_BEHIND)));
            let grown = world.grown();
            println!("{} kB more than before", grown >> 10);
            assert!(grown < GROWTH, "{} MB more than before", grown >> 20);
            assert_eq!(slow.reaction(2).await?, None);
            drop((publisher, slow, healthy));
            if round == 0 {
                world.take_level().await;
            }
        }
        world.end().await;
        Ok(())
    }
}
