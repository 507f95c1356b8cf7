//! Which objects a subscription asks for: filters and how they may change (draft-14 §9.7, §9.10).

use super::error::RangeFault;
use crate::model::{Filter, Location, MAX_VARINT};

/// The highest end that SUBSCRIBE_UPDATE can name: some write it where they mean no end.
const HIGHEST_END: u64 = MAX_VARINT - 1;

/// First location and last group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// `None`: relative to a Largest Location that is not known yet.
    pub(super) start: Option<Location>,
    /// `None`: open-ended.
    pub(super) end_group: Option<u64>,
    /// The start that the subscriber named last, which may lie before `start`. A relative filter names none.
    pub(super) named: Option<Location>,
}

impl Range {
    /// What the filter says by itself.
    pub(super) fn of(filter: Filter) -> Self {
        match filter {
            Filter::NextGroupStart | Filter::LargestObject => Self {
                start: None,
                end_group: None,
                named: None,
            },
            Filter::AbsoluteStart { start } => Self {
                start: Some(start),
                end_group: None,
                named: Some(start),
            },
            Filter::AbsoluteRange { start, end_group } => Self {
                start: Some(start),
                end_group: Some(end_group),
                named: Some(start),
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
            (Filter::NextGroupStart, Some(largest)) => largest.after_group(),
            (Filter::LargestObject, Some(largest)) => largest.after(),
            (Filter::NextGroupStart | Filter::LargestObject, None) => Location::new(0, 0),
            (Filter::AbsoluteStart { start } | Filter::AbsoluteRange { start, .. }, _) => start,
        };
        let start = self.start.map_or(first, |start| start.max(first));
        Self {
            start: Some(start),
            end_group: self.end_group.map(|end| end.max(start.group)),
            named: self.named,
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
            && end_group.unwrap_or(MAX_VARINT) > current
        {
            return Err(RangeFault::EndRaised { current });
        }
        let narrowed = Self {
            start: Some(start),
            end_group,
            named: Some(start),
        };
        narrowed.check()?;
        Ok(narrowed)
    }

    /// This range as SUBSCRIBE_UPDATE can say it: the last group of all is too high for an end.
    pub(super) fn sayable(self) -> Self {
        let start = self.start.unwrap_or_default().group;
        let end_group = match self.end_group {
            Some(MAX_VARINT) => Some(HIGHEST_END).filter(|end| *end >= start),
            end => end,
        };
        Self { end_group, ..self }
    }

    /// This range after a SUBSCRIBE_UPDATE of the peer, which must not widen it.
    ///
    /// An update names a start whatever it is about, and with a relative filter the subscriber learns the start in force
    /// from SUBSCRIBE_OK only, which may cross the update. So a start below the one in force means "as before" where the
    /// subscriber has named no higher one itself: it is judged alike whether the update comes before the answer or after.
    pub(super) fn update(
        self,
        start: Location,
        end_group: Option<u64>,
    ) -> Result<Self, RangeFault> {
        let end_group = match self.end_group {
            None => end_group.filter(|end| *end < HIGHEST_END),
            Some(_) => end_group,
        };
        let asked = Self {
            start: self.named,
            ..self
        }
        .narrow(start, end_group)?;
        let start = self.start.map_or(start, |current| start.max(current));
        Ok(Self {
            start: Some(start),
            end_group: asked.end_group.map(|end| end.max(start.group)),
            named: asked.named,
        })
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

    /// S9.7-06, S9.7-07
    #[test]
    fn a_start_after_the_last_object_or_group_can_be_said() {
        let start = |filter, group, object| {
            let largest = Some(Location::new(group, object));
            Range::of(filter).resolve(filter, largest).start.unwrap()
        };
        let (object, group) = (Filter::LargestObject, Filter::NextGroupStart);
        assert_eq!(start(object, 7, MAX_VARINT), Location::new(8, 0));
        assert_eq!(start(group, 7, MAX_VARINT), Location::new(8, 0));
        assert_eq!(start(group, MAX_VARINT, 3), Location::LAST);
        assert_eq!(start(object, MAX_VARINT, MAX_VARINT), Location::LAST);
    }

    /// S9.10-04
    #[test]
    fn an_end_at_the_last_group_is_said_as_the_one_before_or_as_none() {
        let said = |start, end_group| {
            let start = Location::new(start, 0);
            let range = Range::of(Filter::AbsoluteRange { start, end_group });
            range.sayable().end_group
        };
        assert_eq!(said(5, 9), Some(9));
        assert_eq!(said(5, MAX_VARINT), Some(HIGHEST_END));
        assert_eq!(said(MAX_VARINT, MAX_VARINT), None);
        // Which does not raise it.
        let start = Location::new(5, 0);
        let end_group = MAX_VARINT;
        let range = Range::of(Filter::AbsoluteRange { start, end_group });
        assert!(range.narrow(start, None).is_ok());
    }

    /// S9.10-03, S9.10-04, S9.10-06
    #[test]
    fn ranges_are_only_narrowed() {
        let range = Range {
            start: Some(Location::new(5, 0)),
            end_group: Some(9),
            named: None,
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
        let open = Range::of(Filter::LargestObject);
        assert!(open.narrow(Location::new(0, 0), Some(3)).is_ok());
    }

    /// S9.10-03: an update means the same whether it comes before the answer or after it.
    #[test]
    fn updates_mean_the_same_before_and_after_the_answer() {
        let absolute = Filter::AbsoluteStart {
            start: Location::new(5, 0),
        };
        let starts = [(0, 0), (5, 0), (7, 4), (7, 9), (9, 0)].map(|(g, o)| Location::new(g, o));
        let ends = [None, Some(9), Some(30), Some(HIGHEST_END)];
        for filter in [Filter::LargestObject, Filter::NextGroupStart, absolute] {
            let range = Range::of(filter);
            for (first, second) in starts.iter().flat_map(|a| starts.map(|b| (*a, b))) {
                for (one, two) in ends.iter().flat_map(|a| ends.map(|b| (*a, b))) {
                    let early = range.update(first, one).and_then(|r| r.update(second, two));
                    let late = range.resolve(filter, LARGEST).update(first, one);
                    let late = late.and_then(|r| r.update(second, two));
                    let early = early.map(|range| range.resolve(filter, LARGEST));
                    assert_eq!(early, late, "{filter:?} {first} {one:?} {second} {two:?}");
                }
            }
        }
    }

    /// S9.10-03
    #[test]
    fn an_update_raises_a_start_that_was_not_named_to_the_one_in_force() {
        let range = Range::of(Filter::LargestObject).resolve(Filter::LargestObject, LARGEST);
        let kept = range.update(Location::new(0, 0), None).unwrap();
        assert_eq!(kept.start, range.start);
        // An end before the start in force is raised with it.
        let ended = range.update(Location::new(0, 0), Some(3)).unwrap();
        assert_eq!((ended.start, ended.end_group), (range.start, Some(7)));
        let raised = kept.update(Location::new(8, 0), None).unwrap();
        assert_eq!(raised.start, Some(Location::new(8, 0)));
        assert_eq!(
            raised.update(Location::new(7, 4), None),
            Err(RangeFault::StartLowered {
                new: Location::new(7, 4),
                current: Location::new(8, 0),
            })
        );
    }

    /// S9.10-04
    #[test]
    fn the_highest_end_is_none_where_there_was_none() {
        let start = Location::new(5, 0);
        let open = Range::of(Filter::AbsoluteStart { start });
        let updated = open.update(start, Some(HIGHEST_END)).unwrap();
        assert_eq!(updated.end_group, None);
        assert!(updated.update(start, None).is_ok());
        let bounded = Range::of(Filter::AbsoluteRange {
            start,
            end_group: 9,
        });
        assert_eq!(
            bounded.update(start, Some(HIGHEST_END)),
            Err(RangeFault::EndRaised { current: 9 })
        );
        let whole = Range::of(Filter::AbsoluteRange {
            start,
            end_group: MAX_VARINT,
        });
        assert!(whole.update(start, Some(HIGHEST_END)).is_ok());
    }
}
