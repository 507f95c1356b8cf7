//! What the publishers of a relay may leave unread, all together.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A new window is no more than one of so many parts of what the others left.
const PARTS: u64 = 32;

/// A budget of bytes that sessions take parts of.
#[derive(Debug)]
pub(super) struct Windows {
    left: AtomicU64,
}

/// A part of the budget, until it is dropped.
#[derive(Debug)]
pub(super) struct Window {
    windows: Arc<Windows>,
    bytes: u32,
}

impl Windows {
    pub(super) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU64::new(max),
        })
    }

    /// Takes `most` bytes, or a part of what is left if that is less.
    pub(super) fn take(self: &Arc<Self>, most: u32) -> Window {
        let part = |left: u64| u32::try_from(left / PARTS).unwrap_or(u32::MAX).min(most);
        let before = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                Some(left - u64::from(part(left)))
            });
        Window {
            windows: Arc::clone(self),
            bytes: before.map_or(0, part),
        }
    }
}

impl Window {
    pub(super) fn bytes(&self) -> u32 {
        self.bytes
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.windows
            .left
            .fetch_add(self.bytes.into(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_take_windows_they_stay_within_the_budget() {
        let windows = Windows::new(6400);
        let taken: Vec<_> = (0..1000).map(|_| windows.take(150)).collect();
        let sizes: Vec<_> = taken.iter().map(Window::bytes).collect();
        assert_eq!(sizes[..3], [150, 150, 150]);
        assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
        assert!(sizes.iter().sum::<u32>() <= 6400);
        drop(taken);
        assert_eq!(windows.take(u32::MAX).bytes(), 200);
        assert_eq!(windows.left.load(Ordering::Relaxed), 6400);
    }

    /// The transport gives each session 1 MiB anyway.
    #[test]
    fn a_hundred_publishers_leave_the_next_one_a_window() {
        let limits = crate::relay::RelayLimits::default();
        let windows = Windows::new(limits.max_receive_windows);
        let take = || windows.take(limits.max_publisher_window);
        let taken: Vec<_> = (0..100).map(|_| take()).collect();
        assert_eq!(taken[0].bytes(), 32 << 20);
        assert!(take().bytes() > 1 << 20, "{}", take().bytes());
    }
}
