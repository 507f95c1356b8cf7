//! Objects of a catalog track, one after the other.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::catalog::{Catalog, CatalogObject, CatalogTrack};

/// The namespace of the catalog track.
const INHERITED: &str = "n";

/// A catalog and updates of it, with a zero byte between them: what is refused changes nothing, and no object gives more
/// initialization data than it has bytes. No track is known by the namespace that it inherits.
pub fn catalog(data: &[u8]) {
    let mut catalog = Catalog::default();
    for json in data.split(|byte| *byte == 0) {
        let held = init_data(&catalog);
        let read = CatalogObject::from_json(json)
            .and_then(|object| object.inheriting(|namespace| namespace == INHERITED));
        match read {
            Ok(CatalogObject::Full(full)) => {
                round_trip(&full, json.len());
                catalog = full;
            }
            Ok(CatalogObject::Update(update)) => {
                let before = catalog.clone();
                if catalog.apply(&update).is_err() {
                    assert_eq!(catalog, before, "a refused update changed something");
                }
            }
            Err(_) => {}
        }
        let mut added = init_data(&catalog);
        added.retain(|place, _| !held.contains_key(place));
        let added: usize = added.values().sum();
        assert!(added <= json.len(), "{added} bytes of {}", json.len());
        check_names(&catalog);
    }
}

fn round_trip(catalog: &Catalog, len: usize) {
    let again = Catalog::from_json(&catalog.to_json_msf01());
    assert_eq!(again.ok().as_ref(), Some(catalog));
    // This form has shared data once for each track.
    let data = catalog.tracks.iter().filter_map(|t| t.init_data.as_ref());
    if data.map(Bytes::len).sum::<usize>() <= len {
        let again = Catalog::from_json(&catalog.to_json());
        assert_eq!(again.ok().as_ref(), Some(catalog));
    }
}

/// Where initialization data lies in memory, and how much it is there.
fn init_data(catalog: &Catalog) -> BTreeMap<*const u8, usize> {
    let data = catalog.tracks.iter().filter_map(|t| t.init_data.as_ref());
    data.map(|data| (data.as_ptr(), data.len())).collect()
}

fn check_names(catalog: &Catalog) {
    let name = |track: &CatalogTrack| (track.namespace.clone(), track.name.clone());
    let mut names: Vec<_> = catalog.tracks.iter().map(name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    let inherited =
        |(namespace, _): &(Option<String>, String)| namespace.as_deref() == Some(INHERITED);
    assert!(!names.iter().any(inherited), "{names:?}");
}
