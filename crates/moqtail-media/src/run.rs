//! The runs (`trun`) of a movie fragment: its samples, what their flags say, and where they lie.

use mp4_atom::{Tfhd, Trex, Trun, TrunEntry, TrunSamples};

use crate::boxes::{BoxRef, Children};
use crate::error::Error;
use crate::limits::Limits;

/// `sample_is_non_sync_sample` in sample flags (ISO/IEC 14496-12 §8.8.3.1).
const NON_SYNC: u32 = 0x0001_0000;
/// `sample_depends_on` is 1: the sample cannot be decoded without others. Some muxers say it only so.
const DEPENDS: u32 = 0x0100_0000;
/// Sample flags of a key frame: depends on no other, is a sync sample.
pub(crate) const KEY_FLAGS: u32 = 0x0200_0000;
/// Sample flags of any other frame: depends on others, is no sync sample.
pub(crate) const DELTA_FLAGS: u32 = 0x0101_0000;

/// The sample defaults of a track in a fragmented stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Defaults {
    /// Number of the sample entry, from 1.
    pub(crate) description: u32,
    pub(crate) duration: u32,
    pub(crate) size: u32,
    pub(crate) flags: u32,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            description: 1,
            duration: 0,
            size: 0,
            flags: 0,
        }
    }
}

impl From<Trex> for Defaults {
    fn from(trex: Trex) -> Self {
        Self {
            // Entries count from 1; some muxers leave 0.
            description: trex.default_sample_description_index.max(1),
            duration: trex.default_sample_duration,
            size: trex.default_sample_size,
            flags: trex.default_sample_flags,
        }
    }
}

/// One sample, with the defaults for what its run does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) duration: u32,
    pub(crate) size: u32,
    pub(crate) flags: u32,
    /// Presentation minus decode time.
    pub(crate) offset: i64,
}

impl Entry {
    fn new(entry: TrunEntry, defaults: &Defaults) -> Self {
        Self {
            duration: entry.duration.unwrap_or(defaults.duration),
            size: entry.size.unwrap_or(defaults.size),
            flags: entry.flags.unwrap_or(defaults.flags),
            // Signed in version 1 and, though it says otherwise, in version 0 as QuickTime writes it.
            offset: (entry.cts.unwrap_or(0) as i32).into(),
        }
    }

    /// Whether a decoder can start here.
    pub(crate) fn is_sync(&self) -> bool {
        self.flags & (NON_SYNC | DEPENDS) == 0
    }
}

/// One `trun`.
#[derive(Debug)]
pub(crate) struct Run {
    /// Where its media starts, seen from the start of the `moof`.
    pub(crate) start: i128,
    /// The fragment tells that. Some muxers rely on there being one `mdat`.
    pub(crate) is_placed: bool,
    samples: TrunSamples,
    defaults: Defaults,
}

impl Run {
    /// The samples in order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> {
        let entry = |entry| Entry::new(entry, &self.defaults);
        self.samples.iter().map(entry)
    }

    /// Whether it lists samples that take none of its bytes, so that there may be any number of them.
    pub(crate) fn is_free(&self) -> bool {
        matches!(self.samples, TrunSamples::Inherited { count, .. } if count > 1)
    }

    /// The samples in order, as many as are sure to be alike at once: a run may list a thousand in no bytes.
    pub(crate) fn stretches(&self) -> impl Iterator<Item = (u32, Entry)> {
        let (listed, alike) = match &self.samples {
            TrunSamples::Inherited { count, .. } => (1, count.saturating_sub(1)),
            TrunSamples::Explicit(entries) => (entries.len(), 0),
        };
        let rest = Entry::new(TrunEntry::default(), &self.defaults);
        let listed = self.entries().take(listed).map(|entry| (1, entry));
        listed.chain((alike > 0).then_some((alike, rest)))
    }

    /// Bytes of media.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = |(count, entry): (u32, Entry)| u64::from(count) * u64::from(entry.size);
        self.stretches().map(bytes).fold(0, u64::saturating_add)
    }
}

/// Walks over the runs of a `traf`.
#[derive(Debug)]
pub(crate) struct Runs<'a> {
    children: Children<'a>,
    /// What data offsets count from, and where a run without one starts, seen from the `moof`.
    base: i128,
    next: i128,
    is_placed: bool,
    defaults: Defaults,
    samples: u64,
    limit: u64,
}

impl<'a> Runs<'a> {
    /// The runs of a `traf` whose track has these defaults, in a `moof` at this position of the file.
    pub(crate) fn new(
        traf: &BoxRef<'a>,
        tfhd: &Tfhd,
        defaults: Defaults,
        moof_position: u64,
        limits: &Limits,
    ) -> Self {
        let base = tfhd
            .base_data_offset
            .map_or(0, |base| i128::from(base) - i128::from(moof_position));
        Self {
            children: traf.children(),
            base,
            next: base,
            is_placed: tfhd.base_data_offset.is_some(),
            defaults: Defaults {
                duration: tfhd.default_sample_duration.unwrap_or(defaults.duration),
                size: tfhd.default_sample_size.unwrap_or(defaults.size),
                flags: tfhd.default_sample_flags.unwrap_or(defaults.flags),
                ..defaults
            },
            samples: 0,
            limit: limits.max_fragment_samples as u64,
        }
    }

    fn read(&mut self, trun: &BoxRef<'_>) -> Result<Run, Error> {
        // Version and flags come first. A decoded sample takes ten times its bytes, so the count is looked at before.
        let count = trun.body.get(4..).and_then(|rest| rest.first_chunk::<4>());
        let count = count.map_or(0, |count| u64::from(u32::from_be_bytes(*count)));
        self.samples = self.samples.saturating_add(count);
        let what = "the number of samples in a fragment";
        Error::check(what, self.samples, "max_fragment_samples", self.limit)?;
        let trun: Trun = trun.decode()?;
        self.is_placed |= trun.data_offset.is_some();
        let run = Run {
            is_placed: self.is_placed,
            start: trun
                .data_offset
                .map_or(self.next, |offset| self.base + i128::from(offset)),
            samples: trun.samples,
            defaults: self.defaults,
        };
        self.next = run.start + i128::from(run.bytes());
        Ok(run)
    }
}

impl Iterator for Runs<'_> {
    type Item = Result<Run, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let child = match self.children.next()? {
                Ok(child) => child,
                Err(error) => return Some(Err(error)),
            };
            if child.kind == *b"trun" {
                return Some(self.read(&child));
            }
        }
    }
}
