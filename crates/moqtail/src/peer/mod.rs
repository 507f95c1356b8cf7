//! Shell: drives one session and its data over one connection.

mod budget;
mod claims;
mod driver;
mod egress;
mod handle;
mod inbound;
mod ingest;
mod limits;
mod open_headers;
mod pool;
mod report;
mod streams;
#[cfg(test)]
mod tests;
mod track;
mod wake;
mod woken;
mod writer;

pub(crate) use driver::{Handler, Side, close_code, drive};
pub use egress::{Deliveries, Egress, EgressEvents, EgressHandle};
pub(crate) use handle::{PeerHandle, now};
pub(crate) use inbound::InboundStream;
pub use ingest::{IngestEnd, IngestLimits, ingest_subgroup};
pub use limits::PeerLimits;
pub use open_headers::HeaderRoom;
pub use pool::TrackPool;
pub(crate) use report::{Report, refusal, subscription_id};
pub use track::{Interest, Track};
pub(crate) use woken::Woken;
pub use writer::{LocalSubgroup, LocalTrack};
