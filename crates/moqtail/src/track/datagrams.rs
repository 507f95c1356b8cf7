//! The objects of a datagram track: a ring, in the order of arrival.

use std::{collections::BTreeMap, time::Instant};

use bytes::{Bytes, BytesMut};

use super::claim::Properties;
use crate::model::encode_datagram;
use crate::model::{EncodeError, Location, ObjectDatagram, TrackAlias};

/// One object, as it goes to every subscriber.
#[derive(Clone, Debug)]
pub(super) struct DatagramEntry {
    pub(super) at: Location,
    pub(super) properties: Properties,
    /// The datagram, with the downstream Track Alias.
    pub(super) wire: Bytes,
    pub(super) received: Instant,
    /// To know copies; shares the bytes of `wire`.
    pub(super) payload: Bytes,
}

/// What an entry costs besides its bytes.
const ENTRY_COST: usize = 320;

impl DatagramEntry {
    /// The entry of a datagram. Nothing of it keeps the buffer that the datagram was received in, which may be far larger.
    pub(super) fn new(
        datagram: &ObjectDatagram,
        alias: TrackAlias,
        received: Instant,
    ) -> Result<Self, EncodeError> {
        let downstream = ObjectDatagram {
            track_alias: alias,
            ..datagram.clone()
        };
        let mut wire = BytesMut::new();
        encode_datagram(&downstream, &mut wire)?;
        let wire = wire.freeze();
        // The payload is the end of the datagram.
        let len = datagram.body.payload().len();
        let payload = wire.slice(wire.len().saturating_sub(len)..);
        Ok(Self {
            at: Location::new(datagram.group, datagram.object),
            properties: Properties::of_datagram(datagram),
            wire,
            received,
            payload,
        })
    }

    pub(super) fn cost(&self) -> usize {
        self.wire.len() + ENTRY_COST
    }
}

/// Entries by arrival.
#[derive(Debug, Default)]
pub(super) struct DatagramRing {
    entries: BTreeMap<u64, DatagramEntry>,
    places: BTreeMap<Location, u64>,
}

impl DatagramRing {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn insert(&mut self, arrival: u64, entry: DatagramEntry) {
        self.places.insert(entry.at, arrival);
        self.entries.insert(arrival, entry);
    }

    pub(super) fn remove(&mut self, arrival: u64) -> Option<DatagramEntry> {
        let entry = self.entries.remove(&arrival)?;
        self.places.remove(&entry.at);
        Some(entry)
    }

    pub(super) fn oldest(&self) -> Option<(u64, &DatagramEntry)> {
        self.entries.iter().next().map(|(at, entry)| (*at, entry))
    }

    pub(super) fn get(&self, at: Location) -> Option<&DatagramEntry> {
        self.entries.get(self.places.get(&at)?)
    }

    /// Entries from `arrival` on.
    pub(super) fn since(&self, arrival: u64) -> impl Iterator<Item = (u64, &DatagramEntry)> {
        self.entries
            .range(arrival..)
            .map(|(arrival, entry)| (*arrival, entry))
    }
}
