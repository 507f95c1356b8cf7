//! Datagrams on their way to the path. QUIC puts them before all streams into each packet, the control stream too, so they are
//! handed over a batch at a time, and after each that took its time the streams have the path for a while.

use std::{
    fmt,
    future::Future as _,
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::transport::{TransportLimits, limits::MIN_DATAGRAM_BACKLOG, lock};

/// What a datagram counts in a batch besides its bytes: more than in QUIC, which drops the oldest when it holds too much.
const COST: usize = 64;

/// A batch that leaves in less time may be larger.
const SHORT: Duration = Duration::from_millis(5);

/// A batch that takes longer is to be smaller: so long do streams wait for it.
const LONG: Duration = Duration::from_millis(20);

/// A batch that left sooner had the path to itself.
const AT_ONCE: Duration = Duration::from_millis(1);

/// The longest time between two looks whether a batch has left.
const LOOK: Duration = Duration::from_millis(10);

/// What has not left by then never may: QUIC keeps a datagram that has become too large for the path. The next batch pushes
/// it out.
const STUCK: Duration = Duration::from_secs(1);

/// Which part of the time of a batch the streams have after it: where they used the last pause, and where they did not.
const SHARE: u32 = 4;
const IDLE_SHARE: u32 = 16;

/// The outbound datagrams of one connection.
pub(super) struct Datagrams {
    paced: Mutex<Paced>,
    /// The room in QUIC when none waits there.
    room: usize,
}

struct Paced {
    pace: Pace,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Datagrams {
    /// Of a connection that has sent none yet.
    pub(super) fn new(conn: &quinn::Connection, limits: &TransportLimits) -> Self {
        Self {
            paced: Mutex::new(Paced {
                pace: Pace::new(limits.datagram_backlog()),
                timer: None,
            }),
            room: conn.datagram_send_buffer_space(),
        }
    }

    /// Hands a datagram over. Beyond a batch, older ones that have not left give way.
    pub(super) fn send(
        &self,
        conn: &quinn::Connection,
        datagram: Bytes,
    ) -> Result<(), quinn::SendDatagramError> {
        let len = datagram.len();
        conn.send_datagram(datagram)?;
        lock(&self.paced).pace.sent(len);
        Ok(())
    }

    /// Whether the batch has room, or the next one may begin.
    pub(super) fn poll(&self, conn: &quinn::Connection, cx: &mut Context<'_>) -> Poll<()> {
        let Paced { pace, timer } = &mut *lock(&self.paced);
        while pace.left == 0 {
            let has_left = conn.datagram_send_buffer_space() >= self.room;
            let frames = || conn.stats().frame_tx.stream;
            let Some(again) = pace.look(Instant::now(), has_left, frames) else {
                *timer = None;
                break;
            };
            let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(again)));
            if timer.deadline() != again {
                timer.as_mut().reset(again);
            }
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}

impl fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagrams").finish_non_exhaustive()
    }
}

/// When the next batch may begin, and how large it is.
#[derive(Debug)]
struct Pace {
    most: usize,
    batch: usize,
    /// What is left of the batch.
    left: usize,
    /// Since when the next one is waited for.
    awaited: Option<Instant>,
    /// Until when the streams have the path, and how many of their frames had been sent when that began.
    pause: Option<(Instant, u64)>,
    /// They used the last one.
    wanted: bool,
}

impl Pace {
    fn new(most: usize) -> Self {
        Self {
            most,
            batch: most,
            left: most,
            awaited: None,
            pause: None,
            wanted: true,
        }
    }

    fn sent(&mut self, len: usize) {
        self.left = self.left.saturating_sub(len.saturating_add(COST));
    }

    /// For a batch that is used up: when to look again. `None`: the next one may begin.
    fn look(
        &mut self,
        now: Instant,
        has_left: bool,
        frames: impl FnOnce() -> u64,
    ) -> Option<Instant> {
        if let Some((until, before)) = self.pause {
            if now < until {
                return Some(until);
            }
            self.wanted = frames() > before;
            return self.begin();
        }
        let took = now - *self.awaited.get_or_insert(now);
        if !has_left && took < STUCK {
            return Some(now + took.clamp(AT_ONCE, LOOK));
        }
        if took > LONG {
            self.batch = (self.batch / 2).max(MIN_DATAGRAM_BACKLOG);
        } else if took < SHORT {
            self.batch = (self.batch * 2).min(self.most);
        }
        if took < AT_ONCE || !has_left {
            return self.begin();
        }
        let share = if self.wanted { SHARE } else { IDLE_SHARE };
        let until = now + took / share;
        self.pause = Some((until, frames()));
        Some(until)
    }

    fn begin(&mut self) -> Option<Instant> {
        self.pause = None;
        self.awaited = None;
        self.left = self.batch;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 24_000;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// Lets batch after batch leave in `took`, streams sending something in each pause or not; returns the time that this took.
    fn run(pace: &mut Pace, batches: u32, took: Duration, streams: bool) -> Duration {
        let begin = Instant::now();
        let (mut now, mut frames) = (begin, 0);
        for _ in 0..batches {
            pace.sent(usize::MAX);
            let due = now + took;
            while let Some(again) = pace.look(now, now >= due, || frames) {
                assert!(again > now);
                frames += u64::from(streams && pace.pause.is_some());
                now = again;
            }
        }
        now - begin
    }

    #[test]
    fn a_path_that_takes_all_at_once_has_no_pauses() {
        let mut pace = Pace::new(MOST);
        assert_eq!(run(&mut pace, 10, Duration::ZERO, true), Duration::ZERO);
        assert_eq!(pace.batch, MOST);
    }

    #[test]
    fn who_sends_little_never_waits() {
        let mut pace = Pace::new(MOST);
        let mut now = Instant::now();
        for _ in 0..1000 {
            if pace.left == 0 {
                assert_eq!(pace.look(now, true, || 0), None);
            }
            pace.sent(120);
            now += millis(20);
        }
        assert_eq!(pace.batch, MOST);
    }

    /// S7.2-05: streams have a fifth of a path that is full of datagrams.
    #[test]
    fn streams_have_their_share_of_a_full_path_and_what_they_leave_is_not_wasted() {
        let mut pace = Pace::new(MOST);
        let used = run(&mut pace, 100, millis(10), true);
        assert!(used >= millis(1200) && used < millis(2200), "{used:?}");
        let idle = run(&mut pace, 100, millis(10), false);
        assert!(idle < used - millis(100), "{idle:?}, {used:?}");
    }

    #[test]
    fn a_batch_is_as_large_as_the_path_takes_in_little_time() {
        let mut pace = Pace::new(MOST);
        run(&mut pace, 20, millis(100), true);
        assert_eq!(pace.batch, MIN_DATAGRAM_BACKLOG);
        run(&mut pace, 3, millis(10), true);
        assert_eq!(pace.batch, MIN_DATAGRAM_BACKLOG);
        run(&mut pace, 20, millis(2), true);
        assert_eq!(pace.batch, MOST);
    }

    /// QUIC keeps a datagram that has become too large for the path until others push it out.
    #[test]
    fn a_batch_that_never_leaves_holds_the_next_one_up_for_a_second() {
        let mut pace = Pace::new(MOST);
        let waited = run(&mut pace, 1, millis(60_000), true);
        assert!(waited >= STUCK && waited <= STUCK + LOOK, "{waited:?}");
    }
}
