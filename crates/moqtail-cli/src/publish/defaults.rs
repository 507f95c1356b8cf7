//! What is in force where neither flags nor configuration say.

use std::time::Duration;

use crate::backoff::Backoff;

/// The draft's middle priority.
pub(crate) const DEFAULT_PRIORITY: u8 = 128;

/// A viewer that waits tries again within this time, with a second for its question to arrive, and so sees the first frame.
pub(super) const DEFAULT_HOLD: Duration = Backoff::LAST.saturating_add(Duration::from_secs(1));
