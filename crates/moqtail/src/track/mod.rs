//! Pure: the log of one track, and the engine that delivers it to one session.
//!
//! What arrives is kept in runs: a run is what one stream delivers of a subgroup, bytes and an index of its objects.
//! Each subscription follows runs with small cursors, so nothing is queued per subscriber and what is sent is what came.
//! The client's publisher and the relay deliver by the same rules.
//!
//! [`StreamIngest`] and [`SubgroupWriter`] write the [`TrackLog`], [`Delivery`] reads it for the subscriptions of one
//! session and sends through an [`Outlet`]. [`TrackIntegrity`] is for who reads a track and keeps no log of it: it tells
//! whether what comes may be one track.

mod account;
mod age;
mod batch;
mod behind;
mod chunks;
mod claim;
mod copies;
mod cursor;
mod datagrams;
mod delivery;
mod digest;
mod error;
mod evict;
mod filter;
mod group;
mod group_facts;
mod held;
mod idle;
mod ids;
mod ingest;
mod integrity;
mod left;
mod limits;
mod log;
mod looks;
mod merge;
mod outlet;
mod owners;
mod ranges;
mod recent;
mod ring;
mod run;
mod schedule;
mod send;
mod skipped;
mod slots;
mod staging;
mod stream;
mod subscription;
#[cfg(test)]
mod tests;
mod track_facts;
mod update;
mod whole;
mod writer;

pub use delivery::{Delivery, DeliveryEvent};
pub use error::{AttachError, MalformedTrack, UpdateError, WriteError};
pub use evict::Spared;
pub use filter::{Admission, ArrivalMark, StartInfo, SubscriptionParams, UpdateParams};
pub use ids::{PublisherId, SubscriptionId};
pub use ingest::{IngestError, PreparedTurn, StreamIngest};
pub use integrity::{StreamIntegrity, TrackIntegrity};
pub use limits::{DeliveryLimits, IntegrityLimits, TrackLimits};
pub use log::{TrackEnd, TrackLog};
pub use outlet::{DatagramSent, Opened, Outlet, Source, StreamKey, Watched, Written};
pub use track_facts::ForwardingPreference;
pub use writer::SubgroupWriter;

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

impl SubgroupOptions {
    /// Subgroup 0 of `group`, at middle priority (draft-14 §7.3), without extension headers.
    pub fn new(group: u64) -> Self {
        Self {
            group,
            subgroup: crate::model::SubgroupId::Zero,
            publisher_priority: 128,
            extensions: false,
            end_of_group: false,
        }
    }
}
