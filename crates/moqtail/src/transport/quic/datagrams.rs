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

use crate::transport::{
    TransportLimits,
    limits::{DATAGRAM_SLACK, MIN_DATAGRAM_BACKLOG},
    lock,
};

/// What a datagram counts in a batch besides its bytes: more than in QUIC, which drops the oldest when it holds too much.
const COST: usize = 64;

/// A batch that leaves in less time may be larger.
const SHORT: Duration = Duration::from_millis(5);

/// A batch that takes longer is to be smaller: so long do streams wait for it.
const LONG: Duration = Duration::from_millis(20);

/// The times between two looks whether a batch has left are between these.
const SOON: Duration = Duration::from_millis(1);
const LATER: Duration = Duration::from_millis(10);

/// What has not left by then never may: QUIC can be left with a datagram that is too large for a path it went back to. From
/// then on others push out what is there.
const STUCK: Duration = Duration::from_secs(5);

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
    /// How the next one is waited for.
    wait: Wait,
    /// Streams used the last pause.
    wanted: bool,
}

#[derive(Clone, Copy, Debug)]
enum Wait {
    /// Nobody waits.
    No,
    /// For the batch to leave, since and until the next look; so many frames of streams had been sent at the last one.
    Leaving {
        since: Instant,
        look: Instant,
        frames: u64,
    },
    /// The streams have the path.
    Pause { until: Instant, frames: u64 },
}

impl Pace {
    fn new(most: usize) -> Self {
        Self {
            most,
            batch: most,
            left: most,
            wait: Wait::No,
            wanted: true,
        }
    }

    fn sent(&mut self, len: usize) {
        self.left = self.left.saturating_sub(len.saturating_add(COST));
    }

    /// For a batch that is used up: when to look again. `None`: the next one may begin. `count` tells how many frames of streams
    /// were sent.
    fn look(
        &mut self,
        now: Instant,
        has_left: bool,
        count: impl FnOnce() -> u64,
    ) -> Option<Instant> {
        match self.wait {
            // It may have left long ago.
            Wait::No if has_left => self.begin(self.batch),
            Wait::No => self.leaving(now, now + SOON, count()),
            Wait::Leaving { look, .. } if now < look && !has_left => Some(look),
            // However late this look is, the first one in time would have found the same.
            Wait::Leaving { since, look, .. } if has_left && look - since <= SOON => {
                self.batch = self.batch.saturating_mul(2).min(self.most);
                match now < look {
                    true => self.begin(self.batch),
                    false => self.pause(now, look - since, count()),
                }
            }
            Wait::Leaving {
                since,
                look,
                frames,
            } if has_left => {
                let took = look.min(now) - since;
                if took > LONG {
                    self.batch = (self.batch / 2).max(MIN_DATAGRAM_BACKLOG);
                } else if took < SHORT {
                    self.batch = self.batch.saturating_mul(2).min(self.most);
                }
                self.pause(now, took, frames)
            }
            Wait::Leaving { since, .. } if now - since >= STUCK => {
                self.begin(self.most.saturating_add(DATAGRAM_SLACK).saturating_mul(2))
            }
            Wait::Leaving { since, .. } => {
                let step = ((now - since) / 4).clamp(SOON, LATER);
                self.leaving(since, now + step, count())
            }
            Wait::Pause { until, .. } if now < until => Some(until),
            Wait::Pause { frames, .. } => {
                self.wanted = count() > frames;
                self.begin(self.batch)
            }
        }
    }

    fn leaving(&mut self, since: Instant, look: Instant, frames: u64) -> Option<Instant> {
        self.wait = Wait::Leaving {
            since,
            look,
            frames,
        };
        Some(look)
    }

    fn pause(&mut self, now: Instant, took: Duration, frames: u64) -> Option<Instant> {
        let share = if self.wanted { SHARE } else { IDLE_SHARE };
        let until = now + took / share;
        self.wait = Wait::Pause { until, frames };
        Some(until)
    }

    fn begin(&mut self, bytes: usize) -> Option<Instant> {
        self.wait = Wait::No;
        self.left = bytes;
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
                frames += u64::from(streams && matches!(pace.wait, Wait::Pause { .. }));
                now = again;
            }
        }
        now - begin
    }

    /// The task that sends may have its next turn long after the batch has left.
    #[test]
    fn who_is_late_to_look_waits_no_longer_for_it() {
        let mut pace = Pace::new(MOST);
        for _ in 0..10 {
            pace.sent(usize::MAX);
            let now = Instant::now();
            assert_eq!(pace.look(now, false, || 0), Some(now + SOON));
            let late = now + millis(50);
            let pause = pace.look(late, true, || 0);
            assert!(pause.is_none_or(|until| until <= late + SOON), "{pause:?}");
            assert_eq!(pace.look(late + SOON, true, || 0), None);
            assert_eq!(pace.batch, MOST);
        }
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

    /// S7.2-05: streams have a fifth or a little more of a path that is full of datagrams.
    #[test]
    fn streams_have_their_share_of_a_full_path_and_what_they_leave_is_not_wasted() {
        let mut pace = Pace::new(MOST);
        let used = run(&mut pace, 100, millis(10), true);
        assert!(used >= millis(1200) && used < millis(1600), "{used:?}");
        let idle = run(&mut pace, 100, millis(10), false);
        assert!(idle >= millis(1000) && idle < millis(1350), "{idle:?}");
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

    /// QUIC can be left with a datagram that is too large for the path, until others push it out.
    #[test]
    fn a_batch_that_never_leaves_does_not_hold_the_next_one_up_for_good() {
        let mut pace = Pace::new(MOST);
        let waited = run(&mut pace, 1, millis(60_000), true);
        assert!(waited >= STUCK && waited <= STUCK + LATER, "{waited:?}");
        assert!(pace.left > MOST);
    }
}
