//! fMP4/CMAF segmenting, MSF catalog; no network.

mod boxes;
mod catalog;
mod codec;
mod error;
mod file;
mod fragment;
mod limits;
mod reader;
mod sample;
mod sniff;
mod table;
mod time;
mod track;

pub use catalog::{
    CATALOG_TRACK, Catalog, CatalogError, CatalogObject, CatalogTrack, CatalogUpdate,
    MAX_CATALOG_BYTES, MAX_CATALOG_TRACKS, Packaging, Role, track_names,
};
pub use error::{Error, FFMPEG_FLAGS, FourCc, TrackList, Unsuitable};
pub use file::{Mp4File, TimedFragment};
pub use fragment::Fragment;
pub use limits::Limits;
pub use reader::{Event, Fmp4Reader, Init};
pub use sample::sample;
pub use track::{TrackInfo, TrackKind};
