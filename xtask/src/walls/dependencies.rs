//! Wall 1: the pure part builds alone, and its dependencies do no I/O.

use std::{path::Path, process::Command};

use super::rule::Violation;
use crate::Result;

const MANIFEST: &str = "crates/moqtail/Cargo.toml";

/// Every crate that the pure part may bring, its dependencies' own included.
const ALLOWED: [&str; 13] = [
    "moqtail",
    "bytes",
    "once_cell",
    "pin-project-lite",
    "proc-macro2",
    "quote",
    "syn",
    "thiserror",
    "thiserror-impl",
    "tracing",
    "tracing-attributes",
    "tracing-core",
    "unicode-ident",
];

/// Whether cargo may ask the registry for packages that are not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Missing packages are downloaded; the lock file decides the versions.
    Allowed,
    /// What is there must do; the lock file may be completed from it.
    Offline,
}

/// Compares the dependencies of the library without features with the list of what is allowed.
pub fn dependencies(root: &Path, network: Network) -> Result<Vec<Violation>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .args(["tree", "--package", "moqtail", "--no-default-features"])
        .args([
            "--edges",
            "normal,build",
            "--target",
            "all",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .arg(match network {
            Network::Allowed => "--locked",
            Network::Offline => "--offline",
        })
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let tree = String::from_utf8(output.stdout)?;
    let mut names: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    names.sort_unstable();
    names.dedup();
    Ok(names
        .into_iter()
        .filter(|name| !ALLOWED.contains(name))
        .map(|name| Violation {
            file: MANIFEST.to_owned(),
            line: 0,
            rule: "dependencies",
            message: format!(
                "the pure part depends on `{name}`: make it optional and part of the feature `net`, or, \
                 if it does no I/O, name it in xtask/src/walls/dependencies.rs"
            ),
        })
        .collect())
}
