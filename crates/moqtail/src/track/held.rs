//! Objects that wait for the stream which leads their subgroup, and what becomes of them.

use super::{
    MalformedTrack,
    batch::ObjectMark,
    claim::Properties,
    group::{HELD_COST, Held, HeldKey, Subgroup},
    ids::{RunId, StreamId, SubgroupKey},
    log::TrackLog,
    merge::{Turn, can_join},
    run::{RunState, header_bytes},
    stream::Current,
};
use crate::model::Location;

impl TrackLog {
    pub(super) fn hold(&mut self, turn: &Turn<'_>, mark: &ObjectMark, arrival: u64) {
        let held = Held {
            header: turn.header,
            mark: *mark,
            previous: turn.previous,
            received: turn.now,
            arrival,
            chunks: Vec::new(),
            len: 0,
        };
        let key = (turn.header.group, turn.subgroup);
        let known = self.subgroups.entry(key).or_default();
        if known.held.insert((mark.id, turn.stream), held).is_none() {
            self.held_bytes += HELD_COST;
            known.overflow |= self.held_bytes > self.limits.max_held_bytes;
        }
    }

    /// Keeps bytes of a held object.
    pub(super) fn hold_more(&mut self, turn: &Turn<'_>, object: u64, from: u64, to: u64) {
        let Some(known) = self.subgroups.get_mut(&(turn.header.group, turn.subgroup)) else {
            return;
        };
        let Some(held) = known.held.get_mut(&(object, turn.stream)) else {
            return;
        };
        held.len += to - from;
        held.chunks.extend(turn.batch.bytes(false, from, to));
        self.held_bytes += (to - from) as usize;
        known.overflow |= self.held_bytes > self.limits.max_held_bytes;
    }

    /// Whether an object waits that is itself an end, which is learned when it is taken.
    pub(super) fn holds_end(&self, subgroup: SubgroupKey, key: HeldKey) -> bool {
        let known = self.subgroups.get(&subgroup);
        known
            .and_then(|known| known.held.get(&key))
            .is_some_and(|held| held.mark.claim(subgroup.0).is_end())
    }

    /// Lets the object go that a lost stream was in.
    pub(super) fn drop_partial(&mut self, group: u64, subgroup: u64, stream: StreamId) {
        let partial = self
            .subgroups
            .get(&(group, subgroup))
            .into_iter()
            .flat_map(|known| &known.held)
            .find(|((_, who), held)| *who == stream && !held.is_complete())
            .map(|(key, _)| *key);
        if let Some(key) = partial {
            self.remove_held(group, subgroup, key);
        }
    }

    /// Brings held objects in, and ends runs that nobody continues. `changed`: of all runs of the subgroup only these have
    /// changed; there may be as many others as there are streams.
    pub(super) fn settle(
        &mut self,
        group: u64,
        subgroup: u64,
        changed: Option<&[RunId]>,
    ) -> Result<(), MalformedTrack> {
        let known = |log: &Self| {
            let known = log.subgroups.get(&(group, subgroup))?;
            Some((known.held.len(), known.streams, known.last))
        };
        let Some((held, streams, last)) = known(self) else {
            return Ok(());
        };
        if held == 0 && streams > 0 && last.is_none() {
            return Ok(());
        }
        let changed = changed.filter(|_| held == 0 && streams > 0);
        if held > 0 {
            while self.promote(group, subgroup)? {}
        }
        let Some((held, streams, last)) = known(self) else {
            return Ok(());
        };
        let all;
        let looked_at = match changed {
            Some(changed) => changed,
            None => {
                all = self.open_runs(group, subgroup);
                &all
            }
        };
        for id in looked_at.iter().copied() {
            let Some(run) = self.runs.get(&id).filter(|run| run.is_open()) else {
                continue;
            };
            let complete = run.is_between_objects()
                && last.is_some()
                && run.last.map(|object| object.id) == last;
            let (lost, leader) = (run.lost, run.leader);
            if complete {
                self.close_run(id, RunState::Finished);
            } else if leader.is_none() && streams == 0 && held == 0 {
                self.close_run(id, RunState::Reset(lost));
            }
        }
        self.tidy(group, subgroup);
        Ok(())
    }

    /// Forgets a subgroup of which nothing is left.
    fn tidy(&mut self, id: u64, subgroup: u64) {
        let key = (id, subgroup);
        if !self.subgroups.get(&key).is_some_and(Subgroup::is_spent) {
            return;
        }
        self.drop_subgroup(key);
        let kept = self
            .groups
            .get(&id)
            .is_some_and(|group| group.written.is_some());
        if !kept && self.is_bare(id) {
            self.remember(id);
        }
    }

    /// Deals with the first held object, if it is its turn. True: look again.
    fn promote(&mut self, id: u64, subgroup: u64) -> Result<bool, MalformedTrack> {
        let Some(group) = self.groups.get(&id) else {
            return Ok(false);
        };
        let Some(known) = self.subgroups.get(&(id, subgroup)) else {
            return Ok(false);
        };
        let Some((&first, _)) = known.held.first_key_value() else {
            return Ok(false);
        };
        let object = first.0;
        let there = known.runs.iter().filter_map(|run| self.runs.get(run));
        if let Some(run) = there.clone().find(|run| run.entry(object).is_some()) {
            let arriving = run.is_open() && !run.is_between_objects();
            return match arriving && run.last.is_some_and(|last| last.id == object) {
                false => self.compare_held(id, subgroup, first).map(|()| true),
                true if known.overflow => Ok(self.drop_held(id, subgroup, first)),
                true => Ok(false),
            };
        }
        if group.facts.is_settled(object) {
            return Ok(self.drop_held(id, subgroup, first));
        }
        // Of several copies rather one that is whole.
        let mut copies = known.held.iter().take_while(|(key, _)| key.0 == object);
        let key = copies
            .find(|(_, held)| held.is_complete())
            .map_or(first, |(key, _)| *key);
        let Some(held) = known.held.get(&key) else {
            return Ok(false);
        };
        let Some(run) = there.rev().find(|run| run.is_open()) else {
            self.start_with_held(id, subgroup, key);
            return Ok(true);
        };
        let (run_id, lost, leader) = (run.id, run.lost, run.leader);
        let Some(last) = run.last.map(|last| last.id) else {
            return Ok(false);
        };
        let mut searches = usize::MAX;
        let joins = run.is_between_objects()
            && can_join(&run.header, &held.header)
            && self.follows((id, subgroup), last, held.previous, object, &mut searches);
        if joins {
            self.take_held(id, subgroup, key, run_id);
        } else if object < last || known.overflow {
            self.start_with_held(id, subgroup, key);
        } else if leader.is_none() {
            self.close_run(run_id, RunState::Reset(lost));
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn remove_held(&mut self, group: u64, subgroup: u64, key: HeldKey) -> Option<Held> {
        let known = self.subgroups.get_mut(&(group, subgroup))?;
        let held = known.held.remove(&key)?;
        known.overflow &= !known.held.is_empty();
        self.held_bytes = self
            .held_bytes
            .saturating_sub(held.len as usize + HELD_COST);
        Some(held)
    }

    /// Sets what happens to further bytes of a held object.
    fn redirect(&mut self, (object, stream): HeldKey, to: Current) {
        if let Some(state) = self.streams.get_mut(&stream)
            && state.current == Current::Held(object)
        {
            state.current = to;
        }
    }

    /// Drops a held object; true.
    fn drop_held(&mut self, group: u64, subgroup: u64, key: HeldKey) -> bool {
        self.remove_held(group, subgroup, key);
        self.redirect(key, Current::Drop);
        true
    }

    /// The leader has completed the object meanwhile.
    fn compare_held(
        &mut self,
        group: u64,
        subgroup: u64,
        key: HeldKey,
    ) -> Result<(), MalformedTrack> {
        let Some(held) = self.remove_held(group, subgroup, key) else {
            return Ok(());
        };
        let object = key.0;
        let run = self
            .subgroups
            .get(&(group, subgroup))
            .into_iter()
            .flat_map(|known| &known.runs)
            .filter_map(|id| self.runs.get(id))
            .find(|run| run.entry(object).is_some());
        let Some((run, entry)) = run.and_then(|run| Some((run, run.entry(object)?))) else {
            self.redirect(key, Current::Drop);
            return Ok(());
        };
        let location = Location::new(group, object);
        let copy = Properties {
            subgroup: Some(subgroup),
            status: held.mark.status,
            publisher_priority: held.header.publisher_priority,
            len: held.mark.payload_len,
        };
        run.properties(entry).check_copy(location, &copy)?;
        let mut skip = held.mark.head_len;
        let mut at = entry.payload;
        for chunk in &held.chunks {
            let payload = chunk.get(skip as usize..).unwrap_or_default();
            skip = skip.saturating_sub(chunk.len() as u64);
            // draft-14 §2.5 case 8
            if !run.agrees(at, payload) {
                return Err(MalformedTrack::Contradiction {
                    at: location,
                    what: "payload",
                });
            }
            at += payload.len() as u64;
        }
        let compare = Current::Compare {
            run: run.id,
            object,
            payload: held.mark.payload(),
        };
        self.redirect(key, compare);
        Ok(())
    }

    /// Starts a run with a held object.
    fn start_with_held(&mut self, group: u64, subgroup: u64, key: HeldKey) {
        let Some((header, previous)) = self
            .subgroups
            .get(&(group, subgroup))
            .and_then(|known| known.held.get(&key))
            .map(|held| (held.header, held.previous))
        else {
            return;
        };
        let id = self.open_run(header, subgroup, (previous, key.0), None);
        let header = self.runs.get(&id).map(|run| run.header);
        let bytes = header.and_then(|header| header_bytes(&header).ok());
        self.push_all(id, bytes.into_iter());
        self.take_held(group, subgroup, key, id);
    }

    /// Appends a held object to a run, and what is still to come of it too.
    fn take_held(&mut self, group: u64, subgroup: u64, key: HeldKey, id: RunId) {
        let Some(held) = self.remove_held(group, subgroup, key) else {
            return;
        };
        self.learn(&held.mark.claim(group));
        let last = self.runs.get(&id).and_then(|run| run.last);
        let arrival = last.map_or(0, |last| last.arrival).max(held.arrival);
        let delta = self.put_delta(id, &held.mark, arrival, held.received);
        let mut skip = usize::from(held.mark.delta_len);
        let rest = held.chunks.iter().map(|chunk| {
            let rest = chunk.slice(skip.min(chunk.len())..);
            skip -= skip.min(chunk.len());
            rest
        });
        self.push_all(id, delta.into_iter().chain(rest));
        let alive = self.streams.contains_key(&key.1);
        let order = self.arrivals;
        self.arrivals += 1;
        if let Some(run) = self.runs.get_mut(&id) {
            let cost = run.note_taken(key.0, order);
            run.leader = alive.then_some(key.1);
            self.charge(group, id, 0, cost);
        }
        if let Some(state) = self.streams.get_mut(&key.1) {
            state.leads_more = true;
        }
        self.redirect(key, Current::Lead(id));
    }
}
