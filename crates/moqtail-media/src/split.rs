//! Splitting a movie fragment before its key frames, so that each of them can start a group.

use std::collections::VecDeque;

use bytes::Bytes;
use mp4_atom::{Tfdt, Tfhd, Trun, TrunEntry};

use crate::boxes::{BoxRef, copy_box};
use crate::error::Error;
use crate::fragment::{Fragment, only_traf, write_fragment};
use crate::limits::Limits;
use crate::run::{Defaults, Entry, Runs};

/// Bytes of a fragment for each of its parts, on average, below which it stays whole: no real video has so little
/// between two key frames, and each part takes a few hundred bytes.
const MIN_PART: usize = 256;
/// Splits of a fragment however small it is.
const ANY_SPLITS: usize = 4;

/// The parts of one fragment. Each begins with a key frame, but for the first, which begins as the
/// fragment did. Key frames in a row stay together.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The fragment as it came.
    raw: Bytes,
    samples: VecDeque<Placed>,
    tfhd: Tfhd,
    /// Boxes of the `moof` beside `mfhd` and `traf`.
    others: Vec<u8>,
    decode_time: u64,
}

/// A sample, and where it lies in the fragment.
#[derive(Debug)]
struct Placed {
    entry: Entry,
    at: usize,
}

impl Parts {
    /// The parts of a fragment of a track with these defaults; `None` where it had better stay whole: boxes tell
    /// something of each sample that would have to be split too, as those of encryption do, or samples or parts
    /// are more than its bytes can be for.
    pub(crate) fn of(
        raw: &Bytes,
        moof_position: u64,
        defaults: Defaults,
        decode_time: u64,
        limits: &Limits,
    ) -> Result<Option<Self>, Error> {
        let moof = BoxRef::whole(raw)?;
        let traf = only_traf(&moof)?;
        for child in traf.children() {
            if !matches!(
                &child?.kind,
                b"tfhd" | b"tfdt" | b"trun" | b"free" | b"skip"
            ) {
                return Ok(None);
            }
        }
        let tfhd: Tfhd = traf.need(b"tfhd")?.decode()?;
        let mut samples = VecDeque::new();
        for run in Runs::new(&traf, &tfhd, defaults, moof_position, limits) {
            let run = run?;
            if run.is_free() || (run.bytes() > 0 && !run.is_placed) {
                return Ok(None);
            }
            let mut at = usize::try_from(run.start).unwrap_or(usize::MAX);
            samples.extend(run.entries().map(|entry| {
                let placed = Placed { entry, at };
                at = at.saturating_add(entry.size as usize);
                placed
            }));
        }
        let mut others = Vec::new();
        for child in moof.children() {
            let child = child?;
            if !matches!(&child.kind, b"mfhd" | b"traf" | b"free" | b"skip") {
                copy_box(&mut others, &child)?;
            }
        }
        let pairs = samples.iter().zip(samples.iter().skip(1));
        let cuts = pairs.filter(|(before, next): &(&Placed, &Placed)| {
            next.entry.is_sync() && !before.entry.is_sync()
        });
        // Each part repeats what stands beside the track.
        let part = MIN_PART + others.len();
        if cuts.count().saturating_sub(ANY_SPLITS) > raw.len() / part {
            return Ok(None);
        }
        Ok(Some(Self {
            raw: raw.clone(),
            samples,
            tfhd: Tfhd {
                track_id: tfhd.track_id,
                sample_description_index: tfhd.sample_description_index,
                default_base_is_moof: true,
                ..Default::default()
            },
            others,
            decode_time,
        }))
    }

    /// The next part; `None` after the last one.
    pub(crate) fn next_part(&mut self) -> Result<Option<Fragment>, Error> {
        let Some(first) = self.samples.front().map(|first| first.entry) else {
            return Ok(None);
        };
        let mut was_sync = true;
        let goes_on = |next: &&Placed| {
            let goes_on = was_sync || !next.entry.is_sync();
            was_sync = next.entry.is_sync();
            goes_on
        };
        let count = self.samples.iter().take_while(goes_on).count();
        let samples = || self.samples.iter().take(count);
        let durations = samples().map(|sample| u64::from(sample.entry.duration));
        let fragment = Fragment {
            track_id: self.tfhd.track_id,
            data: self.write(samples)?,
            keyframe: first.is_sync(),
            decode_time: self.decode_time,
            presentation_time: i64::try_from(self.decode_time)
                .unwrap_or(i64::MAX)
                .saturating_add(first.offset),
            duration: durations.fold(0, u64::saturating_add),
            samples: u32::try_from(count).unwrap_or(u32::MAX),
            even: samples().all(|sample| sample.entry.duration == first.duration),
        };
        self.samples.drain(..count);
        self.decode_time = fragment.end_time();
        Ok(Some(fragment))
    }

    fn write<'a, S>(&'a self, samples: impl Fn() -> S) -> Result<Bytes, Error>
    where
        S: Iterator<Item = &'a Placed>,
    {
        let moved = samples().any(|sample| sample.entry.offset != 0);
        let entry = |Placed { entry, .. }: &Placed| TrunEntry {
            duration: Some(entry.duration),
            size: Some(entry.size),
            flags: Some(entry.flags),
            cts: moved.then_some(entry.offset),
        };
        let trun = Trun {
            data_offset: Some(0),
            samples: samples().map(entry).collect::<Vec<_>>().into(),
        };
        let tfdt = Tfdt {
            base_media_decode_time: self.decode_time,
        };
        let mut media = Vec::new();
        for Placed { entry, at } in samples() {
            let size = entry.size as usize;
            let sample = match size {
                0 => Some(&[][..]),
                _ => self.raw.get(*at..at.saturating_add(size)),
            };
            let outside = || Error::malformed("a sample lies outside its fragment");
            media.extend_from_slice(sample.ok_or_else(outside)?);
        }
        write_fragment(0, &self.tfhd, &tfdt, trun, &self.others, &media)
    }
}
