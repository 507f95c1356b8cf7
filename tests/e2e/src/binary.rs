//! The program under test.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// Path of the `moqtail` program, built once per test process in the profile of the tests.
/// The environment variable `MOQTAIL_E2E_BINARY` names another one to test.
///
/// # Panics
/// If it cannot be built.
pub fn moqtail() -> &'static Path {
    static BINARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = BINARY.get_or_init(|| match std::env::var_os("MOQTAIL_E2E_BINARY") {
        Some(path) => Some(path.into()),
        None => build(),
    });
    found.as_deref().expect("the program builds")
}

fn build() -> Option<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--quiet",
        "--package",
        "moqtail-cli",
        "--message-format",
        "json",
    ]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = cargo.output().expect("cargo runs");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}
