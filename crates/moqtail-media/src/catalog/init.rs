//! Initialization data in the JSON of a catalog: inline in a track, or in a list that tracks refer to.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Base64 as RFC 4648 §4 has it, with or without padding.
const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The type of an entry that holds the data itself.
const INLINE: &str = "inline";

/// One entry of `initDataList` (MSF-01).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct InitEntry {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    data: String,
}

impl InitEntry {
    /// An entry that holds the data itself.
    pub(super) fn inline(id: String, data: &[u8]) -> Self {
        Self {
            id,
            kind: INLINE.to_owned(),
            data: encode(data),
        }
    }
}

/// Entries by id. However many tracks refer to one, it is decoded once and they share the bytes.
pub(super) struct InitData<'a>(BTreeMap<&'a str, Entry<'a>>);

enum Entry<'a> {
    Encoded(&'a str),
    Decoded(Bytes),
    /// Of a type that points at properties of the track or its objects.
    Elsewhere,
}

impl<'a> InitData<'a> {
    /// The entries of a list. Of those with one id the first counts.
    pub(super) fn of(list: &'a [InitEntry]) -> Self {
        let mut entries = BTreeMap::new();
        for entry in list {
            entries.entry(&*entry.id).or_insert(match &*entry.kind {
                INLINE => Entry::Encoded(&entry.data),
                _ => Entry::Elsewhere,
            });
        }
        Self(entries)
    }

    /// The data of an entry; `None` where that is not in the list. The error says why there is none.
    pub(super) fn get(&mut self, id: &str) -> Result<Option<Bytes>, String> {
        let entry = self.0.get_mut(id);
        let entry = entry.ok_or_else(|| format!("no entry `{id}` in the list"))?;
        if let Entry::Encoded(text) = entry {
            *entry = Entry::Decoded(decode(text)?);
        }
        Ok(match entry {
            Entry::Decoded(data) => Some(data.clone()),
            Entry::Encoded(_) | Entry::Elsewhere => None,
        })
    }
}

/// Base64, with padding.
pub(super) fn encode(data: &[u8]) -> String {
    STANDARD.encode(data)
}

/// Decodes base64, with or without padding; the error says what is wrong with it.
pub(super) fn decode(text: &str) -> Result<Bytes, String> {
    let decoded = TOLERANT.decode(text);
    decoded.map(Bytes::from).map_err(|error| error.to_string())
}
