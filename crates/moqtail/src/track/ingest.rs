//! Cuts one inbound subgroup stream into objects for the log of its track.

use std::time::Instant;

use bytes::Bytes;

use super::{
    MalformedTrack, PublisherId,
    batch::{Batch, ObjectMark, downstream},
    chunks::{PACK_BELOW, Packer},
    ids::StreamId,
    log::TrackLog,
    run::header_bytes,
};
use crate::model::{
    DecodeError, ObjectFrame, ObjectLimits, StreamCode, SubgroupDecoder, SubgroupHeader,
};

/// Why an inbound stream cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The peer broke the draft: the session ends.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The publisher broke the data model: the track ends.
    #[error(transparent)]
    Malformed(#[from] MalformedTrack),
    /// The track has ended: nobody wants the rest.
    #[error("the track has ended")]
    Ended,
}

/// One inbound subgroup stream. In each turn bytes are read and parsed without the log, then committed to it at once.
///
/// Ends with [`StreamIngest::finish`] or [`StreamIngest::reset`].
#[derive(Debug)]
pub struct StreamIngest {
    stream: StreamId,
    header_bytes: Option<Bytes>,
    decoder: SubgroupDecoder,
    packer: Packer,
    /// Bytes read and not committed, from stream offset `start`: between turns part of an object's header at most.
    raw: Vec<Bytes>,
    start: u64,
    /// End of the last object whose header was read.
    object_end: u64,
    objects: Vec<ObjectMark>,
}

impl StreamIngest {
    /// A stream of `publisher` that began with `header`. `None`: the log takes no more streams.
    pub fn new(
        log: &mut TrackLog,
        publisher: PublisherId,
        header: &SubgroupHeader,
        limits: ObjectLimits,
    ) -> Option<Self> {
        let downstream = downstream(header, log.alias());
        Some(Self {
            stream: log.add_stream(publisher, downstream)?,
            header_bytes: header_bytes(&downstream).ok(),
            decoder: SubgroupDecoder::new(*header, limits),
            packer: Packer::default(),
            raw: Vec::new(),
            start: 0,
            object_end: 0,
            objects: Vec::new(),
        })
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// The peer is to blame; the stream cannot go on. Nothing of these bytes is delivered.
    pub fn read(&mut self, chunk: Bytes) -> Result<(), IngestError> {
        let mut rest = &chunk[..];
        while let Some(frame) = self.decoder.next_frame(&mut rest)? {
            let mark = mark(&frame)?;
            self.object_end = mark.end();
            self.objects.push(mark);
        }
        if !chunk.is_empty() {
            self.raw.push(chunk);
        }
        Ok(())
    }

    /// Where in the stream an object's header began that has not ended, after [`StreamIngest::prepare`].
    pub fn open_header(&self) -> Option<u64> {
        (!self.raw.is_empty()).then_some(self.start)
    }

    /// Packs what was read, but for the header of an object that is not complete. `None`: nothing new.
    pub fn prepare(&mut self) -> Option<PreparedTurn> {
        let end = self.decoder.position().min(self.object_end);
        if end <= self.start {
            for chunk in &mut self.raw {
                *chunk = own(std::mem::take(chunk));
            }
            return None;
        }
        let mut left = end - self.start;
        let mut pieces = Vec::with_capacity(self.raw.len());
        let mut kept = Vec::new();
        for mut chunk in self.raw.drain(..) {
            if left > 0 {
                let piece = chunk.split_to(chunk.len().min(left as usize));
                left -= piece.len() as u64;
                pieces.push(piece);
            }
            if !chunk.is_empty() {
                kept.push(own(chunk));
            }
        }
        self.raw = kept;
        let header = self.header_bytes.take();
        let objects = std::mem::take(&mut self.objects);
        let batch = Batch::pack(&mut self.packer, header, pieces, self.start, objects);
        self.start = end;
        Some(PreparedTurn(batch))
    }

    /// Enters a turn into the log.
    ///
    /// # Errors
    /// The track is malformed, by this stream or before, or has ended.
    pub fn commit(
        &mut self,
        log: &mut TrackLog,
        turn: &PreparedTurn,
        now: Instant,
    ) -> Result<(), IngestError> {
        log.append(self.stream, &turn.0, now)
            .inspect_err(|why| log.set_malformed(why.clone()))?;
        match log.ended() {
            Some(_) => Err(IngestError::Ended),
            None => Ok(()),
        }
    }

    /// The stream ended with FIN; all turns are committed.
    ///
    /// # Errors
    /// FIN inside an object (draft-14 §10.4), or the end makes the track malformed.
    pub fn finish(self, log: &mut TrackLog) -> Result<(), IngestError> {
        if let Err(error) = self.decoder.finish() {
            log.reset_stream(self.stream, StreamCode::INTERNAL_ERROR);
            return Err(error.into());
        }
        log.finish_stream(self.stream)
            .inspect_err(|why| log.set_malformed(why.clone()))?;
        Ok(())
    }

    /// What was read breaks the draft or the data model; readers see a reset, or the end of the track.
    pub fn fail(self, log: &mut TrackLog, error: &IngestError) {
        // draft-14 §10.4.3: downstream the subgroup stays incomplete
        log.reset_stream(self.stream, StreamCode::INTERNAL_ERROR);
        if let IngestError::Malformed(why) = error {
            log.set_malformed(why.clone());
        }
    }

    /// The stream ended early; readers see a reset with `code` unless another stream goes on.
    pub fn reset(self, log: &mut TrackLog, code: StreamCode) {
        log.reset_stream(self.stream, code);
    }
}

/// What a stream brought in one turn, ready to be entered into the log.
#[derive(Debug)]
pub struct PreparedTurn(Batch);

/// A small piece that has to wait: copied once, because the buffer it was received in may be far larger.
fn own(piece: Bytes) -> Bytes {
    if piece.len() >= PACK_BELOW {
        return piece;
    }
    Bytes::copy_from_slice(&piece)
}

fn mark(frame: &ObjectFrame<'_>) -> Result<ObjectMark, MalformedTrack> {
    let at = frame.location;
    let gaps = frame
        .gaps()
        .map_err(|cause| MalformedTrack::Extensions { at, cause })?;
    Ok(ObjectMark {
        id: at.object,
        start: frame.start,
        head_len: frame.head_len() as u64,
        delta_len: frame.delta_len as u8,
        payload_len: frame.payload_len,
        status: frame.status,
        gaps,
    })
}
