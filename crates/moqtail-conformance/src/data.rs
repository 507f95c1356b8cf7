//! Stream heads, objects and datagrams, by hand (draft-14 §10).

use crate::wire::{prefixed, varint};

/// SUBGROUP_HEADER of this type; `subgroup` is written as it is given, whatever the type says.
pub fn subgroup_header(kind: u64, alias: u64, group: u64, subgroup: Option<u64>) -> Vec<u8> {
    let mut out = varint(kind);
    out.extend(varint(alias));
    out.extend(varint(group));
    out.extend(subgroup.map(varint).unwrap_or_default());
    out.push(128);
    out
}

/// FETCH_HEADER.
pub fn fetch_header(request: u64) -> Vec<u8> {
    [varint(0x05), varint(request)].concat()
}

/// An object of a subgroup without extensions.
pub fn object(delta: u64, payload: &[u8]) -> Vec<u8> {
    if payload.is_empty() {
        return [varint(delta), varint(0), varint(0)].concat();
    }
    [varint(delta), prefixed(payload)].concat()
}

/// An object of a subgroup with these extension headers.
pub fn extended_object(delta: u64, extensions: &[u8], payload: &[u8]) -> Vec<u8> {
    [varint(delta), prefixed(extensions), prefixed(payload)].concat()
}

/// A status in place of an object of a subgroup without extensions.
pub fn status(delta: u64, status: u64) -> Vec<u8> {
    [varint(delta), varint(0), varint(status)].concat()
}

/// The head of an object that promises so many bytes.
pub fn object_head(delta: u64, length: u64) -> Vec<u8> {
    [varint(delta), varint(length)].concat()
}

/// A datagram of type 0x00.
pub fn datagram(alias: u64, group: u64, object: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = varint(0x00);
    out.extend(varint(alias));
    out.extend(varint(group));
    out.extend(varint(object));
    out.push(128);
    out.extend_from_slice(payload);
    out
}
