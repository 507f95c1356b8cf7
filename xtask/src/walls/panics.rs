//! The library panics nowhere on purpose, since a peer's bytes or behaviour may lead there.
//!
//! `assert!` stays allowed for what the compiler can check (`const _: () = assert!(…)`), and `debug_assert!` for
//! what only a mistake of ours can break.

use super::rule::{Violation, part};
use crate::source::CrateSource;

const CALLS: [[&str; 3]; 2] = [[".", "unwrap", "("], [".", "expect", "("]];

const MACROS: [&str; 2] = ["panic", "unreachable"];

pub(super) fn check(source: &CrateSource) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in &source.files {
        if part(source, file) == Some("fuzzing") {
            continue; // Panics are how a fuzz target reports.
        }
        for at in file.shipped() {
            let call = CALLS
                .iter()
                .find(|call| file.reads(at, *call))
                .map(|call| call[1]);
            let word = file.text(at);
            let panics = MACROS.contains(&word) && file.text(at + 1) == "!";
            if let Some(what) = call.or(panics.then_some(word)) {
                let message = format!(
                    "`{what}` can panic: return an error, or shape the types so that the case cannot arise"
                );
                found.push(Violation::new(
                    file,
                    file.tokens[at].line,
                    "panics",
                    message,
                ));
            }
        }
    }
    found
}
