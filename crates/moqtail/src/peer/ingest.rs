//! Drives one inbound subgroup stream into its track.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::draft14::ObjectLimits;
use crate::model::{DecodeError, SubgroupHeader};
use crate::track::{MalformedTrack, PublisherId};
use crate::transport::{ConnectionError, RecvStream};

use super::Track;

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
    /// The track is malformed, by this stream or another: its upstream subscription is to be ended. The stream was
    /// stopped.
    Malformed(MalformedTrack),
    /// The track has ended or has too many streams: the stream was stopped.
    Refused,
    /// The connection is gone.
    Connection(ConnectionError),
}

/// Reads one subgroup stream to its end and feeds `track`. `header` was already read, `rest` is what was read beyond it.
///
/// Reading never waits for subscribers. Dropping the future counts as a reset with CANCELLED: the run ends, nothing of
/// a partial object stays.
pub async fn ingest_subgroup<R: RecvStream>(
    track: Arc<Track>,
    publisher: PublisherId,
    header: SubgroupHeader,
    rest: Bytes,
    stream: R,
    limits: ObjectLimits,
) -> IngestEnd {
    let _ = (track, publisher, header, rest, stream, limits);
    todo!()
}
