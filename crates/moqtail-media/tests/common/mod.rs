//! The sample broadcast as a fragmented stream, and reading one back.
#![allow(dead_code, reason = "each test program uses a part of this")]

use std::io::Cursor;
use std::sync::LazyLock;
use std::time::Instant;

use bytes::Bytes;
use moqtail_media::{Error, Event, Fmp4Reader, Fragment, Init, Mp4File, Remuxer, sample};

/// The sample file as one fragmented stream, one fragment per frame.
pub(crate) fn sample_stream() -> Bytes {
    static STREAM: LazyLock<Bytes> = LazyLock::new(|| make_stream().into());
    STREAM.clone()
}

fn make_stream() -> Vec<u8> {
    let mut file = Mp4File::open(Cursor::new(sample())).unwrap();
    let tracks = file.init().tracks.clone();
    let mut remuxer = Remuxer::new(tracks.iter().map(|track| &track.init[..])).unwrap();
    let now = some_time();
    let mut stream = remuxer.header().to_vec();
    while let Some(timed) = file.next_fragment().unwrap() {
        let id = timed.fragment.track_id;
        let index = tracks.iter().position(|track| track.id == id).unwrap();
        remuxer.push(index, 0, &timed.fragment.data, now).unwrap();
        drain(&mut remuxer, now, &mut stream);
    }
    for track in 0..tracks.len() {
        remuxer.end(track);
    }
    drain(&mut remuxer, now, &mut stream);
    assert_eq!(remuxer.dropped(), 0);
    stream
}

/// A point in time to count from.
#[expect(
    clippy::disallowed_methods,
    reason = "the one time, from which tests count"
)]
pub(crate) fn some_time() -> Instant {
    Instant::now()
}

/// Takes all the remuxer has.
pub(crate) fn drain(remuxer: &mut Remuxer, now: Instant, stream: &mut Vec<u8>) {
    while let Some(piece) = remuxer.next_fragment(now).unwrap() {
        stream.extend_from_slice(&piece);
    }
}

/// Reads a stream given in these pieces: the header, the fragments, and how it ended.
pub(crate) fn read<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Option<Init>, Vec<Fragment>, Result<(), Error>) {
    let mut reader = Fmp4Reader::new();
    let (mut init, mut fragments) = (None, Vec::new());
    for piece in pieces {
        reader.push(piece).unwrap();
        loop {
            match reader.next_event() {
                Ok(Some(Event::Init(found))) => {
                    assert!(init.replace(found).is_none(), "two headers");
                }
                Ok(Some(Event::Fragment(fragment))) => {
                    assert!(init.is_some(), "a fragment before the header");
                    fragments.push(fragment);
                }
                Ok(_) => break,
                Err(error) => return (init, fragments, Err(error)),
            }
        }
    }
    (init, fragments, reader.finish())
}

/// Box at this place of a buffer: its type and its length.
pub(crate) fn box_at(data: &[u8], at: usize) -> ([u8; 4], usize) {
    let size = u32::from_be_bytes(data[at..at + 4].try_into().unwrap());
    (data[at + 4..at + 8].try_into().unwrap(), size as usize)
}

/// A box.
pub(crate) fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(body.len() + 8)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    out.extend_from_slice(kind);
    out.extend_from_slice(body);
    out
}

/// The header and the first fragments of the sample stream.
pub(crate) fn short_stream(fragments: usize) -> Bytes {
    let stream = sample_stream();
    // `ftyp` and `moov`, then two boxes per fragment.
    let at = (0..2 + 2 * fragments).fold(0, |at, _| at + box_at(&stream, at).1);
    stream.slice(..at)
}
