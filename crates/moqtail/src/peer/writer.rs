//! Publishing a track from inside this process.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{Extensions, ObjectDatagram, ObjectStatus, PublishDoneCode, StreamCode};
use crate::track::{SubgroupOptions, WriteError};

use super::Track;

/// The local publisher of a track. Dropping it ends the track with TRACK_ENDED.
///
/// No call waits: objects go into the log of the track, from where sessions take them; without subscribers they leave
/// it as it fills up.
#[derive(Debug)]
pub struct LocalTrack {
    track: Arc<Track>,
}

impl LocalTrack {
    /// Becomes a publisher of `track`.
    pub fn new(track: Arc<Track>) -> Self {
        Self { track }
    }

    /// The track.
    pub fn track(&self) -> &Arc<Track> {
        &self.track
    }

    /// Opens a subgroup.
    ///
    /// # Errors
    /// The track has ended or has too many open subgroups.
    pub fn subgroup(&self, options: SubgroupOptions) -> Result<LocalSubgroup, WriteError> {
        let _ = options;
        todo!()
    }

    /// Publishes one object as a datagram; its Track Alias is not looked at.
    ///
    /// # Errors
    /// The object cannot be encoded or contradicts the track.
    pub fn datagram(&self, datagram: ObjectDatagram) -> Result<(), WriteError> {
        let _ = datagram;
        todo!()
    }

    /// Ends the track: subscriptions end with `code` when they have delivered what is there.
    pub fn end(self, code: PublishDoneCode, reason: &str) {
        let _ = (code, reason);
        todo!()
    }
}

/// An open subgroup of a [`LocalTrack`]. Dropping it resets it with CANCELLED.
#[derive(Debug)]
pub struct LocalSubgroup {
    _track: Arc<Track>,
}

impl LocalSubgroup {
    /// Publishes a whole object.
    ///
    /// # Errors
    /// Nothing was published; the subgroup stays usable unless the track has ended.
    pub fn object(
        &mut self,
        object: u64,
        extensions: &Extensions,
        payload: Bytes,
    ) -> Result<(), WriteError> {
        let _ = (object, extensions, payload);
        todo!()
    }

    /// Begins an object of `payload_len` bytes whose payload follows in pieces.
    ///
    /// # Errors
    /// As [`LocalSubgroup::object`].
    pub fn begin(
        &mut self,
        object: u64,
        extensions: &Extensions,
        payload_len: u64,
    ) -> Result<(), WriteError> {
        let _ = (object, extensions, payload_len);
        todo!()
    }

    /// The next piece of the payload of the object that was begun.
    ///
    /// # Errors
    /// More than was announced; nothing was published of the piece.
    pub fn payload(&mut self, piece: Bytes) -> Result<(), WriteError> {
        let _ = piece;
        todo!()
    }

    /// Publishes a status instead of an object: End of Group, End of Track, or that an object does not exist.
    ///
    /// # Errors
    /// As [`LocalSubgroup::object`].
    pub fn status(
        &mut self,
        object: u64,
        extensions: &Extensions,
        status: ObjectStatus,
    ) -> Result<(), WriteError> {
        let _ = (object, extensions, status);
        todo!()
    }

    /// All objects of the subgroup are published: FIN.
    ///
    /// # Errors
    /// The last object is not complete; then the subgroup was reset.
    pub fn finish(self) -> Result<(), WriteError> {
        todo!()
    }

    /// Gives the subgroup up; readers see a reset with `code`.
    pub fn reset(self, code: StreamCode) {
        let _ = code;
        todo!()
    }
}
