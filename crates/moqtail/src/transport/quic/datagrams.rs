//! Datagrams on their way to the path. QUIC puts them before all streams into each packet, so few of them wait there.

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Mutex,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;

use crate::transport::{TransportLimits, lock};

type Sending = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The outbound datagrams of one connection.
pub(super) struct Datagrams {
    /// Most bytes that QUIC was set up to hold.
    backlog: usize,
    /// One that found no room.
    waiting: Mutex<Option<Sending>>,
}

impl Datagrams {
    pub(super) fn new(limits: &TransportLimits) -> Self {
        Self {
            backlog: limits.datagram_backlog,
            waiting: Mutex::new(None),
        }
    }

    /// Hands a datagram over, or keeps it as the one that waits.
    pub(super) fn send(
        &self,
        conn: &quinn::Connection,
        datagram: Bytes,
    ) -> Result<(), quinn::SendDatagramError> {
        // There would never be room for it.
        if datagram.len() > self.backlog {
            return conn.send_datagram(datagram);
        }
        let mut sending = pin!(conn.send_datagram_wait(datagram.clone()));
        match sending
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(sent) => sent,
            Poll::Pending => {
                let conn = conn.clone();
                *lock(&self.waiting) = Some(Box::pin(async move {
                    // Whether it arrives is unknown anyway.
                    let _ = conn.send_datagram_wait(datagram).await;
                }));
                Ok(())
            }
        }
    }

    /// Hands over the one that waits.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = lock(&self.waiting);
        if let Some(sending) = waiting.as_mut() {
            ready!(sending.as_mut().poll(cx));
            *waiting = None;
        }
        Poll::Ready(())
    }
}

impl fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagrams").finish_non_exhaustive()
    }
}
