//! What draft 14 allows a relay: answered, and no reason to end a session.

use std::{collections::BTreeSet, time::Duration};

use moqtail::{
    client::{Broadcast, PublishError, SubscribeError, SubscribeOptions, TrackOptions},
    model::PublishNamespaceErrorCode,
};
use moqtail_conformance::{Carrier, RawListener, Speaker, every_message, messages, types};
use tokio::time::timeout;

use crate::{
    over_both_carriers,
    world::{ALIAS, SHORT, asking, met, trusting},
};

/// Answers to requests that our client does not make, which are legal in no place. What leaves this list gets one.
const NOT_ASKED_FOR: [u64; 8] = [
    types::PUBLISH_OK,
    types::PUBLISH_ERROR,
    types::SUBSCRIBE_NAMESPACE_OK,
    types::SUBSCRIBE_NAMESPACE_ERROR,
    types::FETCH_OK,
    types::FETCH_ERROR,
    types::TRACK_STATUS_OK,
    types::TRACK_STATUS_ERROR,
];

over_both_carriers! {
    /// S4-01: each message of draft 14 that a relay may send, at a place where it may stand, in one session.
    async fn no_legal_message_meets_silence_or_ends_the_session(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let (client, relay) = met(&listener, trusting()).await?;
        let mut relay = Speaker::new(relay, 1);
        relay.tell(messages::max_request_id(messages::GENEROUS + 2)).await?;
        relay.tell(messages::requests_blocked(1 << 20)).await?;

        // What the client asks for.
        let asked = asking(&client, &mut relay.peer).await?;
        relay.say(messages::subscribe_ok(0, ALIAS)).await?;
        let mut subscription = asked.await.unwrap().unwrap();
        relay.say(messages::publish_done(0, 0)).await?;
        assert!(timeout(Duration::from_secs(20), subscription.next()).await.unwrap().is_none());
        let other = client.clone();
        let refused = tokio::spawn(async move {
            let name = "hostile#refused".parse().unwrap();
            other.subscribe(name, SubscribeOptions::default()).await
        });
        relay.peer.expect_among(types::SUBSCRIBE).await?;
        relay.say(messages::refusal("SUBSCRIBE_ERROR", types::SUBSCRIBE_ERROR, 2)).await?;
        assert!(matches!(refused.await.unwrap(), Err(SubscribeError::Rejected { .. })));

        // What it publishes, and others ask for.
        let broadcast = Broadcast::new("own".parse().unwrap());
        let _track = broadcast.track("t", TrackOptions::default()).unwrap();
        let (publication, answered) = tokio::join!(client.publish(&broadcast), async {
            let request = relay.peer.expect_among(types::PUBLISH_NAMESPACE).await?;
            let id = request.first_number().unwrap();
            let ok = "PUBLISH_NAMESPACE_OK";
            relay.say(messages::about(ok, types::PUBLISH_NAMESPACE_OK, id)).await
        });
        answered?;
        let _publication = publication.unwrap();
        let id = relay.id();
        relay.ask(messages::subscribe(id, &["own"], "t"), types::SUBSCRIBE_OK).await?;
        let update = relay.id();
        relay.tell(messages::subscribe_update(update, id, (0, 0), 7)).await?;
        relay.tell(messages::unsubscribe(id)).await?;
        relay.tell(messages::publish_namespace_cancel(&["own"])).await?;
        let second = broadcast.beside("second".parse().unwrap());
        let (publication, answered) = tokio::join!(client.publish(&second), async {
            let request = relay.peer.expect_among(types::PUBLISH_NAMESPACE).await?;
            let id = request.first_number().unwrap();
            let error = "PUBLISH_NAMESPACE_ERROR";
            relay.say(messages::refusal(error, types::PUBLISH_NAMESPACE_ERROR, id)).await
        });
        answered?;
        let code = PublishNamespaceErrorCode::UNINTERESTED;
        assert_eq!(publication.err(), Some(PublishError::Rejected { code, reason: "no".into() }));

        // What it did not ask for is refused, and what crosses the refusal is no error.
        let space = &["hostile"][..];
        let id = relay.id();
        relay.ask(messages::publish(id, space, "t", 9), types::PUBLISH_ERROR).await?;
        relay.tell(messages::publish_done(id, 0)).await?;
        let id = relay.id();
        relay.ask(messages::publish_namespace(id, space), types::PUBLISH_NAMESPACE_ERROR).await?;
        relay.tell(messages::publish_namespace_done(space)).await?;
        let id = relay.id();
        relay.ask(messages::fetch(id, space, "t", (0, 0), (1, 0)), types::FETCH_ERROR).await?;
        relay.tell(messages::fetch_cancel(id)).await?;
        let id = relay.id();
        relay.ask(messages::track_status(id, space, "t"), types::TRACK_STATUS_ERROR).await?;
        let id = relay.id();
        let asked = messages::subscribe_namespace(id, space);
        relay.ask(asked, types::SUBSCRIBE_NAMESPACE_ERROR).await?;
        relay.tell(messages::unsubscribe_namespace(space)).await?;

        assert_eq!(client.blame(), None);
        relay.say(messages::goaway("moqt://elsewhere:1/")).await?;
        let uri = timeout(10 * SHORT, client.goaway()).await.expect("the application is told");
        assert_eq!(uri, "moqt://elsewhere:1/");

        let all: BTreeSet<u64> = every_message(1, 0).iter().map(|message| message.kind).collect();
        let never = NOT_ASKED_FOR.into_iter().chain([types::CLIENT_SETUP]);
        // SERVER_SETUP was said before the session was one.
        let said = relay.said().iter().copied().chain([types::SERVER_SETUP]);
        assert_eq!(said.chain(never).collect::<BTreeSet<u64>>(), all);
        Ok(())
    }
}
