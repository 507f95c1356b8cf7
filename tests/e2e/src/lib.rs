//! End-to-end tests of the `moqtail` command: the built program in processes of its own, over real sockets on loopback.
//!
//! Tests wait for what they expect to see and never for a time to pass; every wait has [`PATIENCE`] as its end.

#![cfg(unix)]

mod binary;
#[cfg(target_os = "linux")]
mod bottleneck;
mod carrier;
mod counted;
mod files;
mod host;
mod media;
mod mp4;
mod process;
mod relay;
mod steady;
mod stranger;
#[cfg(target_os = "linux")]
mod usage;

use std::time::Duration;

pub use binary::moqtail;
#[cfg(target_os = "linux")]
pub use bottleneck::{Bottleneck, Place};
pub use carrier::Carrier;
pub use counted::{Clock, Ledger, Shape, feed, receive};
pub use files::{Scratch, ffmpeg, ffprobe};
pub use host::Host;
pub use media::{Codecs, FRAME_RATE, Live, Passed, playable, test_media};
pub use mp4::{Chunk, chunks};
pub use process::{Finished, Process};
pub use relay::Relay;
pub use steady::{Budget, HD, Latency, SMALL, Steady, end, memory_bound, soon, subscribe};
pub use stranger::stranger;
#[cfg(target_os = "linux")]
pub use usage::{Peak, Usage};

/// How long a test waits for anything at most. Generous, for machines that do other work meanwhile.
pub const PATIENCE: Duration = Duration::from_secs(60);
