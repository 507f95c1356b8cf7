//! What ffmpeg makes, we read; what we make, ffmpeg decodes. Needs the programs `ffmpeg` and
//! `ffprobe`, and fails without them.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::{Cursor, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::{drain, read, some_time};
use moqtail_media::{
    Catalog, Error, Fmp4Reader, Fragment, Grouper, Init, Mp4File, Remuxer, TrackKind, Unsuitable,
    sample,
};
use serde_json::Value;

/// The movflags of [`moqtail_media::FFMPEG_FLAGS`].
const LIVE: &str = "cmaf+separate_moof+delay_moov+skip_trailer+frag_every_frame";
const PICTURE: &str = "testsrc2=size=320x180:rate=30:duration=2";
const SOUND: &str = "sine=frequency=440:sample_rate=48000:duration=2";
const H264: &str = "-c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline \
    -pix_fmt yuv420p -g 30 -keyint_min 30 -sc_threshold 0";

/// Runs a program with `input` on its standard input; what it wrote, and its complaints.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> (Vec<u8>, String) {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|error| {
        panic!("these tests need the program `{program}` (Debian: apt-get install ffmpeg): {error}")
    });
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // A program that has seen enough closes its input.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {complaints}"
    );
    (output.stdout, complaints)
}

/// Runs ffmpeg with options separated by spaces.
fn ffmpeg(options: &str) -> Vec<u8> {
    let mut arguments = vec!["-hide_banner", "-loglevel", "error", "-y"];
    arguments.extend(options.split_whitespace());
    run("ffmpeg", &arguments, &[]).0
}

/// Two seconds of picture and sound as a live stream.
fn live(video: &str, audio: &str) -> Vec<u8> {
    ffmpeg(&format!(
        "-f lavfi -i {PICTURE} -f lavfi -i {SOUND} {video} {audio} -f mp4 -movflags {LIVE} -"
    ))
}

/// Reads a stream that must be good, and lets ffmpeg check what becomes of it.
fn good(stream: &[u8]) -> (Init, Vec<Fragment>) {
    let (init, fragments, end) = read(stream.chunks(1000));
    end.unwrap();
    let init = init.unwrap();
    check_merged(&init, &fragments);
    (init, fragments)
}

/// Remuxes the fragments from their objects, and checks that ffmpeg reads every frame of every
/// track in order and decodes it all without a complaint.
fn check_merged(init: &Init, fragments: &[Fragment]) {
    let inits = init.tracks.iter().map(|track| &track.init[..]);
    let mut remuxer = Remuxer::new(inits).unwrap();
    let mut stream = remuxer.header().to_vec();
    let now = some_time();
    for fragment in fragments {
        let index = init
            .tracks
            .iter()
            .position(|track| track.id == fragment.track_id);
        remuxer
            .push(index.unwrap(), 0, &fragment.data, now)
            .unwrap();
        drain(&mut remuxer, now, &mut stream);
    }
    (0..init.tracks.len()).for_each(|track| remuxer.end(track));
    drain(&mut remuxer, now, &mut stream);
    assert_eq!(remuxer.dropped(), 0);

    let probe = probe(&stream);
    let streams = probe["streams"].as_array().unwrap();
    assert_eq!(streams.len(), init.tracks.len());
    for (index, (found, track)) in streams.iter().zip(&init.tracks).enumerate() {
        let mine = fragments.iter().filter(|f| f.track_id == track.id);
        let samples: u32 = mine.map(|f| f.samples).sum();
        assert_eq!(
            found["nb_read_packets"],
            samples.to_string(),
            "track {index}"
        );
        let times: Vec<i64> = probe["packets"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|packet| packet["stream_index"] == index)
            .map(|packet| packet["dts"].as_i64().unwrap())
            .collect();
        assert!(
            times.windows(2).all(|pair| pair[0] < pair[1]),
            "track {index}: {times:?}"
        );
    }
    let arguments = ["-v", "error", "-i", "-", "-map", "0", "-f", "null", "-"];
    let (_, complaints) = run("ffmpeg", &arguments, &stream);
    assert_eq!(complaints, "");
}

fn probe(stream: &[u8]) -> Value {
    let arguments = [
        "-v",
        "error",
        "-count_packets",
        "-show_streams",
        "-show_packets",
        "-of",
        "json",
        "-",
    ];
    let (json, complaints) = run("ffprobe", &arguments, stream);
    assert_eq!(complaints, "");
    serde_json::from_slice(&json).unwrap()
}

fn codecs(init: &Init) -> Vec<&str> {
    init.tracks
        .iter()
        .map(|track| track.codec.as_str())
        .collect()
}

/// Each fragment is one frame; each group starts with a key frame and groups are in step.
fn check_groups(init: &Init, fragments: &[Fragment], groups: u64) {
    let mut grouper = Grouper::new(&init.tracks, 1000);
    for fragment in fragments {
        assert_eq!(fragment.samples, 1);
        let placement = grouper.place(fragment).unwrap();
        assert!((1000..1000 + groups).contains(&placement.group));
        assert_eq!(placement.prior_group_gap, 0);
    }
    for track in &init.tracks {
        let mut grouper = Grouper::new(&init.tracks, 1000);
        let placed = fragments.iter().map(|f| (f, grouper.place(f).unwrap()));
        let mine = placed.filter(|(f, p)| f.track_id == track.id && p.starts_group());
        assert_eq!(mine.count() as u64, groups, "track {}", track.id);
    }
}

#[test]
fn h264_with_aac() {
    let (init, fragments) = good(&live(H264, "-c:a aac"));
    assert_eq!(codecs(&init), ["avc1.42c00d", "mp4a.40.2"]);
    check_groups(&init, &fragments, 2);
    let video = &init.tracks[0];
    assert_eq!((video.width, video.height), (Some(320), Some(180)));
    let audio = &init.tracks[1];
    assert_eq!((audio.samplerate, audio.channels), (Some(48_000), Some(1)));
    assert!(
        init.tracks
            .iter()
            .all(|track| track.bitrate.is_some() || track.id == 1)
    );
    let catalog = Catalog::of_tracks(&init.tracks, None);
    assert_eq!(Catalog::from_json(&catalog.to_json()).unwrap(), catalog);
}

#[test]
fn h264_with_opus() {
    let (init, fragments) = good(&live(H264, "-c:a libopus -b:a 64k -ac 2"));
    assert_eq!(codecs(&init), ["avc1.42c00d", "opus"]);
    assert_eq!(init.tracks[1].channels, Some(2));
    check_groups(&init, &fragments, 2);
}

#[test]
fn vp9_with_opus() {
    let video = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 30 -pix_fmt yuv420p";
    let (mut init, fragments) = good(&live(video, "-c:a libopus"));
    assert!(
        init.tracks[0].codec.starts_with("vp09.00."),
        "{}",
        init.tracks[0].codec
    );
    check_groups(&init, &fragments, 2);
    fragments
        .iter()
        .for_each(|fragment| init.tracks[0].learn(fragment));
    assert_eq!(init.tracks[0].framerate, Some(30.0));
}

#[test]
fn hevc() {
    let video = "-c:v libx265 -preset ultrafast -tune zerolatency -g 30 -keyint_min 30 \
        -pix_fmt yuv420p -tag:v hvc1 -x265-params log-level=none";
    let (init, fragments) = good(&live(video, "-c:a aac"));
    assert!(
        init.tracks[0].codec.starts_with("hvc1.1.6.L"),
        "{}",
        init.tracks[0].codec
    );
    assert_eq!(init.tracks[0].kind, TrackKind::Video);
    assert!(fragments.iter().any(|fragment| fragment.keyframe));
}

#[test]
fn av1() {
    let video = "-c:v libaom-av1 -cpu-used 8 -usage realtime -g 30 -pix_fmt yuv420p";
    let (init, _) = good(&live(video, "-c:a libopus"));
    assert!(
        init.tracks[0].codec.starts_with("av01.0."),
        "{}",
        init.tracks[0].codec
    );
}

#[test]
fn several_renditions_share_group_numbers() {
    let stream = ffmpeg(&format!(
        "-f lavfi -i {PICTURE} -f lavfi -i {SOUND} -filter_complex \
        [0:v]split=2[a][b];[a]scale=640:360[hi];[b]scale=160:90[lo] \
        -map [hi] -map [lo] -map 1:a {H264} -b:v:0 800k -b:v:1 100k -c:a aac \
        -f mp4 -movflags {LIVE} -"
    ));
    let (init, fragments) = good(&stream);
    assert_eq!(init.tracks.len(), 3);
    check_groups(&init, &fragments, 2);
    let catalog = Catalog::of_tracks(&init.tracks, None);
    let names: Vec<_> = catalog
        .tracks
        .iter()
        .map(|track| track.name.as_str())
        .collect();
    assert_eq!(names, ["video0", "video1", "audio0"]);
    let groups: Vec<_> = catalog.tracks.iter().map(|track| track.alt_group).collect();
    assert_eq!(groups, [Some(1), Some(1), None]);
}

#[test]
fn audio_alone() {
    let stream = ffmpeg(&format!(
        "-f lavfi -i {SOUND} -c:a aac -f mp4 -movflags {LIVE} -"
    ));
    let (init, fragments) = good(&stream);
    assert_eq!(codecs(&init), ["mp4a.40.2"]);
    let mut grouper = Grouper::new(&init.tracks, 1);
    let groups = fragments
        .iter()
        .map(|fragment| grouper.place(fragment).unwrap().group);
    assert!((2..=3).contains(&groups.max().unwrap()));
}

#[test]
fn longer_fragments() {
    let flags = "cmaf+separate_moof+delay_moov+skip_trailer -frag_duration 100000";
    let stream = ffmpeg(&format!(
        "-f lavfi -i {PICTURE} -f lavfi -i {SOUND} {H264} -c:a aac -f mp4 -movflags {flags} -"
    ));
    let (_, fragments) = good(&stream);
    assert!(
        fragments
            .iter()
            .all(|fragment| fragment.samples > 1 || fragment.keyframe)
    );
}

#[test]
fn key_frames_inside_longer_fragments_start_groups() {
    let flags = "cmaf+separate_moof+delay_moov+skip_trailer -frag_duration 100000";
    let picture = "testsrc2=size=320x180:rate=25:duration=2";
    let stream = ffmpeg(&format!(
        "-f lavfi -i {picture} -f lavfi -i {SOUND} {H264} -g 10 -keyint_min 10 -c:a aac \
        -f mp4 -movflags {flags} -"
    ));
    let (init, fragments) = good(&stream);
    let video = || fragments.iter().filter(|f| f.track_id == 1);
    assert!(video().any(|fragment| fragment.samples == 3));
    let starts = video().filter(|f| f.keyframe).map(|f| f.decode_time);
    let gop = u64::from(init.tracks[0].timescale) * 10 / 25;
    let expected: Vec<_> = (0..5).map(|n| n * gop).collect();
    assert_eq!(starts.collect::<Vec<_>>(), expected);
}

#[test]
fn a_stream_that_is_made_again_is_the_same_broadcast() {
    let make = |seconds: u32, date: &str| {
        ffmpeg(&format!(
            "-f lavfi -i {PICTURE} -f lavfi -i sine=frequency={seconds}00:sample_rate=48000 -t {seconds} \
            {H264} -c:a aac -metadata creation_time={date} -f mp4 -movflags {LIVE} -"
        ))
    };
    let first = make(1, "2020-01-01T00:00:00");
    let second = make(2, "2021-01-01T00:00:00");
    let header = |stream: &[u8]| read([stream]).0.unwrap().tracks;
    assert_ne!(header(&first), header(&second));
    let (_, fragments) = good(&[&first[..], &second].concat());
    let count = |stream: &[u8]| read([stream]).1.len();
    assert_eq!(fragments.len(), count(&first) + count(&second));
}

#[test]
fn quicktime_files_and_streams() {
    let both = format!(
        "-f lavfi -i {PICTURE} -f lavfi -i {SOUND} -c:v libx264 -bf 2 -g 30 -pix_fmt yuv420p"
    );
    let fragments = "empty_moov+separate_moof+default_base_moof+frag_every_frame";
    let made = [
        TempFile::make("quicktime", &format!("{both} -c:a aac -f mov")),
        TempFile::make(
            "quicktime-live",
            &format!("{both} -c:a aac -movflags {fragments} -f mov"),
        ),
    ];
    for made in made {
        let mut file = made.open();
        let init = file.init().clone();
        assert_eq!(codecs(&init)[1], "mp4a.40.2");
        assert_eq!(init.ignored, []);
        let sound = &init.tracks[1];
        assert_eq!((sound.samplerate, sound.channels), (Some(48_000), Some(1)));
        // Players take neither sound description of QuickTime.
        assert!(!sound.init.windows(4).any(|kind| kind == b"wave"));
        let fragments = fragments_of(&mut file, usize::MAX);
        check_merged(&init, &fragments);
    }
}

#[test]
fn fragments_addressed_from_the_file_are_made_self_contained() {
    let stream = ffmpeg(&format!(
        "-f lavfi -i {PICTURE} {H264} -f mp4 -movflags empty_moov+frag_keyframe -"
    ));
    let (_, fragments) = good(&stream);
    assert_eq!(fragments.len(), 2);
}

#[test]
fn mixed_fragments_are_refused() {
    let stream = ffmpeg(&format!(
        "-f lavfi -i {PICTURE} -f lavfi -i {SOUND} {H264} -c:a aac \
        -f mp4 -movflags frag_keyframe+empty_moov+default_base_moof -"
    ));
    let error = read([&stream[..]]).2.unwrap_err();
    assert!(
        matches!(error, Error::Unsuitable(Unsuitable::MixedTracks(_))),
        "{error}"
    );
}

#[test]
fn other_containers_are_refused_by_name() {
    for (format, name) in [
        ("matroska", "Matroska"),
        ("mpegts", "MPEG-TS"),
        ("flv", "FLV"),
    ] {
        let stream = ffmpeg(&format!("-f lavfi -i {PICTURE} {H264} -f {format} -"));
        let line = read([&stream[..]]).2.unwrap_err().to_string();
        assert!(line.contains(name), "{line}");
    }
    let stream = ffmpeg(&format!("-f lavfi -i {PICTURE} {H264} -f h264 -"));
    let line = read([&stream[..]]).2.unwrap_err().to_string();
    assert!(line.contains("raw H.264"), "{line}");
}

/// A file made by ffmpeg, removed again in the end.
struct TempFile(PathBuf);

impl TempFile {
    fn make(name: &str, options: &str) -> Self {
        let name = format!("moqtail-media-{}-{name}.mp4", std::process::id());
        let path = std::env::temp_dir().join(name);
        ffmpeg(&format!("{options} {}", path.display()));
        Self(path)
    }

    fn open(&self) -> Mp4File<std::fs::File> {
        Mp4File::open(std::fs::File::open(&self.0).unwrap()).unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

fn fragments_of(file: &mut Mp4File<std::fs::File>, limit: usize) -> Vec<Fragment> {
    let next = || file.next_fragment().unwrap().map(|timed| timed.fragment);
    std::iter::from_fn(next).take(limit).collect()
}

#[test]
fn an_ordinary_file_with_b_frames() {
    let options = format!(
        "-f lavfi -i {PICTURE} -f lavfi -i {SOUND} -c:v libx264 -preset veryfast -bf 2 -g 30 \
        -pix_fmt yuv420p -c:a aac"
    );
    let made = TempFile::make("b-frames", &options);
    let mut file = made.open();
    let init = file.init().clone();
    let fragments = fragments_of(&mut file, usize::MAX);
    check_merged(&init, &fragments);
    let video: Vec<_> = fragments.iter().filter(|f| f.track_id == 1).collect();
    assert_eq!(video.len(), 60);
    assert!(
        video
            .iter()
            .any(|f| f.presentation_time > f.decode_time as i64)
    );
    // Picture and sound start together, but for the encoder's priming of 1024 samples.
    let start = |id: u32| {
        let track = init.tracks.iter().find(|track| track.id == id).unwrap();
        let mine = fragments.iter().filter(|f| f.track_id == id);
        mine.map(|f| f.presentation_time).min().unwrap() as f64 / f64::from(track.timescale)
    };
    let apart = start(1) - start(2);
    assert!((apart - 1024.0 / 48_000.0).abs() < 0.001, "{apart}");

    // Its header is at the end, which no pipe can wait for.
    let bytes = std::fs::read(&made.0).unwrap();
    let error = read([&bytes[..]]).2.unwrap_err();
    assert!(
        matches!(error, Error::Unsuitable(Unsuitable::HeaderAtEnd)),
        "{error}"
    );
}

#[test]
fn files_of_all_kinds_repeat() {
    let both = format!("-f lavfi -i {PICTURE} -f lavfi -i {SOUND} {H264}");
    for (name, options) in [
        (
            "vp9",
            format!("-f lavfi -i {PICTURE} -c:v libvpx-vp9 -deadline realtime -cpu-used 8"),
        ),
        ("opus", format!("{both} -c:a libopus -movflags +faststart")),
        ("fragmented", format!("{both} -c:a aac -movflags {LIVE}")),
        ("audio", format!("-f lavfi -i {SOUND} -c:a aac")),
    ] {
        let made = TempFile::make(name, &options);
        let once = fragments_of(&mut made.open(), usize::MAX).len();
        let mut file = made.open().repeating(true);
        let init = file.init().clone();
        let fragments = fragments_of(&mut file, once * 3);
        assert_eq!(fragments.len(), once * 3, "{name}");
        check_merged(&init, &fragments);
    }
}

#[test]
fn the_sample_plays() {
    let mut file = Mp4File::open(Cursor::new(sample())).unwrap();
    let init = file.init().clone();
    let next = || file.next_fragment().unwrap().map(|timed| timed.fragment);
    let fragments: Vec<_> = std::iter::from_fn(next).collect();
    check_merged(&init, &fragments);
    check_groups(&init, &fragments, 8);
    assert!(Fmp4Reader::new().finish().is_err());
}
