//! Reading fragmented streams: pieces of every size, broken input, limits.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{box_at, boxed, read, sample_stream, short_stream};
use moqtail_media::{
    Error, Event, FFMPEG_FLAGS, Fmp4Reader, Limits, Remuxer, TrackInfo, TrackKind, Unsuitable,
    sample,
};

fn error_of(stream: &[u8]) -> Error {
    read([stream]).2.unwrap_err()
}

#[test]
fn the_sample_stream_reads_back() {
    let stream = sample_stream();
    let (init, fragments, end) = read([&stream[..]]);
    end.unwrap();
    let init = init.unwrap();
    assert_eq!(init.ignored, []);
    let [video, audio] = init.tracks.as_slice() else {
        panic!("two tracks")
    };
    assert_eq!(
        (video.kind, video.codec.as_str()),
        (TrackKind::Video, "avc1.42c01e")
    );
    assert_eq!(
        (audio.kind, audio.codec.as_str()),
        (TrackKind::Audio, "mp4a.40.2")
    );
    for (track, (count, keys)) in init.tracks.iter().zip([(240, 8), (375, 375)]) {
        let mine: Vec<_> = fragments
            .iter()
            .filter(|f| f.track_id == track.id)
            .collect();
        assert_eq!(mine.len(), count);
        assert_eq!(
            mine.iter().filter(|fragment| fragment.keyframe).count(),
            keys
        );
        assert!(
            mine.windows(2)
                .all(|pair| pair[0].end_time() == pair[1].decode_time)
        );
    }
}

#[test]
fn pieces_of_every_size_give_the_same_events() {
    let stream = short_stream(12);
    let whole = read([&stream[..]]);
    whole.2.unwrap();
    assert_eq!(whole.1.len(), 12);
    for size in 1..3000 {
        let (init, fragments, end) = read(stream.chunks(size));
        end.unwrap();
        assert_eq!(
            (&init, &fragments),
            (&whole.0, &whole.1),
            "pieces of {size}"
        );
    }
}

#[test]
fn a_cut_anywhere_delivers_all_that_was_complete() {
    let stream = short_stream(5);
    let mut starts = Vec::new();
    let mut at = 0;
    while at < stream.len() {
        starts.push(at);
        at += box_at(&stream, at).1;
    }
    let moov_end = starts[2];
    for cut in 1..stream.len() {
        let (init, fragments, end) = read([&stream[..cut]]);
        assert_eq!(init.is_some(), cut >= moov_end, "cut at {cut}");
        // Pairs of boxes that are complete at the cut.
        let pairs = starts[2..].chunks(2).filter(|pair| {
            let end = pair[1] + box_at(&stream, pair[1]).1;
            end <= cut
        });
        assert_eq!(fragments.len(), pairs.count(), "cut at {cut}");
        let clean = starts.iter().position(|start| *start == cut);
        match (end, clean) {
            // Between a `moof` and its `mdat` nothing is complete either.
            (Ok(()), Some(boxes)) => assert!(boxes >= 2 && boxes % 2 == 0, "cut at {cut}"),
            (Err(Error::Truncated { missing, .. }), _) => assert!(missing > 0),
            (Err(Error::Unsuitable(_)), _) => assert!(cut <= starts[1], "cut at {cut}"),
            (end, _) => panic!("cut at {cut}: {end:?}"),
        }
    }
}

#[test]
fn a_cut_says_how_much_is_missing() {
    let stream = short_stream(1);
    let error = error_of(&stream[..stream.len() - 10]);
    assert_eq!(
        error.to_string(),
        "the input ended inside a `mdat` box, 10 bytes short; the source was cut off"
    );
}

#[test]
fn each_track_gets_a_header_of_its_own() {
    let stream = short_stream(1);
    let (init, ..) = read([&stream[..]]);
    for track in init.unwrap().tracks {
        let (again, fragments, end) = read([&track.init[..]]);
        end.unwrap();
        assert!(fragments.is_empty());
        let again = again.unwrap().tracks;
        assert_eq!(again.len(), 1);
        assert_eq!(
            again[0], track,
            "the header of one track describes it completely"
        );
    }
}

#[test]
fn a_track_that_cannot_be_described_is_left_out_with_its_reason() {
    let mut stream = short_stream(4).to_vec();
    // The configuration of the picture goes by another name.
    let at = stream
        .windows(4)
        .position(|window| window == b"avcC")
        .unwrap();
    stream[at..at + 4].copy_from_slice(b"avcX");
    let (init, fragments, end) = read([&stream[..]]);
    end.unwrap();
    let init = init.unwrap();
    assert_eq!(init.tracks.len(), 1);
    assert!(fragments.iter().all(|f| f.track_id == init.tracks[0].id));
    let ignored: Vec<_> = init.ignored.iter().map(ToString::to_string).collect();
    assert_eq!(
        ignored,
        ["avc1: malformed MP4: `avc1` sample entry has no `avcC` box"]
    );
}

#[test]
fn the_frame_rate_is_learnt_from_the_first_fragment() {
    let stream = short_stream(4);
    let (init, fragments, _) = read([&stream[..]]);
    let mut tracks = init.unwrap().tracks;
    assert_eq!(tracks[0].framerate, None);
    for track in &mut tracks {
        fragments.iter().for_each(|fragment| track.learn(fragment));
    }
    assert_eq!(
        (tracks[0].framerate, tracks[1].framerate),
        (Some(30.0), None)
    );
}

#[test]
fn other_boxes_are_skipped() {
    let stream = short_stream(2);
    let (_, header) = box_at(&stream, 0);
    let mut mixed = boxed(b"styp", b"msdhmsdh");
    mixed.extend_from_slice(&stream[..header]);
    mixed.extend(boxed(b"free", &[0; 3000]));
    mixed.extend_from_slice(&stream[header..]);
    // A large box that no one needs passes through without being held.
    mixed.extend(boxed(b"mfra", &vec![0; 40 << 20]));
    mixed.extend_from_slice(&stream[header..]);
    let (init, fragments, end) = read(mixed.chunks(65_536));
    end.unwrap();
    assert!(init.is_some());
    assert_eq!(
        fragments.len(),
        4,
        "a repeated header is the same broadcast"
    );
}

/// Puts these bytes so many behind the first place where the type of a box is.
fn patch(data: &mut [u8], kind: &[u8; 4], behind: usize, bytes: &[u8]) {
    let at = data.windows(4).position(|window| window == kind).unwrap() + 4 + behind;
    data[at..at + bytes.len()].copy_from_slice(bytes);
}

#[test]
fn a_header_with_other_dates_and_bit_rates_is_the_same_broadcast() {
    let stream = short_stream(2);
    let mut again = stream.to_vec();
    for kind in [b"mvhd", b"mdhd", b"tkhd"] {
        patch(&mut again, kind, 4, &[1, 2, 3, 4, 5, 6, 7, 8]);
    }
    patch(&mut again, b"btrt", 0, &[7; 12]);
    // Heads of two descriptors, then buffer size and bit rates.
    patch(&mut again, b"esds", 4 + 8 + 5 + 2, &[9; 11]);
    assert!(again != stream[..]);
    let (init, fragments, end) = read([&stream[..], &again]);
    end.unwrap();
    assert_eq!(fragments.len(), 4);
    let (init_again, ..) = read([&again[..]]);
    let (tracks, mut again) = (init.unwrap().tracks, init_again.unwrap().tracks);
    let remuxer = Remuxer::new(tracks.iter().map(|track| &track.init[..])).unwrap();
    let same = |tracks: &[TrackInfo]| {
        let inits = tracks.iter().map(|track| &track.init[..]);
        remuxer.continues_with(inits).unwrap()
    };
    assert_ne!(tracks, again);
    assert!(same(&again));

    // The decoder's own configuration matters.
    let mut other = again[1].init.to_vec();
    let specific = [0x11, 0x90];
    let at = other
        .windows(3)
        .position(|window| window == [5, 0x80, 0x80])
        .unwrap()
        + 5;
    other[at..at + 2].copy_from_slice(&specific);
    again[1].init = other.into();
    assert!(!same(&again));
}

#[test]
fn the_sample_entry_that_a_track_begins_with_is_kept() {
    let mut stream = short_stream(0).to_vec();
    // Version, flags and track id come before.
    patch(&mut stream, b"trex", 8, &[0, 0, 0, 2]);
    let tracks = read([&stream[..]]).0.unwrap().tracks;
    let remuxer = Remuxer::new(tracks.iter().map(|track| &track.init[..])).unwrap();
    for header in [&tracks[0].init, remuxer.header()] {
        let at = header.windows(4).position(|kind| kind == b"trex").unwrap();
        assert_eq!(header[at + 12..at + 16], [0, 0, 0, 2]);
    }
    let others = read([&short_stream(0)[..]]).0.unwrap().tracks;
    let inits = others.iter().map(|track| &track.init[..]);
    assert!(!remuxer.continues_with(inits).unwrap());
}

#[test]
fn another_header_midway_is_an_error() {
    let stream = short_stream(1);
    let (init, ..) = read([&stream[..]]);
    let mut joined = stream.to_vec();
    joined.extend_from_slice(&init.unwrap().tracks[1].init);
    assert!(matches!(error_of(&joined), Error::HeaderChanged));
}

#[test]
fn input_of_the_wrong_form_is_one_line_with_the_flags_that_help() {
    let stream = short_stream(1);
    let (_, ftyp) = box_at(&stream, 0);
    let (_, moov) = box_at(&stream, ftyp);
    let mut late = stream[..ftyp].to_vec();
    late.extend(boxed(b"mdat", &[0; 100]));
    let cases: [(&[u8], &str); 9] = [
        (sample(), "an ordinary MP4"),
        (&late, "header (moov) comes after the media"),
        (&stream[ftyp + moov..], "no header"),
        (&stream[..ftyp], "no header"),
        (b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x23", "Matroska or WebM"),
        (b"\x47\x40\x11\x10\0\x42\xf0\x25", "MPEG-TS"),
        (b"\0\0\0\x01\x67\x42\xc0\x1e\xdd", "a raw H.264"),
        (b"hello, this is not video", "text"),
        (b"", "empty"),
    ];
    for (input, why) in cases {
        let error = error_of(input);
        assert!(matches!(error, Error::Unsuitable(_)), "{error:?}");
        let line = error.to_string();
        assert!(line.contains(why), "{line}");
        assert!(line.contains(FFMPEG_FLAGS), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
}

#[test]
fn fragments_that_mix_tracks_are_refused() {
    let header = short_stream(0).len();
    let second = short_stream(1).len();
    let stream = short_stream(3);
    // A fragment of sound and one of picture.
    let media = &stream[second..];
    // The boxes of two `moof`s in one: `mfhd`, `traf`, `traf`.
    let (_, first) = box_at(media, 0);
    let second = first + box_at(media, first).1;
    let (_, second_len) = box_at(media, second);
    let mut body = media[8..first].to_vec();
    body.extend_from_slice(&media[second + 24..second + second_len]);
    let mut mixed = stream[..header].to_vec();
    mixed.extend(boxed(b"moof", &body));
    mixed.extend(boxed(b"mdat", &[0; 10]));
    let error = error_of(&mixed);
    assert!(
        matches!(error, Error::Unsuitable(Unsuitable::MixedTracks(_))),
        "{error:?}"
    );
    assert!(error.to_string().contains("mixes tracks 2, 1"), "{error}");
}

#[test]
fn a_claimed_size_over_the_limit_is_refused_before_it_arrives() {
    let header = short_stream(0);
    let head = |kind: &[u8; 4], size: u32| [&size.to_be_bytes()[..], kind].concat();
    let huge = |kind: &[u8; 4]| {
        let mut head = [&1u32.to_be_bytes()[..], kind].concat();
        head.extend_from_slice(&u64::MAX.to_be_bytes());
        head
    };
    let with_header = |tail: Vec<u8>| [&header[..], &tail].concat();
    let cases = [
        (head(b"ftyp", 2 << 20), "max_header"),
        (head(b"moov", 2 << 20), "max_header"),
        (huge(b"moov"), "max_header"),
        (with_header(head(b"moof", 2 << 20)), "max_moof"),
        (
            with_header([boxed(b"moof", b""), huge(b"mdat")].concat()),
            "max_mdat",
        ),
    ];
    for (input, limit) in cases {
        let error = error_of(&input);
        assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
        assert!(error.to_string().contains(limit), "{error}");
    }
}

#[test]
fn sample_counts_are_limited() {
    let mut limits = Limits::default();
    limits.max_fragment_samples = 0;
    let mut reader = Fmp4Reader::with_limits(limits);
    reader.push(&short_stream(1)).unwrap();
    assert!(matches!(reader.next_event(), Ok(Some(Event::Init(_)))));
    let error = reader.next_event().unwrap_err();
    assert!(
        error.to_string().contains("max_fragment_samples"),
        "{error}"
    );
    // After an error there is nothing more.
    assert!(matches!(reader.next_event(), Ok(None)));
}

#[test]
fn a_caller_that_takes_no_events_is_told() {
    let mut reader = Fmp4Reader::new();
    let piece = vec![0; 1 << 20];
    let error = (0..50).find_map(|_| reader.push(&piece).err()).unwrap();
    assert!(matches!(error, Error::Undrained { .. }), "{error}");
}

#[test]
fn garbage_between_boxes_is_an_error() {
    let mut stream = short_stream(1).to_vec();
    stream.extend_from_slice(&[0, 0, 0, 20, 1, 2, 3, 4, 5]);
    let (_, fragments, end) = read([&stream[..]]);
    assert_eq!(fragments.len(), 1);
    assert!(matches!(end, Err(Error::Malformed(_))), "{end:?}");
}
