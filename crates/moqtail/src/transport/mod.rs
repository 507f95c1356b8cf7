//! Shell: QUIC, WebTransport and the in-memory twin behind one [`Connection`] trait.
//!
//! A server binds a [`Listener`], a client uses [`connect`] or a [`Dialer`]; both get a [`QuicConnection`], which is the
//! same type for raw QUIC (ALPN `moq-00`) and WebTransport (ALPN `h3`). Tests and peers inside one process use
//! [`MemoryConnection::pair`]. What needs a connection is written against the trait.

mod client;
mod codes;
mod connection;
mod escape;
mod hosts;
mod identity;
mod limits;
mod lock;
mod memory;
pub mod prefix;
mod quic;
mod refusals;
mod resets;
mod seldom;
mod server;
mod socket;
mod swept;
mod tls;
mod url;
mod wakers;

pub use client::{ConnectConfig, ConnectError, Dialer, connect};
pub use connection::*;
pub(crate) use hosts::Hosts;
pub use identity::Identity;
pub use limits::{Congestion, TransportLimits};
pub(crate) use lock::lock;
pub use memory::{MemoryConnection, MemoryRecv, MemorySend};
pub use quic::{QuicConnection, QuicRecv, QuicSend};
pub(crate) use refusals::Refusals;
pub(crate) use seldom::Seldom;
pub use server::{AcceptError, Incoming, ListenConfig, ListenError, Listener};
pub use socket::BufferShortfall;
pub(crate) use swept::Swept;
pub use tls::{TlsError, Trust};
pub use url::{MoqtUrl, Scheme, UrlError};

/// ALPN of raw QUIC (draft-14 §3.1.2), and the WebTransport sub-protocol offered and echoed.
pub const ALPN: &str = "moq-00";

/// ALPN of HTTP/3, which carries WebTransport.
const ALPN_HTTP3: &str = "h3";

/// Data stream reset code CANCELLED (draft-14 §10.4.3): what dropping a stream handle says.
const CANCELLED: u32 = 0x1;
