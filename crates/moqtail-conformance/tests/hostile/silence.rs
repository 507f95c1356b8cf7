//! Peers that stop talking, or never start.

use std::time::Duration;

use moqtail::{relay::RelayConfig, transport::TransportLimits};
use moqtail_conformance::{
    Carrier, Close, H3_ALPN, RawPeer, codes, data, dial, messages, settings, types,
};
use tokio::time::sleep;

use crate::{
    carrier::{TIMEOUT, publisher, refusal},
    over_both_carriers,
    world::World,
};

/// CANCELLED, the code for streams that nobody wants (draft-14 §10.4.3).
const CANCELLED: u64 = 0x1;

const SHORT: Duration = Duration::from_millis(700);

/// Heads of streams that may have begun at a time.
const HEADS: usize = 4;

/// A relay that waits no longer than it must.
async fn impatient() -> World {
    let mut config = RelayConfig::default();
    config.session.setup_timeout = SHORT;
    config.session.header_timeout = SHORT;
    config.session.park_timeout = SHORT / 4;
    config.peer.object_header_timeout = SHORT;
    config.peer.max_pending_heads = HEADS;
    let mut limits = TransportLimits::default();
    limits.handshake_timeout = SHORT;
    limits.keep_alive = Duration::from_secs(1);
    limits.idle_timeout = Duration::from_secs(3);
    World::embedded_with(config, limits).await
}

over_both_carriers! {
    /// S3.4-08, S12.2-01: connected and silent; a control stream without a byte; half a CLIENT_SETUP.
    async fn a_peer_that_is_silent_before_setup_is_closed(carrier: Carrier) {
        let world = impatient().await;
        let mut silent = RawPeer::connect(&world.target, carrier).await?;
        let mut opened = RawPeer::connect(&world.target, carrier).await?;
        opened.open_control().await?;
        let mut halfway = RawPeer::connect(&world.target, carrier).await?;
        halfway.open_control().await?;
        let setup = messages::client_setup(8).encode();
        halfway.send(setup[..setup.len() / 2].to_vec()).await?;
        for peer in [&mut silent, &mut opened, &mut halfway] {
            peer.expect_close(codes::CONTROL_MESSAGE_TIMEOUT).await?;
        }
        world.end().await;
        Ok(())
    }

    /// Nothing obliges a peer to talk once it is there, not even in the middle of a message.
    async fn a_peer_that_is_silent_after_setup_stays(carrier: Carrier) {
        let world = impatient().await;
        let mut silent = RawPeer::established(&world.target, carrier).await?;
        let mut inside = RawPeer::established(&world.target, carrier).await?;
        let request = messages::subscribe(0, &["nobody"], "x").encode();
        inside.send(request[..request.len() - 1].to_vec()).await?;
        sleep(3 * SHORT).await;
        assert_eq!(silent.reaction(0).await?, None);
        inside.send(request[request.len() - 1..].to_vec()).await?;
        inside.expect(types::SUBSCRIBE_ERROR).await?;
        drop((silent, inside));
        world.end().await;
        Ok(())
    }

    /// S3.4-09, S12.1-03: a stream that stops inside its header is given up. Its session stays: on a narrow link streams
    /// that come first may have left it no room.
    async fn a_stream_without_the_end_of_its_header_is_given_up(carrier: Carrier) {
        let world = impatient().await;
        let mut peer = publisher(&world.target, carrier, &["hostile"], "cut", 300).await?;
        let header = data::subgroup_header(0x14, 300, 7, Some(9));
        for (request, length) in [(2, 1), (4, header.len() / 2), (6, header.len() - 1)] {
            let mut stream = peer.open_uni().await?;
            stream.write(&header[..length]).await?;
            assert_eq!(stream.stopped().await?, Some(CANCELLED));
            assert_eq!(peer.reaction(request).await?, None);
        }
        drop(peer);
        world.end().await;
        Ok(())
    }

    /// S3.4-09, S12.1-03: QUIC opens the streams below one that is seen, though nothing of them came, and what came for
    /// other streams may be more urgent. However many there are, they keep nobody waiting and lose nothing.
    async fn streams_without_a_byte_are_waited_for(carrier: Carrier) {
        let world = impatient().await;
        let mut peer = publisher(&world.target, carrier, &["hostile"], "late", 300).await?;
        let (mut viewer, alias) =
            crate::carrier::viewer(&world.target, carrier, &["hostile"], "late").await?;
        let mut late = Vec::new();
        for _ in 0..3 * HEADS {
            late.push(peer.open_uni().await?);
        }
        for (group, silence) in [(0, Duration::ZERO), (1, 3 * SHORT)] {
            sleep(silence).await;
            peer.stream(&crate::carrier::tiny(300, group, b"in time")).await?;
            let (received, _) = viewer.accept_uni().await?.to_end().await?;
            assert_eq!(received, crate::carrier::tiny(alias, group, b"in time"));
        }
        let mut stream = late.swap_remove(1);
        stream.write(&crate::carrier::tiny(300, 2, b"late")).await?;
        stream.finish();
        let (received, _) = viewer.accept_uni().await?.to_end().await?;
        assert_eq!(received, crate::carrier::tiny(alias, 2, b"late"));
        assert_eq!(peer.reaction(2).await?, None);
        drop((late, peer, viewer));
        world.end().await;
        Ok(())
    }

    /// S3.4-09, S3.4-10: a stream that stops inside the header of an object, the first one or a later one, is given up. Its
    /// session stays: on a narrow link streams that come first may have left it no room.
    async fn an_object_without_the_end_of_its_header_loses_its_stream(carrier: Carrier) {
        let world = impatient().await;
        let head = data::subgroup_header(0x14, 3, 1, Some(0));
        let first = data::object(0, b"whole");
        // A payload whose length takes two bytes.
        let cut = data::object_head(0, 100);
        for before in [head.clone(), [head, first].concat()] {
            for length in 1..cut.len() {
                let mut peer = publisher(&world.target, carrier, &["hostile"], "cut", 3).await?;
                let mut stream = peer.open_uni().await?;
                stream.write(&[&before[..], &cut[..length]].concat()).await?;
                assert_eq!(stream.stopped().await?, Some(CANCELLED));
                assert_eq!(peer.reaction(2).await?, None);
                drop(peer);
                world.others_gone().await;
            }
        }
        world.end().await;
        Ok(())
    }

    /// Sparse tracks live from streams that are silent for long: 17 s once cost every later object elsewhere.
    async fn silence_inside_an_object_costs_nothing(carrier: Carrier) {
        let world = impatient().await;
        let peer = publisher(&world.target, carrier, &["hostile"], "slow", 3).await?;
        let mut viewer = crate::carrier::viewer(&world.target, carrier, &["hostile"], "slow").await?;
        let bytes = crate::carrier::tiny(3, 1, b"one object");
        let mut stream = peer.open_uni().await?;
        stream.write(&bytes[..bytes.len() - 4]).await?;
        sleep(3 * SHORT).await;
        stream.write(&bytes[bytes.len() - 4..]).await?;
        stream.finish();
        let (received, _) = viewer.0.accept_uni().await?.to_end().await?;
        assert!(received.ends_with(b"one object"), "{received:x?}");
        drop((peer, viewer));
        world.end().await;
        Ok(())
    }

    /// Neither a word nor a packet: only the idle timeout tells. Their sockets are gone before they could say good-bye.
    async fn peers_that_vanish_leave_nothing_behind(carrier: Carrier) {
        let world = impatient().await;
        let target = world.target.clone();
        let vanishing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut peers = Vec::new();
                for index in 0..20 {
                    let track = format!("vanishing {index}");
                    let peer = publisher(&target, carrier, &["hostile"], &track, index).await.unwrap();
                    let mut stream = peer.open_uni().await.unwrap();
                    stream.write(&data::subgroup_header(0x14, index, 1, Some(0))).await.unwrap();
                    stream.write(&data::object_head(0, 1 << 20)).await.unwrap();
                    peers.push((peer, stream));
                }
                // Dropped with the runtime, which does not run any more.
                std::mem::forget(peers);
            });
            runtime.shutdown_background();
        });
        vanishing.join().unwrap();
        world.others_gone().await;
        world.end().await;
        Ok(())
    }

    /// A viewer of a publisher that does not answer, or that lets nobody ask, is told so.
    async fn a_publisher_that_never_answers_keeps_nobody_waiting(carrier: Carrier) {
        let world = World::embedded().await;
        for credit in [0, messages::GENEROUS] {
            let mut silent = RawPeer::connect(&world.target, carrier).await?;
            silent.open_control().await?;
            silent.send(messages::client_setup(credit)).await?;
            silent.expect(types::SERVER_SETUP).await?;
            silent.send(messages::publish_namespace(0, &["hostile", "silent"])).await?;
            silent.expect(types::PUBLISH_NAMESPACE_OK).await?;
            let mut viewer = RawPeer::established(&world.target, carrier).await?;
            for id in 0..100 {
                viewer.send(messages::subscribe(2 * id, &["hostile", "silent"], &id.to_string())).await?;
            }
            for _ in 0..100 {
                assert_eq!(refusal(&mut viewer, types::SUBSCRIBE_ERROR).await?.1, TIMEOUT);
            }
            drop((silent, viewer));
        }
        world.end().await;
        Ok(())
    }

    /// A peer that asks and never reads the answers holds at most its backlog, and then no session.
    async fn a_peer_that_never_reads_its_answers_is_closed(carrier: Carrier) {
        let mut world = World::program().await;
        world.take_level().await;
        let mut transport = quinn::TransportConfig::default();
        transport.stream_receive_window(2048_u32.into());
        let mut peer = RawPeer::connect_with(&world.target, carrier, transport).await?;
        peer.setup().await?;
        let mut next = 0;
        let ended = loop {
            let batch: Vec<u8> = (0..200)
                .map(|index| next + 2 * index)
                .flat_map(|id| messages::subscribe(id, &["nobody"], &id.to_string()).encode())
                .collect();
            next += 400;
            if peer.send(batch).await.is_err() {
                break peer.closed().await?;
            }
            assert!(next < 1_000_000, "the relay keeps answers without end");
        };
        // Which of the two limits it reaches first depends on how its requests are counted.
        let due = [codes::INTERNAL_ERROR, codes::TOO_MANY_REQUESTS];
        assert!(matches!(ended, Close::Code { code, .. } if due.contains(&code)), "{ended}");
        println!("closed after {} requests: {ended}", next / 2);
        drop(peer);
        world.end().await;
        Ok(())
    }
}

/// HTTP/3 connections that never become a session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http3_client_that_never_asks_is_dropped() {
    let world = impatient().await;
    let (_endpoint, silent) = dial(&world.target, H3_ALPN).await.unwrap();
    let (_endpoint2, settled) = dial(&world.target, H3_ALPN).await.unwrap();
    let mut control = settled.open_uni().await.unwrap();
    control.write_all(&settings()).await.unwrap();
    let (mut request, _answer) = settled.open_bi().await.unwrap();
    request.write_all(&[0x01, 0x40]).await.unwrap();
    for connection in [silent, settled] {
        tokio::time::timeout(Duration::from_secs(20), connection.closed())
            .await
            .expect("the relay gives up");
    }
    world.end().await;
}
