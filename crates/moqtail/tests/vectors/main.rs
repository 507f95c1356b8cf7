//! Bytes written by hand from the specification, and what they mean. The codec must agree in both directions.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod codes;
mod control;
mod datagrams;
mod primitives;
mod streams;

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;
use moqtail::model::{
    DecodeError, Extensions, FullTrackName, KeyValuePair, NamespacePrefix, TrackNamespace,
};

/// What a vector says about its bytes.
#[derive(Debug)]
enum Verdict<'a> {
    /// They decode, and the value encodes to them.
    Ok,
    /// They decode, but the value encodes to shorter ones.
    Long,
    /// They are refused.
    Error { field: &'a str, code: u64 },
}

#[derive(Debug)]
struct Vector<'a> {
    name: &'a str,
    bytes: Vec<u8>,
    verdict: Verdict<'a>,
}

fn parse(text: &str) -> Vec<Vector<'_>> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let columns: Vec<_> = line.split('|').map(str::trim).collect();
            let (name, hex, verdict) = match columns[..] {
                [name, hex, "ok"] => (name, hex, Verdict::Ok),
                [name, hex, "long"] => (name, hex, Verdict::Long),
                [name, hex, "error", field, code] => {
                    let digits = code.strip_prefix("0x").unwrap();
                    let code = u64::from_str_radix(digits, 16).unwrap();
                    (name, hex, Verdict::Error { field, code })
                }
                _ => panic!("not a vector: {line}"),
            };
            let bytes = hex.split_whitespace().flat_map(bytes_of).collect();
            Vector {
                name,
                bytes,
                verdict,
            }
        })
        .collect()
}

/// `0aff`, or `61*300`.
fn bytes_of(token: &str) -> Vec<u8> {
    let (hex, times) = token.split_once('*').unwrap_or((token, "1"));
    assert!(hex.len().is_multiple_of(2), "half a byte in {token}");
    let bytes: Vec<_> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    bytes.repeat(times.parse().unwrap())
}

/// Holds `decode` and `encode` against the vectors, and the values against `expected`, which must name every good vector
/// once and nothing else.
fn check<T: PartialEq + Debug>(
    vectors: Vec<Vector<'_>>,
    expected: Vec<(&str, T)>,
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    let listed = expected.len();
    let mut expected: BTreeMap<_, _> = expected.into_iter().collect();
    assert_eq!(expected.len(), listed, "a value is listed twice");
    for vector in vectors {
        let name = vector.name;
        let decoded = decode(&vector.bytes);
        match vector.verdict {
            Verdict::Error { field, code } => {
                let error = decoded.expect_err(name);
                assert_eq!(
                    (error.field, error.code().0),
                    (field, code),
                    "{name}: {error}"
                );
                assert!(error.offset <= vector.bytes.len() as u64, "{name}: {error}");
            }
            verdict => {
                let value = decoded.unwrap_or_else(|error| panic!("{name}: {error}"));
                let wanted = expected
                    .remove(name)
                    .unwrap_or_else(|| panic!("{name} has no value"));
                assert_eq!(value, wanted, "{name}");
                let again = encode(&value);
                if matches!(verdict, Verdict::Ok) {
                    assert_eq!(hex(&again), hex(&vector.bytes), "{name}");
                } else {
                    assert!(again.len() < vector.bytes.len(), "{name}");
                    assert_eq!(decode(&again).as_ref(), Ok(&value), "{name}");
                }
            }
        }
    }
    assert!(
        expected.is_empty(),
        "values without a vector: {:?}",
        expected.keys()
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn namespace(fields: &[&[u8]]) -> TrackNamespace {
    TrackNamespace::new(fields.iter().map(|field| Bytes::copy_from_slice(field))).unwrap()
}

fn prefix(fields: &[&[u8]]) -> NamespacePrefix {
    NamespacePrefix::new(fields.iter().map(|field| Bytes::copy_from_slice(field))).unwrap()
}

fn track(fields: &[&[u8]], name: &[u8]) -> FullTrackName {
    FullTrackName::new(namespace(fields), Bytes::copy_from_slice(name)).unwrap()
}

fn number(key: u64, value: u64) -> KeyValuePair {
    KeyValuePair::Varint { key, value }
}

fn blob(key: u64, value: &'static [u8]) -> KeyValuePair {
    let value = Bytes::from_static(value);
    KeyValuePair::Bytes { key, value }
}

fn extensions(pairs: &[KeyValuePair]) -> Extensions {
    Extensions::from_pairs(pairs).unwrap()
}
