//! Pure: the log of one track, and the engine that delivers it to one session.
//!
//! What arrives is kept in runs: a run is what one inbound stream delivered of a subgroup, bytes and an index of its
//! objects. Each subscription follows runs with small cursors, so nothing is queued per subscriber and what is sent is
//! what came. The client's publisher and the relay deliver by the same rules.

mod error;
mod filter;
mod limits;

pub use error::{AttachError, MalformedTrack, UpdateError, WriteError};
pub use filter::{
    Admission, ArrivalMark, StartInfo, SubscriptionId, SubscriptionParams, UpdateParams,
};
pub use limits::{DeliveryLimits, TrackLimits};

/// Who feeds a track: one upstream subscription, or a local publisher. Never reused within a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublisherId(pub(crate) u64);

/// What a local publisher says of a subgroup before its first object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubgroupOptions {
    /// Group ID.
    pub group: u64,
    /// Subgroup ID and how the stream gives it.
    pub subgroup: crate::model::SubgroupId,
    /// 0 is the most urgent.
    pub publisher_priority: u8,
    /// Objects may carry extension headers.
    pub extensions: bool,
    /// The last object before the end of the subgroup is the last of its group.
    pub end_of_group: bool,
}
