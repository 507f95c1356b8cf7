//! Programs of others against our relay. Their paths come in by the environment; `./test peers` installs them.

#![cfg(all(unix, feature = "peers"))]

use std::time::Duration;

use moqtail_e2e::{
    Chunk, Codecs, Live, Passed, Process, Relay, Scratch, chunks, playable, stranger,
};

/// Runs the six interop cases of `moq-test-client` and expects `ok` for each.
fn six_cases(url: &str) {
    let run = stranger("MOQ_TEST_CLIENT")
        .args(["--relay", url, "--tls-disable-verify"])
        .output()
        .expect("moq-test-client runs");
    let report = String::from_utf8_lossy(&run.stdout);
    for (number, case) in [
        "setup-only",
        "announce-only",
        "subscribe-error",
        "announce-subscribe",
        "subscribe-before-announce",
        "publish-namespace-done",
    ]
    .into_iter()
    .enumerate()
    {
        let line = format!("ok {} - {case}", number + 1);
        assert!(
            report.lines().any(|l| l == line),
            "no `{line}` in:\n{report}"
        );
    }
    assert!(run.status.success(), "{report}");
}

#[test]
fn moq_test_client_passes_over_quic() {
    six_cases(&Relay::start().quic());
}

#[test]
fn moq_test_client_passes_over_webtransport() {
    six_cases(&Relay::start().web());
}

/// A live stream that `moq-pub` publishes.
struct Published {
    name: String,
    passed: Passed,
    _publisher: Process,
}

impl Published {
    /// Starts publishing, and waits until one of its tracks can be watched.
    fn start(url: &str, name: &str) -> Self {
        let mut command = stranger("MOQ_PUB");
        command.args(["--name", name, "--tls-disable-verify", url]);
        let mut publisher = Process::spawn(command);
        let (live, passed) = Live::start(30, Codecs::H264Aac);
        publisher.feed(live);
        let watcher =
            Process::moqtail(["subscribe", url, name, "--track", "1.m4s", "--count", "1"]);
        assert_eq!(watcher.finish().code, Some(0));
        Self {
            name: name.to_owned(),
            passed,
            _publisher: publisher,
        }
    }

    /// A `moq-sub` that is to watch it, with its log of control messages.
    fn viewer(&self, url: &str) -> Process {
        let mut command = stranger("MOQ_SUB");
        command.env("RUST_LOG", "moq_transport::control=debug");
        command.env("NO_COLOR", "1");
        command.args(["--name", &self.name, "--tls-disable-verify", url]);
        Process::spawn(command)
    }

    /// A `moq-sub` that watches it, once it has sent its three requests.
    ///
    /// Its queue of control messages (moq-transport 0.14.2) looks for a message and then for a change, with nothing held
    /// between the two: a message that another thread adds just then stays unsent for good. It says what it sends, so that
    /// one which forgot a request is told from one that was not answered, and is started anew.
    fn watch(&self, url: &str) -> Process {
        for _ in 0..3 {
            let viewer = self.viewer(url);
            let all_sent = |bytes: &[u8]| (requests(&apart(bytes).1) == 3).then_some(());
            if viewer.within(TIME_TO_ASK, all_sent).is_some() {
                return viewer;
            }
            viewer.kill();
            let (media, log) = apart(&viewer.finish().stdout);
            assert!(
                requests(&log) == 0 || !media.is_empty(),
                "the relay did not answer:\n{log}"
            );
        }
        panic!("moq-sub forgets its requests each time");
    }
}

/// How long `moq-sub` has for its requests; those after the first one follow the header of the media.
const TIME_TO_ASK: Duration = Duration::from_secs(10);

/// How many requests `moq-sub` has sent, by its log.
fn requests(log: &str) -> usize {
    let lines = log.lines();
    lines
        .filter(|line| line.contains("direction=\"sent\" msg_type=\"SUBSCRIBE\""))
        .count()
}

/// The media and the log that `moq-sub` wrote, lines of the one between boxes of the other.
fn apart(mut bytes: &[u8]) -> (Vec<u8>, String) {
    let (mut media, mut log) = (Vec::new(), String::new());
    loop {
        // Lines begin with the year; no box is that large.
        let is_line = bytes.starts_with(b"20");
        let len = match is_line {
            true => bytes
                .iter()
                .position(|byte| *byte == b'\n')
                .map(|at| at + 1),
            false => bytes
                .first_chunk()
                .map(|size| u32::from_be_bytes(*size) as usize),
        };
        let Some((whole, rest)) = len.and_then(|len| bytes.split_at_checked(len.max(1))) else {
            return (media, log);
        };
        match is_line {
            true => log.push_str(&String::from_utf8_lossy(whole)),
            false => media.extend_from_slice(whole),
        }
        bytes = rest;
    }
}

/// What a viewer wrote, up to its last complete fragment.
fn complete(written: &[u8]) -> (Vec<u8>, Vec<Chunk>) {
    let (bytes, _) = apart(written);
    let found = chunks(&bytes);
    let first = &found.first().expect("media").whole;
    let start = bytes
        .windows(first.len())
        .position(|window| window == first)
        .expect("it was found there");
    let mut file = bytes[..start].to_vec();
    file.extend(found.iter().flat_map(|chunk| chunk.whole.iter()));
    (file, found)
}

/// Whether a track is a part of what was sent, from a fragment on and without a hole.
fn is_part(received: &[Chunk], sent: &[Chunk], track: u32) -> bool {
    let of = |chunks: &[Chunk]| -> Vec<Vec<u8>> {
        let track = chunks.iter().filter(|chunk| chunk.track == track);
        track.map(|chunk| chunk.whole.clone()).collect()
    };
    let (received, sent) = (of(received), of(sent));
    !received.is_empty() && sent.windows(received.len()).any(|part| part == received)
}

/// A relay for `moq-sub`, which at times sends its requests in another order than it numbers them in.
fn relay_for_moq_sub() -> Relay {
    Relay::start_with(["--listen", "localhost:0", "--tolerate", "request-id-order"])
}

/// Twenty broadcasts from `moq-pub` through the relay to `moq-sub`, four at a time: each arrives whole.
fn twenty_broadcasts(url: impl Fn(&Relay) -> String) {
    let relay = relay_for_moq_sub();
    let url = url(&relay);
    let scratch = Scratch::new();
    for wave in 0..5 {
        let pairs: Vec<_> = (0..4)
            .map(|number| {
                let published = Published::start(&url, &format!("live/{wave}-{number}"));
                let viewer = published.watch(&url);
                (published, viewer)
            })
            .collect();
        for (published, viewer) in pairs {
            viewer.wait_stdout("two seconds of media", |bytes| {
                let fragments = chunks(&apart(bytes).0)
                    .iter()
                    .filter(|c| c.track == 1)
                    .count();
                (fragments >= 60).then_some(())
            });
            viewer.kill();
            let (file, received) = complete(&viewer.finish().stdout);
            let sent = chunks(&published.passed.bytes());
            for track in [1, 2] {
                assert!(
                    is_part(&received, &sent, track),
                    "track {track} of {} has holes",
                    published.name
                );
            }
            let (video, audio) = playable(&scratch.write("out.mp4", file));
            assert!(video >= 60 && audio >= 60, "{video} and {audio} packets");
        }
    }
}

#[test]
fn moq_pub_reaches_moq_sub_twenty_times_over_quic() {
    twenty_broadcasts(Relay::quic);
}

#[test]
fn moq_pub_reaches_moq_sub_twenty_times_over_webtransport() {
    twenty_broadcasts(Relay::web);
}

#[test]
fn a_second_moq_sub_finds_the_init_track_gone_by_while_others_can_still_join() {
    let relay = relay_for_moq_sub();
    let published = Published::start(&relay.web(), "live/late");
    let first = published.watch(&relay.web());
    first.wait_stdout("media", |bytes| {
        (!chunks(&apart(bytes).0).is_empty()).then_some(())
    });
    let second = published.viewer(&relay.web());
    let joins = |track: &str| {
        let (url, name) = (relay.quic(), published.name.as_str());
        let watcher =
            Process::moqtail(["subscribe", &url, name, "--track", track, "--count", "30"]);
        assert_eq!(watcher.finish().code, Some(0));
    };
    joins("1.m4s");
    joins("2.m4s");
    second.kill();
    let (media, log) = apart(&second.finish().stdout);
    assert!(media.is_empty());
    assert_eq!(requests(&log), 1);
}

#[test]
fn objects_of_moq_pub_arrive_byte_for_byte_at_our_subscriber() {
    let relay = Relay::start();
    let scratch = Scratch::new();
    let published = Published::start(&relay.quic(), "live/mixed");
    for (number, url) in [relay.web(), relay.quic()].iter().enumerate() {
        for track in [1, 2] {
            let out = scratch.path(&format!("{number}-{track}.raw"));
            let viewer = Process::moqtail([
                "subscribe",
                url,
                "live/mixed",
                "--track",
                &format!("{track}.m4s"),
                "--format",
                "raw",
                "--count",
                "60",
                "--out",
                out.to_str().expect("a path in UTF-8"),
            ]);
            assert_eq!(viewer.finish().code, Some(0));
            let received = chunks(&std::fs::read(out).expect("the viewer wrote its file"));
            let sent = chunks(&published.passed.bytes());
            assert!(is_part(&received, &sent, track), "track {track} by {url}");
        }
    }
}

#[test]
fn moq_sub_is_told_at_once_that_our_broadcast_has_no_track_of_its_names() {
    let relay = relay_for_moq_sub();
    let scratch = Scratch::new();
    let film = scratch.write("film.mp4", moqtail_media::sample());
    let publisher = Process::moqtail([
        "publish",
        &relay.web(),
        "live/film",
        film.to_str().expect("a path in UTF-8"),
        "--loop",
    ]);
    publisher.wait_stderr("Publishing live/film");
    for url in [relay.quic(), relay.web()] {
        let mut command = stranger("MOQ_SUB");
        command.args(["--name", "live/film", "--tls-disable-verify", &url]);
        let finished = Process::spawn(command).finish();
        assert_eq!(finished.code, Some(1));
        let told = |line: &String| line.contains("closed, code=4");
        assert!(finished.stderr.iter().any(told), "{:#?}", finished.stderr);
    }
}
