//! What hostile input costs beside its bytes, counted by the allocator.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::alloc::System;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cap::Cap;
use moqtail_media::{Catalog, CatalogTrack, CatalogUpdate, MAX_CATALOG_TRACKS, Packaging, Remuxer};

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
