//! Async shorthands over the poll methods.

use std::future::poll_fn;

use bytes::Bytes;
use moqtail::transport::{Connection, ConnectionError, RecvStream, SendStream, StreamError};

pub(crate) async fn open_uni<C: Connection>(conn: &C) -> Result<C::Send, ConnectionError> {
    poll_fn(|cx| conn.poll_open_uni(cx)).await
}

pub(crate) async fn write_all<S: SendStream>(send: &mut S, data: &[u8]) -> Result<(), StreamError> {
    let mut chunks = [Bytes::copy_from_slice(data)];
    while !chunks[0].is_empty() {
        poll_fn(|cx| send.poll_write(cx, &mut chunks)).await?;
    }
    Ok(())
}

pub(crate) async fn read<R: RecvStream>(recv: &mut R) -> Result<Option<Bytes>, StreamError> {
    poll_fn(|cx| recv.poll_read(cx, usize::MAX)).await
}

pub(crate) async fn read_to_end<R: RecvStream>(recv: &mut R) -> Result<Vec<u8>, StreamError> {
    let mut all = Vec::new();
    while let Some(chunk) = read(recv).await? {
        assert!(!chunk.is_empty());
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

pub(crate) async fn closed<S: SendStream>(send: &mut S) -> Result<(), StreamError> {
    poll_fn(|cx| send.poll_closed(cx)).await
}

/// Opens a stream, sends `data` and the FIN.
pub(crate) async fn send_one<C: Connection>(conn: &C, data: &[u8]) -> C::Send {
    let mut send = open_uni(conn).await.expect("credit");
    write_all(&mut send, data).await.expect("a reader");
    send.finish();
    send
}

/// A stream from `from` to `to`, made known by a first byte that is read already.
pub(crate) async fn uni<C: Connection>(from: &C, to: &C) -> (C::Send, C::Recv) {
    let mut send = open_uni(from).await.expect("credit");
    write_all(&mut send, b"!").await.expect("a reader");
    let mut recv = to.accept_uni().await.expect("the stream");
    assert_eq!(read(&mut recv).await, Ok(Some(Bytes::from_static(b"!"))));
    (send, recv)
}
