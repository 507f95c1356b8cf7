//! Which objects a subscription asks for: filters and how they may change (draft-14 §9.7, §9.10).

use super::error::RangeFault;
use crate::model::{Filter, Location};

/// First location and last group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// `None`: relative to a Largest Location that is not known yet.
    pub(super) start: Option<Location>,
    /// `None`: open-ended.
    pub(super) end_group: Option<u64>,
}

impl Range {
    /// What the filter says by itself.
    pub(super) fn of(filter: Filter) -> Self {
        match filter {
            Filter::NextGroupStart | Filter::LargestObject => Self {
                start: None,
                end_group: None,
            },
            Filter::AbsoluteStart { start } => Self {
                start: Some(start),
                end_group: None,
            },
            Filter::AbsoluteRange { start, end_group } => Self {
                start: Some(start),
                end_group: Some(end_group),
            },
        }
    }

    /// The end must not lie before the start.
    pub(super) fn check(self) -> Result<(), RangeFault> {
        match (self.start, self.end_group) {
            (Some(start), Some(end)) if end < start.group => {
                Err(RangeFault::EndBeforeStart { start, end })
            }
            _ => Ok(()),
        }
    }

    /// The range of `filter` over a track with this Largest Location, narrowed to what was asked for meanwhile.
    pub(super) fn resolve(self, filter: Filter, largest: Option<Location>) -> Self {
        // draft-14 §9.7
        let first = match (filter, largest) {
            (Filter::NextGroupStart, Some(largest)) => {
                Location::new(largest.group.saturating_add(1), 0)
            }
            (Filter::LargestObject, Some(largest)) => {
                Location::new(largest.group, largest.object.saturating_add(1))
            }
            (Filter::NextGroupStart | Filter::LargestObject, None) => Location::new(0, 0),
            (Filter::AbsoluteStart { start } | Filter::AbsoluteRange { start, .. }, _) => start,
        };
        let start = self.start.map_or(first, |start| start.max(first));
        Self {
            start: Some(start),
            end_group: self.end_group.map(|end| end.max(start.group)),
        }
    }

    /// This range changed to `start` and `end_group`, which must not widen it.
    pub(super) fn narrow(
        self,
        start: Location,
        end_group: Option<u64>,
    ) -> Result<Self, RangeFault> {
        // draft-14 §9.10
        if let Some(current) = self.start
            && start < current
        {
            return Err(RangeFault::StartLowered {
                new: start,
                current,
            });
        }
        if let Some(current) = self.end_group
            && end_group.is_none_or(|end| end > current)
        {
            return Err(RangeFault::EndRaised { current });
        }
        let narrowed = Self {
            start: Some(start),
            end_group,
        };
        narrowed.check()?;
        Ok(narrowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGEST: Option<Location> = Some(Location::new(7, 3));

    /// S9.7-06, S9.7-07, S9.7-08, S9.7-09
    #[test]
    fn filters_resolve_against_the_largest_location() {
        let start = |filter, largest| Range::of(filter).resolve(filter, largest).start;
        let absolute = Filter::AbsoluteStart {
            start: Location::new(5, 1),
        };
        assert_eq!(
            start(Filter::LargestObject, LARGEST),
            Some(Location::new(7, 4))
        );
        assert_eq!(
            start(Filter::NextGroupStart, LARGEST),
            Some(Location::new(8, 0))
        );
        assert_eq!(
            start(Filter::LargestObject, None),
            Some(Location::new(0, 0))
        );
        assert_eq!(
            start(Filter::NextGroupStart, None),
            Some(Location::new(0, 0))
        );
        assert_eq!(start(absolute, LARGEST), Some(Location::new(5, 1)));
    }

    /// S9.10-03, S9.10-04, S9.10-06
    #[test]
    fn ranges_are_only_narrowed() {
        let range = Range {
            start: Some(Location::new(5, 0)),
            end_group: Some(9),
        };
        assert!(range.narrow(Location::new(5, 0), Some(9)).is_ok());
        assert!(range.narrow(Location::new(9, 4), Some(9)).is_ok());
        let lowered = range.narrow(Location::new(4, 9), Some(9));
        assert!(matches!(lowered, Err(RangeFault::StartLowered { .. })));
        assert!(matches!(
            range.narrow(Location::new(5, 0), None),
            Err(RangeFault::EndRaised { .. })
        ));
        let raised = range.narrow(Location::new(5, 0), Some(10));
        assert!(matches!(raised, Err(RangeFault::EndRaised { .. })));
        let backward = range.narrow(Location::new(8, 0), Some(7));
        assert!(matches!(backward, Err(RangeFault::EndBeforeStart { .. })));
        let open = Range {
            start: None,
            end_group: None,
        };
        assert!(open.narrow(Location::new(0, 0), Some(3)).is_ok());
    }
}
