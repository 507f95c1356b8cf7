//! Movie fragments: what a `moof` says, and writing it anew.

use bytes::Bytes;
use mp4_atom::{Mfhd, Tfdt, Tfhd, Trun, TrunEntry};

use crate::boxes::{BoxRef, copy_box, write_atom, write_box};
use crate::error::{Error, TrackList, Unsuitable};
use crate::limits::Limits;
use crate::run::{DELTA_FLAGS, Defaults, KEY_FLAGS, Run, Runs};

/// `data-offset-present` in the flags of a `trun`.
const TRUN_DATA_OFFSET: u32 = 1;

/// One movie fragment of one track: a CMAF chunk, the payload of one MOQT object (CMSF-00 §3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fragment {
    /// The track it belongs to.
    pub track_id: u32,
    /// One `moof` and one `mdat`.
    pub data: Bytes,
    /// Whether it starts with a sync sample, so that a decoder can start here. Always true for
    /// audio.
    pub keyframe: bool,
    /// Decode time of the first sample, in units of the track's timescale.
    pub decode_time: u64,
    /// Presentation time of the first sample in the same units; negative only where an encoder's
    /// priming comes before the start.
    pub presentation_time: i64,
    /// Sum of the sample durations, in the same units.
    pub duration: u64,
    /// Number of samples.
    pub samples: u32,
    /// Whether all samples last equally long.
    pub even: bool,
}

impl Fragment {
    /// Decode time after the last sample, in units of the track's timescale.
    pub fn end_time(&self) -> u64 {
        self.decode_time.saturating_add(self.duration)
    }
}

/// What a `moof` with one track says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) track_id: u32,
    /// `None` when there is no `tfdt`.
    pub(crate) decode_time: Option<u64>,
    pub(crate) keyframe: bool,
    /// Whether a key frame comes behind other frames.
    pub(crate) later_keyframe: bool,
    pub(crate) first_offset: i64,
    pub(crate) duration: u64,
    pub(crate) samples: u32,
    pub(crate) even: bool,
    /// Media is addressed from the `moof` itself, as CMAF wants, and not from the file.
    pub(crate) self_contained: bool,
    /// From where to where its media lies, seen from the start of the `moof`; `None` when it has none.
    pub(crate) media: Option<(i128, i128)>,
    ends_in_sync: bool,
}

/// The track ids of a `moof`, one per `traf`.
pub(crate) fn track_ids(moof: &BoxRef<'_>) -> Result<Vec<u32>, Error> {
    let mut ids = Vec::new();
    for child in moof.children() {
        let child = child?;
        if child.kind == *b"traf" {
            let tfhd: Tfhd = child.need(b"tfhd")?.decode()?;
            ids.push(tfhd.track_id);
        }
    }
    Ok(ids)
}

impl Head {
    /// Reads a `moof` at this position of its file, whose track has these sample defaults.
    pub(crate) fn parse(
        moof: &BoxRef<'_>,
        moof_position: u64,
        defaults: Defaults,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let traf = only_traf(moof)?;
        let tfhd: Tfhd = traf.need(b"tfhd")?.decode()?;
        let decode_time = match traf.find(b"tfdt")? {
            Some(tfdt) => Some(tfdt.decode::<Tfdt>()?.base_media_decode_time),
            None => None,
        };
        let mut head = Self {
            track_id: tfhd.track_id,
            decode_time,
            keyframe: false,
            later_keyframe: false,
            first_offset: 0,
            duration: 0,
            samples: 0,
            even: true,
            self_contained: tfhd.base_data_offset.is_none(),
            media: None,
            ends_in_sync: false,
        };
        let mut first_duration = None;
        for run in Runs::new(&traf, &tfhd, defaults, moof_position, limits) {
            head.add(&run?, &mut first_duration);
        }
        Ok(head)
    }

    fn add(&mut self, run: &Run, first_duration: &mut Option<u32>) {
        for (count, sample) in run.stretches() {
            let sync = sample.is_sync();
            if self.samples == 0 {
                self.keyframe = sync;
                self.first_offset = sample.offset;
            } else {
                self.later_keyframe |= sync && !self.ends_in_sync;
            }
            self.ends_in_sync = sync;
            self.even &= *first_duration.get_or_insert(sample.duration) == sample.duration;
            let duration = u64::from(count) * u64::from(sample.duration);
            self.duration = self.duration.saturating_add(duration);
            self.samples = self.samples.saturating_add(count);
        }
        let bytes = run.bytes();
        if bytes > 0 && run.is_placed {
            let end = run.start + i128::from(bytes);
            let (from, to) = self.media.unwrap_or((run.start, end));
            self.media = Some((from.min(run.start), to.max(end)));
        }
    }

    /// The fragment, given its bytes and its decode time.
    pub(crate) fn with_data(&self, data: Bytes, decode_time: u64) -> Fragment {
        let start = i64::try_from(decode_time).unwrap_or(i64::MAX);
        Fragment {
            track_id: self.track_id,
            data,
            keyframe: self.keyframe,
            decode_time,
            presentation_time: start.saturating_add(self.first_offset),
            duration: self.duration,
            samples: self.samples,
            even: self.even,
        }
    }
}

pub(crate) fn only_traf<'a>(moof: &BoxRef<'a>) -> Result<BoxRef<'a>, Error> {
    let mut found = None;
    for child in moof.children() {
        let child = child?;
        if child.kind == *b"traf" && found.replace(child).is_some() {
            return Err(Unsuitable::MixedTracks(TrackList(track_ids(moof)?)).into());
        }
    }
    found.ok_or_else(|| Error::malformed("`moof` has no `traf`"))
}

/// What to change when a `moof` is written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rewrite {
    pub(crate) sequence: u32,
    pub(crate) track_id: u32,
    pub(crate) decode_time: u64,
    /// Position of the `moof` in the space its base data offset counts in; needed only for
    /// fragments that are not self-contained.
    pub(crate) moof_position: u64,
    /// Bytes between the `moof` and its `mdat` that are left out.
    pub(crate) gap: usize,
}

/// Writes a `moof` with new numbers, addressed from itself. All other boxes are kept.
pub(crate) fn rewrite(moof: &BoxRef<'_>, change: &Rewrite) -> Result<Vec<u8>, Error> {
    let traf = only_traf(moof)?;
    let mut tfhd: Tfhd = traf.need(b"tfhd")?.decode()?;
    // Where the old offsets count from, seen from the start of the old `moof`.
    let base = tfhd
        .base_data_offset
        .take()
        .map(|base| i128::from(base) - i128::from(change.moof_position));
    tfhd.track_id = change.track_id;
    tfhd.default_base_is_moof = true;
    let tfdt = Tfdt {
        base_media_decode_time: change.decode_time,
    };
    let write = |shift: i128| -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        write_box(&mut out, b"moof", |out| {
            write_atom(
                out,
                &Mfhd {
                    sequence_number: change.sequence,
                },
            )?;
            for child in moof.children() {
                let child = child?;
                match &child.kind {
                    b"mfhd" => {}
                    b"traf" => write_box(out, b"traf", |out| {
                        write_atom(out, &tfhd)?;
                        write_atom(out, &tfdt)?;
                        copy_rest(out, &traf, shift, base.is_some())
                    })?,
                    _ => copy_box(out, &child)?,
                }
            }
            Ok(())
        })?;
        Ok(out)
    };
    // The media follows the `moof`, so its offset grows by what the `moof` grows.
    let growth = write(0)?.len() as i128 - moof.raw.len() as i128;
    write(base.unwrap_or(0) + growth - change.gap as i128)
}

/// Copies the boxes of a `traf` that are not rewritten, moving each run's data offset. `had_base`: the first run
/// started at a base that is gone, if it does not say where.
fn copy_rest(
    out: &mut Vec<u8>,
    traf: &BoxRef<'_>,
    shift: i128,
    had_base: bool,
) -> Result<(), Error> {
    let mut is_first = true;
    for child in traf.children() {
        let child = child?;
        match &child.kind {
            b"tfhd" | b"tfdt" => {}
            b"trun" => {
                let mut body = child.body.to_vec();
                if had_base && is_first {
                    add_data_offset(&mut body);
                }
                is_first = false;
                move_data_offset(&mut body, shift)?;
                write_box(out, b"trun", |out| {
                    out.extend_from_slice(&body);
                    Ok(())
                })?;
            }
            b"saio" if shift != 0 => {
                let why = "an encrypted fragment would need its `saio` offsets moved";
                return Err(Error::malformed(why));
            }
            _ => copy_box(out, &child)?,
        }
    }
    Ok(())
}

/// Gives the body of a `trun` a data offset of 0 where it has none.
fn add_data_offset(trun: &mut Vec<u8>) {
    let flags = trun_flags(trun) | TRUN_DATA_OFFSET;
    if trun_flags(trun) != flags && trun.len() >= 8 {
        trun.splice(..4, flags.to_be_bytes());
        trun.splice(8..8, [0; 4]);
    }
}

/// Version and flags, with which the body of a `trun` starts.
fn trun_flags(trun: &[u8]) -> u32 {
    trun.first_chunk::<4>()
        .map_or(0, |word| u32::from_be_bytes(*word))
}

/// Moves the data offset in the body of a `trun`, where it has one.
fn move_data_offset(trun: &mut [u8], shift: i128) -> Result<(), Error> {
    let flags = trun_flags(trun);
    let field = trun
        .get_mut(8..12)
        .and_then(|field| <&mut [u8; 4]>::try_from(field).ok());
    if let (Some(field), true) = (field, flags & TRUN_DATA_OFFSET != 0) {
        let moved = i128::from(i32::from_be_bytes(*field)) + shift;
        let moved = i32::try_from(moved)
            .map_err(|_| Error::malformed("a `trun` points outside its fragment"))?;
        *field = moved.to_be_bytes();
    }
    Ok(())
}

/// One sample to be written as a fragment of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) track_id: u32,
    pub(crate) sequence: u32,
    /// Number of its sample entry, from 1.
    pub(crate) description: u32,
    pub(crate) decode_time: u64,
    pub(crate) duration: u32,
    pub(crate) offset: i32,
    pub(crate) keyframe: bool,
}

/// Writes a sample as `moof` and `mdat`.
pub(crate) fn write_sample(sample: &Sample, media: &[u8]) -> Result<Bytes, Error> {
    let size = u32::try_from(media.len()).map_err(|_| Error::malformed("a sample over 4 GiB"))?;
    let entry = TrunEntry {
        duration: Some(sample.duration),
        size: Some(size),
        flags: Some(if sample.keyframe {
            KEY_FLAGS
        } else {
            DELTA_FLAGS
        }),
        cts: (sample.offset != 0).then_some(sample.offset.into()),
    };
    let tfhd = Tfhd {
        track_id: sample.track_id,
        // The headers of files say 1 for all samples.
        sample_description_index: (sample.description != 1).then_some(sample.description),
        default_base_is_moof: true,
        ..Default::default()
    };
    let tfdt = Tfdt {
        base_media_decode_time: sample.decode_time,
    };
    let trun = Trun {
        data_offset: Some(0),
        samples: vec![entry].into(),
    };
    write_fragment(sample.sequence, &tfhd, &tfdt, trun, &[], media)
}

/// Writes one run as `moof`, with other boxes of it, and `mdat`.
pub(crate) fn write_fragment(
    sequence: u32,
    tfhd: &Tfhd,
    tfdt: &Tfdt,
    mut trun: Trun,
    others: &[u8],
    media: &[u8],
) -> Result<Bytes, Error> {
    let write = |trun: &Trun| -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        write_box(&mut out, b"moof", |out| {
            let sequence_number = sequence;
            write_atom(out, &Mfhd { sequence_number })?;
            write_box(out, b"traf", |out| {
                write_atom(out, tfhd)?;
                write_atom(out, tfdt)?;
                write_atom(out, trun)
            })?;
            out.extend_from_slice(others);
            Ok(())
        })?;
        Ok(out)
    };
    let moof_len = write(&trun)?.len();
    trun.data_offset = Some(i32::try_from(moof_len + 8).unwrap_or(i32::MAX));
    let mut out = write(&trun)?;
    write_box(&mut out, b"mdat", |out| {
        out.extend_from_slice(media);
        Ok(())
    })?;
    Ok(out.into())
}
