//! A subscriber that gets any bytes as initialization data and objects, at any times.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mp4_atom::{Tfdt, Tfhd, Tkhd};

use crate::boxes::{BoxRef, Children, Header};
use crate::limits::Limits;
use crate::remux::{RemuxOptions, Remuxer};

/// Few, so that it is full soon.
const MAX_BUFFERED: usize = 1000;

/// What `arg` steps of time take.
const STEP: Duration = Duration::from_millis(10);

/// The group goes by this much further where it leaps.
const LEAP: u64 = 1000;

/// One step of an input: a byte that says which, a byte `arg`, and for some a length of two bytes and as many bytes.
enum Step<'a> {
    /// Initialization data of one more track; once there are objects, of a track that wants to go on.
    Init(&'a [u8]),
    /// An object of track `arg % 8`, `arg / 8` groups on.
    Object(u8, &'a [u8]),
    /// The last object once more, on track `arg % 8` and at another decode time.
    Again(u8),
    /// Time passes.
    Wait(u8),
    /// A track ends.
    End(u8),
    /// So many fragments are taken.
    Take(u8),
    /// All there are.
    TakeAll,
}

fn steps(mut data: &[u8]) -> impl Iterator<Item = Step<'_>> {
    std::iter::from_fn(move || {
        let (&[kind, arg], rest) = data.split_first_chunk()?;
        data = rest;
        let mut bytes = || {
            let (length, rest) = data.split_first_chunk()?;
            let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
            let (bytes, rest) = rest.split_at(length);
            data = rest;
            Some(bytes)
        };
        Some(match kind % 7 {
            0 => Step::Init(bytes()?),
            1 => Step::Object(arg, bytes()?),
            2 => Step::Again(arg),
            3 => Step::Wait(arg),
            4 => Step::End(arg),
            5 => Step::Take(arg),
            _ => Step::TakeAll,
        })
    })
}

/// On each track decode times rise, nothing waits longer than it may, what was taken has left, was dropped or was an error,
/// and all leaves in the end.
pub fn remux(data: &[u8]) {
    let mut steps = steps(data).peekable();
    let mut inits = Vec::new();
    while let Some(Step::Init(init)) = steps.next_if(|step| matches!(step, Step::Init(_))) {
        inits.push(init);
    }
    let options = RemuxOptions {
        max_buffered: MAX_BUFFERED,
        start_at_zero: data.len().is_multiple_of(2),
        ..RemuxOptions::default()
    };
    let all = inits.iter().copied();
    let Ok(remuxer) = Remuxer::with_options(all, options, Limits::default()) else {
        return;
    };
    let mut viewer = Viewer::new(remuxer, inits.len());
    let same = viewer.remuxer.continues_with(inits.iter().copied());
    assert!(matches!(same, Ok(true)), "a stream cannot go on as it is");
    let mut object = Vec::new();
    for step in steps {
        match step {
            Step::Init(init) => drop(viewer.remuxer.continues_with([init])),
            Step::Object(arg, bytes) => {
                object = bytes.to_vec();
                viewer.push(arg, &object);
            }
            Step::Again(arg) => {
                move_in_time(&mut object, arg);
                viewer.push(arg % 8, &object);
            }
            Step::Wait(steps) => viewer.now += STEP * u32::from(steps),
            Step::End(track) => viewer.remuxer.end(usize::from(track % 8)),
            Step::Take(count) => viewer.take_all(usize::from(count)),
            Step::TakeAll => viewer.take_all(usize::MAX),
        }
    }
    viewer.end();
}

/// Gives the first fragment of an object another decode time.
fn move_in_time(object: &mut [u8], arg: u8) {
    let at = object.windows(4).position(|kind| kind == b"tfdt");
    // Version, flags and, in version 1, the upper half come before what is changed.
    let field = at.and_then(|at| {
        let version = *object.get(at + 4)?;
        object
            .get_mut(at + 8 + 4 * usize::from(version == 1)..)?
            .get_mut(..4)
    });
    if let Some(field) = field {
        field.copy_from_slice(&(u32::from(arg) << 11).to_be_bytes());
    }
}

struct Viewer {
    remuxer: Remuxer,
    now: Instant,
    group: u64,
    /// Decode time of the last fragment of each track.
    newest: Vec<Option<u64>>,
    taken: u64,
    left: u64,
    errors: u64,
}

impl Viewer {
    fn new(remuxer: Remuxer, tracks: usize) -> Self {
        check_header(remuxer.header(), tracks);
        #[expect(
            clippy::disallowed_methods,
            reason = "not a clock but a constant is needed"
        )]
        let now = Instant::now();
        Self {
            remuxer,
            now,
            group: 1,
            newest: vec![None; tracks],
            taken: 0,
            left: 0,
            errors: 0,
        }
    }

    fn push(&mut self, arg: u8, object: &[u8]) {
        let track = usize::from(arg % 8);
        self.group += match arg / 8 {
            31 => LEAP,
            step => u64::from(step),
        };
        let object = Bytes::copy_from_slice(object);
        let pushed = self.remuxer.push(track, self.group, &object, self.now);
        if pushed.is_ok() && track < self.newest.len() {
            self.taken += fragments_in(&object);
        }
        self.check_balance();
    }

    /// Takes a fragment; false when there is none now.
    fn take(&mut self) -> bool {
        let more = match self.remuxer.next_fragment(self.now) {
            Ok(Some(piece)) => {
                self.left += 1;
                self.check_piece(&piece);
                true
            }
            Ok(None) => {
                let late = self.remuxer.deadline();
                assert!(late.is_none_or(|late| late > self.now), "it waits too long");
                false
            }
            Err(_) => {
                self.errors += 1;
                true
            }
        };
        self.check_balance();
        more
    }

    fn take_all(&mut self, most: usize) {
        let taken = (0..most).take_while(|_| self.take()).count();
        assert!(taken as u64 <= self.taken, "it never ends");
    }

    fn end(mut self) {
        (0..self.newest.len()).for_each(|track| self.remuxer.end(track));
        self.take_all(usize::MAX);
        assert_eq!(self.remuxer.deadline(), None, "something waits for ever");
        assert_eq!(self.gone(), self.taken, "taken, and gone");
    }

    fn gone(&self) -> u64 {
        self.left + self.errors + self.remuxer.dropped()
    }

    fn check_balance(&self) {
        assert!(self.gone() <= self.taken, "more left than came");
        let waits = self.remuxer.deadline().is_some();
        assert_eq!(waits, self.gone() < self.taken, "what waits");
    }

    /// One `moof` and one `mdat` of a track, later than the one before.
    fn check_piece(&mut self, piece: &[u8]) {
        let [moof, mdat] = boxes(piece).try_into().unwrap_or_else(|found: Vec<_>| {
            panic!("a fragment of {} boxes", found.len());
        });
        assert_eq!((&moof.kind, &mdat.kind), (b"moof", b"mdat"));
        let traf = only(&moof, b"traf");
        let tfhd = only(&traf, b"tfhd").decode::<Tfhd>();
        let tfdt = only(&traf, b"tfdt").decode::<Tfdt>();
        let (Ok(tfhd), Ok(tfdt)) = (tfhd, tfdt) else {
            panic!("our own boxes do not decode");
        };
        let time = tfdt.base_media_decode_time;
        let track = (tfhd.track_id as usize).checked_sub(1);
        let newest = track.and_then(|track| self.newest.get_mut(track));
        let newest = newest.unwrap_or_else(|| panic!("a fragment of no track"));
        // Behind the end of time there is nothing.
        let rises = newest.is_none_or(|newest| newest < time || time == u64::MAX);
        assert!(rises, "{newest:?}, then {time}");
        *newest = Some(time);
    }
}

/// How many fragments an object holds that was accepted.
fn fragments_in(object: &[u8]) -> u64 {
    let mut rest = object;
    let (mut count, mut moof) = (0, false);
    while let Ok((found, after)) = BoxRef::split(rest) {
        match &found.kind {
            b"moof" => moof = true,
            b"mdat" => count += u64::from(std::mem::take(&mut moof)),
            _ => {}
        }
        rest = after;
    }
    count
}

/// `ftyp` and a `moov` of these tracks, with the ids 1, 2, …, and what is for decryption.
fn check_header(header: &[u8], tracks: usize) {
    let [ftyp, moov] = boxes(header).try_into().unwrap_or_else(|found: Vec<_>| {
        panic!("a header of {} boxes", found.len());
    });
    assert_eq!((&ftyp.kind, &moov.kind), (b"ftyp", b"moov"));
    let mut kinds: Vec<_> = boxes(moov.body).iter().map(|child| child.kind).collect();
    assert!(kinds.drain(tracks + 2..).all(|kind| kind == *b"pssh"));
    let mut expected = vec![*b"trak"; tracks + 2];
    expected[0] = *b"mvhd";
    expected[tracks + 1] = *b"mvex";
    assert_eq!(kinds, expected);
    for (id, trak) in boxes(moov.body).iter().enumerate().skip(1).take(tracks) {
        let tkhd = only(trak, b"tkhd").decode::<Tkhd>();
        assert!(tkhd.is_ok_and(|tkhd| tkhd.track_id as usize == id), "{id}");
    }
}

/// The first box of this type, which is there.
fn only<'a>(parent: &BoxRef<'a>, kind: &[u8; 4]) -> BoxRef<'a> {
    let found = parent.need(kind);
    found.unwrap_or_else(|error| panic!("{error}"))
}

/// The boxes that these bytes are, each with its length.
fn boxes(data: &[u8]) -> Vec<BoxRef<'_>> {
    let all = Children::of(data).collect::<Result<Vec<_>, _>>();
    let all = all.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        all.iter().map(|child| child.raw.len()).sum::<usize>(),
        data.len()
    );
    for child in &all {
        let head = Header::parse(child.raw);
        assert!(head.is_ok_and(|head| head.is_some_and(|head| head.total.is_some())));
    }
    all
}
