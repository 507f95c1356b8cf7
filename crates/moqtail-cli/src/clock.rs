//! The clocks, read in one place.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "group numbers and catalogs are dated by the wall clock"
)]
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "media is merged by the time of its arrival"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
