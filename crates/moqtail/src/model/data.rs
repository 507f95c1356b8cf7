//! Objects and the heads of data streams and datagrams (draft-14 §10).

use bytes::Bytes;

use super::{RequestId, TrackAlias};

/// Object Status (draft-14 §10.2.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ObjectStatus {
    /// 0x0: an ordinary object; its payload may be empty.
    #[default]
    Normal,
    /// 0x1: the object does not exist and never will.
    DoesNotExist,
    /// 0x3: the group ends before this Object ID.
    EndOfGroup,
    /// 0x4: the track ends before this Location.
    EndOfTrack,
}

/// Extension headers of an object: a sequence of Key-Value-Pairs kept byte for byte (draft-14 §10.2.1.2).
///
/// The bytes were checked to be well-formed pairs when they were decoded or built; `draft14` reads and writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Extensions(pub(in crate::model) Bytes);

impl Extensions {
    /// The bytes of the pairs, without their length.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What the extension headers of one object say does not exist (draft-14 §11.1, §11.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Gaps {
    /// So many groups before the object's group.
    pub groups: Option<u64>,
    /// So many objects of the group before the object.
    pub objects: Option<u64>,
}

/// How a subgroup stream gives its Subgroup ID (draft-14 §10.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubgroupId {
    /// Subgroup 0, no field.
    Zero,
    /// The Object ID of the first object on the stream.
    FirstObject,
    /// A field of the header.
    Explicit(u64),
}

impl SubgroupId {
    /// The Subgroup ID as far as the header says it; `None`: the first object does.
    pub fn told(self) -> Option<u64> {
        match self {
            Self::Zero => Some(0),
            Self::FirstObject => None,
            Self::Explicit(id) => Some(id),
        }
    }
}

/// SUBGROUP_HEADER (0x10-0x15, 0x18-0x1D, draft-14 §10.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubgroupHeader {
    /// The track.
    pub track_alias: TrackAlias,
    /// Group ID of all objects on the stream.
    pub group: u64,
    /// Subgroup ID or where to take it from.
    pub subgroup: SubgroupId,
    /// 0 is the most urgent.
    pub publisher_priority: u8,
    /// Every object carries an Extension Headers Length.
    pub extensions: bool,
    /// The last object before a FIN is the last of the group.
    pub end_of_group: bool,
}

/// FETCH_HEADER (0x05, draft-14 §10.4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FetchHeader {
    /// The FETCH that the stream answers.
    pub request_id: RequestId,
}

/// What stands at the start of a unidirectional stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamHeader {
    /// Objects of one subgroup.
    Subgroup(SubgroupHeader),
    /// Objects of a FETCH.
    Fetch(FetchHeader),
}

/// Fields of an object before its payload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectHeader {
    /// Object ID.
    pub object: u64,
    /// Extension headers; empty when the stream type has none.
    pub extensions: Extensions,
    /// Status; anything but Normal has no payload.
    pub status: ObjectStatus,
    /// Payload length in bytes.
    pub payload_len: u64,
}

/// Fields of an object on a fetch stream before its payload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FetchObjectHeader {
    /// Group ID.
    pub group: u64,
    /// Subgroup ID; the Object ID for objects of datagram tracks.
    pub subgroup: u64,
    /// 0 is the most urgent.
    pub publisher_priority: u8,
    /// The other fields.
    pub object: ObjectHeader,
}

/// What a datagram carries after its fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DatagramBody {
    /// Payload of a Normal object; may be empty.
    Payload(Bytes),
    /// Status instead of payload (types 0x20, 0x21).
    Status(ObjectStatus),
}

impl DatagramBody {
    /// The status of the object; one with a payload is Normal.
    pub fn status(&self) -> ObjectStatus {
        match self {
            Self::Payload(_) => ObjectStatus::Normal,
            Self::Status(status) => *status,
        }
    }

    /// The payload, empty where there is a status instead.
    pub fn payload(&self) -> &[u8] {
        match self {
            Self::Payload(payload) => payload,
            Self::Status(_) => &[],
        }
    }
}

/// OBJECT_DATAGRAM (0x00-0x07, 0x20, 0x21, draft-14 §10.3.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectDatagram {
    /// The track.
    pub track_alias: TrackAlias,
    /// Group ID.
    pub group: u64,
    /// Object ID.
    pub object: u64,
    /// The type leaves the Object ID out, which means 0. Kept so that a relay forwards what came.
    pub object_id_absent: bool,
    /// 0 is the most urgent.
    pub publisher_priority: u8,
    /// This object is the last of its group.
    pub end_of_group: bool,
    /// Extension headers; empty: a type without them.
    pub extensions: Extensions,
    /// Payload or status.
    pub body: DatagramBody,
}
