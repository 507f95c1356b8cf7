//! The lints that stand behind walls are on: a crate under the workspace's lint table and `clippy.toml`
//! that breaks them does not pass.

use std::{fs, process::Command};

use crate::scratch::{Scratch, checkout};

/// What clippy prints about a crate with this text, and whether it passed.
fn clippy(name: &str, text: &str) -> (bool, String) {
    let scratch = Scratch::empty(name);
    let manifest = fs::read_to_string(checkout().join("Cargo.toml")).expect("the workspace");
    let lints = manifest
        .split("\n[")
        .filter(|table| table.starts_with("workspace.lints."))
        .map(|table| format!("\n[{table}"))
        .collect::<String>();
    scratch.write(
        "Cargo.toml",
        &format!("[workspace]\nmembers = [\"planted\"]\n{lints}"),
    );
    scratch.write(
        "planted/Cargo.toml",
        "[package]\nname = \"planted\"\nedition = \"2024\"\n\n[lints]\nworkspace = true\n",
    );
    scratch.write("planted/src/lib.rs", text);
    let config = fs::read_to_string(checkout().join("clippy.toml")).expect("clippy.toml");
    scratch.write("clippy.toml", &config);
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(scratch.root())
        .args([
            "clippy",
            "--offline",
            "--target-dir",
            "target",
            "--",
            "-D",
            "warnings",
        ])
        .output()
        .expect("cargo clippy runs");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[track_caller]
fn refused(name: &str, text: &str, because: &str) {
    let (passed, printed) = clippy(name, &format!("//! Planted.\n\n{text}"));
    assert!(!passed && printed.contains(because), "{printed}");
}

#[test]
fn clean_code_passes() {
    let (passed, printed) = clippy("lint-none", "//! Planted.\n");
    assert!(passed, "{printed}");
}

#[test]
fn clocks_threads_and_sleeps() {
    let text = "fn f() {\n    std::time::Instant::now();\n}\n";
    refused("lint-clock", text, "std::time::Instant::now");
    let text = "/// F.\npub fn f() {\n    std::thread::sleep(std::time::Duration::ZERO);\n}\n";
    refused("lint-sleep", text, "std::thread::sleep");
    let text = "/// F.\npub fn f() {\n    std::thread::spawn(|| ());\n}\n";
    refused("lint-spawn", text, "std::thread::spawn");
}

#[test]
fn the_order_of_a_hash_map() {
    let map = "m: &std::collections::HashMap<u8, u8>";
    let text = format!("/// F.\npub fn f({map}) -> Option<&u8> {{\n    m.values().next()\n}}\n");
    refused("lint-values", &text, "HashMap::values");
    let text = format!("/// F.\npub fn f({map}) {{\n    for _ in m {{}}\n}}\n");
    refused("lint-loop", &text, "iter-over-hash-type");
}

#[test]
fn unwrap_unsafe_and_missing_docs() {
    let text = "/// F.\npub fn f(n: Option<u8>) -> u8 {\n    n.unwrap()\n}\n";
    refused("lint-unwrap", text, "unwrap-used");
    let text = "/// F.\npub fn f(n: *const u8) -> u8 {\n    unsafe { *n }\n}\n";
    refused("lint-unsafe", text, "unsafe");
    refused("lint-docs", "pub fn f() {}\n", "missing documentation");
}
