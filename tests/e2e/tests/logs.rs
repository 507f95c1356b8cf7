//! A log that cannot be written is no reason to stop what the log is about.

#![cfg(unix)]

use std::process::{Command, Stdio};

use moqtail_e2e::{Process, Relay, moqtail};

/// Objects pass a relay that has much to log and cannot, also in a second session; then it ends as always.
fn serves(verbosity: &str, stderr: impl Into<Stdio>) {
    let relay = Relay::unlogged([verbosity, "--listen", "localhost:0"], stderr);
    let line = ["site/7", "--track", "t"];
    for url in [relay.quic(), relay.web()] {
        let mut publisher = Process::moqtail(["publish", &url, "--lines"].iter().chain(&line));
        let options = ["subscribe", &url, "--format", "lines", "--count", "1"];
        let subscriber = Process::moqtail(options.iter().chain(&line));
        publisher.write(b"heard\n");
        let finished = subscriber.finish();
        assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
        assert_eq!(finished.stdout_text(), "heard\n");
        publisher.interrupt();
        assert_eq!(publisher.finish().code, Some(0));
    }
    assert_eq!(relay.stop().code, Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_relay_goes_on_when_the_disk_of_its_log_is_full() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    serves("-v", full.expect("a full device"));
}

/// Its log goes to a pipe that is full after 64 KiB, and the trace of one session is longer.
#[test]
fn a_relay_goes_on_when_the_reader_of_its_log_does_not_read() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    serves("-vvv", writer);
    drop(reader);
}

#[test]
fn a_relay_goes_on_when_the_reader_of_its_log_goes_away() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    serves("-v", writer);
}

#[test]
fn a_filter_that_is_none_is_wrong_usage() {
    // A flag goes before the environment, which is not looked at then.
    for (flags, filter, code) in [
        (&[][..], "moqtail=dbug", 2),
        (&["-v"], "moqtail=dbug", 0),
        (&[], "", 0),
    ] {
        let mut command = Command::new(moqtail());
        command.args(["relay", "--check-config"]).args(flags);
        command.env("MOQTAIL_LOG", filter);
        let finished = Process::spawn(command).finish();
        assert_eq!(finished.code, Some(code), "{:#?}", finished.stderr);
        assert_eq!(finished.last_error().contains("MOQTAIL_LOG"), code == 2);
    }
}
