//! Playing an MP4 file, ordinary or fragmented, as the fragments of a live stream.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use crate::boxes::{BoxRef, Header};
use crate::error::{Error, FourCc, Unsuitable};
use crate::fragment::{self, Fragment, Rewrite, Sample};
use crate::header;
use crate::limits::Limits;
use crate::reader::{Event, Fmp4Reader, Init};
use crate::sniff;
use crate::table::{self, Cursor, SampleRef, SampleTable};
use crate::time::MediaTime;
use crate::track::{self, Track, TrackKind, Tracks};

/// Bytes read from a fragmented file at a time.
const READ_SIZE: u64 = 64 << 10;

/// A fragment of a file, with the time it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimedFragment {
    /// The fragment, as [`Fmp4Reader`] would give it.
    pub fragment: Fragment,
    /// When its first sample is decoded, from the start of playback. It never goes back by more
    /// than the tracks of a fragmented file are apart. A caller that sends it no earlier plays
    /// the file in real time.
    pub time: Duration,
}

/// Reads an MP4 file as a header and fragments, in decode order across all tracks.
///
/// An ordinary file gives one sample per fragment, and its edit lists are worked into the decode
/// times: where one would make a time negative, all tracks are moved equally. A fragmented file
/// gives its own fragments. When [repeating](Self::repeating), decode times go on to rise by the
/// length of the longest track per repetition, on all tracks alike.
///
/// It holds the sample tables of the file, as compact as the file does, and one fragment.
///
/// ```
/// use moqtail_media::{Mp4File, sample};
///
/// let mut file = Mp4File::open(std::io::Cursor::new(sample()))?;
/// println!("{} tracks", file.init().tracks.len());
/// while let Some(timed) = file.next_fragment()? {
///     // Wait until `timed.time` has passed since the start, then send `timed.fragment`.
/// }
/// # Ok::<(), moqtail_media::Error>(())
/// ```
#[derive(Debug)]
pub struct Mp4File<R> {
    source: R,
    limits: Limits,
    init: Init,
    form: Form,
    repeat: bool,
}

#[derive(Debug)]
enum Form {
    Ordinary(Ordinary),
    Fragmented(Box<Fragmented>),
}

impl<R: Read + Seek> Mp4File<R> {
    /// Opens a file with the default limits and reads its header.
    ///
    /// # Errors
    ///
    /// As for [`next_fragment`](Self::next_fragment); [`Error::Unsuitable`] when it is not MP4.
    pub fn open(source: R) -> Result<Self, Error> {
        Self::open_with_limits(source, Limits::default())
    }

    /// Opens a file with these limits.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn open_with_limits(mut source: R, limits: Limits) -> Result<Self, Error> {
        let moov = read_moov(&mut source, &limits)?;
        let moov = BoxRef::whole(&moov)?;
        let listed = track::lists_samples(&moov)?;
        let (init, form) = match (listed, moov.find(b"mvex")?.is_some()) {
            (true, true) => {
                let why = "the header lists samples and announces fragments; only one can be used";
                return Err(Error::malformed(why));
            }
            (false, true) => {
                let mut fragmented = Box::new(Fragmented::new(&limits));
                source.seek(SeekFrom::Start(0))?;
                let init = fragmented.init(&mut source)?;
                (init, Form::Fragmented(fragmented))
            }
            (_, false) => {
                let (init, ordinary) = Ordinary::new(&moov, &limits)?;
                (init, Form::Ordinary(ordinary))
            }
        };
        Ok(Self {
            source,
            limits,
            init,
            form,
            repeat: false,
        })
    }

    /// Whether to start over at the end, forever. Off by default.
    #[must_use]
    pub fn repeating(mut self, repeat: bool) -> Self {
        self.repeat = repeat;
        self
    }

    /// The header: the tracks of this file.
    pub fn init(&self) -> &Init {
        &self.init
    }

    /// The next fragment; `None` at the end of the file. A file without any media ends even when
    /// it is repeating.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, or [`Error::Io`]; the same call may fail again.
    pub fn next_fragment(&mut self) -> Result<Option<TimedFragment>, Error> {
        loop {
            let next = match &mut self.form {
                Form::Ordinary(form) => form.next(&mut self.source, &self.limits)?,
                Form::Fragmented(form) => form.next(&mut self.source)?,
            };
            if next.is_some() || !self.repeat {
                return Ok(next);
            }
            let repeated = match &mut self.form {
                Form::Ordinary(form) => form.repeat(),
                Form::Fragmented(form) => form.repeat(&mut self.source, &self.limits)?,
            };
            if !repeated {
                return Ok(None);
            }
        }
    }
}

/// Finds `moov` among the top-level boxes, and reads it.
fn read_moov<R: Read + Seek>(source: &mut R, limits: &Limits) -> Result<Vec<u8>, Error> {
    let end = source.seek(SeekFrom::End(0))?;
    let mut position = 0;
    while position < end {
        let start = read_at(source, position, 16)?;
        if position == 0 && !start.get(4..8).is_some_and(sniff::starts_mp4) {
            return Err(Unsuitable::NotMp4(sniff::guess_format(&start)).into());
        }
        let Some(head) = Header::parse(&start)? else {
            return Err(Error::Truncated {
                kind: FourCc(*b"????"),
                missing: 8,
            });
        };
        let total = head.total.unwrap_or(end - position);
        if head.kind == *b"moov" {
            Error::check("the size of `moov`", total, "max_index", limits.max_index)?;
            let moov = read_at(source, position, total)?;
            let missing = total - moov.len() as u64;
            if missing > 0 {
                return Err(Error::Truncated {
                    kind: FourCc(head.kind),
                    missing,
                });
            }
            return Ok(moov);
        }
        let left = end - position;
        if total > left {
            return Err(Error::Truncated {
                kind: FourCc(head.kind),
                missing: total - left,
            });
        }
        position += total;
    }
    Err(Unsuitable::NoHeader.into())
}

/// Reads up to `size` bytes; fewer at the end of the file.
fn read_at<R: Read + Seek>(source: &mut R, position: u64, size: u64) -> Result<Vec<u8>, Error> {
    source.seek(SeekFrom::Start(position))?;
    let mut data = Vec::new();
    source.take(size).read_to_end(&mut data)?;
    Ok(data)
}

/// An ordinary file: samples by table.
#[derive(Debug)]
struct Ordinary {
    tracks: Vec<TableTrack>,
    /// What one repetition adds to all times.
    length: MediaTime,
    repetition: u32,
    sequence: u32,
}

#[derive(Debug)]
struct TableTrack {
    id: u32,
    timescale: u32,
    table: SampleTable,
    cursor: Cursor,
    next: Option<SampleRef>,
    /// Decode time of the first sample.
    start: u64,
    /// What the repetitions so far add.
    repeated: u64,
}

impl TableTrack {
    fn due(&self, sample: &SampleRef) -> MediaTime {
        let ticks = self
            .start
            .saturating_add(self.repeated)
            .saturating_add(sample.decode_time);
        MediaTime::new(ticks, self.timescale)
    }
}

impl Ordinary {
    fn new(moov: &BoxRef<'_>, limits: &Limits) -> Result<(Init, Self), Error> {
        let found = Tracks::parse(moov, limits)?;
        let mvhd: mp4_atom::Mvhd = moov.need(b"mvhd")?.decode()?;
        let starts = start_times(&found.usable, mvhd.timescale)?;
        let mut infos = Vec::new();
        let mut tracks = Vec::new();
        for (track, start) in found.usable.iter().zip(starts) {
            let table = SampleTable::parse(&track.trak, limits)?;
            let mut info = track.info.clone();
            info.init = header::unfragmented_header(moov, track)?;
            let length = MediaTime::new(table.duration, info.timescale).to_seconds();
            if length > 0.0 {
                if info.kind == TrackKind::Video {
                    info.framerate = Some(track::round_rate(table.count as f64 / length));
                }
                info.bitrate = Some((table.bytes as f64 * 8.0 / length) as u64);
            }
            let mut cursor = Cursor::default();
            let next = cursor.next(&table)?;
            tracks.push(TableTrack {
                id: info.id,
                timescale: info.timescale,
                table,
                cursor,
                next,
                start,
                repeated: 0,
            });
            infos.push(info);
        }
        let lengths = tracks
            .iter()
            .map(|t| MediaTime::new(t.table.duration, t.timescale));
        let length = lengths.max().unwrap_or(MediaTime::ZERO);
        let init = Init {
            tracks: infos,
            ignored: found.ignored,
        };
        Ok((
            init,
            Self {
                tracks,
                length,
                repetition: 0,
                sequence: 0,
            },
        ))
    }

    fn next<R: Read + Seek>(
        &mut self,
        source: &mut R,
        limits: &Limits,
    ) -> Result<Option<TimedFragment>, Error> {
        let candidates = self.tracks.iter().enumerate();
        let due = candidates.filter_map(|(index, t)| Some((t.due(t.next.as_ref()?), index)));
        let Some((time, index)) = due.min() else {
            return Ok(None);
        };
        let Some(track) = self.tracks.get_mut(index) else {
            return Ok(None);
        };
        let Some(sample) = track.next else {
            return Ok(None);
        };
        let size = u64::from(sample.size);
        Error::check("the size of a sample", size, "max_mdat", limits.max_mdat)?;
        let media = read_at(source, sample.position, size)?;
        let missing = size - media.len() as u64;
        if missing > 0 {
            return Err(Error::Truncated {
                kind: FourCc(*b"mdat"),
                missing,
            });
        }
        track.next = track.cursor.next(&track.table)?;
        self.sequence = self.sequence.wrapping_add(1);
        let head = Sample {
            track_id: track.id,
            sequence: self.sequence,
            description: sample.description,
            decode_time: time.ticks,
            duration: sample.duration,
            offset: sample.offset,
            keyframe: sample.keyframe,
        };
        let fragment = Fragment {
            track_id: track.id,
            data: fragment::write_sample(&head, &media)?,
            keyframe: sample.keyframe,
            decode_time: time.ticks,
            presentation_time: i64::try_from(time.ticks)
                .unwrap_or(i64::MAX)
                .saturating_add(sample.offset.into()),
            duration: sample.duration.into(),
            samples: 1,
            even: true,
        };
        Ok(Some(TimedFragment {
            fragment,
            time: time.to_duration(),
        }))
    }

    /// Goes back to the start; false when that would add nothing.
    fn repeat(&mut self) -> bool {
        let Some(repetition) = self.repetition.checked_add(1) else {
            return false;
        };
        if self.length == MediaTime::ZERO {
            return false;
        }
        self.repetition = repetition;
        for track in &mut self.tracks {
            track.repeated = self.length.times_floor(repetition, track.timescale);
            track.cursor = Cursor::default();
            // The same call succeeded when the file was opened.
            track.next = track.cursor.next(&track.table).ok().flatten();
        }
        true
    }
}

/// The decode time each track's first sample gets, in the track's timescale, so that edit lists
/// are honoured and none is negative.
fn start_times(tracks: &[Track<'_>], movie_timescale: u32) -> Result<Vec<u64>, Error> {
    let mut edits = Vec::new();
    let mut earliest = MediaTime::ZERO;
    for track in tracks {
        let timescale = track.info.timescale;
        let (delay, media_time) = table::edit(&track.trak)?;
        let delay = MediaTime::new(delay, movie_timescale).floor(timescale);
        let before_zero = media_time.saturating_sub(delay);
        earliest = earliest.max(MediaTime::new(before_zero, timescale));
        edits.push((timescale, delay, media_time));
    }
    let start = |(timescale, delay, media_time): (u32, u64, u64)| {
        earliest
            .ceil(timescale)
            .saturating_add(delay)
            .saturating_sub(media_time)
    };
    Ok(edits.into_iter().map(start).collect())
}

/// A fragmented file: its own fragments, moved in time from the second round on.
#[derive(Debug)]
struct Fragmented {
    reader: Fmp4Reader,
    /// Whether the reader was given all of the file.
    ended: bool,
    tracks: BTreeMap<u32, Span>,
    /// The first decode time seen, from which the due times count.
    origin: Option<MediaTime>,
    length: MediaTime,
    repetition: u32,
    sequence: u32,
}

/// What a track of a fragmented file covered in the first round.
#[derive(Debug)]
struct Span {
    timescale: u32,
    first: Option<u64>,
    end: u64,
}

impl Fragmented {
    fn new(limits: &Limits) -> Self {
        Self {
            reader: Fmp4Reader::with_limits(limits.clone()),
            ended: false,
            tracks: BTreeMap::new(),
            origin: None,
            length: MediaTime::ZERO,
            repetition: 0,
            sequence: 0,
        }
    }

    fn init<R: Read>(&mut self, source: &mut R) -> Result<Init, Error> {
        match self.event(source)? {
            Some(Event::Init(init)) => {
                for track in &init.tracks {
                    let span = Span {
                        timescale: track.timescale,
                        first: None,
                        end: 0,
                    };
                    self.tracks.insert(track.id, span);
                }
                Ok(init)
            }
            _ => Err(Unsuitable::NoHeader.into()),
        }
    }

    fn event<R: Read>(&mut self, source: &mut R) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.reader.next_event()? {
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            let mut piece = Vec::new();
            source.take(READ_SIZE).read_to_end(&mut piece)?;
            if piece.is_empty() {
                self.ended = true;
                std::mem::take(&mut self.reader).finish()?;
            }
            self.reader.push(&piece)?;
        }
    }

    fn next<R: Read>(&mut self, source: &mut R) -> Result<Option<TimedFragment>, Error> {
        loop {
            let mut fragment = match self.event(source)? {
                Some(Event::Fragment(fragment)) => fragment,
                Some(Event::Init(_)) => continue,
                None => return Ok(None),
            };
            let Some(span) = self.tracks.get_mut(&fragment.track_id) else {
                continue;
            };
            if self.repetition == 0 {
                span.first.get_or_insert(fragment.decode_time);
                span.end = span.end.max(fragment.end_time());
            } else {
                let added = self.length.times_floor(self.repetition, span.timescale);
                self.sequence = self.sequence.wrapping_add(1);
                fragment = moved(&fragment, added, self.sequence)?;
            }
            let due = MediaTime::new(fragment.decode_time, span.timescale);
            let origin = *self.origin.get_or_insert(due);
            let time = due.to_duration().saturating_sub(origin.to_duration());
            return Ok(Some(TimedFragment { fragment, time }));
        }
    }

    /// Goes back to the start; false when that would add nothing.
    fn repeat<R: Read + Seek>(&mut self, source: &mut R, limits: &Limits) -> Result<bool, Error> {
        let lengths = self.tracks.values().map(|span| {
            let length = span.end.saturating_sub(span.first.unwrap_or(span.end));
            MediaTime::new(length, span.timescale)
        });
        self.length = lengths.max().unwrap_or(MediaTime::ZERO);
        let Some(repetition) = self.repetition.checked_add(1) else {
            return Ok(false);
        };
        if self.length == MediaTime::ZERO {
            return Ok(false);
        }
        self.repetition = repetition;
        self.reader = Fmp4Reader::with_limits(limits.clone());
        self.ended = false;
        source.seek(SeekFrom::Start(0))?;
        Ok(true)
    }
}

/// The same fragment, later by `added` ticks.
fn moved(fragment: &Fragment, added: u64, sequence: u32) -> Result<Fragment, Error> {
    let decode_time = fragment.decode_time.saturating_add(added);
    let moof = BoxRef::whole(&fragment.data)?;
    let track_id = fragment.track_id;
    let change = Rewrite {
        sequence,
        track_id,
        decode_time,
        moof_position: 0,
        gap: 0,
    };
    let mut data = fragment::rewrite(&moof, &change)?;
    data.extend_from_slice(fragment.data.get(moof.raw.len()..).unwrap_or_default());
    let later = i64::try_from(added).unwrap_or(i64::MAX);
    Ok(Fragment {
        data: data.into(),
        decode_time,
        presentation_time: fragment.presentation_time.saturating_add(later),
        ..fragment.clone()
    })
}
