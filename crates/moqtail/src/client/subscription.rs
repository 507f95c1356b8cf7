//! A subscription as its application holds it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc;

use super::{
    Object, ReadError, SubgroupReader, SubscriptionEnd,
    ending::{EndSlot, Forget},
};
use crate::{
    model::{Filter, GroupOrder, Location, ObjectDatagram, SubscribeErrorCode},
    peer::PeerHandle,
    session::{RequestHandle, SubscriptionUpdate},
};

/// How to subscribe. The default asks for everything after the largest object, at middle priority, at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// Which objects to deliver. Ranges over several groups are for tracks whose Group IDs grow with time (draft-14 §2.3.1).
    pub filter: Filter,
    /// Forward State; `false` sets the subscription up without objects.
    pub forward: bool,
    /// 0 is the most urgent.
    pub priority: u8,
    /// `None`: the publisher's preference.
    pub group_order: Option<GroupOrder>,
    /// Objects older than this need not be delivered. `None`: all are.
    pub delivery_timeout: Option<Duration>,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            filter: Filter::LargestObject,
            forward: true,
            // draft-14 §7.3
            priority: 128,
            group_order: None,
            delivery_timeout: None,
        }
    }
}

impl SubscribeOptions {
    /// These options with another filter.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }
}

/// Why there is no subscription.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The publisher answered SUBSCRIBE_ERROR.
    #[error("refused with {code}: {reason}")]
    Rejected {
        /// Why.
        code: SubscribeErrorCode,
        /// Why, for people.
        reason: String,
    },
    /// The session cannot take the request; see the source.
    #[error("the session does not take the request: {0}")]
    Session(#[from] crate::session::CallError),
    /// No answer came in time; the request was withdrawn.
    #[error("the publisher did not answer in time")]
    TimedOut,
    /// The session ended before an answer came.
    #[error("the session ended before an answer came")]
    SessionEnded,
}

/// What SUBSCRIBE_OK said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionInfo {
    /// Largest location when the subscription began; `None`: no content yet.
    pub largest: Option<Location>,
    /// Order in force.
    pub group_order: GroupOrder,
    /// Time until the subscription ends by itself, if the publisher gave one.
    pub expires: Option<Duration>,
}

/// What a subscription delivers.
#[derive(Debug)]
pub enum Incoming {
    /// A subgroup stream begins; several may be open at once.
    Subgroup(Box<SubgroupReader>),
    /// An object by datagram.
    Datagram(ObjectDatagram),
}

/// A running subscription. Dropping it sends UNSUBSCRIBE. It does not keep its session: hold the [`Client`](super::Client), too.
#[derive(Debug)]
pub struct Subscription {
    pub(super) info: SubscriptionInfo,
    pub(super) incoming: mpsc::Receiver<Incoming>,
    pub(super) end: EndSlot,
    pub(super) request: Request,
}

/// Sends UNSUBSCRIBE when dropped; a subscription that ended ignores it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) handle: RequestHandle,
    pub(super) peer: PeerHandle,
    pub(super) client: Arc<dyn Forget>,
}

impl Drop for Request {
    fn drop(&mut self) {
        self.client.forget(self.handle);
        self.peer.call(|session, _| {
            if let Err(error) = session.unsubscribe(self.handle) {
                tracing::trace!(%error, "subscription ended before it was dropped");
            }
        });
    }
}

impl Subscription {
    /// What SUBSCRIBE_OK said.
    pub fn info(&self) -> &SubscriptionInfo {
        &self.info
    }

    /// The next stream or datagram; `None` once the subscription ended and all that came was taken. A stream that is not read to
    /// its end, nor dropped, holds that up for a minute at most.
    ///
    /// Cancel safe: dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Incoming> {
        self.incoming.recv().await
    }

    /// How the subscription ended; `None` while it runs. What the publisher sent before may still come: [`Subscription::next`]
    /// tells when that is over.
    pub fn end(&self) -> Option<SubscriptionEnd> {
        self.end.get()
    }

    /// Changes range, priority or Forward State (SUBSCRIBE_UPDATE). It is not answered.
    ///
    /// # Errors
    /// When the range would grow, which draft-14 §9.10 forbids, or the subscription has ended.
    pub fn update(&self, update: SubscriptionUpdate) -> Result<(), crate::session::CallError> {
        let handle = self.request.handle;
        if self.end() == Some(SubscriptionEnd::SessionEnded) {
            return Err(crate::session::CallError::Closed);
        }
        self.request
            .peer
            .call(|session, _| session.update_subscription(handle, update))
    }

    /// All objects, whole, as they arrive from all streams and datagrams.
    pub fn into_objects(self) -> Objects {
        Objects {
            subscription: self,
            reading: FuturesUnordered::new(),
            ended: false,
            told: false,
        }
    }
}

type Reading = std::pin::Pin<
    Box<dyn Future<Output = (Box<SubgroupReader>, Result<Option<Object>, ReadError>)> + Send>,
>;

/// The objects of a subscription, merged. Those of one stream come in order.
pub struct Objects {
    subscription: Subscription,
    reading: FuturesUnordered<Reading>,
    ended: bool,
    /// The application knows that the track is malformed.
    told: bool,
}

impl Objects {
    /// The subscription behind it.
    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// The next object; `None` once the subscription ended and all was read. A stream that the publisher ended early
    /// gives an error once, the others go on; an object over a limit ([`ReadError::TooLarge`],
    /// [`ReadError::TooMuchAtOnce`]) gives an error in its place, and its stream goes on behind it. That the track is
    /// malformed is told once, after all that was received before.
    ///
    /// Cancel safe: dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Object, ReadError>> {
        loop {
            tokio::select! {
                biased;
                Some((reader, result)) = self.reading.next() => match result {
                    Ok(Some(object)) => {
                        self.reading.push(read_one(reader));
                        return Some(Ok(object));
                    }
                    Ok(None) | Err(ReadError::MalformedTrack(_)) => {}
                    Err(error @ (ReadError::TooLarge { .. } | ReadError::TooMuchAtOnce { .. })) => {
                        self.reading.push(read_one(reader));
                        return Some(Err(error));
                    }
                    Err(error) => return Some(Err(error)),
                },
                incoming = self.subscription.next(), if !self.ended => match incoming {
                    Some(Incoming::Subgroup(reader)) => self.reading.push(read_one(reader)),
                    Some(Incoming::Datagram(datagram)) => return Some(Ok(datagram.into())),
                    None => self.ended = true,
                },
                else => return self.complaint().map(Err),
            }
        }
    }

    /// That the track is malformed, once.
    fn complaint(&mut self) -> Option<ReadError> {
        let why = self.subscription.end.malformed()?;
        let told = std::mem::replace(&mut self.told, true);
        (!told).then(|| why.into())
    }
}

fn read_one(mut reader: Box<SubgroupReader>) -> Reading {
    Box::pin(async move {
        let result = reader.next_object().await;
        (reader, result)
    })
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects")
            .field("subscription", &self.subscription)
            .finish_non_exhaustive()
    }
}
