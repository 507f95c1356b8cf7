//! A track that streams feed and sessions follow: its log behind one short lock, and who waits for more.

use std::sync::Arc;

use tokio::sync::watch;

use crate::model::{Location, ObjectDatagram, PublishDoneCode, TrackAlias};
use crate::track::{ArrivalMark, MalformedTrack, PublisherId, TrackLimits};

/// One track as every session of this process shares it.
#[derive(Debug)]
pub struct Track {
    alias: TrackAlias,
}

/// Who wants the track now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Subscriptions attached.
    pub subscriptions: usize,
    /// Those among them with Forward State 1.
    pub forwarding: usize,
}

/// How a track ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackEnd {
    /// Status for PUBLISH_DONE.
    pub code: PublishDoneCode,
    /// Why, for people.
    pub reason: String,
}

impl Track {
    /// An empty track. `alias` is its Track Alias in every session that it is delivered to; no two tracks of a process
    /// that meet in one session may share it.
    pub fn new(alias: TrackAlias, limits: TrackLimits) -> Arc<Self> {
        let _ = limits;
        Arc::new(Self { alias })
    }

    /// The Track Alias in every session that the track is delivered to.
    pub fn alias(&self) -> TrackAlias {
        self.alias
    }

    /// Largest location so far; `None`: no content yet. It moves when an object begins.
    pub fn largest(&self) -> Option<Location> {
        todo!()
    }

    /// This moment, for [`Admission::Since`](crate::track::Admission::Since).
    pub fn mark(&self) -> ArrivalMark {
        todo!()
    }

    /// Adds a publisher: one upstream subscription, or the local one.
    pub fn add_publisher(&self) -> PublisherId {
        todo!()
    }

    /// The publisher is gone. Its streams must have ended. When it was the last one the log is sealed: a later
    /// publisher either continues above Largest or starts the track anew.
    pub fn remove_publisher(&self, publisher: PublisherId) {
        let _ = publisher;
        todo!()
    }

    /// Takes one object that came as a datagram.
    ///
    /// # Errors
    /// The track is malformed, by this object or before.
    pub fn datagram(
        &self,
        publisher: PublisherId,
        datagram: ObjectDatagram,
    ) -> Result<(), MalformedTrack> {
        let _ = (publisher, datagram);
        todo!()
    }

    /// Ends the track: subscriptions end with `code` when they have delivered what is there. The first call wins.
    pub fn end(&self, code: PublishDoneCode, reason: &str) {
        let _ = (code, reason);
        todo!()
    }

    /// How the track ended, if it did.
    pub fn ended(&self) -> Option<TrackEnd> {
        todo!()
    }

    /// Why the track is malformed, if it is.
    pub fn malformed(&self) -> Option<MalformedTrack> {
        todo!()
    }

    /// Follows who wants the track.
    pub fn interest(&self) -> watch::Receiver<Interest> {
        todo!()
    }
}
