//! Whether a subscriber was handed all of a subgroup that came on several streams, so that the last of them may end with FIN
//! (draft-14 §10.4.3).

use super::{TrackLog, cursor::Cursor, ids::RunId, outlet::Source, subscription::Subscription};

impl Subscription {
    /// Whether what came on streams before that of a run, whose objects are all handed over, is handed over too.
    pub(super) fn has_all_before(&self, id: RunId, source: &impl Source) -> bool {
        let Some(cursor) = self.cursors.get(&id).filter(|cursor| cursor.continues) else {
            return true;
        };
        let key = |cursor: &Cursor| (cursor.group, cursor.rank.subgroup);
        let mut others = self
            .cursors
            .values()
            .filter(|other| key(other) == key(cursor));
        // An object of another stream may have been given up after this one had come to its end.
        let has_hole = |log: &TrackLog| log.run(id).is_some_and(|run| cursor.misses(run.gap));
        !self.skipped.may_be_in(cursor.group)
            && !others.any(|other| other.is_on_its_way())
            && !source.read(has_hole)
    }
}
