//! What hostile input costs beside its bytes, counted by the allocator.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::alloc::System;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cap::Cap;
use common::{boxed, read, short_stream, some_time};
use moqtail_media::{
    Catalog, CatalogObject, CatalogTrack, CatalogUpdate, Limits, MAX_CATALOG_BYTES,
    MAX_CATALOG_TRACKS, Packaging, RemuxOptions, Remuxer,
};

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// The heap is shared, so these tests take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn an_update_of_many_operations_looks_at_the_tracks_once() {
    let _turn = turn();
    let track = |n: usize| CatalogTrack::new(n.to_string(), Packaging::Cmaf);
    let mut catalog = Catalog {
        tracks: (0..MAX_CATALOG_TRACKS).map(track).collect(),
        ..Catalog::default()
    };
    let operations = [r#"{"op":"add","tracks":[]}"#; 10_000].join(",");
    let update = format!(r#"{{"deltaUpdate":[{operations}]}}"#);
    let update = CatalogUpdate::from_json(update.as_bytes()).unwrap();
    let before = HEAP.total_allocated();
    catalog.apply(&update).unwrap();
    let bytes = HEAP.total_allocated() - before;
    // As many as the tracks themselves and an index of them take.
    assert!(bytes < MAX_CATALOG_TRACKS * 4096, "{bytes} bytes");
}

#[test]
fn tracks_that_are_too_many_are_not_kept() {
    let _turn = turn();
    let tracks = [r#"{"name":""}"#; MAX_CATALOG_BYTES / 13].join(",");
    let operations = [r#"{"op":"add","tracks":[{"name":""}]}"#; MAX_CATALOG_BYTES / 40].join(",");
    for (json, most) in [
        (format!(r#"{{"version":1,"tracks":[{tracks}]}}"#), 1),
        (
            format!(r#"{{"deltaUpdate":true,"addTracks":[{tracks}]}}"#),
            1,
        ),
        // Read once without knowing of which form it is.
        (format!(r#"{{"deltaUpdate":[{operations}]}}"#), 64),
    ] {
        let before = HEAP.total_allocated();
        let read = CatalogObject::from_json(json.as_bytes());
        let bytes = HEAP.total_allocated() - before;
        let mut catalog = Catalog::default();
        let taken = read.is_ok_and(|read| match read {
            CatalogObject::Full(_) => true,
            CatalogObject::Update(update) => catalog.apply(&update).is_ok(),
        });
        assert!(!taken);
        assert!(bytes < most * MAX_CATALOG_BYTES, "{bytes} bytes");
    }
}

#[test]
fn a_waiting_fragment_does_not_hold_the_rest_of_its_object() {
    const REST: usize = 1 << 20;
    let _turn = turn();
    let (init, fragments, _) = read([&short_stream(12)[..]]);
    let inits = init.unwrap().tracks;
    let mut remuxer = Remuxer::new(inits.iter().map(|track| &track.init[..])).unwrap();
    let key_frame = fragments.iter().find(|f| f.track_id == 1).unwrap();
    let before = HEAP.allocated();
    for _ in 0..8 {
        let object = [&key_frame.data[..], &boxed(b"free", &[0; REST])].concat();
        remuxer
            .push(0, 0, &Bytes::from(object), some_time())
            .unwrap();
    }
    assert!(remuxer.deadline().is_some());
    let held = HEAP.allocated() - before;
    assert!(held < REST, "{held} bytes");
}

#[test]
fn samples_over_the_limit_are_counted_before_they_are_read() {
    const SAMPLES: u32 = 1 << 20;
    let _turn = turn();
    let (init, ..) = read([&short_stream(0)[..]]);
    let init = init.unwrap().tracks[0].init.clone();
    let mut limits = Limits::default();
    limits.max_moof = u64::MAX;
    let options = RemuxOptions::default();
    let mut remuxer = Remuxer::with_options([&init[..]], options, limits).unwrap();
    let mut trun = [&[0, 0, 4, 0][..], &SAMPLES.to_be_bytes()].concat();
    trun.resize(8 + 4 * SAMPLES as usize, 0);
    let tfhd = boxed(b"tfhd", &[0, 0, 0, 0, 0, 0, 0, 1]);
    let traf = boxed(b"traf", &[tfhd, boxed(b"trun", &trun)].concat());
    let object = [boxed(b"moof", &traf), boxed(b"mdat", &[])].concat();
    let object = Bytes::from(object);
    let before = HEAP.total_allocated();
    let error = remuxer.push(0, 1, &object, some_time()).unwrap_err();
    assert!(
        error.to_string().contains("max_fragment_samples"),
        "{error}"
    );
    let bytes = HEAP.total_allocated() - before;
    assert!(bytes < object.len(), "{bytes} bytes");
}

#[test]
fn splitting_takes_no_memory_but_for_bytes_that_came() {
    let _turn = turn();
    let fragment = |trun: &[u8]| {
        let tfhd = boxed(b"tfhd", &[0, 2, 0, 0, 0, 0, 0, 1]);
        let tfdt = boxed(b"tfdt", &[0; 8]);
        let traf = boxed(b"traf", &[tfhd, tfdt, boxed(b"trun", trun)].concat());
        [boxed(b"moof", &traf), boxed(b"mdat", b"")].concat()
    };
    // The first of many samples without a byte is no key frame; and every other one of as many with flags.
    let free = [&[0, 0, 0, 4, 0, 0, 255, 255][..], &[1, 1, 0, 0]].concat();
    let flags = |n: u32| [[1, 1, 0, 0], [2, 0, 0, 0]][n as usize % 2];
    let every = (0..50_000).flat_map(flags);
    let every: Vec<u8> = [0, 0, 4, 0, 0, 0, 0xc3, 0x50]
        .into_iter()
        .chain(every)
        .collect();
    let half = (0..50_000).flat_map(|n| flags(u32::from(n > 25_000)));
    let half: Vec<u8> = [0, 0, 4, 0, 0, 0, 0xc3, 0x50]
        .into_iter()
        .chain(half)
        .collect();
    for (trun, parts) in [(free, 1), (every, 1), (half, 2)] {
        let stream = [&short_stream(0)[..], &fragment(&trun)].concat();
        let before = HEAP.allocated();
        HEAP.set_limit(before + (64 << 10) + 64 * stream.len())
            .unwrap();
        let (_, fragments, end) = read([&stream[..]]);
        HEAP.set_limit(usize::MAX).unwrap();
        end.unwrap();
        assert_eq!(fragments.len(), parts);
    }
}
