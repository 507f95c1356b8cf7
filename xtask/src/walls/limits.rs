//! Wall 5: every queue, table and buffer has its cap in a `Limits` struct of its part.

use super::rule::{Violation, part};
use crate::source::{CrateSource, SourceFile, TokenKind};

/// Parts whose caps are choices of this implementation; those in `model` are the draft's.
const CAPPED: [&str; 7] = [
    "session",
    "track",
    "relay",
    "transport",
    "peer",
    "client",
    "relay/serve",
];

const UNBOUNDED: [&str; 4] = [
    "UnboundedReceiver",
    "UnboundedSender",
    "unbounded",
    "unbounded_channel",
];

/// Calls whose first argument is a cap.
const CAPPING: [[&str; 3]; 4] = [
    ["mpsc", "::", "channel"],
    ["broadcast", "::", "channel"],
    ["Semaphore", "::", "new"],
    ["VecDeque", "::", "with_capacity"],
];

pub(super) fn check(source: &CrateSource) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in &source.files {
        let capped = part(source, file).is_some_and(|part| CAPPED.contains(&part));
        let in_limits = source.inner_path(file).ends_with("limits.rs");
        for at in file.shipped() {
            let token = &file.tokens[at];
            let mut report = |message: String| {
                found.push(Violation::new(file, token.line, "limits", message));
            };
            if UNBOUNDED.contains(&token.text.as_str()) && token.kind == TokenKind::Ident {
                report(format!(
                    "`{}` has no cap: use a bounded queue with a cap from the part's `Limits`",
                    token.text
                ));
            }
            match first_argument_of_cap(file, at) {
                Some(")") if token.text == "mpsc" => {
                    report("`mpsc::channel()` has no cap: use `sync_channel`".to_owned());
                }
                Some(argument) if argument.starts_with(|first: char| first.is_ascii_digit()) => {
                    report(format!(
                        "the cap {argument} has no name: make it a documented field of the part's `Limits`"
                    ));
                }
                _ => {}
            }
            if capped && !in_limits && token.text == "const" && names_cap(file.text(at + 1)) {
                report(format!(
                    "`{}` is a cap outside limits.rs: make it a documented field of the part's `Limits`, \
                     or a constant of model if the draft sets it",
                    file.text(at + 1)
                ));
            }
        }
    }
    found
}

fn first_argument_of_cap(file: &SourceFile, at: usize) -> Option<&str> {
    if file.reads(at, &["sync_channel", "("]) {
        return Some(file.text(at + 2));
    }
    let start = CAPPING
        .iter()
        .find(|call| file.reads(at, *call))
        .map(|call| at + call.len())?;
    // `channel::<T>(…)`
    let open = (start..start + 32).find(|&at| file.text(at) == "(")?;
    (open == start || file.text(start) == "::").then(|| file.text(open + 1))
}

fn names_cap(name: &str) -> bool {
    name.starts_with("MAX_")
        || ["_MAX", "_LIMIT", "_CAP", "_CAPACITY"]
            .iter()
            .any(|end| name.ends_with(end))
}
