//! Media for MOQT: from ffmpeg's output or a file to catalog and objects, and back.
//!
//! Nothing here opens a socket, reads a clock or spawns; bytes, files and times are passed in.
//!
//! # Publishing
//!
//! 1. [`Fmp4Reader`] turns a fragmented MP4 stream, in pieces as they arrive, into a header and
//!    [`Fragment`]s of single tracks. [`Mp4File`] does the same for a file, fragmented or not, with
//!    the time each fragment is due, and over and over if wished. [`sample`] is one to try.
//! 2. [`Catalog::of_tracks`] describes the tracks as MSF-00 and CMSF-00 do, each with its own CMAF
//!    header as initialization data. It goes on the track named [`CATALOG_TRACK`]; the media tracks
//!    are named by [`track_names`].
//! 3. [`Grouper`] says which group and object each fragment becomes.
//!
//! # Subscribing
//!
//! [`Catalog::from_json`], or [`CatalogObject::from_json`] where updates come too, reads the
//! catalog; [`Remuxer`] puts the tracks one has chosen into one stream that players take.
//!
//! # Limits
//!
//! Input is not trusted. Lengths and counts it claims are checked against [`Limits`] and never
//! used to allocate; how deep boxes nest is not up to the input.

mod aac;
mod boxes;
mod catalog;
mod codec;
mod entry;
mod error;
mod file;
mod fragment;
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod header;
mod least;
mod limits;
mod reader;
mod remux;
mod run;
mod sample;
mod sniff;
mod split;
mod table;
mod time;
mod timeline;
mod track;

pub use catalog::{
    CATALOG_TRACK, Catalog, CatalogError, CatalogObject, CatalogTrack, CatalogUpdate,
    MAX_CATALOG_BYTES, MAX_CATALOG_TRACKS, Packaging, Role, track_names,
};
pub use error::{Error, FFMPEG_FLAGS, FourCc, TrackList, Unsuitable};
pub use file::{Mp4File, TimedFragment};
pub use fragment::Fragment;
pub use group::{AUDIO_GROUP, Grouper, MAX_AUDIO_GROUP, Placement};
pub use limits::Limits;
pub use reader::{Event, Fmp4Reader, Init};
pub use remux::{RemuxOptions, Remuxer};
pub use sample::sample;
pub use track::{IgnoredTrack, TrackInfo, TrackKind};
