//! Bytes that are not draft 14, from a relay.

use moqtail::client::ClientConfig;
use moqtail_conformance::{
    Carrier, Failure, RawListener, codes, data, every_message, frame,
    malformed::{End, Expect, Variant, variants},
    wire::{HUGE, varint},
};
use tokio::task::JoinSet;

use crate::{
    over_both_carriers,
    world::{asking, blamed, met, trusting},
};

/// Relays that attack at the same time, each a client of its own.
const ATTACKERS: usize = 6;

/// Every how many variants one is tried over WebTransport, where the bytes take the same way once they are unwrapped.
const SAMPLE: usize = 7;

/// Sends one broken message to a client that waits for the answer to SUBSCRIBE, and sees what comes of it.
async fn attempt(
    listener: &RawListener,
    config: ClientConfig,
    next_id: u64,
    variant: &Variant,
) -> Result<(), String> {
    let told = |failure: Failure| failure.to_string();
    let (client, mut relay) = met(listener, config).await.map_err(told)?;
    let asked = asking(&client, &mut relay).await.map_err(told)?;
    relay.send(variant.bytes.clone()).await.map_err(told)?;
    let ended = match (variant.expect, variant.end) {
        (Expect::Close(code), end) => {
            let control = match end {
                End::Open => None,
                End::Fin => {
                    let (mut send, recv) = relay.take_control().map_err(told)?;
                    // Fails only if the client has closed already.
                    let _ = send.finish();
                    Some((send, recv))
                }
            };
            let closed = relay.expect_close(code).await.map_err(told);
            drop(control);
            closed.and(blamed(&client, code).await)
        }
        (Expect::Reaction, _) => relay.reaction(next_id).await.map(|_| ()).map_err(told),
    };
    asked.abort();
    ended
}

/// Makes all attempts, some at a time, and lists those that went wrong.
async fn attempts(carrier: Carrier, all: Vec<(u64, Variant)>) -> Vec<String> {
    println!("{} attempts", all.len());
    let mut parts: Vec<Vec<(u64, Variant)>> = vec![Vec::new(); ATTACKERS];
    for (index, attempt) in all.into_iter().enumerate() {
        parts[index % ATTACKERS].push(attempt);
    }
    let mut running = JoinSet::new();
    for part in parts {
        running.spawn(async move {
            let listener = RawListener::bind(carrier).unwrap();
            let mut wrong = Vec::new();
            for (next_id, variant) in part {
                if let Err(what) = attempt(&listener, trusting(), next_id, &variant).await {
                    wrong.push(format!("{}: {what}", variant.what));
                }
            }
            wrong
        });
    }
    running.join_all().await.concat()
}

over_both_carriers! {
    /// S9-05, S1.4.2-05: every control message, cut, lengthened, and with every field too large.
    async fn a_malformed_message_ends_the_session_and_not_the_client(carrier: Carrier) {
        let mut all = Vec::new();
        for message in every_message(1, 0) {
            let next_id = if message.is_request() { 3 } else { 1 };
            all.extend(variants(&message).into_iter().map(|variant| (next_id, variant)));
        }
        if carrier == Carrier::WebTransport {
            all = all.into_iter().step_by(SAMPLE).collect();
        }
        let wrong = attempts(carrier, all).await;
        assert!(wrong.is_empty(), "{wrong:#?}");
        Ok(())
    }

    /// S9-04, S10-03, S10-04: message, stream and datagram types that draft 14 does not have.
    async fn an_unknown_type_ends_the_session_with_the_relay_to_blame(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let code = codes::PROTOCOL_VIOLATION;
        for kind in [0x0, 0x1, 0x1b, 0x3f, 0x40, HUGE] {
            let (client, mut relay) = met(&listener, trusting()).await?;
            relay.send(frame(kind, &[0; 100])).await?;
            relay.expect_close(code).await?;
            blamed(&client, code).await.unwrap();
        }
        for kind in [0x0, 0x4, 0x6, 0x16, 0x1e, 0x20, 0x54, HUGE] {
            let (client, mut relay) = met(&listener, trusting()).await?;
            relay.stream(&data::subgroup_header(kind, 1, 2, Some(3))).await?;
            relay.expect_close(code).await?;
            blamed(&client, code).await.unwrap();
        }
        for kind in [0x8, 0x1f, 0x22, HUGE] {
            let (client, mut relay) = met(&listener, trusting()).await?;
            relay.datagram(&[varint(kind), vec![0; 8]].concat()).await?;
            relay.expect_close(code).await?;
            blamed(&client, code).await.unwrap();
        }
        Ok(())
    }
}
