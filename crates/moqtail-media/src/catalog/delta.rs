//! Delta updates: catalog objects that change the catalog before them (MSF-00 §5.2).

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::json::{InitEntry, TrackJson, check_size};
use super::{Catalog, CatalogError, MAX_CATALOG_BYTES, MAX_CATALOG_TRACKS};

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
    Add(Vec<TrackJson>),
    Remove(Vec<TrackId>),
    /// Fields that overwrite those of the parent.
    Clone(Vec<Map<String, Value>>),
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
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "addTracks" => update.operations.push(Operation::Add(map.next_value()?)),
                "removeTracks" => update.operations.push(Operation::Remove(map.next_value()?)),
                "cloneTracks" => update.operations.push(Operation::Clone(map.next_value()?)),
                "initDataList" => update.init_data = map.next_value()?,
                "deltaUpdate" => {
                    if let DeltaField::Operations(operations) = map.next_value()? {
                        for operation in operations {
                            let read = operation.read().map_err(serde::de::Error::custom)?;
                            update.operations.extend(read);
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
        let mut next = self.clone();
        for operation in &update.operations {
            match operation {
                Operation::Add(tracks) => {
                    for track in tracks {
                        next.tracks.push(track.resolve(&update.init_data)?);
                        check_size(next.tracks.len(), MAX_CATALOG_TRACKS, "tracks")?;
                    }
                }
                Operation::Remove(ids) => {
                    for id in ids {
                        let at = next.position(&id.name, id.namespace.as_deref())?;
                        next.tracks.remove(at);
                    }
                }
                Operation::Clone(clones) => {
                    for clone in clones {
                        next.clone_track(clone, &update.init_data)?;
                        check_size(next.tracks.len(), MAX_CATALOG_TRACKS, "tracks")?;
                    }
                }
            }
            next.check_names()?;
        }
        *self = next;
        Ok(())
    }

    fn position(&self, name: &str, namespace: Option<&str>) -> Result<usize, CatalogError> {
        let found = self.tracks.iter().position(|track| {
            track.name == name && (namespace.is_none() || track.namespace.as_deref() == namespace)
        });
        found.ok_or_else(|| CatalogError::UnknownTrack(name.to_owned()))
    }

    fn clone_track(
        &mut self,
        fields: &Map<String, Value>,
        list: &[InitEntry],
    ) -> Result<(), CatalogError> {
        let text = |key: &str| fields.get(key).and_then(Value::as_str);
        let parent = text("parentName").unwrap_or_default();
        let at = self.position(parent, text("parentNamespace"))?;
        let Some(parent) = self.tracks.get(at) else {
            return Ok(());
        };
        let mut merged = serde_json::to_value(TrackJson::from_track(parent))?;
        if let Value::Object(merged) = &mut merged {
            if fields.contains_key("initRef") {
                merged.remove("initData");
            }
            for (key, value) in fields {
                merged.insert(key.clone(), value.clone());
            }
        }
        let track: TrackJson = serde_json::from_value(merged)?;
        self.tracks.push(track.resolve(list)?);
        Ok(())
    }
}
