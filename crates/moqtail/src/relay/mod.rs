//! A caching fan-out relay.
//!
//! The core is pure: the hub (directory and router) sees sessions as numbers and no objects. `serve` is its shell.

#![cfg_attr(
    not(feature = "net"),
    allow(
        dead_code,
        unused_imports,
        reason = "without `net` nobody drives the core"
    )
)]

mod action;
mod allowance;
mod hooks;
mod hub;
mod limits;
mod routes;
#[cfg(feature = "net")]
mod serve;
mod state;

pub(crate) use action::{Action, DownstreamRequest, LargestSource};
pub use hooks::{AllowAll, Hooks, SessionInfo, Verdict};
pub(crate) use hub::Hub;
pub use limits::RelayLimits;
#[cfg(feature = "net")]
pub use serve::{Relay, RelayConfig, RelayStats};

/// Number of a session in a relay; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) u64);

/// Number of a track in a relay, and its downstream Track Alias; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TrackId(pub(crate) u64);

/// Number of a subscription of the relay at a publisher; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UpstreamId(pub(crate) u64);
