//! An inbound stream of a track that is open.

use super::ids::{PublisherId, RunId};
use crate::model::SubgroupHeader;

/// What happens to the bytes of the object that a stream is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Current {
    /// No object yet.
    Nothing,
    /// They are appended to the run.
    Lead(RunId),
    /// They must be those of the same object in the run. Its payload starts here in the stream.
    Compare {
        run: RunId,
        object: u64,
        payload: u64,
    },
    /// They wait.
    Held(u64),
    /// They are known already.
    Drop,
}

impl Current {
    /// The run that the bytes are appended to.
    pub(super) fn lead(self) -> Option<RunId> {
        match self {
            Self::Lead(run) => Some(run),
            _ => None,
        }
    }
}

/// Where an inbound stream stands.
#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) publisher: PublisherId,
    pub(super) header: SubgroupHeader,
    /// The subgroup, known from the first object on.
    pub(super) subgroup: Option<u64>,
    /// The last object it began.
    pub(super) previous: Option<u64>,
    pub(super) current: Current,
    /// The run that its objects last went into.
    pub(super) lead: Option<RunId>,
    /// It may lead other runs, too: objects of it that had waited went into them.
    pub(super) leads_more: bool,
    /// Bytes that wait outside the log until they can be entered.
    pub(super) waiting: usize,
}
