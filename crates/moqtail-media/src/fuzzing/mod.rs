//! Bodies of the fuzz targets: whatever the bytes, no panic, and no memory but for bytes that
//! really came.

mod catalog;
mod remux;

pub use catalog::catalog;
pub use remux::remux;

use std::io::Cursor;
use std::time::Instant;

use bytes::Bytes;

use crate::catalog::{Catalog, track_names};
use crate::file::Mp4File;
use crate::fragment::Fragment;
use crate::group::Grouper;
use crate::limits::Limits;
use crate::reader::{Event, Fmp4Reader, Init};
use crate::remux::{RemuxOptions, Remuxer};
use crate::track::TrackInfo;

/// Fragments taken from one input at most; a repeating file has no end.
const MAX_FRAGMENTS: usize = 200;

/// Bytes that may wait for a track that brings nothing.
const MAX_BUFFERED: usize = 10_000;

/// A stream: the same events and the same end for every split, and what a publisher and a
/// subscriber would make of it.
pub fn media_stream(data: &[u8]) {
    let whole = read(std::iter::once(data));
    assert_eq!(
        whole,
        read(data.chunks(1021)),
        "the split changed the events"
    );
    if let (Some(init), fragments, _) = whole
        && let Some(mut uses) = Uses::of(&init)
    {
        fragments.iter().for_each(|fragment| uses.take(fragment));
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
    let Some(mut uses) = Uses::of(file.init()) else {
        return;
    };
    for _ in 0..MAX_FRAGMENTS {
        let Ok(Some(timed)) = file.next_fragment() else {
            return;
        };
        uses.take(&timed.fragment);
    }
}

/// Groups, describes and merges what is read.
struct Uses {
    tracks: Vec<TrackInfo>,
    grouper: Grouper,
    remuxer: Remuxer,
    now: Instant,
}

impl Uses {
    /// `None` where the tracks do not merge.
    fn of(init: &Init) -> Option<Self> {
        let tracks = init.tracks.clone();
        let catalog = Catalog::of_tracks(&tracks, None);
        assert_eq!(catalog.tracks.len(), track_names(&tracks).len());
        let options = RemuxOptions {
            max_buffered: MAX_BUFFERED,
            ..RemuxOptions::default()
        };
        let inits = tracks.iter().map(|track| &track.init[..]);
        let remuxer = Remuxer::with_options(inits, options, Limits::default()).ok()?;
        #[expect(
            clippy::disallowed_methods,
            reason = "not a clock but a constant is needed"
        )]
        let now = Instant::now();
        Some(Self {
            grouper: Grouper::new(&tracks, 1),
            tracks,
            remuxer,
            now,
        })
    }

    /// Neither a fragment without a place nor one that does not merge is of interest.
    fn take(&mut self, fragment: &Fragment) {
        let placement = self.grouper.place(fragment);
        let group = placement.map_or(0, |placement| placement.group);
        let mut tracks = self.tracks.iter();
        let track = tracks.position(|track| track.id == fragment.track_id);
        let pushed = track.map(|track| self.remuxer.push(track, group, &fragment.data, self.now));
        drop(pushed);
        drop(self.remuxer.push(0, group, &Bytes::new(), self.now));
        while let Ok(Some(piece)) = self.remuxer.next_fragment(self.now) {
            assert!(!piece.is_empty());
        }
    }
}
