//! Objects of a subscription in the order of their groups, although each group has a stream of its own.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use moqtail::client::{Incoming, Object, SubgroupReader, Subscription, SubscriptionEnd};
use tokio::time::{Instant, sleep_until};

/// What becomes of an object that comes after objects of a later group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// It is delivered, out of order.
    Deliver,
    /// It is dropped with the rest of its stream: a player cannot use it.
    Drop,
}

/// Merges the streams of a subscription.
pub(crate) struct Ordered {
    subscription: Subscription,
    /// By group and order of arrival.
    readers: Readers,
    arrived: u64,
    ended: bool,
    patience: Duration,
    late: Late,
    /// Largest group that an object was delivered of.
    newest: Option<u64>,
    /// Since when later streams wait for the first one.
    blocked: Option<Instant>,
}

impl Ordered {
    /// Delivers the objects of `subscription`; a later group waits `patience` for an object of an earlier one.
    pub(crate) fn new(subscription: Subscription, patience: Duration, late: Late) -> Self {
        Self {
            subscription,
            readers: BTreeMap::new(),
            arrived: 0,
            ended: false,
            patience,
            late,
            newest: None,
            blocked: None,
        }
    }

    /// How the subscription ended; for use after [`Ordered::next`] returned `None`.
    pub(crate) fn end(&self) -> SubscriptionEnd {
        self.subscription
            .end()
            .unwrap_or(SubscriptionEnd::SessionEnded)
    }

    /// The next object; `None` when the subscription has ended and all was delivered. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Object> {
        loop {
            let wait_until = match self.readers.len() {
                0 | 1 => {
                    self.blocked = None;
                    None
                }
                _ => Some(*self.blocked.get_or_insert_with(Instant::now) + self.patience),
            };
            let patient = wait_until.is_none_or(|until| Instant::now() < until);
            let Self {
                subscription,
                readers,
                ended,
                ..
            } = self;
            tokio::select! {
                biased;
                incoming = subscription.next(), if !*ended => match incoming {
                    Some(Incoming::Subgroup(reader)) => self.add(reader),
                    Some(Incoming::Datagram(datagram)) => return Some(datagram.into()),
                    None => self.ended = true,
                },
                (key, read) = read(readers, patient), if !readers.is_empty() => match read {
                    Some(object) => {
                        self.delivered(key.0);
                        return Some(object);
                    }
                    None => {
                        self.readers.remove(&key);
                        self.blocked = None;
                    }
                },
                () = until(wait_until), if patient && wait_until.is_some() => {}
                else => return None,
            }
        }
    }

    fn add(&mut self, reader: Box<SubgroupReader>) {
        let group = reader.group();
        if self.late == Late::Drop && self.newest.is_some_and(|newest| group < newest) {
            tracing::debug!(group, "a group came too late and is left out");
            return;
        }
        self.arrived += 1;
        self.readers.insert((group, self.arrived), reader);
    }

    fn delivered(&mut self, group: u64) {
        self.newest = self.newest.max(Some(group));
        self.blocked = None;
        if self.late == Late::Drop {
            let kept = self.readers.split_off(&(group, 0));
            if !self.readers.is_empty() {
                tracing::debug!(group, "earlier groups stand still and are left out");
            }
            self.readers = kept;
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

type Readers = BTreeMap<(u64, u64), Box<SubgroupReader>>;

/// The next object of the first reader, or of any when there is no more patience. No object: that reader is at its end.
async fn read(readers: &mut Readers, patient: bool) -> ((u64, u64), Option<Object>) {
    let count = if patient { 1 } else { readers.len() };
    poll_fn(|cx| {
        for (key, reader) in readers.iter_mut().take(count) {
            if let Poll::Ready(read) = poll_reader(reader, cx) {
                return Poll::Ready((*key, read));
            }
        }
        Poll::Pending
    })
    .await
}

/// A reader that fails is at its end; the publisher gave its stream up.
fn poll_reader(reader: &mut SubgroupReader, cx: &mut Context<'_>) -> Poll<Option<Object>> {
    let group = reader.group();
    // Reading is cancel safe, so a future for one poll loses nothing.
    pin!(reader.next_object()).poll(cx).map(|read| {
        read.unwrap_or_else(|error| {
            tracing::info!(group, %error, "a stream ended early");
            None
        })
    })
}
