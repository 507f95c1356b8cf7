//! Media from ffmpeg through publisher, relay and viewer, and back into ffprobe.

#![cfg(unix)]

use std::{io::Read as _, path::Path};

use moqtail::client::SubscribeOptions;
use moqtail_e2e::{
    Carrier, Chunk, Codecs, FRAME_RATE, Live, Process, Relay, Scratch, chunks, playable, soon,
    test_media,
};

fn media_of(chunks: &[Chunk], track: u32) -> Vec<&[u8]> {
    chunks
        .iter()
        .filter(|chunk| chunk.track == track)
        .map(|chunk| chunk.media.as_slice())
        .collect()
}

fn whole_of(chunks: &[Chunk], track: u32) -> Vec<u8> {
    chunks
        .iter()
        .filter(|chunk| chunk.track == track)
        .flat_map(|chunk| chunk.whole.clone())
        .collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn assert_done(process: Process) {
    let finished = process.finish();
    assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
}

/// A viewer of a broadcast that is not there yet.
fn waiting_viewer(url: &str, name: &str, out: &Path) -> Process {
    let viewer = Process::moqtail(["subscribe", url, name, "--out", text(out)]);
    viewer.wait_stderr("Waiting: broadcast");
    viewer
}

#[test]
fn ten_seconds_arrive_whole_and_as_they_were() {
    let relay = Relay::start();
    let scratch = Scratch::new();
    let ways = [
        ("live/a", relay.web(), relay.quic()),
        ("live/b", relay.quic(), relay.web()),
    ];
    let running = ways.map(|(name, to, from)| {
        let out = scratch.path(&format!("{}.mp4", name.replace('/', "-")));
        let raw = scratch.path(&format!("{}.raw", name.replace('/', "-")));
        let viewer = waiting_viewer(&from, name, &out);
        let objects = Process::moqtail([
            "subscribe",
            &from,
            name,
            "--track",
            "video0",
            "--format",
            "raw",
            "--out",
            text(&raw),
        ]);
        objects.wait_stderr("Waiting: broadcast");
        let (live, passed) = Live::start(10, Codecs::H264Aac);
        let mut publisher = Process::moqtail(["publish", &to, name, "-"]);
        publisher.feed(live);
        (publisher, viewer, objects, out, raw, passed)
    });
    for (publisher, viewer, objects, out, raw, passed) in running {
        assert_done(publisher);
        assert_done(viewer);
        assert_done(objects);
        let (video, audio) = playable(&out);
        assert!((298..=302).contains(&video), "{video} frames in 10 s");
        assert!(
            (465..=475).contains(&audio),
            "{audio} packets of sound in 10 s"
        );
        let sent = chunks(&passed.bytes());
        let received = chunks(&std::fs::read(&out).expect("the viewer wrote its file"));
        for track in [1, 2] {
            assert_eq!(
                media_of(&received, track),
                media_of(&sent, track),
                "track {track}"
            );
        }
        let objects = std::fs::read(&raw).expect("the viewer wrote its file");
        // The first frames go out when the first viewer is there; this one may have come a moment later.
        assert!(
            whole_of(&sent, 1).ends_with(&objects),
            "objects are the fragments, byte for byte"
        );
        let count = chunks(&objects).len();
        assert!(count >= 7 * FRAME_RATE, "{count} objects in 10 s");
    }
}

/// As of `while true; do ffmpeg …; done | moqtail publish …`.
#[test]
fn an_encoder_that_starts_again_goes_on_in_the_same_broadcast() {
    let relay = Relay::start();
    let scratch = Scratch::new();
    let out = scratch.path("out.mp4");
    let viewer = waiting_viewer(&relay.quic(), "live/again", &out);
    let (first, passed) = Live::start(2, Codecs::H264Aac);
    let (second, passed_again) = Live::start(3, Codecs::H264Aac);
    let mut publisher = Process::moqtail(["publish", &relay.web(), "live/again", "-"]);
    publisher.feed(first.chain(second));
    assert_done(publisher);
    assert_done(viewer);
    playable(&out);
    let sent = [passed.bytes(), passed_again.bytes()].concat();
    let received = std::fs::read(&out).expect("the viewer wrote its file");
    let (sent, received) = (chunks(&sent), chunks(&received));
    for track in [1, 2] {
        assert_eq!(
            media_of(&received, track),
            media_of(&sent, track),
            "track {track}"
        );
    }
}

#[test]
fn vp9_and_opus_arrive_whole() {
    let relay = Relay::start();
    let scratch = Scratch::new();
    let out = scratch.path("out.mp4");
    let viewer = waiting_viewer(&relay.quic(), "live/vp9", &out);
    let (live, passed) = Live::start(4, Codecs::Vp9Opus);
    let mut publisher = Process::moqtail(["publish", &relay.web(), "live/vp9", "-"]);
    publisher.feed(live);
    assert_done(publisher);
    assert_done(viewer);
    let (video, audio) = playable(&out);
    assert!(
        (4 * FRAME_RATE - 2..=4 * FRAME_RATE + 2).contains(&video),
        "{video} frames in 4 s"
    );
    assert!(
        (195..=205).contains(&audio),
        "{audio} packets of sound in 4 s"
    );
    let sent = chunks(&passed.bytes());
    let received = chunks(&std::fs::read(&out).expect("the viewer wrote its file"));
    for track in [1, 2] {
        assert_eq!(
            media_of(&received, track),
            media_of(&sent, track),
            "track {track}"
        );
    }
}

#[test]
fn an_ordinary_file_is_played_at_its_own_speed() {
    let relay = Relay::start();
    let scratch = Scratch::new();
    let (film, out) = (scratch.path("film.mp4"), scratch.path("out.mp4"));
    let made = test_media(5, Codecs::H264Aac, false).arg(&film).status();
    assert!(made.expect("ffmpeg is installed").success());
    let viewer = waiting_viewer(&relay.web(), "live/film", &out);
    let publisher = Process::moqtail(["publish", &relay.quic(), "live/film", text(&film)]);
    assert_done(publisher);
    assert_done(viewer);
    let (video, audio) = playable(&out);
    assert!(
        (5 * FRAME_RATE - 2..=5 * FRAME_RATE + 2).contains(&video),
        "{video} frames in 5 s"
    );
    assert!(
        (230..=240).contains(&audio),
        "{audio} packets of sound in 5 s"
    );
}

#[test]
fn one_track_alone_can_be_chosen() {
    let relay = Relay::start();
    let scratch = Scratch::new();
    let film = scratch.write("film.mp4", moqtail_media::sample());
    let publisher =
        Process::moqtail(["publish", &relay.quic(), "live/film", text(&film), "--loop"]);
    let out = scratch.path("audio.mp4");
    let viewer = Process::moqtail([
        "subscribe",
        &relay.quic(),
        "live/film",
        "--track",
        "audio0",
        "--out",
        text(&out),
        "--count",
        "50",
    ]);
    assert_done(viewer);
    let received = chunks(&std::fs::read(&out).expect("the viewer wrote its file"));
    assert_eq!(received.len(), 50);
    assert!(received.iter().all(|chunk| chunk.track == 1));

    let other = Process::moqtail([
        "subscribe",
        &relay.quic(),
        "live/film",
        "--track",
        "subtitles",
        "--out",
        text(&out),
    ]);
    let finished = other.finish();
    let line = finished.last_error();
    let cause = "moqtail: Broadcast live/film has no track subtitles. It has: video0 (avc1.";
    assert!(line.starts_with(cause), "{line}");
    assert_eq!(finished.code, Some(1));
    publisher.interrupt();
    assert_done(publisher);
}

/// Media time in seconds that a viewer has written so far, by its video.
fn seconds_in(bytes: &[u8]) -> usize {
    chunks(bytes)
        .iter()
        .filter(|chunk| chunk.track == 1)
        .count()
        / FRAME_RATE
}

#[test]
fn viewers_join_at_any_time_and_after_all_others_left() {
    let relay = Relay::start();
    let scratch = Scratch::new();
    let film = scratch.write("film.mp4", moqtail_media::sample());
    let first = Process::moqtail(["subscribe", &relay.quic(), "live/film", "--out", "-"]);
    let publisher = Process::moqtail(["publish", &relay.web(), "live/film", text(&film), "--loop"]);
    let at = |seconds: usize| {
        let found = |bytes: &[u8]| (seconds_in(bytes) >= seconds).then_some(());
        first.wait_stdout("media", found);
    };
    at(3);
    let second = Process::moqtail(["subscribe", &relay.web(), "live/film", "--out", "-"]);
    at(7);
    let third = Process::moqtail(["subscribe", &relay.quic(), "live/film", "--out", "-"]);
    let two_seconds = |bytes: &[u8]| (seconds_in(bytes) >= 2).then_some(());
    third.wait_stdout("2 s of media", two_seconds);
    // All leave, and only then the last one comes.
    let mut finished: Vec<_> = [first, second, third]
        .into_iter()
        .map(|viewer| {
            viewer.interrupt();
            viewer.finish()
        })
        .collect();
    let fourth = Process::moqtail(["subscribe", &relay.web(), "live/film", "--out", "-"]);
    fourth.wait_stdout("2 s of media", two_seconds);
    publisher.interrupt();
    assert_done(publisher);
    finished.push(fourth.finish());
    for (number, finished) in finished.into_iter().enumerate() {
        assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
        let file = scratch.write(&format!("{number}.mp4"), &finished.stdout);
        let (video, _) = playable(&file);
        assert!(
            video >= 2 * FRAME_RATE,
            "viewer {number} got {video} frames"
        );
    }
}

/// S10.2.1.2-07: all that a player needs stands in payloads, and nothing that relays would have to carry beside them.
#[tokio::test]
async fn no_object_of_a_film_has_extension_headers() {
    let relay = Relay::start();
    let scratch = Scratch::new();
    let film = scratch.write("film.mp4", moqtail_media::sample());
    let publisher = Process::moqtail(["publish", &relay.web(), "live/film", text(&film), "--loop"]);
    publisher.wait_stderr("Publishing live/film");
    let client = Carrier::Quic.connect(relay.addr()).await;
    for (track, count) in [("catalog", 2), ("video0", FRAME_RATE), ("audio0", 30)] {
        let name = format!("live/film#{track}").parse().expect("a name");
        let subscribed = soon(
            "an answer",
            client.subscribe(name, SubscribeOptions::default()),
        );
        let mut objects = subscribed.await.expect("the track").into_objects();
        for _ in 0..count {
            let object = soon("an object", objects.next()).await;
            let object = object.expect("the track goes on").expect("an object");
            assert!(object.extensions.is_empty(), "{track}: {object:?}");
        }
    }
}
