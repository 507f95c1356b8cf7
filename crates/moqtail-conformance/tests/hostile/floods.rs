//! More of everything than anybody needs, against a relay whose memory is measured.
//!
//! Each flood runs twice: the first round lets the process grow to its working size, the second must not let it grow
//! further.

use std::{net::UdpSocket, time::Duration};

use moqtail::{relay::RelayConfig, transport::TransportLimits};
use moqtail_conformance::{Carrier, Failure, RawPeer, Target, data, messages, types};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    carrier::{make_requests, publisher, tiny, viewer},
    over_both_carriers,
    watcher::{NAMESPACE, TRACK},
    world::World,
};

const FLOOD: u64 = 20_000;

/// Connections of each of eight who connect at the same time.
const CONNECTIONS: usize = 40;

/// Namespaces that a relay keeps of one session, `max_namespaces_per_session`.
const NAMESPACES: u64 = 512;

/// Streams of one session for unknown aliases: several times as many as can wait.
const PARKED: u64 = 200;

/// Time after which a stream that cannot be opened has no credit.
const CREDIT: Duration = Duration::from_millis(300);

/// CANCELLED, the code for streams that nobody wants (draft-14 §10.4.3).
const CANCELLED: u32 = 0x1;

/// A session that has streams to open, since it publishes something.
async fn with_credit(target: &Target, carrier: Carrier) -> Result<RawPeer, Failure> {
    publisher(target, carrier, &["hostile", "flood"], "t", 1).await
}

over_both_carriers! {
    /// All answered, none remembered.
    async fn a_flood_of_subscribes_for_unknown_names_is_answered_and_forgotten(carrier: Carrier) {
        let mut world = World::program().await;
        for round in 0..2 {
            let mut peer = RawPeer::established(&world.target, carrier).await?;
            let unknown = |id: u64| vec![messages::subscribe(id, &["nobody", &id.to_string()], "x")];
            let next = make_requests(&mut peer, 0, FLOOD, &[types::SUBSCRIBE_ERROR], unknown).await?;
            // Also within a namespace that somebody publishes, who has to be asked each time.
            let count = FLOOD / 10;
            let missing = |id: u64| vec![messages::subscribe(id, &[NAMESPACE], &id.to_string())];
            make_requests(&mut peer, next, count, &[types::SUBSCRIBE_ERROR], missing).await?;
            drop(peer);
            if round == 0 {
                world.take_level().await;
            }
        }
        world.end().await;
        Ok(())
    }

    /// S12.3.1-01: withdrawn at once, and kept up to the limit.
    async fn a_flood_of_namespaces_is_bounded_and_forgotten(carrier: Carrier) {
        let mut world = World::program().await;
        for round in 0..2 {
            let mut peer = RawPeer::established(&world.target, carrier).await?;
            let brief = |id: u64| {
                let name = id.to_string();
                let namespace = ["hostile", &name];
                vec![
                    messages::publish_namespace(id, &namespace),
                    messages::publish_namespace_done(&namespace),
                ]
            };
            // One that is withdrawn before it was answered is refused.
            let answers = [types::PUBLISH_NAMESPACE_OK, types::PUBLISH_NAMESPACE_ERROR];
            make_requests(&mut peer, 0, FLOOD, &answers, brief).await?;
            drop(peer);
            // Another session, since this one announced as many as it may in a second. 32 fields each, and as large as
            // they may be.
            let mut peer = RawPeer::established(&world.target, carrier).await?;
            let large = |id: u64| {
                let mut fields = vec!["x".repeat(120); 31];
                fields.push(id.to_string());
                let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
                messages::publish_namespace(id, &fields)
            };
            let kept = NAMESPACES;
            for number in 0..kept {
                peer.send(large(2 * number)).await?;
                peer.expect(types::PUBLISH_NAMESPACE_OK).await?;
            }
            let mut id = 2 * kept;
            for _ in 0..kept {
                peer.send(large(id)).await?;
                peer.expect(types::PUBLISH_NAMESPACE_ERROR).await?;
                id += 2;
            }
            assert_eq!(peer.reaction(id).await?, None);
            drop(peer);
            if round == 0 {
                world.take_level().await;
            }
        }
        world.end().await;
        Ok(())
    }

    /// Tracks offered, ended and offered again.
    async fn a_flood_of_tracks_is_bounded_and_forgotten(carrier: Carrier) {
        let mut world = World::program().await;
        for round in 0..2 {
            let mut peer = RawPeer::established(&world.target, carrier).await?;
            let brief = |id: u64| {
                vec![
                    messages::publish(id, &["hostile"], &id.to_string(), id),
                    // Streams that never come are waited for, as long as the draft asks and no longer.
                    messages::publish_done(id, 0),
                ]
            };
            let count = 1000;
            // Those that wait for their streams count as published, and no more are taken meanwhile.
            let answers = [types::PUBLISH_OK, types::PUBLISH_ERROR];
            make_requests(&mut peer, 0, count, &answers, brief).await?;
            drop(peer);
            if round == 0 {
                world.take_level().await;
            }
        }
        world.end().await;
        Ok(())
    }

    /// No answer is due, but credit for the next.
    async fn a_flood_of_subscription_updates_is_taken(carrier: Carrier) {
        let mut world = World::program().await;
        for round in 0..2 {
            let mut peer = RawPeer::established(&world.target, carrier).await?;
            peer.send(messages::subscribe(0, &[NAMESPACE], TRACK)).await?;
            peer.expect(types::SUBSCRIBE_OK).await?;
            let update = |id: u64| vec![messages::subscribe_update(id, 0, (1 << 40, 0), id as u8)];
            let next = make_requests(&mut peer, 2, FLOOD, &[], update).await?;
            while peer.request_limit() <= next {
                peer.expect(types::MAX_REQUEST_ID).await?;
            }
            assert_eq!(peer.reaction(next).await?, None);
            drop(peer);
            if round == 0 {
                world.take_level().await;
            }
        }
        world.end().await;
        Ok(())
    }

    /// Messages that cost nothing to make.
    async fn a_flood_of_messages_about_nothing_is_ignored(carrier: Carrier) {
        let mut world = World::program().await;
        for round in 0..2 {
            let mut peer = RawPeer::established(&world.target, carrier).await?;
            for chunk in 0..FLOOD / 1000 {
                let mut batch = Vec::new();
                for number in chunk * 1000..(chunk + 1) * 1000 {
                    let name = number.to_string();
                    batch.extend(messages::max_request_id(messages::GENEROUS + 1 + number).encode());
                    batch.extend(messages::requests_blocked(number).encode());
                    batch.extend(messages::unsubscribe_namespace(&[&name]).encode());
                    batch.extend(messages::publish_namespace_cancel(&[&name]).encode());
                    batch.extend(messages::publish_namespace_done(&[&name]).encode());
                }
                peer.send(batch).await?;
            }
            assert_eq!(peer.reaction(0).await?, None);
            drop(peer);
            if round == 0 {
                world.take_level().await;
            }
        }
        world.end().await;
        Ok(())
    }

    /// Groups of one object of one byte, on a track of one's own.
    async fn a_flood_of_tiny_streams_is_taken_and_forgotten(carrier: Carrier) {
        let mut world = World::program().await;
        for round in 0..2 {
            // A track of its own, so that nothing is a copy of what came in the round before.
            let (name, track) = (["hostile", "flood"], round.to_string());
            let mut peer = publisher(&world.target, carrier, &name, &track, 1).await?;
            for group in 0..FLOOD {
                peer.stream(&tiny(1, group, b"x")).await?;
            }
            assert_eq!(peer.reaction(2).await?, None);
            // What comes after it is taken as well.
            let (mut viewer, _) = viewer(&world.target, carrier, &name, &track).await?;
            peer.stream(&tiny(1, FLOOD, b"the last")).await?;
            let last = data::object(0, b"the last");
            while !viewer.accept_uni().await?.to_end().await?.0.ends_with(&last) {}
            drop((peer, viewer));
            if round == 0 {
                world.take_level().await;
            }
        }
        world.end().await;
        Ok(())
    }

    /// Streams for aliases that mean nothing are parked, up to a limit and for a time, and then refused.
    async fn a_flood_of_streams_for_unknown_aliases_is_refused(carrier: Carrier) {
        let mut world = World::program().await;
        for round in 0..2 {
            let mut peers = JoinSet::new();
            for index in 0..8 {
                let target = world.target.clone();
                peers.spawn(async move {
                    let track = index.to_string();
                    let mut peer = publisher(&target, carrier, &["hostile", "parked"], &track, 1).await?;
                    for number in 0..PARKED {
                        peer.stream(&tiny(1000 + number, 1, b"x")).await?;
                    }
                    peer.reaction(2).await
                });
            }
            while let Some(peer) = peers.join_next().await {
                assert_eq!(peer.unwrap()?, None);
            }
            if round == 0 {
                world.take_level().await;
            }
        }
        world.end().await;
        Ok(())
    }

    /// Those that find no room to wait are refused at once, and no time has to pass for it.
    async fn only_a_few_streams_wait_for_an_alias(carrier: Carrier) {
        let mut config = RelayConfig::default();
        config.session.park_timeout = Duration::from_secs(3600);
        let (room, over) = (config.session.max_parked_streams, 20);
        let world = World::embedded_with(config, TransportLimits::default()).await;
        let mut peer = with_credit(&world.target, carrier).await?;
        let mut waiting = JoinSet::new();
        for group in 0..room + over {
            let mut stream = peer.open_uni().await?;
            stream.write(&tiny(1000, group as u64, b"x")).await?;
            waiting.spawn(async move { stream.stopped().await });
        }
        for _ in 0..over {
            let refused = waiting.join_next().await.unwrap().unwrap()?;
            assert_eq!(refused, Some(CANCELLED.into()));
        }
        assert_eq!(peer.reaction(2).await?, None);
        assert_eq!(waiting.len(), room);
        drop((peer, waiting));
        world.end().await;
        Ok(())
    }

    /// Opened without a byte and reset at once.
    async fn a_flood_of_streams_reset_at_once_is_survived(carrier: Carrier) {
        let mut world = World::program().await;
        for round in 0..2 {
            let mut peer = with_credit(&world.target, carrier).await?;
            for number in 0..FLOOD {
                let mut stream = peer.open_bare_uni().await?;
                if number % 2 == 0 {
                    stream.write(&[0x40]).await?;
                }
                stream.reset(CANCELLED);
            }
            assert_eq!(peer.reaction(2).await?, None);
            drop(peer);
            if round == 0 {
                world.take_level().await;
            }
        }
        world.end().await;
        Ok(())
    }

    /// As many streams as there is credit, all of them open and silent, in several sessions.
    async fn silent_streams_up_to_the_credit_block_nobody(carrier: Carrier) {
        let world = World::program().await;
        let mut peers = Vec::new();
        for index in 0..4 {
            let track = index.to_string();
            let mut peer = publisher(&world.target, carrier, &["hostile", "credit"], &track, 1).await?;
            let mut streams = Vec::new();
            while let Ok(stream) = timeout(CREDIT, peer.open_uni()).await {
                streams.push(stream?);
            }
            println!("{} silent streams", streams.len());
            assert_eq!(peer.reaction(2).await?, None);
            peers.push((peer, streams));
        }
        drop(peers);
        world.end().await;
        Ok(())
    }

    /// S10.3-01: for aliases of nobody, and for a track of one's own.
    async fn a_flood_of_datagrams_is_survived(carrier: Carrier) {
        let mut world = World::program().await;
        for round in 0..2 {
            let mut peer = with_credit(&world.target, carrier).await?;
            for number in 0..FLOOD {
                peer.datagram(&data::datagram(1000 + number % 50, number, 0, b"nobody's")).await?;
                peer.datagram(&data::datagram(1, number, 0, b"own")).await?;
            }
            assert_eq!(peer.reaction(2).await?, None);
            drop(peer);
            if round == 0 {
                world.take_level().await;
            }
        }
        world.end().await;
        Ok(())
    }

    /// Sessions that end as they begin, with and without SETUP.
    async fn a_flood_of_connections_is_survived(carrier: Carrier) {
        let mut world = World::program().await;
        for round in 0..2 {
            let mut peers = JoinSet::new();
            for worker in 0..8 {
                let target = world.target.clone();
                peers.spawn(async move {
                    for _ in 0..CONNECTIONS {
                        let mut peer = RawPeer::connect(&target, carrier).await?;
                        if worker % 2 == 0 {
                            peer.setup().await?;
                        }
                    }
                    Ok::<(), Failure>(())
                });
            }
            while let Some(peer) = peers.join_next().await {
                peer.unwrap()?;
            }
            if round == 0 {
                world.take_level().await;
            }
        }
        world.end().await;
        Ok(())
    }
}

/// Packets that are no QUIC, or only its first bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_packets_that_are_no_quic_is_dropped() {
    let mut world = World::program().await;
    for round in 0..2 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(world.target.address).unwrap();
        for number in 0..FLOOD {
            let mut packet = vec![0; 1200];
            for (at, byte) in packet.iter_mut().enumerate() {
                // Any bytes will do, as long as they differ and are the same in every run.
                *byte = (number.wrapping_mul(2_654_435_761) >> (at % 29)) as u8 ^ at as u8;
            }
            if number % 2 == 0 {
                // A long header of QUIC version 1: an Initial whose rest is no handshake.
                packet[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
            }
            // A full socket buffer drops the packet, which is fine.
            let _ = socket.send(&packet[..1200 - (number % 3) as usize * 500]);
        }
        if round == 0 {
            world.take_level().await;
        }
    }
    world.end().await;
}
