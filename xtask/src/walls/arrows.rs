//! Imports between the parts of the library point one way.
//!
//! Test code may use what its part may use, and every pure part beside.

use std::collections::BTreeSet;

use super::rule::{PURE, Violation, part};
use crate::{
    paths::{Form, References},
    source::CrateSource,
};

/// Which parts a part may use; itself is always allowed.
const ARROWS: [(&str, &[&str]); 9] = [
    ("model", &[]),
    ("session", &["model"]),
    ("track", &["model"]),
    ("relay", &["model", "session", "track"]),
    ("transport", &["model"]),
    ("peer", &["model", "session", "track", "transport"]),
    (
        "client",
        &["model", "session", "track", "transport", "peer"],
    ),
    (
        "relay/serve",
        &["model", "session", "track", "transport", "peer", "relay"],
    ),
    ("fuzzing", &PURE),
];

pub(super) fn check(source: &CrateSource, references: &References<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, file) in source.files.iter().enumerate() {
        let Some(from) = part(source, file) else {
            continue;
        };
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == from) else {
            let message = format!(
                "`{from}` is not in the table of parts: give it a row in xtask/src/walls/arrows.rs \
                 that says what it may use"
            );
            found.push(Violation::new(file, 1, "arrows", message));
            continue;
        };
        // An import and the paths through it are one mistake.
        let mut told = BTreeSet::new();
        for reference in references.of(index) {
            let Some(target) = references.resolve(&reference.path) else {
                continue;
            };
            let target = &source.files[target.file()];
            let to = match part(source, target) {
                Some(to) => Some(to),
                // A part that the tree does not hold, or something of the root itself.
                None => ARROWS
                    .iter()
                    .map(|(name, _)| *name)
                    .find(|name| reference.path.get(1).is_some_and(|part| part == name)),
            };
            let facade =
                reference.form == Form::Reexport && target.module.starts_with(&file.module);
            let free = reference.in_test && to.is_none_or(|to| PURE.contains(&to));
            if facade || free || to == Some(from) || to.is_some_and(|to| allowed.contains(&to)) {
                continue;
            }
            if !told.insert(&reference.path[..reference.path.len().min(3)]) {
                continue;
            }
            let path = reference.text();
            let message = match to {
                None => format!(
                    "`{path}` goes through the crate root, which only re-exports: name the module that defines it"
                ),
                Some(to) => format!(
                    "`{from}` uses `{path}` of `{to}`, but may use only {allowed:?}: move what both need \
                     into a part below, or pass it in"
                ),
            };
            found.push(Violation::new(file, reference.line, "arrows", message));
        }
    }
    found
}
