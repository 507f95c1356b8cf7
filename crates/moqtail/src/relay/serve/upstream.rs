//! Shell: what comes from one publisher for one track.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::{task::JoinSet, time::timeout};

use crate::relay::{TrackId, UpstreamId, limits::READ_OUT};
use crate::{
    model::{Location, ObjectDatagram, PublishDoneCode, SubgroupHeader},
    peer::{InboundStream, IngestEnd, IngestLimits, PeerHandle, Track, ingest_subgroup},
    session::RequestHandle,
    track::{MalformedTrack, PublisherId},
    transport::{RecvStream, lock},
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

/// The publishers that a session feeds tracks from, by the relay's request at it.
pub(super) type Upstreams = Arc<Mutex<BTreeMap<RequestHandle, Upstream>>>;

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

/// Lets the streams of a publisher whose connection is over take what they received before that into their tracks.
pub(super) async fn read_out(upstreams: &Upstreams) {
    let streams = |upstream: &mut Upstream| std::mem::take(&mut upstream.streams);
    let mut all: Vec<_> = lock(upstreams).values_mut().map(streams).collect();
    let done = async {
        for streams in &mut all {
            while streams.join_next().await.is_some() {}
        }
    };
    // Nothing more comes in, so each of them is at its end soon. What is left is dropped.
    let _ = timeout(READ_OUT, done).await;
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.track.remove_publisher(self.publisher);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::model::TrackAlias;
    use crate::peer::{PeerLimits, TrackPool};
    use crate::track::TrackLimits;

    #[tokio::test(start_paused = true)]
    async fn streams_of_a_lost_publisher_have_some_time_to_bring_what_they_received() {
        for (takes, brought) in [(READ_OUT / 2, true), (READ_OUT * 2, false)] {
            let track = TrackPool::new(usize::MAX).track(TrackAlias(1), TrackLimits::default());
            let limits = IngestLimits::of_session(&PeerLimits::default());
            let mut upstream = Upstream::new(UpstreamId(1), TrackId(1), track, limits);
            let (done, is_done) = (Arc::new(AtomicBool::new(false)), Ordering::Relaxed);
            let told = done.clone();
            upstream.streams.spawn(async move {
                tokio::time::sleep(takes).await;
                told.store(true, is_done);
            });
            let upstreams = Upstreams::default();
            lock(&upstreams).insert(RequestHandle(1), upstream);
            read_out(&upstreams).await;
            lock(&upstreams).clear();
            assert_eq!(done.load(is_done), brought);
        }
    }
}
