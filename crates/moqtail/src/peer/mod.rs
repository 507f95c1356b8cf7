//! Shell: drives one session and its data over one connection.

mod driver;
mod handle;
mod inbound;
mod limits;

pub(crate) use driver::{Handler, Side, drive};
pub(crate) use handle::{PeerHandle, now};
pub(crate) use inbound::InboundStream;
pub use limits::PeerLimits;
