//! What leaves a log so that its budgets hold: whole groups, the one written longest ago first, the newest never.

use std::{collections::VecDeque, time::Instant};

use super::{
    group::GROUP_COST,
    ids::{RunId, SubgroupKey},
    left::Gone,
    log::TrackLog,
    run::Run,
};

/// What eviction leaves alone however old it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spared {
    /// The newest group, and the one written last.
    Newest,
    /// Nothing.
    Nothing,
}

/// Groups that are remembered although tracks together hold too much.
const REMEMBERED_GROUPS: usize = 8;

/// Ranges of each kind that are kept of a group whose objects have left.
const REMEMBERED_RANGES: usize = 16;

impl TrackLog {
    /// Lets old things go until the budgets of the track hold. What the last append brought stays.
    pub(super) fn keep_budget(&mut self) {
        while self.datagrams.len() > self.limits.max_datagrams.max(1) {
            self.drop_oldest_datagram();
        }
        while self.bytes > self.limits.max_bytes && self.shed() {}
    }

    fn drop_oldest_datagram(&mut self) {
        let Some((arrival, at)) = self.datagrams.oldest().map(|(n, entry)| (n, entry.at)) else {
            return;
        };
        self.drop_datagram(arrival);
        self.evictions += 1;
        if let Some(group) = self.groups.get_mut(&at.group) {
            // The oldest of all is the oldest of its group.
            group.datagrams.pop_front();
            let newest = self.written.last_key_value().map(|(_, group)| *group);
            let empty = group.datagrams.is_empty() && self.is_bare(at.group);
            if empty && newest != Some(at.group) {
                self.evict_group(at.group);
            }
        }
    }

    /// Lets what is older than MAX_CACHE_DURATION go: whole groups, and the oldest pieces of the one written last.
    /// Returns whether anything went.
    pub fn expire(&mut self, now: Instant) -> bool {
        self.now = Some(now);
        let cutoff = self.cache_duration().and_then(|time| now.checked_sub(time));
        let Some(cutoff) = cutoff else {
            return false;
        };
        let before = self.evictions;
        // draft-14 §9.2.1.3
        let is_old = |received: Instant| received <= cutoff;
        while self
            .datagrams
            .oldest()
            .is_some_and(|(_, entry)| is_old(entry.received))
        {
            self.drop_oldest_datagram();
        }
        let oldest = |log: &Self| {
            let group = *log.written.first_key_value()?.1;
            log.groups.get(&group)?.touched.filter(|at| is_old(*at))?;
            Some(group)
        };
        while let Some(group) = oldest(self) {
            self.evict_group(group);
        }
        let front = |log: &Self| {
            let group = *log.written.last_key_value()?.1;
            let piece = log.groups.get(&group)?.pieces.front()?;
            // A run that is gone left only its name, and an object that was never completed only bytes.
            let received = log.runs.get(piece).and_then(Run::front_received);
            received.is_none_or(is_old).then_some(group)
        };
        while let Some(group) = front(self) {
            if !self.trim_group(group, self.fresh) {
                break;
            }
        }
        self.evictions != before
    }

    /// Lets the oldest thing go that may: a whole group, else a piece of those that stay as such. False: all is fresh.
    pub fn shed(&mut self) -> bool {
        self.evict_oldest() || self.trim_oldest()
    }

    /// Lets the groups go that were last written before `tick`; returns how many.
    pub fn evict_before(&mut self, tick: u64, spared: Spared) -> usize {
        let newest = self.largest().map(|largest| largest.group);
        let last = self.written.last_key_value().map(|(_, group)| *group);
        let is_spared = |group| match spared {
            Spared::Newest => Some(group) == newest || Some(group) == last,
            Spared::Nothing => false,
        };
        let old = |group: &u64| {
            self.groups
                .get(group)
                .is_some_and(|group| group.tick < tick)
        };
        let groups = self.written.values().copied().take_while(old);
        let groups: Vec<_> = groups.filter(|group| !is_spared(*group)).collect();
        groups.iter().for_each(|group| self.evict_group(*group));
        let kept = match spared {
            Spared::Newest => REMEMBERED_GROUPS,
            Spared::Nothing => 0,
        };
        while self.remembered.len() > kept
            && let Some(&oldest) = self.remembered.front()
            && self
                .groups
                .get(&oldest)
                .is_none_or(|group| group.tick < tick)
        {
            self.forget_oldest();
        }
        groups.len()
    }

    /// Lets the group go that was written longest ago, but neither the newest nor the one written last. False: there are
    /// only these.
    fn evict_oldest(&mut self) -> bool {
        let newest = self.largest().map(|largest| largest.group);
        let mut groups = self.written.values().copied();
        let last = groups.next_back();
        let oldest = groups.find(|group| Some(*group) != newest && Some(*group) != last);
        oldest.map(|oldest| self.evict_group(oldest)).is_some()
    }

    /// Lets the oldest piece of the groups go that stay as such, of the newest last. False: only fresh ones are left.
    fn trim_oldest(&mut self) -> bool {
        let newest = self.largest().map(|largest| largest.group);
        let last = self.written.last_key_value().map(|(_, group)| *group);
        let fresh = self.fresh;
        last.is_some_and(|last| self.trim_group(last, fresh))
            || newest
                .filter(|newest| Some(*newest) != last)
                .is_some_and(|newest| self.trim_group(newest, 0))
    }

    fn drop_datagram(&mut self, arrival: u64) {
        if let Some(entry) = self.datagrams.remove(arrival) {
            self.uncharge(entry.cost());
        }
    }

    /// Lets a whole group go; streams that are open go on, what is known of it is remembered.
    fn evict_group(&mut self, id: u64) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let written = group.written.take();
        group.pieces = VecDeque::new();
        let datagrams = std::mem::take(&mut group.datagrams);
        if let Some(at) = written {
            self.written.remove(&at);
            self.uncharge(GROUP_COST);
        }
        let runs: Vec<_> = self
            .subgroups
            .range((id, 0)..=(id, u64::MAX))
            .flat_map(|(_, subgroup)| subgroup.runs.iter().copied())
            .collect();
        for arrival in datagrams {
            self.drop_datagram(arrival);
        }
        for run in runs {
            while self.trim_run(run) {}
            self.drop_if_spent(run);
        }
        self.evictions += 1;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.facts.shrink(REMEMBERED_RANGES);
        self.recount(id);
        self.remember(id);
    }

    /// Keeps what is known of a group of which nothing else is left, for a while.
    pub(super) fn remember(&mut self, id: u64) {
        if let Some(group) = self.groups.get_mut(&id).filter(|group| !group.remembered) {
            group.remembered = true;
            self.remembered.push_back(id);
        }
        while self.remembered.len() > self.limits.max_remembered_groups {
            self.forget_oldest();
        }
    }

    /// Forgets the group that has been remembered longest, unless something of it is still open.
    fn forget_oldest(&mut self) {
        let Some(forgotten) = self.remembered.pop_front() else {
            return;
        };
        if self.is_bare(forgotten) {
            self.forget(forgotten);
        } else if let Some(group) = self.groups.get_mut(&forgotten) {
            group.remembered = false;
        }
    }

    /// Lets the oldest piece of a group go, but for the `fresh` latest ones. False: only these are left.
    fn trim_group(&mut self, id: u64, fresh: usize) -> bool {
        let Some(group) = self.groups.get_mut(&id) else {
            return false;
        };
        if let Some(arrival) = group.datagrams.front().copied()
            && group.datagrams.len() > 1
        {
            group.datagrams.pop_front();
            self.drop_datagram(arrival);
            self.evictions += 1;
            return true;
        }
        if group.pieces.len() <= fresh {
            return false;
        }
        let Some(run) = group.pieces.pop_front() else {
            return false;
        };
        let trimmed = self.trim_run(run);
        if self.drop_if_spent(run) || trimmed {
            self.evictions += 1;
        }
        true
    }

    /// Lets the oldest run of a subgroup go that has ended.
    pub(super) fn evict_oldest_run(&mut self, group: u64, subgroup: u64) {
        let oldest = self
            .subgroups
            .get(&(group, subgroup))
            .into_iter()
            .flat_map(|known| &known.runs)
            .find(|id| self.runs.get(id).is_some_and(|run| !run.is_open()))
            .copied();
        if let Some(id) = oldest {
            while self.trim_run(id) {}
            self.drop_if_spent(id);
            self.evictions += 1;
        }
    }

    fn trim_run(&mut self, id: RunId) -> bool {
        let Some(run) = self.runs.get_mut(&id) else {
            return false;
        };
        let Some(trimmed) = run.trim_front() else {
            return false;
        };
        if let Some(gone) = run.forgotten {
            let entered = gone.arrival.max(trimmed.taken.unwrap_or_default());
            self.left.note(run.group(), &gone, entered);
        }
        self.uncharge(trimmed.cost);
        true
    }

    /// Forgets a subgroup of which nothing is left.
    pub(super) fn drop_subgroup(&mut self, key: SubgroupKey) {
        if let Some(known) = self.subgroups.remove(&key)
            && let Some(group) = self.groups.get_mut(&key.0)
        {
            group.forget_subgroup(key.1, &known);
            group.count(&mut self.known);
        }
    }

    /// Forgets a run that has ended and of which nothing is left. False: it is no such run.
    fn drop_if_spent(&mut self, id: RunId) -> bool {
        let Some(run) = self
            .runs
            .get(&id)
            .filter(|run| !run.is_open() && run.base() == run.end())
        else {
            return false;
        };
        let (key, cost) = ((run.group(), run.subgroup), run.cost());
        let (first, last) = (run.first, run.last_object());
        self.left.note_run(Gone {
            run: id,
            end: run.deliverable(),
            state: run.state,
            first,
            continues: run.continues,
            gap: run.gap,
            last,
            change: run.change,
        });
        self.runs.remove(&id);
        self.uncharge(cost);
        if let Some(known) = self.subgroups.get_mut(&key) {
            known.runs.retain(|run| *run != id);
            if let Some(last) = last {
                known.gone.note(first, last.id);
            }
            if known.is_spent() {
                self.drop_subgroup(key);
            }
        }
        true
    }
}
