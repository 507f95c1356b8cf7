//! Pure: one peer of one MOQT session as a value. No I/O, no clock, no tasks.
//!
//! The shell feeds bytes of the control stream, headers of data streams and the time into a [`Session`]; the
//! application makes typed calls on it. After every input and call the shell drains [`Session::poll_output`] until
//! it gives `None`, does what it is told in that order, and then asks [`Session::deadline`] when to call
//! [`Session::timeout`]. Objects never pass through here: the session only says which subscription a stream or
//! datagram belongs to.

mod alias;
mod blame;
mod calls;
mod config;
mod context;
mod dispatch;
mod error;
mod event;
mod goaway;
mod inputs;
mod limits;
mod machine;
mod namespace;
mod outbox;
mod parameters;
mod publish;
mod range;
mod request;
mod setup;
mod stream;
mod subscribe;
mod timer;
mod token;
mod uri;

pub use blame::Blame;
pub use config::{Carrier, Role, SessionConfig, Token, Tolerances};
pub use error::{CallError, RangeFault, SessionError, SetupRefusal, TargetParameter};
pub use event::{
    Close, Event, Output, PeerSetup, PublishAccepted, PublishAnswer, PublishOptions,
    PublishRequest, RequestFailure, RequestHandle, StreamKey, StreamVerdict, SubscribeAccepted,
    SubscribeAnswer, SubscribeOptions, SubscribeRequest, SubscriptionChange, SubscriptionUpdate,
};
pub use limits::SessionLimits;
pub use machine::{Session, SessionLoad};
