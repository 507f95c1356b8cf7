//! What makes a track malformed, and what a local publisher or a subscription asked in vain.

use crate::model::{EncodeError, Location, MalformedExtensions, PublishDoneCode};

/// The publisher broke the data model (draft-14 §2.5). The track is over for everybody who reads it: its upstream
/// subscription is to be ended with UNSUBSCRIBE, downstream ones end with PUBLISH_DONE MALFORMED_TRACK.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedTrack {
    /// An object after the last one of its subgroup (draft-14 §2.5 case 4).
    #[error("object {at} comes after the final object {last} of subgroup {subgroup}")]
    AfterSubgroupEnd {
        /// The object.
        at: Location,
        /// Its subgroup.
        subgroup: u64,
        /// Last object before a FIN.
        last: u64,
    },
    /// Two streams of one subgroup ended with different objects (draft-14 §2.5 case 5).
    #[error(
        "subgroup {subgroup} of group {group} ended after object {first} and after object {second}"
    )]
    TwoSubgroupEnds {
        /// The group.
        group: u64,
        /// The subgroup.
        subgroup: u64,
        /// Last object told first.
        first: u64,
        /// Last object told later.
        second: u64,
    },
    /// An object at or after the end of its group, or two ends of one group (draft-14 §2.5 case 6).
    #[error("object {at} contradicts the end of its group before object {end}")]
    AfterGroupEnd {
        /// The object, or the largest one received.
        at: Location,
        /// First Object ID that the group does not have.
        end: u64,
    },
    /// An object at or after the end of the track, or two ends of one track (draft-14 §2.5 case 7).
    #[error("object {at} contradicts the end of the track at {end}")]
    AfterTrackEnd {
        /// The object, or the largest one received.
        at: Location,
        /// First location that the track does not have.
        end: Location,
    },
    /// The same object with another payload, status, subgroup or priority (draft-14 §2.5 case 8, §8.1).
    #[error("object {at} was received before with another {what}")]
    Contradiction {
        /// The object.
        at: Location,
        /// The property that differs.
        what: &'static str,
    },
    /// Streams and datagrams on one track (draft-14 §2.5 case 9).
    #[error("object {at} has another forwarding preference than the track")]
    ForwardingPreference {
        /// The object.
        at: Location,
    },
    /// Extension headers that break their own rules (draft-14 §11).
    #[error("object {at} has broken extension headers: {cause}")]
    Extensions {
        /// The object.
        at: Location,
        /// The rule.
        cause: MalformedExtensions,
    },
    /// A gap covers a received object, or an object lies in a gap told before (draft-14 §11.1, §11.3).
    #[error("object {at} contradicts a prior {what} ID gap")]
    Gap {
        /// The object.
        at: Location,
        /// `group` or `object`.
        what: &'static str,
    },
}

/// Why a subscription cannot begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The end lies before the start, or everything up to the end is already published: SUBSCRIBE_ERROR INVALID_RANGE
    /// (draft-14 §9.7).
    #[error("the range of the filter cannot be satisfied")]
    InvalidRange,
    /// The track has ended; the subscriber is to be told so.
    #[error("the track has ended with {0}")]
    Ended(PublishDoneCode),
    /// The track is malformed.
    #[error("the track is malformed: {0}")]
    Malformed(#[from] MalformedTrack),
    /// The caller used the id for a subscription that is still served.
    #[error("the subscription id is in use")]
    IdInUse,
    /// Over [`DeliveryLimits::max_subscriptions`](super::DeliveryLimits::max_subscriptions).
    #[error("over the limit of {0} subscriptions in a session")]
    TooMany(usize),
    /// The session is closing.
    #[error("the session is closed")]
    Closed,
}

/// A SUBSCRIBE_UPDATE that may not be (draft-14 §9.10): the peer is to blame, the session ends with PROTOCOL_VIOLATION.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// Start Location below the current one.
    #[error("update lowers the start from {from} to {to}")]
    StartLowered {
        /// Start in force.
        from: Location,
        /// Start asked for.
        to: Location,
    },
    /// End Group above the current one.
    #[error("update raises the end group")]
    EndRaised,
    /// End Group below the group of the start.
    #[error("end group lies before the start")]
    EndBeforeStart,
    /// No such subscription is served: not the peer's fault, it may just have ended.
    #[error("no such subscription")]
    Unknown,
}

/// A local publisher asked for something that would break the track. Nothing was published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The object does not fit the stream or the draft.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The object would make the track malformed.
    #[error(transparent)]
    Malformed(#[from] MalformedTrack),
    /// The previous object still misses `missing` bytes of its payload.
    #[error("previous object misses {missing} bytes of payload")]
    Unfinished {
        /// Bytes still to come.
        missing: u64,
    },
    /// More payload than announced.
    #[error("{excess} bytes over the announced payload length")]
    Excess {
        /// Bytes too many.
        excess: u64,
    },
    /// The end of a group or track stands where its next object would (draft-14 §10.2.1.1).
    #[error("End of Group or End of Track at {at}, expected at {expected}")]
    EndElsewhere {
        /// Where it was to be published.
        at: Location,
        /// Where it may be.
        expected: Location,
    },
    /// The track has ended.
    #[error("the track has ended")]
    Ended,
    /// The subgroup, or one whose stream header is the same, is open (draft-14 §2.2, §10.4).
    #[error("a subgroup with this header is open in group {group}: finish or reset it first")]
    SubgroupOpen {
        /// Its group.
        group: u64,
    },
    /// Over [`TrackLimits::max_streams`](super::TrackLimits::max_streams).
    #[error("over the limit of {0} open subgroups")]
    TooManyStreams(usize),
}
