//! The examples, run as a reader would run them: a relay, a clock through it, and somebody who prints.

use std::{
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

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
        Self { lines, _child: child }
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        line.expect("a line in time").unwrap().expect("the example goes on")
    }
}

/// Examples are built beside the tests of their package.
fn path(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples").join(name)
}

#[tokio::test]
async fn relay_clock_and_print_work_together() {
    let mut relay = Example::start("embedded_relay", &["127.0.0.1:0"]);
    let line = relay.line().await;
    let address = line.strip_prefix("relay at ").unwrap();
    let url = format!("moqt://{address}");

    // The relay's hooks let nobody publish outside its own namespace.
    let mut refused = Example::start("clock", &[&url, "--insecure"]);
    assert!(refused.lines.next_line().await.unwrap().is_none());

    let mut print = Example::start("print", &[&url, "home/greeting#text", "--insecure"]);
    assert_eq!(print.line().await, "{1, 0} hello");
}
