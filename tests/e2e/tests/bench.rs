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
    let subscribers = result["healthy"].as_u64().expect("a number");
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
        let buckets = delivery["latency_buckets"].as_array().expect("buckets");
        let counted: u64 = buckets.iter().filter_map(|bucket| bucket[1].as_u64()).sum();
        assert_eq!(Some(counted), delivery["received"].as_u64());
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
        "-n 2 --saturate --window 70000 --objects-per-group 8",
    );
    assert_whole(&saturating);
    assert!(saturating["rate"].is_null());
    assert_eq!(saturating["window_bytes"], 70000);
}

/// They are neither gathered nor waited for: what arrives counts, and its beginning comes long before its end.
#[test]
fn large_objects_are_counted_as_they_arrive() {
    let relay = Relay::start();
    for url in [relay.quic(), relay.web()] {
        let result = bench(&url, "-n 2 --saturate --size 3000000 --duration 2s");
        assert_whole(&result);
        let delivery = &result["delivery"];
        assert!(delivery["arrived_bytes"].as_u64() > Some(0), "{result}");
        let at = |times: &str| delivery[times]["p50"].as_f64().expect("a time");
        assert!(at("first_bytes_ms") < at("latency_ms") / 2.0, "{result}");
    }
    // None is complete in so short a time.
    let part = bench(
        &relay.quic(),
        "-n 1 --saturate --size 64000000 --duration 50ms",
    );
    assert!(
        part["delivery"]["arrived_bytes"].as_u64() > Some(0),
        "{part}"
    );
    assert_eq!(part["delivery"]["lost"], 0, "{part}");
}

#[test]
fn healthy_subscribers_lose_nothing_to_bad_ones() {
    let relay = Relay::start();
    let bad = "--stalled 1 --slow 1 --churning 1";
    let load = "--rate 200 --groups-per-second 10 --size 5000 --duration 2s";
    for url in [relay.quic(), relay.web()] {
        let result = bench(&url, &format!("-n 5 {bad} {load}"));
        assert_eq!(
            (&result["subscribers"], &result["healthy"]),
            (&5.into(), &2.into())
        );
        assert_whole(&result);
        let of = |who: &str, what: &str| result["misbehaving"][who][what].as_u64();
        for who in ["stalled", "slow", "churning"] {
            assert_eq!(of(who, "subscribers"), Some(1), "{result}");
        }
        assert_eq!(
            (of("stalled", "joined"), of("stalled", "objects")),
            (Some(1), Some(0))
        );
        // A tenth, and what its packets brought along.
        let healthy = result["delivery"]["received"].as_u64().map(|all| all / 2);
        let slow = of("slow", "objects");
        assert!(
            slow > Some(0) && slow < healthy.map(|all| all / 4),
            "{result}"
        );
        assert!(of("churning", "joined") > Some(10), "{result}");
        assert!(of("churning", "objects") > Some(10), "{result}");
    }
    let finished = run(&relay.quic(), &format!("-n 3 {bad}")).finish();
    assert_eq!(finished.code, Some(2), "{:#?}", finished.stderr);
    assert!(
        finished.last_error().contains("at least one"),
        "{finished:#?}"
    );
}

/// Starts something that has one processor for itself and all its threads.
#[cfg(target_os = "linux")]
fn on_one_processor<T>(start: impl FnOnce() -> T) -> T {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let all = sched_getaffinity(None).expect("a set");
    let mut one = CpuSet::new();
    one.set(
        (0..CpuSet::MAX_CPU)
            .find(|cpu| all.is_set(*cpu))
            .expect("a processor"),
    );
    // It is inherited.
    sched_setaffinity(None, &one).expect("one of those before");
    let started = start();
    sched_setaffinity(None, &all).expect("as before");
    started
}

/// In every mode: a generator with too few processors is not taken for a slow relay. Where other programs of the machine take
/// them, it is the machine that is the limit.
#[cfg(target_os = "linux")]
#[test]
fn a_generator_that_is_the_limit_says_so() {
    let relay = Relay::start();
    for load in [
        "-n 20 --saturate --objects-per-group 50",
        "-n 20 --saturate",
        "-n 10 --saturate --size 4000000",
        "-n 20 --saturate --size 10000 --stalled 1 --slow 1 --churning 1",
        "-n 1 --rate 1000000 --objects-per-group 1000",
        "-n 1 --rate 1000000 --datagrams --size 100",
    ] {
        let bench = on_one_processor(|| run(&relay.quic(), load)).finish();
        let result = result(&bench);
        let limited_by = result["limited_by"].as_str();
        assert!(
            matches!(limited_by, Some("generator" | "machine")),
            "{load}: {result}"
        );
        assert!(result["limit"].is_string(), "{load}: {result}");
    }
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

/// The publisher ends with the track; what is on its way arrives.
#[test]
fn ctrl_c_loses_nothing_that_is_on_its_way() {
    let relay = Relay::start();
    let url = relay.quic();
    for (load, count) in [
        ("--rate 2000 --groups-per-second 20", "500"),
        ("--saturate --size 3000000", "3"),
    ] {
        let arguments = format!("-n 3 --name b --duration 10m --warm-up 0 --json {load}");
        let running = Process::moqtail(["bench", &url].into_iter().chain(arguments.split(' ')));
        // By then some have come through.
        let watch = ["subscribe", &url, "b", "--track", "objects", "--format"];
        let watch = watch.into_iter().chain(["raw", "--count", count]);
        assert_eq!(Process::moqtail(watch).finish().code, Some(0));
        running.interrupt();
        let finished = running.finish();
        assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
        let result = result(&finished);
        assert_whole(&result);
        assert!(result["seconds"].as_f64() < Some(300.0), "{result}");
    }
}

/// The next object would be due long after the end.
#[test]
fn a_slow_rate_does_not_make_a_run_longer() {
    let relay = Relay::start();
    let arguments = "-n 1 --rate 0.1 --warm-up 0 --duration 500ms --json";
    let url = relay.quic();
    let arguments = ["bench", &url].into_iter().chain(arguments.split(' '));
    let finished = Process::moqtail(arguments).finish();
    assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
    let result = result(&finished);
    assert_whole(&result);
    assert_eq!(result["sent"], 1, "{result}");
    let seconds = result["seconds"].as_f64().expect("a time");
    assert!((0.5..5.0).contains(&seconds), "{result}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let relay = Relay::start();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let arguments = ["bench", &relay.quic(), "-n", "1", "--json", "--duration"];
    let arguments = arguments.into_iter().chain(["100ms", "--warm-up", "0"]);
    let finished = Process::piped(arguments, full.expect("the device")).finish();
    assert_eq!(finished.code, Some(1), "{:#?}", finished.stderr);
    let line = finished.last_error();
    assert!(line.contains("The result cannot be written"), "{line}");
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
