//! Which objects a subscription delivers: its range, and the moment from which objects count (draft-14 §9.7).

use std::time::Duration;

use super::{AttachError, UpdateError};
use crate::model::{Filter, GroupOrder, Location, MAX_VARINT, TrackAlias};

/// A moment in the life of a track: between the arrival of two objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArrivalMark(pub(super) u64);

/// What a SUBSCRIBE or PUBLISH_OK asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionParams {
    /// Which objects pass.
    pub filter: Filter,
    /// Forward State.
    pub forward: bool,
    /// 0 is the most urgent.
    pub subscriber_priority: u8,
    /// Order among groups of this subscription.
    pub group_order: GroupOrder,
    /// DELIVERY TIMEOUT of the subscriber.
    pub delivery_timeout: Option<Duration>,
    /// DELIVERY TIMEOUT of the publisher; the smaller one is in force (draft-14 §9.2.1.2).
    pub publisher_timeout: Option<Duration>,
}

/// What a SUBSCRIBE_UPDATE changes (draft-14 §9.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateParams {
    /// First location that passes.
    pub start: Location,
    /// Last group that passes; `None`: open-ended.
    pub end_group: Option<u64>,
    /// Forward State.
    pub forward: bool,
    /// 0 is the most urgent.
    pub subscriber_priority: u8,
    /// New DELIVERY TIMEOUT of the subscriber; `None`: as before.
    pub delivery_timeout: Option<Duration>,
}

/// From when on objects count, and what Largest is for the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Objects that arrive from now on; Largest as the log knows it now.
    Now,
    /// Objects since `mark`; for the SUBSCRIBE that opens the upstream subscription, where Largest is what upstream
    /// said, and for PUBLISH, where it is what PUBLISH said.
    Since {
        /// Taken when the request was processed.
        mark: ArrivalMark,
        /// Largest as told by the upstream SUBSCRIBE_OK, or in PUBLISH.
        largest: Option<Location>,
    },
}

/// What the answer to a SUBSCRIBE needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartInfo {
    /// Track Alias on all streams and datagrams of the subscription.
    pub alias: TrackAlias,
    /// Largest location for the answer; `None`: no content yet.
    pub largest: Option<Location>,
    /// Start of the range, resolved.
    pub start: Location,
    /// End of the range, inclusive; `None`: open-ended.
    pub end_group: Option<u64>,
}

/// A range of locations: from a start through all of an end group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: Location,
    pub(crate) end_group: Option<u64>,
}

impl Range {
    /// Resolves `filter` against the largest location (draft-14 §9.7).
    pub(crate) fn resolve(filter: Filter, largest: Option<Location>) -> Result<Self, AttachError> {
        let range = match (filter, largest) {
            (Filter::NextGroupStart | Filter::LargestObject, None) => Self {
                start: Location::default(),
                end_group: None,
            },
            (Filter::NextGroupStart, Some(largest)) => Self {
                start: largest.after_group(),
                end_group: None,
            },
            (Filter::LargestObject, Some(largest)) => Self {
                start: largest.after(),
                end_group: None,
            },
            (Filter::AbsoluteStart { start }, _) => Self {
                start,
                end_group: None,
            },
            (Filter::AbsoluteRange { start, end_group }, _) => Self {
                start,
                end_group: Some(end_group),
            },
        };
        // draft-14 §9.7: End Group is not below Start, and not already published
        let empty = range.end_group.is_some_and(|end| end < range.start.group);
        let past = match (range.end_group, largest) {
            (Some(end), Some(largest)) => end < largest.group,
            _ => false,
        };
        if empty || past {
            return Err(AttachError::InvalidRange);
        }
        Ok(range)
    }

    /// Narrows to what SUBSCRIBE_UPDATE says; it may not widen (draft-14 §9.10).
    pub(crate) fn narrow(
        self,
        start: Location,
        end_group: Option<u64>,
    ) -> Result<Self, UpdateError> {
        if start < self.start {
            return Err(UpdateError::StartLowered {
                from: self.start,
                to: start,
            });
        }
        let raised = match (self.end_group, end_group) {
            (None, _) => false,
            (Some(old), new) => new.unwrap_or(MAX_VARINT) > old,
        };
        if raised {
            return Err(UpdateError::EndRaised);
        }
        if end_group.is_some_and(|end| end < start.group) {
            return Err(UpdateError::EndBeforeStart);
        }
        Ok(Self { start, end_group })
    }

    /// Whether some object of `group` may pass.
    pub(crate) fn has_group(&self, group: u64) -> bool {
        group >= self.start.group && !self.is_past(group)
    }

    /// Whether `group` lies behind the end.
    pub(crate) fn is_past(&self, group: u64) -> bool {
        self.end_group.is_some_and(|end| group > end)
    }

    /// Lowest Object ID of `group` that passes.
    pub(crate) fn first_object(&self, group: u64) -> u64 {
        if group == self.start.group {
            self.start.object
        } else {
            0
        }
    }
}
