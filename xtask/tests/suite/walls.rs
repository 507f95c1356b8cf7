//! Each wall catches a violation planted in a scratch tree, and the real tree stands.

use xtask::walls::{self, Network, Violation};

use crate::scratch::{Scratch, checkout};

/// What the walls find in a tree that holds this file only.
fn planted(name: &str, file: &str, text: &str) -> Vec<Violation> {
    let scratch = Scratch::of_library(name);
    scratch.write(file, text);
    walls::sources(scratch.root()).expect("a readable tree")
}

/// Asserts that exactly this line breaks exactly this rule, with a message that holds `says`.
#[track_caller]
fn caught(found: &[Violation], file: &str, line: usize, rule: &str, says: &str) {
    let [one] = found else {
        panic!("expected one violation, got {found:#?}")
    };
    assert_eq!(
        (one.file.as_str(), one.line, one.rule),
        (file, line, rule),
        "{one}"
    );
    assert!(one.message.contains(says), "{one}");
}

#[test]
fn the_real_tree_stands() {
    let found = walls::sources(&checkout()).expect("a readable checkout");
    assert!(
        found.is_empty(),
        "{}",
        found
            .iter()
            .map(|one| format!("{one}\n"))
            .collect::<String>()
    );
    let found = walls::dependencies(&checkout(), Network::Allowed).expect("cargo tree");
    assert!(found.is_empty(), "{found:#?}");
}

/// What the walls find when a package depends on a new crate of this name.
fn planted_dependency(package: &str, name: &str) -> Vec<Violation> {
    // Brings what the offline look at the planted tree needs.
    walls::dependencies(&checkout(), Network::Allowed).expect("cargo tree");
    let scratch = Scratch::of_manifests(&format!("dependency-{name}"));
    scratch.write(
        &format!("crates/planted-{name}/Cargo.toml"),
        &format!("[package]\nname = \"{name}\"\nversion = \"99.0.0\"\nedition = \"2024\"\n"),
    );
    scratch.write(&format!("crates/planted-{name}/src/lib.rs"), "");
    scratch.append(
        &format!("crates/{package}/Cargo.toml"),
        &format!(
            "\n[target.'cfg(unix)'.dependencies]\n{name} = {{ path = \"../planted-{name}\" }}\n"
        ),
    );
    walls::dependencies(scratch.root(), Network::Offline).expect("cargo tree")
}

#[test]
fn a_runtime_among_the_pure_dependencies() {
    let found = planted_dependency("moqtail", "runtime");
    caught(
        &found,
        "crates/moqtail/Cargo.toml",
        0,
        "dependencies",
        "`runtime`",
    );
}

#[test]
fn a_network_in_media() {
    let found = planted_dependency("moqtail-media", "mio");
    caught(
        &found,
        "crates/moqtail-media/Cargo.toml",
        0,
        "dependencies",
        "`mio`",
    );
}

#[test]
fn a_clock_in_the_pure_part() {
    let text = "use std::time::Instant;\npub fn late() -> Instant {\n    Instant::now()\n}\n";
    let file = "crates/moqtail/src/session/planted.rs";
    caught(
        &planted("clock", file, text),
        file,
        3,
        "pure",
        "std::time::Instant::now",
    );
}

#[test]
fn a_runtime_in_the_pure_part() {
    let file = "crates/moqtail/src/track/planted.rs";
    let text = "use tokio::sync::{mpsc, Notify};\n";
    let found = planted("runtime-use", file, text);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found.iter().all(|one| one.rule == "pure" && one.line == 1),
        "{found:#?}"
    );
}

#[test]
fn clocks_in_tests_of_the_pure_part_are_fine() {
    let text =
        "#[cfg(test)]\nmod tests {\n    fn now() {\n        std::time::Instant::now();\n    }\n}\n";
    let found = planted(
        "clock-in-test",
        "crates/moqtail/src/session/planted.rs",
        text,
    );
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_socket_in_the_relay_core() {
    let file = "crates/moqtail/src/relay/planted.rs";
    let text = "/// A draft-14 SocketAddr in a comment is fine.\npub struct Peer(pub StreamId);\n";
    caught(
        &planted("socket", file, text),
        file,
        2,
        "relay core",
        "StreamId",
    );
}

#[test]
fn a_draft_in_the_relay_core() {
    let file = "crates/moqtail/src/relay/planted.rs";
    let found = planted("draft", file, "pub struct Draft14Head;\n");
    assert!(
        found.iter().any(|one| one.rule == "relay core"),
        "{found:#?}"
    );
}

#[test]
fn the_relay_shell_may_name_sockets() {
    let text = "use std::net::SocketAddr;\npub struct Peer(pub SocketAddr);\n";
    let found = planted(
        "shell-socket",
        "crates/moqtail/src/relay/serve/planted.rs",
        text,
    );
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_close_code_picked_in_a_shell() {
    let file = "crates/moqtail/src/client/planted.rs";
    let text =
        "pub(crate) fn bye(c: &C) {\n    c.close(SessionCode::PROTOCOL_VIOLATION, \"\");\n}\n";
    caught(
        &planted("close-code", file, text),
        file,
        2,
        "codes",
        "close code",
    );
}

#[test]
fn a_shell_may_close_without_error() {
    let file = "crates/moqtail/src/client/planted.rs";
    let text = "pub(crate) fn bye(c: &C) {\n    c.close(SessionCode::NO_ERROR, \"\");\n}\n";
    assert_eq!(planted("close-well", file, text), []);
}

#[test]
fn a_close_code_as_a_number() {
    let file = "crates/moqtail/src/peer/planted.rs";
    let text = "pub(crate) fn bye(c: &C) {\n    c.close(3, \"\");\n}\n";
    caught(
        &planted("close-number", file, text),
        file,
        2,
        "codes",
        "close code",
    );
}

#[test]
fn the_codec_named_outside_its_seam() {
    let file = "crates/moqtail/src/session/planted.rs";
    let text = "use crate::model::draft14;\n";
    caught(&planted("codec", file, text), file, 1, "codes", "draft14");
}

#[test]
fn a_type_number_outside_the_model() {
    let file = "crates/moqtail/src/session/planted.rs";
    let text = "pub fn is_fetch(kind: u64) -> bool {\n    kind == 0x16\n}\n";
    caught(&planted("number", file, text), file, 2, "codes", "0x16");
}

#[test]
fn an_unnamed_cap() {
    let file = "crates/moqtail/src/client/planted.rs";
    let text = "fn queue() {\n    let _ = tokio::sync::mpsc::channel::<u8>(32);\n}\n";
    caught(&planted("cap", file, text), file, 2, "limits", "32");
}

#[test]
fn an_unbounded_queue() {
    let file = "crates/moqtail/src/client/planted.rs";
    let text = "fn queue() {\n    let _ = tokio::sync::mpsc::unbounded_channel::<u8>();\n}\n";
    caught(
        &planted("unbounded", file, text),
        file,
        2,
        "limits",
        "no cap",
    );
}

#[test]
fn a_cap_outside_the_limits() {
    let file = "crates/moqtail/src/relay/planted.rs";
    caught(
        &planted("const", file, "const MAX_PARKED: usize = 3;\n"),
        file,
        1,
        "limits",
        "MAX_PARKED",
    );
}

#[test]
fn an_import_against_the_arrows() {
    let file = "crates/moqtail/src/model/planted.rs";
    let text = "use crate::{session::Session, model::Location};\n";
    let scratch = Scratch::of_library("arrow");
    scratch.write(
        "crates/moqtail/src/session/session.rs",
        "pub struct Session;\n",
    );
    scratch.write(file, text);
    let found = walls::sources(scratch.root()).expect("a readable tree");
    caught(&found, file, 1, "arrows", "crate::session::Session");
}

#[test]
fn the_relay_core_may_not_use_its_shell() {
    let scratch = Scratch::of_library("core-shell");
    scratch.write(
        "crates/moqtail/src/relay/serve/planted.rs",
        "pub struct Listener;\n",
    );
    scratch.write(
        "crates/moqtail/src/relay/planted.rs",
        "use super::serve::planted::Listener;\n",
    );
    let found = walls::sources(scratch.root()).expect("a readable tree");
    caught(
        &found,
        "crates/moqtail/src/relay/planted.rs",
        1,
        "arrows",
        "`relay/serve`",
    );
}

#[test]
fn a_part_without_a_row() {
    let file = "crates/moqtail/src/planted.rs";
    caught(
        &planted("part", file, "pub struct New;\n"),
        file,
        1,
        "arrows",
        "table of parts",
    );
}

#[test]
fn a_loop_of_files() {
    let scratch = Scratch::of_library("loop");
    let dir = "crates/moqtail/src/session";
    scratch.write(
        &format!("{dir}/planted/mod.rs"),
        "mod a;\nmod b;\npub use a::A;\npub use b::B;\n",
    );
    scratch.write(
        &format!("{dir}/planted/a.rs"),
        "use super::B;\npub struct A(B);\n",
    );
    scratch.write(
        &format!("{dir}/planted/b.rs"),
        "pub struct B;\nfn f() {\n    super::A::g();\n}\n",
    );
    let found = walls::sources(scratch.root()).expect("a readable tree");
    caught(
        &found,
        &format!("{dir}/planted/a.rs"),
        1,
        "loops",
        "b.rs:3 uses",
    );
}

#[test]
fn a_facade_is_no_loop() {
    let scratch = Scratch::of_library("facade");
    let dir = "crates/moqtail/src/session/planted";
    scratch.write(
        &format!("{dir}/mod.rs"),
        "mod a;\nmod b;\npub use a::*;\npub use b::B;\n",
    );
    scratch.write(&format!("{dir}/a.rs"), "use super::B;\npub struct A(B);\n");
    scratch.write(&format!("{dir}/b.rs"), "pub struct B;\n");
    let found = walls::sources(scratch.root()).expect("a readable tree");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_private_facade_is_no_loop_unless_the_folder_uses_it() {
    let scratch = Scratch::of_library("private-facade");
    let dir = "crates/moqtail/src/session/planted";
    scratch.write(
        &format!("{dir}/mod.rs"),
        "mod a;\nmod b;\nuse a::A;\npub struct S;\n",
    );
    scratch.write(&format!("{dir}/a.rs"), "use super::S;\npub struct A(S);\n");
    scratch.write(
        &format!("{dir}/b.rs"),
        "use super::{A, S};\npub struct B(A, S);\n",
    );
    let found = walls::sources(scratch.root()).expect("a readable tree");
    assert!(found.is_empty(), "{found:#?}");
    scratch.append(&format!("{dir}/mod.rs"), "pub struct T(A);\n");
    let found = walls::sources(scratch.root()).expect("a readable tree");
    caught(&found, &format!("{dir}/a.rs"), 1, "loops", "mod.rs:3 uses");
}

#[test]
fn a_folder_that_uses_a_child_which_uses_the_folder() {
    let scratch = Scratch::of_library("parent");
    let dir = "crates/moqtail/src/session/planted";
    scratch.write(&format!("{dir}/mod.rs"), "mod a;\npub struct S(a::A);\n");
    scratch.write(
        &format!("{dir}/a.rs"),
        "use super::S;\npub struct A;\nfn f(_: &S) {}\n",
    );
    let found = walls::sources(scratch.root()).expect("a readable tree");
    caught(&found, &format!("{dir}/a.rs"), 1, "loops", "mod.rs:2 uses");
}

#[test]
fn a_panic() {
    let file = "crates/moqtail/src/session/planted.rs";
    let text = "fn f(n: Option<u8>) -> u8 {\n    n.expect(\"a number\")\n}\n";
    caught(
        &planted("expect", file, text),
        file,
        2,
        "panics",
        "`expect`",
    );
    let text = "fn f() {\n    unreachable!();\n}\n";
    caught(
        &planted("unreachable", file, text),
        file,
        2,
        "panics",
        "`unreachable`",
    );
}

#[test]
fn a_transport_type_in_public() {
    let file = "crates/moqtail/src/transport/planted.rs";
    let text = "use quinn::Connection as Inner;\npub struct Link(Inner);\nimpl Link {\n    pub fn inner(&self) -> &Inner {\n        &self.0\n    }\n}\n";
    caught(
        &planted("surface", file, text),
        file,
        4,
        "surface",
        "`quinn`",
    );
}

#[test]
fn a_transport_error_in_a_public_conversion() {
    let file = "crates/moqtail/src/transport/planted.rs";
    let text = "pub struct Broken;\nimpl From<quinn::ConnectionError> for Broken {}\n";
    caught(
        &planted("conversion", file, text),
        file,
        2,
        "surface",
        "`quinn`",
    );
}

#[test]
fn transport_types_of_private_items_are_fine() {
    let file = "crates/moqtail/src/transport/planted.rs";
    let text = "pub struct Link(quinn::Connection);\nstruct Own;\nimpl From<quinn::Connection> for Own {}\npub(crate) fn f(_: quinn::Connection) {}\n";
    let found = planted("private", file, text);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_global() {
    let file = "crates/moqtail/src/client/planted.rs";
    let text = "static ALL: std::sync::Mutex<Vec<u8>> = std::sync::Mutex::new(Vec::new());\n";
    caught(
        &planted("global", file, text),
        file,
        1,
        "surface",
        "a global",
    );
}

#[test]
fn printing() {
    let file = "crates/moqtail/src/client/planted.rs";
    let text = "fn say(s: &'static str) {\n    println!(\"{s}\");\n}\n";
    caught(
        &planted("printing", file, text),
        file,
        2,
        "surface",
        "does not print",
    );
}

#[test]
fn a_note_to_self() {
    let file = "crates/moqtail/src/client/planted.rs";
    let text = concat!("// TO", "DO: later\n");
    caught(
        &planted("note", file, text),
        file,
        1,
        "hygiene",
        "finish it",
    );
}

#[test]
fn a_path_of_a_machine() {
    let text = concat!("See https://example.com/wo", "rk/ and /wo", "rk/notes.\n");
    caught(
        &planted("path", "planted.md", text),
        "planted.md",
        1,
        "hygiene",
        "one machine",
    );
    let text = concat!("See https://example.com/wo", "rk/ only.\n");
    assert_eq!(planted("url", "planted.md", text), []);
}

#[test]
fn a_long_file() {
    let text = "// line\n".repeat(701);
    let found = planted("long", "web/planted.mjs", &text);
    caught(&found, "web/planted.mjs", 701, "hygiene", "701 lines");
}

#[test]
fn a_test_that_does_not_run() {
    let file = "crates/moqtail/tests/planted.rs";
    let text = concat!("#[test]\n#[ig", "nore]\nfn never() {}\n");
    caught(
        &planted("ignored", file, text),
        file,
        2,
        "hygiene",
        "does not run",
    );
}

/// What the walls find in a list of symptoms beside a file with the test `shown`, the story `told`, the test `shared` of a
/// contract, and functions that are no tests.
fn planted_symptoms(name: &str, list: &str) -> Vec<Violation> {
    let scratch = Scratch::of_library(name);
    let tests = "#[test]\n/// Why.\n#[expect(unused)]\nfn shown() {}\nasync fn shared<K>() {}\n// fn commented()\n\
        fn helper() {}\nasync fn alone<K>() {}\nover_both_carriers! {\n    async fn told() {}\n}\nfn after() {}\n";
    scratch.write("crates/moqtail/tests/planted.rs", tests);
    let contract = "contract! {\n    planted::shared\n}\n";
    scratch.write("crates/moqtail/tests/main.rs", contract);
    scratch.write("crates/moqtail-conformance/SYMPTOMS.md", list);
    walls::sources(scratch.root()).expect("a readable tree")
}

#[test]
fn a_symptom_whose_test_does_not_exist() {
    let file = "crates/moqtail-conformance/SYMPTOMS.md";
    let path = "../moqtail/tests/planted.rs";
    let there =
        format!("### It stops\n\n- [`shown`]({path})\n- [`shared`]({path})\n- [`told`]({path})\n");
    assert_eq!(planted_symptoms("symptoms", &there), []);
    for missing in ["show", "commented", "renamed", "helper", "alone", "after"] {
        let list = format!("{there}- [`{missing}`]({path})\n");
        let found = planted_symptoms(&format!("symptoms-{missing}"), &list);
        caught(&found, file, 6, "symptoms", missing);
    }
    let list = format!("{there}- [`shown`](../moqtail/tests/gone.rs)\n");
    caught(
        &planted_symptoms("symptoms-file", &list),
        file,
        6,
        "symptoms",
        "gone.rs",
    );
}

#[test]
fn a_symptom_without_a_test() {
    let file = "crates/moqtail-conformance/SYMPTOMS.md";
    let path = "../moqtail/tests/planted.rs";
    let list = format!("### It hangs\n\nWhy.\n\n### It stops\n\n- [`shown`]({path})\n");
    let found = planted_symptoms("symptoms-bare", &list);
    caught(&found, file, 1, "symptoms", "It hangs");
}
