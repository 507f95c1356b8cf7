//! The log of one track: groups, runs and datagrams as they arrived, within a budget of bytes.
//!
//! [`merge`](super::merge) writes runs, `delivery` reads them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::{
    ArrivalMark, MalformedTrack, PublisherId, TrackLimits, WriteError,
    claim::{Claim, Properties},
    datagrams::{DatagramEntry, DatagramRing},
    group::{GROUP_COST, Group, Subgroup},
    group_facts::Seen,
    ids::{RunId, StreamId, SubgroupKey},
    left::Left,
    ring::Ring,
    run::{RUN_COST, Run, RunState},
    stream::{Current, StreamState},
    track_facts::{ForwardingPreference, TrackFacts},
};
use crate::model::{
    Location, MAX_VARINT, ObjectDatagram, PublishDoneCode, StreamCode, SubgroupHeader, TrackAlias,
};

/// How a track ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackEnd {
    /// Status for PUBLISH_DONE.
    pub code: PublishDoneCode,
    /// Why, for people.
    pub reason: String,
}

/// What is known and kept of one track. All times are those of the caller.
#[derive(Debug)]
pub struct TrackLog {
    pub(super) alias: TrackAlias,
    pub(super) limits: TrackLimits,
    /// Boxed, because most tracks have few groups, and a map holds room for eleven.
    pub(super) groups: BTreeMap<u64, Box<Group>>,
    pub(super) subgroups: BTreeMap<SubgroupKey, Subgroup>,
    /// In the order of their last change.
    pub(super) runs: Ring<Run>,
    pub(super) streams: BTreeMap<StreamId, StreamState>,
    pub(super) arrivals: u64,
    next_change: u64,
    next_stream: u64,
    next_publisher: u64,
    /// With their MAX_CACHE_DURATION.
    publishers: BTreeMap<PublisherId, Option<Duration>>,
    pub(super) cache_duration: Option<Duration>,
    /// The time as it was last told.
    pub(super) now: Option<Instant>,
    pub(super) facts: TrackFacts,
    /// Largest Location that publishers told of beside their objects.
    told: BTreeMap<PublisherId, Location>,
    /// Groups that hold something by the time of their last write.
    pub(super) written: BTreeMap<u64, u64>,
    next_write: u64,
    /// Groups of which only knowledge is left, oldest first.
    pub(super) remembered: VecDeque<u64>,
    pub(super) datagrams: DatagramRing,
    pub(super) bytes: usize,
    /// What is known of groups costs; not part of `bytes`.
    pub(super) known: usize,
    /// Bytes of held objects; not part of `bytes`.
    pub(super) held_bytes: usize,
    /// Bytes of streams that cannot be entered yet; not part of `bytes`.
    pub(super) waiting_bytes: usize,
    /// Bytes allocated for open runs and not used; part of `bytes`.
    pub(super) slack: usize,
    /// Pieces that the last turn brought; they stay until the next one, so that readers can have them.
    pub(super) fresh: usize,
    /// Now, in the order of writes of all tracks that share a budget.
    tick: u64,
    pub(super) evictions: u64,
    /// Rises when the track begins anew.
    epoch: u64,
    pub(super) left: Left,
    sealed: bool,
    ended: Option<TrackEnd>,
    malformed: Option<MalformedTrack>,
}

impl TrackLog {
    /// An empty log. `alias`, at most 2^62 - 1, stands in everything that is delivered.
    pub fn new(alias: TrackAlias, limits: TrackLimits) -> Self {
        Self {
            alias: TrackAlias(alias.0.min(MAX_VARINT)),
            limits,
            groups: BTreeMap::new(),
            subgroups: BTreeMap::new(),
            runs: Ring::default(),
            streams: BTreeMap::new(),
            arrivals: 0,
            next_change: 0,
            next_stream: 0,
            next_publisher: 0,
            publishers: BTreeMap::new(),
            cache_duration: None,
            now: None,
            facts: TrackFacts::default(),
            told: BTreeMap::new(),
            written: BTreeMap::new(),
            next_write: 0,
            remembered: VecDeque::new(),
            datagrams: DatagramRing::default(),
            bytes: 0,
            known: 0,
            held_bytes: 0,
            waiting_bytes: 0,
            slack: 0,
            fresh: 0,
            tick: 0,
            evictions: 0,
            epoch: 0,
            left: Left::default(),
            sealed: false,
            ended: None,
            malformed: None,
        }
    }

    /// The Track Alias in everything that is delivered.
    pub fn alias(&self) -> TrackAlias {
        self.alias
    }

    /// Largest location that arrived; it moves when an object begins.
    pub fn largest(&self) -> Option<Location> {
        self.facts.largest()
    }

    /// Largest location as subscribers are told of it (draft-14 §9.7, §9.8): that of all that arrived and that
    /// publishers told of.
    pub fn known_largest(&self) -> Option<Location> {
        self.largest().max(self.told.values().max().copied())
    }

    /// Notes the Largest Location that a publisher told of in SUBSCRIBE_OK or PUBLISH. It says nothing about objects that
    /// come later, and counts as long as the publisher is there.
    pub fn note_told(&mut self, publisher: PublisherId, largest: Option<Location>) {
        if let Some(largest) = largest
            && self.publishers.contains_key(&publisher)
        {
            let told = self.told.entry(publisher).or_insert(largest);
            *told = largest.max(*told);
        }
    }

    /// This moment.
    pub fn mark(&self) -> ArrivalMark {
        ArrivalMark(self.arrivals)
    }

    /// How objects travel; `None`: none came yet.
    pub fn preference(&self) -> Option<ForwardingPreference> {
        self.facts.preference()
    }

    /// How often runs were looked up.
    #[cfg(fuzzing)]
    pub(crate) fn lookups(&self) -> usize {
        self.runs.lookups.get()
    }

    /// Bytes that the log keeps for its readers, index included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Tells the time in the order of writes of all tracks that share a budget; it never goes back.
    pub fn set_tick(&mut self, tick: u64) {
        self.tick = tick;
    }

    /// How the track ended.
    pub fn ended(&self) -> Option<&TrackEnd> {
        self.ended.as_ref()
    }

    /// Why the track is malformed.
    pub fn malformed(&self) -> Option<&MalformedTrack> {
        self.malformed.as_ref()
    }

    /// Adds a publisher.
    pub fn add_publisher(&mut self) -> PublisherId {
        let publisher = PublisherId(self.next_publisher);
        self.next_publisher += 1;
        self.publishers.insert(publisher, None);
        publisher
    }

    /// MAX_CACHE_DURATION of a publisher (draft-14 §9.2.1.3). Of several the shortest is in force, and that of the last
    /// one stays when it is gone.
    pub fn set_cache_duration(&mut self, publisher: PublisherId, duration: Option<Duration>) {
        if let Some(known) = self.publishers.get_mut(&publisher) {
            *known = duration;
            self.cache_duration = self.publishers.values().copied().flatten().min();
        }
    }

    /// How long after its first byte an object may begin to be forwarded, in steps of the parameter's unit.
    pub(super) fn cache_duration(&self) -> Option<Duration> {
        self.cache_duration
            .map(|time| time.max(Duration::from_millis(1)))
    }

    /// The publisher is gone; streams that it left open count as reset. Without any publisher the log is sealed.
    pub fn remove_publisher(&mut self, publisher: PublisherId) {
        let left: Vec<_> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.publisher == publisher)
            .map(|(id, _)| *id)
            .collect();
        for stream in left {
            self.reset_stream(stream, StreamCode::CANCELLED);
        }
        self.publishers.remove(&publisher);
        self.told.remove(&publisher);
        self.sealed |= self.publishers.is_empty();
    }

    /// Ends the track; the first end counts. Runs that are open end with a reset.
    pub fn end(&mut self, code: PublishDoneCode, reason: &str) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(TrackEnd {
            code,
            reason: reason.to_owned(),
        });
        for stream in self.streams.keys().copied().collect::<Vec<_>>() {
            self.reset_stream(stream, StreamCode::CANCELLED);
        }
    }

    /// The track is malformed; the first reason counts. Nothing is kept.
    pub fn set_malformed(&mut self, why: MalformedTrack) {
        if self.malformed.is_none() {
            self.malformed = Some(why);
            self.clear();
            self.streams.clear();
            self.waiting_bytes = 0;
        }
    }

    /// Whether a stream or datagram of `publisher` may bring anything.
    pub(super) fn is_writable(&self) -> bool {
        self.ended.is_none() && self.malformed.is_none()
    }

    /// Adds an inbound stream; `None`: the publisher or the track is over, or there are too many.
    pub(super) fn add_stream(
        &mut self,
        publisher: PublisherId,
        header: SubgroupHeader,
    ) -> Option<StreamId> {
        let known = self.publishers.contains_key(&publisher);
        if !known || !self.is_writable() || self.streams.len() >= self.limits.max_streams {
            return None;
        }
        let id = StreamId(self.next_stream);
        self.next_stream += 1;
        self.streams.insert(
            id,
            StreamState {
                publisher,
                header,
                subgroup: None,
                previous: None,
                current: Current::Nothing,
                lead: None,
                leads_more: false,
                waiting: 0,
            },
        );
        Some(id)
    }

    /// Whether an object may exist beside all that is known.
    pub(super) fn check(
        &self,
        claim: &Claim,
        preference: ForwardingPreference,
        subgroup: Option<u64>,
    ) -> Result<(), MalformedTrack> {
        if let Some(why) = &self.malformed {
            return Err(why.clone());
        }
        if self.starts_anew(claim.at) {
            return Ok(());
        }
        self.facts.check(claim, preference)?;
        let group = claim.at.group;
        let ended = subgroup.and_then(|id| Some((id, self.subgroups.get(&(group, id))?.last?)));
        match self.groups.get(&group) {
            Some(group) => group.facts.check(claim, ended),
            None => Ok(()),
        }
    }

    /// Whether the first object after all publishers had gone belongs to a new life of the track: it does not continue
    /// above Largest.
    fn starts_anew(&self, at: Location) -> bool {
        self.sealed && self.largest().is_some_and(|largest| at <= largest)
    }

    /// An object comes after the log was sealed.
    pub(super) fn unseal(&mut self, at: Location) {
        if self.starts_anew(at) {
            self.clear();
            self.epoch += 1;
            self.left = Left::default();
            self.facts = TrackFacts::default();
        }
        self.sealed = false;
    }

    /// Notes that an object was begun; returns its place in the order of arrival.
    pub(super) fn arrive(&mut self, claim: &Claim, preference: ForwardingPreference) -> u64 {
        self.facts.arrive(claim, preference, self.limits.max_ranges);
        let arrival = self.arrivals;
        self.arrivals += 1;
        arrival
    }

    /// Notes what a checked object tells beyond itself.
    pub(super) fn learn(&mut self, claim: &Claim) {
        let max = self.limits.max_ranges;
        self.facts.learn(claim, max);
        let group = self.groups.entry(claim.at.group).or_default();
        group.facts.learn(claim, max);
        group.count(&mut self.known);
    }

    /// Whether an object that was checked has come before.
    pub(super) fn see(&mut self, claim: &Claim) -> Seen {
        let Some(group) = self.groups.get_mut(&claim.at.group) else {
            return Seen::New;
        };
        let seen = group.facts.see(claim, self.limits.max_ranges);
        if seen == Seen::Gone {
            group.count(&mut self.known);
        }
        seen
    }

    pub(super) fn new_run(
        &mut self,
        header: SubgroupHeader,
        subgroup: u64,
        first: (Option<u64>, u64),
    ) -> RunId {
        self.bytes += RUN_COST;
        self.runs.insert(|id| Run::new(id, header, subgroup, first))
    }

    /// Notes that a run changed.
    pub(super) fn touch(&mut self, id: RunId) {
        if let Some(run) = self.runs.get_mut(&id) {
            self.next_change += 1;
            run.change = self.next_change;
            self.runs.touch(&id);
        }
    }

    /// Moves a group to the newest end of the order of eviction.
    pub(super) fn note_write(&mut self, id: u64) -> &mut Group {
        let group = self.groups.entry(id).or_default();
        group.tick = self.tick;
        group.touched = self.now;
        if group.written != Some(self.next_write) {
            match group.written {
                Some(at) => _ = self.written.remove(&at),
                None => self.bytes += GROUP_COST,
            }
            if std::mem::take(&mut group.remembered) {
                self.remembered.retain(|known| *known != id);
            }
            self.next_write += 1;
            group.written = Some(self.next_write);
            self.written.insert(self.next_write, id);
            group.count(&mut self.known);
        }
        group
    }

    /// Whether nothing but knowledge is left of a group.
    pub(super) fn is_bare(&self, group: u64) -> bool {
        let mut subgroups = self.subgroups.range((group, 0)..=(group, u64::MAX));
        subgroups.next().is_none()
    }

    /// Takes one object that came as a datagram. What comes after the end of the track is ignored.
    ///
    /// # Errors
    /// The track is malformed, by this object or before.
    pub fn receive_datagram(
        &mut self,
        datagram: ObjectDatagram,
        now: Instant,
    ) -> Result<(), MalformedTrack> {
        match self.publish_datagram(datagram, now) {
            Err(WriteError::Malformed(why)) => {
                self.set_malformed(why.clone());
                Err(why)
            }
            _ => Ok(()),
        }
    }

    /// Publishes one object as a datagram; its Track Alias is not looked at.
    ///
    /// # Errors
    /// Nothing was published.
    pub fn publish_datagram(
        &mut self,
        datagram: ObjectDatagram,
        now: Instant,
    ) -> Result<(), WriteError> {
        if self.ended.is_some() {
            return Err(WriteError::Ended);
        }
        self.fresh = 0;
        self.now = Some(now);
        let claim = Claim::of_datagram(&datagram)?;
        let at = claim.at;
        self.check(&claim, ForwardingPreference::Datagram, None)?;
        let anew = self.starts_anew(at);
        if let Some(group) = self.groups.get(&at.group).filter(|_| !anew) {
            if datagram.end_of_group {
                group.facts.check_last(at.group, at.object)?;
            }
            match self.see(&claim) {
                Seen::New => {}
                Seen::Again => return self.see_again(at, &datagram).map_err(Into::into),
                Seen::Gone => return Ok(()),
            }
        }
        let entry = DatagramEntry::new(&datagram, self.alias, now)?;
        self.unseal(at);
        let arrival = self.arrive(&claim, ForwardingPreference::Datagram);
        self.learn(&claim);
        self.bytes += entry.cost();
        self.datagrams.insert(arrival, entry);
        let group = self.note_write(at.group);
        group.datagrams.push_back(arrival);
        if datagram.end_of_group {
            group.facts.set_last(at.object);
        }
        self.expire(now);
        self.keep_budget();
        Ok(())
    }

    /// A copy of a datagram object.
    fn see_again(&self, at: Location, datagram: &ObjectDatagram) -> Result<(), MalformedTrack> {
        let Some(known) = self.datagrams.get(at) else {
            return Ok(());
        };
        known
            .properties
            .check_copy(at, &Properties::of_datagram(datagram))?;
        // draft-14 §2.5 case 8
        match known.payload == datagram.body.payload() {
            true => Ok(()),
            false => Err(MalformedTrack::Contradiction {
                at,
                what: "payload",
            }),
        }
    }

    /// Drops all content.
    fn clear(&mut self) {
        self.groups.clear();
        self.subgroups.clear();
        self.runs.clear();
        self.written.clear();
        self.remembered.clear();
        self.datagrams = DatagramRing::default();
        self.bytes = 0;
        self.known = 0;
        self.held_bytes = 0;
        self.slack = 0;
        self.fresh = 0;
        self.evictions += 1;
    }

    // What delivery reads.

    /// Rises with every change of a run.
    pub(super) fn last_change(&self) -> u64 {
        self.next_change
    }

    /// Runs that changed after `change`.
    pub(super) fn changed_since(&self, change: u64) -> impl Iterator<Item = &Run> {
        self.runs
            .newest_first()
            .take_while(move |run| run.change > change)
    }

    pub(super) fn run(&self, id: RunId) -> Option<&Run> {
        self.runs.get(&id)
    }

    /// Rises when the track begins anew.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Rises whenever something leaves.
    pub(super) fn evictions(&self) -> u64 {
        self.evictions
    }

    /// What left lately.
    pub(super) fn left(&self) -> &Left {
        &self.left
    }

    /// Arrival of the oldest datagram.
    pub(super) fn oldest_datagram(&self) -> Option<u64> {
        self.datagrams.oldest().map(|(arrival, _)| arrival)
    }

    pub(super) fn datagrams_since(
        &self,
        arrival: u64,
    ) -> impl Iterator<Item = (u64, &DatagramEntry)> {
        self.datagrams.since(arrival)
    }

    /// Ends a run.
    pub(super) fn close_run(&mut self, id: RunId, state: RunState) {
        if let Some(run) = self.runs.get_mut(&id) {
            if run.is_open() {
                self.slack -= run.slack();
            }
            run.state = state;
            run.leader = None;
            let group = run.group();
            if state == RunState::Finished
                && let Some(known) = self.subgroups.get_mut(&(group, run.subgroup))
            {
                known.finished = Some(id);
                let facts = self.groups.get(&group).map(|group| &group.facts);
                let lowest = known.lowest.unwrap_or(run.first);
                run.finish(lowest, |from, to| facts?.last_unknown(from, to));
            }
            let is_empty = self
                .runs
                .get(&id)
                .is_some_and(|run| run.base() == run.end());
            self.touch(id);
            let group = self.note_write(group);
            if is_empty {
                // Its pieces left before, so this is what the run leaves by.
                group.pieces.push_back(id);
                self.fresh += 1;
            }
        }
    }
}
