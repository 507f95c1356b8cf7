//! Whether what a subscriber receives may be one track, as far as it remembers (draft-14 §2.5, §8.1, §11).
//!
//! The log of a relay asks the same of the same facts, but it keeps the objects; here nothing is kept of them. Streams are
//! read side by side, some late, some twice, some not to their end: only what contradicts itself is malformed.

use super::{
    ForwardingPreference, IntegrityLimits, MalformedTrack,
    claim::{Claim, Properties},
    digest::Digest,
    group_facts::{GroupFacts, Seen, check_finish},
    ids::SubgroupKey,
    recent::Recent,
    track_facts::TrackFacts,
};
use crate::model::{Location, ObjectDatagram, ObjectHeader, SubgroupHeader};

/// What a subscriber remembers of one track. What it has forgotten contradicts nothing.
#[derive(Debug)]
pub struct TrackIntegrity {
    max_ranges: usize,
    facts: TrackFacts,
    groups: Recent<u64, GroupFacts>,
    subgroups: Recent<SubgroupKey, SubgroupFacts>,
    objects: Recent<Location, Received>,
}

#[derive(Debug, Default)]
struct SubgroupFacts {
    /// The largest object that came completely.
    largest: Option<u64>,
    /// The last object before a FIN.
    last: Option<u64>,
}

/// An object that was begun.
#[derive(Debug)]
struct Received {
    properties: Properties,
    /// Of its payload; `None`: no copy of it is complete.
    digest: Option<u64>,
}

impl TrackIntegrity {
    /// Nothing was received yet.
    pub fn new(limits: IntegrityLimits) -> Self {
        Self {
            max_ranges: limits.max_ranges,
            facts: TrackFacts::default(),
            groups: Recent::new(limits.max_groups),
            subgroups: Recent::new(limits.max_subgroups),
            objects: Recent::new(limits.max_objects),
        }
    }

    /// An object came as a datagram.
    ///
    /// # Errors
    /// It makes the track malformed, and nothing was learned of it.
    pub fn datagram(&mut self, datagram: &ObjectDatagram) -> Result<(), MalformedTrack> {
        let claim = Claim::of_datagram(datagram)?;
        let at = claim.at;
        if datagram.end_of_group
            && let Some(group) = self.groups.get(&at.group)
        {
            group.check_last(at.group, at.object)?;
        }
        self.begin(&claim, Properties::of_datagram(datagram))?;
        let mut digest = Digest::default();
        digest.push(datagram.body.payload());
        self.complete(at, digest)?;
        if datagram.end_of_group {
            self.groups.entry(at.group).set_last(at.object);
        }
        Ok(())
    }

    /// The head of an object came.
    fn begin(&mut self, claim: &Claim, properties: Properties) -> Result<(), MalformedTrack> {
        let (at, max) = (claim.at, self.max_ranges);
        let preference = match properties.subgroup {
            Some(_) => ForwardingPreference::Subgroup,
            None => ForwardingPreference::Datagram,
        };
        self.facts.check(claim, preference)?;
        let ended = |id| Some((id, self.subgroups.get(&(at.group, id))?.last?));
        let ended = properties.subgroup.and_then(ended);
        let group = self.groups.entry(at.group);
        group.check(claim, ended)?;
        match group.see(claim, max) {
            Seen::New => {
                self.facts.arrive(claim, preference, max);
                self.facts.learn(claim, max);
                group.learn(claim, max);
                let digest = None;
                self.objects.insert(at, Received { properties, digest });
            }
            Seen::Again => {
                if let Some(known) = self.objects.get(&at) {
                    known.properties.check_copy(at, &properties)?;
                }
            }
            Seen::Gone => self.objects.remove(&at),
        }
        Ok(())
    }

    /// The last byte of an object came.
    fn complete(&mut self, at: Location, digest: Digest) -> Result<(), MalformedTrack> {
        let Some(received) = self.objects.get_mut(&at) else {
            return Ok(());
        };
        let digest = digest.finish();
        // draft-14 §2.5 case 8
        if *received.digest.get_or_insert(digest) != digest {
            let what = "payload";
            return Err(MalformedTrack::Contradiction { at, what });
        }
        Ok(())
    }

    /// An object broke off: another copy may be whole, or it may never be.
    fn abandon(&mut self, at: Location) {
        if self
            .objects
            .get(&at)
            .is_some_and(|received| received.digest.is_none())
        {
            self.objects.remove(&at);
            self.groups.entry(at.group).unlearn(at.object);
        }
    }
}

/// How far one subgroup stream of the track was read.
#[derive(Debug)]
pub struct StreamIntegrity {
    header: SubgroupHeader,
    /// The object begun last.
    previous: Option<u64>,
    subgroup: Option<u64>,
    /// Of the object that the stream is in.
    digest: Option<Digest>,
}

impl StreamIntegrity {
    /// A stream of which the header was read.
    pub fn new(header: &SubgroupHeader) -> Self {
        Self {
            header: *header,
            previous: None,
            subgroup: header.subgroup.told(),
            digest: None,
        }
    }

    /// The head of an object came.
    ///
    /// # Errors
    /// It makes the track malformed, and nothing was learned of it. The stream is not to be read on.
    pub fn begin(
        &mut self,
        track: &mut TrackIntegrity,
        object: &ObjectHeader,
    ) -> Result<(), MalformedTrack> {
        let at = Location::new(self.header.group, object.object);
        let claim = Claim::new(at, object.status, &object.extensions)?;
        let subgroup = *self.subgroup.get_or_insert(at.object);
        let properties = Properties {
            subgroup: Some(subgroup),
            status: object.status,
            publisher_priority: self.header.publisher_priority,
            len: object.payload_len,
        };
        track.begin(&claim, properties)?;
        self.previous = Some(at.object);
        self.digest = Some(Digest::default());
        Ok(())
    }

    /// The next bytes of its payload came.
    pub fn payload(&mut self, piece: &[u8]) {
        if let Some(digest) = &mut self.digest {
            digest.push(piece);
        }
    }

    /// The object is complete.
    ///
    /// # Errors
    /// Its payload differs from that of another copy, which makes the track malformed.
    pub fn end(&mut self, track: &mut TrackIntegrity) -> Result<(), MalformedTrack> {
        let Some((key, id)) = self.place() else {
            return Ok(());
        };
        let subgroup = track.subgroups.entry(key);
        subgroup.largest = subgroup.largest.max(Some(id));
        match self.digest.take() {
            Some(digest) => track.complete(Location::new(key.0, id), digest),
            None => Ok(()),
        }
    }

    /// The stream ended with FIN between two objects.
    ///
    /// # Errors
    /// The end makes the track malformed, and nothing was learned of it.
    pub fn finish(&self, track: &mut TrackIntegrity) -> Result<(), MalformedTrack> {
        let Some((key, last)) = self.place() else {
            return Ok(());
        };
        let subgroup = track.subgroups.entry(key);
        check_finish(key, subgroup.last, subgroup.largest, last)?;
        // draft-14 §10.4.2: the last object before a FIN is the last of the group
        if self.header.end_of_group {
            let group = track.groups.entry(key.0);
            group.check_last(key.0, last)?;
            group.set_last(last);
        }
        subgroup.last = Some(last);
        Ok(())
    }

    /// The stream ended early, or is not read on.
    pub fn break_off(&mut self, track: &mut TrackIntegrity) {
        if self.digest.take().is_some()
            && let Some((key, id)) = self.place()
        {
            track.abandon(Location::new(key.0, id));
        }
    }

    /// Where the stream is: its subgroup, and the object begun last.
    fn place(&self) -> Option<(SubgroupKey, u64)> {
        Some(((self.header.group, self.subgroup?), self.previous?))
    }
}
