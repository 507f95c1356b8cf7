//! A subgroup that is published from inside this process; it makes the same runs as an inbound stream.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::{
    PublisherId, SubgroupOptions, WriteError,
    batch::{Batch, ObjectMark},
    chunks::Packer,
    ids::StreamId,
    log::TrackLog,
    run::header_bytes,
    track_facts::ForwardingPreference,
};
use crate::model::{
    Extensions, Location, ObjectHeader, ObjectStatus, StreamCode, SubgroupEncoder, SubgroupHeader,
    varint_len,
};

/// One subgroup of a local publisher. Ends with [`SubgroupWriter::finish`] or [`SubgroupWriter::reset`].
#[derive(Debug)]
pub struct SubgroupWriter {
    stream: StreamId,
    header: SubgroupHeader,
    subgroup: Option<u64>,
    header_bytes: Option<Bytes>,
    encoder: SubgroupEncoder,
    packer: Packer,
    offset: u64,
    missing: u64,
}

impl SubgroupWriter {
    /// Opens a subgroup.
    ///
    /// # Errors
    /// The track is over, has too many open subgroups, or a number is too large.
    pub fn new(
        log: &mut TrackLog,
        publisher: PublisherId,
        options: SubgroupOptions,
    ) -> Result<Self, WriteError> {
        let header = SubgroupHeader {
            track_alias: log.alias(),
            group: options.group,
            subgroup: options.subgroup,
            publisher_priority: options.publisher_priority,
            extensions: options.extensions,
            end_of_group: options.end_of_group,
        };
        let bytes = header_bytes(&header)?;
        check_open(log)?;
        let stream = log
            .add_stream(publisher, header)
            .ok_or(WriteError::TooManyStreams(log.limits.max_streams))?;
        Ok(Self {
            stream,
            header,
            subgroup: options.subgroup.told(),
            header_bytes: Some(bytes),
            encoder: SubgroupEncoder::new(&header),
            packer: Packer::default(),
            offset: 0,
            missing: 0,
        })
    }

    /// Publishes the header of an object with `payload_len` bytes of payload, of which `payload` are the first.
    ///
    /// # Errors
    /// Nothing was published.
    pub fn object(
        &mut self,
        log: &mut TrackLog,
        object: &ObjectHeader,
        payload: Bytes,
        now: Instant,
    ) -> Result<(), WriteError> {
        check_open(log)?;
        if self.missing > 0 {
            return Err(WriteError::Unfinished {
                missing: self.missing,
            });
        }
        let missing = missing_after(object.payload_len, &payload)?;
        let at = Location::new(self.header.group, object.object);
        let gaps = object
            .extensions
            .gaps(at)
            .map_err(|cause| super::MalformedTrack::Extensions { at, cause })?;
        let mut encoder = self.encoder.clone();
        let mut head = BytesMut::new();
        encoder.object(object, &mut head)?;
        let mark = ObjectMark {
            id: object.object,
            start: self.offset,
            head_len: head.len() as u64,
            delta_len: varint_len(head.first().copied().unwrap_or_default()),
            payload_len: object.payload_len,
            status: object.status,
            gaps,
        };
        let subgroup = self.subgroup.unwrap_or(object.object);
        log.check_end(at, object.status)?;
        log.check(
            &mark.claim(at.group),
            ForwardingPreference::Subgroup,
            Some(subgroup),
        )?;
        let header = self.header_bytes.clone();
        let pieces = vec![head.freeze(), payload];
        let batch = Batch::pack(&mut self.packer, header, pieces, self.offset, vec![mark]);
        log.append(self.stream, &batch, now)?;
        self.header_bytes = None;
        self.subgroup = Some(subgroup);
        self.encoder = encoder;
        self.offset = batch.end;
        self.missing = missing;
        Ok(())
    }

    /// Publishes a status in place of an object.
    ///
    /// # Errors
    /// As [`SubgroupWriter::object`].
    pub fn status(
        &mut self,
        log: &mut TrackLog,
        object: u64,
        extensions: &Extensions,
        status: ObjectStatus,
        now: Instant,
    ) -> Result<(), WriteError> {
        let header = ObjectHeader {
            object,
            extensions: extensions.clone(),
            status,
            payload_len: 0,
        };
        self.object(log, &header, Bytes::new(), now)
    }

    /// Publishes the next piece of the payload.
    ///
    /// # Errors
    /// More than the object has left; nothing was published of the piece.
    pub fn payload(
        &mut self,
        log: &mut TrackLog,
        piece: Bytes,
        now: Instant,
    ) -> Result<(), WriteError> {
        check_open(log)?;
        let missing = missing_after(self.missing, &piece)?;
        let batch = Batch::pack(&mut self.packer, None, vec![piece], self.offset, Vec::new());
        log.append(self.stream, &batch, now)?;
        self.offset = batch.end;
        self.missing = missing;
        Ok(())
    }

    /// All objects are published.
    ///
    /// # Errors
    /// The track has ended, the last object misses payload, or the end contradicts what was published; then the subgroup is
    /// reset.
    pub fn finish(self, log: &mut TrackLog) -> Result<(), WriteError> {
        let end = check_open(log).and_then(|()| match self.missing {
            0 => log.check_finish(self.stream).map_err(WriteError::from),
            missing => Err(WriteError::Unfinished { missing }),
        });
        match end {
            Ok(()) => Ok(log.finish_stream(self.stream)?),
            Err(error) => {
                log.reset_stream(self.stream, StreamCode::INTERNAL_ERROR);
                Err(error)
            }
        }
    }

    /// Gives the subgroup up.
    pub fn reset(self, log: &mut TrackLog, code: StreamCode) {
        log.reset_stream(self.stream, code);
    }
}

impl TrackLog {
    /// Whether a local publisher may publish this status there: the end of a group or track has the next Object ID of its
    /// group, or of the next group.
    pub(crate) fn check_end(&self, at: Location, status: ObjectStatus) -> Result<(), WriteError> {
        let largest = self.largest();
        let next = |group| {
            let object = match self.groups.get(&group) {
                Some(known) => known.facts.next_object(),
                None if largest.is_none_or(|largest| largest.group < group) => 0,
                // Of an old group nothing may be known any more.
                None => at.object,
            };
            Location::new(group, object)
        };
        // draft-14 §10.2.1.1
        let expected = match (status, largest) {
            (ObjectStatus::EndOfGroup, _) => next(at.group),
            (ObjectStatus::EndOfTrack, Some(largest)) if at.group > largest.group => {
                Location::new(largest.group.saturating_add(1), 0)
            }
            (ObjectStatus::EndOfTrack, Some(largest)) => next(largest.group),
            (ObjectStatus::EndOfTrack, None) => Location::new(at.group, 0),
            (ObjectStatus::Normal | ObjectStatus::DoesNotExist, _) => return Ok(()),
        };
        match at == expected {
            true => Ok(()),
            false => Err(WriteError::EndElsewhere { at, expected }),
        }
    }
}

fn check_open(log: &TrackLog) -> Result<(), WriteError> {
    if let Some(why) = log.malformed() {
        return Err(why.clone().into());
    }
    match log.ended() {
        Some(_) => Err(WriteError::Ended),
        None => Ok(()),
    }
}

fn missing_after(len: u64, piece: &Bytes) -> Result<u64, WriteError> {
    let piece = piece.len() as u64;
    len.checked_sub(piece).ok_or(WriteError::Excess {
        excess: piece.saturating_sub(len),
    })
}
