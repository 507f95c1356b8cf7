//! A client of ours, and the relay of bad will that it meets.

use std::time::Duration;

use moqtail::{
    client::{
        Client, ClientConfig, ConnectError, Objects, SubscribeError, SubscribeOptions, Subscription,
    },
    session::Blame,
    transport::{CloseReason, Trust},
};
use moqtail_conformance::{
    Carrier, Failure, Message, PATIENCE, RawListener, RawPeer, messages, types,
};
use tokio::time::timeout;

/// How long a client without patience waits for anything.
pub(crate) const SHORT: Duration = Duration::from_millis(700);

/// The track that the client asks for.
pub(crate) const TRACK: &str = "hostile#t";

/// Track Alias that the relay gives it.
pub(crate) const ALIAS: u64 = 5;

/// A client that trusts anybody.
pub(crate) fn trusting() -> ClientConfig {
    ClientConfig::default().trust(Trust::Insecure)
}

/// One that waits no longer than it must.
pub(crate) fn impatient() -> ClientConfig {
    let mut config = trusting();
    config.session.setup_timeout = SHORT;
    config.session.answer_timeout = SHORT;
    config.session.header_timeout = SHORT;
    config.session.park_timeout = SHORT / 4;
    config.session.done_linger = SHORT;
    config.session.done_drain = SHORT;
    config
}

/// Lets a client connect to a relay that does this.
pub(crate) async fn connecting<F: Future<Output = Result<RawPeer, Failure>>>(
    listener: &RawListener,
    config: ClientConfig,
    relay: impl FnOnce(RawPeer) -> F,
) -> Result<(Result<Client, ConnectError>, RawPeer), Failure> {
    let url = listener.url().parse().unwrap();
    let client = timeout(PATIENCE, Client::connect(&url, config));
    let relaying = async { relay(listener.accept().await?).await };
    let (client, relay) = tokio::join!(client, relaying);
    let client = client.map_err(|_| Failure::Silence {
        waited: PATIENCE,
        what: "the client to connect or to give up".to_owned(),
    })?;
    Ok((client, relay?))
}

/// A client with a session at a relay that answered its SETUP and has said nothing else.
pub(crate) async fn met(
    listener: &RawListener,
    config: ClientConfig,
) -> Result<(Client, RawPeer), Failure> {
    let (client, relay) = connecting(listener, config, async |mut relay| {
        let answer = messages::server_setup_granting(messages::GENEROUS);
        relay.answer_setup(answer).await?;
        Ok(relay)
    })
    .await?;
    Ok((client.unwrap(), relay))
}

/// A client that has asked for the track with Request ID 0 and waits for the answer.
pub(crate) async fn asking(
    client: &Client,
    relay: &mut RawPeer,
) -> Result<tokio::task::JoinHandle<Result<Subscription, SubscribeError>>, Failure> {
    let client = client.clone();
    let asked = tokio::spawn(async move {
        let options = SubscribeOptions::default();
        client.subscribe(TRACK.parse().unwrap(), options).await
    });
    let request = relay.expect(types::SUBSCRIBE).await?;
    assert_eq!(request.first_number(), Some(0));
    Ok(asked)
}

/// A client that is subscribed to the track.
pub(crate) async fn subscribed(
    carrier: Carrier,
    config: ClientConfig,
) -> Result<(Client, RawPeer, Subscription), Failure> {
    let listener = RawListener::bind(carrier)?;
    let (client, mut relay) = met(&listener, config).await?;
    let asked = asking(&client, &mut relay).await?;
    relay.send(messages::subscribe_ok(0, ALIAS)).await?;
    let subscription = timeout(PATIENCE, asked).await.unwrap().unwrap().unwrap();
    Ok((client, relay, subscription))
}

/// One that reads the objects of the track.
pub(crate) async fn watching(
    carrier: Carrier,
    config: ClientConfig,
) -> Result<(Client, RawPeer, Objects), Failure> {
    let (client, relay, subscription) = subscribed(carrier, config).await?;
    Ok((client, relay, subscription.into_objects()))
}

/// Insists that the client closes its session with this code, and that it blames the relay.
pub(crate) async fn blamed(client: &Client, code: u64) -> Result<(), String> {
    let reason = timeout(PATIENCE, client.closed())
        .await
        .map_err(|_| "the session goes on".to_owned())?;
    match (&reason, client.blame()) {
        (CloseReason::Local { code: got, .. }, Some(Blame::Peer)) if u64::from(*got) == code => {
            Ok(())
        }
        (_, blame) => Err(format!(
            "{reason}, blame: {blame:?}, expected code {code:#x}"
        )),
    }
}

/// Insists that there is no session, for this fault of the relay.
pub(crate) fn refused(client: Result<Client, ConnectError>, code: u64, what: &str) {
    match client {
        Err(ConnectError::Violation { code: got, .. }) if got.0 == code => {}
        other => panic!("{what}: {other:?}, expected code {code:#x}"),
    }
}

/// Sends a message and insists that the client closes for it, and says so.
pub(crate) async fn closes(
    client: &Client,
    relay: &mut RawPeer,
    message: Message,
    code: u64,
) -> Result<(), Failure> {
    let what = message.name;
    relay.send(message).await?;
    relay.expect_close(code).await?;
    if let Err(wrong) = blamed(client, code).await {
        panic!("{what}: {wrong}");
    }
    Ok(())
}
