//! Tracks whose logs share a budget. One that is written keeps itself within it; here room is made in those that nobody
//! writes.

use std::sync::{Arc, Mutex, Weak};

use super::{Track, budget::LogBudget};
use crate::model::TrackAlias;
use crate::track::{Spared, TrackLimits};
use crate::transport::{Swept, lock};

/// Tracks that are looked at before other tasks have their turn.
const TRACKS_PER_TURN: usize = 256;

/// Makes tracks that together hold no more than so many bytes.
#[derive(Debug)]
pub struct TrackPool {
    budget: Arc<LogBudget>,
    tracks: Mutex<Swept<Weak<Track>>>,
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
        lock(&self.tracks).push(Arc::downgrade(&track), is_gone);
        track
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
        let mut groups = 0;
        for spared in [Spared::Newest, Spared::Nothing] {
            let mut window = goal as u64;
            while self.budget.used() > goal {
                let before = self.budget.narrow(window);
                self.each(|track| groups += track.evict_before(before, spared))
                    .await;
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
        self.budget.rest(groups);
    }

    /// Has all tracks let go what is older than their publishers' MAX_CACHE_DURATION; those that are written do it
    /// themselves. Dropping the future leaves the rest to the next call.
    pub async fn expire(&self) {
        self.each(Track::expire).await;
    }

    async fn each(&self, mut f: impl FnMut(&Track)) {
        let tracks = lock(&self.tracks).sweep(is_gone).to_vec();
        for some in tracks.chunks(TRACKS_PER_TURN) {
            some.iter()
                .filter_map(Weak::upgrade)
                .for_each(|track| f(&track));
            tokio::task::yield_now().await;
        }
    }
}

fn is_gone(track: &Weak<Track>) -> bool {
    track.strong_count() == 0
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn tracks(pool: &TrackPool, count: u64) -> Vec<Arc<Track>> {
        (0..count)
            .map(|alias| pool.track(TrackAlias(alias), TrackLimits::default()))
            .collect()
    }

    #[tokio::test]
    async fn tracks_that_are_gone_are_forgotten() {
        let pool = TrackPool::new(usize::MAX);
        drop(tracks(&pool, 10_000));
        pool.expire().await;
        let (length, capacity) = lock(&pool.tracks).size();
        assert_eq!(length, 0);
        assert!(capacity < 100, "{capacity}");
    }

    /// What nobody can let go is not looked for again and again.
    #[tokio::test]
    async fn the_less_there_is_to_let_go_the_less_often_it_is_looked_for() {
        let pool = TrackPool::new(1 << 20);
        // They cost more than the budget, and hold nothing.
        let _held = tracks(&pool, 400);
        assert!(pool.held() > 1 << 20);
        let begin = pool.budget.tick();
        let mut looks = 0;
        while pool.budget.tick() < begin + (3 << 20) {
            drop(tracks(&pool, 1));
            if pool.exceeded().now_or_never().is_some() {
                pool.reclaim().await;
                looks += 1;
            }
        }
        assert!((5..20).contains(&looks), "{looks}");
    }
}
