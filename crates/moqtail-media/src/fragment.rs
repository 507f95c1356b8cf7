//! Movie fragments: what a `moof` says, and writing it anew.

use bytes::Bytes;
use mp4_atom::{Mfhd, Tfdt, Tfhd, Trex, Trun, TrunEntry};

use crate::boxes::{BoxRef, copy_box, write_atom, write_box};
use crate::error::{Error, TrackList, Unsuitable};
use crate::limits::Limits;

/// `sample_is_non_sync_sample` in sample flags (ISO/IEC 14496-12 §8.8.3.1).
const NON_SYNC: u32 = 0x0001_0000;
/// Sample flags of a key frame: depends on no other, is a sync sample.
pub(crate) const KEY_FLAGS: u32 = 0x0200_0000;
/// Sample flags of any other frame: depends on others, is no sync sample.
pub(crate) const DELTA_FLAGS: u32 = 0x0101_0000;
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

/// The sample defaults of a track in a fragmented stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Defaults {
    pub(crate) duration: u32,
    pub(crate) size: u32,
    pub(crate) flags: u32,
}

impl From<Trex> for Defaults {
    fn from(trex: Trex) -> Self {
        Self {
            duration: trex.default_sample_duration,
            size: trex.default_sample_size,
            flags: trex.default_sample_flags,
        }
    }
}

/// What a `moof` with one track says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) track_id: u32,
    /// `None` when there is no `tfdt`.
    pub(crate) decode_time: Option<u64>,
    pub(crate) keyframe: bool,
    pub(crate) first_offset: i64,
    pub(crate) duration: u64,
    pub(crate) samples: u32,
    pub(crate) even: bool,
    /// Media is addressed from the `moof` itself, as CMAF wants, and not from the file.
    pub(crate) self_contained: bool,
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
    /// Reads a `moof` whose track has these sample defaults.
    pub(crate) fn parse(
        moof: &BoxRef<'_>,
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
            first_offset: 0,
            duration: 0,
            samples: 0,
            even: true,
            self_contained: tfhd.base_data_offset.is_none(),
        };
        let default_duration = tfhd.default_sample_duration.unwrap_or(defaults.duration);
        let default_flags = tfhd.default_sample_flags.unwrap_or(defaults.flags);
        let mut first_duration = None;
        for child in traf.children() {
            let child = child?;
            if child.kind != *b"trun" {
                continue;
            }
            let trun: Trun = child.decode()?;
            let samples = (head.samples as usize).saturating_add(trun.samples.len());
            let limit = limits.max_fragment_samples as u64;
            let what = "the number of samples in a fragment";
            Error::check(what, samples as u64, "max_fragment_samples", limit)?;
            for sample in &trun.samples {
                let duration = sample.duration.unwrap_or(default_duration);
                if head.samples == 0 {
                    head.keyframe = sample.flags.unwrap_or(default_flags) & NON_SYNC == 0;
                    head.first_offset = sample.cts.unwrap_or(0);
                }
                head.even &= *first_duration.get_or_insert(duration) == duration;
                head.duration += u64::from(duration);
                head.samples += 1;
            }
        }
        Ok(head)
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

fn only_traf<'a>(moof: &BoxRef<'a>) -> Result<BoxRef<'a>, Error> {
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
}

/// Writes a `moof` with new numbers, addressed from itself. All other boxes are kept.
pub(crate) fn rewrite(moof: &BoxRef<'_>, change: &Rewrite) -> Result<Vec<u8>, Error> {
    let traf = only_traf(moof)?;
    let mut tfhd: Tfhd = traf.need(b"tfhd")?.decode()?;
    // Where the old offsets count from, seen from the start of the old `moof`.
    let base = match tfhd.base_data_offset.take() {
        Some(base) => i128::from(base) - i128::from(change.moof_position),
        None => 0,
    };
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
            write_box(out, b"traf", |out| {
                write_atom(out, &tfhd)?;
                write_atom(out, &tfdt)?;
                copy_rest(out, &traf, shift)
            })
        })?;
        Ok(out)
    };
    // The media follows the `moof`, so its offset grows by what the `moof` grows.
    let growth = write(0)?.len() as i128 - moof.raw.len() as i128;
    write(base + growth)
}

/// Copies the boxes of a `traf` that are not rewritten, moving each run's data offset.
fn copy_rest(out: &mut Vec<u8>, traf: &BoxRef<'_>, shift: i128) -> Result<(), Error> {
    for child in traf.children() {
        let child = child?;
        match &child.kind {
            b"tfhd" | b"tfdt" => {}
            b"trun" => {
                copy_box(out, &child)?;
                let start = out.len() - child.body.len();
                move_data_offset(out.get_mut(start..).unwrap_or_default(), shift)?;
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

/// Moves the data offset in the body of a `trun`, where it has one.
fn move_data_offset(trun: &mut [u8], shift: i128) -> Result<(), Error> {
    let flags = trun
        .first_chunk::<4>()
        .map_or(0, |word| u32::from_be_bytes(*word));
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
        default_base_is_moof: true,
        ..Default::default()
    };
    let write = |data_offset: i32| -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        write_box(&mut out, b"moof", |out| {
            write_atom(
                out,
                &Mfhd {
                    sequence_number: sample.sequence,
                },
            )?;
            write_box(out, b"traf", |out| {
                write_atom(out, &tfhd)?;
                write_atom(
                    out,
                    &Tfdt {
                        base_media_decode_time: sample.decode_time,
                    },
                )?;
                let trun = Trun {
                    data_offset: Some(data_offset),
                    samples: vec![entry].into(),
                };
                write_atom(out, &trun)
            })
        })?;
        Ok(out)
    };
    let moof_len = write(0)?.len();
    let mut out = write(i32::try_from(moof_len + 8).unwrap_or(i32::MAX))?;
    write_box(&mut out, b"mdat", |out| {
        out.extend_from_slice(media);
        Ok(())
    })?;
    Ok(out.into())
}
