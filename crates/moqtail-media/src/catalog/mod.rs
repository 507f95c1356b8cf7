//! The MSF catalog: which tracks a broadcast has, as JSON on the track named `catalog`.
//!
//! [`Catalog`] and [`CatalogTrack`] hold the fields of MSF-00 and CMSF-00. Written is MSF-00 by
//! default and MSF-01 on request; read are both. Fields nobody here knows are ignored, as MSF-00
//! §5.1 asks.

mod build;
mod delta;
mod draft;
mod few;
mod init;
mod json;
mod language;

use std::fmt;

use bytes::Bytes;

pub use build::track_names;
pub use delta::{CatalogObject, CatalogUpdate};

/// The name of the track that carries the catalog (MSF-00 §5).
pub const CATALOG_TRACK: &str = "catalog";

/// Bytes in one catalog object that [`Catalog::from_json`] accepts: 4 MiB. So much text and
/// initialization data may also a catalog and an [update](Catalog::apply) to it hold together;
/// what tracks share counts once.
pub const MAX_CATALOG_BYTES: usize = 4 << 20;

/// Tracks in one catalog: 1024. An update may name twice as many, so that it can replace all.
pub const MAX_CATALOG_TRACKS: usize = 1024;

/// What is wrong with a catalog; its publisher is to blame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// It is not JSON, or a field has the wrong type or is missing.
    #[error("the catalog is not valid: {0}")]
    Json(#[from] serde_json::Error),
    /// Its version is not one this crate understands, so it must not be read (MSF-00 §5.1.1).
    #[error("the catalog has version {0}; understood are 1 and \"draft-01\"")]
    Version(String),
    /// A full catalog was needed and this is a delta update, or the other way round.
    #[error("a {expected} catalog was expected")]
    WrongKind {
        /// What should have come.
        expected: &'static str,
    },
    /// Two tracks have one name.
    #[error("the catalog names track `{0}` twice")]
    DuplicateTrack(String),
    /// A delta update removes, changes or clones a track that is not there.
    #[error("the catalog update refers to track `{0}`, which does not exist")]
    UnknownTrack(String),
    /// The initialization data of a track is not base64, or refers to nothing.
    #[error("track `{track}` has unusable initialization data: {why}")]
    InitData {
        /// Name of the track.
        track: String,
        /// What is wrong with it.
        why: String,
    },
    /// It is larger than [`MAX_CATALOG_BYTES`] or lists more than [`MAX_CATALOG_TRACKS`].
    #[error("the catalog has {size} {unit}, more than the {limit} allowed")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
        /// Bytes or tracks.
        unit: &'static str,
    },
}

/// A full, independent catalog.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Catalog {
    /// When it was made, in milliseconds since the Unix epoch.
    pub generated_at: Option<u64>,
    /// The broadcast is over: nothing will be added to any track, and no track will be added.
    pub is_complete: bool,
    /// The tracks, with names unique per namespace.
    pub tracks: Vec<CatalogTrack>,
}

/// One track of a catalog. Fields that are `None` or empty are left out of the JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogTrack {
    /// Track name (MSF-00 §5.1.11).
    pub name: String,
    /// Track namespace, as text; `None` inherits that of the catalog track.
    pub namespace: Option<String>,
    /// How the media is packaged into objects.
    pub packaging: Packaging,
    /// Whether objects will be added to the track.
    pub is_live: bool,
    /// What the track is for.
    pub role: Option<Role>,
    /// Target latency in milliseconds; only of live tracks, equal within a render group.
    pub target_latency: Option<u64>,
    /// A name for people.
    pub label: Option<String>,
    /// Language, as a BCP 47 tag.
    pub lang: Option<String>,
    /// Tracks with the same number are time-aligned and shown together.
    pub render_group: Option<u64>,
    /// Tracks with the same number are alternatives to each other.
    pub alt_group: Option<u64>,
    /// Initialization data; for CMAF the header of this one track.
    pub init_data: Option<Bytes>,
    /// Names of the tracks this one needs.
    pub depends: Vec<String>,
    /// Temporal layer, from 0.
    pub temporal_id: Option<u64>,
    /// Spatial layer, from 0.
    pub spatial_id: Option<u64>,
    /// Codec string.
    pub codec: Option<String>,
    /// MIME type; for timelines.
    pub mime_type: Option<String>,
    /// Kind of the events of an event timeline.
    pub event_type: Option<String>,
    /// Frames per second.
    pub framerate: Option<f64>,
    /// Time units per second.
    pub timescale: Option<u64>,
    /// Bit/s.
    pub bitrate: Option<u64>,
    /// Encoded width in pixels.
    pub width: Option<u64>,
    /// Encoded height in pixels.
    pub height: Option<u64>,
    /// Intended width on screen in pixels.
    pub display_width: Option<u64>,
    /// Intended height on screen in pixels.
    pub display_height: Option<u64>,
    /// Audio samples per second.
    pub samplerate: Option<u64>,
    /// Channel configuration, such as `2`.
    pub channel_config: Option<String>,
    /// Duration in milliseconds; only of tracks that are not live.
    pub track_duration: Option<u64>,
    /// Highest SAP type groups start with (CMSF-00 §3.5.2).
    pub max_grp_sap_starting_type: Option<u64>,
    /// Highest SAP type objects start with (CMSF-00 §3.5.2).
    pub max_obj_sap_starting_type: Option<u64>,
}

impl CatalogTrack {
    /// A live track with this name and packaging and nothing else known.
    pub fn new(name: impl Into<String>, packaging: Packaging) -> Self {
        Self {
            name: name.into(),
            namespace: None,
            packaging,
            is_live: true,
            role: None,
            target_latency: None,
            label: None,
            lang: None,
            render_group: None,
            alt_group: None,
            init_data: None,
            depends: Vec::new(),
            temporal_id: None,
            spatial_id: None,
            codec: None,
            mime_type: None,
            event_type: None,
            framerate: None,
            timescale: None,
            bitrate: None,
            width: None,
            height: None,
            display_width: None,
            display_height: None,
            samplerate: None,
            channel_config: None,
            track_duration: None,
            max_grp_sap_starting_type: None,
            max_obj_sap_starting_type: None,
        }
    }
}

/// A string field with registered values; any other value is kept.
macro_rules! registry {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant,)*
            /// A value that is not registered.
            Other(String),
        }

        impl $name {
            /// The value as it is written.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)*
                    _ => Self::Other(text),
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                text.to_owned().into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

registry! {
    /// How media is packaged (MSF-00 table 3, CMSF-00 table 1).
    Packaging {
        /// CMAF chunks.
        Cmaf = "cmaf",
        /// Low Overhead Container.
        Loc = "loc",
        /// A media timeline.
        MediaTimeline = "mediatimeline",
        /// An event timeline.
        EventTimeline = "eventtimeline",
    }
}

registry! {
    /// What a track is for (MSF-00 table 4).
    Role {
        /// Visual content.
        Video = "video",
        /// Sound.
        Audio = "audio",
        /// Spoken description for visually impaired users.
        AudioDescription = "audiodescription",
        /// Text of all sound.
        Caption = "caption",
        /// Text of the dialogue.
        Subtitle = "subtitle",
        /// Pictures for hearing impaired users.
        SignLanguage = "signlanguage",
        /// A media timeline.
        MediaTimeline = "mediatimeline",
        /// An event timeline.
        EventTimeline = "eventtimeline",
    }
}

#[cfg(test)]
mod tests;
