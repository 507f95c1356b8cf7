//! The sample tables of an ordinary MP4 file: where each sample lies and when it is due.

use mp4_atom::{Co64, Ctts, Elst, Stco, Stsc, Stss, Stsz, StszSamples, Stts};

use crate::boxes::BoxRef;
use crate::error::Error;
use crate::limits::Limits;

/// One sample of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SampleRef {
    /// Position in the file.
    pub(crate) position: u64,
    pub(crate) size: u32,
    /// Number of its sample entry, from 1.
    pub(crate) description: u32,
    /// Decode time from the start of the track's media.
    pub(crate) decode_time: u64,
    pub(crate) duration: u32,
    /// Presentation minus decode time.
    pub(crate) offset: i32,
    pub(crate) keyframe: bool,
}

/// The tables of one track, as compact as the file holds them.
#[derive(Debug)]
pub(crate) struct SampleTable {
    times: Stts,
    offsets: Vec<mp4_atom::CttsEntry>,
    chunks: Vec<u64>,
    runs: Stsc,
    sizes: StszSamples,
    /// Numbers of the key frames, from 1; `None` when all samples are.
    sync: Option<Vec<u32>>,
    pub(crate) count: usize,
    pub(crate) duration: u64,
    pub(crate) bytes: u64,
}

impl SampleTable {
    /// Reads the tables of a `trak`.
    pub(crate) fn parse(trak: &BoxRef<'_>, limits: &Limits) -> Result<Self, Error> {
        let stbl = trak.need(b"mdia")?.need(b"minf")?.need(b"stbl")?;
        let times: Stts = stbl.need(b"stts")?.decode()?;
        let sizes = stbl.need(b"stsz")?.decode::<Stsz>()?.samples;
        let chunks = match stbl.find(b"co64")? {
            Some(co64) => co64.decode::<Co64>()?.entries,
            None => {
                let stco: Stco = stbl.need(b"stco")?.decode()?;
                stco.entries.into_iter().map(u64::from).collect()
            }
        };
        let sync = match stbl.find(b"stss")? {
            Some(stss) => Some(stss.decode::<Stss>()?.entries),
            None => None,
        };
        let offsets = match stbl.find(b"ctts")? {
            Some(ctts) => ctts.decode::<Ctts>()?.entries,
            None => Vec::new(),
        };
        let (count, bytes) = match &sizes {
            StszSamples::Identical { count, size } => {
                (*count as usize, u64::from(*count) * u64::from(*size))
            }
            StszSamples::Different { sizes } => {
                (sizes.len(), sizes.iter().map(|size| u64::from(*size)).sum())
            }
        };
        let limit = limits.max_file_samples as u64;
        Error::check(
            "the number of samples",
            count as u64,
            "max_file_samples",
            limit,
        )?;
        let timed: u64 = times
            .entries
            .iter()
            .map(|entry| u64::from(entry.sample_count))
            .sum();
        if timed < count as u64 {
            return Err(Error::malformed(
                "`stts` times fewer samples than `stsz` has",
            ));
        }
        let mut table = Self {
            times,
            offsets,
            chunks,
            runs: stbl.need(b"stsc")?.decode()?,
            sizes,
            sync,
            count,
            duration: 0,
            bytes,
        };
        table.duration = table.media_duration();
        Ok(table)
    }

    fn media_duration(&self) -> u64 {
        let mut left = self.count as u64;
        let mut duration = 0u64;
        for entry in &self.times.entries {
            let samples = left.min(entry.sample_count.into());
            // Both factors fit 32 bits; the sum is bounded by max_file_samples of them.
            duration += samples * u64::from(entry.sample_delta);
            left -= samples;
        }
        duration
    }

    fn size(&self, index: usize) -> u32 {
        match &self.sizes {
            StszSamples::Identical { size, .. } => *size,
            StszSamples::Different { sizes } => sizes.get(index).copied().unwrap_or(0),
        }
    }
}

/// Walks over the samples of a table in decode order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cursor {
    index: usize,
    decode_time: u64,
    times: Run,
    offsets: Run,
    /// Index into the key frame numbers.
    sync: usize,
    /// Index of the chunk after the current one, and of the run of chunks it belongs to.
    next_chunk: usize,
    chunk_run: usize,
    left_in_chunk: u32,
    description: u32,
    position: u64,
}

/// A place in a run-length table.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    entry: usize,
    used: u32,
}

impl Run {
    /// The value for the next sample.
    fn next<T: Copy>(&mut self, entry: impl Fn(usize) -> Option<(u32, T)>) -> Option<T> {
        loop {
            let (count, value) = entry(self.entry)?;
            if self.used < count {
                self.used += 1;
                return Some(value);
            }
            self.entry += 1;
            self.used = 0;
        }
    }
}

impl Cursor {
    /// The next sample; `None` after the last one.
    pub(crate) fn next(&mut self, table: &SampleTable) -> Result<Option<SampleRef>, Error> {
        if self.index >= table.count {
            return Ok(None);
        }
        while self.left_in_chunk == 0 {
            self.enter_chunk(table)?;
        }
        let size = table.size(self.index);
        let duration = self.times.next(|at| {
            table
                .times
                .entries
                .get(at)
                .map(|entry| (entry.sample_count, entry.sample_delta))
        });
        let offset = self.offsets.next(|at| {
            table
                .offsets
                .get(at)
                .map(|entry| (entry.sample_count, entry.sample_offset))
        });
        let number = self.index + 1;
        let keyframe = match &table.sync {
            None => true,
            Some(sync) => {
                let at = |index: usize| sync.get(index).map(|n| *n as usize);
                while at(self.sync).is_some_and(|sync| sync < number) {
                    self.sync += 1;
                }
                at(self.sync) == Some(number)
            }
        };
        // Signed in version 1 and, though it says otherwise, in version 0 as QuickTime writes it.
        let offset = offset.unwrap_or(0) as i32;
        let duration = duration.unwrap_or(0);
        let sample = SampleRef {
            position: self.position,
            size,
            description: self.description,
            decode_time: self.decode_time,
            duration,
            offset,
            keyframe,
        };
        self.index += 1;
        self.left_in_chunk -= 1;
        self.position = self.position.saturating_add(size.into());
        self.decode_time += u64::from(duration);
        Ok(Some(sample))
    }

    fn enter_chunk(&mut self, table: &SampleTable) -> Result<(), Error> {
        let Some(position) = table.chunks.get(self.next_chunk) else {
            return Err(Error::malformed(
                "the sample tables name more samples than chunks hold",
            ));
        };
        self.next_chunk += 1;
        let number = self.next_chunk;
        let starts = |run: usize| table.runs.entries.get(run).map(|r| r.first_chunk as usize);
        while starts(self.chunk_run + 1).is_some_and(|first| first <= number) {
            self.chunk_run += 1;
        }
        let run = table.runs.entries.get(self.chunk_run);
        self.left_in_chunk = run.map_or(0, |run| run.samples_per_chunk);
        self.description = run.map_or(1, |run| run.sample_description_index.max(1));
        self.position = *position;
        Ok(())
    }
}

/// How far the edit list of a `trak` moves its media: the delay before it, in units of the movie
/// (`mvhd`), and the media time that is presented first, in units of the track.
pub(crate) fn edit(trak: &BoxRef<'_>) -> Result<(u64, u64), Error> {
    let Some(edts) = trak.find(b"edts")? else {
        return Ok((0, 0));
    };
    let Some(elst) = edts.find(b"elst")? else {
        return Ok((0, 0));
    };
    let elst: Elst = elst.decode()?;
    let mut delay = 0u64;
    for entry in elst.entries {
        match entry.media_time {
            None => delay = delay.saturating_add(entry.segment_duration),
            Some(time) => return Ok((delay, time)),
        }
    }
    Ok((delay, 0))
}

#[cfg(test)]
mod tests {
    use mp4_atom::{CttsEntry, StscEntry, SttsEntry};

    use super::*;

    /// Three samples in two chunks, with these composition offsets and sample entries.
    fn samples(offsets: [i64; 3], entries: [u32; 2]) -> Vec<SampleRef> {
        let offset = |sample_offset| CttsEntry {
            sample_count: 1,
            sample_offset,
        };
        let run = |(first_chunk, samples_per_chunk, sample_description_index)| StscEntry {
            first_chunk,
            samples_per_chunk,
            sample_description_index,
        };
        let table = SampleTable {
            times: Stts {
                entries: vec![SttsEntry {
                    sample_count: 3,
                    sample_delta: 100,
                }],
            },
            offsets: offsets.map(offset).into(),
            chunks: vec![1000, 2000],
            runs: Stsc {
                entries: vec![run((1, 2, entries[0])), run((2, 1, entries[1]))],
            },
            sizes: StszSamples::Identical { count: 3, size: 10 },
            sync: None,
            count: 3,
            duration: 300,
            bytes: 30,
        };
        let mut cursor = Cursor::default();
        std::iter::from_fn(|| cursor.next(&table).unwrap()).collect()
    }

    #[test]
    fn offsets_of_version_0_are_signed_as_in_quicktime() {
        let negative = i64::from(-200i32 as u32);
        let found = samples([negative, -300, 400], [1, 1]);
        let offsets: Vec<_> = found.iter().map(|sample| sample.offset).collect();
        assert_eq!(offsets, [-200, -300, 400]);
    }

    #[test]
    fn samples_tell_which_entry_they_have() {
        let found = samples([0; 3], [1, 2]);
        let entries: Vec<_> = found.iter().map(|sample| sample.description).collect();
        assert_eq!(entries, [1, 1, 2]);
        // Entries count from 1.
        assert_eq!(samples([0; 3], [0, 1])[0].description, 1);
    }
}
