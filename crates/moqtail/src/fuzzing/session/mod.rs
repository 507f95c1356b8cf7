//! Sessions driven by bytes: two of our own, one with a peer that keeps draft 14, and one with a peer that says anything.

mod legal;
mod messages;
mod operations;
mod peer;
mod rules;
mod setting;
mod side;
mod told;

pub use legal::session_legal;
pub use messages::session_messages;
pub use operations::session_operations;
pub(super) use setting::start;
