//! A set of tracks under one namespace, published in any number of sessions.

use std::collections::{BTreeMap, hash_map::RandomState};
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;

use crate::{
    model::{FullTrackName, GroupOrder, NameError, TrackAlias, TrackNamespace},
    peer::{LocalTrack, Track},
    track::TrackLimits,
    transport::lock,
};

/// How a track is offered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrackOptions {
    /// Order of groups for subscribers without a preference. Default ascending.
    pub group_order: GroupOrder,
    /// Objects older than this need not be delivered to anybody. Default: all are.
    pub delivery_timeout: Option<Duration>,
    /// Each subscription ends after this time with EXPIRED (draft-14 §9.8, §9.12), whatever was not sent by then; the
    /// subscriber is told so at its start, and may subscribe anew. A relay counts as one subscriber: those behind it end
    /// with it. Default: it lasts as long as the track.
    pub expires: Option<Duration>,
    /// Caps of the log that the track keeps for its subscribers.
    pub limits: TrackLimits,
}

/// Why a track cannot be added to a broadcast.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrackError {
    /// The name is not possible.
    #[error(transparent)]
    Name(#[from] NameError),
    /// draft-14 §2.5.1: one name stands for one track.
    #[error("track {0} is in this broadcast already")]
    Exists(FullTrackName),
}

/// Tracks under one namespace. Clones refer to the same broadcast; it outlives sessions, so that it can be published again
/// after a reconnect with subscribers going on where they were.
#[derive(Clone, Debug)]
pub struct Broadcast {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    namespace: TrackNamespace,
    tracks: Mutex<BTreeMap<Bytes, Arc<Offered>>>,
    /// Next Track Alias, shared by broadcasts that may meet in one session.
    aliases: Arc<AtomicU64>,
}

/// The first Track Alias of a broadcast made independently. One that was withdrawn may still be subscribed to where the
/// next one is published, so it lies anywhere among half a billion that take four bytes.
fn first_alias() -> u64 {
    /// What takes fewer bytes.
    const SHORT: u64 = 1 << 14;
    const BITS: u32 = 29;
    SHORT + (RandomState::new().build_hasher().finish() >> (u64::BITS - BITS))
}

/// A track with what is said of it in SUBSCRIBE_OK.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) track: Arc<Track>,
    pub(super) group_order: GroupOrder,
    pub(super) delivery_timeout: Option<Duration>,
    pub(super) expires: Option<Duration>,
}

impl Broadcast {
    /// An empty broadcast.
    pub fn new(namespace: TrackNamespace) -> Self {
        Self::with_aliases(namespace, Arc::new(AtomicU64::new(first_alias())))
    }

    /// An empty broadcast that can be published in the same sessions as this one: their Track Aliases never collide.
    pub fn beside(&self, namespace: TrackNamespace) -> Self {
        Self::with_aliases(namespace, self.inner.aliases.clone())
    }

    fn with_aliases(namespace: TrackNamespace, aliases: Arc<AtomicU64>) -> Self {
        Self {
            inner: Arc::new(Inner {
                namespace,
                tracks: Mutex::default(),
                aliases,
            }),
        }
    }

    /// Whether both can be published in one session.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner.aliases, &other.inner.aliases)
    }

    /// The namespace.
    pub fn namespace(&self) -> &TrackNamespace {
        &self.inner.namespace
    }

    /// Adds a track. It can be subscribed to at once, and no more when its writer is dropped.
    ///
    /// # Errors
    /// The name is over the limits, or taken by a track that has not ended.
    pub fn track(
        &self,
        name: impl Into<Bytes>,
        options: TrackOptions,
    ) -> Result<LocalTrack, TrackError> {
        let full = FullTrackName::new(self.inner.namespace.clone(), name)?;
        let mut tracks = self.tracks();
        if tracks
            .get(full.name())
            .is_some_and(|offered| offered.track.ended().is_none())
        {
            return Err(TrackError::Exists(full));
        }
        // Who still delivers one that has ended holds its log.
        tracks.retain(|_, offered| offered.track.ended().is_none());
        let alias = TrackAlias(self.inner.aliases.fetch_add(1, Ordering::Relaxed));
        let track = Track::new(alias, options.limits);
        let offered = Offered {
            track: track.clone(),
            group_order: options.group_order,
            delivery_timeout: options.delivery_timeout,
            expires: options.expires,
        };
        tracks.insert(full.name().clone(), Arc::new(offered));
        Ok(LocalTrack::new(track))
    }

    /// The track of this name, if it is here and has not ended.
    pub(super) fn find(&self, name: &FullTrackName) -> Option<Arc<Offered>> {
        if name.namespace() != &self.inner.namespace {
            return None;
        }
        let mut tracks = self.tracks();
        let offered = tracks.get(name.name())?.clone();
        if offered.track.ended().is_some() {
            tracks.remove(name.name());
            return None;
        }
        Some(offered)
    }

    fn tracks(&self) -> MutexGuard<'_, BTreeMap<Bytes, Arc<Offered>>> {
        lock(&self.inner.tracks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S2.5.1-01
    #[test]
    fn one_name_stands_for_one_track() {
        let broadcast = Broadcast::new("live".parse().unwrap());
        let track = broadcast.track("a", TrackOptions::default()).unwrap();
        broadcast.track("b", TrackOptions::default()).unwrap();
        let second = broadcast.clone().track("a", TrackOptions::default());
        assert_eq!(
            second.err(),
            Some(TrackError::Exists("live#a".parse().unwrap()))
        );
        drop(track);
        assert!(broadcast.track("a", TrackOptions::default()).is_ok());
    }

    #[test]
    fn a_track_that_has_ended_is_not_kept() {
        let broadcast = Broadcast::new("live".parse().unwrap());
        for number in 0..10 {
            let name = format!("take {number}");
            let track = broadcast.track(name, TrackOptions::default()).unwrap();
            assert_eq!(broadcast.tracks().len(), 1);
            drop(track);
        }
        assert!(broadcast.find(&"live#take 9".parse().unwrap()).is_none());
        assert!(broadcast.tracks().is_empty());
    }
}
