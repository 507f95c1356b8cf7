//! Drives one inbound subgroup stream into its track.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::{
    HeaderRoom, PeerLimits, Track,
    open_headers::{NoRoom, OpenHeader},
};
use crate::model::ObjectLimits;
use crate::model::{DecodeError, StreamCode, SubgroupHeader};
use crate::track::{IngestError, MalformedTrack, PublisherId, StreamIngest};
use crate::transport::{ConnectionError, RecvStream, StreamError};

/// Most bytes taken from the transport before they are passed on, so that large objects flow through.
const TURN_BYTES: usize = 64 << 10;

/// How an inbound stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IngestEnd {
    /// FIN between objects.
    Finished,
    /// The peer reset it with this data stream reset code.
    Reset(u32),
    /// The peer broke the draft: the session ends with [`DecodeError::code`].
    Decode(DecodeError),
    /// The header of an object took too long: the stream was stopped (draft-14 §3.4).
    Stalled,
    /// The track is malformed, by this stream or another: its upstream subscription is to be ended. The stream was
    /// stopped.
    Malformed(MalformedTrack),
    /// The track has ended or has too many streams, or the session too much of unfinished object headers: the stream was
    /// stopped.
    Refused,
    /// The connection is gone.
    Connection(ConnectionError),
}

/// Limits for one inbound stream.
#[derive(Clone, Debug)]
pub struct IngestLimits {
    /// Limits for its objects.
    pub objects: ObjectLimits,
    /// Longest time from the first byte of an object's header to its last.
    pub header_timeout: Duration,
    /// Room that it shares with the other streams of its session.
    pub header_room: Arc<HeaderRoom>,
}

impl IngestLimits {
    /// Limits for the streams of one session.
    pub fn of_session(limits: &PeerLimits) -> Self {
        Self {
            objects: ObjectLimits::default(),
            header_timeout: limits.object_header_timeout,
            header_room: HeaderRoom::new(limits.max_open_headers),
        }
    }
}

/// How the bytes of a stream ended.
enum End {
    Fin,
    Error(StreamError),
}

/// Reads one subgroup stream to its end and feeds `track`. `header` was already read, `rest` is what was read beyond it.
///
/// Reading never waits for subscribers. Dropping the future counts as a reset with CANCELLED: the run ends, nothing of a
/// partial object stays.
pub async fn ingest_subgroup<R: RecvStream>(
    track: Arc<Track>,
    publisher: PublisherId,
    header: SubgroupHeader,
    rest: Bytes,
    mut stream: R,
    limits: IngestLimits,
) -> IngestEnd {
    let ingest = track.with_log(|log| StreamIngest::new(log, publisher, &header, limits.objects));
    let Some(ingest) = ingest else {
        stream.stop(StreamCode::CANCELLED.0 as u32);
        return track
            .malformed()
            .map_or(IngestEnd::Refused, IngestEnd::Malformed);
    };
    let mut guard = Guard {
        track: &track,
        ingest: Some(ingest),
        open_header: OpenHeader::new(limits.header_room),
        end: None,
    };
    let mut pieces = vec![rest];
    // What came with the header, often all there is, is written once and wakes everybody once.
    let mut end = poll_fn(|cx| match poll_turn(&mut stream, cx, &mut pieces) {
        Poll::Ready(end) => Poll::Ready(end),
        Poll::Pending => Poll::Ready(None),
    })
    .await;
    // Where the header began that is not complete, and when it is to be, if ever.
    let mut header_due: Option<(u64, Option<Instant>)> = None;
    loop {
        if let Err(error) = guard.turn(&mut pieces, end.take()) {
            stream.stop(StreamCode::CANCELLED.0 as u32);
            return match error {
                IngestError::Decode(error) => IngestEnd::Decode(error),
                IngestError::Malformed(why) => IngestEnd::Malformed(why),
                IngestError::Ended => IngestEnd::Refused,
            };
        }
        if let Some(end) = guard.end.take() {
            return end;
        }
        if guard.hold_header() == Err(NoRoom) {
            stream.stop(StreamCode::CANCELLED.0 as u32);
            return IngestEnd::Refused;
        }
        let reading = poll_fn(|cx| poll_turn(&mut stream, cx, &mut pieces));
        // draft-14 §3.4
        header_due = guard.open_header().map(|start| match header_due {
            Some((known, due)) if known == start => (start, due),
            _ => (start, Instant::now().checked_add(limits.header_timeout)),
        });
        end = match header_due {
            None | Some((_, None)) => reading.await,
            Some((_, Some(due))) => match timeout_at(due, reading).await {
                Ok(end) => end,
                Err(_) => {
                    // Not the session: on a narrow link streams that come first may leave no room for this one.
                    stream.stop(StreamCode::CANCELLED.0 as u32);
                    return IngestEnd::Stalled;
                }
            },
        };
    }
}

/// Takes what the transport has, up to a turn's worth; waits only if it has nothing.
fn poll_turn<R: RecvStream>(
    stream: &mut R,
    cx: &mut Context<'_>,
    pieces: &mut Vec<Bytes>,
) -> Poll<Option<End>> {
    let mut taken = 0;
    while taken < TURN_BYTES {
        match stream.poll_read(cx, TURN_BYTES - taken) {
            Poll::Ready(Ok(Some(piece))) => {
                taken += piece.len();
                pieces.push(piece);
            }
            Poll::Ready(Ok(None)) => return Poll::Ready(Some(End::Fin)),
            Poll::Ready(Err(error)) => return Poll::Ready(Some(End::Error(error))),
            Poll::Pending if taken == 0 => return Poll::Pending,
            Poll::Pending => break,
        }
    }
    Poll::Ready(None)
}

/// Sees to it that the log learns of the end of the stream, also when the reading is dropped.
struct Guard<'a> {
    track: &'a Arc<Track>,
    ingest: Option<StreamIngest>,
    open_header: OpenHeader,
    end: Option<IngestEnd>,
}

impl Guard<'_> {
    fn open_header(&self) -> Option<u64> {
        self.ingest.as_ref().and_then(StreamIngest::open_header)
    }

    fn hold_header(&mut self) -> Result<(), NoRoom> {
        let ingest = self.ingest.as_ref();
        let cost = ingest.map_or(0, StreamIngest::open_header_cost);
        self.open_header.hold(cost)
    }

    /// Parses outside the lock, then writes once: what came, and the end of the stream if it came too.
    fn turn(&mut self, pieces: &mut Vec<Bytes>, end: Option<End>) -> Result<(), IngestError> {
        let Some(mut ingest) = self.ingest.take() else {
            return Ok(());
        };
        for piece in pieces.drain(..) {
            if let Err(error) = ingest.read(piece) {
                self.track.write(|log| ingest.fail(log, &error));
                return Err(error);
            }
        }
        let turn = ingest.prepare();
        if turn.is_none() && end.is_none() {
            if ingest.open_header().is_some() {
                self.track.with_log(|log| ingest.note_header(log));
            }
            self.ingest = Some(ingest);
            return Ok(());
        }
        let now = Instant::now().into_std();
        self.track.write(|log| {
            if let Some(turn) = turn
                && let Err(error) = ingest.commit(log, &turn, now)
            {
                ingest.reset(log, StreamCode::CANCELLED);
                return Err(error);
            }
            match end {
                None => self.ingest = Some(ingest),
                Some(End::Fin) => {
                    ingest.finish(log)?;
                    self.end = Some(IngestEnd::Finished);
                }
                Some(End::Error(error)) => {
                    let (code, end) = lost(error);
                    ingest.reset(log, code);
                    self.end = Some(end);
                }
            }
            Ok(())
        })
    }
}

/// What readers see of a stream that ended early, and what is told of it.
fn lost(error: StreamError) -> (StreamCode, IngestEnd) {
    match error {
        StreamError::Reset(code) => (StreamCode(u64::from(code)), IngestEnd::Reset(code)),
        StreamError::Connection(error) => (StreamCode::CANCELLED, IngestEnd::Connection(error)),
        _ => (
            StreamCode::CANCELLED,
            IngestEnd::Reset(StreamCode::CANCELLED.0 as u32),
        ),
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(ingest) = self.ingest.take() {
            self.track
                .write(|log| ingest.reset(log, StreamCode::CANCELLED));
        }
    }
}
