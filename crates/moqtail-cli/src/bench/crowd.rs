//! The subscribing end: many subscribers, each with a connection of its own.

use std::{sync::Arc, time::Duration};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use moqtail::{
    client::{Client, Objects, SubscribeOptions, SubscriptionEnd},
    model::PublishDoneCode,
};
use tokio::task::JoinSet;

use super::{plan::Plan, run::Run, stamp::Stamp, tally::Tally};
use crate::{
    args::ClientOptions,
    errors::{CliError, plain},
    link::Link,
    subscribe::{Asker, NotSubscribed},
};

/// Handshakes at a time.
const CONNECTING: usize = 16;

/// How long nothing may arrive before the rest counts as lost.
const SILENCE: Duration = Duration::from_secs(2);

/// Subscribers that have their subscription.
pub(super) struct Crowd {
    tasks: JoinSet<Tally>,
    /// Held, so that the sessions stay open.
    clients: Vec<Client>,
}

impl Crowd {
    /// Connects all and subscribes, as soon as the broadcast is there.
    pub(super) async fn open(
        url: &str,
        trust: &ClientOptions,
        plan: &Plan,
        run: &Arc<Run>,
    ) -> Result<Self, CliError> {
        let one = |quiet: bool| async move {
            let link = Link::new(url, trust.clone(), !plan.publishes())?;
            let link = if quiet { link.quiet() } else { link };
            let client = link.connect().await?;
            let subscribed = Asker::new(&link, true)
                .subscribe(&client, &plan.track, SubscribeOptions::default())
                .await;
            match subscribed {
                Ok(subscription) => Ok((client, subscription.into_objects())),
                Err(NotSubscribed::Failed(error)) => Err(error),
                Err(NotSubscribed::SessionEnded) => {
                    Err(link.session_ended(&client.closed().await, client.blame()))
                }
            }
        };
        let subscribers: Vec<(Client, Objects)> = stream::iter(0..plan.subscribers)
            // Others would only say the same.
            .map(|number| one(number > 0))
            .buffer_unordered(CONNECTING)
            .try_collect()
            .await?;
        let mut tasks = JoinSet::new();
        let mut clients = Vec::new();
        for (number, (client, objects)) in subscribers.into_iter().enumerate() {
            clients.push(client);
            tasks.spawn(count(number, objects, run.clone()));
        }
        Ok(Self { tasks, clients })
    }

    /// Takes what is still to come and gives what each subscriber counted. `run` has ended.
    pub(super) async fn finish(mut self, run: &Run) -> Vec<Tally> {
        let mut tallies = Vec::new();
        let mut total = run.total();
        loop {
            tokio::select! {
                joined = self.tasks.join_next() => match joined {
                    Some(Ok(tally)) => tallies.push(tally),
                    Some(Err(error)) => tracing::error!(%error, "a subscriber failed"),
                    None => break,
                },
                () = tokio::time::sleep(SILENCE) => {
                    let now = run.total();
                    if now == total {
                        run.stop.send_replace(true);
                    }
                    total = now;
                }
            }
        }
        let leaving = self
            .clients
            .iter()
            .map(|client| client.shutdown(Duration::ZERO));
        stream::iter(leaving)
            .buffer_unordered(self.clients.len().max(1))
            .collect::<Vec<()>>()
            .await;
        tallies
    }
}

/// Counts the objects of one subscription until it ends or the run is stopped.
async fn count(number: usize, mut objects: Objects, run: Arc<Run>) -> Tally {
    let mut tally = Tally::new();
    let mut interval = None;
    let mut taken = 0;
    let mut stop = std::pin::pin!(run.stopped());
    loop {
        let object = tokio::select! {
            biased;
            object = objects.next() => object,
            () = &mut stop => {
                run.left(number);
                return tally;
            }
        };
        let object = match object {
            Some(Ok(object)) => object,
            Some(Err(error)) => {
                tracing::debug!(number, %error, "a stream ended early");
                tally.resets += 1;
                continue;
            }
            None => break,
        };
        let now = run.clock.now();
        let Some(stamp) = Stamp::read(&object.payload) else {
            continue;
        };
        let interval = *interval.get_or_insert_with(|| run.begin(stamp.sent));
        if interval.holds(stamp.sent) {
            tally.received(stamp, object.payload.len(), now);
        }
        taken += 1;
        run.took(number, taken);
    }
    run.left(number);
    tally.ended = early(objects.subscription().end());
    tally
}

/// How a subscription ended, unless with its track.
fn early(end: Option<SubscriptionEnd>) -> Option<String> {
    match end {
        Some(SubscriptionEnd::Done {
            status: PublishDoneCode::TRACK_ENDED,
            ..
        }) => None,
        Some(SubscriptionEnd::Done { status, reason }) => {
            Some(plain(format_args!("{status}, {reason}")))
        }
        Some(_) | None => Some("the session ended".to_owned()),
    }
}

/// Stops the run when what was published before has had time to arrive: its publisher may go on.
pub(super) async fn stop_soon(run: &Run) {
    run.until(run.clock.now() + SILENCE).await;
    run.stop.send_replace(true);
}

/// The failure to tell when subscriptions ended before their track.
pub(super) fn cut(tallies: &[Tally]) -> Option<CliError> {
    let mut reasons = tallies.iter().filter_map(|tally| tally.ended.as_ref());
    let reason = reasons.next()?.clone();
    Some(CliError::BenchCut {
        ended: 1 + reasons.count(),
        subscribers: tallies.len(),
        reason,
    })
}
