//! The caps on what an input may make us hold.

/// Upper bounds on one input. A box length is only a claim, so it is compared with these before a
/// byte of the box is kept; memory then grows with bytes that really arrived.
///
/// Exceeding one is [`Error::TooLarge`](crate::Error::TooLarge), which names the field.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes in `ftyp`, and in the `moov` of a fragmented stream. Default 1 MiB.
    pub max_header: u64,
    /// Bytes in the `moov` of an ordinary file, which holds an index entry per sample.
    /// Default 64 MiB.
    pub max_index: u64,
    /// Bytes in one `moof`, and in all boxes between it and its `mdat`. Default 1 MiB.
    pub max_moof: u64,
    /// Bytes in one `mdat` of a fragmented stream, or in one sample of an ordinary file.
    /// Default 32 MiB.
    pub max_mdat: u64,
    /// Tracks in one input. Default 64.
    pub max_tracks: usize,
    /// Samples in one fragment. Default 65 536.
    pub max_fragment_samples: usize,
    /// Samples in one track of an ordinary file. Default 10 million (about 92 h at 30 fps).
    pub max_file_samples: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_header: 1 << 20,
            max_index: 64 << 20,
            max_moof: 1 << 20,
            max_mdat: 32 << 20,
            max_tracks: 64,
            max_fragment_samples: 1 << 16,
            max_file_samples: 10_000_000,
        }
    }
}
