//! A benchmark of a relay that does not do what is measured comes to an end, and says what is missing.

use moqtail_conformance::{Carrier, Failure, RawListener, RawPeer, messages, types};
use moqtail_e2e::Process;

use crate::{
    over_both_carriers,
    programs::{announced, finished},
    world::ALIAS,
};

fn bench(listener: &RawListener) -> Process {
    let url = listener.url();
    Process::moqtail(["bench", &url, "--insecure", "-n", "1", "--duration", "1s"])
}

/// Takes the publisher and then the subscriber of a benchmark, and what that asks for.
async fn asked(listener: &RawListener) -> Result<(RawPeer, RawPeer, u64), Failure> {
    let publisher = announced(listener).await?;
    let mut relay = listener.accept().await?;
    let setup = messages::server_setup_granting(messages::GENEROUS);
    relay.answer_setup(setup).await?;
    let asked = relay.expect(types::SUBSCRIBE).await?;
    Ok((publisher, relay, asked.first_number().unwrap()))
}

async fn assert_fails(program: Process) {
    let end = finished(program).await;
    assert_eq!(end.code, Some(1), "{:#?}", end.stderr);
    let line = end.last_error();
    assert!(line.contains("Nothing came back from "), "{line}");
}

over_both_carriers! {
    async fn a_benchmark_of_a_relay_that_does_not_answer_ends(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let program = bench(&listener);
        let _sessions = asked(&listener).await?;
        assert_fails(program).await;
        Ok(())
    }

    async fn a_benchmark_of_a_relay_that_asks_no_publisher_ends(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let program = bench(&listener);
        let (_publisher, mut relay, id) = asked(&listener).await?;
        relay.send(messages::subscribe_ok(id, ALIAS)).await?;
        assert_fails(program).await;
        Ok(())
    }
}
