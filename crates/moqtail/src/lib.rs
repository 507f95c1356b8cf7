//! Media over QUIC Transport (MOQT), draft 14.

pub mod model;
#[cfg(feature = "net")]
pub mod transport;
