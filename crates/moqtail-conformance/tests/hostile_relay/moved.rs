//! Where our programs go when a relay sends them to another one, and from there.

use moqtail_conformance::{
    Carrier, Failure, Message, RawListener, RawPeer, codes, data, messages, types,
};
use moqtail_e2e::Process;

use crate::{
    over_both_carriers,
    programs::{announced, finished, publisher, serve, subscribe},
    world::ALIAS,
};

/// A session termination code (draft-14 §3.4).
const UNAUTHORIZED: u32 = 0x2;

/// Status of PUBLISH_DONE (draft-14 §9.12).
const GOING_AWAY: u64 = 0x4;

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

/// When a relay sends a client away.
#[derive(Clone, Copy, Debug)]
enum Sent {
    /// In one flight with SERVER_SETUP.
    AtOnce,
    /// When it waits for a Request ID.
    Blocked,
}

impl Sent {
    const ALL: [Self; 2] = [Self::AtOnce, Self::Blocked];

    /// Takes a client and sends it to `next` before it could ask for anything.
    async fn away(self, listener: &RawListener, next: &RawListener) -> Result<RawPeer, Failure> {
        let mut relay = listener.accept().await?;
        let goaway = messages::goaway(&next.url());
        match self {
            Self::AtOnce => {
                let setup = messages::server_setup_granting(messages::GENEROUS);
                relay
                    .answer_setup([setup.encode(), goaway.encode()].concat())
                    .await?;
            }
            Self::Blocked => {
                relay.answer_setup(messages::server_setup()).await?;
                relay.expect(types::REQUESTS_BLOCKED).await?;
                relay.send(goaway).await?;
            }
        }
        Ok(relay)
    }
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

    /// What is wrong for good there need not be wrong at the first one.
    async fn a_program_returns_to_its_relay_when_the_next_one_refuses_it(carrier: Carrier) {
        let first = RawListener::bind(carrier)?;
        let second = RawListener::bind(carrier)?;
        let program = subscribe(&first, &["--format", "lines"]);
        let mut left = serve(&first).await?;
        left.send(messages::goaway(&second.url())).await?;
        let mut refusing = second.accept().await?;
        refusing.accept_control().await?;
        refusing.close(UNAUTHORIZED, "not you").await?;
        let relay = serve(&first).await?;
        show(&relay, &program, 1, "back").await?;
        let lines = end(relay, program).await?;
        let told = lines.iter().filter(|line| line.contains("not you"));
        assert_eq!(told.count(), 1, "{lines:#?}");
        Ok(())
    }

    /// S9.4-03: it makes its first request in the next session.
    async fn a_subscriber_goes_where_it_is_sent_before_it_subscribed(carrier: Carrier) {
        for sent in Sent::ALL {
            let first = RawListener::bind(carrier)?;
            let second = RawListener::bind(carrier)?;
            let program = subscribe(&first, &["--format", "lines"]);
            let _left = sent.away(&first, &second).await?;
            let relay = serve(&second).await?;
            show(&relay, &program, 1, "there").await?;
            end(relay, program).await?;
        }
        Ok(())
    }

    /// S9.4-03
    async fn a_publisher_goes_where_it_is_sent_before_it_published(carrier: Carrier) {
        for sent in Sent::ALL {
            let first = RawListener::bind(carrier)?;
            let second = RawListener::bind(carrier)?;
            let mut program = publisher(&first);
            let _left = sent.away(&first, &second).await?;
            let mut relay = announced(&second).await?;
            program.close_stdin();
            relay.expect_close(codes::NO_ERROR).await?;
            let end = finished(program).await;
            assert_eq!(end.code, Some(0), "{sent:?}: {:#?}", end.stderr);
        }
        Ok(())
    }

    /// The time to ask again comes when the session is still open, but takes no requests.
    async fn a_subscriber_that_waits_goes_where_it_is_sent(carrier: Carrier) {
        let first = RawListener::bind(carrier)?;
        let second = RawListener::bind(carrier)?;
        let program = subscribe(&first, &["--format", "lines"]);
        let mut left = first.accept().await?;
        left.answer_setup(messages::server_setup_granting(messages::GENEROUS)).await?;
        left.expect(types::SUBSCRIBE).await?;
        left.send(messages::refusal("SUBSCRIBE_ERROR", types::SUBSCRIBE_ERROR, 0)).await?;
        program.wait_stderr("is not at");
        left.send(messages::goaway(&second.url())).await?;
        let relay = serve(&second).await?;
        show(&relay, &program, 1, "there").await?;
        end(relay, program).await?;
        Ok(())
    }

    /// A subscription that ended with the GOAWAY is not asked for again in that session.
    async fn a_subscriber_whose_subscription_ends_with_the_goaway_goes_where_it_is_sent(carrier: Carrier) {
        let first = RawListener::bind(carrier)?;
        let second = RawListener::bind(carrier)?;
        let program = subscribe(&first, &["--format", "lines"]);
        let mut left = serve(&first).await?;
        let done = Message::new("PUBLISH_DONE", types::PUBLISH_DONE)
            .id(0)
            .number("Status Code", GOING_AWAY)
            .number("Stream Count", 0)
            .bytes("Error Reason", b"");
        left.send([messages::goaway(&second.url()).encode(), done.encode()].concat()).await?;
        let relay = serve(&second).await?;
        show(&relay, &program, 1, "there").await?;
        end(relay, program).await?;
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
