//! What runs out: disk, file descriptors, time to leave. One line each, and nothing that came before is lost.

#![cfg(target_os = "linux")]

use std::{
    collections::BTreeSet,
    fs,
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use moqtail_e2e::{Process, Relay, Scratch, chunks, moqtail, playable};

/// How long a relay waits for its sessions after SIGTERM.
const LEAVE: Duration = Duration::from_secs(2);

/// What fits the disk.
const DISK: usize = 300 * 512;

/// `moqtail` under limits that the shell sets first.
fn limited(limits: &str) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{limits}; exec \"$@\""), "sh"])
        .arg(moqtail());
    shell
}

/// A publisher of the sample, over and over.
fn film(scratch: &Scratch, url: &str) -> Process {
    let film = scratch.write("film.mp4", moqtail_media::sample());
    let film = film.to_str().expect("a path in UTF-8");
    Process::moqtail(["publish", url, "live/film", film, "--loop"])
}

#[expect(clippy::disallowed_methods, reason = "real programs run in real time")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn a_disk_that_fills_up_leaves_a_playable_file() {
    let (relay, scratch) = (Relay::start(), Scratch::new());
    let publisher = film(&scratch, &relay.web());
    let out = scratch.path("out.mp4");
    // With its signal ignored, the limit is an error of the write, as a full disk is.
    let mut viewer = limited(&format!("trap '' XFSZ; ulimit -f {}", DISK / 512));
    viewer
        .args(["subscribe", &relay.quic(), "live/film", "--out"])
        .arg(&out);
    let finished = Process::spawn(viewer).finish();
    assert_eq!(
        finished.stderr.last().map(String::as_str),
        Some(
            format!(
                "moqtail: No space left for {}. Free some space or write elsewhere with `--out`.",
                out.display()
            )
            .as_str()
        ),
        "{:#?}",
        finished.stderr
    );
    assert_eq!(finished.code, Some(1));
    let file = fs::read(&out).expect("the file is there");
    assert!(file.len() <= DISK, "{} bytes", file.len());
    // All that fits is there: the first fragment that is not would have been too much.
    let got = chunks(&file);
    let largest = got.iter().map(|chunk| chunk.whole.len()).max();
    let largest = largest.expect("a fragment");
    assert!(
        file.len() + 2 * largest > DISK,
        "{} bytes, {largest} at once",
        file.len()
    );
    // And it is what was sent, each track without a hole.
    let source = moqtail_media::sample();
    for track in [1, 2] {
        let got: Vec<_> = got.iter().filter(|chunk| chunk.track == track).collect();
        let steps: BTreeSet<_> = got
            .windows(2)
            .map(|pair| pair[1].decode_time - pair[0].decode_time)
            .collect();
        println!("track {track}: {} fragments, {steps:?} apart", got.len());
        assert_eq!(steps.len(), 1, "track {track}");
        for chunk in got {
            let mut places = source.windows(chunk.media.len());
            assert!(places.any(|place| place == chunk.media), "track {track}");
        }
    }
    let video = got.iter().filter(|chunk| chunk.track == 1).count();
    assert_eq!(playable(&out).0, video);
    publisher.interrupt();
    assert_eq!(publisher.finish().code, Some(0));
}

#[test]
fn a_relay_without_file_descriptors_goes_on_and_recovers() {
    let mut command = limited("ulimit -n 32");
    command.args(["relay", "--listen", "localhost:0"]);
    let relay = Relay::spawn(command);
    let greedy: Vec<_> = (0..40)
        .map(|_| TcpStream::connect(("localhost", relay.port())).expect("the system queues it"))
        .collect();
    relay
        .process()
        .wait_stderr("Too many open files (os error 24): an HTTP connection has to wait");
    let session = || {
        let arguments = [
            "subscribe",
            &relay.quic(),
            "live/nobody",
            "--track",
            "t",
            "--no-wait",
        ];
        let finished = Process::moqtail(arguments).finish();
        let line = finished.last_error();
        assert!(
            line.contains("Broadcast live/nobody not found"),
            "{:#?}",
            finished.stderr
        );
    };
    session();
    assert!(relay.get("/health").starts_with("HTTP/1.0 200"));
    drop(greedy);
    session();
    let finished = relay.stop();
    assert_eq!(finished.code, Some(0));
    assert_eq!(finished.stderr.len(), 1, "{:#?}", finished.stderr);
}

#[test]
fn a_client_without_file_descriptors_names_their_limit() {
    let relay = Relay::start();
    let mut bench = limited("ulimit -n 40");
    bench.args(["bench", &relay.quic(), "-n", "60"]);
    let finished = Process::spawn(bench).finish();
    assert_eq!(finished.code, Some(1), "{:#?}", finished.stderr);
    assert!(
        finished.last_error().contains("`ulimit -n`"),
        "{:#?}",
        finished.stderr
    );
}

#[test]
fn a_relay_leaves_in_time_though_its_sessions_do_not() {
    let (relay, scratch) = (Relay::start(), Scratch::new());
    let publisher = film(&scratch, &relay.web());
    let viewers = [relay.quic(), relay.web()].map(|url| {
        let viewer = Process::moqtail(["subscribe", &url, "live/film", "--out", "-"]);
        viewer.wait_stdout("media", |bytes| (bytes.len() > 50_000).then_some(()));
        viewer.stop();
        viewer
    });
    let _stalled = TcpStream::connect(("localhost", relay.port())).expect("it listens");
    // What this machine takes for a program that does nothing, at worst.
    let machine = (0..5).map(|_| {
        let begin = now();
        assert_eq!(Process::moqtail(["--version"]).finish().code, Some(0));
        begin.elapsed()
    });
    let machine = machine.max().expect("five times");
    relay.process().terminate();
    let begin = now();
    let finished = relay.finish();
    let took = begin.elapsed();
    println!("the relay left after {took:?}, a program that does nothing after {machine:?}");
    assert_eq!(finished.code, Some(0));
    assert!(finished.stderr.is_empty(), "{:#?}", finished.stderr);
    assert!(took < LEAVE + 3 * machine, "{took:?}");
    viewers.iter().for_each(Process::kill);
    publisher.kill();
}

#[test]
fn a_second_signal_cuts_the_leaving_short() {
    let relay = Relay::start();
    let viewer = Process::moqtail(["subscribe", &relay.quic(), "live/x", "--track", "t"]);
    viewer.wait_stderr("Waiting");
    viewer.stop();
    relay.process().terminate();
    relay.process().interrupt();
    assert_eq!(relay.finish().code, Some(0));
    viewer.kill();
}
