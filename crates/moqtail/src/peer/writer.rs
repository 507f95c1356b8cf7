//! Publishing a track from inside this process.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Track,
    claims::{Claim, OpenSubgroups},
};
use crate::model::{
    DatagramBody, Extensions, Location, ObjectDatagram, ObjectHeader, ObjectStatus,
    PublishDoneCode, StreamCode,
};
use crate::track::{PublisherId, SubgroupOptions, SubgroupWriter, TrackLog, WriteError};

/// The local publisher of a track. Dropping it ends the track with TRACK_ENDED.
///
/// No call waits: objects go into the log of the track, from where sessions take them; without subscribers they leave
/// it as it fills up.
#[derive(Debug)]
pub struct LocalTrack {
    track: Arc<Track>,
    publisher: PublisherId,
    open: Arc<OpenSubgroups>,
}

impl LocalTrack {
    /// Becomes a publisher of `track`.
    pub fn new(track: Arc<Track>) -> Self {
        let publisher = track.add_publisher();
        Self {
            track,
            publisher,
            open: Arc::default(),
        }
    }

    /// The track.
    pub fn track(&self) -> &Arc<Track> {
        &self.track
    }

    /// Opens a subgroup. Each has one stream (draft-14 §2.2): to write it from several tasks, share this one. Subgroups
    /// that are named by their first object and are otherwise alike look alike on the wire, and are written one after the
    /// other as well (§10.4).
    ///
    /// # Errors
    /// The track has ended or has too many open subgroups, or this one is open already.
    pub fn subgroup(&self, options: SubgroupOptions) -> Result<LocalSubgroup, WriteError> {
        let claim = Claim::new(&self.open, &options)?;
        let writer = self
            .track
            .with_log(|log| SubgroupWriter::new(log, self.publisher, options))?;
        Ok(LocalSubgroup {
            track: self.track.clone(),
            writer: Some(writer),
            claim,
        })
    }

    /// Publishes one object as a datagram; its Track Alias is not looked at. One that is too large for the path of a session, more
    /// than some 1100 bytes, is not sent there, and nobody is told (draft-14 §10.3).
    ///
    /// # Errors
    /// Nothing was published.
    pub fn datagram(&self, datagram: ObjectDatagram) -> Result<(), WriteError> {
        let now = Instant::now().into_std();
        self.track.write(|log| {
            if let DatagramBody::Status(status) = datagram.body {
                log.check_end(Location::new(datagram.group, datagram.object), status)?;
            }
            log.publish_datagram(datagram, now)
        })
    }

    /// Ends the track: subscriptions end with `code` when they have delivered what is there. Subgroups that are open are
    /// reset.
    pub fn end(self, code: PublishDoneCode, reason: &str) {
        self.track.end(code, reason);
    }
}

impl Drop for LocalTrack {
    fn drop(&mut self) {
        self.track
            .end(PublishDoneCode::TRACK_ENDED, "the track has ended");
        self.track.remove_publisher(self.publisher);
    }
}

/// An open subgroup of a [`LocalTrack`]. Dropping it resets it with CANCELLED.
#[derive(Debug)]
pub struct LocalSubgroup {
    track: Arc<Track>,
    writer: Option<SubgroupWriter>,
    claim: Claim,
}

impl LocalSubgroup {
    /// Publishes a whole object.
    ///
    /// # Errors
    /// Nothing was published; the subgroup stays usable unless the track has ended. The object may not name a subgroup
    /// that is open already.
    pub fn object(
        &mut self,
        object: u64,
        extensions: &Extensions,
        payload: Bytes,
    ) -> Result<(), WriteError> {
        let len = payload.len() as u64;
        self.put(object, extensions, ObjectStatus::Normal, len, payload)
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
        let none = Bytes::new();
        self.put(object, extensions, ObjectStatus::Normal, payload_len, none)
    }

    /// The next piece of the payload of the object that was begun.
    ///
    /// # Errors
    /// More than was announced; nothing was published of the piece.
    pub fn payload(&mut self, piece: Bytes) -> Result<(), WriteError> {
        self.with(|writer, log, now| writer.payload(log, piece, now))
    }

    /// Publishes a status instead of an object: that an object does not exist, End of Group, which has the id after the
    /// largest object of the group, 0 if there is none, or End of Track, which has that of the largest group or is object
    /// 0 of the next one (draft-14 §10.2.1.1).
    ///
    /// # Errors
    /// As [`LocalSubgroup::object`].
    pub fn status(
        &mut self,
        object: u64,
        extensions: &Extensions,
        status: ObjectStatus,
    ) -> Result<(), WriteError> {
        self.put(object, extensions, status, 0, Bytes::new())
    }

    fn put(
        &mut self,
        object: u64,
        extensions: &Extensions,
        status: ObjectStatus,
        payload_len: u64,
        payload: Bytes,
    ) -> Result<(), WriteError> {
        let header = ObjectHeader {
            object,
            extensions: extensions.clone(),
            status,
            payload_len,
        };
        let names_it = self.claim.first_object(object)?;
        let result = self.with(|writer, log, now| writer.object(log, &header, payload, now));
        if result.is_err() && names_it {
            self.claim.no_first_object();
        }
        result
    }

    fn with(
        &mut self,
        f: impl FnOnce(&mut SubgroupWriter, &mut TrackLog, std::time::Instant) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let now = Instant::now().into_std();
        match &mut self.writer {
            Some(writer) => self.track.write(|log| f(writer, log, now)),
            None => Err(WriteError::Ended),
        }
    }

    /// All objects of the subgroup are published: FIN.
    ///
    /// # Errors
    /// The track has ended, or the last object is not complete; then the subgroup was reset.
    pub fn finish(mut self) -> Result<(), WriteError> {
        match self.writer.take() {
            Some(writer) => self.track.write(|log| writer.finish(log)),
            None => Err(WriteError::Ended),
        }
    }

    /// Gives the subgroup up; readers see a reset with `code`.
    pub fn reset(mut self, code: StreamCode) {
        self.give_up(code);
    }

    fn give_up(&mut self, code: StreamCode) {
        if let Some(writer) = self.writer.take() {
            self.track.write(|log| writer.reset(log, code));
        }
    }
}

impl Drop for LocalSubgroup {
    fn drop(&mut self) {
        self.give_up(StreamCode::CANCELLED);
    }
}
