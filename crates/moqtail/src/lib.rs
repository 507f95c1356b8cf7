//! Media over QUIC Transport (MOQT), draft 14.

#[cfg(feature = "net")]
pub mod transport;
