//! Shell: one peer of one session on a transport connection.

mod egress;
mod ingest;
mod streams;
mod track;
mod wake;
mod writer;

pub use egress::{Egress, EgressEvents, EgressHandle};
pub use ingest::{IngestEnd, ingest_subgroup};
pub use track::{Interest, Track};
pub use writer::{LocalSubgroup, LocalTrack};
