//! The rules between the parts of the source tree, one file each.
//!
//! Every check is a function over the root of a checkout, so that a test can plant a violation in a
//! scratch copy. [`sources`] runs all that only read files, [`dependencies`] asks cargo.

mod arrows;
mod codes;
mod dependencies;
mod hygiene;
mod limits;
mod loops;
mod panics;
mod pure;
mod relay_core;
mod rule;
mod surface;
mod symptoms;

use std::path::Path;

use crate::{Result, paths::References, source::CrateSource};

pub use dependencies::{Network, dependencies};
pub use rule::Violation;

/// Sources of the library, where most walls stand.
const LIBRARY: &str = "crates/moqtail/src";

/// Every crate of the workspace by its source folder.
const CRATES: [&str; 8] = [
    LIBRARY,
    "crates/moqtail-media/src",
    "crates/moqtail-cli/src",
    "crates/moqtail-conformance/src",
    "crates/moqtail-sim/src",
    "tests/e2e/src",
    "tests/oracle/src",
    "xtask/src",
];

/// Runs every check that only reads files.
pub fn sources(root: &Path) -> Result<Vec<Violation>> {
    let library = CrateSource::load(root, LIBRARY)?;
    let references = References::collect(&library);
    let mut found = Vec::new();
    found.extend(arrows::check(&library, &references));
    found.extend(pure::check(&library, &references));
    found.extend(relay_core::check(&library, &references));
    found.extend(codes::check(&library));
    found.extend(limits::check(&library));
    found.extend(panics::check(&library));
    found.extend(surface::check(&library, &references));
    for dir in CRATES {
        let source = CrateSource::load(root, dir)?;
        found.extend(loops::check(&source, &References::collect(&source)));
    }
    found.extend(hygiene::check(root)?);
    found.extend(symptoms::check(root)?);
    found.sort();
    found.dedup();
    Ok(found)
}
