//! What hostile input costs beside its bytes, counted by the allocator.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::alloc::System;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cap::Cap;
use common::{boxed, read, short_stream, some_time};
use moqtail_media::{
    Catalog, CatalogObject, CatalogTrack, CatalogUpdate, MAX_CATALOG_BYTES, MAX_CATALOG_TRACKS,
    Packaging, Remuxer,
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
