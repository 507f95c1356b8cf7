//! Fragments as muxers other than ours write them.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::Cursor;

use bytes::Bytes;
use common::{box_at, boxed, drain, read, short_stream, some_time};
use moqtail_media::{Error, Fragment, Grouper, Limits, Mp4File, RemuxOptions, Remuxer};

const KEY: u32 = 0x0200_0000;
const DELTA: u32 = 0x0101_0000;
/// Only that it depends on others, not that it is no sync sample.
const DEPENDS: u32 = 0x0100_0000;

/// `tfhd` flags: base data offset, default base is moof.
const BASE: u32 = 1;
const FROM_MOOF: u32 = 0x02_0000;

const VIDEO: u32 = 1;
const AUDIO: u32 = 2;

fn full(kind: &[u8; 4], flags: u32, fields: &[u32]) -> Vec<u8> {
    let words = [&[flags], fields].concat();
    let body: Vec<u8> = words.into_iter().flat_map(u32::to_be_bytes).collect();
    boxed(kind, &body)
}

/// A `trun` of samples with these flags, each 100 ticks long and as many bytes as its number, from 1.
fn trun(data_offset: Option<u32>, flags: &[u32]) -> Vec<u8> {
    let samples = (1u32..).zip(flags).flat_map(|(n, flags)| [100, n, *flags]);
    let count = u32::try_from(flags.len()).unwrap();
    let fields: Vec<u32> = [count]
        .into_iter()
        .chain(data_offset)
        .chain(samples)
        .collect();
    full(b"trun", 0x700 | u32::from(data_offset.is_some()), &fields)
}

/// The media of such samples: each byte is the number of its sample.
fn media(samples: usize) -> Vec<u8> {
    (1..=samples).flat_map(|n| vec![n as u8; n]).collect()
}

fn moof(traf: &[Vec<u8>], others: &[u8]) -> Vec<u8> {
    let mfhd = full(b"mfhd", 0, &[7]);
    boxed(
        b"moof",
        &[&mfhd, &boxed(b"traf", &traf.concat())[..], others].concat(),
    )
}

/// A self-contained fragment at decode time 1000, with other boxes in its `traf` and its `moof`, and between it and its `mdat`.
fn with_boxes(track: u32, flags: &[u32], traf: &[u8], others: &[u8], gap: &[u8]) -> Vec<u8> {
    let build = |offset: u32| {
        let tfhd = full(b"tfhd", FROM_MOOF, &[track]);
        let tfdt = full(b"tfdt", 0, &[1000]);
        moof(
            &[tfhd, tfdt, trun(Some(offset), flags), traf.to_vec()],
            others,
        )
    };
    let offset = build(0).len() + gap.len() + 8;
    let moof = build(u32::try_from(offset).unwrap());
    [&moof, gap, &boxed(b"mdat", &media(flags.len()))].concat()
}

fn fragment(track: u32, flags: &[u32]) -> Vec<u8> {
    with_boxes(track, flags, &[], &[], &[])
}

/// Reads the sample's header and these boxes, in one piece and in small ones.
fn read_all(boxes: &[u8]) -> Result<Vec<Fragment>, Error> {
    let stream = [&short_stream(0)[..], boxes].concat();
    let (_, fragments, end) = read([&stream[..]]);
    let again = read(stream.chunks(7));
    assert_eq!(again.1, fragments);
    end.map(|()| fragments)
}

/// The bytes that the run of a fragment points at, found as a player would.
fn media_of(fragment: &[u8]) -> Vec<u8> {
    let at = fragment.windows(4).position(|w| w == b"trun").unwrap() + 4;
    let word = |n: usize| {
        let bytes = fragment[at + 4 * n..at + 4 * n + 4].try_into();
        u32::from_be_bytes(bytes.unwrap()) as usize
    };
    assert_eq!(word(0) & 0x301, 0x301, "offset, durations and sizes");
    // The flags of the first sample may come before all, instead of those of each.
    let (first, each) = (3 + (word(0) >> 2 & 1), 2 + (word(0) >> 10 & 1));
    let size: usize = (0..word(1)).map(|n| word(first + each * n + 1)).sum();
    fragment[word(2)..word(2) + size].to_vec()
}

#[test]
fn a_key_frame_inside_a_fragment_starts_a_group() {
    let whole = fragment(VIDEO, &[DELTA, DELTA, KEY, DELTA, KEY]);
    let (init, ..) = read([&short_stream(0)[..]]);
    let init = init.unwrap();
    let mut grouper = Grouper::new(&init.tracks, 1);
    grouper.place(&read_all(&fragment(VIDEO, &[KEY])).unwrap()[0]);
    let parts = read_all(&whole).unwrap();
    let seen: Vec<_> = parts
        .iter()
        .map(|part| (part.keyframe, part.decode_time, part.duration, part.samples))
        .collect();
    assert_eq!(
        seen,
        [
            (false, 1000, 200, 2),
            (true, 1200, 200, 2),
            (true, 1400, 100, 1)
        ]
    );
    let groups = parts.iter().map(|part| grouper.place(part).unwrap().group);
    assert_eq!(groups.collect::<Vec<_>>(), [1, 2, 3]);
    let parts: Vec<_> = parts.iter().map(|part| media_of(&part.data)).collect();
    assert_eq!(
        parts,
        [
            [vec![1], vec![2; 2]].concat(),
            [vec![3; 3], vec![4; 4]].concat(),
            vec![5; 5]
        ]
    );
}

#[test]
fn fragments_without_a_key_frame_behind_others_stay_as_they_came() {
    let auxiliary = full(b"saiz", 0, &[0]);
    for whole in [
        fragment(VIDEO, &[KEY, DELTA, DELTA]),
        fragment(VIDEO, &[DELTA, DELTA]),
        // All of its frames are key frames: somebody who joins waits for none.
        fragment(VIDEO, &[KEY, KEY, KEY]),
        fragment(AUDIO, &[DELTA, KEY, DELTA, KEY]),
        // More parts than its bytes can be for.
        fragment(VIDEO, &[DELTA, KEY].repeat(100)),
        // Each part would repeat what stands beside the track.
        with_boxes(
            VIDEO,
            &[DELTA, KEY].repeat(6),
            &[],
            &boxed(b"uuid", &[1; 3000]),
            &[],
        ),
        // What encryption says of each sample would have to be split, too.
        with_boxes(VIDEO, &[DELTA, KEY], &auxiliary, &[], &[]),
    ] {
        let fragments = read_all(&whole).unwrap();
        assert_eq!(fragments.len(), 1);
        assert_eq!(fragments[0].data, whole);
    }
    assert!(read_all(&fragment(AUDIO, &[DELTA])).unwrap()[0].keyframe);
}

#[test]
fn a_frame_that_depends_on_others_is_no_key_frame() {
    let key = |flags| read_all(&fragment(VIDEO, &[flags])).unwrap()[0].keyframe;
    assert_eq!(
        [KEY, 0, DELTA, DEPENDS].map(key),
        [true, true, false, false]
    );
}

#[test]
fn composition_offsets_of_version_0_are_signed_as_in_quicktime() {
    let build = |offset: u32| {
        let tfhd = full(b"tfhd", FROM_MOOF, &[VIDEO]);
        let tfdt = full(b"tfdt", 0, &[1000]);
        // One sample, its duration, size, flags and composition offset.
        let trun = full(b"trun", 0xf01, &[1, offset, 100, 1, KEY, -200i32 as u32]);
        moof(&[tfhd, tfdt, trun], &[])
    };
    let moof = build(build(0).len() as u32 + 8);
    let fragments = read_all(&[moof, boxed(b"mdat", &media(1))].concat()).unwrap();
    assert_eq!(fragments[0].presentation_time, 800);
}

#[test]
fn a_run_that_starts_at_the_base_data_offset_is_found() {
    let header = short_stream(0).len() as u32;
    let build = |base: u32| {
        let tfhd = full(b"tfhd", BASE, &[VIDEO, 0, base]);
        let tfdt = full(b"tfdt", 0, &[1000]);
        moof(&[tfhd, tfdt, trun(None, &[KEY, DELTA])], &[])
    };
    let moof = build(header + build(0).len() as u32 + 8);
    let whole = [moof, boxed(b"mdat", &media(2))].concat();
    let fragments = read_all(&whole).unwrap();
    assert_eq!(media_of(&fragments[0].data), media(2));
}

#[test]
fn addresses_count_from_the_file_they_are_in() {
    let header = short_stream(0);
    let build = |base: u32| {
        let tfhd = full(b"tfhd", BASE, &[VIDEO, 0, base]);
        let tfdt = full(b"tfdt", 0, &[1000]);
        moof(&[tfhd, tfdt, trun(Some(8), &[KEY])], &[])
    };
    let moof = build((header.len() + build(0).len()) as u32);
    let whole = [moof, boxed(b"mdat", &media(1))].concat();
    let twice = [&whole[..], &header, &whole].concat();
    let fragments = read_all(&twice).unwrap();
    assert_eq!(fragments.len(), 2);
    assert!(fragments.iter().all(|f| media_of(&f.data) == media(1)));
}

#[test]
fn boxes_between_moof_and_mdat_are_left_out() {
    let free = boxed(b"free", b"nothing");
    let whole = with_boxes(VIDEO, &[KEY, DELTA], &[], &[], &free);
    let fragments = read_all(&whole).unwrap();
    let data = &fragments[0].data;
    let (_, moof) = box_at(data, 0);
    assert_eq!(&box_at(data, moof).0, b"mdat");
    assert_eq!(media_of(data), media(2));

    // So they are by a subscriber.
    let merged = merge(&whole);
    assert_eq!(media_of(&merged), media(2));
    let mixed = with_boxes(VIDEO, &[KEY], &[], &[], &boxed(b"moov", b""));
    assert!(matches!(read_all(&mixed), Err(Error::Malformed(_))));
    let long = with_boxes(VIDEO, &[KEY], &[], &[], &boxed(b"free", &[0; 2 << 20]));
    let error = read_all(&long).unwrap_err().to_string();
    assert!(error.contains("max_moof"), "{error}");
}

/// What a subscriber makes of an object of the video track.
fn merge(object: &[u8]) -> Vec<u8> {
    let mut remuxer = video(Limits::default());
    let object = Bytes::copy_from_slice(object);
    remuxer.push(0, 1, &object, some_time()).unwrap();
    let mut out = Vec::new();
    drain(&mut remuxer, some_time(), &mut out);
    out
}

fn video(limits: Limits) -> Remuxer {
    let (init, ..) = read([&short_stream(0)[..]]);
    let init = init.unwrap().tracks[0].init.clone();
    Remuxer::with_options([&init[..]], RemuxOptions::default(), limits).unwrap()
}

#[test]
fn what_a_moof_says_beside_its_track_is_kept() {
    let pssh = boxed(b"pssh", &[5; 30]);
    let whole = with_boxes(VIDEO, &[KEY], &[], &pssh, &[]);
    let merged = merge(&whole);
    assert_eq!(media_of(&merged), media(1));
    let (_, moof) = box_at(&merged, 0);
    assert!(merged[..moof].ends_with(&pssh));
    let split = with_boxes(VIDEO, &[DELTA, KEY], &[], &pssh, &[]);
    for part in read_all(&split).unwrap() {
        let (_, moof) = box_at(&part.data, 0);
        assert!(part.data[..moof].ends_with(&pssh));
    }
}

/// There is one `mdat`, so some muxers do not say where in it the first sample is.
#[test]
fn a_run_without_an_address_is_passed_on() {
    let tfhd = full(b"tfhd", FROM_MOOF, &[VIDEO]);
    let tfdt = full(b"tfdt", 0, &[1000]);
    let moof = moof(&[tfhd, tfdt, trun(None, &[DELTA, KEY])], &[]);
    let whole = [moof, boxed(b"mdat", &media(2))].concat();
    let fragments = read_all(&whole).unwrap();
    assert_eq!(fragments.len(), 1);
    assert_eq!(fragments[0].data, whole);
}

#[test]
fn samples_behind_the_mdat_are_told() {
    let mut whole = fragment(VIDEO, &[KEY, DELTA]);
    let (_, moof) = box_at(&whole, 0);
    // The second sample lies in another `mdat`.
    whole.truncate(moof + 9);
    whole[moof + 3] = 9;
    whole.extend(boxed(b"mdat", &[2; 2]));
    let error = read_all(&whole).unwrap_err().to_string();
    assert!(error.contains("not in the `mdat`"), "{error}");
}

#[test]
fn an_mdat_without_a_length_is_told() {
    let mut whole = fragment(VIDEO, &[KEY]);
    let (_, moof) = box_at(&whole, 0);
    whole[moof..moof + 4].fill(0);
    let error = read_all(&whole).unwrap_err().to_string();
    assert!(error.contains("`mdat` box without a length"), "{error}");
}

#[test]
fn an_object_with_a_moof_over_the_limit_is_refused() {
    let object = fragment(VIDEO, &[KEY, DELTA]);
    let (_, moof) = box_at(&object, 0);
    let mut limits = Limits::default();
    limits.max_moof = moof as u64;
    let object = Bytes::from(object);
    let now = some_time();
    video(limits.clone()).push(0, 1, &object, now).unwrap();
    limits.max_moof -= 1;
    let error = video(limits).push(0, 1, &object, now).unwrap_err();
    assert!(error.to_string().contains("max_moof"), "{error}");
}

#[test]
fn a_fragment_of_a_file_is_split_too() {
    let whole = fragment(VIDEO, &[KEY, DELTA, KEY, DELTA]);
    let file = [&short_stream(0)[..], &whole].concat();
    let mut file = Mp4File::open(Cursor::new(file)).unwrap().repeating(true);
    let next = || file.next_fragment().unwrap().unwrap().fragment;
    let fragments: Vec<_> = std::iter::repeat_with(next).take(4).collect();
    assert!(fragments.iter().all(|f| f.keyframe && f.samples == 2));
    let times: Vec<_> = fragments.iter().map(|f| f.decode_time).collect();
    assert_eq!(times, [1000, 1200, 1400, 1600]);
}

#[test]
fn times_go_on_where_a_source_starts_over() {
    let header = short_stream(0);
    let (init, ..) = read([&header[..]]);
    let scales: Vec<u64> = init
        .unwrap()
        .tracks
        .iter()
        .map(|t| t.timescale.into())
        .collect();
    let run = [fragment(AUDIO, &[KEY; 90]), fragment(VIDEO, &[KEY, DELTA])].concat();
    let stream = [&run, &header[..], &run, &header, &run].concat();
    let fragments = read_all(&stream).unwrap();
    let times = |track| {
        let mine = fragments.iter().filter(move |f| f.track_id == track);
        mine.map(|f| (f.decode_time, f.end_time()))
            .collect::<Vec<_>>()
    };
    // Each run begins where the longer track of the one before ended, and keeps its tracks in step.
    let [video, audio] = [times(VIDEO), times(AUDIO)];
    assert_eq!(video[0], (1000, 1200));
    assert_eq!(audio[0], (1000, 10_000));
    let later = 1000 + 9000 * scales[0] / scales[1];
    assert_eq!(video[1], (later, later + 200));
    assert_eq!(audio[1], (10_000, 19_000));
    assert!(audio.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    assert!(video.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    assert_eq!(media_of(&fragments[3].data), media(2));
}

#[test]
fn times_that_go_on_behind_a_header_are_as_they_came() {
    let header = short_stream(5);
    let stream = short_stream(12);
    let again = [&header[..], &short_stream(0), &stream[header.len()..]].concat();
    assert_eq!(read([&again[..]]).1, read([&stream[..]]).1);
}
