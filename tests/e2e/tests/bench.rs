//! `moqtail bench`: what it measures, what it prints, how it ends.

#![cfg(unix)]

use moqtail_e2e::{Finished, Process, Relay};
use serde_json::Value;

/// A short run with these arguments, and its result.
fn bench(url: &str, arguments: &str) -> Value {
    let finished = run(url, arguments).finish();
    assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
    result(&finished)
}

fn run(url: &str, arguments: &str) -> Process {
    let mut short = vec!["--warm-up", "200ms", "--json"];
    if !arguments.contains("--duration") {
        short.extend(["--duration", "500ms"]);
    }
    let arguments = arguments.split_whitespace().chain(short);
    Process::moqtail(["bench", url].into_iter().chain(arguments))
}

fn result(finished: &Finished) -> Value {
    let text = finished.stdout_text();
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).expect("one line of JSON")
}

/// All measured objects arrived once.
fn assert_whole(result: &Value) {
    let sent = result["sent"].as_u64().expect("a number");
    let subscribers = result["subscribers"].as_u64().expect("a number");
    let delivery = &result["delivery"];
    assert!(sent > 0, "{result}");
    assert_eq!(delivery["received"], sent * subscribers, "{result}");
    assert_eq!(delivery["due"], delivery["received"], "{result}");
    for none in ["lost", "duplicates", "reset_streams"] {
        assert_eq!(delivery[none], 0, "{none} in {result}");
    }
    assert_eq!(delivery["ended_early"], Value::Object(Default::default()));
}

#[test]
fn every_object_is_counted_over_both_transports() {
    let relay = Relay::start();
    for url in [relay.quic(), relay.web()] {
        let result = bench(&url, "-n 3 --rate 200 --groups-per-second 10 --size 1000");
        assert_whole(&result);
        assert_eq!(result["url"], url);
        assert_eq!(result["objects_per_group"], 20);
        let delivery = &result["delivery"];
        let bytes = delivery["received"].as_u64().map(|count| count * 1000);
        assert_eq!(delivery["payload_bytes"].as_u64(), bytes);
        let latency = &delivery["latency_ms"];
        let at = |quantile: &str| latency[quantile].as_f64().expect("a time");
        assert!(0.0 < at("p50") && at("p50") <= at("p99") && at("p99") <= at("max"));
        assert!(result["publisher_late_ms"]["p99"].is_number(), "{result}");
        assert!(result["relay"].is_null(), "{result}");
    }
}

#[test]
fn datagrams_and_saturating_streams_arrive_too() {
    let relay = Relay::start();
    let datagrams = bench(&relay.quic(), "-n 2 --rate 50 --size 120 --datagrams");
    assert_eq!(datagrams["carried"], "datagrams");
    assert!(datagrams["delivery"]["received"].as_u64() > Some(0));
    let saturating = bench(
        &relay.web(),
        "-n 2 --saturate --window 64 --objects-per-group 8",
    );
    assert_whole(&saturating);
    assert!(saturating["rate"].is_null());
    assert_eq!(saturating["window"], 64);
}

#[cfg(target_os = "linux")]
#[test]
fn the_relays_processor_time_and_memory_are_measured() {
    let relay = Relay::start();
    let pid = relay.process().id();
    let result = bench(&relay.quic(), &format!("-n 2 --rate 500 --relay-pid {pid}"));
    let measured = &result["relay"];
    assert_eq!(measured["pid"], pid);
    for number in [
        "cpu_seconds",
        "cores",
        "cpu_us_per_object",
        "cpu_seconds_per_gb",
    ] {
        assert!(
            measured[number].as_f64() > Some(0.0),
            "{number} in {result}"
        );
    }
    assert!(measured["peak_resident_bytes"].as_u64() > Some(1 << 20));
    assert!(result["generator"]["cpu_seconds"].as_f64() > Some(0.0));
    assert!(result["machine_busy"].is_number());
}

#[test]
fn publisher_and_subscribers_may_be_programs_of_their_own() {
    let relay = Relay::start();
    let subscribers = run(&relay.web(), "--role subscribe -n 2");
    subscribers.wait_stderr("Waiting");
    let publisher = run(&relay.quic(), "--role publish --rate 100").finish();
    let subscribers = subscribers.finish();
    for finished in [&publisher, &subscribers] {
        assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
    }
    let (published, got) = (result(&publisher), result(&subscribers));
    assert!(published["delivery"].is_null());
    assert!(published["sent"].as_u64() > Some(0));
    assert!(got["sent"].is_null());
    let delivery = &got["delivery"];
    assert!(delivery["received"].as_u64() > Some(0), "{got}");
    assert_eq!(delivery["lost"], 0, "{got}");
}

#[test]
fn people_get_a_few_lines() {
    let relay = Relay::start();
    let finished = Process::moqtail([
        "bench",
        &relay.quic(),
        "-n",
        "1",
        "--duration",
        "300ms",
        "--warm-up",
        "0",
    ])
    .finish();
    assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
    let text = finished.stdout_text();
    for word in ["delivered", "latency", "generator", "p99"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn ctrl_c_gives_what_was_measured_by_then() {
    let relay = Relay::start();
    let url = relay.quic();
    let long = "--role publish --duration 10m --warm-up 0 --json";
    let publisher = Process::moqtail(["bench", &url].into_iter().chain(long.split_whitespace()));
    assert_eq!(run(&url, "--role subscribe -n 1").finish().code, Some(0));
    publisher.interrupt();
    let finished = publisher.finish();
    assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
    let result = result(&finished);
    assert!(result["sent"].as_u64() > Some(0), "{result}");
    assert!(result["seconds"].as_f64() < Some(300.0), "{result}");

    let waiting = Process::moqtail(["bench", &url, "--role", "subscribe"]);
    waiting.wait_stderr("Waiting");
    waiting.interrupt();
    let finished = waiting.finish();
    assert_eq!(finished.code, Some(0));
    assert!(
        finished.last_error().contains("Stopped before"),
        "{finished:#?}"
    );
}

#[test]
fn what_goes_wrong_is_one_line_and_an_exit_code() {
    let relay = Relay::start();
    for (url, arguments, code, line) in [
        (relay.quic(), "--relay-pid 4294967295", 2, "--relay-pid"),
        (
            relay.quic(),
            "--datagrams --size 5000",
            2,
            "do not fit a datagram",
        ),
        ("nonsense".to_owned(), "", 2, "no URL"),
        (
            "moqt://127.0.0.1:9".to_owned(),
            "--insecure",
            1,
            "No relay answers",
        ),
    ] {
        let finished = run(&url, arguments).finish();
        assert_eq!(
            finished.code,
            Some(code),
            "{arguments}: {:#?}",
            finished.stderr
        );
        assert!(
            finished.last_error().contains(line),
            "{:#?}",
            finished.stderr
        );
        assert_eq!(finished.stderr.len(), 1, "{:#?}", finished.stderr);
        assert!(finished.stdout.is_empty());
    }
}

#[test]
fn a_relay_that_dies_fails_the_benchmark() {
    for role in ["all", "subscribe"] {
        let relay = Relay::start();
        let url = relay.quic();
        let long = "-v --duration 10m --warm-up 0 -n 1 --role";
        let arguments = long.split_whitespace().chain([role]);
        let bench = Process::moqtail(["bench", &url].into_iter().chain(arguments));
        let publisher = (role == "subscribe").then(|| run(&url, "--role publish --duration 10m"));
        bench.wait_stderr("subscribed");
        relay.kill();
        let finished = bench.finish();
        assert_eq!(finished.code, Some(1), "{role}: {finished:#?}");
        assert!(
            finished.last_error().contains("ended"),
            "{role}: {finished:#?}"
        );
        drop(publisher);
    }
}
