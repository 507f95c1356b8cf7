//! Bodies of the fuzz targets: whatever the bytes, no panic, and no memory but for bytes that
//! really came.

mod catalog;
mod remux;

pub use catalog::catalog;
pub use remux::remux;

use std::io::Cursor;

use bytes::Bytes;

use crate::catalog::{Catalog, track_names};
use crate::file::Mp4File;
use crate::fragment::Fragment;
use crate::group::Grouper;
use crate::reader::{Event, Fmp4Reader, Init};
use crate::remux::Remuxer;

/// Fragments taken from one input at most; a repeating file has no end.
const MAX_FRAGMENTS: usize = 200;

/// A stream: the same events and the same end for every split, and what a publisher and a
/// subscriber would make of it.
pub fn media_stream(data: &[u8]) {
    let whole = read(std::iter::once(data));
    assert_eq!(
        whole,
        read(data.chunks(1021)),
        "the split changed the events"
    );
    if let (Some(init), fragments, _) = whole {
        consume(&init, &fragments);
    }
}

/// Header, fragments and, if it is one, the error at the end.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Option<Init>, Vec<Fragment>, String) {
    let mut reader = Fmp4Reader::new();
    let (mut init, mut fragments) = (None, Vec::new());
    for piece in pieces {
        if let Err(error) = reader.push(piece) {
            return (init, fragments, error.to_string());
        }
        loop {
            match reader.next_event() {
                Ok(Some(Event::Init(found))) => init = Some(found),
                Ok(Some(Event::Fragment(fragment))) => fragments.push(fragment),
                Ok(None) => break,
                Err(error) => return (init, fragments, error.to_string()),
            }
        }
    }
    let end = reader.finish().err();
    (
        init,
        fragments,
        end.map(|error| error.to_string()).unwrap_or_default(),
    )
}

/// A file, played more than once.
pub fn media_file(data: &[u8]) {
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

/// Groups, describes and merges what was read.
fn consume(init: &Init, fragments: &[Fragment]) {
    let catalog = Catalog::of_tracks(&init.tracks, None);
    assert_eq!(catalog.tracks.len(), track_names(&init.tracks).len());
    let mut grouper = Grouper::new(&init.tracks, 1);
    let inits = init.tracks.iter().map(|track| &track.init[..]);
    let Ok(mut remuxer) = Remuxer::new(inits) else {
        return;
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "not a clock but a constant is needed"
    )]
    let now = std::time::Instant::now();
    for fragment in fragments {
        // Neither a fragment without a place nor one that does not merge is of interest.
        let group = grouper
            .place(fragment)
            .map_or(0, |placement| placement.group);
        let track = init
            .tracks
            .iter()
            .position(|track| track.id == fragment.track_id);
        drop(track.map(|track| remuxer.push(track, group, &fragment.data, now)));
        drop(remuxer.push(0, group, &Bytes::new(), now));
        while let Ok(Some(piece)) = remuxer.next_fragment(now) {
            assert!(!piece.is_empty());
        }
    }
}
