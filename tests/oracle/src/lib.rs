//! Differential tests against an independent codec of draft 14, `moqtap-codec`.
//!
//! Three properties are held, each over values and bytes made from a fixed seed:
//!
//! - A: what moqtail writes, the other codec reads as the same value and writes again in the same bytes;
//! - B: what the other codec writes, moqtail reads and writes again in the same bytes;
//! - C: of damaged bytes both give the same verdict, and the same value if they accept them.
//!
//! The other codec is not the law. Where the two differ, `known_differences` says which one follows the draft and why; a
//! difference that is not listed there fails the test.

pub mod convert;
pub mod generate;
pub mod known_differences;
pub mod report;

use moqtail::model::{ControlMessage, DecodeError, draft14::ControlDecoder};
use moqtap_codec::draft14::message::ControlMessage as Theirs;
use moqtap_codec::error::CodecError;

/// Our verdict on `bytes`, which hold one whole frame; `None` if they hold less or more.
pub fn decode_ours(bytes: &[u8]) -> Option<Result<ControlMessage, DecodeError>> {
    let mut decoder = ControlDecoder::default();
    decoder.push(bytes);
    decoder.next().transpose()
}

/// Their verdict on the first frame in `bytes`; `None` if they hold less.
pub fn decode_theirs(mut bytes: &[u8]) -> Option<Result<Theirs, CodecError>> {
    match Theirs::decode(&mut bytes) {
        Err(CodecError::UnexpectedEnd | CodecError::VarInt(_)) => None,
        verdict => Some(verdict),
    }
}

/// The bytes of every line `name | hex | …` in a file of vectors; `61*300` is the byte 61, 300 times.
pub fn vectors(text: &str) -> impl Iterator<Item = Vec<u8>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let hex = line.split('|').nth(1)?;
        Some(hex.split_whitespace().flat_map(bytes_of).collect())
    })
}

fn bytes_of(token: &str) -> Vec<u8> {
    let (hex, times) = token.split_once('*').unwrap_or((token, "1"));
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    let bytes: Vec<_> = (0..hex.len()).step_by(2).map(byte).collect();
    bytes.repeat(times.parse().expect("a number"))
}
