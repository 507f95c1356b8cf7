//! The start of virtual time.

use std::time::Instant;

/// The instant at which virtual time starts; the only reading of a clock here, and nothing depends on its value.
#[expect(clippy::disallowed_methods, reason = "the base of virtual time")]
pub fn start_of_time() -> Instant {
    Instant::now()
}
