//! Reading a fragmented MP4 stream as it arrives.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use crate::boxes::{BoxRef, Header};
use crate::error::{Error, FourCc, TrackList, Unsuitable};
use crate::fragment::{self, Fragment, Head, Rewrite};
use crate::header::{self, SingleHeader};
use crate::limits::Limits;
use crate::run::Defaults;
use crate::sniff;
use crate::split::Parts;
use crate::time::MediaTime;
use crate::timeline::{Reached, Timeline};
use crate::track::{self, IgnoredTrack, TrackInfo, TrackKind, Tracks};

/// What [`Fmp4Reader`] found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The header; always the first event, and only once.
    Init(Init),
    /// A fragment of one of the tracks of the header.
    Fragment(Fragment),
}

/// The header of an input.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Init {
    /// The tracks with a known codec, in the order of the header; at least one.
    pub tracks: Vec<TrackInfo>,
    /// The tracks that are left out: their fragments are dropped.
    pub ignored: Vec<IgnoredTrack>,
}

/// Turns the bytes of a fragmented MP4 stream, in pieces of any size, into events.
///
/// Give it bytes with [`push`](Self::push), take events with [`next_event`](Self::next_event)
/// until there are none, and at the end of the input call [`finish`](Self::finish). After an
/// error the reader yields nothing more.
///
/// A stream is a header (`ftyp`, `moov`) and fragments (`moof`, `mdat`), each of one track. Other
/// boxes are skipped. A fragment's bytes are passed on as they came, in one piece of memory, but
/// for two old forms that players refuse: file-relative addresses and a missing decode time are
/// replaced. Where the header comes again, with the same tracks and codecs, and decode times start over, they are moved
/// to go on. A fragment of video with a key frame behind other frames is split there, unless it is
/// encrypted, so that a group can start at each key frame.
///
/// What it holds is bounded by [`Limits`]: at most one `moof` with its `mdat`, or one header.
///
/// ```
/// use moqtail_media::{Event, Fmp4Reader};
///
/// # let stream: &[u8] = &[];
/// let mut reader = Fmp4Reader::new();
/// for piece in stream.chunks(4096) {
///     reader.push(piece)?;
///     while let Some(event) = reader.next_event()? {
///         match event {
///             Event::Init(init) => println!("{} tracks", init.tracks.len()),
///             Event::Fragment(f) => println!("track {}: {} bytes", f.track_id, f.data.len()),
///             _ => {}
///         }
///     }
/// }
/// # Ok::<(), moqtail_media::Error>(())
/// ```
#[derive(Debug)]
pub struct Fmp4Reader {
    limits: Limits,
    buffer: BytesMut,
    /// Position of the buffer's first byte in the stream.
    position: u64,
    /// Where the file began that file-relative addresses count from: several may follow one another.
    origin: u64,
    /// Bytes of the current box that are still to be thrown away.
    skip: Skip,
    ftyp: Option<Bytes>,
    /// Empty until the header has come.
    tracks: BTreeMap<u32, TrackState>,
    timeline: Timeline,
    /// What is left of a fragment that is split.
    parts: Option<Parts>,
    failed: bool,
}

/// A box of no interest, in passing.
#[derive(Debug, Clone, Copy)]
struct Skip {
    kind: [u8; 4],
    bytes: u64,
    /// The box has no length: it lasts until the end of the input.
    endless: bool,
}

const NO_SKIP: Skip = Skip {
    kind: *b"    ",
    bytes: 0,
    endless: false,
};

#[derive(Debug)]
struct TrackState {
    /// What a header that comes again must not change.
    form: Bytes,
    defaults: Defaults,
    is_video: bool,
    timescale: u32,
    reached: Reached,
}

/// What the front of the buffer is.
enum Step {
    Event(Event),
    Again,
    NeedMore,
}

impl Default for Fmp4Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Fmp4Reader {
    /// A reader with the default limits.
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// A reader with these limits.
    pub fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            position: 0,
            origin: 0,
            skip: NO_SKIP,
            ftyp: None,
            tracks: BTreeMap::new(),
            timeline: Timeline::default(),
            parts: None,
            failed: false,
        }
    }

    /// Adds the next bytes of the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Undrained`] when events were not taken for so long that more is held than any
    /// box may have.
    pub fn push(&mut self, data: &[u8]) -> Result<(), Error> {
        if self.failed {
            return Ok(());
        }
        let largest = self.limits.max_moof + self.limits.max_mdat + self.limits.max_header;
        if self.buffer.len() as u64 > largest {
            return Err(Error::Undrained {
                buffered: self.buffer.len(),
            });
        }
        self.buffer.extend_from_slice(data);
        Ok(())
    }

    /// The next event, or `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// What is wrong with the input; everything complete before it was returned.
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        if self.failed {
            return Ok(None);
        }
        loop {
            match self.step() {
                Ok(Step::Event(event)) => return Ok(Some(event)),
                Ok(Step::Again) => {}
                Ok(Step::NeedMore) => return Ok(None),
                Err(error) => {
                    self.failed = true;
                    self.buffer = BytesMut::new();
                    return Err(error);
                }
            }
        }
    }

    /// Ends the input; all events must have been taken.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when the input stopped inside a box, [`Error::Unsuitable`] when it
    /// had no header.
    pub fn finish(self) -> Result<(), Error> {
        if self.failed {
            return Ok(());
        }
        if self.skip.bytes > 0 && !self.skip.endless {
            return Err(Error::Truncated {
                kind: FourCc(self.skip.kind),
                missing: self.skip.bytes,
            });
        }
        if !self.buffer.is_empty() {
            if self.position == 0 && self.buffer.len() < 8 {
                return Err(Unsuitable::NotMp4(sniff::guess_format(&self.buffer)).into());
            }
            let (kind, missing) = self.missing()?;
            return Err(Error::Truncated { kind, missing });
        }
        match (self.tracks.is_empty(), self.position) {
            (false, _) => Ok(()),
            (true, 0) => Err(Unsuitable::NotMp4("empty").into()),
            (true, _) => Err(Unsuitable::NoHeader.into()),
        }
    }

    /// The unfinished box at the end of the input, and how much of it is missing at least.
    fn missing(&self) -> Result<(FourCc, u64), Error> {
        let mut rest: &[u8] = &self.buffer;
        loop {
            let Some(head) = Header::parse(rest)? else {
                let kind = rest.get(4..8).and_then(|kind| kind.try_into().ok());
                let missing = 8u64.saturating_sub(rest.len() as u64).max(1);
                return Ok((FourCc(kind.unwrap_or(*b"????")), missing));
            };
            let total = head.total.unwrap_or(u64::MAX);
            let missing = total.saturating_sub(rest.len() as u64);
            if missing > 0 {
                return Ok((FourCc(head.kind), missing));
            }
            rest = rest
                .get(usize::try_from(total).unwrap_or(usize::MAX)..)
                .unwrap_or_default();
        }
    }

    fn step(&mut self) -> Result<Step, Error> {
        if let Some(parts) = &mut self.parts {
            if let Some(fragment) = parts.next_part()? {
                return Ok(Step::Event(Event::Fragment(fragment)));
            }
            self.parts = None;
        }
        if self.skip.bytes > 0 {
            let now = self.skip.bytes.min(self.buffer.len() as u64);
            self.skip.bytes -= now;
            self.consume(usize::try_from(now).unwrap_or(usize::MAX));
            if self.skip.bytes > 0 {
                return Ok(Step::NeedMore);
            }
        }
        self.check_kind()?;
        let Some(head) = Header::parse(&self.buffer)? else {
            return Ok(Step::NeedMore);
        };
        match &head.kind {
            b"ftyp" => self.ftyp(&head),
            b"moov" => self.moov(&head),
            b"moof" => self.moof(&head),
            b"mdat" if self.tracks.is_empty() => Err(Unsuitable::HeaderAtEnd.into()),
            _ => {
                let bytes = head.total.unwrap_or(u64::MAX);
                self.skip = Skip {
                    kind: head.kind,
                    bytes,
                    endless: head.total.is_none(),
                };
                Ok(Step::Again)
            }
        }
    }

    /// Looks at the type of the next box: does the input start like MP4, and does it go on so?
    fn check_kind(&self) -> Result<(), Error> {
        let Some(kind) = self.buffer.get(4..8) else {
            return Ok(());
        };
        if self.position == 0 && !sniff::starts_mp4(kind) {
            return Err(Unsuitable::NotMp4(sniff::guess_format(&self.buffer)).into());
        }
        if !kind.iter().all(|byte| matches!(byte, 0x20..=0x7e | 0xa9)) {
            let position = self.position;
            let why = format!("at byte {position} there is no box where one should start");
            return Err(Error::malformed(why));
        }
        Ok(())
    }

    /// The length of the box at the front, once it is within its limit and has all arrived.
    fn complete(
        &self,
        head: &Header,
        what: &'static str,
        limit_name: &'static str,
        limit: u64,
    ) -> Result<Option<usize>, Error> {
        let total = head.claimed()?;
        Error::check(what, total, limit_name, limit)?;
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        Ok((self.buffer.len() >= total).then_some(total))
    }

    fn take(&mut self, bytes: usize) -> Bytes {
        self.position += bytes as u64;
        self.buffer.split_to(bytes).freeze()
    }

    fn consume(&mut self, bytes: usize) {
        self.position += bytes as u64;
        bytes::Buf::advance(&mut self.buffer, bytes);
    }

    fn ftyp(&mut self, head: &Header) -> Result<Step, Error> {
        let limit = self.limits.max_header;
        let Some(total) = self.complete(head, "the size of `ftyp`", "max_header", limit)? else {
            return Ok(Step::NeedMore);
        };
        self.origin = self.position;
        let ftyp = self.take(total);
        self.ftyp
            .get_or_insert_with(|| Bytes::copy_from_slice(&ftyp));
        Ok(Step::Again)
    }

    fn moov(&mut self, head: &Header) -> Result<Step, Error> {
        let limit = self.limits.max_header;
        let Some(total) = self.complete(head, "the size of `moov`", "max_header", limit)? else {
            return Ok(Step::NeedMore);
        };
        let raw = self.take(total);
        let moov = BoxRef::whole(&raw)?;
        if moov.find(b"mvex")?.is_none() || track::lists_samples(&moov)? {
            return Err(Unsuitable::NotFragmented.into());
        }
        let found = Tracks::parse(&moov, &self.limits)?;
        let (mut tracks, mut states) = (Vec::new(), BTreeMap::new());
        for track in found.usable {
            let mut info = track.info.clone();
            info.init = header::fragmented_header(self.ftyp.as_deref(), &moov, &track)?;
            let state = TrackState {
                form: SingleHeader::parse(&info.init)?.form(),
                defaults: track.defaults.unwrap_or_default(),
                is_video: info.kind == TrackKind::Video,
                timescale: info.timescale,
                reached: Reached::default(),
            };
            states.insert(info.id, state);
            tracks.push(info);
        }
        if !self.tracks.is_empty() {
            let old = self.tracks.iter().map(|(id, state)| (id, &state.form));
            let new = states.iter().map(|(id, state)| (id, &state.form));
            if old.ne(new) {
                return Err(Error::HeaderChanged);
            }
            self.timeline.header_again();
            return Ok(Step::Again);
        }
        self.tracks = states;
        let init = Init {
            tracks,
            ignored: found.ignored,
        };
        Ok(Step::Event(Event::Init(init)))
    }

    fn moof(&mut self, head: &Header) -> Result<Step, Error> {
        if self.tracks.is_empty() {
            return Err(Unsuitable::NoHeader.into());
        }
        let limit = self.limits.max_moof;
        let Some(moof) = self.complete(head, "the size of a `moof`", "max_moof", limit)? else {
            return Ok(Step::NeedMore);
        };
        let Some((mdat, media)) = self.media_after(moof)? else {
            return Ok(Step::NeedMore);
        };
        let limit = self.limits.max_mdat;
        let size = mdat.claimed()?;
        Error::check("the size of an `mdat`", size, "max_mdat", limit)?;
        let total = media.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        if self.buffer.len() < total {
            return Ok(Step::NeedMore);
        }
        let position = self.position.saturating_sub(self.origin);
        let raw = self.take(total);
        match self.fragment(&raw, moof, media, position)? {
            Some(fragment) => Ok(Step::Event(Event::Fragment(fragment))),
            None => Ok(Step::Again),
        }
    }

    /// The head of the `mdat` behind a `moof` of this length, and where it starts in the buffer.
    fn media_after(&self, moof: usize) -> Result<Option<(Header, usize)>, Error> {
        let mut at = moof;
        loop {
            let rest = self.buffer.get(at..).unwrap_or_default();
            let Some(next) = Header::parse(rest)? else {
                return Ok(None);
            };
            match &next.kind {
                b"mdat" => return Ok(Some((next, at))),
                b"free" | b"skip" | b"wide" | b"uuid" | b"emsg" | b"prft" => {
                    let size = usize::try_from(next.claimed()?).unwrap_or(usize::MAX);
                    at = at.saturating_add(size);
                    let between = at.saturating_sub(moof) as u64;
                    let what = "what lies between a `moof` and its `mdat`";
                    Error::check(what, between, "max_moof", self.limits.max_moof)?;
                }
                kind => {
                    let kind = FourCc(*kind);
                    let why = format!("a `moof` is followed by `{kind}`, not `mdat`");
                    return Err(Error::malformed(why));
                }
            }
        }
    }

    /// Reads a fragment; `None` when it is empty, of a track that is left out or to be split.
    fn fragment(
        &mut self,
        raw: &Bytes,
        moof_len: usize,
        mdat_at: usize,
        position: u64,
    ) -> Result<Option<Fragment>, Error> {
        let moof = BoxRef::whole(raw)?;
        let ids = fragment::track_ids(&moof)?;
        let id = match ids.as_slice() {
            [id] => *id,
            [] => return Ok(None),
            _ => return Err(Unsuitable::MixedTracks(TrackList(ids)).into()),
        };
        let Some(track) = self.tracks.get_mut(&id) else {
            return Ok(None);
        };
        let mut head = Head::parse(&moof, position, track.defaults, &self.limits)?;
        if head.samples == 0 {
            return Ok(None);
        }
        head.keyframe |= !track.is_video;
        let media = mdat_at as i128..=raw.len() as i128;
        if head
            .media
            .is_some_and(|(from, to)| !media.contains(&from) || !media.contains(&to))
        {
            let why = "samples of a fragment are not in the `mdat` behind it";
            return Err(Error::malformed(why));
        }
        let decode_time = head.decode_time.map_or(track.reached.end, |time| {
            let time = MediaTime::new(time, track.timescale);
            self.timeline.place(time, &track.reached)
        });
        let end = MediaTime::new(decode_time.saturating_add(head.duration), track.timescale);
        self.timeline.advance(&mut track.reached, decode_time, end);
        if track.is_video && head.later_keyframe {
            self.parts = Parts::of(raw, position, track.defaults, decode_time, &self.limits)?;
            if self.parts.is_some() {
                return Ok(None);
            }
        }
        let gap = mdat_at.saturating_sub(moof_len);
        let same_time = head.decode_time == Some(decode_time);
        let data = if head.self_contained && same_time && gap == 0 {
            raw.clone()
        } else {
            let sequence = 0;
            let change = Rewrite {
                sequence,
                track_id: id,
                decode_time,
                moof_position: position,
                gap,
            };
            let mut data = fragment::rewrite(&moof, &change)?;
            data.extend_from_slice(raw.get(mdat_at..).unwrap_or_default());
            data.into()
        };
        Ok(Some(head.with_data(data, decode_time)))
    }
}
