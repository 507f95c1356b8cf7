//! How subscribers can behave badly.

use serde::Serialize;

/// What is odd about a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Behaviour {
    /// It never reads.
    Stalled,
    /// It reads a tenth of what the slowest healthy one does, and joins again when it is cut off.
    Slow,
    /// It leaves with the first object and joins again.
    Churning,
}
