//! Putting the tracks of a broadcast back into one playable stream.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::boxes::{BoxRef, Header};
use crate::error::{Error, FourCc};
use crate::fragment::{self, Head, Rewrite};
use crate::header::{self, SingleHeader};
use crate::least::Least;
use crate::limits::Limits;
use crate::run::Defaults;
use crate::time::MediaTime;

/// A decode time this far below the newest one of its track means that the publisher started
/// over; less is a fragment that comes late.
const RESTART: Duration = Duration::from_secs(5);

/// The same where the group is not the one after the newest: a publisher that starts over counts
/// its groups from elsewhere. Decode times of one publisher rise, so this is only for those that
/// are out by a frame.
const RESTART_IN_LEAP: Duration = Duration::from_millis(100);

/// Runs of a publisher whose times are remembered. Tracks are of the newest ones, unless one of them fell silent before.
const MAX_RUNS: usize = 64;

/// How [`Remuxer`] trades latency for order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemuxOptions {
    /// How long a fragment waits for a track that has nothing yet, so that the stream is in
    /// decode order across tracks. A track that stays silent longer is not waited for until it
    /// speaks again. Default 500 ms.
    pub max_wait: Duration,
    /// Bytes that may wait, with what it takes to keep them; more, and the oldest go out without
    /// waiting. Default 16 MiB.
    pub max_buffered: usize,
    /// Whether the stream starts at time 0, whenever the viewer joined. Default true.
    pub start_at_zero: bool,
}

impl Default for RemuxOptions {
    fn default() -> Self {
        Self {
            max_wait: Duration::from_millis(500),
            max_buffered: 16 << 20,
            start_at_zero: true,
        }
    }
}

/// Merges CMAF tracks that arrive separately into one fragmented MP4 stream, as `ffplay -` and
/// files want it.
///
/// Write [`header`](Self::header) first. Give it objects with [`push`](Self::push), take the
/// stream with [`next_fragment`](Self::next_fragment) after each push and at
/// [`deadline`](Self::deadline), and at the end [`end`](Self::end) each track.
///
/// Tracks get the ids 1, 2, …, fragments get rising sequence numbers. On each track decode times
/// always rise: what comes after its place was taken is dropped and [counted](Self::dropped). When
/// a publisher starts over, which its decode times and [groups](Self::push) tell, the stream goes on
/// where it was; [`continues_with`](Self::continues_with) says whether it can. A video track
/// starts at a key frame.
///
/// ```
/// use std::time::Instant;
/// use moqtail_media::{Mp4File, Remuxer, sample};
///
/// let mut file = Mp4File::open(std::io::Cursor::new(sample()))?;
/// let tracks = file.init().tracks.clone();
/// let mut remuxer = Remuxer::new(tracks.iter().map(|track| &track.init[..]))?;
/// let mut stream = remuxer.header().to_vec();
/// # let now = || Instant::now();
/// while let Some(timed) = file.next_fragment()? {
///     let track = tracks.iter().position(|track| track.id == timed.fragment.track_id).unwrap();
///     remuxer.push(track, 0, &timed.fragment.data, now())?;
///     while let Some(fragment) = remuxer.next_fragment(now())? {
///         stream.extend_from_slice(&fragment);
///     }
/// }
/// # Ok::<(), moqtail_media::Error>(())
/// ```
#[derive(Debug)]
pub struct Remuxer {
    options: RemuxOptions,
    limits: Limits,
    header: Bytes,
    lanes: Vec<Lane>,
    /// What is added to the times of each run of the publisher, in nanoseconds; the first is
    /// known once the first fragment leaves.
    shifts: BTreeMap<usize, i128>,
    sequence: u32,
    buffered: usize,
    /// When the waiting fragments of all tracks came.
    since: Least<Instant>,
    dropped: u64,
}

/// A fragment's place in its track: the run of the publisher, its decode time, and its turn among
/// those that claim the same time, as some muxers' fragments do.
type Place = (usize, u64, u64);

/// One track.
#[derive(Debug)]
struct Lane {
    timescale: u32,
    defaults: Defaults,
    is_video: bool,
    /// A key frame was seen.
    started: bool,
    ended: bool,
    /// It kept others waiting for too long, and is not waited for.
    silent: bool,
    /// What has to stay the same for the stream to go on.
    form: Bytes,
    /// The run of the publisher its newest fragment belongs to.
    run: usize,
    newest: u64,
    /// The group of the newest fragment.
    group: Option<u64>,
    /// Fragments taken in so far.
    turn: u64,
    waiting: BTreeMap<Place, Waiting>,
    /// The last fragment that left, and its duration. Muxers guess durations ahead of time, so
    /// the next fragment may start before this one is said to end.
    left: Option<(Place, u64)>,
    /// Its decode time in the stream.
    left_at: Option<u64>,
}

/// A `moof` of an object with its `mdat`.
#[derive(Debug)]
struct Chunk {
    moof: Bytes,
    mdat: Bytes,
    /// Bytes between them that are left out.
    gap: usize,
}

impl Chunk {
    fn bytes(&self) -> usize {
        self.moof.len() + self.mdat.len()
    }
}

/// A fragment that has not left.
#[derive(Debug)]
struct Waiting {
    chunk: Chunk,
    duration: u64,
    since: Instant,
}

impl Waiting {
    /// Bytes it takes to keep this.
    fn bytes(&self) -> usize {
        size_of::<(Place, Self)>() + self.chunk.bytes()
    }
}

impl Lane {
    /// Run, and decode time after the newest fragment, waiting or gone.
    fn end(&self) -> Option<(usize, u64)> {
        let waiting = self
            .waiting
            .last_key_value()
            .map(|(place, w)| (*place, w.duration));
        let ((run, time, _), duration) = waiting.or(self.left)?;
        Some((run, time.saturating_add(duration)))
    }

    /// A decode time of this track in nanoseconds.
    fn nanoseconds(&self, time: u64) -> i128 {
        i128::from(time) * 1_000_000_000 / i128::from(self.timescale)
    }

    /// A decode time moved by `shift` nanoseconds, or 0 where that is negative.
    fn shifted(&self, time: u64, shift: i128) -> u64 {
        // Restarts at times that no publisher has add up to more than a product can hold.
        let ticks = shift
            .saturating_mul(i128::from(self.timescale))
            .div_euclid(1_000_000_000);
        u64::try_from(i128::from(time) + ticks).unwrap_or(0)
    }
}

impl Remuxer {
    /// A remuxer of the tracks with this initialization data, with default options.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`], [`Error::TooLarge`] or [`Error::NoUsableTrack`], for what is wrong
    /// with the initialization data.
    pub fn new<'a>(inits: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Error> {
        Self::with_options(inits, RemuxOptions::default(), Limits::default())
    }

    /// A remuxer with these options and limits.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn with_options<'a>(
        inits: impl IntoIterator<Item = &'a [u8]>,
        options: RemuxOptions,
        limits: Limits,
    ) -> Result<Self, Error> {
        let tracks = parse_all(inits, &limits)?;
        let lane = |track: &SingleHeader<'_>| Lane {
            timescale: track.timescale,
            defaults: track.defaults,
            is_video: track.is_video,
            started: false,
            ended: false,
            silent: false,
            form: track.form(),
            run: 0,
            newest: 0,
            group: None,
            turn: 0,
            waiting: BTreeMap::new(),
            left: None,
            left_at: None,
        };
        Ok(Self {
            options,
            limits,
            header: header::merged_header(&tracks)?,
            lanes: tracks.iter().map(lane).collect(),
            shifts: BTreeMap::new(),
            sequence: 0,
            buffered: 0,
            since: Least::default(),
            dropped: 0,
        })
    }

    /// The header of the merged stream: `ftyp` and `moov`.
    pub fn header(&self) -> &Bytes {
        &self.header
    }

    /// How many fragments were dropped: before a track's first key frame, or too late.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether tracks with this initialization data, in this order, can go on in this stream: same
    /// kinds, codecs and time units. Dates and edit lists, which encoders make anew at each start,
    /// may differ.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn continues_with<'a>(
        &self,
        inits: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<bool, Error> {
        let tracks = parse_all(inits, &self.limits)?;
        let forms = tracks.iter().map(SingleHeader::form);
        Ok(forms.eq(self.lanes.iter().map(|lane| lane.form.clone())))
    }

    /// Adds an object of the track with this index and of the group with this number: one or more
    /// `moof` and `mdat` pairs. An index without a track is ignored.
    ///
    /// # Errors
    ///
    /// What is wrong with the object, which is then left out; [`Error::Undrained`] when fragments
    /// are not taken.
    pub fn push(
        &mut self,
        track: usize,
        group: u64,
        object: &Bytes,
        now: Instant,
    ) -> Result<(), Error> {
        if self.buffered > self.options.max_buffered.saturating_mul(2) {
            return Err(Error::Undrained {
                buffered: self.buffered,
            });
        }
        let chunks = chunks(object, &self.limits)?;
        let Some(lane) = self.lanes.get(track) else {
            return Ok(());
        };
        let head = |chunk: Chunk| {
            let moof = BoxRef::whole(&chunk.moof)?;
            let head = Head::parse(&moof, 0, lane.defaults, &self.limits)?;
            let waiting = Waiting {
                chunk,
                duration: head.duration,
                since: now,
            };
            Ok((head, waiting))
        };
        let fragments: Result<Vec<_>, Error> = chunks.into_iter().map(head).collect();
        for (head, waiting) in fragments? {
            self.add(track, group, &head, waiting);
        }
        Ok(())
    }

    fn add(&mut self, track: usize, group: u64, head: &Head, waiting: Waiting) {
        let newest_run = self.newest_run();
        let Some(lane) = self.lanes.get_mut(track) else {
            return;
        };
        lane.silent = false;
        // It may come back.
        lane.ended = false;
        lane.started |= head.keyframe || !lane.is_video;
        // A fragment without a decode time follows the one before it.
        let time = head.decode_time.unwrap_or(lane.newest);
        if !lane.started || head.samples == 0 {
            self.dropped += 1;
            return;
        }
        let leaps = lane
            .group
            .is_some_and(|newest| group > newest.saturating_add(1));
        let restart = if leaps { RESTART_IN_LEAP } else { RESTART };
        let back = MediaTime::new(lane.newest.saturating_sub(time), lane.timescale);
        // In a leap, a track also follows another one that started over before it.
        if back.to_duration() >= restart || (leaps && lane.run < newest_run) {
            self.start_over(track, time);
        }
        let Some(lane) = self.lanes.get_mut(track) else {
            return;
        };
        lane.newest = time;
        lane.group = Some(group);
        let late = lane
            .left
            .is_some_and(|((run, left, _), _)| (lane.run, time) < (run, left));
        if late {
            // What follows a key frame cannot be shown without it.
            lane.started &= !(lane.is_video && head.keyframe);
            self.dropped += 1;
            return;
        }
        lane.turn += 1;
        let place = (lane.run, time, lane.turn);
        self.buffered += waiting.bytes();
        self.since.insert(waiting.since);
        lane.waiting.insert(place, waiting);
    }

    /// The publisher's times went back on this track: go on after everything there is.
    fn start_over(&mut self, track: usize, time: u64) {
        let newest_run = self.newest_run();
        let ends = self.lanes.iter().filter_map(|lane| {
            let (run, end) = lane.end()?;
            Some(lane.nanoseconds(end) + shift(&self.shifts, run)?)
        });
        let end = ends.max();
        let Some(lane) = self.lanes.get_mut(track) else {
            return;
        };
        if lane.run < newest_run {
            // Another track brought the new run before.
            lane.run = newest_run;
        } else if let Some(end) = end {
            self.shifts
                .insert(newest_run + 1, end - lane.nanoseconds(time));
            lane.run = newest_run + 1;
            if self.shifts.len() > MAX_RUNS {
                self.shifts.pop_first();
            }
        } else {
            // Nothing has left yet, so the old run can be forgotten.
            let forgotten = std::mem::take(&mut lane.waiting);
            self.dropped += forgotten.len() as u64;
            for waiting in forgotten.values() {
                self.buffered -= waiting.bytes();
                self.since.remove(&waiting.since);
            }
        }
    }

    fn newest_run(&self) -> usize {
        self.shifts.last_key_value().map_or(0, |(run, _)| *run)
    }

    /// Says that no more comes on a track, so that nobody waits for it.
    pub fn end(&mut self, track: usize) {
        if let Some(lane) = self.lanes.get_mut(track) {
            lane.ended = true;
        }
    }

    /// When [`next_fragment`](Self::next_fragment) has to be called again even if nothing is
    /// pushed; `None` when nothing waits.
    pub fn deadline(&self) -> Option<Instant> {
        let oldest = self.since.get();
        oldest.map(|since| *since + self.options.max_wait)
    }

    /// The next piece of the stream, a `moof` with its `mdat`; `None` when one should wait.
    ///
    /// # Errors
    ///
    /// A fragment that cannot be rewritten, which is then left out.
    pub fn next_fragment(&mut self, now: Instant) -> Result<Option<Bytes>, Error> {
        let due = self.deadline().is_some_and(|deadline| deadline <= now);
        let full = self.buffered > self.options.max_buffered;
        let awaited = |lane: &&mut Lane| lane.waiting.is_empty() && !lane.ended && !lane.silent;
        for lane in self.lanes.iter_mut().filter(awaited) {
            if !due && !full {
                return Ok(None);
            }
            lane.silent = due;
        }
        self.find_origin();
        let Some(track) = self.first_lane() else {
            return Ok(None);
        };
        let Some(lane) = self.lanes.get_mut(track) else {
            return Ok(None);
        };
        let Some((place, waiting)) = lane.waiting.pop_first() else {
            return Ok(None);
        };
        self.buffered -= waiting.bytes();
        self.since.remove(&waiting.since);
        self.sequence = self.sequence.wrapping_add(1);
        let (run, time, _) = place;
        let shift = shift(&self.shifts, run).unwrap_or(0);
        lane.left = Some((place, waiting.duration));
        let earliest = lane.left_at.map_or(0, |left_at| left_at.saturating_add(1));
        let decode_time = lane.shifted(time, shift).max(earliest);
        lane.left_at = Some(decode_time);
        let change = Rewrite {
            sequence: self.sequence,
            track_id: u32::try_from(track).unwrap_or(u32::MAX).saturating_add(1),
            decode_time,
            moof_position: 0,
            gap: waiting.chunk.gap,
        };
        let moof = BoxRef::whole(&waiting.chunk.moof)?;
        let mut out = fragment::rewrite(&moof, &change)?;
        out.extend_from_slice(&waiting.chunk.mdat);
        Ok(Some(out.into()))
    }

    /// Settles where the stream's time starts, once there is something to start with.
    fn find_origin(&mut self) {
        if !self.shifts.is_empty() {
            return;
        }
        let firsts = self.lanes.iter().filter_map(|lane| {
            let ((_, time, _), _) = lane.waiting.first_key_value()?;
            Some(lane.nanoseconds(*time))
        });
        if let Some(first) = firsts.min() {
            let shift = if self.options.start_at_zero {
                -first
            } else {
                0
            };
            self.shifts.insert(0, shift);
        }
    }

    /// The lane whose first fragment comes next in decode order.
    fn first_lane(&self) -> Option<usize> {
        let firsts = self.lanes.iter().enumerate().filter_map(|(index, lane)| {
            let ((run, time, _), _) = lane.waiting.first_key_value()?;
            let shift = shift(&self.shifts, *run).unwrap_or(0);
            Some((lane.nanoseconds(*time) + shift, index))
        });
        firsts.min().map(|(_, index)| index)
    }
}

/// What is added to the times of a run; one that was forgotten is taken for the oldest that is known.
fn shift(shifts: &BTreeMap<usize, i128>, run: usize) -> Option<i128> {
    shifts.range(run..).next().map(|(_, shift)| *shift)
}

fn parse_all<'a>(
    inits: impl IntoIterator<Item = &'a [u8]>,
    limits: &Limits,
) -> Result<Vec<SingleHeader<'a>>, Error> {
    let mut tracks = Vec::new();
    for init in inits {
        let size = init.len() as u64;
        let what = "the size of initialization data";
        Error::check(what, size, "max_header", limits.max_header)?;
        tracks.push(SingleHeader::parse(init)?);
        let count = tracks.len() as u64;
        let what = "the number of tracks";
        Error::check(what, count, "max_tracks", limits.max_tracks as u64)?;
    }
    Ok(tracks)
}

/// The `moof`s of an object's payload, each with the `mdat` that follows it. Other boxes between
/// them are left out, and not held in memory when they are most of the object.
fn chunks(object: &Bytes, limits: &Limits) -> Result<Vec<Chunk>, Error> {
    let mut chunks = Vec::new();
    let mut moof: Option<Bytes> = None;
    let mut gap = 0;
    let mut rest = object.clone();
    while !rest.is_empty() {
        let Some(head) = Header::parse(&rest)? else {
            return Err(Error::malformed("an object ends inside a box head"));
        };
        let total = usize::try_from(head.total.unwrap_or(rest.len() as u64));
        let total = total
            .ok()
            .filter(|total| *total <= rest.len())
            .ok_or_else(|| {
                let kind = FourCc(head.kind);
                Error::malformed(format!("an object ends inside its `{kind}` box"))
            })?;
        let whole = rest.split_to(total);
        match &head.kind {
            b"moof" => {
                let size = total as u64;
                Error::check("the size of a `moof`", size, "max_moof", limits.max_moof)?;
                moof = Some(whole);
                gap = 0;
            }
            b"mdat" if head.total.is_none() => {
                let why = "an `mdat` without a length, which would swallow all after it";
                return Err(Error::malformed(why));
            }
            b"mdat" => {
                if let Some(moof) = moof.take() {
                    chunks.push(Chunk {
                        moof,
                        mdat: whole,
                        gap,
                    });
                }
            }
            _ => gap = gap.saturating_add(total),
        }
    }
    if moof.is_some() {
        return Err(Error::malformed("a `moof` without the `mdat` it describes"));
    }
    let used: usize = chunks.iter().map(Chunk::bytes).sum();
    if used < object.len() / 2 {
        for chunk in &mut chunks {
            chunk.moof = Bytes::copy_from_slice(&chunk.moof);
            chunk.mdat = Bytes::copy_from_slice(&chunk.mdat);
        }
    }
    Ok(chunks)
}
