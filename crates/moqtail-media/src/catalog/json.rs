//! The JSON form of a catalog, read tolerantly and written exactly.

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    Catalog, CatalogError, CatalogTrack, MAX_CATALOG_BYTES, MAX_CATALOG_TRACKS, Packaging,
};

/// The version MSF-00 writes as a number.
const MSF_00: u64 = 1;
/// The version MSF-01 writes as a string.
const MSF_01: &str = "draft-01";

/// Base64 as RFC 4648 §4 has it, with or without padding.
const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

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
    tracks: Vec<TrackJson>,
    // MSF-01 wants this one last.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    init_data_list: Vec<InitEntry>,
}

/// One entry of `initDataList` (MSF-01).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct InitEntry {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    data: String,
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
            namespace: Option<String>,
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
                    init_data: track.init_data.as_ref().map(|data| STANDARD.encode(data)),
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
    pub(super) fn resolve(&self, list: &[InitEntry]) -> Result<CatalogTrack, CatalogError> {
        let fail = |why: String| CatalogError::InitData {
            track: self.name.clone(),
            why,
        };
        let encoded = match (&self.init_data, &self.init_ref) {
            (Some(data), _) => Some(data),
            (None, Some(id)) => {
                let entry = list.iter().find(|entry| entry.id == *id);
                let entry = entry.ok_or_else(|| fail(format!("no entry `{id}` in the list")))?;
                // Other types point at properties of the track or its objects.
                (entry.kind == "inline").then_some(&entry.data)
            }
            (None, None) => None,
        };
        let mut track = self.to_track();
        if let Some(encoded) = encoded {
            let data = TOLERANT
                .decode(encoded)
                .map_err(|error| fail(error.to_string()))?;
            track.init_data = Some(Bytes::from(data));
        }
        Ok(track)
    }
}

/// Refuses what is over the limits of a catalog.
pub(super) fn check_size(
    size: usize,
    limit: usize,
    unit: &'static str,
) -> Result<(), CatalogError> {
    if size > limit {
        return Err(CatalogError::TooLarge { size, limit, unit });
    }
    Ok(())
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
        check_size(root.tracks.len(), MAX_CATALOG_TRACKS, "tracks")?;
        let list = &root.init_data_list;
        let tracks: Result<Vec<_>, _> = root.tracks.iter().map(|t| t.resolve(list)).collect();
        let catalog = Self {
            generated_at: root.generated_at,
            is_complete: root.is_complete,
            tracks: tracks?,
        };
        catalog.check_names()?;
        Ok(catalog)
    }

    pub(super) fn check_names(&self) -> Result<(), CatalogError> {
        let mut names: Vec<_> = self
            .tracks
            .iter()
            .map(|t| (&t.namespace, &t.name))
            .collect();
        names.sort_unstable();
        for pair in names.windows(2) {
            if let [first, second] = pair
                && first == second
            {
                return Err(CatalogError::DuplicateTrack(first.1.clone()));
            }
        }
        Ok(())
    }

    /// Writes the catalog as MSF-00: `version` 1, initialization data in each track.
    pub fn to_json(&self) -> Vec<u8> {
        let tracks = self.tracks.iter().map(TrackJson::from_track).collect();
        self.write(Version::Number(MSF_00.into()), tracks, Vec::new())
    }

    /// Writes the catalog as MSF-01: `version` `"draft-01"`, initialization data in a list that
    /// tracks refer to.
    pub fn to_json_msf01(&self) -> Vec<u8> {
        let mut tracks: Vec<_> = self.tracks.iter().map(TrackJson::from_track).collect();
        let mut list = Vec::new();
        for track in &mut tracks {
            if let Some(data) = track.init_data.take() {
                let id = format!("init{}", list.len());
                track.init_ref = Some(id.clone());
                list.push(InitEntry {
                    id,
                    kind: "inline".to_owned(),
                    data,
                });
            }
        }
        self.write(Version::Text(MSF_01.to_owned()), tracks, list)
    }

    fn write(&self, version: Version, tracks: Vec<TrackJson>, list: Vec<InitEntry>) -> Vec<u8> {
        let root = Root {
            version,
            generated_at: self.generated_at,
            is_complete: self.is_complete,
            tracks,
            init_data_list: list,
        };
        // Every map key is a string and every number finite, so this cannot fail.
        serde_json::to_vec(&root).unwrap_or_default()
    }
}
