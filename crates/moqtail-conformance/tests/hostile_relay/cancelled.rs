//! What becomes of a broadcast whose announcement a relay cancels.

use moqtail_conformance::{Carrier, Failure, Message, RawListener, RawPeer, messages, types};

use crate::{
    over_both_carriers,
    programs::{announced, finished, publisher},
};

/// Codes of PUBLISH_NAMESPACE_CANCEL (draft-14 §9.25).
const INTERNAL_ERROR: u64 = 0x0;
const UNAUTHORIZED: u64 = 0x1;

fn cancel(code: u64) -> Message {
    Message::new("PUBLISH_NAMESPACE_CANCEL", types::PUBLISH_NAMESPACE_CANCEL)
        .namespace(&["own"])
        .number("Error Code", code)
        .bytes("Error Reason", b"no more")
}

/// A refusal of the announcement with this Request ID.
fn not_yet(id: u64) -> Message {
    Message::new("PUBLISH_NAMESPACE_ERROR", types::PUBLISH_NAMESPACE_ERROR)
        .id(id)
        .number("Error Code", INTERNAL_ERROR)
        .bytes("Error Reason", b"not yet")
}

/// Accepts the next thing that is said, which has to be an announcement.
async fn accept(relay: &mut RawPeer) -> Result<u64, Failure> {
    let asked = relay.expect(types::PUBLISH_NAMESPACE).await?;
    let id = asked.first_number().unwrap();
    let name = "PUBLISH_NAMESPACE_OK";
    let accepted = messages::about(name, types::PUBLISH_NAMESPACE_OK, id);
    relay.send(accepted).await?;
    Ok(id)
}

over_both_carriers! {
    /// S6.2-07: nobody could find it any more, and its publisher would read on for nobody.
    async fn a_cancelled_broadcast_is_published_again(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let mut program = publisher(&listener);
        program.write(b"one\n");
        let mut relay = announced(&listener).await?;
        for id in [2, 4] {
            relay.send(cancel(INTERNAL_ERROR)).await?;
            assert_eq!(accept(&mut relay).await?, id);
        }
        relay.send(messages::subscribe(1, &["own"], "t")).await?;
        relay.expect(types::SUBSCRIBE_OK).await?;
        program.terminate();
        let end = finished(program).await;
        assert_eq!(end.code, Some(0), "{:#?}", end.stderr);
        let told = end.stderr.iter().filter(|line| line.contains("has cancelled the broadcast own"));
        assert_eq!(told.count(), 2, "{:#?}", end.stderr);
        Ok(())
    }

    /// Those that it serves still would be cut with the session.
    async fn a_cancelled_broadcast_that_is_refused_at_first_stays_in_its_session(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let program = publisher(&listener);
        let mut relay = announced(&listener).await?;
        relay.send(messages::subscribe(1, &["own"], "t")).await?;
        relay.expect(types::SUBSCRIBE_OK).await?;
        relay.send(cancel(INTERNAL_ERROR)).await?;
        let asked = relay.expect(types::PUBLISH_NAMESPACE).await?;
        relay.send(not_yet(asked.first_number().unwrap())).await?;
        assert_eq!(accept(&mut relay).await?, 4);
        relay.send(messages::unsubscribe(1)).await?;
        program.terminate();
        assert_eq!(finished(program).await.code, Some(0));
        Ok(())
    }

    /// Nobody is served yet, and another session may have more credit.
    async fn a_broadcast_that_is_refused_at_first_is_published_in_another_session(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let program = publisher(&listener);
        let mut relay = listener.accept().await?;
        relay.answer_setup(messages::server_setup_granting(messages::GENEROUS)).await?;
        let asked = relay.expect(types::PUBLISH_NAMESPACE).await?;
        relay.send(not_yet(asked.first_number().unwrap())).await?;
        let _relay = announced(&listener).await?;
        program.terminate();
        assert_eq!(finished(program).await.code, Some(0));
        Ok(())
    }

    /// Those that it serves still may lack the last of it, and others had no chance.
    async fn a_broadcast_that_is_cancelled_at_the_end_tells_what_may_be_missing(carrier: Carrier) {
        let mut transport = quinn::TransportConfig::default();
        transport.stream_receive_window(10_000_u32.into());
        let listener = RawListener::bind_with(carrier, transport)?;
        let mut program = publisher(&listener);
        let mut relay = announced(&listener).await?;
        relay.send(messages::subscribe(1, &["own"], "t")).await?;
        relay.expect(types::SUBSCRIBE_OK).await?;
        relay.send(cancel(INTERNAL_ERROR)).await?;
        relay.expect(types::PUBLISH_NAMESPACE).await?;
        program.write(&[vec![b'x'; 100_000], b"\n".to_vec()].concat());
        let _taken_by_nobody = relay.accept_uni().await?;
        program.terminate();
        let end = finished(program).await;
        assert_eq!(end.code, Some(0), "{:#?}", end.stderr);
        for told in ["reached at most those who watched it already", "Not everything was delivered"] {
            let lines = end.stderr.iter().filter(|line| line.contains(told));
            assert_eq!(lines.count(), 1, "{told}: {:#?}", end.stderr);
        }
        Ok(())
    }

    async fn a_broadcast_that_is_cancelled_for_good_ends_its_publisher(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let program = publisher(&listener);
        let mut relay = announced(&listener).await?;
        relay.send(cancel(UNAUTHORIZED)).await?;
        relay.expect_close(0).await?;
        let end = finished(program).await;
        assert_eq!(end.code, Some(1), "{:#?}", end.stderr);
        let line = end.last_error();
        assert!(line.contains("refused the broadcast own") && line.contains("no more"), "{line}");
        Ok(())
    }
}
