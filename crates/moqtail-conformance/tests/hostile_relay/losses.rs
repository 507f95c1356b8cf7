//! What does not arrive is told: a copy with holes must not pass for a whole one.

use moqtail_conformance::{
    Carrier, Failure, Message, RawListener, RawPeer, RawRecv, RecvEnd, codes, data, messages, types,
};
use moqtail_e2e::Process;

use crate::{
    over_both_carriers,
    programs::{announced, finished, publisher, serve, serve_anew, subscribe},
    world::ALIAS,
};

/// PUBLISH_DONE of the first subscription.
fn done(status: u64) -> Message {
    Message::new("PUBLISH_DONE", types::PUBLISH_DONE)
        .id(0)
        .number("Status Code", status)
        .number("Stream Count", 0)
        .bytes("Error Reason", b"enough")
}

/// INTERNAL_ERROR, UNAUTHORIZED, TOO_FAR_BEHIND and MALFORMED_TRACK.
const CUT: [u64; 4] = [0x0, 0x1, 0x6, 0x7];

/// GOING_AWAY and EXPIRED.
const FOR_A_WHILE: [u64; 2] = [0x4, 0x5];

/// TOO_FAR_BEHIND (draft-14 §9.12), and a code of streams (§10.4.3).
const TOO_FAR_BEHIND: u64 = 0x6;
const CANCELLED: u32 = 0x1;

/// Bytes of a line that does not fit what a stream may hold.
const LINE: usize = 100_000;

/// What a relay takes of a publisher.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    All,
    Little,
}

/// A program that has published a line to a relay, and the stream of that.
async fn published(listener: &RawListener) -> Result<(Process, RawPeer, RawRecv), Failure> {
    let mut program = publisher(listener);
    let mut relay = announced(listener).await?;
    relay.send(messages::subscribe(1, &["own"], "t")).await?;
    relay.expect(types::SUBSCRIBE_OK).await?;
    program.write(&[vec![b'x'; LINE], b"\n".to_vec()].concat());
    let stream = relay.accept_uni().await?;
    Ok((program, relay, stream))
}

over_both_carriers! {
    /// In one line; then the program subscribes again, and what comes is written.
    async fn a_program_tells_that_its_subscription_was_cut(carrier: Carrier) {
        for (status, lines) in CUT.map(|cut| (cut, 1)).into_iter().chain(FOR_A_WHILE.map(|done| (done, 0))) {
            let listener = RawListener::bind(carrier)?;
            let program = subscribe(&listener, &["--format", "lines"]);
            let mut relay = serve(&listener).await?;
            relay.send(done(status)).await?;
            serve_anew(&mut relay, &program).await?;
            let end = finished(program).await;
            assert_eq!(end.code, Some(0), "{:#?}", end.stderr);
            let told = end.stderr.iter().filter(|line| line.contains("hostile#t") && line.contains("enough"));
            assert_eq!(told.count(), lines, "{status}: {:#?}", end.stderr);
        }
        Ok(())
    }

    /// Who does not want to wait does not get half of a track for a whole one.
    async fn a_program_that_does_not_wait_fails_when_its_subscription_is_cut(carrier: Carrier) {
        for status in CUT {
            let listener = RawListener::bind(carrier)?;
            let program = subscribe(&listener, &["--no-wait", "--format", "lines"]);
            let mut relay = serve(&listener).await?;
            relay.send(done(status)).await?;
            relay.expect_close(codes::NO_ERROR).await?;
            let end = finished(program).await;
            assert_eq!(end.code, Some(1), "{status}: {:#?}", end.stderr);
            assert!(end.last_error().contains("enough"), "{status}: {:#?}", end.stderr);
            assert_eq!(end.stderr.len(), 1, "{status}: {:#?}", end.stderr);
        }
        Ok(())
    }

    /// Not a line for each: there may be thousands.
    async fn a_program_tells_once_that_streams_are_lost(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let program = subscribe(&listener, &["--format", "lines"]);
        let mut relay = serve(&listener).await?;
        for group in 1..=3 {
            let mut stream = relay.open_uni().await?;
            let header = data::subgroup_header(0x14, ALIAS, group, Some(0));
            let line = format!("group {group}");
            stream.write(&[header, data::object(0, line.as_bytes())].concat()).await?;
            program.wait_lines(&line, 1);
            stream.reset(0);
        }
        let header = data::subgroup_header(0x14, ALIAS, 4, Some(0));
        relay.stream(&[header, data::object(0, b"whole")].concat()).await?;
        program.wait_lines("whole", 1);
        relay.send(messages::publish_done(0, 4)).await?;
        let end = finished(program).await;
        assert_eq!(end.code, Some(0), "{:#?}", end.stderr);
        let told = end.stderr.iter().filter(|line| line.contains("Objects of hostile#t are lost"));
        assert_eq!(told.count(), 1, "{:#?}", end.stderr);
        Ok(())
    }

    /// CANCELLED: alone it is a loss like others; before PUBLISH_DONE with TOO_FAR_BEHIND one line is for both.
    async fn a_program_tells_once_that_streams_are_cancelled(carrier: Carrier) {
        for cut in [true, false] {
            let listener = RawListener::bind(carrier)?;
            let program = subscribe(&listener, &["--format", "lines"]);
            let mut relay = serve(&listener).await?;
            let mut stream = relay.open_uni().await?;
            let header = data::subgroup_header(0x14, ALIAS, 1, Some(0));
            stream.write(&[header, data::object(0, b"begun")].concat()).await?;
            program.wait_lines("begun", 1);
            stream.reset(CANCELLED);
            if cut {
                relay.send(done(TOO_FAR_BEHIND)).await?;
                serve_anew(&mut relay, &program).await?;
            } else {
                let header = data::subgroup_header(0x14, ALIAS, 2, Some(0));
                relay.stream(&[header, data::object(0, b"whole")].concat()).await?;
                program.wait_stderr("Objects of hostile#t are lost");
                relay.send(messages::publish_done(0, 2)).await?;
            }
            let end = finished(program).await;
            assert_eq!(end.code, Some(0), "{:#?}", end.stderr);
            assert_eq!(end.stderr.len(), 1, "cut: {cut}: {:#?}", end.stderr);
        }
        Ok(())
    }

    /// A pipeline that is ended closes the input and sends a signal, in no order.
    async fn a_signal_after_the_end_of_the_input_costs_nothing(carrier: Carrier) {
        let mut transport = quinn::TransportConfig::default();
        transport.stream_receive_window(10_000_u32.into());
        let listener = RawListener::bind_with(carrier, transport)?;
        let (mut program, mut relay, mut stream) = published(&listener).await?;
        program.close_stdin();
        relay.expect(types::PUBLISH_NAMESPACE_DONE).await?;
        program.terminate();
        let (bytes, end) = stream.to_end().await?;
        assert!(bytes.len() > LINE && end == RecvEnd::Fin, "{} bytes, {end:?}", bytes.len());
        let end = finished(program).await;
        assert_eq!(end.code, Some(0), "{:#?}", end.stderr);
        assert!(!end.stderr.iter().any(|line| line.contains("Not everything was delivered")), "{:#?}", end.stderr);
        Ok(())
    }

    /// The relay that had the beginning does not get the rest.
    async fn a_publisher_whose_relay_is_gone_at_the_end_tells_that_not_everything_was_delivered(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let (mut program, mut relay, mut stream) = published(&listener).await?;
        stream.to_end().await?;
        relay.close(0, "I am going").await?;
        relay.closed().await?;
        drop((relay, listener));
        program.wait_stderr("Waiting: ");
        program.write(b"nobody takes this\n");
        program.close_stdin();
        let end = finished(program).await;
        assert_eq!(end.code, Some(0), "{:#?}", end.stderr);
        let told = end.stderr.iter().filter(|line| line.contains("was not at the relay at the end"));
        assert_eq!(told.count(), 1, "{:#?}", end.stderr);
        Ok(())
    }

    /// Who never had a session has published nothing that could be missing.
    async fn a_publisher_that_found_no_relay_misses_nothing(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let program = publisher(&listener);
        drop(listener);
        program.wait_stderr("Waiting: ");
        program.interrupt();
        let end = finished(program).await;
        assert_eq!(end.code, Some(0), "{:#?}", end.stderr);
        assert_eq!(end.stderr.len(), 1, "{:#?}", end.stderr);
        Ok(())
    }

    /// A relay that takes nothing more: the publisher ends in its time, and says that its viewers lack something.
    async fn a_publisher_tells_that_not_everything_was_delivered(carrier: Carrier) {
        for taken in [Taken::All, Taken::Little] {
            let mut transport = quinn::TransportConfig::default();
            if taken == Taken::Little {
                transport.stream_receive_window(10_000_u32.into());
            }
            let listener = RawListener::bind_with(carrier, transport)?;
            let (program, _relay, mut stream) = published(&listener).await?;
            if taken == Taken::All {
                stream.to_end().await?;
            }
            program.terminate();
            let end = finished(program).await;
            assert_eq!(end.code, Some(0), "{:#?}", end.stderr);
            let told = end.stderr.iter().any(|line| line.contains("Not everything was delivered"));
            assert_eq!(told, taken == Taken::Little, "{:#?}", end.stderr);
        }
        Ok(())
    }
}
