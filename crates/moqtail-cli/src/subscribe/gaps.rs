//! Whether what is missing in a row of numbers is worth waiting for.

/// What one number that was missed weighs: as much as so many that followed. A publisher that leaves numbers out more often
/// than this counts in leaps.
const WEIGHT: u16 = 64;

/// When so many were missed, the next ones are not waited for.
const MAX: u16 = 3 * WEIGHT;

/// How often numbers were missed of late.
#[derive(Debug, Default)]
pub(super) struct Gaps(u16);

impl Gaps {
    /// Whether one that is missing may still come.
    pub(super) fn may_be_filled(&self) -> bool {
        self.0 < MAX
    }

    /// One was missing and is passed over.
    pub(super) fn missed(&mut self) {
        self.0 = (self.0 + WEIGHT).min(MAX + WEIGHT);
    }

    /// One came right behind the one before.
    pub(super) fn followed(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }
}
