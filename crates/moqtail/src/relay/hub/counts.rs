//! What the hub can be asked about the present.

use std::collections::BTreeSet;

use super::{DownstreamState, Hub};
use crate::model::TrackNamespace;

impl Hub {
    /// Subscriptions that are served or wait for an answer.
    pub(crate) fn subscriptions(&self) -> usize {
        self.downstreams.len()
    }

    /// Sessions that are served a track of `namespace`.
    pub(crate) fn viewers(&self, namespace: &TrackNamespace) -> usize {
        let tracks = self
            .tracks
            .values()
            .filter(|track| track.name.namespace() == namespace);
        let served = tracks.flat_map(|track| {
            let served = |state: &_| matches!(state, DownstreamState::Served { .. });
            track
                .downstream
                .iter()
                .filter(move |(_, state)| served(state))
                .map(|((session, _), _)| *session)
        });
        served.collect::<BTreeSet<_>>().len()
    }
}
