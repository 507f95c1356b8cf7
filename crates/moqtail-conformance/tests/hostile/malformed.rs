//! Bytes that are not draft 14, generated from a catalog of messages that are.

use std::time::Duration;

use moqtail_conformance::{
    Carrier, Close, Failure, Message, RawPeer, Target, codes, data, every_message, frame,
    malformed::{End, Expect, Variant, variants},
    messages, types,
    wire::{HUGE, varint},
};
use tokio::task::JoinSet;

use crate::{carrier, over_both_carriers, world::World};

/// Peers that attack at the same time.
const ATTACKERS: usize = 6;

/// Failures after which an attacker gives up. Each may have waited for what never comes.
const ENOUGH: usize = 2;

/// When a broken message is sent.
#[derive(Clone, Copy)]
enum When {
    First,
    AfterSetup,
}

/// Sends one broken message in a session of its own and sees what comes of it.
async fn attempt(
    target: &Target,
    carrier: Carrier,
    when: When,
    next_id: u64,
    variant: &Variant,
) -> Result<(), Failure> {
    let mut peer = RawPeer::connect(target, carrier).await?;
    match when {
        When::First => peer.open_control().await?,
        When::AfterSetup => peer.setup().await?,
    }
    peer.send(variant.bytes.clone()).await?;
    match (variant.expect, variant.end) {
        (Expect::Close(code), End::Open) => peer.expect_close(code).await,
        (Expect::Close(code), End::Fin) => {
            let (mut send, _recv) = peer.take_control()?;
            // Fails only if the relay has closed already.
            let _ = send.finish();
            peer.expect_close(code).await
        }
        (Expect::Reaction, _) => peer.reaction(next_id).await.map(|_| ()),
    }
}

type Attempt = (When, u64, Variant);

/// Makes all attempts, some at a time, and lists those that went wrong; after a few there is nothing more to learn.
async fn attempts(target: &Target, carrier: Carrier, all: Vec<Attempt>) -> Vec<String> {
    let mut parts: Vec<Vec<Attempt>> = vec![Vec::new(); ATTACKERS];
    let count = all.len();
    for (index, attempt) in all.into_iter().enumerate() {
        parts[index % ATTACKERS].push(attempt);
    }
    let mut running = JoinSet::new();
    for part in parts {
        let target = target.clone();
        running.spawn(async move {
            let mut wrong = Vec::new();
            for (when, next_id, variant) in part {
                if let Err(failure) = attempt(&target, carrier, when, next_id, &variant).await {
                    wrong.push(format!("{}: {failure}", variant.what));
                }
                if wrong.len() == ENOUGH {
                    break;
                }
            }
            wrong
        });
    }
    println!("{count} attempts");
    running.join_all().await.concat()
}

/// A broken message as a variant of nothing.
fn broken(what: &str, bytes: Vec<u8>, expect: Expect) -> Variant {
    Variant {
        what: what.to_owned(),
        bytes,
        end: End::Open,
        expect,
    }
}

fn setup_or_not(message: &Message) -> When {
    match message.kind {
        types::CLIENT_SETUP => When::First,
        _ => When::AfterSetup,
    }
}

const VIOLATION: Expect = Expect::Close(codes::PROTOCOL_VIOLATION);

over_both_carriers! {
    /// S9-05, S1.4.2-05: every control message, cut, lengthened, and with every field too large.
    async fn a_malformed_message_closes_its_session_and_kills_nothing(carrier: Carrier) {
        let world = World::program().await;
        let mut all = Vec::new();
        for message in every_message(0, 1) {
            let next_id = if message.is_request() { 2 } else { 0 };
            let when = setup_or_not(&message);
            all.extend(variants(&message).into_iter().map(|variant| (when, next_id, variant)));
        }
        let wrong = attempts(&world.target, carrier, all).await;
        assert!(wrong.is_empty(), "{wrong:#?}");
        world.end().await;
        Ok(())
    }

    /// A huge parameter count in the first message of a connection once reserved 44 TB elsewhere.
    async fn one_message_with_a_huge_count_does_not_kill_the_relay(carrier: Carrier) {
        let world = World::program().await;
        let mut all = Vec::new();
        for message in every_message(0, 1) {
            let huge = variants(&message).into_iter().filter(|variant| {
                variant.what.contains(" in field ") && variant.expect == VIOLATION
            });
            all.extend(huge.map(|variant| (When::First, 0, variant)));
        }
        assert!(all.len() > 100, "{} attempts", all.len());
        let wrong = attempts(&world.target, carrier, all).await;
        assert!(wrong.is_empty(), "{wrong:#?}");
        world.end().await;
        Ok(())
    }

    /// Silence is no answer: every message of draft 14 gets one, or the end of the session.
    async fn every_legal_message_gets_an_answer_or_a_close(carrier: Carrier) {
        let world = World::embedded().await;
        let mut all = Vec::new();
        for message in every_message(0, 1) {
            let next_id = if message.is_request() { 2 } else { 0 };
            let variant = broken(message.name, message.encode(), Expect::Reaction);
            all.push((setup_or_not(&message), next_id, variant.clone()));
            if message.kind != types::CLIENT_SETUP {
                // draft-14 §9.3: nothing stands before SETUP
                let early = Variant { expect: VIOLATION, ..variant };
                all.push((When::First, 0, early));
            }
        }
        // CLIENT_SETUP alone is answered with SERVER_SETUP, which a request shows.
        let wrong = attempts(&world.target, carrier, all).await;
        assert!(wrong.is_empty(), "{wrong:#?}");
        world.end().await;
        Ok(())
    }

    /// S9-04: a type that draft 14 does not have ends the session, whatever length it promises.
    async fn an_unknown_message_type_closes_the_session(carrier: Carrier) {
        let world = World::embedded().await;
        let mut all = Vec::new();
        for kind in [0x0, 0x1, 0x1b, 0x1c, 0x22, 0x3f, 0x40, 0x41, 0x1234, HUGE] {
            for (what, bytes) in [
                ("empty", frame(kind, &[])),
                ("full", frame(kind, &[0; 65_535])),
                ("without its length", varint(kind)),
            ] {
                let variant = broken(&format!("type {kind:#x}, {what}"), bytes, VIOLATION);
                all.push((When::AfterSetup, 0, variant.clone()));
                all.push((When::First, 0, variant));
            }
        }
        let wrong = attempts(&world.target, carrier, all).await;
        assert!(wrong.is_empty(), "{wrong:#?}");
        world.end().await;
        Ok(())
    }

    /// S9.2.1.1-11 and A08: tokens that cannot be decoded, and aliases that nobody registered.
    async fn a_broken_token_closes_the_session_with_the_code_for_it(carrier: Carrier) {
        let world = World::embedded().await;
        let mut all = Vec::new();
        for (token, code) in [
            (&[][..], codes::KEY_VALUE_FORMATTING_ERROR),
            (&[0xc0], codes::KEY_VALUE_FORMATTING_ERROR),
            (&[0x04, 0x00], codes::KEY_VALUE_FORMATTING_ERROR),
            (&[0x02, 0x05, 0x00], codes::KEY_VALUE_FORMATTING_ERROR),
            (&[0x01, 0x05, 0x00, b'x'], codes::AUTH_TOKEN_CACHE_OVERFLOW),
            (&[0x02, 0x05], codes::UNKNOWN_AUTH_TOKEN_ALIAS),
            (&[0x00, 0x05], codes::UNKNOWN_AUTH_TOKEN_ALIAS),
        ] {
            let message = messages::subscribe_token(0, &["x"], "y", token);
            let variant = broken(&format!("{token:x?}"), message.encode(), Expect::Close(code));
            all.push((When::AfterSetup, 0, variant));
        }
        let token = messages::client_setup_token(&[0x04, 0x00]);
        let code = Expect::Close(codes::KEY_VALUE_FORMATTING_ERROR);
        all.push((When::First, 0, broken("in CLIENT_SETUP", token.encode(), code)));
        let wrong = attempts(&world.target, carrier, all).await;
        assert!(wrong.is_empty(), "{wrong:#?}");
        world.end().await;
        Ok(())
    }

    /// S10-03: stream types that draft 14 does not have, and a FETCH_HEADER that answers nothing.
    async fn an_unknown_stream_type_closes_the_session(carrier: Carrier) {
        let world = World::embedded().await;
        for kind in [0x0, 0x4, 0x6, 0xf, 0x16, 0x17, 0x1e, 0x1f, 0x20, 0x40, 0x54, HUGE] {
            let mut peer = RawPeer::established(&world.target, carrier).await?;
            peer.stream(&data::subgroup_header(kind, 1, 2, Some(3))).await?;
            peer.expect_close(codes::PROTOCOL_VIOLATION).await?;
        }
        let mut peer = RawPeer::established(&world.target, carrier).await?;
        peer.stream(&data::fetch_header(1)).await?;
        peer.expect_close(codes::INVALID_REQUEST_ID).await?;
        world.end().await;
        Ok(())
    }

    /// S10-04, S10.3.1-05, S10.2.1.1-03: datagrams of unknown type, cut, and with an extension length of zero.
    async fn a_malformed_datagram_closes_the_session(carrier: Carrier) {
        let world = World::embedded().await;
        let mut all: Vec<Vec<u8>> = [0x8, 0x10, 0x14, 0x1f, 0x22, 0x24, 0x27, 0x30, HUGE]
            .into_iter()
            .map(|kind| [varint(kind), vec![0; 8]].concat())
            .collect();
        let whole = data::datagram(1, 2, 3, b"");
        all.extend((0..whole.len()).map(|cut| whole[..cut].to_vec()));
        // Type 0x01 with extensions of no length, of a huge one, and of one that is not there.
        let head = [&[0x01, 1, 2, 3, 128][..]].concat();
        all.push([&head[..], &[0]].concat());
        all.push([head.clone(), varint(HUGE)].concat());
        all.push([&head[..], &[5, 0x3c]].concat());
        // Status datagram with a status that does not exist, and with a payload.
        all.push(vec![0x20, 1, 2, 3, 128, 0x02]);
        all.push(vec![0x20, 1, 2, 3, 128, 0x03, 0x00]);
        for datagram in all {
            let mut peer = RawPeer::established(&world.target, carrier).await?;
            peer.datagram(&datagram).await?;
            match peer.closed().await? {
                Close::Code { code: codes::PROTOCOL_VIOLATION, .. } => {}
                close => panic!("datagram {datagram:x?}: session {close}"),
            }
        }
        world.end().await;
        Ok(())
    }

    /// S10.2.1.1-03: objects that cannot be, on a stream that is welcome.
    async fn a_malformed_object_ends_the_publisher_and_nobody_else(carrier: Carrier) {
        let world = World::embedded().await;
        let plain = data::subgroup_header(0x10, 7, 1, None);
        let extended = data::subgroup_header(0x11, 7, 1, None);
        let id_overflow = [data::object(HUGE, b"x"), data::object(0, b"y")].concat();
        let violation = codes::PROTOCOL_VIOLATION;
        for (what, head, rest, code) in [
            ("unknown status", &plain, vec![0, 0, 0x02], violation),
            ("huge status", &plain, [vec![0, 0], varint(HUGE)].concat(), violation),
            ("an Object ID over 2^62 - 1", &plain, id_overflow, violation),
            // Legal as far as it came, and over a limit of the relay.
            ("huge extensions", &extended, [vec![0], varint(HUGE)].concat(), codes::INTERNAL_ERROR),
            ("extensions cut inside", &extended, vec![0, 2, 0x3d, 0x05, 1, b'x'], violation),
            ("extensions on what does not exist", &extended, vec![0, 2, 0x3c, 0x00, 0, 0x01], violation),
        ] {
            let track = ["hostile", "objects"];
            let mut peer = carrier::publisher(&world.target, carrier, &track, "t", 7).await?;
            peer.stream(&[&head[..], &rest].concat()).await?;
            let close = peer.closed().await?;
            assert!(matches!(close, Close::Code { code: came, .. } if came == code), "{what}: {close}");
        }
        // A namespace that is gone with its publisher is free again.
        world.others_gone().await;
        tokio::time::timeout(Duration::from_secs(20), async {
            carrier::publisher(&world.target, carrier, &["hostile", "objects"], "t", 7).await
        })
        .await
        .unwrap()?;
        world.end().await;
        Ok(())
    }
}
