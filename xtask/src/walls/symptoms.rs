//! The list of symptoms names the tests that would show them: each has to exist under its name.

use std::{fs, path::Path};

use super::rule::Violation;
use crate::Result;

/// Folder and name of the list; its links start from the folder.
const FOLDER: &str = "crates/moqtail-conformance";
const NAME: &str = "SYMPTOMS.md";

/// Start of a section with a symptom, and of a line that names a test.
const SECTION: &str = "### ";
const ITEM: &str = "- [`";

pub(super) fn check(root: &Path) -> Result<Vec<Violation>> {
    let folder = root.join(FOLDER);
    let Ok(text) = fs::read_to_string(folder.join(NAME)) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    let mut report = |line: usize, message: String| {
        found.push(Violation {
            file: format!("{FOLDER}/{NAME}"),
            line,
            rule: "symptoms",
            message,
        });
    };
    // The section that has named no test yet.
    let mut bare: Option<(usize, &str)> = None;
    let no_test = |heading: &str| format!("`{heading}` names no test: write one that shows it");
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        if line.starts_with('#')
            && let Some((at, heading)) = bare.take()
        {
            report(at, no_test(heading));
        }
        if let Some(heading) = line.strip_prefix(SECTION) {
            bare = Some((number, heading));
        }
        let Some(item) = line.strip_prefix(ITEM) else {
            continue;
        };
        bare = None;
        let Some((test, path)) = item
            .strip_suffix(')')
            .and_then(|item| item.split_once("`]("))
        else {
            report(
                number,
                format!("write it as {ITEM}test`](path of its file)"),
            );
            continue;
        };
        let source = fs::read_to_string(folder.join(path)).unwrap_or_default();
        if !has_function(&source, test) {
            report(
                number,
                format!("no test `{test}` in `{path}`: name the one that shows the symptom"),
            );
        }
    }
    if let Some((at, heading)) = bare {
        report(at, no_test(heading));
    }
    Ok(found)
}

/// Whether a line declares a function of this name, with or without generics.
fn has_function(source: &str, name: &str) -> bool {
    source.lines().any(|line| {
        let declared = line.split_once("fn ").map(|(before, after)| {
            let after = after.strip_prefix(name);
            !before.contains("//") && after.is_some_and(|rest| rest.starts_with(['(', '<']))
        });
        declared == Some(true)
    })
}
