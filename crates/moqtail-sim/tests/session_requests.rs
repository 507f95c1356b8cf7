//! Request IDs and their credit, tokens, and requests that are not served (draft-14 §4, §9.1, §9.2, §9.5, §9.6).

use bytes::Bytes;
use moqtail::{
    model::{
        AuthToken, ControlMessage, Fetch, FetchErrorCode, FetchKind, FetchOk, GroupOrder,
        KeyValuePair, Location, MaxRequestId, Parameter, Parameters, PublishErrorCode,
        PublishNamespaceErrorCode, RequestId, RequestsBlocked, SessionCode, SubscribeErrorCode,
        SubscribeNamespace, SubscribeNamespaceErrorCode, SubscribeUpdate,
    },
    session::{CallError, Event, SessionConfig, SessionLimits},
};
use moqtail_sim::{
    Frame, Scripted,
    messages::{
        namespace, publish, publish_done, publish_namespace, publish_ok, refusal, subscribe,
        subscribe_ok, subscribe_options, subscribe_update, track,
    },
};

fn limited(config: SessionConfig, max_peer_requests: u32) -> SessionConfig {
    let limits = SessionLimits {
        max_peer_requests,
        ..SessionLimits::default()
    };
    SessionConfig { limits, ..config }
}

fn server() -> Scripted {
    Scripted::server(Scripted::server_config())
}

fn client() -> Scripted {
    Scripted::client(Scripted::client_config())
}

fn fetch(id: u64) -> ControlMessage {
    ControlMessage::Fetch(Fetch {
        request_id: RequestId(id),
        subscriber_priority: 128,
        group_order: None,
        kind: FetchKind::Standalone {
            track: track("live#a"),
            start: Location::new(0, 0),
            end: Location::new(1, 0),
        },
        parameters: Parameters::default(),
    })
}

fn subscribe_namespace(id: u64) -> ControlMessage {
    ControlMessage::SubscribeNamespace(SubscribeNamespace {
        request_id: RequestId(id),
        prefix: namespace("live").into(),
        parameters: Parameters::default(),
    })
}

/// One of each request, in this order from `first` on.
fn all_requests(first: u64) -> Vec<ControlMessage> {
    let id = |n: u64| first + 2 * n;
    vec![
        ControlMessage::Subscribe(subscribe(id(0), "live#a")),
        ControlMessage::SubscribeUpdate(subscribe_update(id(1), id(0))),
        ControlMessage::Publish(publish(id(2), "live#b", 1)),
        publish_namespace(id(3), "live"),
        fetch(id(4)),
        ControlMessage::TrackStatus(subscribe(id(5), "live#c")),
        subscribe_namespace(id(6)),
    ]
}

/// S9.1-01, S9.1-02: both sides count on their own, over all seven requests.
#[test]
fn request_ids_of_the_peer_rise_by_two_over_all_kinds() {
    let mut peer = server();
    all_requests(0)
        .iter()
        .for_each(|request| peer.send(request));
    assert_eq!(peer.endpoint.closed, None);
    let mut peer = client();
    all_requests(1)
        .iter()
        .for_each(|request| peer.send(request));
    assert_eq!(peer.endpoint.closed, None);
}

/// S9.1-01, S9.1-02
#[test]
fn own_request_ids_start_with_the_parity_of_the_side() {
    for (mut peer, first) in [(client(), 0), (server(), 1)] {
        for (n, name) in ["live#a", "live#b", "live#c"].into_iter().enumerate() {
            peer.endpoint
                .call(|s, now| s.subscribe(subscribe_options(name), now))
                .unwrap();
            let ControlMessage::Subscribe(sent) = peer.received_one() else {
                panic!()
            };
            assert_eq!(sent.request_id, RequestId(first + 2 * n as u64));
        }
    }
}

/// S9.1-03, S9.1-04
#[test]
fn a_request_id_out_of_order_closes() {
    // Wrong parity, gap.
    for first in [1, 2] {
        for request in all_requests(first) {
            let mut peer = server();
            peer.send(&request);
            peer.assert_closed(SessionCode::INVALID_REQUEST_ID);
        }
    }
    // Repeated, lower.
    for again in [2, 0] {
        let mut peer = server();
        peer.send(&publish_namespace(0, "a"));
        peer.send(&publish_namespace(2, "b"));
        peer.send(&publish_namespace(again, "c"));
        peer.assert_closed(SessionCode::INVALID_REQUEST_ID);
    }
}

/// S9.1-05, S9.1-06 [A06]
#[test]
fn a_message_about_a_request_that_was_never_made_closes() {
    let id = RequestId;
    // The session under test is a client that has made no request: 0 was not issued, 1 is of the wrong side.
    for n in [0, 1] {
        for message in [
            ControlMessage::SubscribeOk(subscribe_ok(n, 1)),
            ControlMessage::SubscribeError(refusal(n, SubscribeErrorCode::TIMEOUT)),
            ControlMessage::PublishOk(publish_ok(n)),
            ControlMessage::PublishError(refusal(n, PublishErrorCode::TIMEOUT)),
            ControlMessage::FetchError(refusal(n, FetchErrorCode::TIMEOUT)),
            ControlMessage::FetchOk(FetchOk {
                request_id: id(n),
                group_order: GroupOrder::Ascending,
                end_of_track: false,
                end: Location::new(1, 0),
                parameters: Parameters::default(),
            }),
            ControlMessage::TrackStatusOk(subscribe_ok(n, 0)),
            ControlMessage::TrackStatusError(refusal(n, SubscribeErrorCode::TIMEOUT)),
            ControlMessage::PublishNamespaceOk(id(n)),
            ControlMessage::PublishNamespaceError(refusal(n, PublishNamespaceErrorCode::TIMEOUT)),
            ControlMessage::SubscribeNamespaceOk(id(n)),
            ControlMessage::SubscribeNamespaceError(refusal(
                n,
                SubscribeNamespaceErrorCode::TIMEOUT,
            )),
            ControlMessage::FetchCancel(id(n)),
            ControlMessage::Unsubscribe(id(n)),
            publish_done(n, 0),
        ] {
            let mut peer = client();
            peer.send(&message);
            assert_eq!(
                peer.closed().code,
                SessionCode::INVALID_REQUEST_ID,
                "{message:?}"
            );
        }
    }
}

/// S5.1-04, S5.1-06, S6.2-05
#[test]
fn an_answer_of_another_kind_closes() {
    let mut peer = client();
    peer.endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#a"), now))
        .unwrap();
    peer.send(&ControlMessage::PublishNamespaceOk(RequestId(0)));
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
}

/// S9.3.2.3-01, S9.5-04 [A03][A04]: the limit is exclusive, counts for all requests, and is checked before the order.
#[test]
fn a_request_at_the_limit_closes() {
    for request in all_requests(4) {
        let mut peer = Scripted::server(limited(Scripted::server_config(), 2));
        peer.send(&request);
        peer.assert_closed(SessionCode::TOO_MANY_REQUESTS);
    }
    let mut peer = Scripted::client(limited(Scripted::client_config(), 2));
    peer.send(&publish_namespace(1, "a"));
    peer.send(&publish_namespace(3, "b"));
    assert_eq!(peer.endpoint.closed, None);
    peer.send(&publish_namespace(5, "c"));
    peer.assert_closed(SessionCode::TOO_MANY_REQUESTS);
}

/// S9.5-01, S9.5-02, S9.5-06: `max_peer_requests` requests can always be in progress.
#[test]
fn finished_requests_give_their_credit_back() {
    let mut peer = Scripted::server(limited(Scripted::server_config(), 4));
    let mut limit = 8;
    for n in 0..100 {
        assert!(2 * n < limit, "blocked at request {n}");
        peer.send(&fetch(2 * n));
        for message in peer.received() {
            if let ControlMessage::MaxRequestId(granted) = message {
                assert!(granted.limit > limit);
                limit = granted.limit;
            }
        }
    }
    assert_eq!(limit, 2 * (100 + 4));
}

/// S9.5-06
#[test]
fn unfinished_requests_keep_their_credit() {
    let mut peer = Scripted::server(limited(Scripted::server_config(), 2));
    peer.send(&publish_namespace(0, "a"));
    let Event::NamespacePublished { handle, .. } = peer.event() else {
        panic!()
    };
    peer.endpoint
        .call(|s, _| s.accept_namespace(handle))
        .unwrap();
    peer.send(&publish_namespace(2, "b"));
    assert_eq!(
        peer.received(),
        [ControlMessage::PublishNamespaceOk(RequestId(0))]
    );
    peer.endpoint.events();
    // As soon as one ends, exactly one more is allowed.
    peer.send(&ControlMessage::PublishNamespaceDone(namespace("a")));
    assert_eq!(
        peer.received_one(),
        ControlMessage::MaxRequestId(MaxRequestId { limit: 6 })
    );
}

/// S9.5-06: a peer with many requests in progress gets its last credit back in small steps.
#[test]
fn a_peer_that_is_almost_out_of_credit_is_not_kept_waiting() {
    let mut peer = Scripted::server(limited(Scripted::server_config(), 16));
    let mut limit = 32;
    for n in 0..40 {
        assert!(2 * n < limit, "blocked at request {n}");
        match n {
            0..15 => peer.send(&publish_namespace(2 * n, &format!("n{n}"))),
            _ => peer.send(&fetch(2 * n)),
        }
        for message in peer.received() {
            if let ControlMessage::MaxRequestId(granted) = message {
                limit = granted.limit;
            }
        }
    }
    assert_eq!(peer.endpoint.session.load().peer_requests, 15);
}

/// S9.6-03
#[test]
fn credit_does_not_depend_on_requests_blocked() {
    let mut peer = Scripted::server(limited(Scripted::server_config(), 1));
    peer.send(&ControlMessage::RequestsBlocked(RequestsBlocked {
        limit: 2,
    }));
    peer.assert_quiet();
    peer.send(&fetch(0));
    assert!(
        peer.received()
            .contains(&ControlMessage::MaxRequestId(MaxRequestId { limit: 4 }))
    );
}

/// S9.3.2.3-02, S9.5-05, S9.6-01, S9.6-02 [A05]
#[test]
fn own_requests_wait_for_credit_and_say_once_that_they_do() {
    let mut peer = Scripted::client_with_limit(Scripted::client_config(), 0);
    let handles = ["live#a", "live#b", "live#c"].map(|name| {
        peer.endpoint
            .call(|s, now| s.subscribe(subscribe_options(name), now))
            .unwrap()
    });
    let blocked = |limit| ControlMessage::RequestsBlocked(RequestsBlocked { limit });
    assert_eq!(peer.received(), [blocked(0)]);
    assert!(!peer.endpoint.session.is_sent(handles[0]));

    // One ID below 1, the next below 3.
    peer.send(&ControlMessage::MaxRequestId(MaxRequestId { limit: 1 }));
    let [ControlMessage::Subscribe(first), again] = &peer.received()[..] else {
        panic!()
    };
    assert_eq!(
        (first.request_id, &first.track),
        (RequestId(0), &track("live#a"))
    );
    assert_eq!(*again, blocked(1));
    assert!(peer.endpoint.session.is_sent(handles[0]));

    // What is left before it was sent is not sent.
    peer.endpoint
        .call(|s, _| s.unsubscribe(handles[1]))
        .unwrap();
    assert_eq!(peer.received(), []);
    peer.send(&ControlMessage::MaxRequestId(MaxRequestId { limit: 100 }));
    let ControlMessage::Subscribe(second) = peer.received_one() else {
        panic!()
    };
    assert_eq!(
        (second.request_id, second.track),
        (RequestId(2), track("live#c"))
    );
}

/// S9.5-03
#[test]
fn the_limit_of_the_peer_must_rise() {
    for limit in [100, 99, 0] {
        let mut peer = Scripted::client_with_limit(Scripted::client_config(), 100);
        peer.send(&ControlMessage::MaxRequestId(MaxRequestId { limit }));
        peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
    }
}

/// Limit `max_queued_requests`.
#[test]
fn the_queue_of_own_requests_is_bounded() {
    let limits = SessionLimits {
        max_queued_requests: 1,
        ..SessionLimits::default()
    };
    let config = SessionConfig {
        limits,
        ..Scripted::client_config()
    };
    let mut peer = Scripted::client_with_limit(config, 0);
    peer.endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#a"), now))
        .unwrap();
    let full = peer
        .endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#b"), now));
    assert_eq!(full, Err(CallError::QueueFull));
    // Nothing of the failed call is left.
    peer.send(&ControlMessage::MaxRequestId(MaxRequestId { limit: 100 }));
    peer.endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#b"), now))
        .unwrap();
}

/// S5.1-02, S4-02 and the silence test of the field: every request that is not served gets its error message.
#[test]
fn requests_that_are_not_served_are_answered_not_supported() {
    let mut peer = server();
    peer.send(&fetch(0));
    peer.send(&ControlMessage::TrackStatus(subscribe(2, "live#a")));
    peer.send(&subscribe_namespace(4));
    let answers = peer.received();
    let [
        ControlMessage::FetchError(fetch),
        ControlMessage::TrackStatusError(status),
        ControlMessage::SubscribeNamespaceError(prefix),
    ] = &answers[..]
    else {
        panic!("{answers:?}")
    };
    assert_eq!(
        (fetch.request_id, fetch.code),
        (RequestId(0), FetchErrorCode::NOT_SUPPORTED)
    );
    assert_eq!(
        (status.request_id, status.code),
        (RequestId(2), SubscribeErrorCode::NOT_SUPPORTED)
    );
    let not_supported = SubscribeNamespaceErrorCode::NOT_SUPPORTED;
    assert_eq!(
        (prefix.request_id, prefix.code),
        (RequestId(4), not_supported)
    );

    // What follows up on them crossed the refusal (S9.19-03, S9.20-03).
    peer.send(&ControlMessage::FetchCancel(RequestId(0)));
    peer.send(&ControlMessage::UnsubscribeNamespace(
        namespace("live").into(),
    ));
    peer.send(&ControlMessage::Unsubscribe(RequestId(2)));
    peer.send(&ControlMessage::SubscribeUpdate(subscribe_update(6, 2)));
    peer.assert_quiet();
}

fn with_token(token: AuthToken) -> Vec<ControlMessage> {
    let parameters = Parameters(vec![Parameter::AuthorizationToken(token)]);
    let mut requests = all_requests(0);
    for request in &mut requests {
        let slot = match request {
            ControlMessage::Subscribe(m) | ControlMessage::TrackStatus(m) => &mut m.parameters,
            ControlMessage::SubscribeUpdate(SubscribeUpdate { parameters, .. }) => parameters,
            ControlMessage::Publish(m) => &mut m.parameters,
            ControlMessage::PublishNamespace(m) => &mut m.parameters,
            ControlMessage::Fetch(m) => &mut m.parameters,
            ControlMessage::SubscribeNamespace(m) => &mut m.parameters,
            other => panic!("{other:?}"),
        };
        *slot = parameters.clone();
    }
    requests
}

/// Sends all requests up to the one that closes; only the `n`th has a token.
fn closed_by(n: usize, token: &AuthToken) -> SessionCode {
    let mut peer = server();
    let tokens = with_token(token.clone());
    all_requests(0)[..n]
        .iter()
        .for_each(|request| peer.send(request));
    assert_eq!(peer.endpoint.closed, None);
    peer.send(&tokens[n]);
    peer.closed().code
}

/// S9.2.1.1-13, S9.2.1.1-22, S9.3.2.4-01, S9.3.2.4-02 [A08]: nothing can be registered here.
#[test]
fn token_aliases_in_requests_close() {
    let register = AuthToken::Register {
        alias: 1,
        token_type: 0,
        value: Bytes::new(),
    };
    for n in 0..all_requests(0).len() {
        assert_eq!(
            closed_by(n, &register),
            SessionCode::AUTH_TOKEN_CACHE_OVERFLOW
        );
        for token in [
            AuthToken::UseAlias { alias: 1 },
            AuthToken::Delete { alias: 1 },
        ] {
            assert_eq!(closed_by(n, &token), SessionCode::UNKNOWN_AUTH_TOKEN_ALIAS);
        }
    }
}

/// S9.2.1.1-02, S9.2.1.1-03, S9.2.1.1-08
#[test]
fn tokens_by_value_reach_the_application() {
    let mut peer = server();
    let token = AuthToken::UseValue {
        token_type: 1,
        value: Bytes::from_static(b"cat"),
    };
    with_token(token.clone())
        .iter()
        .for_each(|request| peer.send(request));
    assert_eq!(peer.endpoint.closed, None);
    let mut told = 0;
    for event in peer.endpoint.events() {
        let parameters = match event {
            Event::SubscribeRequested(request) => request.parameters,
            Event::PublishRequested(request) => request.parameters,
            Event::NamespacePublished { parameters, .. } => parameters,
            other => panic!("{other:?}"),
        };
        assert_eq!(parameters.tokens().collect::<Vec<_>>(), [&token]);
        told += 1;
    }
    assert_eq!(told, 3);
}

#[test]
fn own_requests_carry_no_token_alias() {
    let mut peer = client();
    let token = Parameter::AuthorizationToken(AuthToken::UseAlias { alias: 1 });
    let mut options = subscribe_options("live#a");
    options.parameters = Parameters(vec![token]);
    let refused = peer.endpoint.call(|s, now| s.subscribe(options, now));
    assert_eq!(refused, Err(CallError::TokenAlias));
}

/// S9.2-03, S9.2-04, S9.2.1-01: unknown parameters, repeated ones too, change nothing.
#[test]
fn unknown_parameters_are_passed_on_without_effect() {
    let mut peer = server();
    let unknown = Parameter::Unknown(KeyValuePair::Varint {
        key: 0x3c,
        value: 1,
    });
    let mut message = subscribe(0, "live#a");
    message.parameters = Parameters(vec![unknown.clone(), unknown]);
    peer.send(&ControlMessage::Subscribe(message));
    assert!(matches!(peer.event(), Event::SubscribeRequested(_)));
}

/// S9.2-02
#[test]
fn a_repeated_known_parameter_closes() {
    let mut peer = server();
    let frame = Frame::new(0x6).varint(0).namespace(&["live"]).varint(2);
    // MAX_CACHE_DURATION twice in PUBLISH; here PUBLISH_NAMESPACE, where it is unknown, does not close.
    let twice = frame.varint(4).varint(1).varint(4).varint(1);
    peer.send_raw(&twice.build());
    assert_eq!(peer.endpoint.closed, None);
    let publish = Frame::new(0x1D)
        .varint(2)
        .namespace(&["live"])
        .bytes(b"a")
        .varint(1);
    let publish = publish.byte(1).byte(0).byte(1).varint(2);
    peer.send_raw(&publish.varint(4).varint(1).varint(4).varint(1).build());
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
}

/// Limit `max_finished_requests`
#[test]
fn finished_requests_are_remembered_up_to_the_limit() {
    let limits = SessionLimits {
        max_finished_requests: 1,
        ..SessionLimits::default()
    };
    let config = SessionConfig {
        limits,
        ..Scripted::client_config()
    };
    let mut peer = Scripted::client(config);
    for name in ["live#a", "live#b"] {
        peer.endpoint
            .call(|s, now| s.subscribe(subscribe_options(name), now))
            .unwrap();
    }
    for id in [0, 2] {
        let code = SubscribeErrorCode::TRACK_DOES_NOT_EXIST;
        peer.send(&ControlMessage::SubscribeError(refusal(id, code)));
    }
    assert_eq!(peer.endpoint.session.load().finished_requests, 1);
    // Forgotten: taken for a race. Remembered: a second answer.
    peer.send(&ControlMessage::SubscribeOk(subscribe_ok(0, 1)));
    assert_eq!(peer.endpoint.closed, None);
    peer.send(&ControlMessage::SubscribeOk(subscribe_ok(2, 1)));
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
}

/// Limit `max_control_backlog`
#[test]
fn a_peer_that_does_not_read_is_closed() {
    let limits = SessionLimits {
        max_control_backlog: 1000,
        ..SessionLimits::default()
    };
    let config = SessionConfig {
        limits,
        ..Scripted::server_config()
    };
    let mut peer = Scripted::server(config);
    peer.endpoint.writes = false;
    let mut id = 0;
    while peer.endpoint.closed.is_none() {
        assert!(peer.endpoint.session.load().control_backlog <= 1000);
        peer.send(&fetch(id));
        id += 2;
    }
    peer.assert_closed(SessionCode::INTERNAL_ERROR);
    assert!(id > 40, "closed after {id}");
}
