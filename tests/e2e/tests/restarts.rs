//! Publishers, relays and viewers survive each other.

#![cfg(unix)]

use moqtail_e2e::{
    Chunk, Codecs, FRAME_RATE, Process, Relay, Scratch, chunks, playable, test_media,
};

/// Whether a viewer has written this many video frames in all.
fn frames(count: usize) -> impl Fn(&[u8]) -> Option<()> {
    move |bytes| (video(bytes) >= count).then_some(())
}

fn video(bytes: &[u8]) -> usize {
    chunks(bytes)
        .iter()
        .filter(|chunk: &&Chunk| chunk.track == 1)
        .count()
}

struct Stage {
    scratch: Scratch,
    film: String,
}

impl Stage {
    fn new() -> Self {
        let scratch = Scratch::new();
        let film = scratch.write("film.mp4", moqtail_media::sample());
        let film = film.to_str().expect("a path in UTF-8").to_owned();
        Self { scratch, film }
    }

    fn publisher(&self, url: &str) -> Process {
        Process::moqtail(["publish", url, "live/film", &self.film, "--loop"])
    }

    /// Ends the broadcast; the viewer ends with it, and what it wrote plays.
    fn end(&self, publisher: Process, viewer: Process) {
        publisher.interrupt();
        let finished = publisher.finish();
        assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
        let finished = viewer.finish();
        assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
        playable(&self.scratch.write("out.mp4", &finished.stdout));
    }
}

fn viewer(url: &str) -> Process {
    Process::moqtail(["subscribe", url, "live/film", "--out", "-"])
}

#[test]
fn a_viewer_goes_on_when_the_publisher_is_killed_and_comes_back() {
    let (relay, stage) = (Relay::start(), Stage::new());
    for (to, from) in [(relay.quic(), relay.web()), (relay.web(), relay.quic())] {
        let viewer = viewer(&from);
        let publisher = stage.publisher(&to);
        viewer.wait_stdout("the first 2 s", frames(2 * FRAME_RATE));
        publisher.kill();
        publisher.finish();
        let before = viewer.wait_stdout("what came", |bytes| Some(video(bytes)));
        let publisher = stage.publisher(&to);
        viewer.wait_stdout("2 s more", frames(before + 2 * FRAME_RATE));
        stage.end(publisher, viewer);
    }
}

/// S2.5.1-03
#[test]
fn a_publisher_that_comes_back_within_seconds_is_seen_from_its_first_frame() {
    let (relay, stage) = (Relay::start(), Stage::new());
    let viewer = viewer(&relay.quic());
    let publisher = stage.publisher(&relay.web());
    viewer.wait_stdout("the first second", frames(FRAME_RATE));
    publisher.kill();
    publisher.finish();
    let publisher = stage.publisher(&relay.web());
    // Frames by their bytes: where the second run begins, and that it has all that the first one had.
    let runs = |bytes: &[u8]| {
        let pictures: Vec<_> = chunks(bytes)
            .into_iter()
            .filter(|chunk| chunk.track == 1)
            .map(|chunk| chunk.media)
            .collect();
        let again = pictures
            .iter()
            .skip(1)
            .position(|p| Some(p) == pictures.first())?
            + 1;
        let (first, second) = pictures.split_at(again);
        let shared = first.len().min(FRAME_RATE);
        (second.len() >= shared).then(|| first[..shared] == second[..shared])
    };
    assert!(viewer.wait_stdout("the film from its start again", runs));
    stage.end(publisher, viewer);
}

#[test]
fn a_broadcast_that_comes_back_with_other_codecs_ends_the_file_with_a_line() {
    let (relay, stage) = (Relay::start(), Stage::new());
    let out = stage.scratch.path("out.mp4");
    let path = out.to_str().expect("a path in UTF-8");
    let viewer = Process::moqtail(["-v", "subscribe", &relay.quic(), "live/film", "--out", path]);
    let publisher = stage.publisher(&relay.web());
    let mut seen = 0;
    while seen < 2 * FRAME_RATE {
        viewer.wait_stderr("subscribed");
        seen = video(&std::fs::read(&out).unwrap_or_default());
    }
    publisher.terminate();
    publisher.finish();
    let other = stage.scratch.path("other.mp4");
    let made = test_media(5, Codecs::Vp9Opus, false).arg(&other).status();
    assert!(made.expect("ffmpeg is installed").success());
    let other = other.to_str().expect("a path in UTF-8");
    let publisher = Process::moqtail(["publish", &relay.web(), "live/film", other, "--loop"]);
    let finished = viewer.finish();
    assert_eq!(
        finished.last_error(),
        "moqtail: Cannot play live/film: it came back with other tracks or codecs, which one file cannot follow; \
         what came before is written. Run it again for the broadcast as it is now."
    );
    assert_eq!(finished.code, Some(1));
    assert!(playable(&out).0 >= seen);
    publisher.interrupt();
    publisher.finish();
}

#[test]
fn a_viewer_goes_on_when_the_publisher_is_stopped_and_comes_back() {
    let (relay, stage) = (Relay::start(), Stage::new());
    let viewer = viewer(&relay.quic());
    let publisher = stage.publisher(&relay.web());
    viewer.wait_stdout("the first second", frames(FRAME_RATE));
    publisher.terminate();
    assert_eq!(publisher.finish().code, Some(0));
    let before = viewer.wait_stdout("what came", |bytes| Some(video(bytes)));
    let publisher = stage.publisher(&relay.web());
    viewer.wait_stdout("2 s more", frames(before + 2 * FRAME_RATE));
    stage.end(publisher, viewer);
}

#[test]
fn publisher_and_viewer_survive_a_relay_that_is_killed() {
    let (relay, stage) = (Relay::start(), Stage::new());
    let viewer = viewer(&relay.quic());
    let publisher = stage.publisher(&relay.web());
    viewer.wait_stdout("the first 2 s", frames(2 * FRAME_RATE));
    let port = relay.port();
    relay.kill();
    let before = viewer.wait_stdout("what came", |bytes| Some(video(bytes)));
    let _relay = Relay::start_on(port);
    viewer.wait_stdout("2 s more", frames(before + 2 * FRAME_RATE));
    stage.end(publisher, viewer);
}

/// S3.5-04
#[test]
fn publisher_and_viewer_survive_a_relay_that_is_stopped() {
    let (relay, stage) = (Relay::start(), Stage::new());
    let viewer = viewer(&relay.web());
    let publisher = stage.publisher(&relay.quic());
    viewer.wait_stdout("the first 2 s", frames(2 * FRAME_RATE));
    let port = relay.port();
    let finished = relay.stop();
    assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
    let before = viewer.wait_stdout("what came", |bytes| Some(video(bytes)));
    let _relay = Relay::start_on(port);
    viewer.wait_stdout("2 s more", frames(before + 2 * FRAME_RATE));
    stage.end(publisher, viewer);
}

#[test]
fn everybody_waits_for_a_relay_that_comes_last() {
    let stage = Stage::new();
    // The port of a relay that has been here before.
    let relay = Relay::start();
    let (port, to, from) = (relay.port(), relay.web(), relay.quic());
    relay.stop();
    let viewer = viewer(&from);
    viewer.wait_stderr("Waiting: No relay answers at localhost");
    let publisher = stage.publisher(&to);
    publisher.wait_stderr("Waiting: No relay answers at localhost");
    let _relay = Relay::start_on(port);
    publisher.wait_stderr("Connected to localhost");
    viewer.wait_stdout("a second", frames(FRAME_RATE));
    stage.end(publisher, viewer);
}
