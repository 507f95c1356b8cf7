//! Turns what streams bring into runs, for any number of publishers (draft-14 §8.2, §10.4.3).
//!
//! In each subgroup one stream leads: it brought the next object first. Objects of the others are compared with what is
//! there and dropped; those that come before the leader has finished its object are held, and take over when it ends.
//! No object is made of parts from two streams.

use std::time::Instant;

use bytes::Bytes;

use super::{
    MalformedTrack,
    batch::{Batch, ObjectMark},
    claim::Claim,
    group_facts::check_finish,
    ids::{RunId, StreamId, SubgroupKey},
    log::TrackLog,
    run::{ObjectEntry, Run, RunState, delta_bytes, header_bytes},
    stream::{Current, StreamState},
    track_facts::ForwardingPreference,
};
use crate::model::{Location, StreamCode, SubgroupHeader, SubgroupId};

/// Part of a batch that goes into a run as it is.
struct Raw {
    run: RunId,
    header: bool,
    from: u64,
    to: u64,
}

/// Where a new object goes.
enum Place {
    /// To the end of a run; as it came if `raw`.
    Append { run: RunId, raw: bool },
    /// Into a run of its own.
    Start,
    /// It waits until the leader is done.
    Hold,
}

/// One turn of one stream.
pub(super) struct Turn<'a> {
    pub(super) stream: StreamId,
    pub(super) header: SubgroupHeader,
    pub(super) subgroup: u64,
    /// Object before the one at hand.
    pub(super) previous: Option<u64>,
    pub(super) batch: &'a Batch,
    /// The run that its objects last went into, which it may still lead, and whether it may lead others.
    lead: Option<RunId>,
    leads_more: bool,
    raw: Option<Raw>,
    /// Runs that may still be searched in vain.
    pub(super) searches_left: usize,
    pub(super) now: Instant,
}

impl TrackLog {
    /// Takes what a stream brought in one turn.
    pub(super) fn append(
        &mut self,
        stream: StreamId,
        batch: &Batch,
        now: Instant,
    ) -> Result<(), MalformedTrack> {
        self.fresh = 0;
        self.now = Some(now);
        let Some(state) = self.streams.get(&stream) else {
            return self.malformed().cloned().map_or(Ok(()), Err);
        };
        let mut turn = Turn {
            stream,
            header: state.header,
            subgroup: state.subgroup.unwrap_or_default(),
            previous: state.previous,
            batch,
            lead: state.current.lead().or(state.lead),
            leads_more: state.leads_more,
            raw: None,
            searches_left: self.limits.max_searched_runs,
            now,
        };
        let mut current = state.current;
        let mut from = batch.start;
        for mark in &batch.objects {
            self.go_on(&mut turn, current, from, mark.start)?;
            (current, from) = self.begin(&mut turn, mark)?;
            turn.lead = current.lead().or(turn.lead);
            turn.previous = Some(mark.id);
        }
        self.go_on(&mut turn, current, from, batch.end)?;
        let group = turn.header.group;
        self.flush(&mut turn);
        if let Some(state) = self.streams.get_mut(&stream) {
            state.current = current;
            state.lead = turn.lead;
            state.previous = turn.previous;
        }
        if let Current::Lead(run) = current
            && let Some(run) = self.runs.get_mut(&run)
        {
            let (before, slack) = (run.cost(), run.slack());
            run.add_slack(batch.slack, batch.waste);
            let after = run.cost();
            if run.is_open() {
                self.slack = self.slack + run.slack() - slack;
            }
            let id = run.id;
            self.uncharge(before);
            self.charge(group, id, 0, after);
        }
        self.settle(group, turn.subgroup, Some(turn.lead.as_slice()))?;
        self.expire(now);
        self.keep_budget();
        Ok(())
    }

    /// The bytes from `from` up to `to` belong to the object at hand.
    fn go_on(
        &mut self,
        turn: &mut Turn<'_>,
        current: Current,
        from: u64,
        to: u64,
    ) -> Result<(), MalformedTrack> {
        if from >= to {
            return Ok(());
        }
        match current {
            Current::Lead(run) => self.extend(turn, run, false, from, to),
            Current::Compare {
                run,
                object,
                payload,
            } => {
                let Some(run) = self.runs.get(&run) else {
                    return Ok(());
                };
                let Some(entry) = run.entry(object) else {
                    return Ok(());
                };
                let mut at = entry.payload + from.saturating_sub(payload);
                for piece in turn.batch.bytes(false, from, to) {
                    // draft-14 §2.5 case 8
                    if !run.agrees(at, &piece) {
                        return Err(MalformedTrack::Contradiction {
                            at: Location::new(run.group(), object),
                            what: "payload",
                        });
                    }
                    at += piece.len() as u64;
                }
            }
            Current::Held(object) => {
                self.hold_more(turn, object, from, to);
            }
            Current::Nothing | Current::Drop => {}
        }
        Ok(())
    }

    /// Appends a part of the batch to a run, together with the parts before it if they go there too.
    fn extend(&mut self, turn: &mut Turn<'_>, run: RunId, header: bool, from: u64, to: u64) {
        if let Some(raw) = &mut turn.raw
            && raw.run == run
            && raw.to == from
        {
            raw.to = to;
            return;
        }
        self.flush(turn);
        turn.raw = Some(Raw {
            run,
            header,
            from,
            to,
        });
    }

    /// Writes the gathered part of the batch.
    fn flush(&mut self, turn: &mut Turn<'_>) {
        if let Some(raw) = turn.raw.take() {
            let pieces = turn.batch.bytes(raw.header, raw.from, raw.to);
            self.push_all(raw.run, pieces);
        }
    }

    pub(super) fn push_all(&mut self, id: RunId, pieces: impl Iterator<Item = Bytes>) {
        let Some(run) = self.runs.get_mut(&id) else {
            return;
        };
        let (mut cost, mut count) = (0, 0);
        for piece in pieces.filter(|piece| !piece.is_empty()) {
            cost += run.push(piece);
            count += 1;
        }
        let group = run.group();
        self.charge(group, id, count, cost);
        self.touch(id);
    }

    /// An object begins. Returns what happens to its bytes, and from where in the stream.
    fn begin(
        &mut self,
        turn: &mut Turn<'_>,
        mark: &ObjectMark,
    ) -> Result<(Current, u64), MalformedTrack> {
        let claim = mark.claim(turn.header.group);
        self.enter(turn, &claim)?;
        if let Some(current) = self.begin_again(turn, &claim, mark)? {
            let from = match current {
                Current::Held(_) => mark.start,
                _ => mark.payload(),
            };
            return Ok((current, from));
        }
        let arrival = self.arrive(&claim, ForwardingPreference::Subgroup);
        match self.place(turn, mark) {
            Place::Append { run, raw } => {
                self.learn(&claim);
                let from = self.begin_in(turn, run, raw.then_some(false), mark, arrival);
                Ok((Current::Lead(run), from))
            }
            Place::Start => {
                self.learn(&claim);
                let (run, header) = self.start_run(turn, mark);
                let from = self.begin_in(turn, run, header, mark, arrival);
                Ok((Current::Lead(run), from))
            }
            Place::Hold => {
                self.hold(turn, mark, arrival);
                Ok((Current::Held(mark.id), mark.start))
            }
        }
    }

    /// Checks an object against all that is known, and the stream in at its subgroup with its first one.
    fn enter(&mut self, turn: &mut Turn<'_>, claim: &Claim) -> Result<(), MalformedTrack> {
        let at = claim.at;
        let first = turn.previous.is_none();
        if first {
            turn.subgroup = turn.header.subgroup.told().unwrap_or(at.object);
        }
        self.check(claim, ForwardingPreference::Subgroup, Some(turn.subgroup))?;
        self.unseal(at);
        let state = self.streams.get_mut(&turn.stream);
        if let Some(state) = state.filter(|state| state.subgroup.is_none()) {
            state.subgroup = Some(turn.subgroup);
            let key = (at.group, turn.subgroup);
            self.subgroups.entry(key).or_default().streams += 1;
        }
        Ok(())
    }

    /// Decides where a new object goes.
    fn place(&mut self, turn: &mut Turn<'_>, mark: &ObjectMark) -> Place {
        let key = (turn.header.group, turn.subgroup);
        let leads = |run: &&Run| run.is_open() && run.leader == Some(turn.stream);
        // Almost always. There can be as many others as there are streams.
        let mut led = turn.lead.and_then(|id| self.runs.get(&id)).filter(leads);
        if led.is_none() && turn.leads_more {
            led = self.newest_open(key, leads);
        }
        if let Some(run) = led {
            let (run, last) = (run.id, run.last.map(|last| last.id));
            let raw = last == turn.previous;
            let previous = turn.previous;
            let follows =
                |last| self.follows(key, last, previous, mark.id, &mut turn.searches_left);
            if raw || last.is_none_or(follows) {
                return Place::Append { run, raw };
            }
            // What its stream brought in between is in another run.
            self.flush(turn);
            self.close_run(run, RunState::Reset(StreamCode::CANCELLED));
        }
        let Some(run) = self.newest_open(key, |_| true) else {
            return Place::Start;
        };
        let (id, leader, lost) = (run.id, run.leader, run.lost);
        let Some(last) = run.last else {
            return Place::Start;
        };
        let joins = run.is_between_objects() && can_join(&run.header, &turn.header);
        let (previous, searches) = (turn.previous, &mut turn.searches_left);
        if joins && self.follows(key, last.id, previous, mark.id, searches) {
            let raw = turn.previous == Some(last.id);
            if let Some(run) = self.runs.get_mut(&id) {
                run.leader = Some(turn.stream);
            }
            return Place::Append { run: id, raw };
        }
        let publisher = |stream| self.streams.get(&stream).map(|state| state.publisher);
        match leader {
            Some(leader) if publisher(leader) != publisher(turn.stream) && last.id < mark.id => {
                Place::Hold
            }
            Some(_) => Place::Start,
            None => {
                self.close_run(id, RunState::Reset(lost));
                Place::Start
            }
        }
    }

    /// The newest run of a subgroup that is open and `passes`.
    fn newest_open(&self, key: SubgroupKey, passes: impl Fn(&&Run) -> bool) -> Option<&Run> {
        let runs = self.subgroups.get(&key)?.runs.iter().rev();
        let open = |run: &&Run| run.is_open() && passes(run);
        runs.filter_map(|id| self.runs.get(id)).find(open)
    }

    /// Whether an object, which came after `previous` on its stream, is the next one of its subgroup after `last`
    /// (draft-14 §10.4.3). No, too, if that takes more than so many `searches`.
    pub(super) fn follows(
        &self,
        key: SubgroupKey,
        last: u64,
        previous: Option<u64>,
        object: u64,
        searches: &mut usize,
    ) -> bool {
        if object <= last {
            return false;
        }
        if object == last + 1 || previous == Some(last) {
            return true;
        }
        let (Some(group), Some(known)) = (self.groups.get(&key.0), self.subgroups.get(&key)) else {
            return false;
        };
        // What is somewhere else may be in another run of this very subgroup.
        group.facts.nothing_between(last, object)
            && !known.may_have_had_between(group, last, object)
            && known.runs.iter().all(|run| {
                let left = searches.checked_sub(1);
                *searches = left.unwrap_or_default();
                let run = self.runs.get(run);
                left.is_some() && run.is_none_or(|run| !run.had_between(last, object))
            })
    }

    /// A run for an object that cannot go on in another. Returns whether the object goes in as it came, and then
    /// whether together with the stream header of the batch.
    fn start_run(&mut self, turn: &mut Turn<'_>, mark: &ObjectMark) -> (RunId, Option<bool>) {
        let as_it_came =
            turn.previous.is_none() && turn.batch.start == mark.start && turn.batch.header_len > 0;
        let first = (turn.previous, mark.id);
        let id = self.open_run(turn.header, turn.subgroup, first, Some(turn.stream));
        if !as_it_came {
            let header = self.runs.get(&id).map(|run| run.header);
            let bytes = header.and_then(|header| header_bytes(&header).ok());
            self.push_all(id, bytes.into_iter());
        }
        (id, as_it_came.then_some(true))
    }

    /// Opens a run whose first object is `first`, which came after `previous` on its stream.
    pub(super) fn open_run(
        &mut self,
        mut header: SubgroupHeader,
        subgroup: u64,
        (previous, first): (Option<u64>, u64),
        leader: Option<StreamId>,
    ) -> RunId {
        // draft-14 §10.4.2
        if header.subgroup == SubgroupId::FirstObject && first != subgroup {
            header.subgroup = SubgroupId::Explicit(subgroup);
        }
        let id = self.new_run(header, subgroup, (previous, first));
        let key = (header.group, subgroup);
        let known = self.subgroups.entry(key).or_default();
        let group = self.groups.get(&header.group);
        let before = known
            .lowest
            .or_else(|| group.and_then(|group| group.lowest_of(subgroup)));
        known.lowest = [before, previous, Some(first)].into_iter().flatten().min();
        if let Some(run) = self.runs.get_mut(&id) {
            run.leader = leader;
        }
        known.runs.push(id);
        if known.runs.len() > self.limits.max_runs {
            self.evict_oldest_run(header.group, subgroup);
        }
        id
    }

    /// Enters an object into the index of a run and sees to its delta; returns from where its bytes go in as they came.
    /// `raw`: all of them do, `Some(true)` with the stream header before them.
    fn begin_in(
        &mut self,
        turn: &mut Turn<'_>,
        id: RunId,
        raw: Option<bool>,
        mark: &ObjectMark,
        arrival: u64,
    ) -> u64 {
        let Some(with_header) = raw else {
            self.flush(turn);
            let delta = self.put_delta(id, mark, arrival, turn.now);
            self.push_all(id, delta.into_iter());
            return mark.start + u64::from(mark.delta_len);
        };
        let gathered = turn.raw.as_ref().filter(|raw| raw.run == id);
        let gathered = gathered.map_or(0, |raw| {
            let header = if raw.header { turn.batch.header_len } else { 0 };
            raw.to - raw.from + header
        });
        let header = if with_header {
            turn.batch.header_len
        } else {
            0
        };
        if let Some(run) = self.runs.get_mut(&id) {
            let start = run.end() + gathered + header;
            let cost = run.begin(entry(mark, start, mark.delta_len, arrival, turn.now));
            self.charge(turn.header.group, id, 0, cost);
        }
        // The bytes of the header go in here, those of the payload as the object goes on.
        self.extend(turn, id, with_header, mark.start, mark.payload());
        mark.payload()
    }

    /// Enters an object whose delta differs from the one it came with; returns the delta.
    pub(super) fn put_delta(
        &mut self,
        id: RunId,
        mark: &ObjectMark,
        arrival: u64,
        now: Instant,
    ) -> Option<Bytes> {
        let run = self.runs.get_mut(&id)?;
        let delta = delta_bytes(run.last.map(|last| last.id), mark.id).ok()?;
        let delta_len = u8::try_from(delta.len()).ok()?;
        let start = run.end();
        let (group, cost) = (
            run.group(),
            run.begin(entry(mark, start, delta_len, arrival, now)),
        );
        self.charge(group, id, 0, cost);
        Some(delta)
    }

    /// The stream ends with FIN, between objects.
    pub(super) fn finish_stream(&mut self, stream: StreamId) -> Result<(), MalformedTrack> {
        self.check_finish(stream)?;
        let Some(state) = self.remove_stream(stream) else {
            return Ok(());
        };
        let (Some(subgroup), Some(last)) = (state.subgroup, state.previous) else {
            return Ok(());
        };
        let id = state.header.group;
        // draft-14 §10.4.2: the last object before a FIN is the last of the group
        if state.header.end_of_group
            && !self.holds_end((id, subgroup), (last, stream))
            && let Some(group) = self.groups.get_mut(&id)
        {
            group.facts.set_last(last);
        }
        if let Some(known) = self.subgroups.get_mut(&(id, subgroup)) {
            known.last = Some(last);
            known.streams = known.streams.saturating_sub(1);
        }
        for id in self.led_by(stream, &state, subgroup) {
            let Some(run) = self.runs.get_mut(&id) else {
                continue;
            };
            run.leader = None;
            // draft-14 §10.4.3: no FIN where the last objects are in another run
            if run.last.is_some_and(|object| object.id == last) {
                self.close_run(id, RunState::Finished);
            }
        }
        self.settle(id, subgroup, None)
    }

    /// Whether the stream may end with FIN here.
    pub(super) fn check_finish(&self, stream: StreamId) -> Result<(), MalformedTrack> {
        if let Some(why) = self.malformed() {
            return Err(why.clone());
        }
        let Some(state) = self.streams.get(&stream) else {
            return Ok(());
        };
        let (Some(subgroup), Some(last)) = (state.subgroup, state.previous) else {
            return Ok(());
        };
        let Some(group) = self.groups.get(&state.header.group) else {
            return Ok(());
        };
        let key = (state.header.group, subgroup);
        let Some(known) = self.subgroups.get(&key) else {
            return Ok(());
        };
        let runs = known.runs.iter();
        let in_runs = runs.filter_map(|id| Some(self.runs.get(id)?.last?.id));
        let held = known.held.keys().map(|(object, _)| *object);
        check_finish(key, known.last, in_runs.chain(held).max(), last)?;
        match state.header.end_of_group && !self.holds_end(key, (last, stream)) {
            true => group.facts.check_last(key.0, last),
            false => Ok(()),
        }
    }

    /// The stream ends early.
    pub(super) fn reset_stream(&mut self, stream: StreamId, code: StreamCode) {
        let Some(state) = self.remove_stream(stream) else {
            return;
        };
        let Some(subgroup) = state.subgroup else {
            return;
        };
        let id = state.header.group;
        if let Some(known) = self.subgroups.get_mut(&(id, subgroup)) {
            known.streams = known.streams.saturating_sub(1);
        }
        self.drop_partial(id, subgroup, stream);
        let led = self.led_by(stream, &state, subgroup);
        for id in led.iter().copied() {
            let Some(run) = self.runs.get_mut(&id) else {
                continue;
            };
            run.leader = None;
            run.lost = code;
            if !run.is_between_objects() {
                self.abandon(id, code);
            }
        }
        // Nothing that settles after a reset can contradict what is known.
        if let Err(why) = self.settle(id, subgroup, Some(&led)) {
            self.set_malformed(why);
        }
    }

    /// Ends a run inside an object, which nobody has any more.
    fn abandon(&mut self, id: RunId, code: StreamCode) {
        let Some(run) = self.runs.get_mut(&id) else {
            return;
        };
        let partial = run.last.map(|last| last.id);
        let (group, cost) = (run.group(), run.abandon_last());
        let key = (group, run.subgroup);
        self.uncharge(cost);
        self.close_run(id, RunState::Reset(code));
        let Some(partial) = partial else {
            return;
        };
        if let Some(group) = self.groups.get_mut(&group) {
            group.facts.unlearn(partial);
        }
        // draft-14 §10.4.3: what goes on after it is not all of the subgroup any more
        let finished = self.subgroups.get(&key).and_then(|known| known.finished);
        let finished = finished.and_then(|id| self.runs.get_mut(&id));
        if let Some(run) = finished.filter(|run| run.first > partial) {
            run.gap = run.gap.max(Some(partial));
        }
    }

    /// The runs that a stream leads.
    fn led_by(&self, stream: StreamId, state: &StreamState, subgroup: u64) -> Vec<RunId> {
        let mut runs = match state.leads_more {
            true => self.open_runs(state.header.group, subgroup),
            false => state.lead.into_iter().collect(),
        };
        let leads = |run: &Run| run.is_open() && run.leader == Some(stream);
        runs.retain(|id| self.runs.get(id).is_some_and(leads));
        runs
    }

    pub(super) fn open_runs(&self, group: u64, subgroup: u64) -> Vec<RunId> {
        self.subgroups
            .get(&(group, subgroup))
            .into_iter()
            .flat_map(|known| known.runs.iter().copied())
            .filter(|id| self.runs.get(id).is_some_and(super::run::Run::is_open))
            .collect()
    }
}

/// Whether objects of a stream with header `b` can stand on a stream with header `a`.
pub(super) fn can_join(a: &SubgroupHeader, b: &SubgroupHeader) -> bool {
    (a.extensions, a.end_of_group, a.publisher_priority)
        == (b.extensions, b.end_of_group, b.publisher_priority)
}

fn entry(
    mark: &ObjectMark,
    start: u64,
    delta_len: u8,
    arrival: u64,
    received: Instant,
) -> ObjectEntry {
    let payload = start + u64::from(delta_len) + mark.head_len - u64::from(mark.delta_len);
    ObjectEntry {
        id: mark.id,
        start,
        payload,
        end: payload + mark.payload_len,
        delta_len,
        status: mark.status,
        received,
        arrival,
    }
}
