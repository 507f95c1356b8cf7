//! Lines of text as objects, from one program to another through a relay.

#![cfg(unix)]

use std::time::UNIX_EPOCH;

use moqtail_e2e::{Finished, Process, Relay};
use serde_json::Value;

/// Publishes through one transport and receives through the other, both ways round.
fn both_ways(relay: &Relay) -> [(String, String); 2] {
    [(relay.quic(), relay.web()), (relay.web(), relay.quic())]
}

fn jsonl(finished: &Finished) -> Vec<Value> {
    let text = finished.stdout_text();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

fn assert_done(finished: &Finished) {
    assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
}

#[test]
fn a_waiting_subscriber_gets_every_line_and_ends_with_the_broadcast() {
    let relay = Relay::start();
    for (to, from) in both_ways(&relay) {
        let subscriber = Process::moqtail([
            "subscribe",
            &from,
            "site/7",
            "--track",
            "temp",
            "--format",
            "jsonl",
        ]);
        subscriber.wait_stderr("Waiting: broadcast site/7 is not at localhost");
        let mut publisher =
            Process::moqtail(["publish", &to, "site/7", "--lines", "--track", "temp"]);
        publisher.write("21.5\n\n22 °C\r\nlast".as_bytes());
        assert_done(&publisher.finish());
        let finished = subscriber.finish();
        assert_done(&finished);
        let objects = jsonl(&finished);
        let texts: Vec<_> = objects
            .iter()
            .map(|o| o["text"].as_str().expect("text"))
            .collect();
        assert_eq!(texts, ["21.5", "", "22 °C", "last"]);
        for pair in objects.windows(2) {
            assert_eq!(
                pair[0]["group"].as_u64().map(|group| group + 1),
                pair[1]["group"].as_u64()
            );
        }
        assert_eq!(objects[2]["bytes"], 6);
        assert_eq!(objects[2]["object"], 0);
    }
}

#[test]
fn datagrams_carry_lines_too() {
    let relay = Relay::start();
    for (to, from) in both_ways(&relay) {
        let mut publisher = Process::moqtail([
            "publish",
            &to,
            "site/7",
            "--lines",
            "--track",
            "temp",
            "--datagram",
        ]);
        let subscriber = Process::moqtail([
            "subscribe",
            &from,
            "site/7",
            "--track",
            "temp",
            "--format",
            "lines",
            "--count",
            "3",
        ]);
        publisher.write(b"a\nb\nc\n");
        let finished = subscriber.finish();
        assert_done(&finished);
        assert_eq!(finished.stdout_text(), "a\nb\nc\n");
        publisher.close_stdin();
        assert_done(&publisher.finish());
    }
}

/// It may be started again, as a service is.
#[test]
fn viewers_of_a_publisher_that_fails_wait_for_the_next_one() {
    let relay = Relay::start();
    for (to, from) in both_ways(&relay) {
        let publish = || Process::moqtail(["publish", &to, "site/7", "--lines", "--track", "t"]);
        let viewer = Process::moqtail([
            "subscribe",
            &from,
            "site/7",
            "--track",
            "t",
            "--format",
            "lines",
        ]);
        let mut failing = publish();
        failing.write(b"first\n");
        viewer.wait_lines("first", 1);
        failing.write(&vec![b'x'; (1 << 20) + 1]);
        let failed = failing.finish();
        assert_eq!(failed.code, Some(1), "{:#?}", failed.stderr);
        let mut next = publish();
        next.write(b"second\n");
        viewer.wait_lines("second", 1);
        next.close_stdin();
        assert_done(&next.finish());
        assert_done(&viewer.finish());
    }
}

/// S2.3.1-01: the first group is the time in milliseconds, so that a publisher that starts anew goes on above.
#[test]
fn groups_hold_as_many_lines_as_asked_for() {
    let began = UNIX_EPOCH
        .elapsed()
        .expect("a clock after 1970")
        .as_millis();
    let relay = Relay::start();
    let subscriber = Process::moqtail(["subscribe", &relay.quic(), "site/7", "--track", "t"]);
    let mut publisher = Process::moqtail([
        "publish",
        &relay.quic(),
        "site/7",
        "--lines",
        "--track",
        "t",
        "--group-lines",
        "2",
    ]);
    publisher.write(b"1\n2\n3\n4\n5\n");
    assert_done(&publisher.finish());
    let finished = subscriber.finish();
    assert_done(&finished);
    let objects = jsonl(&finished);
    let first = objects[0]["group"].as_u64().expect("a number");
    assert!(u128::from(first) >= began, "{first} is below {began}");
    let places: Vec<_> = objects
        .iter()
        .map(|o| {
            (
                o["group"].as_u64().map(|group| group - first),
                o["object"].as_u64(),
            )
        })
        .collect();
    let at = |group, object| (Some(group), Some(object));
    assert_eq!(places, [at(0, 0), at(0, 1), at(1, 0), at(1, 1), at(2, 0)]);
}

#[test]
fn a_range_ends_the_subscription() {
    let relay = Relay::start();
    let mut publisher = Process::moqtail([
        "publish",
        &relay.quic(),
        "site/7",
        "--lines",
        "--track",
        "t",
    ]);
    let watcher = Process::moqtail([
        "subscribe",
        &relay.quic(),
        "site/7",
        "--track",
        "t",
        "--count",
        "1",
    ]);
    publisher.write(b"first\n");
    let first = jsonl(&watcher.finish())[0]["group"]
        .as_u64()
        .expect("a number");
    let (start, end) = (first + 2, first + 3);
    let range = Process::moqtail([
        "-v",
        "subscribe",
        &relay.web(),
        "site/7",
        "--track",
        "t",
        "--format",
        "lines",
        "--filter",
        "range",
        &format!("{start},0"),
        &end.to_string(),
    ]);
    range.wait_stderr("subscribed");
    publisher.write(b"second\nthird\nfourth\nfifth\n");
    let finished = range.finish();
    assert_done(&finished);
    assert_eq!(finished.stdout_text(), "third\nfourth\n");
    publisher.interrupt();
    assert_done(&publisher.finish());
}

#[test]
fn a_subscriber_with_a_time_limit_ends_well_when_something_came() {
    let relay = Relay::start();
    let mut publisher = Process::moqtail([
        "publish",
        &relay.quic(),
        "site/7",
        "--lines",
        "--track",
        "t",
    ]);
    let subscriber = Process::moqtail([
        "subscribe",
        &relay.quic(),
        "site/7",
        "--track",
        "t",
        "--format",
        "raw",
        "--timeout",
        "5s",
    ]);
    publisher.write(b"something\n");
    let finished = subscriber.finish();
    assert_done(&finished);
    assert_eq!(finished.stdout_text(), "something");
}

#[test]
fn bytes_that_are_no_text_are_shown_as_base64() {
    let relay = Relay::start();
    let subscriber = Process::moqtail(["subscribe", &relay.quic(), "site/7", "--track", "t"]);
    let mut publisher = Process::moqtail([
        "publish",
        &relay.quic(),
        "site/7",
        "--lines",
        "--track",
        "t",
    ]);
    publisher.write(b"\xff\x00\n");
    assert_done(&publisher.finish());
    let object = &jsonl(&subscriber.finish())[0];
    assert_eq!(
        (&object["base64"], &object["bytes"]),
        (&"/wA=".into(), &2.into())
    );
}

#[test]
fn every_program_ends_cleanly_on_a_signal() {
    let relay = Relay::start();
    let publisher = Process::moqtail([
        "publish",
        &relay.quic(),
        "site/7",
        "--lines",
        "--track",
        "t",
    ]);
    publisher.wait_stderr("Publishing site/7#t.");
    let waiting = Process::moqtail(["subscribe", &relay.quic(), "other", "--track", "t"]);
    waiting.wait_stderr("Waiting");
    waiting.terminate();
    assert_done(&waiting.finish());
    publisher.terminate();
    assert_done(&publisher.finish());
    let finished = relay.stop();
    assert_done(&finished);
    assert!(finished.stderr.is_empty(), "{:#?}", finished.stderr);
}
