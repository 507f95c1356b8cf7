//! The WebTransport side of a connection: which of the peer's streams are data streams of the session.

use std::{
    collections::VecDeque,
    future::Future,
    pin::{Pin, pin},
    sync::Mutex,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::sync::SetOnce;

use super::inbound::{Arrived, Inbound};
use crate::transport::{
    CANCELLED,
    codes::{CodeSpace, H3_REQUEST_REJECTED, H3_STREAM_CREATION_ERROR},
    lock,
    prefix::{HeadReader, StreamHead},
};

/// Kept by the connection; see [`super::keeper`] for what is kept beside it.
#[derive(Debug)]
pub(in crate::transport) struct Web {
    uni: Mutex<Inbound>,
    bi: Mutex<Inbound>,
    /// Data streams that came before the session was established.
    early: Mutex<VecDeque<Arrived>>,
    /// Streams of HTTP/3 itself. Dropping one ends the connection in browsers.
    parked: Mutex<Vec<quinn::RecvStream>>,
    parked_cap: usize,
    /// Set when the session and its connection are over and the cause is known.
    pub(super) over: SetOnce<()>,
}

impl Web {
    pub(super) fn new(parked_cap: usize) -> Self {
        Self {
            uni: Mutex::new(Inbound::new(HeadReader::unidirectional())),
            bi: Mutex::new(Inbound::new(HeadReader::bidirectional())),
            early: Mutex::default(),
            parked: Mutex::default(),
            parked_cap,
            over: SetOnce::new(),
        }
    }

    /// The peer's HTTP/3 control stream, without its type. Data streams seen on the way are kept for later.
    pub(super) async fn control(
        &self,
        conn: &quinn::Connection,
    ) -> Result<(quinn::RecvStream, Bytes), quinn::ConnectionError> {
        let mut accept = pin!(conn.accept_uni());
        std::future::poll_fn(|cx| {
            loop {
                let arrived = ready!(self.poll_uni(conn, accept.as_mut(), cx))?;
                match arrived.head {
                    Some(StreamHead::Http3(0x00)) => {
                        return Poll::Ready(Ok((arrived.recv, arrived.first)));
                    }
                    Some(StreamHead::Data) => lock(&self.early).push_back(arrived),
                    _ => drop(self.sort_uni(arrived)),
                }
            }
        })
        .await
    }

    /// The next data stream of the session. Cancel safe.
    pub(super) fn poll_accept_uni<'a>(
        &self,
        conn: &'a quinn::Connection,
        mut accept: Pin<&mut quinn::AcceptUni<'a>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(quinn::RecvStream, Bytes), quinn::ConnectionError>> {
        if let Some(early) = lock(&self.early).pop_front() {
            return Poll::Ready(Ok((early.recv, early.first)));
        }
        loop {
            let arrived = ready!(self.poll_uni(conn, accept.as_mut(), cx))?;
            if let Some(data) = self.sort_uni(arrived) {
                return Poll::Ready(Ok(data));
            }
        }
    }

    /// The next bidirectional data stream of the session. Cancel safe.
    pub(super) fn poll_accept_bi<'a>(
        &self,
        conn: &'a quinn::Connection,
        mut accept: Pin<&mut quinn::AcceptBi<'a>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(quinn::SendStream, quinn::RecvStream, Bytes), quinn::ConnectionError>> {
        loop {
            let again = || conn.accept_bi();
            let split = |(send, recv)| (Some(send), recv);
            let arrived = ready!(poll_arrived(&self.bi, accept.as_mut(), again, split, cx))?;
            if let Some(data) = sort_bi(arrived) {
                return Poll::Ready(Ok(data));
            }
        }
    }

    fn poll_uni<'a>(
        &self,
        conn: &'a quinn::Connection,
        accept: Pin<&mut quinn::AcceptUni<'a>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Arrived, quinn::ConnectionError>> {
        poll_arrived(
            &self.uni,
            accept,
            || conn.accept_uni(),
            |recv| (None, recv),
            cx,
        )
    }

    fn sort_uni(&self, arrived: Arrived) -> Option<(quinn::RecvStream, Bytes)> {
        let Arrived {
            mut recv,
            head,
            first,
            ..
        } = arrived;
        let refuse = match head? {
            StreamHead::Data => return Some((recv, first)),
            StreamHead::Http3(_) => {
                let mut parked = lock(&self.parked);
                if parked.len() < self.parked_cap {
                    parked.push(recv);
                    return None;
                }
                H3_STREAM_CREATION_ERROR.into()
            }
            StreamHead::OtherSession(_) => CodeSpace::WebTransport.encode(CANCELLED),
            StreamHead::Unknown(_) => H3_STREAM_CREATION_ERROR.into(),
        };
        // Fails only on a stream that is over.
        let _ = recv.stop(refuse);
        None
    }
}

fn sort_bi(arrived: Arrived) -> Option<(quinn::SendStream, quinn::RecvStream, Bytes)> {
    let Arrived {
        send,
        mut recv,
        head,
        first,
    } = arrived;
    let mut send = send?;
    let refuse = match head {
        Some(StreamHead::Data) => return Some((send, recv, first)),
        Some(StreamHead::Unknown(_) | StreamHead::Http3(_)) => H3_REQUEST_REJECTED.into(),
        Some(StreamHead::OtherSession(_)) | None => CodeSpace::WebTransport.encode(CANCELLED),
    };
    // Both fail only on halves that are over.
    let _ = recv.stop(refuse);
    let _ = send.reset(refuse);
    None
}

fn poll_arrived<A, S>(
    inbound: &Mutex<Inbound>,
    mut accept: Pin<&mut A>,
    again: impl Fn() -> A,
    split: impl Fn(S) -> (Option<quinn::SendStream>, quinn::RecvStream),
    cx: &mut Context<'_>,
) -> Poll<Result<Arrived, quinn::ConnectionError>>
where
    A: Future<Output = Result<S, quinn::ConnectionError>>,
{
    let mut inbound = lock(inbound);
    loop {
        match accept.as_mut().poll(cx) {
            Poll::Ready(Ok(stream)) => {
                accept.set(again());
                let (send, recv) = split(stream);
                if let Some(arrived) = inbound.add(send, recv, cx) {
                    inbound.hand_over();
                    return Poll::Ready(Ok(arrived));
                }
            }
            // Heads that came before the end are read first.
            Poll::Ready(Err(error)) => {
                return match inbound.poll(cx) {
                    Poll::Ready(arrived) => Poll::Ready(Ok(arrived)),
                    Poll::Pending => Poll::Ready(Err(error)),
                };
            }
            Poll::Pending => {
                let arrived = ready!(inbound.poll(cx));
                inbound.hand_over();
                return Poll::Ready(Ok(arrived));
            }
        }
    }
}
