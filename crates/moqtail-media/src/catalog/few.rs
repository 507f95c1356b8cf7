//! Lists in the JSON of a catalog, of which not more is held than may be in one.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::MAX_CATALOG_TRACKS;

/// A list of tracks, or one more than [`MAX_CATALOG_TRACKS`] of a longer one, which tells that it is
/// too long.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Few<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(FewVisitor(PhantomData)).map(Self)
    }
}

struct FewVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FewVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tracks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut tracks = Vec::new();
        while tracks.len() <= MAX_CATALOG_TRACKS {
            match list.next_element()? {
                Some(track) => tracks.push(track),
                None => return Ok(tracks),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(tracks)
    }
}
