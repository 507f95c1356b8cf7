//! One timeline for a stream whose source starts over: decode times go on where they were.

use crate::time::MediaTime;

const SECOND: i128 = 1_000_000_000;

/// Moves decode times, of all tracks equally, where a source that starts over counts from its beginning again.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    /// Nanoseconds that are added.
    shift: i128,
    /// Where the furthest track ends, in nanoseconds.
    end: i128,
    /// The header came again, and no fragment since has told whether times go on or start over.
    in_question: bool,
}

/// How far a track has come, in its own units.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    /// Decode time of the last fragment.
    last: Option<u64>,
    /// Decode time after it.
    pub(crate) end: u64,
}

impl Timeline {
    /// The header came again.
    pub(crate) fn header_again(&mut self) {
        self.in_question = true;
    }

    /// The time in the stream of a fragment with this decode time.
    pub(crate) fn place(&mut self, time: MediaTime, reached: &Reached) -> u64 {
        // A muxer may guess how long the last fragment is, but not when it began.
        if let (true, Some(last)) = (self.in_question, reached.last) {
            self.in_question = false;
            if self.shifted(time) <= last {
                self.shift = self.end - nanoseconds(time);
            }
        }
        self.shifted(time)
    }

    fn shifted(&self, time: MediaTime) -> u64 {
        let ticks = (self.shift * i128::from(time.timescale)).div_euclid(SECOND);
        let limit = i128::from(u64::MAX);
        u64::try_from((i128::from(time.ticks) + ticks).clamp(0, limit)).unwrap_or(u64::MAX)
    }

    /// A fragment begins at a time of the stream and lasts until another.
    pub(crate) fn advance(&mut self, reached: &mut Reached, start: u64, end: MediaTime) {
        reached.last = Some(start);
        reached.end = end.ticks;
        self.end = self.end.max(nanoseconds(end));
    }
}

/// Rounded up, so that what starts then is not before it.
fn nanoseconds(time: MediaTime) -> i128 {
    let ticks = i128::from(time.ticks) * SECOND;
    -(-ticks).div_euclid(i128::from(time.timescale))
}
