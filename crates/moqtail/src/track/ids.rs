//! Names of the things of one track.

/// Who feeds a track: one upstream subscription, or a local publisher. Never reused within a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublisherId(pub(super) u64);

/// Name of a subscription in one session; chosen by the caller, never reused while the subscription is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub u64);

/// Group and Subgroup ID.
pub(super) type SubgroupKey = (u64, u64);

/// Name of an inbound stream within a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StreamId(pub(super) u64);

/// Name of a run within its track; not used again while anybody may know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RunId(pub(super) u64);
