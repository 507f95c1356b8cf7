//! How sessions are drained (draft-14 §3.5, §9.4).

use std::time::Duration;

use moqtail::{
    model::{
        ControlMessage, Filter, Goaway, MaxRequestId, Parameters, PublishDoneCode, RequestError,
        RequestId, SessionCode, SubscribeErrorCode,
    },
    session::{Blame, CallError, Carrier, Event, RequestFailure, Session, SubscriptionUpdate},
};
use moqtail_sim::{
    Pair, Scripted, Side,
    messages::{namespace, publish_options, subscribe, subscribe_answer, subscribe_options},
};

fn goaway(uri: &str) -> ControlMessage {
    ControlMessage::Goaway(Goaway {
        new_session_uri: uri.to_owned(),
    })
}

fn send_goaway(peer: &mut Scripted, uri: &str) -> Result<(), CallError> {
    peer.endpoint
        .call(|s, now| s.goaway(uri, now + Duration::from_secs(1)))
}

/// S9.4-01, S9.4-02, S9.4-05, S9.4-07, S3.5-03: the story from both sides.
#[test]
fn a_client_that_is_asked_to_go_drains_and_closes() {
    let mut pair = Pair::established();
    let ours = pair
        .call(Side::Client, |s, now| {
            s.subscribe(subscribe_options("live#a"), now)
        })
        .unwrap();
    pair.settle();
    let Some(Event::SubscribeRequested(request)) = pair.side(Side::Server).event() else {
        panic!()
    };
    let theirs = request.handle;
    pair.call(Side::Server, |s, now| {
        s.accept_subscribe(theirs, subscribe_answer(1), now)
    })
    .unwrap();
    let uri = "moqt://other.example:1/";
    pair.call(Side::Server, |s, now| {
        s.goaway(uri, now + Duration::from_secs(5))
    })
    .unwrap();
    pair.settle();
    let [
        Event::SubscribeAccepted(_),
        Event::GoawayReceived { uri: told },
    ] = &pair.side(Side::Client).events()[..]
    else {
        panic!()
    };
    assert_eq!(told, uri);

    // Subscriptions go on and can be changed; new requests cannot be made.
    let update = SubscriptionUpdate {
        priority: Some(1),
        ..Default::default()
    };
    pair.call(Side::Client, |s, _| s.update_subscription(ours, update))
        .unwrap();
    let new = [
        pair.call(Side::Client, |s, now| {
            s.subscribe(subscribe_options("live#b"), now)
        }),
        pair.call(Side::Client, |s, now| {
            s.publish(publish_options("live#c", 1), now)
        }),
        pair.call(Side::Client, |s, now| {
            s.publish_namespace(namespace("live"), Parameters::default(), now)
        }),
    ];
    assert_eq!(new, [const { Err(CallError::GoingAway) }; 3]);

    pair.run_for(Duration::from_secs(1));
    pair.call(Side::Client, |s, _| s.unsubscribe(ours)).unwrap();
    assert_eq!(pair.side(Side::Client).events(), [Event::Drained]);
    pair.settle();
    let events = pair.side(Side::Server).events();
    assert!(matches!(
        events[..],
        [
            Event::SubscriptionUpdated(_),
            Event::Unsubscribed { .. },
            Event::Drained
        ]
    ));
    pair.call(Side::Client, |s, _| s.close(SessionCode::NO_ERROR, ""));
    let close = pair.side(Side::Client).closed.clone().unwrap();
    assert_eq!(
        (close.code, close.blame),
        (SessionCode::NO_ERROR, Blame::Application)
    );
}

/// S3.5-01
#[test]
fn a_server_closes_the_ones_that_stay_too_long() {
    let (mut peer, _) = Scripted::serving(Filter::LargestObject);
    send_goaway(&mut peer, "").unwrap();
    assert_eq!(peer.received(), [goaway("")]);
    peer.advance(Duration::from_millis(999));
    assert_eq!(peer.endpoint.closed, None);
    peer.advance(Duration::from_millis(1));
    peer.assert_closed(SessionCode::GOAWAY_TIMEOUT);
}

/// S3.5-01: nothing is open, so nobody is to blame.
#[test]
fn an_idle_session_that_stays_after_goaway_is_closed_without_error() {
    let mut peer = Scripted::server(Scripted::server_config());
    send_goaway(&mut peer, "").unwrap();
    assert_eq!(peer.event(), Event::Drained);
    peer.advance(Duration::from_secs(1));
    peer.assert_closed(SessionCode::NO_ERROR);
}

/// S9.12-16
#[test]
fn a_publisher_may_end_its_subscriptions_when_going_away() {
    let (mut peer, handle) = Scripted::serving(Filter::LargestObject);
    send_goaway(&mut peer, "").unwrap();
    let status = PublishDoneCode::GOING_AWAY;
    peer.endpoint
        .call(|s, _| s.finish_publish(handle, status, ""))
        .unwrap();
    let [ControlMessage::Goaway(_), ControlMessage::PublishDone(done)] = &peer.received()[..]
    else {
        panic!()
    };
    assert_eq!(done.status, status);
    assert_eq!(peer.event(), Event::Drained);
}

/// S9.4-06
#[test]
fn a_second_goaway_closes() {
    let mut peer = Scripted::client(Scripted::client_config());
    peer.send(&goaway(""));
    assert_eq!(peer.endpoint.closed, None);
    peer.send(&goaway(""));
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
}

/// S9.4-10
#[test]
fn a_client_must_not_tell_a_server_where_to_go() {
    let mut peer = Scripted::server(Scripted::server_config());
    peer.send(&goaway("moqt://elsewhere.example:1/"));
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
    let mut peer = Scripted::server(Scripted::server_config());
    peer.send(&goaway(""));
    let uri = String::new();
    assert_eq!(
        peer.endpoint.events(),
        [Event::GoawayReceived { uri }, Event::Drained]
    );

    let mut peer = Scripted::client(Scripted::client_config());
    assert_eq!(
        send_goaway(&mut peer, "moqt://x.example:1/"),
        Err(CallError::GoawayUri)
    );
    assert_eq!(send_goaway(&mut peer, ""), Ok(()));
    assert_eq!(send_goaway(&mut peer, ""), Err(CallError::GoawaySent));
}

/// S9.4-09
#[test]
fn a_long_uri_is_refused_on_both_sides() {
    let uri = format!("moqt://x.example:1/{}", "a".repeat(8192));
    let mut peer = Scripted::server(Scripted::server_config());
    assert!(matches!(
        send_goaway(&mut peer, &uri),
        Err(CallError::Encode(_))
    ));
    // It was not sent, so it can still be.
    assert_eq!(send_goaway(&mut peer, &uri[..8192]), Ok(()));
}

/// S9.4-08
#[test]
fn the_new_uri_has_the_scheme_of_the_session() {
    let established = |carrier| {
        let mut config = Scripted::server_config();
        config.carrier = carrier;
        Scripted::server(config)
    };
    for (carrier, scheme, other) in [
        (Carrier::Raw, "moqt", "https"),
        (Carrier::WebTransport, "https", "moqt"),
    ] {
        for uri in [
            &format!("{other}://b.example:1/"),
            "b.example:1",
            ":",
            scheme,
        ] {
            let refused = send_goaway(&mut established(carrier), uri);
            assert_eq!(refused, Err(CallError::GoawayScheme { scheme }), "{uri}");
        }
        for uri in ["", &format!("{scheme}://b.example:1/")] {
            assert_eq!(send_goaway(&mut established(carrier), uri), Ok(()), "{uri}");
        }
        let upper = format!("{}://b.example:1/", scheme.to_uppercase());
        assert_eq!(send_goaway(&mut established(carrier), &upper), Ok(()));
    }
}

/// S9.4-05: requests that waited for credit are not sent any more.
#[test]
fn queued_requests_fail_when_the_peer_is_going_away() {
    let mut peer = Scripted::client_with_limit(Scripted::client_config(), 0);
    let call = |peer: &mut Scripted, call: &dyn Fn(&mut Session, std::time::Instant) -> _| {
        let handle: Result<_, CallError> = peer.endpoint.call(call);
        handle.unwrap()
    };
    let subscribed = call(&mut peer, &|s, now| {
        s.subscribe(subscribe_options("live#a"), now)
    });
    let published = call(&mut peer, &|s, now| {
        s.publish(publish_options("live#b", 1), now)
    });
    let announced = call(&mut peer, &|s, now| {
        s.publish_namespace(namespace("live"), Parameters::default(), now)
    });
    peer.received();
    peer.send(&goaway(""));
    let events = peer.endpoint.events();
    let expected = [
        Event::GoawayReceived { uri: String::new() },
        Event::SubscribeRejected {
            handle: subscribed,
            failure: RequestFailure::GoingAway,
        },
        Event::PublishRejected {
            handle: published,
            failure: RequestFailure::GoingAway,
        },
        Event::NamespaceRejected {
            handle: announced,
            failure: RequestFailure::GoingAway,
        },
        Event::Drained,
    ];
    assert_eq!(events, expected);
    peer.send(&ControlMessage::MaxRequestId(MaxRequestId { limit: 100 }));
    peer.assert_quiet();
}

/// S9.4-02: an answer may come after GOAWAY.
#[test]
fn answers_cross_goaway() {
    let (mut peer, handle) = Scripted::requested(Filter::LargestObject);
    peer.send(&goaway(""));
    peer.endpoint
        .call(|s, now| s.accept_subscribe(handle, subscribe_answer(1), now))
        .unwrap();
    assert!(matches!(
        peer.received_one(),
        ControlMessage::SubscribeOk(_)
    ));
    peer.send(&ControlMessage::Unsubscribe(RequestId(0)));
    let [
        Event::GoawayReceived { .. },
        Event::Unsubscribed { .. },
        Event::Drained,
    ] = &peer.endpoint.events()[..]
    else {
        panic!()
    };
}

/// S9.4-04: GOAWAY refuses nothing by itself; who sent it is asked as before.
#[test]
fn a_request_after_an_own_goaway_is_told_and_answered() {
    let (mut peer, _) = Scripted::serving(Filter::LargestObject);
    send_goaway(&mut peer, "").unwrap();
    assert_eq!(peer.received_one(), goaway(""));
    peer.send(&ControlMessage::Subscribe(subscribe(2, "live#b")));
    let Event::SubscribeRequested(request) = peer.event() else {
        panic!()
    };
    let code = SubscribeErrorCode::INTERNAL_ERROR;
    peer.endpoint
        .call(|s, _| s.reject_subscribe(request.handle, code, "going away"))
        .unwrap();
    assert_eq!(
        peer.received_one(),
        ControlMessage::SubscribeError(RequestError {
            request_id: RequestId(2),
            code,
            reason: "going away".into(),
        })
    );
}
