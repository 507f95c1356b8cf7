//! What the hub can be asked about the present.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{FullTrackName, Hub, TrackNamespace};

impl Hub {
    /// No session is here, and nothing is kept of one.
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
            && self.routes.is_empty()
            && self.names.is_empty()
            && self.tracks.is_empty()
            && self.upstreams.is_empty()
            && self.downstreams.is_empty()
            && self.deadlines.is_empty()
            && self.takeovers.is_empty()
            && self.actions.is_empty()
    }

    /// Subscriptions that are served or wait for an answer.
    pub(crate) fn subscriptions(&self) -> usize {
        self.downstreams.len()
    }

    /// Sessions that are served a track of `namespace` that has not ended.
    pub(crate) fn viewers(&self, namespace: &TrackNamespace) -> usize {
        let Ok(first) = FullTrackName::new(namespace.clone(), Bytes::new()) else {
            return 0;
        };
        self.names
            .range(first..)
            .take_while(|(name, _)| name.namespace() == namespace)
            .filter_map(|(_, id)| self.tracks.get(id))
            .flat_map(|track| track.viewers())
            .collect::<BTreeSet<_>>()
            .len()
    }
}
