//! Whether a subscriber was handed all of a subgroup that came on several streams, so that the last of them may end with FIN
//! (draft-14 §10.4.3).

use super::{
    TrackLog,
    ids::{RunId, SubgroupKey},
    outlet::Source,
    subscription::{Expiry, Shared, Subscription},
};

/// How many times as long as before a reset a stream waits for earlier ones of its subgroup until it is looked at anew, if
/// nothing is told of these.
pub(super) const FIN_DELAYS: u32 = 16;

/// What became of the objects of a subgroup that came on earlier streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// They are handed over.
    Whole,
    /// Some are not handed over yet, but all of them are on open streams.
    OnItsWay,
    /// Some are not handed over yet and may wait for the credit that a later stream takes up.
    Unopened,
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
        let others = self.cursors.values();
        let others = others.filter(|other| other.subgroup() == cursor.subgroup());
        // An object of another stream may have been given up after this one had come to its end.
        let has_hole = |log: &TrackLog| log.run(id).is_none_or(|run| cursor.misses(run.gap));
        if self.skipped.may_be_in(cursor.group) || source.read(has_hole) {
            Before::Missing
        } else {
            let opened = others.filter(|other| other.is_on_its_way());
            match opened.map(|other| other.stream.is_some()).min() {
                None => Before::Whole,
                Some(true) => Before::OnItsWay,
                Some(false) => Before::Unopened,
            }
        }
    }

    /// A stream has nothing more to send: those of its `subgroup` that wait for it are looked at again at once.
    pub(super) fn tell_those_that_wait(&self, subgroup: SubgroupKey, shared: &mut Shared) {
        let of_subgroup = (subgroup, RunId(0))..=(subgroup, RunId(u64::MAX));
        for (_, id) in self.waiting_for_fin.range(of_subgroup) {
            if let Some(cursor) = self.cursors.get(id).filter(|cursor| cursor.waits_for_fin()) {
                let over = cursor.newest_received;
                shared.set_deadline(Expiry::Linger(self.id, *id), None, Some(over));
            }
        }
    }
}
