//! Shell: QUIC, WebTransport and the in-memory twin behind one [`Connection`] trait.

mod connection;
mod limits;
mod memory;
mod wakers;

pub use connection::*;
pub use limits::TransportLimits;
pub use memory::{MemoryConnection, MemoryRecv, MemorySend};

/// Data stream reset code CANCELLED (draft-14 §10.4.3): what dropping a stream handle says.
const CANCELLED: u32 = 0x1;
