//! Who reads what the publishers send and keeps nothing of it: it sees one track, however streams break off.

use std::collections::BTreeMap;

use super::sending::{Brought, Over, Plan, Step};
use crate::model::ObjectDatagram;
use crate::track::{IntegrityLimits, StreamIntegrity, TrackIntegrity};

/// A reader that remembers everything about what it has read.
#[derive(Debug)]
pub(super) struct Reading {
    track: TrackIntegrity,
    streams: BTreeMap<u64, StreamIntegrity>,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            track: TrackIntegrity::new(IntegrityLimits {
                max_groups: usize::MAX,
                max_subgroups: usize::MAX,
                max_objects: usize::MAX,
                max_ranges: usize::MAX,
            }),
            streams: BTreeMap::new(),
        }
    }
}

impl Reading {
    /// A piece of a stream came.
    pub(super) fn read(&mut self, number: u64, plan: &Plan, brought: &Brought) {
        let stream = self.streams.entry(number);
        let stream = stream.or_insert_with(|| StreamIntegrity::new(&plan.header()));
        for (at, step) in &brought.objects {
            let object = plan
                .subgroup
                .objects
                .iter()
                .find(|object| object.id() == at.object);
            let object = object.expect("an object of the subgroup");
            let read = match step {
                Step::Begun => stream.begin(&mut self.track, &object.header),
                Step::Complete => {
                    stream.payload(&object.payload);
                    stream.end(&mut self.track)
                }
            };
            assert_eq!(read, Ok(()), "{at}");
        }
        match brought.end {
            None => {}
            Some(Over::Finished) => {
                assert_eq!(stream.finish(&mut self.track), Ok(()));
                self.streams.remove(&number);
            }
            Some(Over::Refused) => self.break_off(number),
        }
    }

    /// A stream ends early.
    pub(super) fn break_off(&mut self, number: u64) {
        if let Some(mut stream) = self.streams.remove(&number) {
            stream.break_off(&mut self.track);
        }
    }

    /// A datagram came.
    pub(super) fn datagram(&mut self, datagram: &ObjectDatagram) {
        assert_eq!(self.track.datagram(datagram), Ok(()));
    }
}
