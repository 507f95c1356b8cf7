//! What a header (`moov`) says about its tracks.

use std::fmt;

use bytes::Bytes;
use mp4_atom::{Mdhd, Tkhd, Trex};

use crate::boxes::BoxRef;
use crate::codec::{self, Media};
use crate::entry::SampleEntry;
use crate::error::{Error, FourCc};
use crate::fragment::Fragment;
use crate::limits::Limits;
use crate::run::Defaults;

/// What kind of media a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrackKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// One track of an input: what a catalog has to say about it, and its CMAF header.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TrackInfo {
    /// The track id, as in the header and in every fragment of the track.
    pub id: u32,
    /// Video or audio.
    pub kind: TrackKind,
    /// Codec string, such as `avc1.42c01e`, `mp4a.40.2` or `opus`.
    pub codec: String,
    /// Units per second of all times of this track; never 0.
    pub timescale: u32,
    /// Encoded width in pixels; video only.
    pub width: Option<u32>,
    /// Encoded height in pixels; video only.
    pub height: Option<u32>,
    /// Samples per second; audio only.
    pub samplerate: Option<u32>,
    /// Number of channels; audio only.
    pub channels: Option<u32>,
    /// Frames per second, video only. Fragmented streams seldom declare it:
    /// [`learn`](Self::learn) takes it from the first fragment.
    pub framerate: Option<f64>,
    /// Average bit rate in bit/s: declared by the header, or measured over a whole file.
    pub bitrate: Option<u64>,
    /// ISO 639-2 language code; `None` when undetermined.
    pub language: Option<String>,
    /// The CMAF header of this track alone: `ftyp` and a `moov` with one `trak` and one `trex`.
    /// This is the `initData` of CMSF-00 §3.1.
    pub init: Bytes,
}

impl TrackInfo {
    /// Fills in what only media tells: the frame rate, from a fragment whose frames all last
    /// equally long. Does nothing for audio, for another track's fragment, or when the frame
    /// rate is known.
    pub fn learn(&mut self, fragment: &Fragment) {
        let mine = self.kind == TrackKind::Video && fragment.track_id == self.id;
        if !mine || self.framerate.is_some() || !fragment.even || fragment.duration == 0 {
            return;
        }
        let frames = f64::from(fragment.samples) * f64::from(self.timescale);
        self.framerate = Some(round_rate(frames / fragment.duration as f64));
    }
}

/// Rounds to a thousandth, which keeps 29.97 and drops the noise of the division.
pub(crate) fn round_rate(rate: f64) -> f64 {
    (rate * 1000.0).round() / 1000.0
}

/// A usable track of a `moov`, with the boxes it was read from.
pub(crate) struct Track<'a> {
    pub(crate) info: TrackInfo,
    pub(crate) trak: BoxRef<'a>,
    /// `None` when the header has no `trex` for the track: it is not fragmented.
    pub(crate) defaults: Option<Defaults>,
}

/// A track that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IgnoredTrack {
    /// Its sample entry type, which tells its codec.
    pub entry: FourCc,
    /// What is wrong with its description; `None` for a codec this crate does not know.
    pub reason: Option<String>,
}

impl fmt::Display for IgnoredTrack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "{}: {reason}", self.entry),
            None => write!(f, "{}", self.entry),
        }
    }
}

/// The tracks of a `moov`, in its order.
pub(crate) struct Tracks<'a> {
    /// Those of a known codec; [`TrackInfo::init`] is still empty.
    pub(crate) usable: Vec<Track<'a>>,
    pub(crate) ignored: Vec<IgnoredTrack>,
}

impl<'a> Tracks<'a> {
    pub(crate) fn parse(moov: &BoxRef<'a>, limits: &Limits) -> Result<Self, Error> {
        let defaults = fragment_defaults(moov)?;
        let mut usable: Vec<Track<'a>> = Vec::new();
        let mut ignored = Vec::new();
        for trak in moov.children() {
            let trak = trak?;
            if trak.kind != *b"trak" {
                continue;
            }
            let count = (usable.len() + ignored.len()) as u64 + 1;
            Error::check(
                "the number of tracks",
                count,
                "max_tracks",
                limits.max_tracks as u64,
            )?;
            let info = match describe(&trak)? {
                Described::Usable(info) => info,
                Described::Ignored(track) => {
                    ignored.push(track);
                    continue;
                }
            };
            if usable.iter().any(|other| other.info.id == info.id) {
                return Err(Error::malformed(format!(
                    "two tracks have the id {}",
                    info.id
                )));
            }
            let defaults = defaults
                .iter()
                .find(|(id, _)| *id == info.id)
                .map(|(_, d)| *d);
            usable.push(Track {
                info,
                trak,
                defaults,
            });
        }
        if usable.is_empty() {
            let found: Vec<_> = ignored.iter().map(IgnoredTrack::to_string).collect();
            let found = if found.is_empty() {
                "none at all".to_owned()
            } else {
                found.join(", ")
            };
            return Err(Error::NoUsableTrack { found });
        }
        Ok(Self { usable, ignored })
    }
}

/// Whether a `moov` lists samples itself, as that of an ordinary file does.
pub(crate) fn lists_samples(moov: &BoxRef<'_>) -> Result<bool, Error> {
    for trak in moov.children() {
        let trak = trak?;
        if trak.kind != *b"trak" {
            continue;
        }
        let stbl = trak.need(b"mdia")?.need(b"minf")?.need(b"stbl")?;
        for child in stbl.children() {
            let child = child?;
            // Both start with version, flags and a size field; the sample count follows.
            let sizes = matches!(&child.kind, b"stsz" | b"stz2");
            if sizes && child.body.get(8..12).is_some_and(|count| count != [0; 4]) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

pub(crate) fn fragment_defaults(moov: &BoxRef<'_>) -> Result<Vec<(u32, Defaults)>, Error> {
    let mut all = Vec::new();
    if let Some(mvex) = moov.find(b"mvex")? {
        for child in mvex.children() {
            let child = child?;
            if child.kind == *b"trex" {
                let trex: Trex = child.decode()?;
                all.push((trex.track_id, trex.into()));
            }
        }
    }
    Ok(all)
}

/// What a `trak` is to us.
enum Described {
    Usable(TrackInfo),
    Ignored(IgnoredTrack),
}

/// Reads a `trak`; it is ignored when it is not audio or video of a known codec, well described.
fn describe(trak: &BoxRef<'_>) -> Result<Described, Error> {
    let tkhd: Tkhd = trak.need(b"tkhd")?.decode()?;
    let mdia = trak.need(b"mdia")?;
    let mdhd: Mdhd = mdia.need(b"mdhd")?.decode()?;
    let stsd = mdia.need(b"minf")?.need(b"stbl")?.need(b"stsd")?;
    let handler = mdia.need(b"hdlr")?.body.get(8..12).unwrap_or_default();
    let Some(entry) = SampleEntry::all(&stsd, handler).next().transpose()? else {
        return Err(Error::malformed("`stsd` has no sample entry"));
    };
    let ignored = |reason| {
        let entry = FourCc(entry.kind());
        Ok(Described::Ignored(IgnoredTrack { entry, reason }))
    };
    let kind = match handler {
        b"vide" => TrackKind::Video,
        b"soun" => TrackKind::Audio,
        _ => return ignored(None),
    };
    let described = match codec::describe(&entry) {
        Ok(Some(described)) => described,
        Ok(None) => return ignored(None),
        Err(error) => return ignored(Some(error.to_string())),
    };
    if mdhd.timescale == 0 || tkhd.track_id == 0 {
        return Err(Error::malformed("a track has id 0 or timescale 0"));
    }
    let mut info = TrackInfo {
        id: tkhd.track_id,
        kind,
        codec: described.codec,
        timescale: mdhd.timescale,
        width: None,
        height: None,
        samplerate: None,
        channels: None,
        framerate: None,
        bitrate: described.bitrate,
        language: Some(mdhd.language).filter(|lang| lang != "und" && is_language(lang)),
        init: Bytes::new(),
    };
    match (kind, described.media) {
        (TrackKind::Video, Media::Video { width, height }) => {
            info.width = Some(width.into());
            info.height = Some(height.into());
        }
        (
            TrackKind::Audio,
            Media::Audio {
                samplerate,
                channels,
            },
        ) => {
            let rate = if samplerate == 0 {
                info.timescale
            } else {
                samplerate
            };
            info.samplerate = Some(rate);
            info.channels = Some(channels);
        }
        _ => return ignored(Some("its handler and its sample entry disagree".to_owned())),
    }
    Ok(Described::Usable(info))
}

fn is_language(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|b| b.is_ascii_lowercase())
}
