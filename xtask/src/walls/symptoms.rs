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
        let file = folder.join(path);
        let source = fs::read_to_string(&file).unwrap_or_default();
        let main = fs::read_to_string(file.with_file_name("main.rs")).unwrap_or_default();
        if !(has_test(&source, test) || declares(&source, test) && is_in_contract(&main, test)) {
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

/// Start of a line that opens a macro of stories, each of which becomes a test for each carrier.
const STORIES: &str = "over_";

/// Whether the function of a line has this name, with or without generics.
fn is_declared(line: &str, name: &str) -> bool {
    let declared = line.split_once("fn ").map(|(before, after)| {
        let after = after.strip_prefix(name);
        !before.contains("//") && after.is_some_and(|rest| rest.starts_with(['(', '<']))
    });
    declared == Some(true)
}

fn declares(source: &str, name: &str) -> bool {
    source.lines().any(|line| is_declared(line, name))
}

/// Whether a function of this name has an attribute that makes it a test, or is a story.
fn has_test(source: &str, name: &str) -> bool {
    let (mut attribute, mut stories) = (false, false);
    for line in source.lines() {
        if line.starts_with(STORIES) && line.ends_with("! {") {
            stories = true;
        } else if line.starts_with('}') {
            stories = false;
        }
        if (attribute || stories) && is_declared(line, name) {
            return true;
        }
        let code = line.trim_start();
        if code.starts_with("#[test") || code.starts_with("#[tokio::test") {
            attribute = true;
        } else if !code.starts_with("#[") && !code.starts_with("//") {
            attribute = false;
        }
    }
    false
}

/// Whether the main file beside it runs a function of this name for each carrier.
fn is_in_contract(main: &str, name: &str) -> bool {
    let mut lines = main.lines().map(|line| line.trim().trim_end_matches(','));
    lines.any(|line| line.rsplit_once("::").is_some_and(|(_, last)| last == name))
}
