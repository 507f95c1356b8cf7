//! Processes that die at any moment, and what the others make of it.

#![cfg(all(target_os = "linux", feature = "process"))]

use std::{
    collections::BTreeMap,
    io::{self, Read},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moqtail_e2e::{Clock, FRAME_RATE, Process, Relay, Scratch, Usage, chunks, moqtail, playable};
use moqtail_sim::{Rng, UdpProxy, Weather};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// How long processes are killed, unless `CHAOS_SECONDS` says otherwise.
const CHAOS_SECONDS: u64 = 180;

/// How soon everything goes on, whoever was killed, on a machine that does other work meanwhile.
const RECOVERY: Duration = Duration::from_secs(15);

/// One kill in so many seconds at least.
const KILL_SECONDS: u64 = 6;

/// From one line to the next.
const LINE_EVERY: Duration = Duration::from_millis(20);

/// What a relay may grow by while it carries two broadcasts: their logs.
const RELAY_GROWTH: u64 = 32 << 20;

/// How soon a relay that was killed and started again is noticed.
const NOTICED: Duration = Duration::from_secs(2);

/// How long a program may take to end after SIGTERM.
const DRAIN: Duration = Duration::from_secs(2);

/// Lines that never end, each with its number and a text that follows from it. Several readers count on from each other.
struct Counter {
    next: Arc<AtomicU64>,
    rest: Vec<u8>,
}

impl Counter {
    fn new(next: &Arc<AtomicU64>) -> Self {
        Self {
            next: next.clone(),
            rest: Vec::new(),
        }
    }
}

fn line(number: u64) -> String {
    format!("{number} {:x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

impl Read for Counter {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            pause(LINE_EVERY);
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            self.rest = format!("{}\n", line(number)).into_bytes();
        }
        let taken = self.rest.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&self.rest[..taken]);
        self.rest.drain(..taken);
        Ok(taken)
    }
}

/// The numbers of all complete lines; each is whole, and none comes twice or late.
fn numbers(output: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(output).expect("text");
    let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
    let numbers: Vec<u64> = complete
        .lines()
        .map(|whole| {
            let number = whole.split(' ').next().and_then(|n| n.parse().ok());
            let number = number.unwrap_or_else(|| panic!("{whole:?}"));
            assert_eq!(whole, line(number));
            number
        })
        .collect();
    let back = numbers.windows(2).find(|pair| pair[0] >= pair[1]);
    assert_eq!(back, None, "lines go back");
    numbers
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Relay,
    Lines,
    Film,
    LineViewer(usize),
    FilmViewer,
}

const PARTS: [Part; 7] = [
    Part::Lines,
    Part::Film,
    Part::LineViewer(0),
    Part::LineViewer(1),
    Part::FilmViewer,
    Part::Lines,
    Part::Relay,
];

/// All parts, in an order that `rng` says.
fn shuffled(rng: &mut Rng) -> Vec<Part> {
    let mut parts = PARTS.to_vec();
    for at in (1..parts.len()).rev() {
        parts.swap(at, rng.below(at as u64 + 1) as usize);
    }
    parts
}

/// Two broadcasts at one relay, with their viewers.
struct Cast {
    scratch: Scratch,
    film_path: String,
    next: Arc<AtomicU64>,
    urls: [String; 2],
    port: u16,
    relay: Option<Relay>,
    /// Resident memory of the relay when it had settled.
    relay_settled: Option<u64>,
    lines: Process,
    film: Process,
    line_viewers: [Process; 2],
    film_viewer: Process,
}

impl Cast {
    fn new() -> Self {
        let scratch = Scratch::new();
        let film_path = scratch.write("film.mp4", moqtail_media::sample());
        let film_path = film_path.to_str().expect("a path in UTF-8").to_owned();
        let next = Arc::new(AtomicU64::new(0));
        let relay = Relay::start();
        let urls = [relay.quic(), relay.web()];
        Self {
            port: relay.port(),
            lines: publish_lines(&urls[0], &next),
            film: publish_film(&urls[1], &film_path),
            line_viewers: [view_lines(&urls[0]), view_lines(&urls[1])],
            film_viewer: view_film(&urls[0]),
            relay_settled: None,
            scratch,
            film_path,
            next,
            urls,
            relay: Some(relay),
        }
    }

    /// Kills a part and starts it again.
    fn kill(&mut self, part: Part, away: Duration) {
        let Self {
            urls: [quic, web],
            next,
            film_path,
            ..
        } = self;
        let (process, start): (&mut Process, Box<dyn FnOnce() -> Process>) = match part {
            Part::Relay => return self.kill_relay(away),
            Part::Lines => (&mut self.lines, Box::new(|| publish_lines(quic, next))),
            Part::Film => (&mut self.film, Box::new(|| publish_film(web, film_path))),
            Part::LineViewer(at) => {
                let url = if at == 0 { quic } else { web };
                (&mut self.line_viewers[at], Box::new(|| view_lines(url)))
            }
            Part::FilmViewer => (&mut self.film_viewer, Box::new(|| view_film(quic))),
        };
        process.kill();
        pause(away);
        let killed = std::mem::replace(process, start()).finish();
        assert_eq!(killed.code, None, "{part:?}: {:#?}", killed.stderr);
        match part {
            Part::LineViewer(_) => drop(numbers(&killed.stdout)),
            Part::FilmViewer => drop(chunks(&killed.stdout)),
            _ => {}
        }
    }

    fn kill_relay(&mut self, away: Duration) {
        self.assert_relay_is_flat();
        if let Some(relay) = self.relay.take() {
            relay.kill();
        }
        pause(away);
        self.relay = Some(Relay::start_on(self.port));
        self.relay_settled = None;
    }

    fn assert_relay_is_flat(&mut self) {
        let now = self.relay_bytes();
        let settled = *self.relay_settled.get_or_insert(now);
        assert!(
            now < settled + RELAY_GROWTH,
            "the relay grew from {settled} to {now} bytes"
        );
    }

    /// Waits until every viewer has something that was published from now on; returns how long that took.
    fn wait_for_all(&mut self) -> Duration {
        let clock = Clock::start();
        let from = self.next.load(Ordering::Relaxed);
        for viewer in &self.line_viewers {
            viewer.wait_stdout("a line from now on", |output| {
                let tail = output.get(output.len().saturating_sub(256)..)?;
                let tail = String::from_utf8_lossy(tail).into_owned();
                let mut lines = tail.lines().rev().skip(1);
                let last: u64 = lines.next()?.split(' ').next()?.parse().ok()?;
                (last >= from).then_some(())
            });
        }
        let film = self
            .film_viewer
            .wait_stdout("its length", |all| Some(all.len()));
        self.film_viewer.wait_stdout("more of the film", |all| {
            (all.len() > film + 20_000).then_some(())
        });
        let took = clock.now();
        let bytes = self.relay_bytes();
        self.relay_settled.get_or_insert(bytes);
        took
    }

    fn relay_bytes(&self) -> u64 {
        let relay = self.relay.as_ref().expect("the relay runs");
        Usage::of(relay.process().id()).resident()
    }
}

fn publish_lines(url: &str, next: &Arc<AtomicU64>) -> Process {
    let arguments = ["publish", url, "chaos/lines", "--lines", "--track", "n"];
    let mut process = Process::moqtail(arguments);
    process.feed(Counter::new(next));
    process
}

fn publish_film(url: &str, path: &str) -> Process {
    Process::moqtail(["publish", url, "chaos/film", path, "--loop"])
}

fn view_lines(url: &str) -> Process {
    let arguments = ["subscribe", url, "chaos/lines", "--track", "n", "--format"];
    Process::moqtail(arguments.iter().chain(&["lines"]))
}

fn view_film(url: &str) -> Process {
    Process::moqtail(["subscribe", url, "chaos/film", "--out", "-"])
}

/// Every part is killed again and again; the others go on within [`RECOVERY`], and what comes then is whole.
#[test]
fn everything_resumes_whoever_is_killed() {
    let seconds = std::env::var("CHAOS_SECONDS").ok();
    let seconds = seconds.map_or(CHAOS_SECONDS, |text| text.parse().expect("a number"));
    let mut rng = Rng::new(14);
    let mut cast = Cast::new();
    cast.wait_for_all();
    let clock = Clock::start();
    // How often each was killed, and the longest way back from it.
    let mut killed: BTreeMap<Part, (u64, Duration)> = BTreeMap::new();
    let mut next = Vec::new();
    // A round that has begun is finished, so that nobody is left out.
    while clock.now() < Duration::from_secs(seconds) || !next.is_empty() {
        if next.is_empty() {
            next = shuffled(&mut rng);
        }
        let part = next.pop().expect("a round has parts");
        pause(Duration::from_millis(rng.below(1500)));
        cast.kill(part, Duration::from_millis(rng.below(500)));
        let (times, longest) = killed.entry(part).or_default();
        *times += 1;
        // Now and then the next one dies before the others have recovered.
        if rng.below(3) > 0 || next.is_empty() {
            let took = cast.wait_for_all();
            println!("{part:?}: everything goes on after {took:?}");
            assert!(took < RECOVERY, "{part:?}: {took:?}");
            *longest = took.max(*longest);
            cast.assert_relay_is_flat();
        }
    }
    let kills: u64 = killed.values().map(|(times, _)| times).sum();
    println!("{kills} kills in {:?}: {killed:#?}", clock.now());
    assert!(PARTS.iter().all(|part| killed.contains_key(part)));
    assert!(kills >= seconds / KILL_SECONDS, "only {kills} kills");
    // Whoever is left ends well.
    for publisher in [cast.lines, cast.film] {
        publisher.interrupt();
        let finished = publisher.finish();
        assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
    }
    for viewer in cast.line_viewers {
        let finished = viewer.finish();
        assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
        numbers(&finished.stdout);
    }
    let finished = cast.film_viewer.finish();
    assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
    playable(&cast.scratch.write("out.mp4", &finished.stdout));
    assert_eq!(cast.relay.expect("it runs").stop().code, Some(0));
}

#[test]
fn sigterm_ends_every_program_within_two_seconds() {
    let mut cast = Cast::new();
    cast.wait_for_all();
    let end = |what: &str, process: Process| {
        let clock = Clock::start();
        process.terminate();
        let finished = process.finish();
        let took = clock.now();
        println!("{what} ended after {took:?}");
        assert_eq!(finished.code, Some(0), "{what}: {:#?}", finished.stderr);
        assert!(took < DRAIN, "{what} took {took:?}");
        finished
    };
    let [quic, web] = cast.line_viewers;
    numbers(&end("viewer of lines", quic).stdout);
    let film = end("viewer of the film", cast.film_viewer);
    playable(&cast.scratch.write("out.mp4", &film.stdout));
    end("publisher of the film", cast.film);
    // The relay still has sessions.
    end("relay", cast.relay.expect("it runs").into_process());
    end("publisher of lines", cast.lines);
    end("other viewer of lines", web);
}

/// Locations that follow `group` and `object` in what a publisher logged of `track`.
fn published(stderr: &[String], track: &str) -> Vec<(u64, u64)> {
    let number = |line: &str, name: &str| {
        let (_, rest) = line.split_once(name)?;
        rest.split(' ').next()?.parse().ok()
    };
    let mut all: Vec<_> = stderr
        .iter()
        .filter(|line| line.contains("TRACE published") && line.contains(track))
        .map(|line| {
            (
                number(line, "group=").expect(line),
                number(line, "object=").expect(line),
            )
        })
        .collect();
    all.sort_unstable();
    all
}

/// Every object that a publisher has taken reaches its viewers when the publisher is ended, however much of it is on its
/// way, or lost on it; and viewers wait for what comes after.
#[test]
fn a_publisher_that_is_ended_delivers_what_it_has_read() {
    let relay = Relay::start();
    let scratch = Scratch::new();
    let film = scratch.write("film.mp4", moqtail_media::sample());
    let film = film.to_str().expect("a path in UTF-8");
    let way = UdpProxy::start(relay.addr(), 14).expect("a UDP path");
    way.set_both(Weather::delayed(Duration::from_millis(30), Duration::ZERO));
    let (port, pin) = (way.addr().port(), relay.fingerprint());
    for (scheme, from) in [("moqt", relay.web()), ("https", relay.quic())] {
        let to = format!("{scheme}://127.0.0.1:{port}");
        let publish = |what: &[&str]| {
            let mut command = Command::new(moqtail());
            command.env("MOQTAIL_LOG", "moqtail::publish=trace");
            command.args(["publish", &to, "last/words", "--fingerprint", &pin]);
            command.args(what);
            Process::spawn(command)
        };
        let view = |track: &str| {
            let command = [
                "subscribe",
                &from,
                "last/words",
                "--track",
                track,
                "--format",
            ];
            Process::moqtail(command.iter().chain(&["jsonl"]))
        };
        let received = |viewer: Process, count: usize| {
            viewer.wait_lines("object", count);
            viewer.terminate();
            let finished = viewer.finish();
            assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
            let mut all: Vec<_> = finished
                .stdout_text()
                .lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).expect(line))
                .map(|object| ["group", "object"].map(|name| object[name].as_u64().expect(name)))
                .map(|[group, object]| (group, object))
                .collect();
            all.sort_unstable();
            all
        };
        let end = |publisher: Process| {
            way.set_both(Weather {
                loss: 0.2,
                ..Weather::delayed(Duration::from_millis(30), Duration::ZERO)
            });
            publisher.terminate();
            let finished = publisher.finish();
            way.set_both(Weather::CLEAR);
            assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
            finished.stderr
        };

        let mut publisher = publish(&["--lines", "--track", "n", "--group-lines", "300"]);
        let viewer = view("n");
        publisher.write(b"first\n");
        viewer.wait_lines("first", 1);
        // More than fits the pipe.
        let more: String = (0..8_000).map(|number| line(number) + "\n").collect();
        publisher.write(more.as_bytes());
        let expected = published(&end(publisher), "");
        assert!(expected.len() > 3_000, "{} lines were read", expected.len());
        assert_eq!(received(viewer, expected.len()), expected, "{scheme}");

        let publisher = publish(&[film, "--loop"]);
        let viewers = ["video0", "audio0"].map(view);
        for viewer in &viewers {
            viewer.wait_lines("object", 2 * FRAME_RATE);
        }
        let log = end(publisher);
        for (viewer, track) in viewers.into_iter().zip(["video0", "audio0"]) {
            let expected = published(&log, track);
            let received = received(viewer, expected.len());
            assert_eq!(received, expected, "{scheme}, {track}");
        }
    }
}

/// What arrives of a publisher that is ended in the middle is all up to some point.
/// Whether this process was started so that it, and what it starts, outlives its terminal.
fn are_hangups_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 == 1)
}

#[test]
fn a_publisher_that_is_ended_leaves_no_hole_behind() {
    let relay = Relay::start();
    for (to, from) in [(relay.quic(), relay.web()), (relay.web(), relay.quic())] {
        let arguments = ["publish", &to, "last/words", "--lines", "--track", "n"];
        let mut publisher = Process::moqtail(arguments.iter().chain(&["--group-lines", "1000000"]));
        let viewer = ["subscribe", &from, "last/words", "--track", "n", "--format"];
        let viewer = Process::moqtail(viewer.iter().chain(&["lines"]));
        publisher.write(format!("{}\n", line(0)).as_bytes());
        viewer.wait_lines(&line(0), 1);
        let more: String = (1..20_000)
            .map(|number| format!("{}\n", line(number)))
            .collect();
        publisher.write(more.as_bytes());
        publisher.terminate();
        assert_eq!(publisher.finish().code, Some(0));
        // As when the terminal is closed, where that may end anything.
        match are_hangups_ignored() {
            true => viewer.terminate(),
            false => viewer.hang_up(),
        }
        let finished = viewer.finish();
        assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
        let numbers = numbers(&finished.stdout);
        assert!(numbers.iter().copied().eq(0..numbers.len() as u64));
    }
}

#[test]
fn a_relay_that_finds_its_port_taken_leaves_the_other_alone() {
    let mut cast = Cast::new();
    cast.wait_for_all();
    let listen = format!("localhost:{}", cast.port);
    let second = Process::moqtail(["relay", "--listen", &listen]).finish();
    assert_eq!((second.code, second.stderr.len()), (Some(1), 1));
    assert!(
        second.last_error().contains("is in use"),
        "{:#?}",
        second.stderr
    );
    cast.wait_for_all();
}

/// A new authority's certificate for localhost in `cert.pem` and `key.pem`; returns the path of the authority's own.
fn issue(scratch: &Scratch, authority: &str) -> String {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    scratch.write("key.pem", key.serialize_pem());
    scratch.write("cert.pem", certificate.pem());
    let path = scratch.write(authority, issuer.pem());
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// Its certificate is from a file, so the relay has the same key again: it resets the connections of the one that was
/// killed, long before their idle timeout.
#[test]
fn a_relay_that_is_killed_and_comes_back_with_its_key_is_noticed_at_once() {
    let scratch = Scratch::new();
    let authority = issue(&scratch, "authority.pem");
    let (cert, key) = (scratch.path("cert.pem"), scratch.path("key.pem"));
    let files = [&cert, &key].map(|path| path.to_str().expect("UTF-8"));
    let start = |port: u16| {
        let listen = format!("localhost:{port}");
        let certificate = ["--cert", files[0], "--key", files[1]];
        Relay::start_with(
            ["--listen", &listen, "--http", "off"]
                .iter()
                .chain(&certificate),
        )
    };
    let mut relay = start(0);
    let next = Arc::new(AtomicU64::new(0));
    let with = |arguments: &[&str]| {
        Process::moqtail(arguments.iter().chain(&["--ca", authority.as_str()]))
    };
    let mut publisher = with(&["publish", &relay.quic(), "a", "--lines", "--track", "n"]);
    publisher.feed(Counter::new(&next));
    let view = |url: &str, track: &str| {
        with(&["subscribe", url, "a", "--track", track, "--format", "lines"])
    };
    let viewers = [view(&relay.quic(), "n"), view(&relay.web(), "n")];
    // It has nothing to say but that it is there.
    let idle = view(&relay.quic(), "nothing");
    let goes_on = || {
        let from = next.load(Ordering::Relaxed);
        for viewer in &viewers {
            viewer.wait_stdout("a line from now on", |all| {
                let last = numbers(all).last().copied();
                (last >= Some(from)).then_some(())
            });
        }
    };
    goes_on();
    idle.wait_stderr("Waiting");
    let port = relay.port();
    relay.kill();
    relay = start(port);
    let clock = Clock::start();
    for program in viewers.iter().chain([&publisher, &idle]) {
        program.wait_stderr("Connecting again");
        assert!(clock.now() < NOTICED, "after {:?}", clock.now());
    }
    goes_on();
    assert_eq!(relay.stop().code, Some(0));
}

#[test]
fn sessions_go_on_when_the_certificate_is_replaced_and_new_ones_see_the_new_one() {
    let scratch = Scratch::new();
    let old = issue(&scratch, "old.pem");
    let (cert, key) = (scratch.path("cert.pem"), scratch.path("key.pem"));
    let files = [&cert, &key].map(|path| path.to_str().expect("UTF-8"));
    let relay = Relay::start_with([
        "-v",
        "--listen",
        "localhost:0",
        "--http",
        "off",
        "--cert",
        files[0],
        "--key",
        files[1],
    ]);
    let next = Arc::new(AtomicU64::new(0));
    let publish = ["publish", &relay.quic(), "a", "--lines", "--track", "n"];
    let mut publisher = Process::moqtail(publish.iter().chain(&["--ca", &old]));
    publisher.feed(Counter::new(&next));
    let view = |url: &str, ca: &str| {
        let arguments = ["subscribe", url, "a", "--track", "n", "--format", "lines"];
        Process::moqtail(arguments.iter().chain(&["--ca", ca]))
    };
    let viewers = [view(&relay.quic(), &old), view(&relay.web(), &old)];
    let goes_on = |viewer: &Process| {
        let from = next.load(Ordering::Relaxed);
        viewer.wait_stdout("a line from now on", |all| {
            numbers(all)
                .last()
                .is_some_and(|last| *last >= from)
                .then_some(())
        });
    };
    viewers.iter().for_each(goes_on);

    let new = issue(&scratch, "new.pem");
    relay
        .process()
        .wait_stderr("another certificate is in use now");
    viewers.iter().for_each(goes_on);
    for url in [relay.quic(), relay.web()] {
        let newcomer = view(&url, &new);
        goes_on(&newcomer);
        newcomer.interrupt();
        assert_eq!(newcomer.finish().code, Some(0));
        let refused = view(&url, &old).finish();
        assert_eq!(refused.code, Some(1), "{:#?}", refused.stderr);
        assert!(refused.last_error().contains("is not trusted"));
    }
    viewers.iter().for_each(goes_on);
    for viewer in viewers {
        viewer.interrupt();
        let finished = viewer.finish();
        assert_eq!(finished.code, Some(0));
        let reconnected = |line: &String| line.contains("Connecting again");
        assert!(
            !finished.stderr.iter().any(reconnected),
            "{:#?}",
            finished.stderr
        );
        numbers(&finished.stdout);
    }
}

/// A film goes on where nothing was killed; what comes at a viewer is as much as time passed.
#[test]
fn a_viewer_that_is_killed_takes_nobody_along() {
    let mut cast = Cast::new();
    cast.wait_for_all();
    for _ in 0..5 {
        cast.kill(Part::LineViewer(0), Duration::ZERO);
    }
    let frames = |output: &[u8]| {
        chunks(output)
            .iter()
            .filter(|chunk| chunk.track == 1)
            .count()
    };
    let before = cast
        .film_viewer
        .wait_stdout("frames", |all| Some(frames(all)));
    cast.film_viewer.wait_stdout("3 s of film", |all| {
        (frames(all) >= before + 3 * FRAME_RATE).then_some(())
    });
    let steady = cast.line_viewers[1].wait_stdout("lines", |all| Some(numbers(all)));
    let first = steady.first().copied().expect("lines came");
    assert!(
        steady
            .iter()
            .copied()
            .eq(first..first + steady.len() as u64)
    );
    cast.wait_for_all();
}

#[expect(
    clippy::disallowed_methods,
    reason = "moments of real time are what is tested"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
