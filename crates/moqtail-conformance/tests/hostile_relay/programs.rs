//! Our programs at a relay of bad will: one line that says whose fault it was, and bounded memory.

use moqtail_conformance::{
    Carrier, Failure, Message, RawListener, RawPeer, codes, data, frame, messages, types,
};
use moqtail_e2e::{Finished, Process};

use crate::{over_both_carriers, vitals, world::ALIAS};

/// A code of SUBSCRIBE_ERROR (draft-14 §9.9).
const INVALID_RANGE: u64 = 0x5;

/// Streams and datagrams of one flood.
const FLOOD: u64 = 5000;

/// How much larger the program may be after a flood than after the one before, in bytes.
const MEMORY_TOLERANCE: u64 = 16 << 20;

/// One that writes nothing and gives up where it can.
fn subscriber(listener: &RawListener) -> Process {
    let output = ["--no-wait", "--format", "raw", "--out", "/dev/null"];
    subscribe(listener, &output)
}

pub(crate) fn subscribe(listener: &RawListener, options: &[&str]) -> Process {
    let url = listener.url();
    let arguments = ["subscribe", &url, "hostile", "--track", "t", "--insecure"];
    Process::moqtail(arguments.iter().chain(options))
}

/// Serves one object and then, in a second stream, one that cannot be after it.
async fn contradict(relay: &RawPeer, program: &Process) -> Result<(), Failure> {
    let stream = |objects: &[Vec<u8>]| {
        let header = data::subgroup_header(0x14, ALIAS, 1, Some(0));
        [header, objects.concat()].concat()
    };
    relay
        .stream(&stream(&[data::object(0, b"one"), data::object(0, b"two")]))
        .await?;
    program.wait_lines("two", 1);
    relay
        .stream(&stream(&[
            data::object(1, b"two"),
            data::object(0, b"three"),
        ]))
        .await
}

/// What is wrong with it.
const CONTRADICTION: &str =
    "The track hostile#t is malformed: object {1, 2} comes after the final object 1 of subgroup 0.";

/// Waits for the end of a program without holding up the relay that it speaks with.
pub(crate) async fn finished(program: Process) -> Finished {
    tokio::task::spawn_blocking(|| program.finish())
        .await
        .unwrap()
}

/// Takes the subscription of the program.
pub(crate) async fn serve(listener: &RawListener) -> Result<RawPeer, Failure> {
    let mut relay = listener.accept().await?;
    relay
        .answer_setup(messages::server_setup_granting(messages::GENEROUS))
        .await?;
    let asked = relay.expect(types::SUBSCRIBE).await?;
    relay
        .send(messages::subscribe_ok(asked.first_number().unwrap(), ALIAS))
        .await?;
    Ok(relay)
}

/// A program that publishes lines as the track `t` of `own`.
pub(crate) fn publisher(listener: &RawListener) -> Process {
    let url = listener.url();
    let lines = ["--lines", "--track", "t", "--insecure"];
    Process::moqtail(["publish", &url, "own"].iter().chain(&lines))
}

/// Takes the announcement of the program.
pub(crate) async fn announced(listener: &RawListener) -> Result<RawPeer, Failure> {
    let mut relay = listener.accept().await?;
    let setup = messages::server_setup_granting(messages::GENEROUS);
    relay.answer_setup(setup).await?;
    let asked = relay.expect(types::PUBLISH_NAMESPACE).await?;
    let asked = asked.first_number().unwrap();
    let accepted = messages::about("PUBLISH_NAMESPACE_OK", types::PUBLISH_NAMESPACE_OK, asked);
    relay.send(accepted).await?;
    Ok(relay)
}

/// Takes the next subscription of the program, which then gets `anew` as its only object.
pub(crate) async fn serve_anew(relay: &mut RawPeer, program: &Process) -> Result<(), Failure> {
    let asked = relay.expect(types::SUBSCRIBE).await?;
    let asked = asked.first_number().unwrap();
    relay.send(messages::subscribe_ok(asked, ALIAS + 1)).await?;
    let header = data::subgroup_header(0x14, ALIAS + 1, 1, Some(0));
    relay
        .stream(&[header, data::object(0, b"anew")].concat())
        .await?;
    program.wait_lines("anew", 1);
    relay.send(messages::publish_done(asked, 1)).await?;
    Ok(())
}

over_both_carriers! {
    /// Before the session, in it, and in an object.
    async fn a_program_says_in_one_line_that_the_relay_broke_the_protocol(carrier: Carrier) {
        for place in ["setup", "message", "object"] {
            let listener = RawListener::bind(carrier)?;
            let program = subscriber(&listener);
            let mut relay = if place == "setup" {
                let mut relay = listener.accept().await?;
                relay.answer_setup(frame(0x3f, b"no SETUP")).await?;
                relay
            } else {
                serve(&listener).await?
            };
            match place {
                "message" => relay.send(frame(0x3f, b"no message")).await?,
                "object" => {
                    let header = data::subgroup_header(0x14, ALIAS, 1, Some(0));
                    relay.stream(&[header, data::object_head(0, 10)].concat()).await?;
                }
                _ => {}
            }
            relay.expect_close(codes::PROTOCOL_VIOLATION).await?;
            let end = finished(program).await;
            assert_eq!(end.code, Some(1), "{place}: {:#?}", end.stderr);
            let line = end.last_error();
            assert!(line.contains("does not keep to MOQT draft 14"), "{place}: {line}");
            assert!(!end.stderr.iter().any(|line| line.contains("panicked")), "{:#?}", end.stderr);
        }
        Ok(())
    }

    /// S2.5-12: what was received is written, and one line says what is wrong with the rest.
    async fn a_program_keeps_what_it_received_of_a_malformed_track(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let program = subscribe(&listener, &["--no-wait", "--format", "lines"]);
        let mut relay = serve(&listener).await?;
        contradict(&relay, &program).await?;
        // With the session the subscription ends, whether UNSUBSCRIBE arrives or not.
        relay.expect_close(codes::NO_ERROR).await?;
        let end = finished(program).await;
        assert_eq!(end.code, Some(1), "{:#?}", end.stderr);
        assert_eq!(end.stdout_text(), "one\ntwo\ntwo\n");
        assert!(end.last_error().contains(CONTRADICTION), "{:#?}", end.stderr);
        assert_eq!(end.stderr.iter().filter(|line| line.contains("malformed")).count(), 1);
        Ok(())
    }

    /// S2.5-10, S2.5-12: a program that waits for what is not there asks for the track anew.
    async fn a_program_that_waits_asks_again_for_a_malformed_track(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let program = subscribe(&listener, &["--format", "lines"]);
        let mut relay = serve(&listener).await?;
        contradict(&relay, &program).await?;
        relay.expect(types::UNSUBSCRIBE).await?;
        serve_anew(&mut relay, &program).await?;
        let end = finished(program).await;
        assert_eq!(end.code, Some(0), "{:#?}", end.stderr);
        assert_eq!(end.stdout_text(), "one\ntwo\ntwo\nanew\n");
        let told: Vec<_> = end.stderr.iter().filter(|line| line.contains("malformed")).collect();
        assert!(matches!(told[..], [line] if line.contains(CONTRADICTION)), "{:#?}", end.stderr);
        Ok(())
    }

    /// The last object came, and the session broke before PUBLISH_DONE.
    async fn a_range_that_passed_while_the_relay_was_away_is_no_failure(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let program = subscribe(&listener, &["--filter", "range 5,0 9", "--format", "lines"]);
        let mut relay = serve(&listener).await?;
        let header = data::subgroup_header(0x14, ALIAS, 9, Some(0));
        relay.stream(&[header, data::object(0, b"last")].concat()).await?;
        program.wait_lines("last", 1);
        relay.close(codes::INTERNAL_ERROR as u32, "broken").await?;
        let mut relay = listener.accept().await?;
        relay.answer_setup(messages::server_setup_granting(messages::GENEROUS)).await?;
        let asked = relay.expect(types::SUBSCRIBE).await?;
        let passed = Message::new("SUBSCRIBE_ERROR", types::SUBSCRIBE_ERROR)
            .id(asked.first_number().unwrap())
            .number("Error Code", INVALID_RANGE)
            .bytes("Error Reason", b"all of it has passed");
        relay.send(passed).await?;
        let end = finished(program).await;
        assert_eq!(end.code, Some(0), "{:#?}", end.stderr);
        assert_eq!(end.stdout_text(), "last\n");
        assert!(end.last_error().contains("came after {9, 0}"), "{:#?}", end.stderr);
        Ok(())
    }

    /// Streams and datagrams of the track, and for aliases of nobody.
    async fn a_flood_of_streams_and_datagrams_does_not_fill_a_program(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let program = subscriber(&listener);
        let mut relay = serve(&listener).await?;
        let mut levels = Vec::new();
        for round in 0..3 {
            for number in 0..FLOOD {
                let group = round * FLOOD + number;
                let header = data::subgroup_header(0x14, ALIAS, group, Some(0));
                relay.stream(&[header, data::object(0, b"x")].concat()).await?;
                relay.datagram(&data::datagram(1000 + number % 50, group, 0, b"nobody's")).await?;
            }
            assert_eq!(relay.reaction(2 * round + 1).await?, None);
            levels.push(vitals::of(program.id()));
        }
        let (first, last) = (levels[0], levels[2]);
        let grown = last.resident.saturating_sub(first.resident);
        println!("{} kB after the first flood, {} kB more after two more", first.resident >> 10, grown >> 10);
        println!("{} threads, {:?} of CPU for {} streams", last.threads, last.cpu, 3 * FLOOD);
        assert!(grown < MEMORY_TOLERANCE, "{levels:?}");
        assert_eq!(first.files, last.files);
        relay.send(messages::publish_done(0, 0)).await?;
        let end = finished(program).await;
        assert_eq!(end.code, Some(0), "{:#?}", end.stderr);
        Ok(())
    }
}
