//! Well-formed messages where and when draft 14 forbids them.

use moqtail_conformance::{Carrier, RawPeer, codes, messages, types};

use crate::{
    over_both_carriers,
    watcher::{NAMESPACE, TRACK},
    world::World,
};

over_both_carriers! {
    /// S9.3-04, A13.
    async fn a_second_setup_or_that_of_a_server_closes_the_session(carrier: Carrier) {
        let world = World::embedded().await;
        let mut peer = RawPeer::established(&world.target, carrier).await?;
        peer.send(messages::client_setup(8)).await?;
        peer.expect_close(codes::PROTOCOL_VIOLATION).await?;

        let mut peer = RawPeer::established(&world.target, carrier).await?;
        peer.send(messages::server_setup()).await?;
        peer.expect_close(codes::PROTOCOL_VIOLATION).await?;

        let mut peer = RawPeer::connect(&world.target, carrier).await?;
        peer.open_control().await?;
        peer.send(messages::server_setup()).await?;
        peer.expect_close(codes::PROTOCOL_VIOLATION).await?;
        world.end().await;
        Ok(())
    }

    /// A request right behind CLIENT_SETUP, in the same packet, is early: its sender cannot know its limit.
    async fn a_request_behind_client_setup_is_refused_or_answered_but_never_lost(carrier: Carrier) {
        let world = World::embedded().await;
        let mut peer = RawPeer::connect(&world.target, carrier).await?;
        peer.open_control().await?;
        let both = [
            messages::client_setup(8).encode(),
            messages::subscribe(0, &["x"], "y").encode(),
        ];
        peer.send(both.concat()).await?;
        peer.reaction(2).await?;
        world.end().await;
        Ok(())
    }

    /// S9.3.1-03.
    async fn a_client_without_draft_14_is_refused_for_its_version(carrier: Carrier) {
        let world = World::embedded().await;
        for versions in [&[][..], &[1], &[0xff00_000d, 0xff00_000f], &[(1 << 62) - 1; 200]] {
            let mut peer = RawPeer::connect(&world.target, carrier).await?;
            peer.open_control().await?;
            peer.send(messages::client_setup_offering(versions)).await?;
            peer.expect_close(codes::VERSION_NEGOTIATION_FAILED).await?;
        }
        world.end().await;
        Ok(())
    }

    /// S9.3.2.2-04, S9.3.2.2-06.
    async fn a_path_that_is_none_closes_the_session(carrier: Carrier) {
        let world = World::embedded().await;
        for path in [&b"no slash"[..], b"/\x00", b"/\xff\xfe", b"/ ", b"/%zz", &[b'a'; 60_000]] {
            let mut peer = RawPeer::connect(&world.target, carrier).await?;
            peer.open_control().await?;
            peer.send(messages::client_setup_path(path)).await?;
            let code = match carrier {
                Carrier::Quic => codes::MALFORMED_PATH,
                Carrier::WebTransport => codes::INVALID_PATH,
            };
            peer.expect_close(code).await?;
        }
        world.end().await;
        Ok(())
    }

    /// S9.1-03, S9.1-04: parity, gaps, reuse and going back.
    async fn a_request_id_out_of_order_closes_the_session(carrier: Carrier) {
        let world = World::embedded().await;
        for ids in [&[1][..], &[2], &[0, 0], &[0, 2, 0], &[0, 4], &[0, 3], &[0, 2, 4, 2]] {
            let mut peer = RawPeer::established(&world.target, carrier).await?;
            for (index, id) in ids.iter().enumerate() {
                peer.send(messages::subscribe(*id, &["nobody"], &index.to_string())).await?;
            }
            peer.expect_close(codes::INVALID_REQUEST_ID).await?;
        }
        world.end().await;
        Ok(())
    }

    /// S9.5-04.
    async fn a_request_over_the_limit_closes_the_session(carrier: Carrier) {
        let world = World::embedded().await;
        for beyond in [0, 2, 1 << 40] {
            let mut peer = RawPeer::established(&world.target, carrier).await?;
            let id = peer.request_limit() + beyond;
            peer.send(messages::publish_namespace(id, &["x"])).await?;
            peer.expect_close(codes::TOO_MANY_REQUESTS).await?;
        }
        world.end().await;
        Ok(())
    }

    /// MAX_REQUEST_ID of a peer is about our requests, never about its own.
    async fn a_client_cannot_raise_its_own_request_limit(carrier: Carrier) {
        let world = World::embedded().await;
        let mut peer = RawPeer::established(&world.target, carrier).await?;
        let limit = peer.request_limit();
        peer.send(messages::max_request_id(1 << 40)).await?;
        assert_eq!(peer.reaction(0).await?, None);
        peer.send(messages::subscribe(limit.max(peer.request_limit()), &["x"], "y")).await?;
        peer.expect_close(codes::TOO_MANY_REQUESTS).await?;
        world.end().await;
        Ok(())
    }

    /// S9.5-03.
    async fn a_request_limit_that_does_not_rise_closes_the_session(carrier: Carrier) {
        let world = World::embedded().await;
        for limit in [0, 7, messages::GENEROUS - 1, messages::GENEROUS] {
            let mut peer = RawPeer::established(&world.target, carrier).await?;
            peer.send(messages::max_request_id(limit)).await?;
            peer.expect_close(codes::PROTOCOL_VIOLATION).await?;
        }
        world.end().await;
        Ok(())
    }

    /// S9.4-06, S9.4-10.
    async fn a_goaway_that_a_client_may_not_send_closes_the_session(carrier: Carrier) {
        let world = World::embedded().await;
        let mut peer = RawPeer::established(&world.target, carrier).await?;
        peer.send(messages::goaway("moqt://elsewhere")).await?;
        peer.expect_close(codes::PROTOCOL_VIOLATION).await?;

        let mut peer = RawPeer::established(&world.target, carrier).await?;
        peer.send(messages::goaway("")).await?;
        assert_eq!(peer.reaction(0).await?, None);
        peer.send(messages::goaway("")).await?;
        peer.expect_close(codes::PROTOCOL_VIOLATION).await?;
        world.end().await;
        Ok(())
    }

    /// S3.3-05: before and after SETUP, by FIN, reset and STOP_SENDING.
    async fn the_end_of_the_control_stream_ends_the_session(carrier: Carrier) {
        let world = World::embedded().await;
        for established in [true, false] {
            for way in ["FIN", "reset", "stop", "stop and more"] {
                if (established, way, carrier) == (false, "reset", Carrier::WebTransport) {
                    // A reset may take the head of the stream with it: then there never was a control stream.
                    continue;
                }
                let mut peer = RawPeer::connect(&world.target, carrier).await?;
                if established {
                    peer.setup().await?;
                } else {
                    peer.open_control().await?;
                    peer.send(vec![0x20]).await?;
                }
                let (mut send, mut recv) = peer.take_control()?;
                match way {
                    "FIN" => send.finish().unwrap(),
                    "reset" => send.reset(7_u32.into()).unwrap(),
                    // Though there is nothing to say to it.
                    "stop" => recv.stop(7_u32.into()).unwrap(),
                    _ => {
                        let request = messages::subscribe(0, &["x"], "y").encode();
                        let setup = messages::client_setup(8).encode();
                        let asked = if established { &request[..] } else { &setup[1..] };
                        send.write_all(asked).await.unwrap();
                        recv.stop(7_u32.into()).unwrap();
                    }
                }
                peer.expect_close(codes::PROTOCOL_VIOLATION).await?;
            }
        }
        world.end().await;
        Ok(())
    }

    /// S3.3-03.
    async fn a_second_bidirectional_stream_closes_the_session(carrier: Carrier) {
        let world = World::embedded().await;
        let mut peer = RawPeer::established(&world.target, carrier).await?;
        let (mut send, _recv) = peer.open_bi().await?;
        send.write_all(&messages::client_setup(8).encode()).await.unwrap();
        peer.expect_close(codes::PROTOCOL_VIOLATION).await?;
        world.end().await;
        Ok(())
    }

    /// S9.7-04.
    async fn a_second_subscribe_to_one_track_closes_the_session(carrier: Carrier) {
        let world = World::embedded().await;
        let mut peer = RawPeer::established(&world.target, carrier).await?;
        peer.send(messages::subscribe(0, &[NAMESPACE], TRACK)).await?;
        peer.expect(types::SUBSCRIBE_OK).await?;
        peer.send(messages::subscribe(2, &[NAMESPACE], TRACK)).await?;
        peer.expect_close(codes::PROTOCOL_VIOLATION).await?;
        world.end().await;
        Ok(())
    }

    /// S9.10-03, S9.10-05: updates of what is no subscription, and updates that widen one.
    async fn an_update_that_cannot_be_closes_the_session(carrier: Carrier) {
        let world = World::embedded().await;
        for (subscription, start) in [(0, (0, 0)), (2, (0, 0)), (1, (0, 0)), (4000, (0, 0))] {
            let mut peer = RawPeer::established(&world.target, carrier).await?;
            peer.send(messages::subscribe_update(0, subscription, start, 1)).await?;
            peer.expect_close(codes::PROTOCOL_VIOLATION).await?;
        }
        let mut peer = RawPeer::established(&world.target, carrier).await?;
        peer.send(messages::subscribe(0, &[NAMESPACE], TRACK)).await?;
        peer.expect(types::SUBSCRIBE_OK).await?;
        peer.send(messages::subscribe_update(2, 0, (1 << 40, 0), 1)).await?;
        peer.send(messages::subscribe_update(4, 0, (5, 0), 1)).await?;
        peer.expect_close(codes::PROTOCOL_VIOLATION).await?;
        world.end().await;
        Ok(())
    }

    /// S9.2.1.2-11: a DELIVERY TIMEOUT of 146 million years is no reason to fall over.
    async fn a_delivery_timeout_without_end_is_served(carrier: Carrier) {
        let world = World::embedded().await;
        for timeout in [0, 1, (1 << 62) - 1] {
            let mut peer = RawPeer::established(&world.target, carrier).await?;
            peer.send(messages::subscribe_timeout(0, &[NAMESPACE], TRACK, timeout)).await?;
            peer.expect(types::SUBSCRIBE_OK).await?;
            peer.accept_uni().await?;
            assert_eq!(peer.reaction(2).await?, None);
        }
        world.end().await;
        Ok(())
    }

    /// One FETCH of everything that could ever be once kept a core busy for ever.
    async fn a_fetch_of_all_groups_there_could_be_costs_nothing(carrier: Carrier) {
        let world = World::program().await;
        let mut peer = RawPeer::established(&world.target, carrier).await?;
        for id in 0..20 {
            let end = ((1 << 62) - 1, 0);
            peer.send(messages::fetch(2 * id, &[NAMESPACE], TRACK, (0, 0), end)).await?;
            peer.expect(types::FETCH_ERROR).await?;
            peer.send(messages::fetch_cancel(2 * id)).await?;
        }
        assert_eq!(peer.reaction(40).await?, None);
        drop(peer);
        world.end().await;
        Ok(())
    }
}
