//! How draft 14 looks on the wire.

/// Version number in CLIENT_SETUP and SERVER_SETUP (draft-14 §9.3.1).
pub const VERSION: u64 = 0xff00_000e;

/// ALPN of raw QUIC (draft-14 §3.1.2).
pub const ALPN: &str = "moq-00";
