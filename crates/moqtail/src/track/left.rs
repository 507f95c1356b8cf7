//! What left a log lately, so that a reader knows whether it missed something.

use std::{collections::VecDeque, time::Instant};

use super::{
    ids::RunId,
    run::{ObjectEntry, RunState},
};

/// Groups that are told apart; of what left before them only the time is known.
const GROUPS: usize = 64;

/// Runs whose ends are remembered.
const RUNS: usize = 16;

/// Objects of a group that left one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departure {
    pub(super) group: u64,
    /// The highest Object ID.
    pub(super) last: u64,
    /// Arrival of the latest one, and when it was received.
    arrival: u64,
    pub(super) received: Instant,
}

/// How a run ended that left with all of its objects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    pub(super) run: RunId,
    /// Offset of the end of what could be delivered of it.
    pub(super) end: u64,
    pub(super) state: RunState,
    /// As [`Run::gap`](super::run::Run::gap).
    pub(super) gap: Option<u64>,
    /// Its last object that could be delivered.
    pub(super) last: Option<ObjectEntry>,
    /// When the run changed last, in the order of changes.
    pub(super) change: u64,
}

/// Objects that left, by group, in the order of their leaving.
#[derive(Debug, Default)]
pub(super) struct Left {
    runs: Vec<Gone>,
    groups: VecDeque<Departure>,
    /// Arrival of the latest object that left before those.
    before: Option<u64>,
}

impl Left {
    pub(super) fn note_run(&mut self, gone: Gone) {
        if self.runs.len() < RUNS {
            return self.runs.push(gone);
        }
        // Readers have seen the end of the one that ended first, if any.
        let first = self.runs.iter_mut().min_by_key(|known| known.change);
        if let Some(first) = first.filter(|first| first.change < gone.change) {
            *first = gone;
        }
    }

    /// Memory of what is remembered.
    pub(super) fn cost(&self) -> usize {
        self.runs.capacity() * size_of::<Gone>() + self.groups.capacity() * size_of::<Departure>()
    }

    /// Runs that left.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Gone> {
        self.runs.iter()
    }

    pub(super) fn note(&mut self, group: u64, object: &ObjectEntry) {
        let departure = Departure {
            group,
            last: object.id,
            arrival: object.arrival,
            received: object.received,
        };
        match self.groups.back_mut() {
            Some(known) if known.group == group => {
                let last = known.last.max(object.id);
                if known.arrival < object.arrival {
                    *known = departure;
                }
                known.last = last;
            }
            _ => {
                if self.groups.len() >= GROUPS {
                    let oldest = self.groups.pop_front().map(|oldest| oldest.arrival);
                    self.before = self.before.max(oldest);
                }
                self.groups.push_back(departure);
            }
        }
    }

    /// Whether an object left that arrived at `arrival` or later and may be among those that somebody `wants`.
    pub(super) fn since(&self, arrival: u64, wants: impl Fn(&Departure) -> bool) -> bool {
        self.before.is_some_and(|before| before >= arrival)
            || self
                .groups
                .iter()
                .any(|left| left.arrival >= arrival && wants(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_that_came_last_are_remembered_whenever_their_runs_left() {
        let mut left = Left::default();
        for change in (0..100).rev() {
            left.note_run(Gone {
                run: RunId(change),
                end: 0,
                state: RunState::Finished,
                gap: None,
                last: None,
                change,
            });
        }
        let mut kept: Vec<_> = left.runs().map(|gone| gone.change).collect();
        kept.sort_unstable();
        assert_eq!(kept, (100 - RUNS as u64..100).collect::<Vec<_>>());
        let least = RUNS * size_of::<Gone>();
        assert!((least..3 * least).contains(&left.cost()), "{}", left.cost());
    }
}
