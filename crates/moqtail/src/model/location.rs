//! Where an object stands in its track, and the numbers that name tracks and requests in a session.

use std::fmt;

use super::MAX_VARINT;

/// Position of an object in a track; ordered by group, then object (draft-14 §1.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Group ID.
    pub group: u64,
    /// Object ID within the group.
    pub object: u64,
}

impl Location {
    /// The location `{group, object}`.
    pub const fn new(group: u64, object: u64) -> Self {
        Self { group, object }
    }

    /// The last one that can be said: nothing follows it.
    pub(crate) const LAST: Self = Self::new(MAX_VARINT, MAX_VARINT);

    /// The first location after this one: the next object, or the next group if there is none.
    pub(crate) fn after(self) -> Self {
        if self.object < MAX_VARINT {
            Self::new(self.group, self.object + 1)
        } else {
            self.after_group()
        }
    }

    /// The first location of the next group.
    pub(crate) fn after_group(self) -> Self {
        if self.group < MAX_VARINT {
            Self::new(self.group + 1, 0)
        } else {
            Self::LAST
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}, {}}}", self.group, self.object)
    }
}

/// Number of a request in a session: even from the client, odd from the server (draft-14 §9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number that stands for a track on streams and datagrams of one session, chosen by the publisher (draft-14 §10.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackAlias(pub u64);

impl fmt::Display for TrackAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Order in which groups are delivered (draft-14 §7.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GroupOrder {
    /// 0x1: lowest Group ID first.
    #[default]
    Ascending,
    /// 0x2: highest Group ID first.
    Descending,
}

/// Which objects a subscription delivers (draft-14 §9.7); it never delivers objects that arrived before it.
///
/// Group IDs are compared, so they must grow with time for a filter to mean what it says. Where they do not, a subscriber
/// does not ask for a range over several groups (draft-14 §2.3.1), and the filters that begin after the largest object leave
/// out what is published in lower groups later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// 0x1: from the group after the largest one.
    NextGroupStart,
    /// 0x2: from the object after the largest one.
    LargestObject,
    /// 0x3: from `start`, open-ended.
    AbsoluteStart {
        /// First location that passes; may be below the largest one.
        start: Location,
    },
    /// 0x4: from `start` through all of `end_group`.
    AbsoluteRange {
        /// First location that passes.
        start: Location,
        /// Last group that passes, inclusive.
        end_group: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S1.4.1-02.
    #[test]
    fn locations_are_ordered_by_group_then_object() {
        assert!(Location::new(1, 9) < Location::new(2, 0));
        assert!(Location::new(1, 8) < Location::new(1, 9));
        assert_eq!(Location::new(1, 8), Location::new(1, 8));
    }

    #[test]
    fn what_follows_a_location_can_be_said() {
        let at = Location::new;
        assert_eq!(at(4, 7).after(), at(4, 8));
        assert_eq!(at(4, MAX_VARINT - 1).after(), at(4, MAX_VARINT));
        assert_eq!(at(4, MAX_VARINT).after(), at(5, 0));
        assert_eq!(at(4, MAX_VARINT).after_group(), at(5, 0));
        assert_eq!(at(MAX_VARINT, 7).after(), at(MAX_VARINT, 8));
        assert_eq!(at(MAX_VARINT, 7).after_group(), Location::LAST);
        assert_eq!(Location::LAST.after(), Location::LAST);
    }
}
