//! What an object says of the track, and what it shares with its copies.

use super::MalformedTrack;
use crate::model::{Extensions, Gaps, Location, ObjectDatagram, ObjectStatus};

/// What the head of an object says of the track.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) at: Location,
    pub(super) status: ObjectStatus,
    pub(super) gaps: Gaps,
}

impl Claim {
    /// What an object with these extension headers says.
    pub(super) fn new(
        at: Location,
        status: ObjectStatus,
        extensions: &Extensions,
    ) -> Result<Self, MalformedTrack> {
        match extensions.gaps(at) {
            Ok(gaps) => Ok(Self { at, status, gaps }),
            Err(cause) => Err(MalformedTrack::Extensions { at, cause }),
        }
    }

    pub(super) fn of_datagram(datagram: &ObjectDatagram) -> Result<Self, MalformedTrack> {
        let at = Location::new(datagram.group, datagram.object);
        Self::new(at, datagram.body.status(), &datagram.extensions)
    }

    /// Whether its group may be without any object (draft-14 §10.2.1.1), as a gap in the groups says too (§11.1).
    pub(super) fn fits_empty_group(&self) -> bool {
        match self.status {
            ObjectStatus::DoesNotExist => true,
            ObjectStatus::EndOfGroup => self.at.object == 0,
            _ => false,
        }
    }

    /// Whether it stands for an end instead of an object.
    pub(super) fn is_end(&self) -> bool {
        matches!(
            self.status,
            ObjectStatus::EndOfGroup | ObjectStatus::EndOfTrack
        )
    }
}

/// What all copies of an object have in common besides the bytes of their payload; extension headers may differ
/// (draft-14 §8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Properties {
    /// `None`: it came as a datagram.
    pub(super) subgroup: Option<u64>,
    pub(super) status: ObjectStatus,
    pub(super) publisher_priority: u8,
    /// Bytes of payload.
    pub(super) len: u64,
}

impl Properties {
    pub(super) fn of_datagram(datagram: &ObjectDatagram) -> Self {
        Self {
            subgroup: None,
            status: datagram.body.status(),
            publisher_priority: datagram.publisher_priority,
            len: datagram.body.payload().len() as u64,
        }
    }

    /// Whether `copy` may be the same object.
    pub(super) fn check_copy(&self, at: Location, copy: &Self) -> Result<(), MalformedTrack> {
        // draft-14 §2.5 case 8, §8.1
        let what = if self.subgroup != copy.subgroup {
            "subgroup"
        } else if self.status != copy.status {
            "status"
        } else if self.publisher_priority != copy.publisher_priority {
            "priority"
        } else if self.len != copy.len {
            "payload"
        } else {
            return Ok(());
        };
        Err(MalformedTrack::Contradiction { at, what })
    }
}
