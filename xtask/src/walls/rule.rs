//! What the walls share: how a violation is told, and the parts of the library.

use std::fmt;

use crate::source::{CrateSource, SourceFile};

/// One place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Path from the root of the checkout.
    pub file: String,
    /// Line, from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// Name of the rule, such as `arrows`.
    pub rule: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

impl Violation {
    pub(super) fn new(file: &SourceFile, line: usize, rule: &'static str, message: String) -> Self {
        Self {
            file: file.path.clone(),
            line,
            rule,
            message,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: [{}] {}",
            self.file, self.line, self.rule, self.message
        )
    }
}

/// The part of the library that a file belongs to; `None` for the crate root.
///
/// A part is a folder or file next to `lib.rs`, except that the shell of the relay, everything in
/// `relay/` whose first name starts with `serve`, stands apart from the relay's core.
pub(super) fn part<'a>(source: &CrateSource, file: &'a SourceFile) -> Option<&'a str> {
    let mut names = source.inner_path(file).trim_end_matches(".rs").split('/');
    match (names.next()?, names.next()) {
        ("lib", None) => None,
        ("relay", Some(name)) if name.starts_with("serve") => Some("relay/serve"),
        (top, _) => Some(top),
    }
}

/// Parts without I/O, clock, randomness and tasks.
pub(super) const PURE: [&str; 4] = ["model", "session", "track", "relay"];

/// Whether a word is or holds `draft` and a number, in any case.
pub(super) fn names_draft(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    word.split("draft").skip(1).any(|rest| {
        rest.trim_start_matches('_')
            .starts_with(|first: char| first.is_ascii_digit())
    })
}
