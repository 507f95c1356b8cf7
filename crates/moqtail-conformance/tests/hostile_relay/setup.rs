//! Relays that do not get as far as a session.

use moqtail::{client::ConnectError, transport::CloseReason};
use moqtail_conformance::{
    Carrier, RawListener, RawPeer, codes, frame, malformed::variants, messages, types, wire::HUGE,
};

use crate::{
    over_both_carriers,
    world::{SHORT, closes, connecting, impatient, met, refused, trusting},
};

/// Answers CLIENT_SETUP with these bytes.
async fn answer(
    mut relay: RawPeer,
    bytes: Vec<u8>,
) -> Result<RawPeer, moqtail_conformance::Failure> {
    relay.answer_setup(bytes).await?;
    Ok(relay)
}

over_both_carriers! {
    /// S9.3.1-04, S9.3.2.2-03, S9.3-04: what is no SERVER_SETUP, or not one for us.
    async fn a_server_setup_that_cannot_be_is_the_relays_fault(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        for (bytes, code) in [
            (messages::server_setup_selecting(1).encode(), codes::VERSION_NEGOTIATION_FAILED),
            (messages::server_setup_selecting(HUGE).encode(), codes::VERSION_NEGOTIATION_FAILED),
            (messages::server_setup_path(b"/").encode(), codes::INVALID_PATH),
            (messages::client_setup(8).encode(), codes::PROTOCOL_VIOLATION),
            (messages::subscribe(1, &["x"], "y").encode(), codes::PROTOCOL_VIOLATION),
            (messages::goaway("").encode(), codes::PROTOCOL_VIOLATION),
            (frame(0x3f, &[0; 65_535]), codes::PROTOCOL_VIOLATION),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), codes::PROTOCOL_VIOLATION),
        ] {
            let what = format!("{bytes:x?}");
            let (client, mut relay) = connecting(&listener, trusting(), |relay| answer(relay, bytes)).await?;
            refused(client, code, &what);
            relay.expect_close(code).await?;
        }
        Ok(())
    }

    /// A count or length in the very first message of the relay reserves nothing.
    async fn a_broken_server_setup_does_not_kill_the_client(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let whole = messages::server_setup_granting(100);
        for variant in variants(&whole) {
            let moqtail_conformance::malformed::Expect::Close(code) = variant.expect else {
                continue;
            };
            let (client, _relay) = connecting(&listener, trusting(), async |mut relay| {
                relay.answer_setup(variant.bytes.clone()).await?;
                if variant.end == moqtail_conformance::malformed::End::Fin {
                    // The other half has to stay.
                    let (mut send, recv) = relay.take_control()?;
                    // Fails only if the client has closed already.
                    let _ = send.finish();
                    relay.closed().await?;
                    drop(recv);
                }
                Ok(relay)
            })
            .await?;
            refused(client, code, &variant.what);
        }
        Ok(())
    }

    /// S3.4-08: connected, or with a control stream, or with half an answer, and silent.
    async fn a_relay_that_is_silent_before_setup_is_left_in_time(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        for spoken in 0..3 {
            let began = std::time::Instant::now();
            let (client, mut relay) = connecting(&listener, impatient(), async |mut relay| {
                if spoken > 0 {
                    relay.accept_control().await?;
                    relay.expect(types::CLIENT_SETUP).await?;
                }
                if spoken > 1 {
                    relay.send(messages::server_setup().encode()[..3].to_vec()).await?;
                }
                Ok(relay)
            })
            .await?;
            refused(client, codes::CONTROL_MESSAGE_TIMEOUT, "silence");
            assert!(began.elapsed() < 10 * SHORT, "it took {:?}", began.elapsed());
            relay.expect_close(codes::CONTROL_MESSAGE_TIMEOUT).await?;
        }
        Ok(())
    }

    /// A refusal is the relay's word, not its fault.
    async fn a_relay_that_refuses_is_told_from_one_that_breaks_the_protocol(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let (client, _relay) = connecting(&listener, trusting(), async |mut relay| {
            relay.accept_control().await?;
            relay.expect(types::CLIENT_SETUP).await?;
            relay.close(0x2, "not you").await?;
            Ok(relay)
        })
        .await?;
        let Err(ConnectError::Setup(CloseReason::Peer { code: 0x2, reason })) = client else {
            panic!("{client:?}");
        };
        assert_eq!(reason, "not you");
        Ok(())
    }

    /// S9.3-04, S3.3-03, S3.3-05: a second SETUP, a second bidirectional stream, and the end of the first one.
    async fn a_session_that_is_set_up_wrongly_ends(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        for second in [messages::server_setup(), messages::client_setup(8)] {
            let (client, mut relay) = met(&listener, trusting()).await?;
            closes(&client, &mut relay, second, codes::PROTOCOL_VIOLATION).await?;
        }
        let (client, mut relay) = met(&listener, trusting()).await?;
        let (mut send, _recv) = relay.open_bi().await?;
        send.write_all(&messages::goaway("").encode()).await.unwrap();
        relay.expect_close(codes::PROTOCOL_VIOLATION).await?;
        crate::world::blamed(&client, codes::PROTOCOL_VIOLATION).await.unwrap();

        let (client, mut relay) = met(&listener, trusting()).await?;
        let (mut send, _recv) = relay.take_control()?;
        send.finish().unwrap();
        relay.expect_close(codes::PROTOCOL_VIOLATION).await?;
        crate::world::blamed(&client, codes::PROTOCOL_VIOLATION).await.unwrap();
        Ok(())
    }
}
