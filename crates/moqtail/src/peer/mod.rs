//! Shell: one peer of one session on a transport connection.

mod egress;
mod ingest;
mod track;
mod writer;

pub use egress::{Egress, EgressEvents, EgressHandle};
pub use ingest::{IngestEnd, ingest_subgroup};
pub use track::{Interest, Track, TrackEnd};
pub use writer::{LocalSubgroup, LocalTrack};
