//! Which relay a link goes to, whom it trusts there, and what it says when that fails.

use std::{collections::BTreeSet, net::UdpSocket};

use moqtail::{
    relay::{Relay, RelayConfig},
    transport::{MemoryConnection, TransportLimits},
};
use tokio::{net::TcpListener, sync::watch};

use super::*;
use crate::{
    http::{self, HttpLimits, Shown},
    values::Fingerprint,
};

fn link(url: &str, wait: bool) -> Link {
    Link::new(url, ClientOptions::default(), wait).unwrap()
}

#[test]
fn a_url_that_is_none_is_a_usage_error() {
    let error = Link::new("localhost:4443", ClientOptions::default(), true).unwrap_err();
    assert_eq!(error.exit_code(), crate::errors::USAGE);
    assert!(error.to_string().contains("moqt://HOST:PORT"), "{error}");
}

#[tokio::test]
async fn without_a_relay_an_attempt_names_the_next_step() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    let error = link(&format!("moqt://127.0.0.1:{port}"), false)
        .connect()
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "No relay answers at 127.0.0.1:{port} over UDP. \
             Start one with `moqtail relay`, or check host and port."
        )
    );
}

/// Whom a client trusts is asked from the relay that it goes to, not from the one that sent it there.
#[tokio::test]
async fn the_relay_that_was_moved_to_is_the_one_to_be_trusted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = Fingerprint([0xB7; 32]);
    let shown = watch::Sender::new(Shown {
        fingerprint: served,
        tls: None,
    });
    let http = http::serve(listener, shown.subscribe(), HttpLimits::default());
    let asking = async {
        let link = link("moqt://relay.invalid:1", true);
        let asked = link.trusted(&link.target()).await.unwrap();
        assert!(matches!(asked.trust, Trust::System));
        link.move_to(&format!("moqt://127.0.0.1:{port}"));
        let trusted = link.trusted(&link.target()).await.unwrap();
        assert!(matches!(trusted.trust, Trust::Fingerprints(all) if all == [served.0]));
        assert_eq!(link.authority(), format!("127.0.0.1:{port}"));
        link.move_to("moqt://elsewhere.invalid:2");
        let trusted = link.trusted(&link.target()).await.unwrap();
        assert!(matches!(trusted.trust, Trust::System));
        assert!(!trusted.fetched && trusted.fetch_error.is_none());
    };
    tokio::select! {
        () = asking => {}
        never = http => match never {},
    }
}

#[test]
fn two_relays_are_tried_in_turn_until_one_of_them_is_there() {
    let link = link("moqt://first:1", true);
    let at = |authority: &str| assert_eq!(link.authority(), authority);
    link.take_turns();
    at("first:1");
    link.move_to("moqt://second:2");
    at("second:2");
    link.move_to("");
    link.move_to("nonsense");
    at("second:2");
    link.take_turns();
    at("first:1");
    link.take_turns();
    at("second:2");
    link.move_to("moqt://first:1");
    at("first:1");
    link.take_turns();
    at("first:1");
}

#[test]
fn only_a_relay_that_another_one_named_is_given_up() {
    let link = link("moqt://first:1", true);
    assert!(!link.turn_back());
    link.move_to("moqt://second:2");
    link.take_turns();
    assert!(!link.turn_back());
    link.take_turns();
    assert_eq!(link.authority(), "second:2");
    assert!(link.turn_back());
    assert_eq!(link.authority(), "first:1");
    assert!(!link.turn_back());
}

#[test]
fn a_session_that_was_refused_is_not_tried_again() {
    let link = link("moqt://127.0.0.1:1", true);
    let refused = |code: SessionCode| CloseReason::Peer {
        code: u32::try_from(code.0).unwrap(),
        reason: "no".to_owned(),
    };
    assert!(!link.may_reconnect(&refused(SessionCode::UNAUTHORIZED)));
    assert!(link.may_reconnect(&refused(SessionCode::NO_ERROR)));
    assert!(link.may_reconnect(&CloseReason::Lost("timeout".to_owned())));
    let error = link.session_ended(&refused(SessionCode::VERSION_NEGOTIATION_FAILED), None);
    assert_eq!(
        error.to_string(),
        "The relay at 127.0.0.1:1 ended the session: VERSION_NEGOTIATION_FAILED (0x15), no. \
         Use a relay that speaks MOQT draft 14."
    );
}

#[test]
fn what_a_web_server_cannot_do_now_is_waited_for() {
    let link = link("https://relay:1", true);
    let rejected = |status| {
        let error = transport::ConnectError::Rejected { status };
        link.transport_failure(error, &Trust::System.into()).kind
    };
    for status in [429, 500, 503, 599] {
        assert!(rejected(status) == FailureKind::Waitable, "{status}");
    }
    for status in [200, 401, 404, 600] {
        assert!(rejected(status) == FailureKind::Final, "{status}");
    }
}

/// Thousands of them would have their handshakes at once.
#[tokio::test(start_paused = true)]
async fn those_who_are_asked_to_leave_leave_at_times_of_their_own() {
    let mut times = BTreeSet::new();
    for _ in 0..30 {
        let relay = Relay::new(RelayConfig::default());
        let (here, there) = MemoryConnection::pair(TransportLimits::default());
        let leaving = async {
            let client = Client::over(here, ClientConfig::default()).await.unwrap();
            let begin = Instant::now();
            let left = async {
                let line = link("moqt://relay:1", true).left(&client).await.unwrap();
                assert!(line.ends_with("is going away."), "{line}");
                assert!(begin.elapsed() <= SPREAD, "{:?}", begin.elapsed());
                times.insert(begin.elapsed().as_millis());
            };
            tokio::join!(relay.shutdown(Duration::from_secs(10)), left);
        };
        tokio::join!(relay.attach(there), leaving);
    }
    // A third of them find the session over already when the relay ends what is idle.
    assert!(times.len() > 8, "{times:?}");
}
