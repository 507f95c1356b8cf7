//! Objects that come again (draft-14 §8.2): the first copy counts, the others are compared with it.

use super::{
    MalformedTrack,
    batch::ObjectMark,
    claim::{Claim, Properties},
    group_facts::Seen,
    log::TrackLog,
    merge::Turn,
    run::{ObjectEntry, Run},
    stream::Current,
};
use crate::model::Location;

/// Subgroups of a group that are searched for a copy of an object; a publisher that contradicts itself may go unnoticed in
/// groups of more, which is better than a search without end. `max_searched_runs` bounds what all objects of a turn cost.
const SEARCHED_SUBGROUPS: usize = 256;

impl TrackLog {
    /// An object that was received before; `None`: it was not.
    pub(super) fn begin_again(
        &mut self,
        turn: &mut Turn<'_>,
        claim: &Claim,
        mark: &ObjectMark,
    ) -> Result<Option<Current>, MalformedTrack> {
        let at = claim.at;
        match self.see(claim) {
            Seen::New => return Ok(None),
            Seen::Gone => return Ok(Some(Current::Drop)),
            Seen::Again => {}
        }
        let Some((run, entry)) = self.find_copy(turn, at) else {
            return Ok(Some(Current::Drop));
        };
        let copy = Properties {
            subgroup: Some(turn.subgroup),
            status: mark.status,
            publisher_priority: turn.header.publisher_priority,
            len: mark.payload_len,
        };
        run.properties(&entry).check_copy(at, &copy)?;
        let id = run.id;
        if run.is_open() && !run.is_between_objects() && entry.end > run.end() {
            self.hold(turn, mark, entry.arrival);
            return Ok(Some(Current::Held(mark.id)));
        }
        Ok(Some(Current::Compare {
            run: id,
            object: mark.id,
            payload: mark.payload(),
        }))
    }

    /// Where the object is that came before, in this subgroup or in another; `None` also if the search takes too long.
    fn find_copy(&self, turn: &mut Turn<'_>, at: Location) -> Option<(&Run, ObjectEntry)> {
        let own = self.subgroups.get(&(at.group, turn.subgroup));
        let all = self.subgroups.range((at.group, 0)..=(at.group, u64::MAX));
        let elsewhere = all.take(SEARCHED_SUBGROUPS).map(|(_, subgroup)| subgroup);
        for subgroup in own.into_iter().chain(elsewhere) {
            // The newest first, where copies of what is live are, so that they are found also when nothing is left to search.
            for id in subgroup.runs.iter().rev() {
                let run = self.runs.get(id);
                if let Some((run, entry)) = run.and_then(|run| Some((run, run.entry(at.object)?))) {
                    return Some((run, *entry));
                }
                turn.searches_left = turn.searches_left.checked_sub(1)?;
            }
            // One without runs is looked at, too.
            turn.searches_left = turn.searches_left.checked_sub(1)?;
        }
        None
    }
}
