//! Media over QUIC Transport (MOQT), draft 14.

pub mod model;
pub mod session;
#[cfg(feature = "net")]
pub mod transport;
