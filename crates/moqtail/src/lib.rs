//! Media over QUIC Transport (MOQT), draft 14.

#[cfg(feature = "net")]
pub mod client;
pub mod model;
#[cfg(feature = "net")]
pub mod peer;
pub mod relay;
pub mod session;
pub mod track;
#[cfg(feature = "net")]
pub mod transport;
