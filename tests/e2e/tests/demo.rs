//! The demo starts by itself, shows what passes, can be joined and ends.

#![cfg(unix)]

use moqtail_e2e::Process;

#[test]
fn the_demo_shows_a_line_each_second_and_can_be_joined() {
    let demo = Process::moqtail(["demo", "--listen", "localhost:0"]);
    let watch = demo.wait_lines("watch:", 1);
    let url = watch
        .split_whitespace()
        .find(|word| word.starts_with("moqt://"))
        .expect("the line has a URL")
        .to_owned();
    // The first second has no whole group yet.
    let line = demo.wait_lines("objects/s", 4);
    for part in [
        "WebTransport",
        "QUIC",
        "MOQT draft 14",
        "bit/s",
        "latency",
        "viewers 1",
    ] {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
    let value = |unit: &str| -> f64 {
        let before = line.split(unit).next().expect("the unit is there");
        let number = before.split_whitespace().next_back().expect("a number");
        number
            .parse()
            .unwrap_or_else(|_| panic!("{number} before {unit} in {line}"))
    };
    let rate = value(" objects/s");
    assert!(
        (40.0..=120.0).contains(&rate),
        "30 frames and 47 of sound, yet: {line}"
    );
    assert!(value(" ms") < 1000.0, "{line}");

    let viewer = Process::moqtail([
        "subscribe",
        &url,
        "live/demo",
        "--out",
        "-",
        "--count",
        "200",
    ]);
    demo.wait_lines("viewers 2", 1);
    let finished = viewer.finish();
    assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
    assert_eq!(finished.stdout.get(4..8), Some(&b"ftyp"[..]));

    demo.interrupt();
    let finished = demo.finish();
    assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
    assert!(finished.stderr.is_empty(), "{:#?}", finished.stderr);
}

#[test]
fn two_demos_can_run_beside_each_other() {
    let first = Process::moqtail(["demo"]);
    first.wait_lines("objects/s", 1);
    let second = Process::moqtail(["demo"]);
    second.wait_lines("objects/s", 1);
    for demo in [first, second] {
        demo.terminate();
        assert_eq!(demo.finish().code, Some(0));
    }
}
