//! Which subscription a Track Alias of the peer stands for (draft-14 §10.1).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::event::RequestHandle;
use crate::model::TrackAlias;

/// What is known about an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AliasState {
    /// Of this subscription.
    Active(RequestHandle),
    /// Of a subscription that ended: what comes late is dropped at once.
    Retired,
    /// Never heard of, or too long ago.
    Unknown,
}

impl AliasState {
    /// The subscription it is of.
    pub(super) fn active(self) -> Option<RequestHandle> {
        match self {
            Self::Active(handle) => Some(handle),
            Self::Retired | Self::Unknown => None,
        }
    }
}

/// Aliases chosen by the peer. The retired ones are bounded; the oldest is forgotten first.
#[derive(Debug)]
pub(super) struct Aliases {
    active: BTreeMap<TrackAlias, RequestHandle>,
    retired: BTreeSet<TrackAlias>,
    retired_order: VecDeque<TrackAlias>,
    max_retired: usize,
}

impl Aliases {
    pub(super) fn new(max_retired: usize) -> Self {
        Self {
            active: BTreeMap::new(),
            retired: BTreeSet::new(),
            retired_order: VecDeque::new(),
            max_retired,
        }
    }

    pub(super) fn get(&self, alias: TrackAlias) -> AliasState {
        if let Some(handle) = self.active.get(&alias) {
            AliasState::Active(*handle)
        } else if self.retired.contains(&alias) {
            AliasState::Retired
        } else {
            AliasState::Unknown
        }
    }

    /// From now on `alias` stands for `handle`; conflicts were checked by the caller.
    pub(super) fn activate(&mut self, alias: TrackAlias, handle: RequestHandle) {
        if self.retired.remove(&alias) {
            self.retired_order.retain(|retired| *retired != alias);
        }
        self.active.insert(alias, handle);
    }

    /// `handle` no longer uses `alias`. An alias that stands for another subscription meanwhile is left alone.
    pub(super) fn retire(&mut self, alias: TrackAlias, handle: RequestHandle) {
        match self.active.get(&alias) {
            Some(owner) if *owner != handle => return,
            _ => self.active.remove(&alias),
        };
        if self.max_retired == 0 || !self.retired.insert(alias) {
            return;
        }
        self.retired_order.push_back(alias);
        if self.retired_order.len() > self.max_retired
            && let Some(oldest) = self.retired_order.pop_front()
        {
            self.retired.remove(&oldest);
        }
    }

    pub(super) fn retired_len(&self) -> usize {
        self.retired.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: RequestHandle = RequestHandle(1);
    const B: RequestHandle = RequestHandle(2);

    /// S10.1-02
    #[test]
    fn retired_aliases_are_remembered_up_to_the_limit() {
        let mut aliases = Aliases::new(2);
        for number in 0..3 {
            aliases.activate(TrackAlias(number), A);
            aliases.retire(TrackAlias(number), A);
        }
        assert_eq!(aliases.get(TrackAlias(0)), AliasState::Unknown);
        assert_eq!(aliases.get(TrackAlias(1)), AliasState::Retired);
        assert_eq!(aliases.get(TrackAlias(2)), AliasState::Retired);
        assert_eq!(aliases.retired_len(), 2);
    }

    #[test]
    fn an_alias_can_come_back_and_is_retired_by_its_owner_only() {
        let mut aliases = Aliases::new(2);
        aliases.activate(TrackAlias(7), A);
        aliases.retire(TrackAlias(7), A);
        aliases.activate(TrackAlias(7), B);
        aliases.retire(TrackAlias(7), A);
        assert_eq!(aliases.get(TrackAlias(7)), AliasState::Active(B));
        assert_eq!(aliases.retired_len(), 0);
    }
}
