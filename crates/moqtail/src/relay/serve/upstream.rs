//! Shell: what comes from one publisher for one track.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::relay::{TrackId, UpstreamId};
use crate::{
    model::{Location, ObjectDatagram, PublishDoneCode, SubgroupHeader},
    peer::{InboundStream, IngestEnd, IngestLimits, PeerHandle, Track, ingest_subgroup},
    track::{MalformedTrack, PublisherId},
    transport::RecvStream,
};

/// Told of an upstream whose track turned out malformed.
pub(super) type OnMalformed = Arc<dyn Fn(UpstreamId, &MalformedTrack) + Send + Sync>;

/// Feeds a track from one publisher. Dropped, it ends its streams and leaves the track.
pub(super) struct Upstream {
    pub(super) id: UpstreamId,
    pub(super) track_id: TrackId,
    track: Arc<Track>,
    publisher: PublisherId,
    streams: JoinSet<()>,
    limits: IngestLimits,
    /// What PUBLISH_DONE said, while streams are still on their way.
    pub(super) done: Option<(PublishDoneCode, String)>,
}

impl Upstream {
    pub(super) fn new(
        id: UpstreamId,
        track_id: TrackId,
        track: Arc<Track>,
        limits: IngestLimits,
    ) -> Self {
        let publisher = track.add_publisher();
        Self {
            id,
            track_id,
            track,
            publisher,
            streams: JoinSet::new(),
            limits,
            done: None,
        }
    }

    /// PUBLISH_DONE came.
    pub(super) fn done(&mut self, status: PublishDoneCode, reason: String) {
        self.done = Some((status, reason));
    }

    /// What PUBLISH_DONE said.
    pub(super) fn take_done(&mut self) -> (PublishDoneCode, String) {
        self.done.take().unwrap_or_else(|| {
            (
                PublishDoneCode::INTERNAL_ERROR,
                "publisher ended".to_owned(),
            )
        })
    }

    /// The publisher told its MAX_CACHE_DURATION.
    pub(super) fn cache_for(&self, duration: Option<Duration>) {
        self.track.set_cache_duration(self.publisher, duration);
    }

    /// The publisher told its Largest Location.
    pub(super) fn note_told(&self, largest: Option<Location>) {
        self.track.note_told(self.publisher, largest);
    }

    /// Reads a stream of the publisher into the track, in a task of its own.
    pub(super) fn subgroup<R: RecvStream>(
        &mut self,
        header: SubgroupHeader,
        stream: InboundStream<R>,
        peer: PeerHandle,
        malformed: OnMalformed,
    ) {
        while self.streams.try_join_next().is_some() {}
        let (id, track, publisher) = (self.id, self.track.clone(), self.publisher);
        let limits = self.limits.clone();
        self.streams.spawn(async move {
            let rest = Bytes::new();
            match ingest_subgroup(track, publisher, header, rest, stream, limits).await {
                IngestEnd::Decode(error) => peer.call(|session, _| session.data_error(&error)),
                IngestEnd::Malformed(error) => malformed(id, &error),
                IngestEnd::Finished
                | IngestEnd::Reset(_)
                | IngestEnd::Stalled
                | IngestEnd::Refused
                | IngestEnd::Connection(_) => {}
            }
        });
    }

    /// Takes a datagram of the publisher into the track.
    pub(super) fn datagram(&self, datagram: ObjectDatagram) -> Result<(), MalformedTrack> {
        self.track.datagram(datagram)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.track.remove_publisher(self.publisher);
    }
}
