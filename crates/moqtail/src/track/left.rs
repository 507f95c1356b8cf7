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
    /// When the latest one arrived, and when the latest one went into the log, which is later where it had waited.
    pub(super) arrival: u64,
    entered: u64,
    pub(super) received: Instant,
}

/// How a run ended that left with all of its objects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    pub(super) run: RunId,
    /// Offset of the end of what could be delivered of it.
    pub(super) end: u64,
    pub(super) state: RunState,
    /// As of the [`Run`](super::run::Run).
    pub(super) first: u64,
    pub(super) continues: bool,
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
    /// When the latest object that left before those went into the log.
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

    /// An object leaves that went into the log at `entered` in the order of arrivals.
    pub(super) fn note(&mut self, group: u64, object: &ObjectEntry, entered: u64) {
        match self.groups.back_mut() {
            Some(known) if known.group == group => {
                known.last = known.last.max(object.id);
                known.entered = known.entered.max(entered);
                if known.arrival < object.arrival {
                    known.arrival = object.arrival;
                    known.received = object.received;
                }
            }
            _ => {
                if self.groups.len() >= GROUPS {
                    let oldest = self.groups.pop_front().map(|oldest| oldest.entered);
                    self.before = self.before.max(oldest);
                }
                self.groups.push_back(Departure {
                    group,
                    last: object.id,
                    arrival: object.arrival,
                    entered,
                    received: object.received,
                });
            }
        }
    }

    /// Whether an object left that went into the log at `arrival` or later and may be among those that somebody `wants`.
    pub(super) fn since(&self, arrival: u64, wants: impl Fn(&Departure) -> bool) -> bool {
        self.before.is_some_and(|before| before >= arrival)
            || self
                .groups
                .iter()
                .any(|left| left.entered >= arrival && wants(left))
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
                first: 0,
                continues: false,
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
