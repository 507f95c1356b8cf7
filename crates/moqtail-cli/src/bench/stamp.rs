//! What stands at the front of every payload: its number and when it was published.

use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::clock::{now, since_1970};

/// Time since 1970 that never runs backwards in one program and is comparable between programs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
    since_1970: Duration,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            start: now(),
            since_1970: since_1970(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.since_1970 + now().saturating_duration_since(self.start)
    }

    /// The instant of a time of this clock.
    pub(super) fn instant(&self, time: Duration) -> tokio::time::Instant {
        (self.start + time.saturating_sub(self.since_1970)).into()
    }
}

/// Bytes of a stamp.
const STAMP: usize = 16;

/// The stamp of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Counts the objects of a run.
    pub(super) number: u64,
    /// Since 1970.
    pub(super) sent: Duration,
}

impl Stamp {
    /// A payload of `size` bytes, at least 16, that begins with the stamp.
    pub(super) fn payload(&self, size: usize) -> Bytes {
        let mut payload = BytesMut::with_capacity(size);
        payload.put_u64(self.number);
        payload.put_u64(u64::try_from(self.sent.as_nanos()).unwrap_or(u64::MAX));
        payload.resize(size, 0x5a);
        payload.freeze()
    }

    /// Reads the stamp; `None`: the payload is no object of a benchmark.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let (number, rest) = payload.split_first_chunk()?;
        let sent = rest.first_chunk()?;
        Some(Self {
            number: u64::from_be_bytes(*number),
            sent: Duration::from_nanos(u64::from_be_bytes(*sent)),
        })
    }
}

/// Reads the stamp of an object that comes in pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Front {
    bytes: [u8; STAMP],
    len: usize,
}

impl Front {
    /// Takes the next piece of the payload. `Some` once, when the stamp is complete.
    pub(super) fn push(&mut self, piece: &[u8]) -> Option<Stamp> {
        let missing = self.bytes.get_mut(self.len..).unwrap_or_default();
        if missing.is_empty() {
            return None;
        }
        let len = missing.len().min(piece.len());
        missing[..len].copy_from_slice(&piece[..len]);
        self.len += len;
        (self.len == STAMP).then(|| Stamp::read(&self.bytes))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back_out_of_its_payload() {
        let stamp = Stamp {
            number: 7,
            sent: Duration::from_nanos(1_764_000_000_123_456_789),
        };
        for size in [16, 120] {
            let payload = stamp.payload(size);
            assert_eq!(payload.len(), size);
            assert_eq!(Stamp::read(&payload), Some(stamp));
        }
        assert_eq!(Stamp::read(&[0; 15]), None);
    }

    #[test]
    fn a_stamp_comes_in_pieces_of_any_size() {
        let stamp = Stamp {
            number: 7,
            sent: Duration::from_secs(1_764_000_000),
        };
        let payload = stamp.payload(40);
        for size in 1..=40 {
            let mut front = Front::default();
            let found: Vec<_> = payload
                .chunks(size)
                .filter_map(|piece| front.push(piece))
                .collect();
            assert_eq!(found, [stamp], "pieces of {size}");
        }
    }

    #[test]
    fn the_clock_names_instants() {
        let clock = Clock::new();
        let time = clock.now();
        assert_eq!(
            clock.instant(time + Duration::from_secs(1)) - clock.instant(time),
            Duration::from_secs(1)
        );
    }
}
