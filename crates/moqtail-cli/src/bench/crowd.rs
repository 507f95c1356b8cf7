//! The subscribing end: many subscribers, each with a connection of its own.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use moqtail::client::{Client, Farewell, SubscribeOptions, Subscription};
use tokio::task::JoinSet;

use super::{
    behaviour::Behaviour,
    odd::{Odd, Sight},
    plan::Plan,
    run::Run,
    taking::Taking,
    tally::Tally,
};
use crate::{
    client_options::ClientOptions,
    errors::CliError,
    link::Link,
    subscribe::{Asker, NotSubscribed},
};

/// Handshakes at a time.
const CONNECTING: usize = 16;

/// How long nothing may arrive before the rest counts as lost.
const SILENCE: Duration = Duration::from_secs(2);

/// Subscribers that have their subscription.
pub(super) struct Crowd {
    healthy: JoinSet<Tally>,
    odd: JoinSet<(Behaviour, Sight)>,
    /// Held, so that the sessions stay open.
    clients: Vec<Client>,
}

/// What a crowd saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Of each healthy subscriber.
    pub(super) tallies: Vec<Tally>,
    /// Of those that behave badly, by how.
    pub(super) odd: BTreeMap<Behaviour, Sight>,
}

impl Crowd {
    /// Connects all and subscribes, as soon as the broadcast is there.
    pub(super) async fn open(
        url: &str,
        trust: &ClientOptions,
        plan: &Plan,
        run: &Arc<Run>,
    ) -> Result<Self, CliError> {
        let one = |number: usize, behaviour: Option<Behaviour>| async move {
            let mut link = Link::new(url, trust.clone(), !plan.publishes())?;
            if number > 0 {
                // Others would only say the same.
                link = link.quiet();
            }
            if matches!(behaviour, Some(Behaviour::Stalled | Behaviour::Slow)) {
                link = link.narrow();
            }
            loop {
                let client = link.connect().await?;
                let subscribed = Asker::new(&link, true)
                    .needs_answer()
                    .subscribe(&client, &plan.track, SubscribeOptions::default())
                    .await;
                match subscribed {
                    Ok(subscription) => return Ok((behaviour, client, subscription)),
                    Err(NotSubscribed::Failed(CliError::Unanswered { authority, .. })) => {
                        return Err(CliError::NothingCame { authority });
                    }
                    Err(NotSubscribed::RangePassed(error) | NotSubscribed::Failed(error)) => {
                        return Err(error);
                    }
                    Err(NotSubscribed::SessionEnded) => link.over(&client).await?,
                }
            }
        };
        let subscribers: Vec<(Option<Behaviour>, Client, Subscription)> =
            stream::iter(plan.behaviours().enumerate())
                .map(|(number, behaviour)| one(number, behaviour))
                .buffer_unordered(CONNECTING)
                .try_collect()
                .await?;
        let mut crowd = Self {
            healthy: JoinSet::new(),
            odd: JoinSet::new(),
            clients: Vec::new(),
        };
        for (behaviour, client, subscription) in subscribers {
            if let Some(behaviour) = behaviour {
                let odd = Odd {
                    behaviour,
                    client: client.clone(),
                    track: plan.track.clone(),
                    run: run.clone(),
                };
                crowd.odd.spawn(odd.behave(subscription));
            } else {
                let taking = Taking::new(crowd.healthy.len(), run.clone());
                crowd.healthy.spawn(taking.take(subscription));
            }
            crowd.clients.push(client);
        }
        Ok(crowd)
    }

    /// Takes what is still to come and gives what everybody saw. `run` has ended.
    pub(super) async fn finish(mut self, run: &Run) -> Seen {
        let mut seen = Seen::default();
        let mut total = run.total();
        loop {
            tokio::select! {
                joined = self.healthy.join_next() => match joined {
                    Some(Ok(tally)) => seen.tallies.push(tally),
                    Some(Err(error)) => tracing::error!(%error, "a subscriber failed"),
                    None => break,
                },
                () = tokio::time::sleep(SILENCE) => {
                    let now = run.total();
                    if now == total {
                        run.stop();
                    }
                    total = now;
                }
            }
        }
        run.stop();
        while let Some(joined) = self.odd.join_next().await {
            match joined {
                Ok((behaviour, sight)) => seen.odd.entry(behaviour).or_default().add(sight),
                Err(error) => tracing::error!(%error, "a subscriber failed"),
            }
        }
        let leaving = self
            .clients
            .iter()
            .map(|client| client.shutdown(Duration::ZERO));
        stream::iter(leaving)
            .buffer_unordered(self.clients.len().max(1))
            .collect::<Vec<Farewell>>()
            .await;
        seen
    }
}

/// Stops the run when what was published before has had time to arrive: its publisher may go on.
pub(super) async fn stop_soon(run: &Run) {
    tokio::select! {
        () = tokio::time::sleep(SILENCE) => {}
        () = run.stopped() => {}
    }
    run.stop();
}

/// The failure to tell when subscriptions ended before their track.
pub(super) fn cut(seen: &Seen) -> Option<CliError> {
    let mut reasons = seen.tallies.iter().filter_map(|tally| tally.ended.as_ref());
    let reason = reasons.next()?.clone();
    Some(CliError::BenchCut {
        ended: 1 + reasons.count(),
        subscribers: seen.tallies.len(),
        reason,
    })
}
