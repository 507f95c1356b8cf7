//! Delivers all subscriptions of one session: one task, however many streams.

use std::{
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::time::Instant;

use super::{
    Track,
    streams::{Ask, Streams},
    track::Follow,
    wake::{SessionWake, SubscriptionWake},
};
use crate::model::{PublishDoneCode, StreamCode};
use crate::track::{
    Admission, AttachError, Delivery, DeliveryEvent, DeliveryLimits, StartInfo, SubscriptionId,
    SubscriptionParams, UpdateError, UpdateParams,
};
use crate::transport::{CloseReason, Connection, lock};

/// What happens to subscriptions, told in order by [`Egress::run`] and by nothing else; no lock is held.
pub trait EgressEvents: Send + 'static {
    /// So many data streams were opened for the subscription, and so many are over: reset, or the peer has all of them, or
    /// stopped them. The latter is told when there is something else to do for the session, at the latest when the end
    /// of a subscription depends on it.
    fn streams(&mut self, subscription: SubscriptionId, opened: u64, closed: u64);
    /// The subscription is over and all its `streams` streams are closed: PUBLISH_DONE is due. Not told after
    /// [`EgressHandle::detach`].
    fn ended(
        &mut self,
        subscription: SubscriptionId,
        code: PublishDoneCode,
        reason: &str,
        streams: u64,
    );
}

/// Engine and streams of a session.
struct Core<C: Connection> {
    delivery: Delivery<Follow>,
    streams: Streams<C>,
    closed: bool,
}

struct Shared<C: Connection> {
    core: Mutex<Core<C>>,
    wake: Arc<SessionWake>,
}

impl<C: Connection> Shared<C> {
    fn lock(&self) -> MutexGuard<'_, Core<C>> {
        lock(&self.core)
    }
}

/// Controls the delivery to one session. Calls take effect before they return; none waits.
pub struct EgressHandle<C: Connection>(Arc<Shared<C>>);

impl<C: Connection> Clone for EgressHandle<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: Connection> fmt::Debug for EgressHandle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EgressHandle").finish_non_exhaustive()
    }
}

impl<C: Connection> EgressHandle<C> {
    /// Adds a subscription to `track`. Nothing is sent before [`EgressHandle::start`], so that the answer goes first;
    /// the returned values hold for the instant of this call.
    ///
    /// # Errors
    /// The request is to be refused.
    pub fn attach(
        &self,
        subscription: SubscriptionId,
        track: &Arc<Track>,
        params: SubscriptionParams,
        admission: Admission,
    ) -> Result<StartInfo, AttachError> {
        let mut core = self.0.lock();
        if core.closed {
            return Err(AttachError::Closed);
        }
        let wake = SubscriptionWake::new(self.0.wake.clone(), subscription);
        let follow = Follow::new(track.clone(), wake);
        let start = core
            .delivery
            .attach(subscription, follow, &params, admission)?;
        if let Some(follow) = core.delivery.source(subscription) {
            follow.count(params.forward);
        }
        Ok(start)
    }

    /// Begins sending: SUBSCRIBE_OK (or PUBLISH) is written.
    pub fn start(&self, subscription: SubscriptionId) {
        self.0.lock().delivery.start(subscription);
        self.0.wake.kick();
    }

    /// Applies a SUBSCRIBE_UPDATE: before anything else is sent priorities are changed, and streams that the new range
    /// excludes, or Forward 0, are reset.
    ///
    /// # Errors
    /// The update may not be; nothing was changed.
    pub fn update(
        &self,
        subscription: SubscriptionId,
        params: UpdateParams,
    ) -> Result<(), UpdateError> {
        let mut core = self.0.lock();
        let Core {
            delivery, streams, ..
        } = &mut *core;
        delivery.update(subscription, &params, streams)?;
        if let Some(follow) = delivery.source(subscription) {
            follow.count(params.forward);
        }
        drop(core);
        self.0.wake.kick();
        Ok(())
    }

    /// Ends a subscription without PUBLISH_DONE (UNSUBSCRIBE): its streams are reset with CANCELLED before this returns.
    pub fn detach(&self, subscription: SubscriptionId) {
        let mut core = self.0.lock();
        let Core {
            delivery, streams, ..
        } = &mut *core;
        delivery.detach(subscription, StreamCode::CANCELLED, streams);
        drop(core);
        self.0.wake.kick();
    }

    /// Ends a subscription from this side: its streams are reset, then [`EgressEvents::ended`] tells so.
    pub fn finish(&self, subscription: SubscriptionId, code: PublishDoneCode, reason: &str) {
        let mut core = self.0.lock();
        let Core {
            delivery, streams, ..
        } = &mut *core;
        delivery.finish(subscription, code, reason, streams);
        drop(core);
        self.0.wake.kick();
    }

    /// Ends all subscriptions without PUBLISH_DONE, resets their streams with SESSION_CLOSED and ends [`Egress::run`].
    pub fn close(&self) {
        let mut core = self.0.lock();
        let Core {
            delivery,
            streams,
            closed,
        } = &mut *core;
        *closed = true;
        for subscription in delivery.subscriptions().collect::<Vec<_>>() {
            delivery.detach(subscription, StreamCode::SESSION_CLOSED, streams);
        }
        drop(core);
        self.0.wake.over();
        self.0.wake.kick();
    }

    /// Follows what the peer has received.
    pub fn deliveries(&self) -> Deliveries {
        Deliveries(self.0.wake.clone())
    }

    /// Datagrams that this session could not take: they were too large for it, or too many waited for the path.
    pub fn refused_datagrams(&self) -> u64 {
        self.0.lock().delivery.refused_datagrams()
    }
}

/// Tells what the peer of a session has received; clones tell the same.
#[derive(Clone, Debug)]
pub struct Deliveries(Arc<SessionWake>);

impl Deliveries {
    /// Waits until the peer has everything that was published for its subscriptions before the call, or will never have
    /// it: every stream was received whole, stopped or reset, and each subscription whose track ended was told to
    /// [`EgressEvents::ended`]. A subgroup that is open holds it up. False: the session ended first.
    ///
    /// Dropping the future changes nothing.
    pub async fn complete(&self) -> bool {
        self.0.delivered().await
    }
}

/// The sending task of one session.
pub struct Egress<C: Connection> {
    connection: C,
    handle: EgressHandle<C>,
}

impl<C: Connection> fmt::Debug for Egress<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").finish_non_exhaustive()
    }
}

impl<C: Connection> Egress<C> {
    /// Delivery over `connection`.
    pub fn new(connection: C, limits: DeliveryLimits) -> Self {
        let wake = Arc::new(SessionWake::default());
        let core = Core {
            delivery: Delivery::new(limits),
            streams: Streams::new(connection.clone(), wake.clone()),
            closed: false,
        };
        Self {
            connection,
            handle: EgressHandle(Arc::new(Shared {
                core: Mutex::new(core),
                wake,
            })),
        }
    }

    /// Controls this delivery.
    pub fn handle(&self) -> EgressHandle<C> {
        self.handle.clone()
    }

    /// Sends until the connection is gone, which it returns, or [`EgressHandle::close`] is called (`None`). Dropping the
    /// future stops sending for good.
    pub async fn run(self, mut events: impl EgressEvents) -> Option<CloseReason> {
        let shared = &self.handle.0;
        let mut gone = pin!(self.connection.closed());
        // Also when the future is dropped, nothing stays attached.
        let _closer = Closer(&self.handle);
        loop {
            let turn = turn(shared);
            for event in turn.events {
                match event {
                    DeliveryEvent::Streams {
                        subscription,
                        opened,
                        closed,
                    } => events.streams(subscription, opened, closed),
                    DeliveryEvent::Ended {
                        subscription,
                        code,
                        reason,
                        streams,
                    } => events.ended(subscription, code, &reason, streams),
                }
            }
            if turn.closed {
                return None;
            }
            if let Some(question) = turn.answered {
                shared.wake.answer(question);
            }
            if turn.more {
                tokio::task::yield_now().await;
                continue;
            }
            let deadline = async {
                match turn.deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shared.wake.wait() => {}
                () = deadline => {}
                reason = &mut gone => return Some(reason),
            }
        }
    }
}

/// Closes the delivery when its task ends.
struct Closer<'a, C: Connection>(&'a EgressHandle<C>);

impl<C: Connection> Drop for Closer<'_, C> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What one turn of sending brought.
struct Turn {
    events: Vec<DeliveryEvent>,
    deadline: Option<std::time::Instant>,
    more: bool,
    closed: bool,
    /// The peer has everything that was published before this question.
    answered: Option<u64>,
}

/// Looks at all causes and sends.
fn turn<C: Connection>(shared: &Shared<C>) -> Turn {
    let mut core = shared.lock();
    let Core {
        delivery,
        streams,
        closed,
    } = &mut *core;
    let question = shared.wake.question();
    for subscription in shared.wake.take_changed() {
        if let Some(follow) = delivery.source(subscription) {
            follow.taken();
        }
        delivery.changed(subscription);
    }
    for stream in shared.wake.take_streams() {
        streams.taken(stream);
        delivery.woken(stream, streams);
    }
    let ask = match delivery.awaits_closing() || question.is_some() {
        true => Ask::All,
        false => Ask::Oldest,
    };
    while let Some(stream) = streams.next_closed(ask) {
        delivery.over(stream, streams);
    }
    if shared.wake.take_credit() {
        delivery.credit();
    }
    if shared.wake.take_datagrams() && streams.poll_datagrams().is_ready() {
        delivery.datagrams();
    }
    let more = delivery.service(Instant::now().into_std(), streams);
    let answered = question.filter(|_| delivery.is_delivered());
    let awaited = delivery.awaits_closing() || (question.is_some() && answered.is_none());
    let closed_meanwhile = shared.wake.await_closing(awaited) || (awaited && streams.has_unasked());
    Turn {
        events: std::iter::from_fn(|| delivery.poll_event()).collect(),
        deadline: delivery.deadline(),
        more: more || closed_meanwhile,
        closed: *closed,
        answered,
    }
}
