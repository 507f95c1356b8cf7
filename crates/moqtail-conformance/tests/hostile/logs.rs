//! What a relay writes down, and what it keeps to itself.

use moqtail_conformance::{Carrier, RawPeer, Target, messages, types};
use moqtail_e2e::Relay;

use crate::{
    carrier::{publisher, tiny, viewer},
    over_both_carriers,
};

const STREAMS: u64 = 500;

/// Lines that a relay may write between its start and its end, beside what it says of itself.
const LINES: usize = 10;

const SECRET: &str = "open-sesame-4711";

fn started(verbosity: &[&str]) -> (Relay, Target) {
    let listen = ["--listen", "127.0.0.1:0", "--http", "off"];
    let relay = Relay::start_with(verbosity.iter().copied().chain(listen));
    let target = Target::new(([127, 0, 0, 1], relay.port()).into());
    (relay, target)
}

over_both_carriers! {
    /// A line for each stream or object costs more than the object.
    async fn nothing_is_logged_for_each_stream_unless_asked(carrier: Carrier) {
        let (relay, target) = started(&[]);
        let publisher = publisher(&target, carrier, &["hostile"], "t", 1).await?;
        let (mut viewer, _) = viewer(&target, carrier, &["hostile"], "t").await?;
        for group in 0..STREAMS {
            publisher.stream(&tiny(1, group, b"x")).await?;
            viewer.accept_uni().await?.to_end().await?;
        }
        drop((publisher, viewer));
        let said = relay.stop().stderr;
        let logged: Vec<_> = said.iter().filter(|line| !line.starts_with("moqtail: ")).collect();
        assert!(logged.len() < LINES, "{logged:#?}");
        Ok(())
    }

    /// Tokens are secrets: a log that is read by many must not hold one, however much is logged.
    async fn no_token_is_in_the_log(carrier: Carrier) {
        let (relay, target) = started(&["-vvv"]);
        // USE_VALUE, type 0.
        let token = [&[0x03, 0x00][..], SECRET.as_bytes()].concat();
        let mut peer = RawPeer::connect(&target, carrier).await?;
        peer.open_control().await?;
        peer.send(messages::client_setup_token(&token)).await?;
        peer.expect(types::SERVER_SETUP).await?;
        peer.send(messages::subscribe_token(0, &["nobody"], "x", &token)).await?;
        peer.expect(types::SUBSCRIBE_ERROR).await?;
        // REGISTER, which is not taken: a secret in a message that ends the session.
        let token = [&[0x01, 0x05, 0x00][..], SECRET.as_bytes()].concat();
        peer.send(messages::subscribe_token(2, &["nobody"], "x", &token)).await?;
        peer.closed().await?;
        drop(peer);
        let end = relay.stop();
        let log = [end.stdout_text(), end.stderr.join("\n")].concat();
        assert!(log.contains("SUBSCRIBE"), "nothing was logged: {log}");
        let as_numbers = format!("{:?}", SECRET.as_bytes());
        let as_hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
        for form in [SECRET, as_numbers.trim_matches(['[', ']']), &as_hex] {
            assert!(!log.contains(form), "the log has the token as {form}");
        }
        Ok(())
    }
}
