//! The examples, run as a reader would run them: a relay, a clock through it, and somebody who prints.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A running example; killed when dropped.
struct Example {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Example {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(path(name))
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            lines,
            _child: child,
        }
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        line.expect("a line in time")
            .unwrap()
            .expect("the example goes on")
    }
}

/// Examples are built beside the tests of their package.
fn path(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples")
        .join(name)
}

#[tokio::test]
async fn relay_clock_and_print_work_together() {
    let mut relay = Example::start("embedded_relay", &["127.0.0.1:0", "clock"]);
    let line = relay.line().await;
    let url = format!("moqt://{}", line.strip_prefix("relay at ").unwrap());

    let mut greeting = Example::start("print", &[&url, "home/greeting#text", "--insecure"]);
    assert!(greeting.line().await.contains(", 0} hello "));

    let mut clock = Example::start("clock", &[&url, "--insecure"]);
    assert!(clock.line().await.starts_with("publishing clock#seconds"));
    let mut print = Example::start("print", &[&url, "clock#seconds", "--insecure"]);
    assert!(print.line().await.ends_with(" UTC"));
}

#[tokio::test]
async fn the_embedded_relay_lets_nobody_else_publish() {
    let mut relay = Example::start("embedded_relay", &["127.0.0.1:0"]);
    let line = relay.line().await;
    let url = format!("moqt://{}", line.strip_prefix("relay at ").unwrap());
    let mut clock = Example::start("clock", &[&url, "--insecure"]);
    let end = tokio::time::timeout(PATIENCE, clock.lines.next_line()).await;
    assert_eq!(end.expect("an end in time").unwrap(), None);
}
