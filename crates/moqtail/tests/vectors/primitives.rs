use bytes::Bytes;
use moqtail::model::{
    AuthToken, ControlMessage as M, FetchOk, GroupOrder, Location, MAX_VARINT, MaxRequestId,
    Parameters, RequestError, RequestId, ServerSetup, SetupParameter, SetupParameters,
    SubscribeErrorCode,
};

use super::control::{decode, encode};
use super::{blob, check, namespace, number, parse};

const VECTORS: &str = include_str!("primitives.txt");

/// Puts the vectors whose names start with `kind` into the payload of a message, and checks that.
fn check_in(
    kind: &str,
    message_type: u8,
    payload: impl Fn(&[u8]) -> Vec<u8>,
    expected: Vec<(&str, M)>,
) {
    let mut vectors = parse(VECTORS);
    vectors.retain(|vector| vector.name.starts_with(kind));
    for vector in &mut vectors {
        let payload = payload(&vector.bytes);
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        vector.bytes = [&[message_type], &length[..], &payload].concat();
    }
    check(vectors, expected, decode, encode);
}

/// S1.4-01, S1.4-02, S1.4-03: in MAX_REQUEST_ID.
#[test]
fn varints_agree_with_the_vectors() {
    let values = [
        0,
        37,
        63,
        64,
        15_293,
        16_383,
        16_384,
        494_878_333,
        1_073_741_823,
        1_073_741_824,
        151_288_809_941_952_652,
        MAX_VARINT,
    ];
    let names = values.map(|value| format!("varint_{value}"));
    let mut expected: Vec<_> = names.iter().map(String::as_str).zip(values).collect();
    expected.extend([
        ("varint_37_in_2_bytes", 37),
        ("varint_37_in_4_bytes", 37),
        ("varint_37_in_8_bytes", 37),
    ]);
    let message = |(name, limit)| (name, M::MaxRequestId(MaxRequestId { limit }));
    let expected = expected.into_iter().map(message).collect();
    check_in("varint", 0x15, <[u8]>::to_vec, expected);
}

/// S1.4.1-01: as End Location of FETCH_OK.
#[test]
fn locations_agree_with_the_vectors() {
    let expected = [
        ("location_1_300", Location::new(1, 300)),
        ("location_0_0", Location::new(0, 0)),
        ("location_largest", Location::new(MAX_VARINT, MAX_VARINT)),
    ];
    let message = |end| {
        M::FetchOk(FetchOk {
            request_id: RequestId(0),
            group_order: GroupOrder::Ascending,
            end_of_track: false,
            end,
            parameters: Parameters::default(),
        })
    };
    let expected = expected.map(|(name, end)| (name, message(end)));
    let payload = |end: &[u8]| [&[0, 1, 0], end, &[0]].concat();
    check_in("location", 0x18, payload, expected.into());
}

/// S1.4-04, S2.4.1-01: in PUBLISH_NAMESPACE_DONE.
#[test]
fn namespaces_agree_with_the_vectors() {
    let expected = [
        ("namespace_one", namespace(&[b"a"])),
        ("namespace_bytes", namespace(&[b"", b"\xff\0", b"/", b"A"])),
        ("namespace_32_fields", namespace(&[&b""[..]; 32])),
        ("namespace_4096_bytes", namespace(&[&[b'a'; 4096]])),
        ("namespace_long_numbers", namespace(&[b"a"])),
    ];
    let expected = expected.map(|(name, namespace)| (name, M::PublishNamespaceDone(namespace)));
    check_in("namespace", 0x09, <[u8]>::to_vec, expected.into());
}

/// S1.4.3-01, S1.4.3-02: in SUBSCRIBE_ERROR.
#[test]
fn reasons_agree_with_the_vectors() {
    let longest = "a".repeat(1024);
    let expected = [
        ("reason_empty", ""),
        ("reason_text", "ü!"),
        ("reason_1024_bytes", longest.as_str()),
    ];
    let message = |reason: &str| {
        M::SubscribeError(RequestError {
            request_id: RequestId(0),
            code: SubscribeErrorCode::INTERNAL_ERROR,
            reason: reason.into(),
        })
    };
    let expected = expected.map(|(name, reason)| (name, message(reason)));
    let payload = |reason: &[u8]| [&[0, 0], reason].concat();
    check_in("reason", 0x05, payload, expected.into());
}

fn server_setup(parameters: Vec<SetupParameter>) -> M {
    M::ServerSetup(ServerSetup {
        version: 0,
        parameters: SetupParameters(parameters),
    })
}

/// S1.4.2-01, S1.4.2-02, S1.4.2-03, S1.4.2-06: as the parameters of SERVER_SETUP.
#[test]
fn pairs_agree_with_the_vectors() {
    let path = |path: &'static [u8]| SetupParameter::Path(Bytes::from_static(path));
    let unsorted = vec![
        SetupParameter::Unknown(blob(0x7f, b"a")),
        SetupParameter::MaxRequestId(5),
        path(b"/"),
    ];
    let largest = vec![
        SetupParameter::Unknown(number(MAX_VARINT - 1, 5)),
        SetupParameter::Unknown(blob(MAX_VARINT, b"a")),
    ];
    let expected = [
        ("pairs_none", vec![]),
        ("pairs_even", vec![SetupParameter::MaxRequestId(1000)]),
        ("pairs_odd", vec![path(b"/a")]),
        ("pairs_odd_empty", vec![path(b"")]),
        ("pairs_descending", unsorted),
        ("pairs_largest_types", largest),
        ("pairs_long_numbers", vec![SetupParameter::MaxRequestId(5)]),
    ];
    let expected = expected.map(|(name, parameters)| (name, server_setup(parameters)));
    let payload = |pairs: &[u8]| [&[0], pairs].concat();
    check_in("pairs", 0x21, payload, expected.into());
}

/// As the one token of SERVER_SETUP; the token's length is put before it.
#[test]
fn tokens_agree_with_the_vectors() {
    let register = |token_type, value: &'static [u8]| AuthToken::Register {
        alias: 5,
        token_type,
        value: Bytes::from_static(value),
    };
    let use_value = |value: &'static [u8]| AuthToken::UseValue {
        token_type: 0,
        value: Bytes::from_static(value),
    };
    let expected = [
        ("token_delete", AuthToken::Delete { alias: 5 }),
        ("token_register", register(256, b"tok")),
        ("token_register_empty", register(0, b"")),
        ("token_use_alias", AuthToken::UseAlias { alias: 64 }),
        ("token_use_value", use_value(b"tok")),
        ("token_use_value_empty", use_value(b"")),
        ("token_long_numbers", AuthToken::UseAlias { alias: 5 }),
    ];
    let message = |token| server_setup(vec![SetupParameter::AuthorizationToken(token)]);
    let expected = expected.map(|(name, token)| (name, message(token)));
    let payload = |token: &[u8]| {
        let len = u8::try_from(token.len()).unwrap();
        [&[0, 1, 3, len], token].concat()
    };
    check_in("token", 0x21, payload, expected.into());
}
