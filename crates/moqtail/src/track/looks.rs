//! How often all cursors of a subscription may be looked at.

/// Cursors that are paid for with each question.
const EACH_TIME: usize = 64;

/// Allows something that costs as much as there are cursors so often that a question costs the same however many there
/// are: a subscriber that takes no streams has thousands, and a log changes with each object.
#[derive(Debug, Default)]
pub(super) struct Looks {
    paid: usize,
}

impl Looks {
    /// Whether `cursors` may be looked at now.
    pub(super) fn allow(&mut self, cursors: usize) -> bool {
        self.paid += EACH_TIME;
        let allowed = self.paid >= cursors;
        if allowed {
            self.paid = 0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_there_are_the_more_seldom_all_are_looked_at() {
        let mut looks = Looks::default();
        assert!((0..1000).all(|_| looks.allow(EACH_TIME)));
        for cursors in [EACH_TIME + 1, 1000, 16_384] {
            let allowed = (0..1000).filter(|_| looks.allow(cursors)).count();
            assert_eq!(allowed, 1000 / cursors.div_ceil(EACH_TIME));
        }
    }
}
