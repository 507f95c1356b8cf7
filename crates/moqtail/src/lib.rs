//! Media over QUIC Transport (MOQT), draft 14.

pub mod model;
#[cfg(feature = "net")]
pub mod peer;
pub mod track;
#[cfg(feature = "net")]
pub mod transport;
