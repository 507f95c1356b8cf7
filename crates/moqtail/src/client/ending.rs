//! How a subscription ends, for those that end it and those that are told.

use std::sync::{Arc, Mutex};

use super::MalformedTrack;
use crate::{model::PublishDoneCode, session::RequestHandle, transport::lock};

/// How a subscription ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriptionEnd {
    /// The publisher said PUBLISH_DONE.
    Done {
        /// Why.
        status: PublishDoneCode,
        /// Why, for people.
        reason: String,
    },
    /// What came was no track (draft-14 §2.5); the publisher was sent UNSUBSCRIBE. What was received before can be read.
    Malformed(MalformedTrack),
    /// The session ended.
    SessionEnded,
}

/// Where it is left how a subscription ended, before its channel is closed.
#[derive(Clone, Debug, Default)]
pub(super) struct EndSlot(Arc<Mutex<Option<SubscriptionEnd>>>);

impl EndSlot {
    pub(super) fn get(&self) -> Option<SubscriptionEnd> {
        lock(&self.0).clone()
    }

    #[cfg(test)]
    pub(super) fn is_held_here_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Leaves `end` there, unless something is there already.
    pub(super) fn set(&self, end: SubscriptionEnd) {
        lock(&self.0).get_or_insert(end);
    }

    /// Why the track is malformed, if it is.
    pub(super) fn malformed(&self) -> Option<MalformedTrack> {
        match &*lock(&self.0) {
            Some(SubscriptionEnd::Malformed(why)) => Some(why.clone()),
            _ => None,
        }
    }

    /// Leaves there that the track is malformed, whatever else may have ended the subscription meanwhile.
    ///
    /// # Errors
    /// That was known; gives the first reason.
    pub(super) fn set_malformed(&self, why: &MalformedTrack) -> Result<(), MalformedTrack> {
        let mut end = lock(&self.0);
        if let Some(SubscriptionEnd::Malformed(first)) = &*end {
            return Err(first.clone());
        }
        *end = Some(SubscriptionEnd::Malformed(why.clone()));
        Ok(())
    }
}

/// Who keeps what a subscription needs while it runs.
pub(super) trait Forget: std::fmt::Debug + Send + Sync {
    /// The subscription has ended on this side; nothing more is told of it.
    fn forget(&self, handle: RequestHandle);
}
