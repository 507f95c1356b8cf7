//! What holds for every file of the repository: no notes to self, no paths of one machine, no file
//! too long to be read, no test that does not run.

use std::{fs, path::Path};

use super::rule::Violation;
use crate::{Result, source::files_under};

/// Longest source file in lines; look for a seam well before.
const MAX_LINES: usize = 700;

// Written in pieces, since this file is checked as well.
const NOTES: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];
const STUBS: [&str; 4] = [
    concat!("to", "do!("),
    concat!("un", "implemented!("),
    concat!("not ", "implemented"),
    concat!("not yet ", "implemented"),
];
const MACHINE_PATHS: [&str; 3] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];
const SKIPPED_TESTS: [&str; 5] = [
    concat!("#[ig", "nore"),
    concat!("it.", "skip("),
    concat!("test.", "skip("),
    concat!("describe.", "skip("),
    concat!("test.", "todo("),
];

pub(super) fn check(root: &Path) -> Result<Vec<Violation>> {
    let mut found = Vec::new();
    for path in files_under(root, "")? {
        // Media and corpora are bytes; they hold no prose.
        let Ok(text) = fs::read_to_string(root.join(&path)) else {
            continue;
        };
        let mut report = |line: usize, message: String| {
            found.push(Violation {
                file: path.clone(),
                line,
                rule: "hygiene",
                message,
            });
        };
        let source = [".rs", ".js", ".mjs"].iter().any(|end| path.ends_with(end));
        let script = source
            || [".sh", ".html", ".css", ".toml"]
                .iter()
                .any(|end| path.ends_with(end));
        let lines = text.lines().count();
        if source && lines > MAX_LINES {
            report(
                lines,
                format!("{lines} lines, at most {MAX_LINES}: split it at a natural seam"),
            );
        }
        for (line, text) in text.lines().enumerate().map(|(at, text)| (at + 1, text)) {
            if MACHINE_PATHS
                .iter()
                .any(|part| names_machine_path(text, part))
            {
                report(
                    line,
                    "a path of one machine: use a relative path or a variable".to_owned(),
                );
            }
            if !script {
                continue;
            }
            let note = NOTES.iter().find(|note| has_word(text, note));
            if let Some(what) = note.or(STUBS.iter().find(|stub| text.contains(*stub))) {
                report(
                    line,
                    format!("`{what}`: finish it, or leave it out and say so in the docs"),
                );
            }
            if let Some(what) = SKIPPED_TESTS.iter().find(|skip| text.contains(*skip)) {
                report(
                    line,
                    format!("`{what}`: a test that does not run; mend it or delete it"),
                );
            }
        }
    }
    Ok(found)
}

/// Whether `part` occurs as the start of an absolute path, not inside a URL or a longer path.
fn names_machine_path(text: &str, part: &str) -> bool {
    text.match_indices(part).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || "._-)}".contains(c)))
    })
}

fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let outside = |c: Option<char>| c.is_none_or(|c| !(c.is_alphanumeric() || c == '_'));
        outside(text[..at].chars().next_back()) && outside(text[at + word.len()..].chars().next())
    })
}
