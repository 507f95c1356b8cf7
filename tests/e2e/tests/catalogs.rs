//! Catalogs of publishers that do not do as `moqtail publish` does.

#![cfg(unix)]

use moqtail_e2e::{Process, Relay};

// Lines of a catalog track that is published by hand.
const EMPTY: &str = r#"{"version":1,"tracks":[]}"#;
const COMPLETE: &str = r#"{"version":1,"isComplete":true,"tracks":[]}"#;

#[test]
fn a_catalog_that_was_written_once_is_told_to_be_missing() {
    let relay = Relay::start();
    let to = relay.quic();
    let arguments = ["publish", &to, "live/odd", "--lines", "--track", "catalog"];
    let mut publisher = Process::moqtail(arguments);
    publisher.write(format!("{EMPTY}\n").as_bytes());
    let arguments = ["subscribe", &to, "live/odd", "--track", "catalog"];
    let early = Process::moqtail(arguments.into_iter().chain(["--count", "1"]));
    assert_eq!(early.finish().code, Some(0));
    let viewer = Process::moqtail(["subscribe", &relay.quic(), "live/odd", "--out", "-"]);
    let line = viewer.wait_stderr("No catalog of live/odd has come in 5 s");
    assert!(line.contains("Start the publisher again"), "{line}");
    publisher.write(format!("{EMPTY}\n").as_bytes());
    viewer.wait_stderr("the catalog of live/odd names no tracks yet");
    publisher.write(format!("{COMPLETE}\n").as_bytes());
    assert_eq!(viewer.finish().code, Some(0));
    publisher.close_stdin();
    assert_eq!(publisher.finish().code, Some(0));
}
