//! What leaves a log so that its budgets hold: whole groups, the one written longest ago first.

use super::{ids::RunId, log::TrackLog};

/// Ranges of each kind that are kept of a group whose objects have left.
const REMEMBERED_RANGES: usize = 16;

impl TrackLog {
    /// Lets old things go until the budgets hold. What the last append brought stays.
    pub(super) fn keep_budget(&mut self) {
        while self.datagrams.len() > self.limits.max_datagrams.max(1) {
            let Some((arrival, at)) = self.datagrams.oldest().map(|(n, entry)| (n, entry.at))
            else {
                break;
            };
            self.drop_datagram(arrival);
            if let Some(group) = self.groups.get_mut(&at.group) {
                group.datagrams.retain(|kept| *kept != arrival);
                let newest = self.written.last_key_value().map(|(_, group)| *group);
                let empty = group.datagrams.is_empty() && group.subgroups.is_empty();
                if empty && newest != Some(at.group) {
                    self.evict_group(at.group);
                }
            }
        }
        while self.bytes > self.limits.max_bytes {
            let oldest = self.written.first_key_value().map(|(_, group)| *group);
            let Some(oldest) = oldest else { break };
            if self.written.len() > 1 {
                self.evict_group(oldest);
            } else if !self.trim_group(oldest) {
                break;
            }
        }
        self.fresh = 0;
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
        if let Some(at) = group.written.take() {
            self.written.remove(&at);
        }
        group.pieces.clear();
        let datagrams = std::mem::take(&mut group.datagrams);
        let runs: Vec<_> = group
            .subgroups
            .values()
            .flat_map(|subgroup| subgroup.runs.iter().copied())
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
        group
            .subgroups
            .retain(|_, subgroup| !subgroup.runs.is_empty() || subgroup.streams > 0);
        for known in [&mut group.present, &mut group.gaps, &mut group.nonexistent] {
            known.forget_lowest(REMEMBERED_RANGES);
        }
        self.remember(id);
    }

    /// Keeps what is known of a group of which nothing else is left, for a while.
    pub(super) fn remember(&mut self, id: u64) {
        self.remembered.push_back(id);
        while self.remembered.len() > self.limits.max_remembered_groups {
            let Some(forgotten) = self.remembered.pop_front() else {
                break;
            };
            if let Some(group) = self.groups.get(&forgotten)
                && group.subgroups.is_empty()
            {
                self.groups.remove(&forgotten);
            }
        }
    }

    /// Lets the oldest piece of a group go. False: only fresh ones are left.
    fn trim_group(&mut self, id: u64) -> bool {
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
        if group.pieces.len() <= self.fresh {
            return false;
        }
        let Some(run) = group.pieces.pop_front() else {
            return false;
        };
        if self.trim_run(run) {
            self.evictions += 1;
        }
        self.drop_if_spent(run);
        true
    }

    /// Lets the oldest run of a subgroup go that has ended.
    pub(super) fn evict_oldest_run(&mut self, group: u64, subgroup: u64) {
        let oldest = self
            .groups
            .get(&group)
            .and_then(|known| known.subgroups.get(&subgroup))
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
        let Some(freed) = run.trim_front() else {
            return false;
        };
        if let Some(arrival) = run.forgotten {
            self.evicted = self.evicted.max(Some((arrival, run.group())));
        }
        self.bytes = self.bytes.saturating_sub(freed);
        true
    }

    /// Forgets a run that has ended and of which nothing is left.
    fn drop_if_spent(&mut self, id: RunId) {
        let Some(run) = self
            .runs
            .get(&id)
            .filter(|run| !run.is_open() && run.base() == run.end())
        else {
            return;
        };
        let (group, subgroup, change, cost) = (run.group(), run.subgroup, run.change, run.cost());
        self.runs.remove(&id);
        self.changes.remove(&change);
        self.uncharge(cost);
        if let Some(group) = self.groups.get_mut(&group)
            && let Some(known) = group.subgroups.get_mut(&subgroup)
        {
            known.runs.retain(|run| *run != id);
            if known.runs.is_empty() && known.streams == 0 {
                group.subgroups.remove(&subgroup);
            }
        }
    }
}
