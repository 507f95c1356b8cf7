//! The clocks, read in one place.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "group numbers, catalogs and the stamps of a benchmark are dated by the wall clock"
)]
pub(crate) fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}

/// The monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "media is merged by the time of its arrival"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
