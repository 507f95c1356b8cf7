use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use moqtail::model::draft14::{ControlDecoder, DecodeOptions, VERSION, encode_control};
use moqtail::model::{
    AuthToken, ClientSetup, ControlMessage as M, DecodeError, DecodeErrorKind, Fetch,
    FetchErrorCode, FetchKind, FetchOk, Filter, FullTrackName, Goaway, GroupOrder, Location,
    MaxRequestId, Parameter, Parameters, Publish, PublishDone, PublishDoneCode, PublishErrorCode,
    PublishNamespace, PublishNamespaceCancel, PublishNamespaceErrorCode, PublishOk, RequestError,
    RequestId, RequestsBlocked, ServerSetup, SessionCode, SetupParameter, SetupParameters,
    Subscribe, SubscribeErrorCode, SubscribeNamespace, SubscribeNamespaceErrorCode, SubscribeOk,
    SubscribeUpdate, TrackAlias, UNKNOWN_STREAM_COUNT,
};

use super::{Verdict, blob, check, namespace, number, parse, prefix, track};

const VECTORS: &str = include_str!("control.txt");

pub(crate) fn decode(bytes: &[u8]) -> Result<M, DecodeError> {
    let mut decoder = ControlDecoder::default();
    decoder.push(bytes);
    let message = decoder.next()?.expect("the frame is whole");
    assert_eq!(decoder.next(), Ok(None));
    Ok(message)
}

pub(crate) fn encode(message: &M) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode_control(message, &mut out).unwrap();
    out.to_vec()
}

/// S9.2.1.2-01, S9.2.1.3-01, S9.12-01, S2.4.1-01, S1.4.2-04, S1.4.2-05, S1.4.3-02
#[test]
fn control_messages_agree_with_the_vectors() {
    check(parse(VECTORS), expected(), decode, encode);
}

/// Draft 14 has 30 control messages; each has a vector.
#[test]
fn no_message_is_left_out() {
    let names: BTreeSet<_> = expected()
        .iter()
        .map(|(_, message)| message.name())
        .collect();
    assert_eq!(names.len(), 30, "{names:?}");
}

/// S9-05: a message that ends anywhere else than its last field is refused, and says where.
#[test]
fn cut_and_extended_messages_are_refused() {
    for vector in parse(VECTORS) {
        if !matches!(vector.verdict, Verdict::Ok) {
            continue;
        }
        // The frame's head of an ok vector is a type of one byte and the length.
        let (head, payload) = vector.bytes.split_at(3);
        let with_length = |payload: &[u8]| {
            let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
            [&[head[0]], &length[..], payload].concat()
        };
        for len in 0..payload.len() {
            let name = vector.name;
            let error = decode(&with_length(&payload[..len])).expect_err(name);
            let codes = [
                SessionCode::PROTOCOL_VIOLATION,
                SessionCode::KEY_VALUE_FORMATTING_ERROR,
            ];
            assert!(codes.contains(&error.code()), "{name}: {error}");
            assert!(
                (3..=3 + len as u64).contains(&error.offset),
                "{name}: {error}"
            );
        }
        let error = decode(&with_length(&[payload, &[0]].concat())).unwrap_err();
        assert_eq!(
            error.kind,
            DecodeErrorKind::TrailingBytes(1),
            "{}",
            vector.name
        );
    }
}

/// A29: the named tolerance lets empty prefixes, and nothing else, pass.
#[test]
fn empty_prefixes_can_be_tolerated() {
    let mut options = DecodeOptions::default();
    options.allow_empty_namespace_prefix = true;
    for vector in parse(VECTORS) {
        let mut decoder = ControlDecoder::new(options);
        decoder.push(&vector.bytes);
        let tolerated = vector.name.starts_with("namespace_empty")
            && vector.name.ends_with("subscribe_namespace");
        let refused = matches!(vector.verdict, Verdict::Error { .. }) && !tolerated;
        assert_eq!(decoder.next().is_err(), refused, "{}", vector.name);
    }
}

fn video() -> FullTrackName {
    track(&[b"live", b"cam1"], b"video")
}

fn no_parameters() -> Parameters {
    Parameters::default()
}

fn subscribe(id: u64, filter: Filter) -> Subscribe {
    Subscribe {
        request_id: RequestId(id),
        track: video(),
        subscriber_priority: 128,
        group_order: None,
        forward: true,
        filter,
        parameters: no_parameters(),
    }
}

fn subscribe_ok(id: u64, alias: u64) -> SubscribeOk {
    SubscribeOk {
        request_id: RequestId(id),
        track_alias: TrackAlias(alias),
        expires_ms: 0,
        group_order: GroupOrder::Ascending,
        largest: None,
        parameters: no_parameters(),
    }
}

fn publish_ok(filter: Filter) -> PublishOk {
    PublishOk {
        request_id: RequestId(1),
        forward: true,
        subscriber_priority: 128,
        group_order: GroupOrder::Ascending,
        filter,
        parameters: no_parameters(),
    }
}

fn error<C>(id: u64, code: C, reason: &str) -> RequestError<C> {
    RequestError {
        request_id: RequestId(id),
        code,
        reason: reason.into(),
    }
}

fn use_value(token_type: u64, value: &'static [u8]) -> AuthToken {
    let value = Bytes::from_static(value);
    AuthToken::UseValue { token_type, value }
}

fn setup(versions: &[u64], parameters: Vec<SetupParameter>) -> M {
    M::ClientSetup(ClientSetup {
        versions: versions.to_vec(),
        parameters: SetupParameters(parameters),
    })
}

fn server_setup(parameters: Vec<SetupParameter>) -> M {
    M::ServerSetup(ServerSetup {
        version: VERSION,
        parameters: SetupParameters(parameters),
    })
}

fn goaway(uri: &str) -> M {
    M::Goaway(Goaway {
        new_session_uri: uri.to_owned(),
    })
}

fn expected() -> Vec<(&'static str, M)> {
    [
        session_messages(),
        subscription_messages(),
        publish_messages(),
        fetch_and_status_messages(),
        namespace_messages(),
    ]
    .concat()
}

fn session_messages() -> Vec<(&'static str, M)> {
    let path = Bytes::from_static(b"/moq");
    let authority = Bytes::from_static(b"a.example");
    let every_parameter = vec![
        SetupParameter::Path(path),
        SetupParameter::MaxRequestId(2),
        SetupParameter::AuthorizationToken(use_value(0, b"abc")),
        SetupParameter::MaxAuthTokenCacheSize(1000),
        SetupParameter::Authority(authority),
        SetupParameter::Implementation(Bytes::from_static(b"x/1")),
        SetupParameter::AuthorizationToken(AuthToken::UseAlias { alias: 9 }),
        SetupParameter::Unknown(number(0x7e, 5)),
        SetupParameter::Unknown(blob(0x7f, b"")),
    ];
    vec![
        (
            "client_setup",
            setup(&[VERSION], vec![SetupParameter::MaxRequestId(100)]),
        ),
        (
            "client_setup_every_parameter",
            setup(&[VERSION, 0xff00_000d], every_parameter),
        ),
        ("client_setup_no_versions", setup(&[], vec![])),
        (
            "server_setup",
            server_setup(vec![
                SetupParameter::MaxRequestId(1024),
                SetupParameter::MaxAuthTokenCacheSize(0),
            ]),
        ),
        ("server_setup_no_parameters", server_setup(vec![])),
        ("goaway", goaway("")),
        ("goaway_uri", goaway("moqt://b.example")),
        ("goaway_long_length", goaway("")),
        (
            "max_request_id",
            M::MaxRequestId(MaxRequestId { limit: 100 }),
        ),
        (
            "requests_blocked",
            M::RequestsBlocked(RequestsBlocked { limit: 2 }),
        ),
    ]
}

fn subscription_messages() -> Vec<(&'static str, M)> {
    let parameters = Parameters(vec![
        Parameter::DeliveryTimeout(1000),
        Parameter::AuthorizationToken(AuthToken::Delete { alias: 5 }),
        Parameter::AuthorizationToken(AuthToken::Register {
            alias: 5,
            token_type: 0,
            value: Bytes::from_static(b"tok"),
        }),
        Parameter::AuthorizationToken(AuthToken::UseAlias { alias: 5 }),
        Parameter::AuthorizationToken(use_value(256, b"xy")),
        Parameter::Unknown(number(0x04, 0x3d00)),
        Parameter::Unknown(number(0x7e, 1)),
        Parameter::Unknown(number(0x7e, 2)),
        Parameter::Unknown(blob(0x7f, b"\xff\0")),
        Parameter::Unknown(blob(0x7f, b"")),
    ]);
    vec![
        (
            "subscribe_next_group_start",
            M::Subscribe(subscribe(0, Filter::NextGroupStart)),
        ),
        (
            "subscribe_largest_object",
            M::Subscribe(Subscribe {
                subscriber_priority: 0,
                group_order: Some(GroupOrder::Ascending),
                forward: false,
                ..subscribe(2, Filter::LargestObject)
            }),
        ),
        (
            "subscribe_absolute_start",
            M::Subscribe(Subscribe {
                subscriber_priority: 255,
                group_order: Some(GroupOrder::Descending),
                ..subscribe(
                    4,
                    Filter::AbsoluteStart {
                        start: Location::new(1, 300),
                    },
                )
            }),
        ),
        (
            "subscribe_absolute_range",
            M::Subscribe(subscribe(
                6,
                Filter::AbsoluteRange {
                    start: Location::new(7, 3),
                    end_group: 9,
                },
            )),
        ),
        (
            "subscribe_parameters",
            M::Subscribe(Subscribe {
                track: track(&[b""], b""),
                parameters,
                ..subscribe(64, Filter::LargestObject)
            }),
        ),
        (
            "subscribe_namespace_bytes",
            M::Subscribe(Subscribe {
                track: track(&[b"", b"\xff\0", b"/"], b""),
                ..subscribe(8, Filter::LargestObject)
            }),
        ),
        (
            "subscribe_long_numbers",
            M::Subscribe(Subscribe {
                parameters: Parameters(vec![Parameter::DeliveryTimeout(5)]),
                ..subscribe(0, Filter::LargestObject)
            }),
        ),
        ("subscribe_ok", M::SubscribeOk(subscribe_ok(0, 5))),
        (
            "subscribe_ok_largest",
            M::SubscribeOk(SubscribeOk {
                expires_ms: 2000,
                group_order: GroupOrder::Descending,
                largest: Some(Location::new(7, 3)),
                parameters: Parameters(vec![
                    Parameter::DeliveryTimeout(700),
                    Parameter::MaxCacheDuration(40_000),
                ]),
                ..subscribe_ok(0, 5)
            }),
        ),
        (
            "subscribe_ok_token",
            M::SubscribeOk(SubscribeOk {
                parameters: Parameters(vec![Parameter::Unknown(blob(0x03, b"\xc0"))]),
                ..subscribe_ok(0, 5)
            }),
        ),
        (
            "subscribe_error",
            M::SubscribeError(error(
                2,
                SubscribeErrorCode::TRACK_DOES_NOT_EXIST,
                "not found",
            )),
        ),
        (
            "subscribe_error_unknown_code",
            M::SubscribeError(error(2, SubscribeErrorCode(0x7777), "")),
        ),
        (
            "subscribe_error_longest_reason",
            M::SubscribeError(error(
                2,
                SubscribeErrorCode::INTERNAL_ERROR,
                &"a".repeat(1024),
            )),
        ),
        (
            "subscribe_update",
            M::SubscribeUpdate(SubscribeUpdate {
                request_id: RequestId(2),
                subscription: RequestId(0),
                start: Location::new(5, 0),
                end_group: Some(9),
                subscriber_priority: 64,
                forward: false,
                parameters: no_parameters(),
            }),
        ),
        (
            "subscribe_update_open",
            M::SubscribeUpdate(SubscribeUpdate {
                request_id: RequestId(2),
                subscription: RequestId(0),
                start: Location::new(0, 0),
                end_group: None,
                subscriber_priority: 128,
                forward: true,
                parameters: Parameters(vec![Parameter::DeliveryTimeout(900)]),
            }),
        ),
        ("unsubscribe", M::Unsubscribe(RequestId(7))),
    ]
}

fn publish_messages() -> Vec<(&'static str, M)> {
    let publish = Publish {
        request_id: RequestId(1),
        track: track(&[b"live"], b"mic"),
        track_alias: TrackAlias(9),
        group_order: GroupOrder::Ascending,
        largest: None,
        forward: true,
        parameters: no_parameters(),
    };
    vec![
        (
            "publish_done",
            M::PublishDone(PublishDone {
                request_id: RequestId(0),
                status: PublishDoneCode::TRACK_ENDED,
                stream_count: 3,
                reason: "end".into(),
            }),
        ),
        (
            "publish_done_unknown_count",
            M::PublishDone(PublishDone {
                request_id: RequestId(0),
                status: PublishDoneCode::TOO_FAR_BEHIND,
                stream_count: UNKNOWN_STREAM_COUNT,
                reason: "".into(),
            }),
        ),
        ("publish", M::Publish(publish.clone())),
        (
            "publish_largest",
            M::Publish(Publish {
                group_order: GroupOrder::Descending,
                largest: Some(Location::new(7, 3)),
                forward: false,
                parameters: Parameters(vec![
                    Parameter::DeliveryTimeout(1),
                    Parameter::AuthorizationToken(use_value(0, b"")),
                    Parameter::MaxCacheDuration(5),
                ]),
                ..publish
            }),
        ),
        (
            "publish_ok_next_group_start",
            M::PublishOk(publish_ok(Filter::NextGroupStart)),
        ),
        (
            "publish_ok_largest_object",
            M::PublishOk(PublishOk {
                forward: false,
                subscriber_priority: 0,
                group_order: GroupOrder::Descending,
                ..publish_ok(Filter::LargestObject)
            }),
        ),
        (
            "publish_ok_absolute_start",
            M::PublishOk(PublishOk {
                group_order: GroupOrder::Descending,
                ..publish_ok(Filter::AbsoluteStart {
                    start: Location::new(9, 0),
                })
            }),
        ),
        (
            "publish_ok_absolute_range",
            M::PublishOk(PublishOk {
                parameters: Parameters(vec![Parameter::DeliveryTimeout(5)]),
                ..publish_ok(Filter::AbsoluteRange {
                    start: Location::new(9, 0),
                    end_group: 256,
                })
            }),
        ),
        (
            "publish_error",
            M::PublishError(error(1, PublishErrorCode::UNINTERESTED, "")),
        ),
    ]
}

fn fetch(id: u64, group_order: Option<GroupOrder>, kind: FetchKind) -> Fetch {
    Fetch {
        request_id: RequestId(id),
        subscriber_priority: 128,
        group_order,
        kind,
        parameters: no_parameters(),
    }
}

fn fetch_and_status_messages() -> Vec<(&'static str, M)> {
    let fetch_ok = FetchOk {
        request_id: RequestId(10),
        group_order: GroupOrder::Ascending,
        end_of_track: false,
        end: Location::new(3, 5),
        parameters: no_parameters(),
    };
    let relative = |joining_start| FetchKind::RelativeJoining {
        joining: RequestId(0),
        joining_start,
    };
    vec![
        (
            "fetch_standalone",
            M::Fetch(fetch(
                10,
                None,
                FetchKind::Standalone {
                    track: video(),
                    start: Location::new(1, 0),
                    end: Location::new(3, 5),
                },
            )),
        ),
        (
            "fetch_relative_joining",
            M::Fetch(Fetch {
                parameters: Parameters(vec![Parameter::AuthorizationToken(use_value(0, b""))]),
                ..fetch(12, Some(GroupOrder::Ascending), relative(2))
            }),
        ),
        (
            "fetch_absolute_joining",
            M::Fetch(Fetch {
                subscriber_priority: 1,
                parameters: Parameters(vec![Parameter::Unknown(number(0x02, 1))]),
                ..fetch(
                    14,
                    Some(GroupOrder::Descending),
                    FetchKind::AbsoluteJoining {
                        joining: RequestId(0),
                        joining_start: 256,
                    },
                )
            }),
        ),
        ("fetch_long_type", M::Fetch(fetch(10, None, absolute(2, 0)))),
        ("fetch_ok", M::FetchOk(fetch_ok.clone())),
        (
            "fetch_ok_end_of_track",
            M::FetchOk(FetchOk {
                group_order: GroupOrder::Descending,
                end_of_track: true,
                end: Location::new(3, 0),
                parameters: Parameters(vec![Parameter::MaxCacheDuration(1)]),
                ..fetch_ok
            }),
        ),
        (
            "fetch_error",
            M::FetchError(error(10, FetchErrorCode::NO_OBJECTS, "no")),
        ),
        ("fetch_cancel", M::FetchCancel(RequestId(10))),
        (
            "track_status",
            M::TrackStatus(Subscribe {
                parameters: Parameters(vec![Parameter::DeliveryTimeout(1)]),
                ..subscribe(16, Filter::LargestObject)
            }),
        ),
        (
            "track_status_ok",
            M::TrackStatusOk(SubscribeOk {
                largest: Some(Location::new(7, 3)),
                parameters: Parameters(vec![Parameter::MaxCacheDuration(1)]),
                ..subscribe_ok(16, 0)
            }),
        ),
        (
            "track_status_error",
            M::TrackStatusError(error(16, SubscribeErrorCode::TRACK_DOES_NOT_EXIST, "")),
        ),
    ]
}

fn absolute(joining: u64, joining_start: u64) -> FetchKind {
    FetchKind::AbsoluteJoining {
        joining: RequestId(joining),
        joining_start,
    }
}

fn namespace_messages() -> Vec<(&'static str, M)> {
    let live_cam1 = || namespace(&[b"live", b"cam1"]);
    vec![
        (
            "publish_namespace",
            M::PublishNamespace(PublishNamespace {
                request_id: RequestId(18),
                namespace: live_cam1(),
                parameters: Parameters(vec![Parameter::AuthorizationToken(use_value(0, b""))]),
            }),
        ),
        (
            "publish_namespace_32_fields",
            M::PublishNamespace(PublishNamespace {
                request_id: RequestId(18),
                namespace: namespace(&[&b""[..]; 32]),
                parameters: no_parameters(),
            }),
        ),
        ("publish_namespace_ok", M::PublishNamespaceOk(RequestId(18))),
        (
            "publish_namespace_error",
            M::PublishNamespaceError(error(
                18,
                PublishNamespaceErrorCode::MALFORMED_AUTH_TOKEN,
                "",
            )),
        ),
        (
            "publish_namespace_done",
            M::PublishNamespaceDone(live_cam1()),
        ),
        (
            "publish_namespace_cancel",
            M::PublishNamespaceCancel(PublishNamespaceCancel {
                namespace: live_cam1(),
                code: PublishNamespaceErrorCode::EXPIRED_AUTH_TOKEN,
                reason: "old".into(),
            }),
        ),
        (
            "subscribe_namespace",
            M::SubscribeNamespace(SubscribeNamespace {
                request_id: RequestId(20),
                prefix: prefix(&[b"live"]),
                parameters: no_parameters(),
            }),
        ),
        (
            "subscribe_namespace_ok",
            M::SubscribeNamespaceOk(RequestId(20)),
        ),
        (
            "subscribe_namespace_error",
            M::SubscribeNamespaceError(error(
                20,
                SubscribeNamespaceErrorCode::NAMESPACE_PREFIX_OVERLAP,
                "",
            )),
        ),
        (
            "unsubscribe_namespace",
            M::UnsubscribeNamespace(prefix(&[b"live"])),
        ),
    ]
}
