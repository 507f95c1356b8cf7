//! Wall 1: the dependencies of the pure part do no I/O, and media knows no network.

use std::{collections::BTreeSet, path::Path, process::Command};

use super::rule::Violation;
use crate::Result;

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

/// Crates that would bring a network into `moqtail-media`.
const NETWORK: [&str; 6] = ["hyper", "mio", "quinn", "rustls", "socket2", "tokio"];

/// Whether cargo may ask the registry for packages that are not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Missing packages are downloaded; the lock file decides the versions.
    Allowed,
    /// What is there must do; the lock file may be completed from it.
    Offline,
}

/// Compares the dependencies of the library without features, and those of media, with what is allowed.
pub fn dependencies(root: &Path, network: Network) -> Result<Vec<Violation>> {
    let violation = |package: &str, message| Violation {
        file: format!("crates/{package}/Cargo.toml"),
        line: 0,
        rule: "dependencies",
        message,
    };
    let mut found = Vec::new();
    for name in tree(root, network, &["moqtail", "--no-default-features"])? {
        if !ALLOWED.contains(&name.as_str()) {
            let message = format!(
                "the pure part depends on `{name}`: make it optional and part of the feature `net`, or, \
                 if it does no I/O, name it in xtask/src/walls/dependencies.rs"
            );
            found.push(violation("moqtail", message));
        }
    }
    for name in tree(root, network, &["moqtail-media"])? {
        if NETWORK.contains(&name.as_str()) {
            let message = format!("media depends on `{name}`: it turns bytes into bytes");
            found.push(violation("moqtail-media", message));
        }
    }
    Ok(found)
}

/// Names in the dependency tree of a package, its own included, ordered.
fn tree(root: &Path, network: Network, package: &[&str]) -> Result<BTreeSet<String>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        .args([
            "tree",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .arg(match network {
            Network::Allowed => "--locked",
            Network::Offline => "--offline",
        })
        .arg("--package")
        .args(package)
        .output()
        .map_err(|error| format!("cargo tree: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let tree = String::from_utf8(output.stdout)?;
    Ok(tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect())
}
