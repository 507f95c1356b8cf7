//! A catalog in the making: its tracks in order, found by name, and what they take.

use std::collections::{BTreeMap, BTreeSet};

use super::{CatalogError, CatalogTrack, MAX_CATALOG_BYTES, MAX_CATALOG_TRACKS};

/// Tracks with names unique per namespace.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// By place in the catalog.
    tracks: BTreeMap<usize, CatalogTrack>,
    /// Places by name, then namespace.
    places: BTreeMap<String, BTreeMap<Option<String>, usize>>,
    /// The place behind all others.
    next: usize,
    /// Bytes of text and initialization data of all tracks that were ever in it.
    bytes: usize,
    /// Where the data counted in `bytes` lies, which tracks may share.
    init_data: BTreeSet<*const u8>,
}

impl Draft {
    /// Adds a track behind the others.
    pub(super) fn push(&mut self, track: CatalogTrack) -> Result<(), CatalogError> {
        check_size(self.tracks.len() + 1, MAX_CATALOG_TRACKS, "tracks")?;
        self.insert(self.next, track)?;
        self.next += 1;
        Ok(())
    }

    /// Puts `track` in the place of the one that [`find`](Self::find) finds.
    pub(super) fn replace(
        &mut self,
        name: &str,
        namespace: Option<&str>,
        track: CatalogTrack,
    ) -> Result<(), CatalogError> {
        let place = self.place(name, namespace)?;
        self.take(place);
        self.insert(place, track)
    }

    fn insert(&mut self, place: usize, track: CatalogTrack) -> Result<(), CatalogError> {
        self.bytes = self.bytes.saturating_add(text_bytes(&track));
        if let Some(data) = &track.init_data
            && self.init_data.insert(data.as_ptr())
        {
            self.bytes = self.bytes.saturating_add(data.len());
        }
        check_size(self.bytes, MAX_CATALOG_BYTES, "bytes")?;
        let namespaces = self.places.entry(track.name.clone()).or_default();
        if namespaces.insert(track.namespace.clone(), place).is_some() {
            return Err(CatalogError::DuplicateTrack(track.name));
        }
        self.tracks.insert(place, track);
        Ok(())
    }

    /// The track of this name: where no namespace is given that of the catalog, else the first one.
    pub(super) fn find(
        &self,
        name: &str,
        namespace: Option<&str>,
    ) -> Result<&CatalogTrack, CatalogError> {
        let track = self.tracks.get(&self.place(name, namespace)?);
        track.ok_or_else(|| CatalogError::UnknownTrack(name.to_owned()))
    }

    /// Removes the track that [`find`](Self::find) finds.
    pub(super) fn remove(
        &mut self,
        name: &str,
        namespace: Option<&str>,
    ) -> Result<(), CatalogError> {
        let place = self.place(name, namespace)?;
        self.take(place);
        Ok(())
    }

    fn take(&mut self, place: usize) {
        if let Some(removed) = self.tracks.remove(&place)
            && let Some(namespaces) = self.places.get_mut(&removed.name)
        {
            namespaces.remove(&removed.namespace);
        }
    }

    fn place(&self, name: &str, namespace: Option<&str>) -> Result<usize, CatalogError> {
        let place = self.places.get(name).and_then(|places| match namespace {
            Some(namespace) => places.get(&Some(namespace.to_owned())),
            None => places.get(&None).or_else(|| places.values().min()),
        });
        place
            .copied()
            .ok_or_else(|| CatalogError::UnknownTrack(name.to_owned()))
    }

    pub(super) fn into_tracks(self) -> Vec<CatalogTrack> {
        self.tracks.into_values().collect()
    }
}

/// Bytes of all text of a track.
fn text_bytes(track: &CatalogTrack) -> usize {
    let texts = [
        &track.namespace,
        &track.label,
        &track.lang,
        &track.codec,
        &track.mime_type,
        &track.event_type,
        &track.channel_config,
    ];
    let texts = texts.into_iter().flatten().map(String::len);
    let depends = track.depends.iter();
    let depends = depends.map(|name| size_of::<String>() + name.len());
    let role = track.role.as_ref().map_or(0, |role| role.as_str().len());
    let named = track.name.len() + track.packaging.as_str().len();
    named + role + texts.chain(depends).sum::<usize>()
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
