//! Answers that nobody asked for, answers that do not come, and questions without end.

use moqtail::{
    client::{Broadcast, PublishError, SubscribeError, SubscribeOptions},
    session::CallError,
};
use moqtail_conformance::{Carrier, RawListener, codes, every_answer, messages, types};
use tokio::time::timeout;

use crate::{
    over_both_carriers,
    world::{SHORT, asking, blamed, closes, connecting, impatient, met, trusting},
};

/// Requests of a relay without end: several times as many as it may have open.
const FLOOD: u64 = 5000;

over_both_carriers! {
    /// S9.1-06: ids that the client never gave, and ids of the relay's own that it never used.
    async fn an_answer_to_a_request_never_made_ends_the_session(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        for id in [1, 2, 3, 1 << 40] {
            for message in every_answer(id) {
                let (client, mut relay) = met(&listener, trusting()).await?;
                let asked = asking(&client, &mut relay).await?;
                closes(&client, &mut relay, message, codes::INVALID_REQUEST_ID).await?;
                let answer = timeout(SHORT, asked).await.expect("the caller is told").unwrap();
                assert!(matches!(answer, Err(SubscribeError::SessionEnded)), "{answer:?}");
            }
        }
        Ok(())
    }

    /// S5.1-04, S9.1-06: one answer, of the right kind.
    async fn an_answer_of_the_wrong_kind_or_a_second_one_ends_the_session(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let wrong = every_answer(0).into_iter().filter(|message| {
            ![types::SUBSCRIBE_OK, types::SUBSCRIBE_ERROR, types::UNSUBSCRIBE, types::FETCH_CANCEL]
                .contains(&message.kind)
        });
        for message in wrong {
            let (client, mut relay) = met(&listener, trusting()).await?;
            let _asked = asking(&client, &mut relay).await?;
            closes(&client, &mut relay, message, codes::PROTOCOL_VIOLATION).await?;
        }
        for second in every_answer(0).into_iter().take(2) {
            let (client, mut relay) = met(&listener, trusting()).await?;
            let _asked = asking(&client, &mut relay).await?;
            relay.send(messages::subscribe_ok(0, 3)).await?;
            closes(&client, &mut relay, second, codes::PROTOCOL_VIOLATION).await?;
        }
        Ok(())
    }

    /// The peer offers what the client could not ask for yet, and gives credit afterwards: the caller is served.
    async fn an_offer_that_comes_before_the_question_does_not_fail_it(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let (client, mut relay) = connecting(&listener, trusting(), async |mut relay| {
            relay.answer_setup(messages::server_setup_granting(0)).await?;
            Ok(relay)
        })
        .await?;
        let client = client.unwrap();
        let asked = tokio::spawn(async move {
            client.subscribe("hostile#t".parse().unwrap(), SubscribeOptions::default()).await
        });
        relay.expect(types::REQUESTS_BLOCKED).await?;
        relay.send(messages::publish(1, &["hostile"], "t", 7)).await?;
        relay.expect(types::PUBLISH_ERROR).await?;
        relay.send(messages::max_request_id(10)).await?;
        let request = relay.expect(types::SUBSCRIBE).await?;
        assert_eq!(request.first_number(), Some(0));
        relay.send(messages::subscribe_ok(0, 3)).await?;
        let subscription = timeout(SHORT, asked).await.expect("the caller is told").unwrap();
        assert!(subscription.is_ok(), "{subscription:?}");
        Ok(())
    }

    /// S9.8-03: one alias cannot stand for two tracks.
    async fn one_alias_for_two_tracks_ends_the_session(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let (client, mut relay) = met(&listener, trusting()).await?;
        let first = asking(&client, &mut relay).await?;
        relay.send(messages::subscribe_ok(0, 3)).await?;
        let _subscription = first.await.unwrap().unwrap();
        let other = client.clone();
        let second = tokio::spawn(async move {
            other.subscribe("hostile#other".parse().unwrap(), SubscribeOptions::default()).await
        });
        relay.expect(types::SUBSCRIBE).await?;
        closes(&client, &mut relay, messages::subscribe_ok(2, 3), codes::DUPLICATE_TRACK_ALIAS).await?;
        assert!(matches!(second.await.unwrap(), Err(SubscribeError::SessionEnded)));
        Ok(())
    }

    /// S3.4-08: who waits for an answer is told that none came, and the session goes on.
    async fn a_request_that_is_never_answered_fails_in_time_and_alone(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let (client, mut relay) = met(&listener, impatient()).await?;
        let asked = asking(&client, &mut relay).await?;
        let answer = timeout(10 * SHORT, asked).await.expect("in time").unwrap();
        assert!(matches!(answer, Err(SubscribeError::TimedOut)), "{answer:?}");
        let broadcast = Broadcast::new("hostile".parse().unwrap());
        let published = timeout(10 * SHORT, client.publish(&broadcast)).await.expect("in time");
        assert_eq!(published.err(), Some(PublishError::TimedOut));
        assert_eq!(relay.reaction(1).await?, None);
        // An answer that comes after all is no violation.
        relay.send(messages::subscribe_ok(0, 3)).await?;
        assert_eq!(relay.reaction(3).await?, None);
        Ok(())
    }

    /// A relay that lets nobody ask holds up those who ask, but not their program, and not for ever.
    async fn a_relay_that_grants_no_requests_is_not_asked_without_end(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let mut config = trusting();
        config.session.max_queued_requests = 3;
        let (client, mut relay) = connecting(&listener, config, async |mut relay| {
            relay.answer_setup(messages::server_setup_granting(0)).await?;
            Ok(relay)
        })
        .await?;
        let client = client.unwrap();
        let ask = |number: u64| {
            let client = client.clone();
            let name = format!("hostile#{number}").parse().unwrap();
            async move { client.subscribe(name, SubscribeOptions::default()).await.map(|_| ()) }
        };
        let mut waiting = Vec::new();
        for number in 0..3 {
            let mut asked = Box::pin(ask(number));
            assert!(timeout(SHORT / 10, &mut asked).await.is_err(), "there was no credit");
            waiting.push(asked);
        }
        let refused = timeout(SHORT, ask(3)).await.expect("at once");
        assert!(matches!(refused, Err(SubscribeError::Session(CallError::QueueFull))), "{refused:?}");
        relay.expect(types::REQUESTS_BLOCKED).await?;
        // Who gave up makes room.
        waiting.pop();
        let mut asked = Box::pin(ask(4));
        assert!(timeout(SHORT / 10, &mut asked).await.is_err(), "there was no credit");
        drop((waiting, asked));
        client.close(moqtail::model::SessionCode::NO_ERROR, "");
        relay.expect_close(codes::NO_ERROR).await?;
        Ok(())
    }

    /// Each is answered, and none is remembered; more at once than the client allows end the session.
    async fn a_flood_of_requests_is_answered_and_bounded(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let (client, mut relay) = met(&listener, trusting()).await?;
        let request = |id: u64| {
            let name = id.to_string();
            let space = &["hostile", &name][..];
            match id / 2 % 6 {
                0 => messages::subscribe(id, space, "x"),
                1 => messages::publish(id, space, "x", id),
                2 => messages::publish_namespace(id, space),
                3 => messages::fetch(id, space, "x", (0, 0), ((1 << 62) - 1, 0)),
                4 => messages::track_status(id, space, "x"),
                _ => messages::subscribe_namespace(id, space),
            }
        };
        let (mut next, mut answered) = (1, 0);
        while answered < FLOOD {
            let mut batch = Vec::new();
            while next < 2 * FLOOD && next < relay.request_limit() && batch.len() < 16 * 1024 {
                batch.extend(request(next).encode());
                next += 2;
            }
            if !batch.is_empty() {
                relay.send(batch).await?;
            }
            let frame = relay.next_frame("an answer or room for requests").await?;
            answered += u64::from(frame.kind != types::MAX_REQUEST_ID);
        }
        assert_eq!(client.blame(), None);
        let beyond = relay.request_limit() | 1;
        closes(&client, &mut relay, messages::subscribe(beyond, &["x"], "y"), codes::TOO_MANY_REQUESTS).await?;
        Ok(())
    }

    /// S9.4-06, S9.4-09, S9.5-03, S9.12-03: messages about the session and its end that cannot be.
    async fn a_message_out_of_place_ends_the_session(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let code = codes::PROTOCOL_VIOLATION;
        let long = format!("moqt://h:1/{}", "a".repeat(8200));
        for message in [messages::goaway(&long), messages::max_request_id(7)] {
            let (client, mut relay) = met(&listener, trusting()).await?;
            closes(&client, &mut relay, message, code).await?;
        }
        let (client, mut relay) = met(&listener, trusting()).await?;
        relay.send(messages::goaway("")).await?;
        // With nothing open the client leaves at once; a second one may find it gone.
        let _ = relay.send(messages::goaway("")).await;
        relay.closed().await?;
        client.closed().await;

        let (client, mut relay) = met(&listener, trusting()).await?;
        let _asked = asking(&client, &mut relay).await?;
        closes(&client, &mut relay, messages::publish_done(0, 0), code).await?;

        let (client, mut relay) = met(&listener, trusting()).await?;
        relay.send(messages::subscribe(2, &["x"], "y")).await?;
        relay.expect_close(codes::INVALID_REQUEST_ID).await?;
        blamed(&client, codes::INVALID_REQUEST_ID).await.unwrap();
        Ok(())
    }
}
