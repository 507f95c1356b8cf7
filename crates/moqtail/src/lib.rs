//! Media over QUIC Transport (MOQT), draft 14.

#[doc(hidden)]
pub mod fuzzing;
pub mod model;
pub mod session;
#[cfg(feature = "net")]
pub mod transport;
