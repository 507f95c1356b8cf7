//! Whether what is missing in a row of numbers is worth waiting for.

/// What one number that was missed weighs: as much as so many objects that followed, or a quarter as many groups. A publisher
/// that leaves numbers out more often than this counts in leaps.
const WEIGHT: u16 = 64;

/// When so many were missed, the next ones are not waited for.
const MAX: u16 = 3 * WEIGHT;

/// How often numbers were missed of late.
#[derive(Debug)]
pub(super) struct Gaps {
    missed: u16,
    /// What one that followed weighs.
    followed: u16,
}

impl Gaps {
    /// Among groups, each of which lasts as long as very many objects.
    pub(super) fn of_groups() -> Self {
        Self {
            missed: 0,
            followed: WEIGHT / 4,
        }
    }

    /// Among the objects of groups.
    pub(super) fn of_objects() -> Self {
        Self {
            missed: 0,
            followed: 1,
        }
    }

    /// Whether one that is missing may still come.
    pub(super) fn may_be_filled(&self) -> bool {
        self.missed < MAX
    }

    /// One was missing and is passed over.
    pub(super) fn missed(&mut self) {
        self.missed = (self.missed + WEIGHT).min(MAX + WEIGHT);
    }

    /// One came right behind the one before.
    pub(super) fn followed(&mut self) {
        self.missed = self.missed.saturating_sub(self.followed);
    }
}
