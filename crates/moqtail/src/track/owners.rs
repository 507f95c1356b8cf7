//! Whose the streams of a session are, and which of them are finished.

use std::{collections::VecDeque, time::Instant};

use super::{SubscriptionId, ids::RunId, outlet::StreamKey};

/// Whose stream it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It follows a run.
    Run(SubscriptionId, RunId),
    /// It is finished, with its place among those; until it expires, it may still be reset.
    Finished(SubscriptionId, u64, Option<Instant>),
}

/// All streams of a session. Names of streams are small and used again, so they index a table.
#[derive(Debug, Default)]
pub(super) struct Owners {
    owners: Vec<Option<Owner>>,
    /// How many streams are in it.
    count: usize,
    /// Finished streams by their places. Those that are over by now are left in it until they come to the front.
    order: VecDeque<(u64, StreamKey)>,
    finished: usize,
    next_place: u64,
}

impl Owners {
    pub(super) fn get(&self, stream: StreamKey) -> Option<Owner> {
        self.owners.get(stream.0).copied().flatten()
    }

    /// A stream was opened for a run.
    pub(super) fn open(&mut self, stream: StreamKey, id: SubscriptionId, run: RunId) {
        self.set(stream, Owner::Run(id, run));
    }

    /// Everything of a stream was handed over.
    pub(super) fn finish(
        &mut self,
        stream: StreamKey,
        id: SubscriptionId,
        expires: Option<Instant>,
    ) {
        let place = self.next_place;
        self.next_place += 1;
        self.finished += 1;
        self.order.push_back((place, stream));
        self.set(stream, Owner::Finished(id, place, expires));
    }

    fn set(&mut self, stream: StreamKey, owner: Owner) {
        if self.owners.len() <= stream.0 {
            self.owners.resize(stream.0 + 1, None);
        }
        if let Some(place) = self.owners.get_mut(stream.0) {
            self.count += usize::from(place.is_none());
            *place = Some(owner);
        }
    }

    /// Forgets a stream.
    pub(super) fn remove(&mut self, stream: StreamKey) -> Option<Owner> {
        let owner = self.owners.get_mut(stream.0)?.take()?;
        self.count -= 1;
        if matches!(owner, Owner::Finished(..)) {
            self.finished -= 1;
            while self.order.front().is_some_and(|place| !self.stands(*place)) {
                self.order.pop_front();
            }
            if self.order.len() > 2 * self.finished + SPARE {
                let order = std::mem::take(&mut self.order);
                self.order = order
                    .into_iter()
                    .filter(|place| self.stands(*place))
                    .collect();
            }
        }
        Some(owner)
    }

    fn stands(&self, (place, stream): (u64, StreamKey)) -> bool {
        matches!(self.get(stream), Some(Owner::Finished(_, at, _)) if at == place)
    }

    /// Whether there is no stream.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many streams are finished.
    pub(super) fn finished(&self) -> usize {
        self.finished
    }

    /// The stream that was finished longest ago.
    pub(super) fn oldest_finished(&self) -> Option<StreamKey> {
        self.order.front().map(|(_, stream)| *stream)
    }

    /// The finished streams of a subscription.
    pub(super) fn finished_of(&self, id: SubscriptionId) -> impl Iterator<Item = StreamKey> + '_ {
        self.order.iter().filter_map(move |(place, stream)| {
            let owner = self.get(*stream)?;
            matches!(owner, Owner::Finished(who, at, _) if who == id && at == *place)
                .then_some(*stream)
        })
    }
}

/// Places of streams that are over which are left in the order whatever the number of those that are not.
const SPARE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const ID: SubscriptionId = SubscriptionId(1);

    #[test]
    fn the_oldest_finished_stream_is_known_whatever_ends_before_it() {
        let mut owners = Owners::default();
        for key in 0..4 {
            owners.open(StreamKey(key), ID, RunId(key as u64));
            owners.finish(StreamKey(key), ID, None);
        }
        owners.remove(StreamKey(1));
        assert_eq!(owners.oldest_finished(), Some(StreamKey(0)));
        owners.remove(StreamKey(0));
        assert_eq!(owners.oldest_finished(), Some(StreamKey(2)));
        // A name that is used again stands at its new place only.
        owners.open(StreamKey(1), ID, RunId(9));
        owners.finish(StreamKey(1), ID, None);
        let left: Vec<_> = owners.finished_of(ID).map(|stream| stream.0).collect();
        assert_eq!((left, owners.finished()), (vec![2, 3, 1], 3));
        assert_eq!(owners.finished_of(SubscriptionId(2)).count(), 0);
        assert!(!owners.is_empty());
        for key in 1..4 {
            owners.remove(StreamKey(key));
        }
        assert!(owners.is_empty() && owners.oldest_finished().is_none());
    }

    #[test]
    fn one_stream_that_stays_does_not_keep_the_places_of_all_others() {
        let mut owners = Owners::default();
        owners.finish(StreamKey(0), ID, None);
        for _ in 0..10_000 {
            owners.finish(StreamKey(1), ID, None);
            owners.remove(StreamKey(1));
        }
        assert!(owners.order.len() <= 2 + SPARE, "{}", owners.order.len());
        assert_eq!(owners.oldest_finished(), Some(StreamKey(0)));
    }
}
