//! What the incomplete objects of a session hold together.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Bytes that all readers of a session have gathered of objects that are not complete, within
/// [`ClientLimits::max_gathered`](super::ClientLimits::max_gathered).
#[derive(Clone, Debug)]
pub(super) struct Gathering {
    held: Arc<AtomicU64>,
    max: u64,
}

impl Gathering {
    pub(super) fn new(max: u64) -> Self {
        let held = Arc::default();
        Self { held, max }
    }

    /// The part of one reader, which holds nothing yet.
    pub(super) fn part(&self) -> Part {
        let (whole, bytes) = (self.clone(), 0);
        Part { whole, bytes }
    }
}

/// What one reader holds of it. Dropping it gives that back.
#[derive(Debug)]
pub(super) struct Part {
    whole: Gathering,
    bytes: u64,
}

impl Part {
    /// Takes `bytes` more; `Err` with the limit: there is no room for them, and nothing was taken.
    pub(super) fn add(&mut self, bytes: usize) -> Result<(), u64> {
        let (bytes, max) = (bytes as u64, self.whole.max);
        let add = |held: u64| held.checked_add(bytes).filter(|held| *held <= max);
        self.whole
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .map_err(|_| max)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Gives all of it back.
    pub(super) fn clear(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes > 0 {
            self.whole.held.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_one_limit_and_give_back_what_they_held() {
        let whole = Gathering::new(10);
        let (mut one, mut other) = (whole.part(), whole.part());
        assert_eq!(one.add(6), Ok(()));
        assert_eq!(other.add(5), Err(10));
        assert_eq!(other.add(4), Ok(()));
        assert_eq!(one.add(1), Err(10));
        one.clear();
        assert_eq!(other.add(6), Ok(()));
        drop(other);
        assert_eq!(one.add(usize::MAX), Err(10));
        assert_eq!(one.add(10), Ok(()));
        drop(one);
        assert_eq!(whole.held.load(Ordering::Relaxed), 0);
    }
}
