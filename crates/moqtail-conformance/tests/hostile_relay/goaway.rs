//! How a client leaves a relay that asks it to.

use std::time::Duration;

use moqtail::{
    client::{Client, SubscriptionEnd},
    transport::CloseReason,
};
use moqtail_conformance::{Carrier, Failure, PATIENCE, RawPeer, messages, types};
use tokio::time::timeout;

use crate::{
    over_both_carriers,
    world::{trusting, watching},
};

async fn leaves(client: &Client, relay: &mut RawPeer) -> Result<(), Failure> {
    let unsubscribe = relay.expect(types::UNSUBSCRIBE).await?;
    assert_eq!(unsubscribe.first_number(), Some(0));
    relay.expect_close(0).await?;
    let reason = timeout(PATIENCE, client.closed()).await.unwrap();
    assert!(
        matches!(reason, CloseReason::Local { code: 0, .. }),
        "{reason:?}"
    );
    Ok(())
}

over_both_carriers! {
    /// S9.4-03, S3.5-03: the application leaves when it likes, and the session after it; the close does not overtake what
    /// was said.
    async fn a_subscription_that_is_dropped_after_goaway_is_unsubscribed_before_the_close(carrier: Carrier) {
        let (client, mut relay, objects) = watching(carrier, trusting()).await?;
        relay.send(messages::goaway("")).await?;
        assert_eq!(timeout(PATIENCE, client.goaway()).await.unwrap(), "");
        assert_eq!(objects.subscription().end(), None);
        drop(objects);
        leaves(&client, &mut relay).await
    }

    /// S9.4-03
    async fn a_client_that_shuts_down_after_goaway_unsubscribes(carrier: Carrier) {
        let (client, mut relay, mut objects) = watching(carrier, trusting()).await?;
        relay.send(messages::goaway("")).await?;
        timeout(PATIENCE, client.goaway()).await.unwrap();
        let grace = Duration::from_secs(5);
        let (_, left) = tokio::join!(client.shutdown(grace), leaves(&client, &mut relay));
        assert!(timeout(PATIENCE, objects.next()).await.unwrap().is_none());
        assert_eq!(objects.subscription().end(), Some(SubscriptionEnd::SessionEnded));
        left
    }

    /// What a relay without GOAWAY sees of a client that ends well.
    async fn a_client_that_shuts_down_unsubscribes(carrier: Carrier) {
        let (client, mut relay, _objects) = watching(carrier, trusting()).await?;
        let grace = Duration::from_secs(5);
        let (_, left) = tokio::join!(client.shutdown(grace), leaves(&client, &mut relay));
        left
    }
}
