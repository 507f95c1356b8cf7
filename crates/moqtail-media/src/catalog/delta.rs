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
}

impl Operation {
    /// How many tracks it names.
    fn tracks(&self) -> usize {
        match self {
            Self::Add(Few(tracks)) => tracks.len(),
            Self::Remove(Few(tracks)) => tracks.len(),
            Self::Clone(Few(tracks)) => tracks.len(),
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
    tracks: Value,
}

impl OperationJson {
    /// The operation; `None` when it is of a kind not known here.
    fn read(self) -> Result<Option<Operation>, serde_json::Error> {
        Ok(Some(match self.op.as_str() {
            "add" => Operation::Add(serde_json::from_value(self.tracks)?),
            "remove" => Operation::Remove(serde_json::from_value(self.tracks)?),
            "clone" => Operation::Clone(serde_json::from_value(self.tracks)?),
            _ => return Ok(None),
        }))
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
                            let read = operation.read().map_err(serde::de::Error::custom)?;
                            read.map_or(Ok(()), &mut add)?;
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
                        draft.push(cloned(&draft, fields, &mut list)?)?;
                    }
                }
            }
        }
        self.tracks = draft.into_tracks();
        Ok(())
    }
}

/// A track that differs from its parent in these fields.
fn cloned(
    draft: &Draft,
    fields: &Map<String, Value>,
    list: &mut InitData<'_>,
) -> Result<CatalogTrack, CatalogError> {
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    let parent = text("parentName").unwrap_or_default();
    let parent = draft.find(parent, text("parentNamespace"))?;
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
