//! The JSON form of a catalog, read tolerantly and written exactly.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::draft::{Draft, check_size};
use super::few::Few;
use super::init::{self, InitData, InitEntry};
use super::{
    Catalog, CatalogError, CatalogTrack, MAX_CATALOG_BYTES, MAX_CATALOG_TRACKS, Packaging,
};

/// The version MSF-00 writes as a number.
const MSF_00: u64 = 1;
/// The version MSF-01 writes as a string.
const MSF_01: &str = "draft-01";

/// The `version` field: a number or a string.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Version {
    Number(serde_json::Number),
    Text(String),
}

impl Version {
    fn check(&self) -> Result<(), CatalogError> {
        match self {
            Self::Number(number) if number.as_u64() == Some(MSF_00) => Ok(()),
            Self::Text(text) if text == MSF_01 || text == "1" => Ok(()),
            Self::Number(number) => Err(CatalogError::Version(number.to_string())),
            Self::Text(text) => Err(CatalogError::Version(format!("\"{text}\""))),
        }
    }
}

/// The root of a full catalog.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Root {
    version: Version,
    #[serde(
        skip_serializing_if = "Option::is_none",
        default,
        deserialize_with = "whole"
    )]
    generated_at: Option<u64>,
    #[serde(skip_serializing_if = "is_false", default)]
    is_complete: bool,
    tracks: Few<TrackJson>,
    // MSF-01 wants this one last.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    init_data_list: Vec<InitEntry>,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// A whole, non-negative number, even when it is written as `30.0`.
fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(from)? else {
        return Ok(None);
    };
    let rounded = || {
        number
            .as_f64()
            .filter(|n| *n >= 0.0)
            .map(|n| n.round() as u64)
    };
    match number.as_u64().or_else(rounded) {
        Some(whole) => Ok(Some(whole)),
        None => Err(serde::de::Error::custom(
            "a number below 0 where none can be",
        )),
    }
}

/// A string, even when it is written as a number.
fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum TextOrNumber {
        Text(String),
        Number(serde_json::Number),
    }
    Ok(
        Option::<TextOrNumber>::deserialize(from)?.map(|value| match value {
            TextOrNumber::Text(text) => text,
            TextOrNumber::Number(number) => number.to_string(),
        }),
    )
}

fn yes() -> bool {
    true
}

fn loc() -> String {
    Packaging::Loc.to_string()
}

macro_rules! track_json {
    ($($field:ident: $type:ty $(= $read:literal)?,)*) => {
        /// A track object. A missing `isLive` is read as live and a missing `packaging`, as in
        /// the draft's own example of a delta update, as LOC.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub(super) struct TrackJson {
            name: String,
            #[serde(skip_serializing_if = "Option::is_none", default)]
            pub(super) namespace: Option<String>,
            #[serde(default = "loc")]
            packaging: String,
            #[serde(default = "yes")]
            is_live: bool,
            #[serde(skip_serializing_if = "Option::is_none", default)]
            role: Option<String>,
            $(
                #[serde(skip_serializing_if = "Option::is_none", default
                    $(, deserialize_with = $read)?)]
                $field: Option<$type>,
            )*
            #[serde(skip_serializing_if = "Vec::is_empty", default)]
            depends: Vec<String>,
            #[serde(skip_serializing_if = "Option::is_none", default)]
            init_ref: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none", default)]
            init_data: Option<String>,
        }

        impl TrackJson {
            /// The JSON of a track, but for its initialization data.
            pub(super) fn from_track(track: &CatalogTrack) -> Self {
                Self {
                    name: track.name.clone(),
                    namespace: track.namespace.clone(),
                    packaging: track.packaging.to_string(),
                    is_live: track.is_live,
                    role: track.role.as_ref().map(ToString::to_string),
                    $($field: track.$field.clone(),)*
                    depends: track.depends.clone(),
                    init_ref: None,
                    init_data: None,
                }
            }

            /// The track, but for its initialization data.
            fn to_track(&self) -> CatalogTrack {
                CatalogTrack {
                    namespace: self.namespace.clone(),
                    is_live: self.is_live,
                    role: self.role.clone().map(Into::into),
                    $($field: self.$field.clone(),)*
                    depends: self.depends.clone(),
                    ..CatalogTrack::new(&self.name, Packaging::from(self.packaging.as_str()))
                }
            }
        }
    };
}

track_json! {
    target_latency: u64 = "whole",
    label: String,
    lang: String,
    render_group: u64 = "whole",
    alt_group: u64 = "whole",
    temporal_id: u64 = "whole",
    spatial_id: u64 = "whole",
    codec: String,
    mime_type: String,
    event_type: String,
    framerate: f64,
    timescale: u64 = "whole",
    bitrate: u64 = "whole",
    width: u64 = "whole",
    height: u64 = "whole",
    display_width: u64 = "whole",
    display_height: u64 = "whole",
    samplerate: u64 = "whole",
    channel_config: String = "text",
    track_duration: u64 = "whole",
    max_grp_sap_starting_type: u64 = "whole",
    max_obj_sap_starting_type: u64 = "whole",
}

impl TrackJson {
    /// The track with its initialization data, given inline or by reference into `list`.
    pub(super) fn resolve(&self, list: &mut InitData<'_>) -> Result<CatalogTrack, CatalogError> {
        let mut track = self.to_track();
        let data = match (&self.init_data, &self.init_ref) {
            (Some(data), _) => init::decode(data).map(Some),
            (None, Some(id)) => list.get(id),
            (None, None) => Ok(None),
        };
        track.init_data = data.map_err(|why| CatalogError::InitData {
            track: self.name.clone(),
            why,
        })?;
        Ok(track)
    }
}

impl Catalog {
    /// Reads a full catalog, MSF-00 or MSF-01. Unknown fields are ignored.
    ///
    /// # Errors
    ///
    /// See [`CatalogError`]; a delta update is [`CatalogError::WrongKind`].
    pub fn from_json(json: &[u8]) -> Result<Self, CatalogError> {
        check_size(json.len(), MAX_CATALOG_BYTES, "bytes")?;
        /// Looked at first: a version that is not understood says nothing about the rest.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Kind {
            version: Option<Version>,
            delta_update: Option<serde::de::IgnoredAny>,
        }
        let kind: Kind = serde_json::from_slice(json)?;
        if let Some(version) = &kind.version {
            version.check()?;
        } else if kind.delta_update.is_some() {
            return Err(CatalogError::WrongKind { expected: "full" });
        }
        let root: Root = serde_json::from_slice(json)?;
        let Few(tracks) = root.tracks;
        check_size(tracks.len(), MAX_CATALOG_TRACKS, "tracks")?;
        let mut list = InitData::of(&root.init_data_list);
        let mut draft = Draft::default();
        for track in &tracks {
            draft.push(track.resolve(&mut list)?)?;
        }
        Ok(Self {
            generated_at: root.generated_at,
            is_complete: root.is_complete,
            tracks: draft.into_tracks(),
        })
    }

    /// Writes the catalog as MSF-00: `version` 1, initialization data in each track.
    pub fn to_json(&self) -> Vec<u8> {
        let inline = |track: &CatalogTrack| TrackJson {
            init_data: track.init_data.as_deref().map(init::encode),
            ..TrackJson::from_track(track)
        };
        let tracks = self.tracks.iter().map(inline).collect();
        self.write(Version::Number(MSF_00.into()), tracks, Vec::new())
    }

    /// Writes the catalog as MSF-01: `version` `"draft-01"`, initialization data in a list that
    /// tracks refer to. What they [share](bytes::Bytes) as one buffer is in it once.
    pub fn to_json_msf01(&self) -> Vec<u8> {
        let mut list = Vec::new();
        let mut ids = BTreeMap::new();
        let by_reference = |track: &CatalogTrack| TrackJson {
            init_ref: track.init_data.as_ref().map(|data| {
                let shared = ids.entry((data.as_ptr(), data.len()));
                let id = shared.or_insert_with(|| {
                    let id = format!("init{}", list.len());
                    list.push(InitEntry::inline(id.clone(), data));
                    id
                });
                id.clone()
            }),
            ..TrackJson::from_track(track)
        };
        let tracks = self.tracks.iter().map(by_reference).collect();
        self.write(Version::Text(MSF_01.to_owned()), tracks, list)
    }

    fn write(&self, version: Version, tracks: Vec<TrackJson>, list: Vec<InitEntry>) -> Vec<u8> {
        let root = Root {
            version,
            generated_at: self.generated_at,
            is_complete: self.is_complete,
            tracks: Few(tracks),
            init_data_list: list,
        };
        // Every map key is a string and every number finite, so this cannot fail.
        serde_json::to_vec(&root).unwrap_or_default()
    }
}
