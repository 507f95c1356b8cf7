//! The log as a session follows it: who has read it is told of the next change, and of no other.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use crate::track::{Source, SubscriptionId, TrackLog};

/// One log, and who is to be told of its next change.
#[derive(Clone)]
pub(super) struct SharedLog {
    log: Rc<RefCell<TrackLog>>,
    armed: Rc<RefCell<BTreeSet<SubscriptionId>>>,
}

impl SharedLog {
    pub(super) fn new(log: TrackLog) -> Self {
        Self {
            log: Rc::new(RefCell::new(log)),
            armed: Rc::default(),
        }
    }

    /// How a subscription reads it.
    pub(super) fn follow(&self, id: SubscriptionId) -> Follow {
        Follow {
            shared: self.clone(),
            id,
        }
    }

    /// Changes the log; returns the result, and whom to tell.
    pub(super) fn write<R>(
        &self,
        f: impl FnOnce(&mut TrackLog) -> R,
    ) -> (R, BTreeSet<SubscriptionId>) {
        let result = self.with(f);
        (result, self.armed.take())
    }

    /// Reads the log, or changes what no reader sees.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut TrackLog) -> R) -> R {
        f(&mut self.log.borrow_mut())
    }
}

/// The log as one subscription reads it.
pub(super) struct Follow {
    shared: SharedLog,
    id: SubscriptionId,
}

impl Source for Follow {
    fn read<R>(&self, f: impl FnOnce(&TrackLog) -> R) -> R {
        self.shared.armed.borrow_mut().insert(self.id);
        f(&self.shared.log.borrow())
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.shared.armed.borrow_mut().remove(&self.id);
    }
}
