//! Keeps the session informed of what is sent for the peer's subscriptions.

use super::{EgressEvents, PeerHandle};
use crate::{
    model::{PublishDoneCode, SubscribeErrorCode},
    session::RequestHandle,
    track::{AttachError, SubscriptionId},
};

/// A subscription goes by its request in the delivery, too.
pub(crate) fn subscription_id(handle: RequestHandle) -> SubscriptionId {
    SubscriptionId(handle.0)
}

/// The answer to a SUBSCRIBE that cannot be attached.
pub(crate) fn refusal(error: &AttachError) -> SubscribeErrorCode {
    match error {
        AttachError::InvalidRange => SubscribeErrorCode::INVALID_RANGE,
        AttachError::Ended(_) => SubscribeErrorCode::TRACK_DOES_NOT_EXIST,
        AttachError::Malformed(_)
        | AttachError::IdInUse
        | AttachError::TooMany(_)
        | AttachError::Closed => SubscribeErrorCode::INTERNAL_ERROR,
    }
}

/// Counts streams in the session and lets it send PUBLISH_DONE; then calls `ended` with the request and its status.
pub(crate) struct Report<F> {
    peer: PeerHandle,
    ended: F,
}

impl<F: FnMut(RequestHandle, PublishDoneCode) + Send + 'static> Report<F> {
    pub(crate) fn new(peer: PeerHandle, ended: F) -> Self {
        Self { peer, ended }
    }
}

impl<F: FnMut(RequestHandle, PublishDoneCode) + Send + 'static> EgressEvents for Report<F> {
    fn streams(&mut self, subscription: SubscriptionId, opened: u64, closed: u64) {
        let handle = RequestHandle(subscription.0);
        self.peer.call(|session, _| {
            for _ in 0..opened {
                if let Err(error) = session.outbound_stream_opened(handle) {
                    tracing::debug!(%handle, %error, "stream opened for a subscription that ended");
                    break;
                }
            }
            for _ in 0..closed {
                session.outbound_stream_closed(handle);
            }
        });
    }

    fn ended(
        &mut self,
        subscription: SubscriptionId,
        code: PublishDoneCode,
        reason: &str,
        _streams: u64,
    ) {
        let handle = RequestHandle(subscription.0);
        self.peer.call(|session, _| {
            if let Err(error) = session.finish_publish(handle, code, reason) {
                tracing::debug!(%handle, %error, "subscription ended before PUBLISH_DONE");
            }
        });
        (self.ended)(handle, code);
    }
}
