//! How sessions come about, and how they fail to (draft-14 §3.3, §9.3).

use std::time::Duration;

use bytes::Bytes;
use moqtail::{
    model::{
        AuthToken, ClientSetup, ControlMessage, KeyValuePair, MaxRequestId, ServerSetup,
        SessionCode, SetupParameter, SetupParameters, VERSION,
    },
    session::{
        Blame, CallError, Carrier, Event, Role, SessionConfig, SetupRefusal, TargetParameter, Token,
    },
};
use moqtail_sim::{
    Endpoint, Frame, Scripted,
    messages::{client_setup, publish_namespace, server_setup, subscribe, subscribe_options},
    start_of_time,
};

fn webtransport(role: Role) -> SessionConfig {
    SessionConfig {
        carrier: Carrier::WebTransport,
        ..SessionConfig::new(role, Carrier::Raw)
    }
}

fn setup_parameters(message: &ControlMessage) -> &SetupParameters {
    match message {
        ControlMessage::ClientSetup(setup) => &setup.parameters,
        ControlMessage::ServerSetup(setup) => &setup.parameters,
        other => panic!("{other:?}"),
    }
}

/// S3.2-01, S3.3-01, S9.3-01, S9.3-03, S9.3.1-01, S9.3.2.1-01, S9.3.2.2-01, S9.3.2.3-01, S9.3.2.6-01
#[test]
fn a_client_on_raw_quic_starts_with_client_setup_and_says_where_it_wants_to_go() {
    let mut peer = Scripted::new(Scripted::client_config());
    let setup = peer.received_one();
    let ControlMessage::ClientSetup(client) = &setup else {
        panic!("{setup:?}")
    };
    assert_eq!(client.versions, [VERSION]);
    assert_eq!(client.parameters.path().unwrap(), "/live");
    assert_eq!(client.parameters.authority().unwrap(), "relay.example:4443");
    assert_eq!(client.parameters.max_request_id(), 2048);
    assert!(
        client
            .parameters
            .implementation()
            .unwrap()
            .starts_with("moqtail/")
    );

    peer.send(&server_setup(vec![SetupParameter::Implementation(
        Bytes::from_static(b"them"),
    )]));
    let Event::Established(them) = peer.event() else {
        panic!()
    };
    assert_eq!(them.implementation.as_deref(), Some("them"));
    assert!(peer.endpoint.session.is_established());
    peer.assert_quiet();
}

/// S9.3.2.1-02, S9.3.2.2-02
#[test]
fn a_client_on_webtransport_does_not_repeat_where_it_wants_to_go() {
    let Role::Client { authority, path } = Scripted::client_config().role else {
        panic!()
    };
    let mut peer = Scripted::new(webtransport(Role::Client { authority, path }));
    let setup = peer.received_one();
    assert_eq!(setup_parameters(&setup).path(), None);
    assert_eq!(setup_parameters(&setup).authority(), None);
}

/// S3.2-02, S9.3-02, S9.3-05, S9.3.1-02, S9.3.2.1-02, S9.3.2.2-02, S9.3.2.3-01
#[test]
fn a_server_asks_the_application_and_then_answers_with_server_setup() {
    let mut peer = Scripted::new(Scripted::server_config());
    let unknown = KeyValuePair::Varint {
        key: 0x1234,
        value: 1,
    };
    let parameters = SetupParameters(vec![
        SetupParameter::Path(Bytes::from_static(b"/a?b")),
        SetupParameter::Authority(Bytes::from_static(b"host:1")),
        SetupParameter::Unknown(unknown),
    ]);
    // Versions that are not known here are skipped.
    let versions = vec![0xff00_0010, VERSION, 1];
    peer.send(&ControlMessage::ClientSetup(ClientSetup {
        versions,
        parameters,
    }));
    let Event::SetupRequested(asked) = peer.event() else {
        panic!()
    };
    assert_eq!(asked.path.as_deref(), Some("/a?b"));
    assert_eq!(asked.authority.as_deref(), Some("host:1"));
    assert_eq!(peer.received(), []);

    peer.endpoint.call(|s, _| s.accept_setup()).unwrap();
    let setup = peer.received_one();
    let ControlMessage::ServerSetup(server) = &setup else {
        panic!("{setup:?}")
    };
    assert_eq!(server.version, VERSION);
    assert_eq!(server.parameters.max_request_id(), 2048);
    assert_eq!(
        (server.parameters.path(), server.parameters.authority()),
        (None, None)
    );
    // No extension was supported, so none is answered.
    assert!(
        !server
            .parameters
            .0
            .iter()
            .any(|p| matches!(p, SetupParameter::Unknown(_)))
    );
    assert_eq!(peer.event(), Event::Established(asked));
}

/// S9.3.2.2-07
#[test]
fn absent_empty_and_root_paths_are_all_accepted() {
    for path in [None, Some(""), Some("/")] {
        let mut peer = Scripted::new(Scripted::server_config());
        let path = path.map(|path| SetupParameter::Path(Bytes::from_static(path.as_bytes())));
        peer.send(&client_setup(path.into_iter().collect()));
        assert!(matches!(peer.event(), Event::SetupRequested(_)));
    }
}

/// S9.3.1-03
#[test]
fn a_server_that_knows_none_of_the_versions_closes() {
    for versions in [vec![], vec![0xff00_000d, 0xff00_000f, 1]] {
        let mut peer = Scripted::new(Scripted::server_config());
        let parameters = SetupParameters::default();
        peer.send(&ControlMessage::ClientSetup(ClientSetup {
            versions,
            parameters,
        }));
        peer.assert_closed(SessionCode::VERSION_NEGOTIATION_FAILED);
        assert_eq!(peer.endpoint.events(), []);
    }
}

/// S9.3.1-04
#[test]
fn a_client_closes_when_the_server_selects_what_was_not_offered() {
    let mut peer = Scripted::new(Scripted::client_config());
    let parameters = SetupParameters::default();
    peer.send(&ControlMessage::ServerSetup(ServerSetup {
        version: 0xff00_000d,
        parameters,
    }));
    peer.assert_closed(SessionCode::VERSION_NEGOTIATION_FAILED);
}

/// S9-03
#[test]
fn setup_may_arrive_byte_by_byte() {
    let mut wire = Scripted::new(Scripted::client_config());
    let bytes = std::mem::take(&mut wire.endpoint.control);
    let mut peer = Scripted::new(Scripted::server_config());
    for byte in bytes {
        assert_eq!(peer.endpoint.events(), []);
        peer.send_raw(&[byte]);
    }
    assert!(matches!(peer.event(), Event::SetupRequested(_)));
}

/// S9.3.2.1-03, S9.3.2.2-03
#[test]
fn a_server_must_not_say_where_it_wants_to_go() {
    for (parameter, code) in [
        (
            SetupParameter::Path(Bytes::from_static(b"/")),
            SessionCode::INVALID_PATH,
        ),
        (
            SetupParameter::Authority(Bytes::from_static(b"x")),
            SessionCode::INVALID_AUTHORITY,
        ),
    ] {
        let mut peer = Scripted::new(Scripted::client_config());
        peer.send(&server_setup(vec![parameter]));
        peer.assert_closed(code);
    }
}

/// S9.3.2.1-04, S9.3.2.2-04
#[test]
fn over_webtransport_a_client_must_not_say_where_it_wants_to_go() {
    for (parameter, code) in [
        (
            SetupParameter::Path(Bytes::from_static(b"/")),
            SessionCode::INVALID_PATH,
        ),
        (
            SetupParameter::Authority(Bytes::from_static(b"x")),
            SessionCode::INVALID_AUTHORITY,
        ),
    ] {
        let mut peer = Scripted::new(webtransport(Role::Server));
        peer.send(&client_setup(vec![parameter]));
        peer.assert_closed(code);
    }
}

/// S9.3.2.1-06, S9.3.2.2-06
#[test]
fn a_target_that_breaks_uri_syntax_closes() {
    for (parameter, code) in [
        (
            SetupParameter::Path(Bytes::from_static(b"no-slash")),
            SessionCode::MALFORMED_PATH,
        ),
        (
            SetupParameter::Path(Bytes::from_static(b"/%zz")),
            SessionCode::MALFORMED_PATH,
        ),
        (
            SetupParameter::Authority(Bytes::new()),
            SessionCode::MALFORMED_AUTHORITY,
        ),
        (
            SetupParameter::Authority(Bytes::from_static(b"[::")),
            SessionCode::MALFORMED_AUTHORITY,
        ),
    ] {
        let mut peer = Scripted::new(Scripted::server_config());
        peer.send(&client_setup(vec![parameter]));
        peer.assert_closed(code);
    }
}

/// S3.4-06, S3.4-11, S3.4-12, S9.3.2.1-05, S9.3.2.2-05
#[test]
fn the_application_of_a_server_can_refuse_a_client() {
    for (refusal, code) in [
        (SetupRefusal::Path, SessionCode::INVALID_PATH),
        (SetupRefusal::Authority, SessionCode::INVALID_AUTHORITY),
        (SetupRefusal::Unauthorized, SessionCode::UNAUTHORIZED),
        (
            SetupRefusal::MalformedToken,
            SessionCode::MALFORMED_AUTH_TOKEN,
        ),
        (SetupRefusal::ExpiredToken, SessionCode::EXPIRED_AUTH_TOKEN),
    ] {
        let mut peer = Scripted::new(Scripted::server_config());
        peer.send(&client_setup(vec![]));
        peer.endpoint
            .call(|s, _| s.refuse_setup(refusal, "not here"))
            .unwrap();
        peer.assert_closed(code);
        assert!(
            peer.closed().reason.contains("not here"),
            "{}",
            peer.closed().reason
        );
        assert_eq!(peer.received(), []);
    }
}

/// S9.2.1.1-08, S9.3.2.5-01, S9.3.2.5-02
#[test]
fn tokens_of_client_setup_reach_the_application_and_registrations_count_as_values() {
    let mut peer = Scripted::new(Scripted::server_config());
    let value = Bytes::from_static(b"secret");
    let register = AuthToken::Register {
        alias: 1,
        token_type: 7,
        value: value.clone(),
    };
    let once = AuthToken::UseValue {
        token_type: 0,
        value: value.clone(),
    };
    let tokens = [register, once].map(SetupParameter::AuthorizationToken);
    peer.send(&client_setup(tokens.into()));
    let Event::SetupRequested(asked) = peer.event() else {
        panic!()
    };
    let expected = [7, 0].map(|token_type| Token {
        token_type,
        value: value.clone(),
    });
    assert_eq!(asked.tokens, expected);
}

/// S9.3.2.5-04 [A11]
#[test]
fn token_aliases_in_client_setup_refer_to_nothing() {
    for token in [
        AuthToken::UseAlias { alias: 1 },
        AuthToken::Delete { alias: 1 },
    ] {
        let mut peer = Scripted::new(Scripted::server_config());
        peer.send(&client_setup(vec![SetupParameter::AuthorizationToken(
            token,
        )]));
        peer.assert_closed(SessionCode::UNKNOWN_AUTH_TOKEN_ALIAS);
    }
}

/// S9.2.1.1-22: only CLIENT_SETUP is exempt.
#[test]
fn a_registration_in_server_setup_overflows() {
    let mut peer = Scripted::new(Scripted::client_config());
    let token = AuthToken::Register {
        alias: 1,
        token_type: 0,
        value: Bytes::new(),
    };
    peer.send(&server_setup(vec![SetupParameter::AuthorizationToken(
        token,
    )]));
    peer.assert_closed(SessionCode::AUTH_TOKEN_CACHE_OVERFLOW);
}

/// S9.3.2.5-01, S9.3.2.5-03: no alias is registered, so none has to be dropped when the server cannot keep it.
#[test]
fn own_tokens_are_sent_by_value() {
    let token = Token {
        token_type: 1,
        value: Bytes::from_static(b"cat"),
    };
    let config = SessionConfig {
        tokens: vec![token.clone()],
        ..Scripted::client_config()
    };
    let setup = Scripted::new(config).received_one();
    let sent: Vec<_> = setup_parameters(&setup).tokens().cloned().collect();
    assert_eq!(sent, [AuthToken::from(token)]);
}

/// S9.3-03, S9.3-04
#[test]
fn anything_else_in_place_of_setup_closes() {
    for wrong in [
        publish_namespace(0, "live"),
        ControlMessage::MaxRequestId(MaxRequestId { limit: 4 }),
        server_setup(vec![]),
    ] {
        let mut peer = Scripted::new(Scripted::server_config());
        peer.send(&wrong);
        peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
    }
    let mut peer = Scripted::new(Scripted::client_config());
    peer.send(&client_setup(vec![]));
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
}

/// S9.3-04 [A13]
#[test]
fn a_second_setup_closes() {
    let mut peer = Scripted::server(Scripted::server_config());
    peer.send(&client_setup(vec![]));
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
    let mut peer = Scripted::client(Scripted::client_config());
    peer.send(&server_setup(vec![]));
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
}

/// [A13]
#[test]
fn a_request_before_server_setup_closes_and_other_messages_wait_for_nothing() {
    let mut peer = Scripted::new(Scripted::server_config());
    peer.send(&client_setup(vec![]));
    peer.send(&ControlMessage::MaxRequestId(MaxRequestId { limit: 4 }));
    assert_eq!(peer.endpoint.closed, None);
    peer.send(&ControlMessage::Subscribe(subscribe(0, "live#a")));
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
}

/// S3.4-08
#[test]
fn a_peer_that_sends_no_setup_in_time_is_closed() {
    for config in [Scripted::client_config(), Scripted::server_config()] {
        let mut peer = Scripted::new(config);
        peer.advance(Duration::from_millis(9_999));
        assert_eq!(peer.endpoint.closed, None);
        peer.advance(Duration::from_millis(1));
        peer.assert_closed(SessionCode::CONTROL_MESSAGE_TIMEOUT);
        assert_eq!(peer.closed().blame, Blame::Peer);
    }
}

/// S9-04: the reserved legacy types too.
#[test]
fn an_unknown_message_type_closes() {
    for message_type in [0x01, 0x40, 0x41, 0x7777] {
        let mut peer = Scripted::server(Scripted::server_config());
        peer.send_raw(&Frame::new(message_type).build());
        peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
    }
}

/// S9-05
#[test]
fn a_message_with_bytes_left_over_closes_once_and_for_all() {
    let mut peer = Scripted::server(Scripted::server_config());
    peer.send_raw(&Frame::new(0xA).varint(0).byte(0).build());
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
    // Nothing has an effect any more.
    peer.send(&ControlMessage::Subscribe(subscribe(0, "live#a")));
    peer.advance(Duration::from_secs(1000));
    assert_eq!(peer.endpoint.events(), []);
    assert_eq!(peer.received(), []);
    assert_eq!(peer.endpoint.session.deadline(), None);
    let call = peer
        .endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#a"), now));
    assert_eq!(call, Err(CallError::Closed));
}

/// S3.3-05
#[test]
fn the_end_of_the_control_stream_closes() {
    let mut peer = Scripted::server(Scripted::server_config());
    peer.endpoint.call(|s, _| s.control_ended());
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
}

/// S3.3-03
#[test]
fn a_second_bidirectional_stream_closes() {
    let mut peer = Scripted::server(Scripted::server_config());
    peer.endpoint.call(|s, _| s.unexpected_stream());
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
}

/// S3.4-03, S3.4-04, S3.4-05
#[test]
fn the_application_closes_with_its_own_code_and_words() {
    let mut peer = Scripted::server(Scripted::server_config());
    peer.endpoint
        .call(|s, _| s.close(SessionCode::NO_ERROR, "good night"));
    assert_eq!(peer.closed().code, SessionCode::NO_ERROR);
    assert_eq!(peer.closed().reason, "good night");
    assert_eq!(peer.closed().blame, Blame::Application);
    // The first one wins.
    peer.endpoint
        .call(|s, _| s.close(SessionCode::INTERNAL_ERROR, "again"));
    assert_eq!(peer.closed().code, SessionCode::NO_ERROR);
}

/// S9.3.2.3-02
#[test]
fn calls_before_the_session_is_established_fail() {
    let mut peer = Scripted::new(Scripted::server_config());
    let call = peer
        .endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#a"), now));
    assert_eq!(call, Err(CallError::NotEstablished));
    let accept = peer.endpoint.call(|s, _| s.accept_setup());
    assert_eq!(accept, Err(CallError::NotEstablished));
    let goaway = peer.endpoint.call(|s, now| s.goaway("", now));
    assert_eq!(goaway, Err(CallError::NotEstablished));
}

#[test]
fn a_configuration_that_breaks_uri_syntax_is_refused() {
    let config = |authority: &str, path: &str| {
        let role = Role::Client {
            authority: authority.to_owned(),
            path: path.to_owned(),
        };
        Endpoint::new(SessionConfig::new(role, Carrier::Raw), start_of_time()).err()
    };
    assert_eq!(
        config("", "/"),
        Some(CallError::TargetSyntax(TargetParameter::Authority))
    );
    assert_eq!(
        config("host", "x"),
        Some(CallError::TargetSyntax(TargetParameter::Path))
    );
    assert_eq!(config("host", ""), None);
}

/// Who closed and why is said to the peer, with the section of the draft.
#[test]
fn the_reason_of_a_close_names_the_rule() {
    let mut peer = Scripted::server(Scripted::server_config());
    peer.send(&ControlMessage::Subscribe(subscribe(2, "live#a")));
    let reason = &peer.closed().reason;
    assert_eq!(
        reason,
        "SUBSCRIBE with Request ID 2, expected 0 (draft-14 §9.1)"
    );
}
