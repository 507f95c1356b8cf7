//! Where our programs go when a relay sends them to another one, and from there.

use moqtail_conformance::{Carrier, Failure, RawListener, RawPeer, codes, data, messages, types};
use moqtail_e2e::Process;

use crate::{
    over_both_carriers,
    programs::{finished, serve, subscribe},
    world::ALIAS,
};

/// A program that was sent from the first relay to the second and has received something there.
async fn moved(first: &RawListener, second: &RawListener) -> Result<(Process, RawPeer), Failure> {
    let program = subscribe(first, &["--format", "lines"]);
    let mut left = serve(first).await?;
    left.send(messages::goaway(&second.url())).await?;
    left.expect_among(types::UNSUBSCRIBE).await?;
    let relay = serve(second).await?;
    show(&relay, &program, 1, "there").await?;
    Ok((program, relay))
}

/// Sends an object and waits until the program has it.
async fn show(relay: &RawPeer, program: &Process, group: u64, what: &str) -> Result<(), Failure> {
    let header = data::subgroup_header(0x14, ALIAS, group, Some(0));
    let object = data::object(0, what.as_bytes());
    relay.stream(&[header, object].concat()).await?;
    program.wait_lines(what, 1);
    Ok(())
}

/// Ends the track; the program ends well.
async fn end(mut relay: RawPeer, program: Process) -> Result<Vec<String>, Failure> {
    relay.send(messages::publish_done(0, 1)).await?;
    relay.expect_close(codes::NO_ERROR).await?;
    let end = finished(program).await;
    assert_eq!(end.code, Some(0), "{:#?}", end.stderr);
    Ok(end.stderr)
}

over_both_carriers! {
    /// The relay that sent it away is there when the one that it was sent to is not any more.
    async fn a_program_returns_to_its_relay_when_the_next_one_dies(carrier: Carrier) {
        let first = RawListener::bind(carrier)?;
        let second = RawListener::bind(carrier)?;
        let (program, mut relay) = moved(&first, &second).await?;
        let authority = second.address().to_string();
        relay.close(0, "I am going").await?;
        drop((relay, second));
        let relay = serve(&first).await?;
        show(&relay, &program, 2, "back").await?;
        let lines = end(relay, program).await?;
        // Each line names the relay that it is about.
        let about = |begin: &str| lines.iter().any(|l| l.contains(begin) && l.contains(&authority));
        assert!(about("Connecting again: The relay at "), "{lines:#?}");
        assert!(about("Waiting: "), "{lines:#?}");
        Ok(())
    }

    /// S9.4-07: without a New Session URI the current one is meant, which need not be the first.
    async fn a_program_that_was_moved_stays_with_a_relay_that_names_no_other(carrier: Carrier) {
        for uri in ["", "nowhere at all"] {
            let first = RawListener::bind(carrier)?;
            let second = RawListener::bind(carrier)?;
            let (program, mut relay) = moved(&first, &second).await?;
            relay.send(messages::goaway(uri)).await?;
            relay.expect_among(types::UNSUBSCRIBE).await?;
            let relay = serve(&second).await?;
            show(&relay, &program, 2, "again").await?;
            end(relay, program).await?;
        }
        Ok(())
    }
}
