//! Objects as an application sees them.

use bytes::Bytes;

use crate::model::{Extensions, Location, ObjectStatus};

/// One whole object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Object {
    /// Group ID.
    pub group: u64,
    /// Subgroup ID; `None` for an object that came by datagram.
    pub subgroup: Option<u64>,
    /// Object ID.
    pub object: u64,
    /// 0 is the most urgent.
    pub publisher_priority: u8,
    /// Normal, or what the publisher says of this place in the track.
    pub status: ObjectStatus,
    /// This object is the last of its group, as far as its datagram says so; streams tell it by their header.
    pub end_of_group: bool,
    /// Extension headers as they came.
    pub extensions: Extensions,
    /// The payload; empty unless the status is Normal.
    pub payload: Bytes,
}

impl Object {
    /// Group and Object ID.
    pub fn location(&self) -> Location {
        Location::new(self.group, self.object)
    }
}
