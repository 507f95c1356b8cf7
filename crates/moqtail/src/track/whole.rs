//! Whether a subscriber was handed all of a subgroup that came on several streams, so that the last of them may end with FIN
//! (draft-14 §10.4.3).

use super::{
    TrackLog,
    cursor::Cursor,
    ids::RunId,
    outlet::Source,
    subscription::{Expiry, Shared, Subscription},
};

/// How many times as long as before a reset a stream waits for earlier ones of its subgroup.
pub(super) const FIN_DELAYS: u32 = 16;

/// What became of the objects of a subgroup that came on earlier streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// They are handed over.
    Whole,
    /// Some are not handed over yet.
    OnItsWay,
    /// Some never will be.
    Missing,
}

impl Subscription {
    /// What became of the objects that came on streams before that of a run, whose own are all handed over. Looks at each
    /// cursor, but only for a subgroup that came on several streams.
    pub(super) fn before(&self, id: RunId, source: &impl Source) -> Before {
        let Some(cursor) = self.cursors.get(&id).filter(|cursor| cursor.continues) else {
            return Before::Whole;
        };
        let key = |cursor: &Cursor| (cursor.group, cursor.rank.subgroup);
        let mut others = self
            .cursors
            .values()
            .filter(|other| key(other) == key(cursor));
        // An object of another stream may have been given up after this one had come to its end.
        let has_hole = |log: &TrackLog| log.run(id).is_none_or(|run| cursor.misses(run.gap));
        if self.skipped.may_be_in(cursor.group) || source.read(has_hole) {
            Before::Missing
        } else if others.any(|other| other.is_on_its_way()) {
            Before::OnItsWay
        } else {
            Before::Whole
        }
    }

    /// A stream has nothing more to send: those that wait for it are looked at again at once.
    pub(super) fn tell_those_that_wait(&self, done: &Cursor, shared: &mut Shared) {
        if self.waiting_for_fin == 0 {
            return;
        }
        for (id, cursor) in &self.cursors {
            let is_of_it = (cursor.group, cursor.rank.subgroup) == (done.group, done.rank.subgroup);
            if is_of_it && cursor.waits_for_fin() {
                let over = cursor.newest_received;
                shared.set_deadline(Expiry::Linger(self.id, *id), None, Some(over));
            }
        }
    }
}
