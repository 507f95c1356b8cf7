//! Shell: QUIC, WebTransport and the in-memory twin behind one [`Connection`] trait.

mod connection;

pub use connection::*;
