//! Subscribers that behave badly, to see that the others do not notice.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use moqtail::{
    client::{
        Client, Incoming, ReadError, SubgroupReader, SubscribeError, SubscribeOptions, Subscription,
    },
    model::FullTrackName,
};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{behaviour::Behaviour, run::Run, taking::early};
use crate::errors::plain;

/// A slow subscriber reads one of so many bytes.
const SLOWNESS: u64 = 10;

/// How often a slow subscriber looks whether it may read on, and how soon one that left joins again.
const PAUSE: Duration = Duration::from_millis(10);

/// What subscribers of one kind saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Sight {
    pub(super) subscribers: u64,
    /// Subscriptions, the first ones included.
    pub(super) joined: u64,
    /// Objects that they took; of those that leave with an object, its beginning.
    pub(super) objects: u64,
    /// Subscriptions that ended or failed before the track did, by the reason.
    pub(super) ended: BTreeMap<String, u64>,
}

impl Sight {
    pub(super) fn add(&mut self, other: Self) {
        self.subscribers += other.subscribers;
        self.joined += other.joined;
        self.objects += other.objects;
        for (reason, count) in other.ended {
            *self.ended.entry(reason).or_default() += count;
        }
    }

    fn ended(&mut self, reason: Option<String>) {
        if let Some(reason) = reason {
            *self.ended.entry(reason).or_default() += 1;
        }
    }
}

/// One such subscriber.
pub(super) struct Odd {
    pub(super) behaviour: Behaviour,
    pub(super) client: Client,
    pub(super) track: FullTrackName,
    pub(super) run: Arc<Run>,
}

impl Odd {
    /// Behaves so until the run is stopped.
    pub(super) async fn behave(self, subscription: Subscription) -> (Behaviour, Sight) {
        let mut sight = Sight {
            subscribers: 1,
            joined: 1,
            ..Sight::default()
        };
        let behaving = async {
            match self.behaviour {
                Behaviour::Stalled => self.stall(&subscription, &mut sight).await,
                Behaviour::Slow => self.dawdle(subscription, &mut sight).await,
                Behaviour::Churning => self.churn(subscription, &mut sight).await,
            }
        };
        tokio::select! {
            biased;
            () = behaving => {}
            () = self.run.stopped() => {}
        }
        (self.behaviour, sight)
    }

    async fn join(&self, sight: &mut Sight) -> Result<Subscription, SubscribeError> {
        let options = SubscribeOptions::default();
        let joined = self.client.subscribe(self.track.clone(), options).await;
        sight.joined += u64::from(joined.is_ok());
        joined
    }

    async fn stall(&self, subscription: &Subscription, sight: &mut Sight) {
        while subscription.end().is_none() {
            sleep(PAUSE).await;
        }
        sight.ended(early(subscription.end()));
    }

    async fn dawdle(&self, mut subscription: Subscription, sight: &mut Sight) {
        loop {
            let mut share = Share::new(&self.run);
            while let Some(incoming) = subscription.next().await {
                if let Incoming::Subgroup(mut reader) = incoming
                    && let Err(error) = share.read(&mut reader, sight).await
                {
                    tracing::trace!(%error, "a slow subscriber's stream ended early");
                }
            }
            let Some(reason) = early(subscription.end()) else {
                return;
            };
            sight.ended(Some(reason));
            subscription = match self.join(sight).await {
                Ok(subscription) => subscription,
                Err(_) if self.run.is_over() => return,
                Err(error) => return sight.ended(Some(plain(error))),
            };
        }
    }

    async fn churn(&self, subscription: Subscription, sight: &mut Sight) {
        let mut tick = interval(PAUSE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut joined = Ok(subscription);
        loop {
            match joined {
                Ok(mut subscription) => match subscription.next().await {
                    Some(_) => sight.objects += 1,
                    None => sight.ended(early(subscription.end())),
                },
                // The track may be gone already.
                Err(_) if self.run.is_over() => return,
                Err(error) => {
                    sight.ended(Some(plain(&error)));
                    if matches!(error, SubscribeError::SessionEnded) {
                        return;
                    }
                }
            }
            tick.tick().await;
            joined = self.join(sight).await;
        }
    }
}

/// What a slow subscriber may read: a part of what the slowest healthy one took since it joined.
struct Share<'r> {
    run: &'r Run,
    since: u64,
    taken: u64,
}

impl<'r> Share<'r> {
    fn new(run: &'r Run) -> Self {
        Self {
            run,
            since: run.slowest().unwrap_or(0),
            taken: 0,
        }
    }

    fn spent(&self) -> bool {
        let healthy = self.run.slowest();
        healthy.is_some_and(|taken| self.taken >= taken.saturating_sub(self.since) / SLOWNESS)
    }

    async fn read(
        &mut self,
        reader: &mut SubgroupReader,
        sight: &mut Sight,
    ) -> Result<(), ReadError> {
        while let Some(mut object) = reader.open_object().await? {
            loop {
                while self.spent() {
                    sleep(PAUSE).await;
                }
                match object.chunk().await? {
                    Some(piece) => self.taken += piece.len() as u64,
                    None => break,
                }
            }
            sight.objects += 1;
        }
        Ok(())
    }
}
