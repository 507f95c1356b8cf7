//! The head of a stream on a WebTransport connection.

#![no_main]

// The parser stands alone; taking the file spares this crate the whole transport.
#[path = "../../../crates/moqtail/src/transport/prefix.rs"]
#[allow(dead_code, reason = "what the transport writes itself is not read here")]
mod prefix;

moqtail_fuzz::parser!(64, prefix::check_head);
