//! Bodies of the fuzz targets: whatever the bytes, no panic, and no memory but for bytes that
//! really came.

use std::io::Cursor;

use bytes::Bytes;

use crate::catalog::{Catalog, CatalogObject};
use crate::file::Mp4File;
use crate::fragment::Fragment;
use crate::group::Grouper;
use crate::reader::{Event, Fmp4Reader, Init};
use crate::remux::{RemuxOptions, Remuxer};
use crate::{Limits, catalog};

/// Fragments taken from one input at most; a repeating file has no end.
const MAX_FRAGMENTS: usize = 2000;

/// A stream in pieces, and what a publisher and a subscriber would make of it.
pub fn fuzz_fmp4_reader(data: &[u8]) {
    let mut reader = Fmp4Reader::new();
    let (mut init, mut fragments) = (None, Vec::new());
    for piece in data.chunks(1021) {
        if reader.push(piece).is_err() {
            return;
        }
        while let Ok(Some(event)) = reader.next_event() {
            match event {
                Event::Init(found) => init = Some(found),
                Event::Fragment(fragment) => fragments.push(fragment),
            }
        }
    }
    // How it ended is of no interest, only that it did.
    drop(reader.finish());
    if let Some(init) = init {
        consume(&init, &fragments);
    }
}

/// A file, played more than once.
pub fn fuzz_mp4_file(data: &[u8]) {
    let Ok(file) = Mp4File::open(Cursor::new(data)) else {
        return;
    };
    let mut file = file.repeating(true);
    let init = file.init().clone();
    let mut fragments = Vec::new();
    while let Ok(Some(timed)) = file.next_fragment() {
        fragments.push(timed.fragment);
        if fragments.len() == MAX_FRAGMENTS {
            break;
        }
    }
    consume(&init, &fragments);
}

/// An object of a catalog track.
pub fn fuzz_catalog(data: &[u8]) {
    match CatalogObject::from_json(data) {
        Ok(CatalogObject::Full(catalog)) => {
            assert_eq!(
                Catalog::from_json(&catalog.to_json()).ok().as_ref(),
                Some(&catalog)
            );
            assert_eq!(
                Catalog::from_json(&catalog.to_json_msf01()).ok(),
                Some(catalog)
            );
        }
        Ok(CatalogObject::Update(update)) => {
            // Most updates do not fit this catalog.
            drop(Catalog::default().apply(&update));
        }
        Err(_) => {}
    }
}

/// Groups, describes and merges what was read.
fn consume(init: &Init, fragments: &[Fragment]) {
    let catalog = Catalog::of_tracks(&init.tracks, None);
    assert_eq!(
        catalog.tracks.len(),
        catalog::track_names(&init.tracks).len()
    );
    let mut grouper = Grouper::new(&init.tracks, 1);
    let inits = init.tracks.iter().map(|track| &track.init[..]);
    let remuxer = Remuxer::with_options(inits, RemuxOptions::default(), Limits::default());
    let Ok(mut remuxer) = remuxer else { return };
    #[expect(
        clippy::disallowed_methods,
        reason = "not a clock but a constant is needed"
    )]
    let now = std::time::Instant::now();
    for fragment in fragments {
        // Neither a fragment without a place nor one that does not merge is of interest.
        drop(grouper.place(fragment));
        let track = init
            .tracks
            .iter()
            .position(|track| track.id == fragment.track_id);
        drop(track.map(|track| remuxer.push(track, &fragment.data, now)));
        drop(remuxer.push(0, &Bytes::new(), now));
        while let Ok(Some(piece)) = remuxer.next_fragment(now) {
            assert!(piece.len() >= fragment_head());
        }
    }
}

/// The least a fragment of a merged stream has: two box heads.
fn fragment_head() -> usize {
    16
}
