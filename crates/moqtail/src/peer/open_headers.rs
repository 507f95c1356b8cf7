//! What a session keeps of object headers that have begun and not ended.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Room for the object headers of all streams of a session that are not complete. A header is read whole before anything
/// of its object is delivered, so without this each of a thousand streams could hold one as long as headers may be.
#[derive(Debug)]
pub struct HeaderRoom {
    left: AtomicUsize,
}

/// There is no more room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

/// What one stream takes of it, until it is dropped.
#[derive(Debug)]
pub(super) struct OpenHeader {
    room: Arc<HeaderRoom>,
    taken: usize,
}

impl HeaderRoom {
    /// Room for `max` bytes.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(max),
        })
    }
}

impl OpenHeader {
    /// A stream that is between two objects.
    pub(super) fn new(room: Arc<HeaderRoom>) -> Self {
        Self { room, taken: 0 }
    }

    /// The stream holds so many bytes of a header now.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let left = &self.room.left;
        if bytes > self.taken {
            let more = bytes - self.taken;
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(more)
            })
            .map_err(|_| NoRoom)?;
        } else if bytes < self.taken {
            left.fetch_add(self.taken - bytes, Ordering::Relaxed);
        }
        self.taken = bytes;
        Ok(())
    }
}

impl Drop for OpenHeader {
    fn drop(&mut self) {
        self.room.left.fetch_add(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_streams_of_a_session_share_the_room() {
        let room = HeaderRoom::new(100);
        let [mut one, mut other] = [(); 2].map(|()| OpenHeader::new(room.clone()));
        assert_eq!(one.hold(70), Ok(()));
        assert_eq!(other.hold(31), Err(NoRoom));
        assert_eq!(other.hold(30), Ok(()));
        assert_eq!(one.hold(71), Err(NoRoom));
        assert_eq!(one.hold(0), Ok(()));
        assert_eq!(other.hold(100), Ok(()));
        drop(other);
        assert_eq!(one.hold(100), Ok(()));
    }
}
