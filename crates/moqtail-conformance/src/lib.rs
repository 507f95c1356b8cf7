//! Black-box conformance suite: a raw peer that says to a relay or to a client whatever a test wants said.
//!
//! Nothing here uses the library's session core. [`RawPeer`] carries bytes over QUIC or WebTransport; [`Message`] lays
//! control messages out field by field, so that [`malformed`] can break each of them; [`data`] makes stream heads, objects
//! and datagrams by hand. A test reads as a transcript:
//!
//! ```no_run
//! # async fn story() -> Result<(), moqtail_conformance::Failure> {
//! use moqtail_conformance::{Carrier, RawPeer, Target, codes, messages, types};
//!
//! let target = Target::new("127.0.0.1:4443".parse().expect("an address"));
//! let mut peer = RawPeer::established(&target, Carrier::Quic).await?;
//! peer.send(messages::subscribe(0, &["nobody"], "nothing")).await?;
//! peer.expect(types::SUBSCRIBE_ERROR).await?;
//! peer.send(messages::subscribe(0, &["nobody"], "nothing")).await?;
//! peer.expect_close(codes::INVALID_REQUEST_ID).await
//! # }
//! ```

mod catalog;
pub mod codes;
pub mod data;
mod dial;
mod failure;
mod link;
mod listen;
pub mod malformed;
mod message;
pub mod messages;
mod patience;
mod peer;
mod speaker;
mod streams;
pub mod types;
mod web;
pub mod wire;

pub use catalog::{every_answer, every_message};
pub use dial::{Target, dial, dial_with};
pub use failure::{Close, Failure};
pub use link::Carrier;
pub use listen::RawListener;
pub use message::{Field, Message, Role, frame};
pub use patience::PATIENCE;
pub use peer::{Frame, RawPeer};
pub use speaker::Speaker;
pub use streams::{RawRecv, RawSend, RecvEnd};
pub use web::{
    BIDI_SIGNAL, CAPSULE_CLOSE, H3_ALPN, UNI_STREAM, WebSession, capsule, h3_frame, request,
    settings,
};
