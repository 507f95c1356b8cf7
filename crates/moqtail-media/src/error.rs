//! What can be wrong with an input, and what to do about it.

use std::fmt;

/// The ffmpeg output options that make a stream [`Fmp4Reader`](crate::Fmp4Reader) accepts: one
/// movie fragment per frame and track, the header first, no index at the end.
pub const FFMPEG_FLAGS: &str =
    "-f mp4 -movflags cmaf+separate_moof+delay_moov+skip_trailer+frag_every_frame";

/// Why an input was refused. The producer of the input is to blame for all of these except
/// [`Error::Io`] and [`Error::Undrained`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input is media, or bytes, of a form that cannot be published as it is. The message
    /// names the ffmpeg options that produce the right form.
    #[error("cannot use this input: {0}; produce it with ffmpeg … {FFMPEG_FLAGS}")]
    Unsuitable(Unsuitable),
    /// A box or a count is over a limit; the input is hostile or a [`Limits`](crate::Limits)
    /// field has to be raised.
    #[error("{what} is {size}, over the limit {limit_name} = {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes, or its count.
        size: u64,
        /// The field of [`Limits`](crate::Limits) in the way.
        limit_name: &'static str,
        /// The value of that field.
        limit: u64,
    },
    /// A box contradicts itself, its parent or an earlier box.
    #[error("malformed MP4: {0}")]
    Malformed(String),
    /// The header describes no track with a codec this crate knows.
    #[error("the input has no audio or video track that can be published (found: {found})")]
    NoUsableTrack {
        /// The sample entry types that were found.
        found: String,
    },
    /// A second header with other tracks or codecs arrived in the middle of the stream.
    #[error(
        "the stream changed its header (tracks or codecs) midway; start a new broadcast for it"
    )]
    HeaderChanged,
    /// The input ended inside a box. Everything complete was delivered before.
    #[error("the input ended inside a `{kind}` box, {missing} bytes short; the source was cut off")]
    Truncated {
        /// The type of the unfinished box.
        kind: FourCc,
        /// How many bytes are missing at least.
        missing: u64,
    },
    /// [`Fmp4Reader::push`](crate::Fmp4Reader::push) was called again and again without taking
    /// events; a caller's mistake.
    #[error("{buffered} bytes wait in the reader; take all events after each push")]
    Undrained {
        /// Bytes held.
        buffered: usize,
    },
    /// Reading or seeking failed.
    #[error("reading the input failed: {0}")]
    Io(#[from] std::io::Error),
}

/// The ways in which an input can be of the wrong form; see [`Error::Unsuitable`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsuitable {
    /// The first bytes are not an MP4 box.
    #[error("it is not MP4 but {0}")]
    NotMp4(&'static str),
    /// An ordinary MP4 (no movie fragments) on a stream that cannot be rewound.
    #[error("it is an ordinary MP4, not a fragmented one")]
    NotFragmented,
    /// Media came before the header: an ordinary MP4 with `moov` at the end.
    #[error("its header (moov) comes after the media")]
    HeaderAtEnd,
    /// Fragments, or the end, came before any header.
    #[error("it has no header (moov) at its start")]
    NoHeader,
    /// One movie fragment carries several tracks.
    #[error("one fragment mixes tracks {0}")]
    MixedTracks(TrackList),
}

/// Track ids, printed as `1, 2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackList(pub Vec<u32>);

impl fmt::Display for TrackList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, id) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{id}")?;
        }
        Ok(())
    }
}

/// A box or sample entry type: four bytes, printed as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FourCc({self})")
    }
}

impl Error {
    pub(crate) fn malformed(what: impl Into<String>) -> Self {
        Self::Malformed(what.into())
    }

    pub(crate) fn check(
        what: &'static str,
        size: u64,
        limit_name: &'static str,
        limit: u64,
    ) -> Result<(), Self> {
        if size <= limit {
            return Ok(());
        }
        Err(Self::TooLarge {
            what,
            size,
            limit_name,
            limit,
        })
    }
}

impl From<Unsuitable> for Error {
    fn from(why: Unsuitable) -> Self {
        Self::Unsuitable(why)
    }
}
