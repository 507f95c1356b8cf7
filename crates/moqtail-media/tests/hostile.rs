//! Broken and hostile input: never a panic, always an end.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{boxed, read, sample_stream, short_stream};
use moqtail_media::{Catalog, CatalogTrack, Error, Packaging, fuzzing, sample};
use proptest::prelude::*;

/// The front of the sample file, whose samples lie behind.
fn short_file() -> Vec<u8> {
    sample()[..40_000].to_vec()
}

/// Both tracks of the sample, as a subscriber may get them: steps of [`fuzzing::remux`].
fn subscriber() -> Vec<u8> {
    let (init, fragments, _) = read([&short_stream(12)[..]]);
    let step = |kind: u8, arg: u8, bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[kind, arg][..], &length, bytes].concat()
    };
    let inits = init.unwrap().tracks;
    let mut all: Vec<_> = inits.iter().map(|track| step(0, 0, &track.init)).collect();
    for fragment in fragments {
        let track = u8::try_from(fragment.track_id - 1).unwrap();
        all.push(step(1, track, &fragment.data));
        // Once more 80 ms of media later, of a group that leaps now and then, and a wait.
        all.push([2, track | track << 7, 3, 20, 5, 2].to_vec());
    }
    all.concat()
}

/// Changes to apply: at a place, counted modulo the length, put these bytes.
fn edits() -> impl Strategy<Value = Vec<(usize, Vec<u8>)>> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..5),
        Just(vec![0xff; 4]),
        Just(vec![0x7f, 0xff, 0xff, 0xff]),
        Just(vec![0; 4]),
        Just(vec![0, 0, 0, 1]),
    ];
    prop::collection::vec((any::<usize>(), bytes), 1..6)
}

fn apply(mut data: Vec<u8>, edits: Vec<(usize, Vec<u8>)>, within: usize) -> Vec<u8> {
    for (at, bytes) in edits {
        for (offset, byte) in bytes.into_iter().enumerate() {
            let at = (at + offset) % within.min(data.len());
            data[at] = byte;
        }
    }
    data
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn changed_streams_end_without_a_panic(edits in edits()) {
        fuzzing::media_stream(&apply(short_stream(6).to_vec(), edits, usize::MAX));
    }

    #[test]
    fn changed_headers_end_without_a_panic(edits in edits()) {
        fuzzing::media_stream(&apply(short_stream(6).to_vec(), edits, 1400));
    }

    #[test]
    fn changed_files_end_without_a_panic(edits in edits()) {
        fuzzing::media_file(&apply(short_file(), edits, 8000));
    }

    #[test]
    fn random_bytes_end_without_a_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzzing::media_stream(&data);
        fuzzing::media_file(&data);
        fuzzing::catalog(&data);
        fuzzing::remux(&data);
    }

    #[test]
    fn changed_tracks_are_merged_without_a_panic(edits in edits()) {
        fuzzing::remux(&apply(subscriber(), edits, usize::MAX));
    }

    #[test]
    fn changed_catalogs_end_without_a_panic(edits in edits()) {
        let track = CatalogTrack {
            init_data: Some(vec![1, 2, 3].into()),
            width: Some(640),
            ..CatalogTrack::new("video0", Packaging::Cmaf)
        };
        let catalog = Catalog { tracks: vec![track], ..Catalog::default() };
        fuzzing::catalog(&apply(catalog.to_json(), edits, usize::MAX));
    }
}

#[test]
fn boxes_within_boxes_do_not_exhaust_the_stack() {
    // Half a megabyte of heads, each claiming to hold all that follow.
    for kind in [b"moov", b"trak", b"mdia", b"esds", b"meta"] {
        let mut nested = Vec::new();
        for depth in (0..60_000u32).rev() {
            nested.extend_from_slice(&(8 * (depth + 1)).to_be_bytes());
            nested.extend_from_slice(kind);
        }
        let stream = boxed(b"moov", &nested);
        assert!(read([&stream[..]]).2.is_err());
        fuzzing::media_file(&stream);
    }
}

#[test]
fn a_run_of_four_billion_samples_is_refused() {
    let stream = sample_stream();
    let header = short_stream(0).len();
    let mut one = short_stream(1).to_vec();
    let moof = &mut one[header..];
    let trun = moof
        .windows(4)
        .position(|window| window == b"trun")
        .unwrap();
    // No field per sample, so that the count costs no bytes.
    moof[trun + 4..trun + 8].copy_from_slice(&[0, 0, 0, 1]);
    moof[trun + 8..trun + 12].copy_from_slice(&[0xff; 4]);
    let error = read([&one[..]]).2.unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { .. } | Error::Malformed(_)),
        "{error}"
    );
    assert!(stream.len() > one.len());
}

#[test]
fn the_inputs_that_are_changed_are_good_ones() {
    let (init, fragments, end) = read([&short_stream(6)[..]]);
    end.unwrap();
    assert_eq!((init.unwrap().tracks.len(), fragments.len()), (2, 6));
}
