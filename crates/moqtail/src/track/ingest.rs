//! Cuts one inbound subgroup stream into objects for the log of its track.

use std::time::Instant;

use bytes::Bytes;

use super::{
    MalformedTrack, PublisherId,
    batch::{Batch, ObjectMark, downstream},
    chunks::Packer,
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
    /// An object's header so far that is not complete, from stream offset `start`. In one piece of its own: the buffers it
    /// was received in may be far larger, and what comes byte by byte would cost a buffer for each.
    head: Vec<u8>,
    /// What the log was told that it costs.
    noted: usize,
    /// What was read since, in this turn.
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
            head: Vec::new(),
            noted: 0,
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
        (!self.head.is_empty()).then_some(self.start)
    }

    /// Bytes that are allocated for that header, here and in the decoder.
    pub fn open_header_cost(&self) -> usize {
        2 * self.head.capacity()
    }

    /// Packs what was read, but for the header of an object that is not complete. `None`: nothing new.
    pub fn prepare(&mut self) -> Option<PreparedTurn> {
        let end = self.decoder.position().min(self.object_end);
        if end <= self.start {
            self.raw
                .drain(..)
                .for_each(|chunk| self.head.extend_from_slice(&chunk));
            return None;
        }
        let mut pieces = Vec::with_capacity(self.raw.len() + 1);
        if !self.head.is_empty() {
            // All of it, and nothing but it: what is kept pins no room to grow.
            pieces.push(Bytes::from(
                std::mem::take(&mut self.head).into_boxed_slice(),
            ));
        }
        let waited = pieces.first().map_or(0, Bytes::len) as u64;
        let mut left = (end - self.start).saturating_sub(waited);
        for mut chunk in self.raw.drain(..) {
            if left > 0 {
                let piece = chunk.split_to(chunk.len().min(left as usize));
                left -= piece.len() as u64;
                pieces.push(piece);
            }
            self.head.extend_from_slice(&chunk);
        }
        let header = self.header_bytes.take();
        let objects = std::mem::take(&mut self.objects);
        let batch = Batch::pack(&mut self.packer, header, pieces, self.start, objects);
        self.start = end;
        Some(PreparedTurn(batch))
    }

    /// Has the log count the header that is not complete, after a turn in which [`StreamIngest::prepare`] gave nothing to
    /// commit.
    pub fn note_header(&mut self, log: &mut TrackLog) {
        let cost = self.open_header_cost();
        if std::mem::replace(&mut self.noted, cost) != cost {
            log.note_waiting(self.stream, cost);
        }
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
        self.note_header(log);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SubgroupId, TrackAlias};
    use crate::track::TrackLimits;

    const EXTENSIONS: usize = 20_000;

    /// An object whose header is long: Object ID Delta, length of the extensions, one extension of bytes, and a payload.
    fn long_header() -> (Vec<u8>, usize) {
        let value = EXTENSIONS - 5;
        let mut bytes = vec![0];
        bytes.extend((0x8000_0000 + EXTENSIONS as u32).to_be_bytes());
        bytes.push(1);
        bytes.extend((0x8000_0000 + value as u32).to_be_bytes());
        bytes.extend((0..value).map(|at| at as u8));
        bytes.push(7);
        let header = bytes.len();
        bytes.extend(*b"payload");
        (bytes, header)
    }

    fn stream(log: &mut TrackLog) -> StreamIngest {
        let header = SubgroupHeader {
            track_alias: TrackAlias(1),
            group: 0,
            subgroup: SubgroupId::Zero,
            publisher_priority: 0,
            extensions: true,
            end_of_group: false,
        };
        let publisher = log.add_publisher();
        StreamIngest::new(log, publisher, &header, ObjectLimits::default()).unwrap()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant cannot be made in another way"
    )]
    fn now() -> Instant {
        Instant::now()
    }

    /// It is kept in one piece, no byte of it is copied again in every turn, and it counts while it waits.
    #[test]
    fn a_header_that_trickles_costs_what_it_is_long() {
        let mut log = TrackLog::new(TrackAlias(5), TrackLimits::default());
        let mut ingest = stream(&mut log);
        let (bytes, header) = long_header();
        let received = Bytes::from(bytes.clone());
        let before = log.footprint();
        let (mut moves, mut place) = (0, std::ptr::null());
        for at in 0..header - 1 {
            ingest.read(received.slice(at..at + 1)).unwrap();
            assert!(ingest.prepare().is_none());
            ingest.note_header(&mut log);
            assert_eq!(ingest.open_header(), Some(0));
            assert!(ingest.raw.is_empty());
            let now = ingest.head.as_ptr();
            moves += usize::from(now != place);
            place = now;
        }
        assert!(moves < 100, "moved {moves} times");
        // Here and in the decoder.
        assert!(log.footprint() - before >= 2 * (header - 1));
        ingest.read(received.slice(header - 1..)).unwrap();
        let turn = ingest.prepare().unwrap();
        ingest.commit(&mut log, &turn, now()).unwrap();
        assert_eq!(ingest.open_header(), None);
        let run = log.runs.newest_first().next().unwrap();
        let all: Vec<u8> = run.read(0, run.end()).flatten().collect();
        assert!(all.ends_with(&bytes));
        let kept = log.bytes() - before;
        assert!(kept < bytes.len() + 4096, "{kept}");
    }

    /// What waited counts no more when its stream is over.
    #[test]
    fn the_header_of_a_lost_stream_is_given_back() {
        let mut log = TrackLog::new(TrackAlias(5), TrackLimits::default());
        let before = log.footprint();
        for how in 0..3 {
            let mut ingest = stream(&mut log);
            ingest
                .read(Bytes::from(long_header().0).slice(..9000))
                .unwrap();
            assert!(ingest.prepare().is_none());
            ingest.note_header(&mut log);
            assert!(log.footprint() > before + 18_000);
            match how {
                0 => ingest.reset(&mut log, StreamCode::CANCELLED),
                1 => assert!(ingest.finish(&mut log).is_err()),
                _ => log.end(crate::model::PublishDoneCode::TRACK_ENDED, ""),
            }
            assert_eq!(log.footprint(), before);
        }
    }
}
