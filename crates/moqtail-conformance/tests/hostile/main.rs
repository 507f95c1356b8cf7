//! What peers of bad will or bad make can do to a relay: nothing. And what it owes to those who keep the rules.
//!
//! Each test is a story of a raw peer against a relay, beside a watcher that publishes and subscribes and misses nothing.
//! After the story the relay has to be what it was before: see [`world::World::end`].

#![cfg(target_os = "linux")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests run in real time, spawn tasks that they wait for, and fail by panicking"
)]

mod caps;
mod carrier;
mod churn;
mod farewell;
mod floods;
mod legal;
mod logs;
mod malformed;
mod order;
mod readers;
mod silence;
mod story;
mod strangers;
mod streams;
mod vitals;
mod watcher;
mod web;
mod world;

pub(crate) use story::{Story, over_both_carriers};
