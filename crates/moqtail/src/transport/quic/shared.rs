//! What all handles and streams of one QUIC connection share.

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::sync::{OwnedSemaphorePermit, SetOnce};

use super::{datagrams::Datagrams, request::WebRequest, send_window::SendWindow, web::Web};
use crate::transport::{
    CloseReason, ConnectionError, TransportLimits,
    codes::CodeSpace,
    codes::H3_NO_ERROR,
    limits::{MAX_CLOSE_REASON, MAX_LOST_WATCHES},
    lock,
    wakers::WakerSet,
};

/// Held as long as the connection: its place among a listener's connections, or the socket it was dialled from.
#[derive(Debug)]
pub(in crate::transport) enum Owner {
    Listener(#[expect(dead_code, reason = "released on drop")] OwnedSemaphorePermit),
    Dialer(quinn::Endpoint),
}

#[derive(Debug)]
pub(in crate::transport) struct Shared {
    pub(super) conn: quinn::Connection,
    pub(super) codes: CodeSpace,
    pub(super) web: Option<Web>,
    pub(super) request: Option<WebRequest>,
    pub(super) limits: TransportLimits,
    pub(super) send_window: SendWindow,
    /// What the peer may leave unread.
    pub(super) receive_window: AtomicU32,
    pub(super) owner: Owner,
    open: OpenUni,
    pub(super) datagrams: Datagrams,
    /// Streams that were watched for a stop and reset before there was one.
    lost_watches: AtomicUsize,
    /// The first close that was decided here, or that the WebTransport session brought.
    pub(super) ended: SetOnce<CloseReason>,
}

impl Shared {
    pub(super) fn new(
        conn: quinn::Connection,
        web: Option<(Web, WebRequest)>,
        limits: &TransportLimits,
        owner: Owner,
    ) -> Self {
        let codes = if web.is_some() {
            CodeSpace::WebTransport
        } else {
            CodeSpace::Quic
        };
        let (web, request) = web.unzip();
        let (open, ended) = (OpenUni::default(), SetOnce::new());
        let datagrams = Datagrams::new(&conn, limits);
        Self {
            conn,
            codes,
            web,
            request,
            send_window: SendWindow::new(limits),
            receive_window: AtomicU32::new(limits.initial_window),
            limits: limits.clone(),
            owner,
            open,
            datagrams,
            lost_watches: AtomicUsize::new(0),
            ended,
        }
    }

    /// A stream that was watched for a stop is reset.
    pub(super) fn lose_watch(&self) {
        self.lost_watches.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether another open stream may be watched for a stop.
    pub(super) fn may_watch(&self) -> bool {
        self.lost_watches.load(Ordering::Relaxed) < MAX_LOST_WATCHES
    }

    /// Why the connection is gone. Meaningful only once it is.
    pub(super) fn cause(&self) -> CloseReason {
        if let Some(reason) = self.ended.get() {
            return reason.clone();
        }
        match self.conn.close_reason() {
            Some(error) => self.reason_of(error),
            None => CloseReason::Lost("the connection is closing".to_owned()),
        }
    }

    pub(super) fn gone(&self) -> ConnectionError {
        ConnectionError(self.cause())
    }

    /// The close that this side has decided on, although the connection may still be open for the peer to hear of it.
    pub(super) fn closed_here(&self) -> Option<ConnectionError> {
        match self.ended.get() {
            Some(reason @ CloseReason::Local { .. }) => Some(ConnectionError(reason.clone())),
            _ => None,
        }
    }

    pub(super) fn reason_of(&self, error: quinn::ConnectionError) -> CloseReason {
        match error {
            quinn::ConnectionError::ApplicationClosed(close) => {
                let reason = String::from_utf8_lossy(&close.reason).into_owned();
                match self.codes.decode(close.error_code) {
                    Some(code) => CloseReason::Peer { code, reason },
                    None if close.error_code == H3_NO_ERROR.into() => {
                        CloseReason::Peer { code: 0, reason }
                    }
                    None => CloseReason::Lost(format!(
                        "the peer closed the connection with code {:#x} ({reason})",
                        close.error_code.into_inner()
                    )),
                }
            }
            quinn::ConnectionError::LocallyClosed => CloseReason::Local {
                code: 0,
                reason: "the endpoint was closed".to_owned(),
            },
            other => CloseReason::Lost(other.to_string()),
        }
    }

    pub(super) fn close(&self, code: u32, reason: &str) {
        if let Some(error) = self.conn.close_reason() {
            // What ended the connection earlier stays its cause.
            let _ = self.ended.set(self.reason_of(error));
            return;
        }
        let reason = truncate(reason).to_owned();
        if self
            .ended
            .set(CloseReason::Local {
                code,
                reason: reason.clone(),
            })
            .is_ok()
            && self.web.is_none()
        {
            self.conn.close(self.codes.encode(code), reason.as_bytes());
        }
    }

    pub(super) fn poll_open_uni(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<quinn::SendStream, ConnectionError>> {
        if let Some(error) = self.closed_here() {
            return Poll::Ready(Err(error));
        }
        self.open.poll(&self.conn, cx).map_err(|_| self.gone())
    }
}

fn truncate(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(MAX_CLOSE_REASON)]
}

type OpenFuture =
    Pin<Box<dyn Future<Output = Result<quinn::SendStream, quinn::ConnectionError>> + Send>>;

/// Tasks that wait for stream credit. quinn drops a registration with the future that made it, so one future is kept
/// for all of them while any waits.
#[derive(Default)]
struct OpenUni {
    waiting: Mutex<Option<OpenFuture>>,
    tasks: Arc<WakerSet>,
}

impl OpenUni {
    fn poll(
        &self,
        conn: &quinn::Connection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<quinn::SendStream, quinn::ConnectionError>> {
        if let Poll::Ready(result) = pin!(conn.open_uni()).poll(cx) {
            return Poll::Ready(result);
        }
        self.tasks.register(cx.waker());
        let waker = Waker::from(self.tasks.clone());
        let mut waiting = lock(&self.waiting);
        let future = waiting.get_or_insert_with(|| {
            let conn = conn.clone();
            Box::pin(async move { conn.open_uni().await })
        });
        let result = future.as_mut().poll(&mut Context::from_waker(&waker));
        if result.is_ready() {
            *waiting = None;
        }
        result
    }
}

impl fmt::Debug for OpenUni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenUni").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_cut_at_a_character() {
        assert_eq!(truncate("short"), "short");
        let long = "é".repeat(600);
        assert_eq!(truncate(&format!("x{long}")).len(), 1023);
    }
}
