//! What is in force where neither flags nor configuration say.

use std::time::Duration;

/// The draft's middle priority.
pub(crate) const DEFAULT_PRIORITY: u8 = 128;

/// Longer than the longest pause between two tries of a viewer that waits, so that it sees the first frame.
pub(super) const DEFAULT_HOLD: Duration = Duration::from_secs(3);
