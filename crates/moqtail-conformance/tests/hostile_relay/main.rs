//! What a relay of bad will or bad make can do to our clients: nothing but cost them its session.
//!
//! Each test is a story of a raw relay that says to a client what no relay should. The client ends with a typed error that
//! says whose fault it was, or goes on; in bounded time and memory either way.

#![cfg(target_os = "linux")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests run in real time, spawn tasks that they wait for, and fail by panicking"
)]

mod answers;
mod cancelled;
mod goaway;
mod legal;
mod losses;
mod malformed;
mod malformed_track;
mod measured;
mod moved;
mod programs;
mod publisher;
mod restless;
mod setup;
mod slow_output;
#[path = "../hostile/story.rs"]
mod story;
mod streams;
#[path = "../hostile/vitals.rs"]
mod vitals;
mod world;

pub(crate) use story::over_both_carriers;
