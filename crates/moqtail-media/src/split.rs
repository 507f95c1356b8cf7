//! Splitting a movie fragment before its key frames, so that each of them can start a group.

use std::collections::VecDeque;

use bytes::Bytes;
use mp4_atom::{Tfdt, Tfhd, Trun, TrunEntry};

use crate::boxes::{BoxRef, copy_box};
use crate::error::Error;
use crate::fragment::{Fragment, only_traf, write_fragment};
use crate::limits::Limits;
use crate::run::{Defaults, Entry, Runs};

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
    /// The parts of a fragment of a track with these defaults; `None` where boxes tell something of
    /// each sample that would have to be split too, as those of encryption do.
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
            let mut at = usize::try_from(run.start).unwrap_or(usize::MAX);
            for entry in run.entries() {
                samples.push_back(Placed { entry, at });
                at = at.saturating_add(entry.size as usize);
            }
        }
        let mut others = Vec::new();
        for child in moof.children() {
            let child = child?;
            if !matches!(&child.kind, b"mfhd" | b"traf") {
                copy_box(&mut others, &child)?;
            }
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
        let Some(first) = self.samples.front() else {
            return Ok(None);
        };
        let keyframe = first.entry.is_sync();
        let first_offset = first.entry.offset;
        let mut was_sync = true;
        let (mut entries, mut media) = (Vec::new(), Vec::new());
        while let Some(Placed { entry, at }) = self
            .samples
            .pop_front_if(|next| was_sync || !next.entry.is_sync())
        {
            was_sync = entry.is_sync();
            let sample = self
                .raw
                .get(at..at.saturating_add(entry.size as usize))
                .ok_or_else(|| Error::malformed("a sample lies outside its fragment"))?;
            media.extend_from_slice(sample);
            entries.push(entry);
        }
        let durations = entries.iter().map(|entry| u64::from(entry.duration));
        let fragment = Fragment {
            track_id: self.tfhd.track_id,
            data: self.write(&entries, &media)?,
            keyframe,
            decode_time: self.decode_time,
            presentation_time: i64::try_from(self.decode_time)
                .unwrap_or(i64::MAX)
                .saturating_add(first_offset),
            duration: durations.fold(0, u64::saturating_add),
            samples: u32::try_from(entries.len()).unwrap_or(u32::MAX),
            even: entries
                .windows(2)
                .all(|pair| pair.first().map(|e| e.duration) == pair.last().map(|e| e.duration)),
        };
        self.decode_time = fragment.end_time();
        Ok(Some(fragment))
    }

    fn write(&self, entries: &[Entry], media: &[u8]) -> Result<Bytes, Error> {
        let moved = entries.iter().any(|entry| entry.offset != 0);
        let entry = |entry: &Entry| TrunEntry {
            duration: Some(entry.duration),
            size: Some(entry.size),
            flags: Some(entry.flags),
            cts: moved.then_some(entry.offset),
        };
        let trun = Trun {
            data_offset: Some(0),
            samples: entries.iter().map(entry).collect::<Vec<_>>().into(),
        };
        let tfdt = Tfdt {
            base_media_decode_time: self.decode_time,
        };
        write_fragment(0, &self.tfhd, &tfdt, trun, &self.others, media)
    }
}
