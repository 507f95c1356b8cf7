//! Delta updates: catalog objects that change the catalog before them (MSF-00 §5.2).

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::draft::{Draft, check_size};
use super::few::Few;
use super::init::{InitData, InitEntry};
use super::json::TrackJson;
use super::{Catalog, CatalogError, CatalogTrack, MAX_CATALOG_BYTES, MAX_CATALOG_TRACKS};

/// One object of a catalog track.
#[derive(Debug, Clone, PartialEq)]
pub enum CatalogObject {
    /// An independent catalog, which replaces all before it.
    Full(Catalog),
    /// A change to the catalog so far; see [`Catalog::apply`].
    Update(CatalogUpdate),
}

impl CatalogObject {
    /// Reads one object of a catalog track, MSF-00 or MSF-01.
    ///
    /// # Errors
    ///
    /// See [`CatalogError`].
    pub fn from_json(json: &[u8]) -> Result<Self, CatalogError> {
        match Catalog::from_json(json) {
            Ok(catalog) => Ok(Self::Full(catalog)),
            Err(CatalogError::WrongKind { .. }) => CatalogUpdate::from_json(json).map(Self::Update),
            Err(error) => Err(error),
        }
    }

    /// The same as the catalog track has it whose namespace `is_inherited` knows as text: tracks that name that one have
    /// none of their own, so that they are the same tracks with and without it.
    ///
    /// # Errors
    ///
    /// [`CatalogError::DuplicateTrack`] when a full catalog has a track in both forms.
    pub fn inheriting(self, is_inherited: impl Fn(&str) -> bool) -> Result<Self, CatalogError> {
        Ok(match self {
            Self::Full(mut catalog) => {
                let mut draft = Draft::default();
                for mut track in catalog.tracks {
                    track.namespace = track.namespace.filter(|text| !is_inherited(text));
                    draft.push(track)?;
                }
                catalog.tracks = draft.into_tracks();
                Self::Full(catalog)
            }
            Self::Update(mut update) => {
                for operation in &mut update.operations {
                    operation.inherit(&is_inherited);
                }
                Self::Update(update)
            }
        })
    }
}

/// A delta update: operations in the order of the document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CatalogUpdate {
    operations: Vec<Operation>,
    init_data: Vec<InitEntry>,
}

#[derive(Debug, Clone, PartialEq)]
enum Operation {
    Add(Few<TrackJson>),
    Remove(Few<TrackId>),
    /// Fields that overwrite those of the parent.
    Clone(Few<Map<String, Value>>),
    /// Fields that overwrite those of the track itself.
    Update(Few<Map<String, Value>>),
    /// Of a kind not known here; it changes nothing.
    Unknown,
}

impl Operation {
    /// How many tracks it names.
    fn tracks(&self) -> usize {
        match self {
            Self::Add(Few(tracks)) => tracks.len(),
            Self::Remove(Few(tracks)) => tracks.len(),
            Self::Clone(Few(tracks)) | Self::Update(Few(tracks)) => tracks.len(),
            Self::Unknown => 0,
        }
    }

    /// Takes inherited namespaces out.
    fn inherit(&mut self, is_inherited: impl Fn(&str) -> bool) {
        let inherit = |namespace: &mut Option<String>| {
            namespace.take_if(|text| is_inherited(text));
        };
        match self {
            Self::Add(Few(tracks)) => {
                tracks
                    .iter_mut()
                    .for_each(|track| inherit(&mut track.namespace));
            }
            Self::Remove(Few(ids)) => ids.iter_mut().for_each(|id| inherit(&mut id.namespace)),
            Self::Clone(Few(tracks)) | Self::Update(Few(tracks)) => {
                let named = |(key, _): &(&String, &mut Value)| {
                    matches!(key.as_str(), "namespace" | "parentNamespace")
                };
                let fields = tracks.iter_mut().flat_map(|fields| fields.iter_mut());
                for (_, value) in fields.filter(named) {
                    if value.as_str().is_some_and(&is_inherited) {
                        *value = Value::Null;
                    }
                }
            }
            Self::Unknown => {}
        }
    }
}

/// What a track is removed by.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct TrackId {
    name: String,
    namespace: Option<String>,
}

/// An entry of MSF-01's `deltaUpdate` array.
#[derive(Deserialize)]
struct OperationJson {
    op: String,
    #[serde(default)]
    tracks: Value,
}

impl OperationJson {
    fn read(self) -> Result<Operation, serde_json::Error> {
        Ok(match self.op.as_str() {
            "add" => Operation::Add(serde_json::from_value(self.tracks)?),
            "remove" => Operation::Remove(serde_json::from_value(self.tracks)?),
            "clone" => Operation::Clone(serde_json::from_value(self.tracks)?),
            "update" => Operation::Update(serde_json::from_value(self.tracks)?),
            _ => Operation::Unknown,
        })
    }
}

/// `true` in MSF-00, the list of operations in MSF-01.
#[derive(Deserialize)]
#[serde(untagged)]
enum DeltaField {
    Flag(#[expect(dead_code, reason = "only its type tells the two forms apart")] bool),
    Operations(Vec<OperationJson>),
}

impl<'de> Deserialize<'de> for CatalogUpdate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(UpdateVisitor)
    }
}

/// Keeps the operations in the order of the document, in which they have to be applied.
struct UpdateVisitor;

impl<'de> Visitor<'de> for UpdateVisitor {
    type Value = CatalogUpdate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a catalog delta update")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<CatalogUpdate, A::Error> {
        let mut update = CatalogUpdate::default();
        let mut named = 0;
        while let Some(key) = map.next_key::<String>()? {
            let mut add = |operation: Operation| {
                named += operation.tracks();
                update.operations.push(operation);
                let limit = 2 * MAX_CATALOG_TRACKS;
                if named > limit {
                    let why = format!("an update of {named} tracks, more than the {limit} allowed");
                    return Err(serde::de::Error::custom(why));
                }
                Ok(())
            };
            match key.as_str() {
                "addTracks" => add(Operation::Add(map.next_value()?))?,
                "removeTracks" => add(Operation::Remove(map.next_value()?))?,
                "cloneTracks" => add(Operation::Clone(map.next_value()?))?,
                "initDataList" => update.init_data = map.next_value()?,
                "deltaUpdate" => {
                    if let DeltaField::Operations(operations) = map.next_value()? {
                        for operation in operations {
                            add(operation.read().map_err(serde::de::Error::custom)?)?;
                        }
                    }
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(update)
    }
}

impl CatalogUpdate {
    /// Reads a delta update, MSF-00 or MSF-01.
    ///
    /// # Errors
    ///
    /// See [`CatalogError`]; a document without any operation is [`CatalogError::WrongKind`].
    pub fn from_json(json: &[u8]) -> Result<Self, CatalogError> {
        check_size(json.len(), MAX_CATALOG_BYTES, "bytes")?;
        let update: Self = serde_json::from_slice(json)?;
        if update.operations.is_empty() {
            return Err(CatalogError::WrongKind { expected: "delta" });
        }
        Ok(update)
    }
}

impl Catalog {
    /// Applies a delta update. On an error nothing has changed.
    ///
    /// # Errors
    ///
    /// [`CatalogError::UnknownTrack`], [`CatalogError::DuplicateTrack`],
    /// [`CatalogError::TooLarge`] and [`CatalogError::InitData`], for what the publisher of the
    /// update did wrong.
    pub fn apply(&mut self, update: &CatalogUpdate) -> Result<(), CatalogError> {
        let mut list = InitData::of(&update.init_data);
        let mut draft = Draft::default();
        for track in &self.tracks {
            draft.push(track.clone())?;
        }
        for operation in &update.operations {
            match operation {
                Operation::Add(Few(tracks)) => {
                    for track in tracks {
                        draft.push(track.resolve(&mut list)?)?;
                    }
                }
                Operation::Remove(Few(ids)) => {
                    for id in ids {
                        draft.remove(&id.name, id.namespace.as_deref())?;
                    }
                }
                Operation::Clone(Few(clones)) => {
                    for fields in clones {
                        let parent = draft.find(
                            text(fields, "parentName").unwrap_or_default(),
                            text(fields, "parentNamespace"),
                        )?;
                        let clone = changed(parent, fields, &mut list)?;
                        draft.push(clone)?;
                    }
                }
                Operation::Update(Few(updates)) => {
                    for fields in updates {
                        let (name, namespace) = updated(fields);
                        let track = changed(draft.find(name, namespace)?, fields, &mut list)?;
                        draft.replace(name, namespace, track)?;
                    }
                }
                Operation::Unknown => {}
            }
        }
        self.tracks = draft.into_tracks();
        Ok(())
    }
}

fn text<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    fields.get(key).and_then(Value::as_str)
}

/// Name and namespace of the track that an update changes: the parent, as the text of MSF-01 has it, or the name alone, as
/// its example has it.
fn updated(fields: &Map<String, Value>) -> (&str, Option<&str>) {
    match text(fields, "parentName") {
        Some(name) => (name, text(fields, "parentNamespace")),
        None => (
            text(fields, "name").unwrap_or_default(),
            text(fields, "namespace"),
        ),
    }
}

/// A track that differs from its parent in these fields.
fn changed(
    parent: &CatalogTrack,
    fields: &Map<String, Value>,
    list: &mut InitData<'_>,
) -> Result<CatalogTrack, CatalogError> {
    let mut merged = serde_json::to_value(TrackJson::from_track(parent))?;
    if let Value::Object(merged) = &mut merged {
        for (key, value) in fields {
            merged.insert(key.clone(), value.clone());
        }
    }
    let merged: TrackJson = serde_json::from_value(merged)?;
    let mut track = merged.resolve(list)?;
    if !["initData", "initRef"]
        .iter()
        .any(|field| fields.contains_key(*field))
    {
        track.init_data = parent.init_data.clone();
    }
    Ok(track)
}
