//! Wall 2: the pure parts read no clock, spawn nothing, draw no randomness and do no I/O.
//!
//! Clippy holds the same line against methods (`disallowed-methods`, `iter_over_hash_type`); this check
//! also sees what no feature or platform of the build at hand compiles.

use super::rule::{PURE, Violation, part};
use crate::{
    paths::{Reference, References},
    source::{CrateSource, TokenKind},
};

/// Paths with what to do instead.
const PATHS: [(&str, &str); 15] = [
    ("tokio", "belongs to a shell"),
    ("futures", "belongs to a shell"),
    ("std::env", "pass the value in"),
    ("std::fs", "belongs to a shell"),
    ("std::io", "belongs to a shell"),
    ("std::net", "belongs to a shell"),
    ("std::process", "belongs to a shell"),
    ("std::thread", "belongs to a shell"),
    (
        "std::time::Instant::now",
        "take `now: Instant` as an argument",
    ),
    ("std::time::SystemTime", "take the time as an argument"),
    ("std::hash::RandomState", "hash with a fixed seed"),
    ("rand", "take the number as an argument"),
    ("fastrand", "take the number as an argument"),
    ("getrandom", "take the bytes as an argument"),
    ("quinn", "belongs to a shell"),
];

/// Words that are wrong however they are reached.
const WORDS: [(&str, &str); 4] = [
    ("async", "the pure part waits for nothing"),
    ("await", "the pure part waits for nothing"),
    ("spawn", "only shells spawn"),
    ("RandomState", "hash with a fixed seed"),
];

pub(super) fn check(source: &CrateSource, references: &References<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, file) in source.files.iter().enumerate() {
        let Some(part) = part(source, file).filter(|part| PURE.contains(part)) else {
            continue;
        };
        let mut report = |line, what: &str, instead| {
            let message = format!("`{what}` in the pure part `{part}`: {instead}");
            found.push(Violation::new(file, line, "pure", message));
        };
        for reference in references.of(index).iter().filter(|one| !one.in_test) {
            if let Some((_, instead)) = PATHS.iter().find(|(path, _)| reaches(reference, path)) {
                report(reference.line, &reference.text(), instead);
            }
        }
        for at in file.shipped() {
            let token = &file.tokens[at];
            let word = WORDS.iter().find(|(word, _)| token.text == *word);
            if let Some((_, instead)) = word.filter(|_| token.kind == TokenKind::Ident) {
                report(token.line, &token.text, instead);
            }
        }
    }
    found
}

/// Addresses are values; sockets are what the shells have.
const VALUES: [&str; 3] = [
    "core::net::IpAddr",
    "core::net::Ipv4Addr",
    "core::net::Ipv6Addr",
];

/// Whether a reference is at or below a path of `std`, also by its name in `core`.
fn reaches(reference: &Reference, path: &str) -> bool {
    let in_core = |rest: &str| {
        reference.is_below(&format!("core{rest}"))
            && !VALUES.iter().any(|value| reference.is_below(value))
    };
    reference.is_below(path) || path.strip_prefix("std").is_some_and(in_core)
}
