//! Tracks whose logs share a budget. One that is written keeps itself within it; here room is made in those that nobody
//! writes.

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::{Track, budget::LogBudget};
use crate::model::TrackAlias;
use crate::track::{Spared, TrackLimits};
use crate::transport::lock;

/// Tracks that are looked at before other tasks have their turn.
const TRACKS_PER_TURN: usize = 256;

/// Makes tracks that together hold no more than so many bytes.
#[derive(Debug)]
pub struct TrackPool {
    budget: Arc<LogBudget>,
    tracks: Mutex<Vec<Weak<Track>>>,
}

impl TrackPool {
    /// A pool whose tracks may hold `max_bytes` together.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            budget: Arc::new(LogBudget::new(max_bytes)),
            tracks: Mutex::default(),
        }
    }

    /// A track, as by [`Track::new`].
    pub fn track(&self, alias: TrackAlias, limits: TrackLimits) -> Arc<Track> {
        let track = Track::within(self.budget.clone(), alias, limits);
        let mut tracks = self.tracks();
        if tracks.len() == tracks.capacity() {
            tracks.retain(|track| track.strong_count() > 0);
            // At most every other look finds the list full again.
            let live = tracks.len();
            tracks.reserve(live + 16);
        }
        tracks.push(Arc::downgrade(&track));
        track
    }

    fn tracks(&self) -> MutexGuard<'_, Vec<Weak<Track>>> {
        lock(&self.tracks)
    }

    /// Bytes that the logs of all tracks hold.
    pub fn held(&self) -> usize {
        self.budget.held()
    }

    /// Waits until [`TrackPool::reclaim`] has something to do. Dropping the future loses nothing.
    pub async fn exceeded(&self) {
        self.budget.exceeded().await;
    }

    /// Has all tracks let old groups go until there is room: the oldest of all first, newest groups last. Dropping the
    /// future leaves the rest to the next call.
    pub async fn reclaim(&self) {
        let goal = self.budget.goal();
        for spared in [Spared::Newest, Spared::Nothing] {
            let mut window = goal as u64;
            while self.budget.used() > goal {
                let before = self.budget.narrow(window);
                self.each(|track| track.evict_before(before, spared)).await;
                if window == 0 {
                    break;
                }
                // The last step leaves nothing out.
                window = match window / 2 {
                    narrow if narrow < goal as u64 / 64 => 0,
                    narrow => narrow,
                };
            }
        }
        self.budget.rest();
    }

    /// Has all tracks let go what is older than their publishers' MAX_CACHE_DURATION; those that are written do it
    /// themselves. Dropping the future leaves the rest to the next call.
    pub async fn expire(&self) {
        self.each(Track::expire).await;
    }

    async fn each(&self, f: impl Fn(&Track)) {
        let tracks = self.tracks().clone();
        for some in tracks.chunks(TRACKS_PER_TURN) {
            some.iter()
                .filter_map(Weak::upgrade)
                .for_each(|track| f(&track));
            tokio::task::yield_now().await;
        }
    }
}
