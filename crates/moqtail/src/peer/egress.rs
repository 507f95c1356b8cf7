//! Delivers all subscriptions of one session: one task, however many streams.

use std::sync::Arc;

use crate::model::PublishDoneCode;
use crate::track::{
    Admission, AttachError, DeliveryLimits, StartInfo, SubscriptionId, SubscriptionParams,
    UpdateError, UpdateParams,
};
use crate::transport::{Connection, ConnectionError};

use super::Track;

/// What happens to subscriptions, told in order by [`Egress::run`] and by nothing else; no lock is held.
pub trait EgressEvents: Send + 'static {
    /// A data stream was opened for the subscription.
    fn stream_opened(&mut self, subscription: SubscriptionId);
    /// A data stream of the subscription was reset, or the peer has all of it, or stopped it.
    fn stream_closed(&mut self, subscription: SubscriptionId);
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

/// Controls the delivery to one session. Calls take effect before they return; none waits.
#[derive(Debug)]
pub struct EgressHandle<C: Connection> {
    connection: Arc<C>,
}

impl<C: Connection> Clone for EgressHandle<C> {
    fn clone(&self) -> Self {
        Self {
            connection: self.connection.clone(),
        }
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
        let _ = (subscription, track, params, admission);
        todo!()
    }

    /// Begins sending: SUBSCRIBE_OK (or PUBLISH) is written.
    pub fn start(&self, subscription: SubscriptionId) {
        let _ = subscription;
        todo!()
    }

    /// Applies a SUBSCRIBE_UPDATE: priorities at once; streams that the new range excludes, or Forward 0, are reset.
    ///
    /// # Errors
    /// The update may not be; nothing was changed.
    pub fn update(
        &self,
        subscription: SubscriptionId,
        params: UpdateParams,
    ) -> Result<(), UpdateError> {
        let _ = (subscription, params);
        todo!()
    }

    /// Ends a subscription without PUBLISH_DONE (UNSUBSCRIBE): its streams are reset with CANCELLED before this returns.
    pub fn detach(&self, subscription: SubscriptionId) {
        let _ = subscription;
        todo!()
    }

    /// Ends a subscription from this side: its streams are reset, then [`EgressEvents::ended`] tells so.
    pub fn finish(&self, subscription: SubscriptionId, code: PublishDoneCode, reason: &str) {
        let _ = (subscription, code, reason);
        todo!()
    }

    /// Ends all subscriptions without PUBLISH_DONE, resets their streams with SESSION_CLOSED and ends [`Egress::run`].
    pub fn close(&self) {
        todo!()
    }
}

/// The sending task of one session.
#[derive(Debug)]
pub struct Egress<C: Connection> {
    handle: EgressHandle<C>,
}

impl<C: Connection> Egress<C> {
    /// Delivery over `connection`.
    pub fn new(connection: C, limits: DeliveryLimits) -> Self {
        let _ = limits;
        Self {
            handle: EgressHandle {
                connection: Arc::new(connection),
            },
        }
    }

    /// Controls this delivery.
    pub fn handle(&self) -> EgressHandle<C> {
        self.handle.clone()
    }

    /// Sends until the connection is gone or [`EgressHandle::close`] is called. Dropping the future stops sending;
    /// streams are reset when the last handle goes.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn run(self, events: impl EgressEvents) -> Result<(), ConnectionError> {
        let _ = events;
        todo!()
    }
}
