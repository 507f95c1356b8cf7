//! Merging tracks into one stream again.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::Cursor;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{boxed, drain, read, sample_stream, some_time};
use moqtail_media::{Error, Fragment, Limits, Mp4File, RemuxOptions, Remuxer, TrackInfo, sample};

const VIDEO: usize = 0;
const AUDIO: usize = 1;

/// The tracks of the sample and its first fragments, in decode order.
fn source(count: usize) -> (Vec<TrackInfo>, Vec<(usize, Fragment)>) {
    let mut file = Mp4File::open(Cursor::new(sample()))
        .unwrap()
        .repeating(true);
    let tracks = file.init().tracks.clone();
    let mut next = || {
        let fragment = file.next_fragment().unwrap().unwrap().fragment;
        let index = tracks
            .iter()
            .position(|track| track.id == fragment.track_id);
        (index.unwrap(), fragment)
    };
    let fragments = (0..count).map(|_| next()).collect();
    (tracks, fragments)
}

fn remuxer(tracks: &[TrackInfo], options: RemuxOptions) -> Remuxer {
    let inits = tracks.iter().map(|track| &track.init[..]);
    Remuxer::with_options(inits, options, Limits::default()).unwrap()
}

/// The fragments a remuxer gave, read back.
fn fragments(remuxer: &Remuxer, stream: &[u8]) -> Vec<Fragment> {
    let (init, fragments, end) = read([&remuxer.header()[..], stream]);
    end.unwrap();
    assert!(init.is_some());
    fragments
}

fn is_monotonic(fragments: &[Fragment], track: usize) -> bool {
    let id = track as u32 + 1;
    let mine: Vec<_> = fragments.iter().filter(|f| f.track_id == id).collect();
    mine.windows(2)
        .all(|pair| pair[0].decode_time < pair[1].decode_time)
}

fn sequence_numbers(mut stream: &[u8]) -> Vec<u32> {
    let mut all = Vec::new();
    while !stream.is_empty() {
        let (kind, size) = common::box_at(stream, 0);
        if &kind == b"moof" {
            all.push(u32::from_be_bytes(stream[20..24].try_into().unwrap()));
        }
        stream = &stream[size..];
    }
    all
}

#[test]
fn a_round_trip_keeps_every_sample_and_its_bytes() {
    let (tracks, source) = source(615);
    let stream = sample_stream();
    let (init, merged, end) = read([&stream[..]]);
    end.unwrap();
    let init = init.unwrap();
    assert_eq!(init.tracks.len(), tracks.len());
    for (index, (before, after)) in tracks.iter().zip(&init.tracks).enumerate() {
        assert_eq!((after.id, &after.codec), (index as u32 + 1, &before.codec));
        let before: Vec<_> = source.iter().filter(|(track, _)| *track == index).collect();
        let after: Vec<_> = merged.iter().filter(|f| f.track_id == after.id).collect();
        assert_eq!(before.len(), after.len());
        for ((_, before), after) in before.iter().zip(&after) {
            assert_eq!(before.keyframe, after.keyframe);
            assert_eq!(
                (before.decode_time, before.duration),
                (after.decode_time, after.duration)
            );
            assert_eq!(mdat(&before.data), mdat(&after.data));
        }
    }
    let numbers = sequence_numbers(&stream);
    assert_eq!(numbers, (1..=615).collect::<Vec<_>>());
}

fn mdat(fragment: &Bytes) -> Bytes {
    let (_, moof) = common::box_at(fragment, 0);
    fragment.slice(moof..)
}

#[test]
fn tracks_are_interleaved_by_decode_time_though_they_arrive_apart() {
    let (tracks, source) = source(200);
    let mut remuxer = remuxer(&tracks, RemuxOptions::default());
    let now = some_time();
    let mut stream = Vec::new();
    // All of the audio comes before any of the video.
    for track in [AUDIO, VIDEO] {
        for (_, fragment) in source.iter().filter(|(index, _)| *index == track) {
            remuxer.push(track, 0, &fragment.data, now).unwrap();
            drain(&mut remuxer, now, &mut stream);
        }
    }
    (0..2).for_each(|track| remuxer.end(track));
    drain(&mut remuxer, now, &mut stream);
    let merged = fragments(&remuxer, &stream);
    let order = |f: &Fragment| (f.track_id, f.decode_time);
    let before: Vec<_> = source.iter().map(|(_, f)| order(f)).collect();
    assert_eq!(merged.iter().map(order).collect::<Vec<_>>(), before);
}

#[test]
fn ids_are_rewritten_where_both_tracks_have_the_same() {
    let (tracks, source) = source(60);
    let twice = [tracks[VIDEO].clone(), tracks[VIDEO].clone()];
    let mut remuxer = remuxer(&twice, RemuxOptions::default());
    let now = some_time();
    let mut stream = Vec::new();
    for (_, fragment) in source.iter().filter(|(track, _)| *track == VIDEO) {
        remuxer.push(0, 0, &fragment.data, now).unwrap();
        remuxer.push(1, 0, &fragment.data, now).unwrap();
        drain(&mut remuxer, now, &mut stream);
    }
    let merged = fragments(&remuxer, &stream);
    let ids: Vec<_> = merged
        .iter()
        .take(4)
        .map(|fragment| fragment.track_id)
        .collect();
    assert_eq!(ids, [1, 2, 1, 2]);
}

#[test]
fn what_decryption_modules_need_is_in_the_header_once() {
    let (tracks, _) = source(1);
    let pssh = [boxed(b"pssh", &[5; 30]), boxed(b"pssh", &[6; 30])].concat();
    let inits = tracks.iter().map(|track| {
        let (_, ftyp) = common::box_at(&track.init, 0);
        let moov = boxed(b"moov", &[&track.init[ftyp + 8..], &pssh].concat());
        [&track.init[..ftyp], &moov].concat()
    });
    let inits: Vec<_> = inits.collect();
    let remuxer = Remuxer::new(inits.iter().map(|init| &init[..])).unwrap();
    let header = remuxer.header();
    assert!(header.ends_with(&pssh));
    let count = header.windows(4).filter(|kind| kind == b"pssh").count();
    assert_eq!(count, 2);
}

#[test]
fn a_silent_track_is_waited_for_once_and_within_bounds() {
    let (tracks, source) = source(400);
    let mut remuxer = remuxer(&tracks, RemuxOptions::default());
    let video: Vec<_> = source.iter().filter(|(track, _)| *track == VIDEO).collect();
    let start = some_time();
    let mut stream = Vec::new();
    let mut waited = Duration::ZERO;
    for (n, (_, fragment)) in (0..).zip(&video) {
        let now: Instant = start + Duration::from_millis(33) * n;
        remuxer.push(VIDEO, 0, &fragment.data, now).unwrap();
        drain(&mut remuxer, now, &mut stream);
        if stream.is_empty() {
            waited = now - start;
            assert_eq!(remuxer.deadline(), Some(start + Duration::from_millis(500)));
        } else {
            assert_eq!(remuxer.deadline(), None, "nothing waits any more");
        }
    }
    assert!(waited < Duration::from_millis(500));
    assert_eq!(fragments(&remuxer, &stream).len(), video.len());
}

#[test]
fn a_track_that_has_ended_is_not_waited_for() {
    let (tracks, source) = source(40);
    let mut remuxer = remuxer(&tracks, RemuxOptions::default());
    remuxer.end(AUDIO);
    let now = some_time();
    let video = source.iter().find(|(track, _)| *track == VIDEO).unwrap();
    remuxer.push(VIDEO, 0, &video.1.data, now).unwrap();
    assert!(remuxer.next_fragment(now).unwrap().is_some());
}

/// A track may leave a broadcast and come back.
#[test]
fn a_track_that_has_ended_and_goes_on_is_waited_for_again() {
    let (tracks, source) = source(40);
    let mut remuxer = remuxer(&tracks, RemuxOptions::default());
    let now = some_time();
    let mut stream = Vec::new();
    let of = |wanted| source.iter().filter(move |(track, _)| *track == wanted);
    let mut push = |remuxer: &mut Remuxer, track, index: usize| {
        let (_, fragment) = of(track).nth(index).expect("it is long enough");
        remuxer.push(track, 0, &fragment.data, now).unwrap();
        drain(remuxer, now, &mut stream);
        fragments(remuxer, &stream).len()
    };
    push(&mut remuxer, VIDEO, 0);
    push(&mut remuxer, AUDIO, 0);
    remuxer.end(AUDIO);
    push(&mut remuxer, VIDEO, 1);
    push(&mut remuxer, AUDIO, 1);
    let before = push(&mut remuxer, VIDEO, 8);
    assert_eq!(
        push(&mut remuxer, VIDEO, 9),
        before,
        "audio of that time may come"
    );
}

#[test]
fn a_viewer_who_joins_late_sees_time_start_at_zero_with_a_key_frame() {
    let (tracks, source) = source(1000);
    let late = &source[777..];
    for start_at_zero in [true, false] {
        let mut options = RemuxOptions::default();
        options.start_at_zero = start_at_zero;
        let mut remuxer = remuxer(&tracks, options);
        let now = some_time();
        let mut stream = Vec::new();
        for (track, fragment) in late {
            remuxer.push(*track, 0, &fragment.data, now).unwrap();
            drain(&mut remuxer, now, &mut stream);
        }
        let merged = fragments(&remuxer, &stream);
        let first = merged
            .iter()
            .map(|fragment| fragment.decode_time)
            .min()
            .unwrap();
        assert_eq!(first == 0, start_at_zero);
        let picture = merged
            .iter()
            .find(|fragment| fragment.track_id == 1)
            .unwrap();
        assert!(picture.keyframe);
        assert!(remuxer.dropped() > 0, "frames before the key frame");
        assert!(is_monotonic(&merged, VIDEO) && is_monotonic(&merged, AUDIO));
    }
}

#[test]
fn late_fragments_are_dropped_and_equal_times_told_apart() {
    let (tracks, source) = source(100);
    let mut remuxer = remuxer(&tracks[..1], RemuxOptions::default());
    let now = some_time();
    let mut stream = Vec::new();
    let video: Vec<_> = source.iter().filter(|(track, _)| *track == VIDEO).collect();
    for index in [0, 1, 2, 2, 4, 3, 5] {
        remuxer.push(VIDEO, 0, &video[index].1.data, now).unwrap();
        drain(&mut remuxer, now, &mut stream);
    }
    let merged = fragments(&remuxer, &stream);
    let times: Vec<_> = merged.iter().map(|fragment| fragment.decode_time).collect();
    assert_eq!(times, [0, 512, 1024, 1025, 2048, 2560]);
    assert_eq!(remuxer.dropped(), 1);
}

#[test]
fn a_publisher_that_starts_over_is_followed_on() {
    let (tracks, source) = source(615);
    let mut remuxer = remuxer(&tracks, RemuxOptions::default());
    let now = some_time();
    let mut stream = Vec::new();
    for (track, fragment) in source.iter().chain(&source) {
        remuxer.push(*track, 0, &fragment.data, now).unwrap();
        drain(&mut remuxer, now, &mut stream);
    }
    (0..2).for_each(|track| remuxer.end(track));
    drain(&mut remuxer, now, &mut stream);
    let merged = fragments(&remuxer, &stream);
    assert_eq!((merged.len(), remuxer.dropped()), (1230, 0));
    assert!(is_monotonic(&merged, VIDEO) && is_monotonic(&merged, AUDIO));
    let end = merged
        .iter()
        .filter(|f| f.track_id == 1)
        .map(Fragment::end_time)
        .max()
        .unwrap();
    let seconds = end as f64 / 15_360.0;
    assert!((15.9..16.2).contains(&seconds), "{seconds}");
}

/// The film from its start, and again after `first` fragments with groups that count from elsewhere.
fn started_over_after(first: usize) -> (Remuxer, Vec<Fragment>) {
    let (tracks, source) = source(300);
    let mut remuxer = remuxer(&tracks, RemuxOptions::default());
    let now = some_time();
    let mut stream = Vec::new();
    let before = source.iter().take(first).map(|fragment| (7, fragment));
    let after = source.iter().map(|fragment| (9_000, fragment));
    for (group, (track, fragment)) in before.chain(after) {
        let data = &fragment.data;
        remuxer.push(*track, group, data, now).unwrap();
        drain(&mut remuxer, now, &mut stream);
    }
    (0..2).for_each(|track| remuxer.end(track));
    drain(&mut remuxer, now, &mut stream);
    let merged = fragments(&remuxer, &stream);
    (remuxer, merged)
}

#[test]
fn a_publisher_that_starts_over_at_once_loses_nothing() {
    // From half a second to 3 s of media.
    for first in [40, 77, 154, 231] {
        let (remuxer, merged) = started_over_after(first);
        assert_eq!((merged.len(), remuxer.dropped()), (300 + first, 0));
        assert!(is_monotonic(&merged, VIDEO) && is_monotonic(&merged, AUDIO));
        // Sound and picture of the second run belong together as in the first.
        let start = |track: u32, scale: f64| {
            let all = merged.iter().filter(|f| f.track_id == track);
            let mine: Vec<_> = all.map(|f| f.decode_time as f64 / scale).collect();
            let jump = mine.windows(2).find(|pair| pair[1] - pair[0] > 0.05);
            jump.map(|pair| pair[1])
        };
        if let (Some(video), Some(audio)) = (start(1, 15_360.0), start(2, 48_000.0)) {
            assert!((video - audio).abs() < 0.05, "{video} {audio}");
        }
    }
}

#[test]
fn without_its_key_frame_a_group_is_left_out() {
    let (tracks, source) = source(200);
    let mut remuxer = remuxer(&tracks[..1], RemuxOptions::default());
    let now = some_time();
    let mut stream = Vec::new();
    let video: Vec<_> = source.iter().filter(|(track, _)| *track == VIDEO).collect();
    // The second run's key frame is late, the rest of its group is not.
    for index in (0..10).chain([0]).chain(20..60) {
        remuxer.push(VIDEO, 7, &video[index].1.data, now).unwrap();
        drain(&mut remuxer, now, &mut stream);
    }
    let merged = fragments(&remuxer, &stream);
    let next = video
        .iter()
        .skip(1)
        .find(|(_, fragment)| fragment.keyframe)
        .unwrap();
    assert!(merged[10].keyframe);
    assert_eq!(mdat(&merged[10].data), mdat(&next.1.data));
}

#[test]
fn a_stream_goes_on_with_the_same_codecs_whatever_their_dates_and_edit_lists() {
    let (tracks, _) = source(1);
    let remuxer = remuxer(&tracks, RemuxOptions::default());
    let inits = || tracks.iter().map(|track| track.init.to_vec());
    let continues = |inits: Vec<Vec<u8>>| {
        let inits = inits.iter().map(Vec::as_slice);
        remuxer.continues_with(inits).unwrap()
    };
    assert!(continues(inits().collect()));
    assert!(!continues(inits().rev().collect()));
    assert!(!continues(inits().take(1).collect()));
    // Creation time of `mvhd`: four bytes after the box head, version and flags.
    let dated = inits().map(|mut init| {
        let at = init.windows(4).position(|kind| kind == b"mvhd").unwrap();
        init[at + 8..at + 12].fill(7);
        init
    });
    assert!(continues(dated.collect()));
    let other = inits().map(|mut init| {
        let at = init.windows(4).position(|kind| kind == b"stsd").unwrap();
        // Inside the first sample entry: its data reference index.
        init[at + 27] ^= 1;
        init
    });
    assert!(!continues(other.collect()));
}

#[test]
fn what_waits_is_bounded() {
    let (tracks, source) = source(300);
    let mut options = RemuxOptions::default();
    options.max_buffered = 10_000;
    let mut remuxer = remuxer(&tracks, options);
    let now = some_time();
    let video: Vec<_> = source.iter().filter(|(track, _)| *track == VIDEO).collect();
    // Taken after each push, the oldest go out though the other track has nothing.
    let mut stream = Vec::new();
    for (_, fragment) in &video[..30] {
        remuxer.push(VIDEO, 0, &fragment.data, now).unwrap();
        drain(&mut remuxer, now, &mut stream);
    }
    assert!(!stream.is_empty());
    // Never taken, they are refused.
    let error = video
        .iter()
        .find_map(|(_, f)| remuxer.push(VIDEO, 0, &f.data, now).err())
        .unwrap();
    assert!(matches!(error, Error::Undrained { .. }), "{error}");
}

#[test]
fn an_object_may_hold_several_chunks_and_other_boxes() {
    let (tracks, source) = source(40);
    let mut remuxer = remuxer(&tracks[..1], RemuxOptions::default());
    let now = some_time();
    let mut object = boxed(b"styp", b"msdhmsdh");
    for (_, fragment) in source.iter().filter(|(track, _)| *track == VIDEO).take(3) {
        object.extend(boxed(b"prft", &[0; 24]));
        object.extend_from_slice(&fragment.data);
    }
    remuxer.push(0, 0, &object.into(), now).unwrap();
    let mut stream = Vec::new();
    drain(&mut remuxer, now, &mut stream);
    assert_eq!(fragments(&remuxer, &stream).len(), 3);
}

#[test]
fn broken_objects_and_headers_are_errors_and_harm_nothing() {
    let (tracks, source) = source(4);
    let mut remuxer = remuxer(&tracks[..1], RemuxOptions::default());
    let now = some_time();
    let good = &source
        .iter()
        .find(|(track, _)| *track == VIDEO)
        .unwrap()
        .1
        .data;
    for cut in 1..good.len() {
        assert!(
            remuxer.push(0, 0, &good.slice(..cut), now).is_err(),
            "cut at {cut}"
        );
    }
    remuxer.push(0, 0, good, now).unwrap();
    remuxer.push(7, 0, good, now).unwrap();
    assert!(remuxer.next_fragment(now).unwrap().is_some());

    let init = &tracks[0].init;
    for cut in 0..init.len() {
        assert!(Remuxer::new([&init[..cut]]).is_err(), "cut at {cut}");
    }
    assert!(matches!(Remuxer::new([]), Err(Error::NoUsableTrack { .. })));
    let stream = sample_stream();
    assert!(Remuxer::new([&stream[..]]).is_err(), "one track each");
}

#[test]
fn an_object_with_a_broken_chunk_is_left_out_whole() {
    let (tracks, source) = source(4);
    let mut remuxer = remuxer(&tracks[..1], RemuxOptions::default());
    let now = some_time();
    let (_, good) = source.iter().find(|(track, _)| *track == VIDEO).unwrap();
    let broken = [&good.data[..], &boxed(b"moof", b""), &boxed(b"mdat", b"")].concat();
    remuxer.push(0, 0, &broken.into(), now).unwrap_err();
    assert!(remuxer.next_fragment(now).unwrap().is_none());
}

#[test]
fn a_box_without_a_length_takes_in_nothing_after_it() {
    let (tracks, source) = source(4);
    let now = some_time();
    let (_, good) = source.iter().find(|(track, _)| *track == VIDEO).unwrap();
    let mut endless = good.data.to_vec();
    let (_, moof) = common::box_at(&endless, 0);
    endless[moof..moof + 4].fill(0);
    let mut remuxer = remuxer(&tracks[..1], RemuxOptions::default());
    remuxer.push(0, 0, &endless.into(), now).unwrap_err();

    // The last box of a `moov` may say that it lasts until the end.
    let init = &tracks[0].init;
    let at = |kind: &[u8]| init.windows(4).position(|found| found == kind).unwrap() - 4;
    let mvhd = at(b"mvhd");
    let (_, size) = common::box_at(init, mvhd);
    let mut last = [
        &init[..mvhd],
        &init[mvhd + size..],
        &init[mvhd..mvhd + size],
    ]
    .concat();
    let mvhd = last.len() - size;
    last[mvhd..mvhd + 4].fill(0);
    let merged = Remuxer::new([&last[..], &last[..]]).unwrap();
    let (init, _, end) = read([&merged.header()[..]]);
    end.unwrap();
    assert_eq!(init.unwrap().tracks.len(), 2);
}

/// `init` with this time unit.
fn with_timescale(init: &Bytes, timescale: u32) -> Vec<u8> {
    let mut init = init.to_vec();
    let at = init.windows(4).position(|kind| kind == b"mdhd").unwrap();
    assert_eq!(init[at + 4], 1, "dates of eight bytes");
    init[at + 24..at + 28].copy_from_slice(&timescale.to_be_bytes());
    init
}

/// A fragment at this decode time.
fn at_time(fragment: &Bytes, decode_time: u64) -> Bytes {
    let mut data = fragment.to_vec();
    let at = data.windows(4).position(|kind| kind == b"tfdt").unwrap();
    assert_eq!(data[at + 4], 1, "times of eight bytes");
    data[at + 8..at + 16].copy_from_slice(&decode_time.to_be_bytes());
    data.into()
}

#[test]
fn restarts_at_the_end_of_time_do_not_overflow() {
    let (tracks, source) = source(20);
    let inits = [
        with_timescale(&tracks[AUDIO].init, 1),
        with_timescale(&tracks[AUDIO].init, u32::MAX),
    ];
    let mut remuxer = Remuxer::new(inits.iter().map(Vec::as_slice)).unwrap();
    let (_, sound) = source.iter().find(|(track, _)| *track == AUDIO).unwrap();
    let mut now = some_time();
    let mut stream = Vec::new();
    for restart in 0..8 {
        for (slow, fast) in [(u64::MAX - 1, 0), (0, 1)] {
            let group = 10 * restart + 2 * fast;
            for (track, time) in [(0, slow), (1, fast)] {
                let data = at_time(&sound.data, time);
                remuxer.push(track, group, &data, now).unwrap();
            }
            now += RemuxOptions::default().max_wait;
            drain(&mut remuxer, now, &mut stream);
        }
    }
    (0..2).for_each(|track| remuxer.end(track));
    drain(&mut remuxer, now, &mut stream);
    assert!(!stream.is_empty());
}
