//! What has happened to the track so far, told without the log.

use std::{collections::BTreeMap, time::Duration};

use crate::model::Location;

/// An object in one life of the track.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies {
    /// When each copy of it began.
    pub(super) begun: Vec<u64>,
    /// How late the first copy came completely.
    pub(super) whole: Option<Duration>,
}

impl Copies {
    pub(super) fn first(&self) -> u64 {
        self.begun.first().copied().unwrap_or(u64::MAX)
    }
}

/// A subgroup in one life of the track.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams {
    /// Streams that brought something of it.
    pub(super) count: usize,
    /// When the first of them ended with FIN.
    pub(super) finished: Option<u64>,
    /// A publisher had two of them open at once.
    pub(super) doubled: bool,
}

/// Life of the track, group and subgroup.
pub(super) type Place = (u64, u64, u64);

/// The track so far. Time is counted in operations.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) now: u64,
    /// How late it is.
    pub(super) elapsed: Duration,
    /// How late something of a group came first.
    groups: BTreeMap<u64, Duration>,
    /// The life of the track.
    pub(super) epoch: u64,
    /// The last publisher is gone.
    sealed: bool,
    pub(super) largest: Option<Location>,
    /// By place and Object ID.
    pub(super) objects: BTreeMap<(Place, u64), Copies>,
    pub(super) subgroups: BTreeMap<Place, Streams>,
}

impl History {
    /// A subgroup in the present life of the track.
    pub(super) fn place(&self, group: u64, subgroup: u64) -> Place {
        (self.epoch, group, subgroup)
    }

    /// All publishers are gone.
    pub(super) fn seal(&mut self) {
        self.sealed = true;
    }

    /// An object begins on some stream.
    pub(super) fn begin(&mut self, at: Location, subgroup: u64) {
        if self.sealed && self.largest.is_some_and(|largest| at <= largest) {
            self.epoch += 1;
            self.largest = None;
        }
        self.sealed = false;
        self.largest = self.largest.max(Some(at));
        self.groups.entry(at.group).or_insert(self.elapsed);
        let place = self.place(at.group, subgroup);
        let copies = self.objects.entry((place, at.object)).or_default();
        copies.begun.push(self.now);
    }

    /// It is complete.
    pub(super) fn complete(&mut self, at: Location, subgroup: u64) {
        let place = self.place(at.group, subgroup);
        let copies = self.objects.entry((place, at.object)).or_default();
        copies.whole.get_or_insert(self.elapsed);
    }

    /// How late something of a later group came first.
    pub(super) fn past(&self, group: u64) -> Option<Duration> {
        let later = self.groups.iter().filter(|(later, _)| **later > group);
        later.map(|(_, late)| *late).min()
    }

    /// When copies of an object began; for an object that waited for earlier ones of its subgroup also when they did.
    pub(super) fn arrivals(&self, place: Place, object: u64) -> impl Iterator<Item = u64> {
        let all = self.objects.range((place, 0)..=(place, object));
        all.flat_map(|(_, copies)| copies.begun.iter().copied())
    }
}
