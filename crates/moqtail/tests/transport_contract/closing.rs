//! Who closed, and why; and what is left of streams afterwards.

use std::time::Duration;

use bytes::Bytes;
use moqtail::transport::{
    CloseReason, Connection, ConnectionError, DatagramError, SendStream, StreamError,
    TransportLimits,
};

use crate::{
    carrier::Carrier,
    io::{closed, open_uni, read, send_one, uni, write_all},
};

fn local(code: u32, reason: &str) -> CloseReason {
    CloseReason::Local {
        code,
        reason: reason.into(),
    }
}

fn peer(code: u32, reason: &str) -> CloseReason {
    CloseReason::Peer {
        code,
        reason: reason.into(),
    }
}

pub(crate) async fn code_and_reason_reach_the_peer<K: Carrier>() {
    for code in [0, 1, 3, 0x1a, 255, 65536, u32::MAX] {
        let pair = K::pair().await;
        pair.client.close(code, "client's choice");
        assert_eq!(pair.server.closed().await, peer(code, "client's choice"));
        assert_eq!(pair.client.closed().await, local(code, "client's choice"));
        let pair = K::pair().await;
        pair.server.close(code, "server's choice");
        assert_eq!(pair.client.closed().await, peer(code, "server's choice"));
        assert_eq!(pair.server.closed().await, local(code, "server's choice"));
    }
}

pub(crate) async fn the_first_close_wins<K: Carrier>() {
    let pair = K::pair().await;
    pair.client.close(3, "first");
    pair.client.close(4, "second");
    assert_eq!(pair.server.closed().await, peer(3, "first"));
    pair.server.close(5, "late");
    assert_eq!(pair.server.closed().await, peer(3, "first"));
    assert_eq!(pair.client.closed().await, local(3, "first"));
}

pub(crate) async fn a_closed_connection_does_nothing_more<K: Carrier>() {
    let pair = K::pair().await;
    let (mut send, mut recv) = uni(&pair.client, &pair.server).await;
    let (mut back, mut here) = uni(&pair.server, &pair.client).await;
    pair.client.close(7, "enough");
    let gone = ConnectionError(local(7, "enough"));
    assert_eq!(write_all(&mut send, b"x").await, Err(gone.clone().into()));
    assert_eq!(read(&mut here).await, Err(gone.clone().into()));
    assert_eq!(open_uni(&pair.client).await.err(), Some(gone.clone()));
    assert_eq!(pair.client.open_bi().await.err(), Some(gone.clone()));
    assert_eq!(pair.client.accept_uni().await.err(), Some(gone.clone()));
    assert_eq!(pair.client.accept_bi().await.err(), Some(gone.clone()));
    assert_eq!(pair.client.read_datagram().await.err(), Some(gone.clone()));
    let datagram = pair.client.send_datagram(Bytes::from_static(b"x"));
    assert_eq!(datagram, Err(DatagramError::Connection(gone.clone())));

    assert_eq!(pair.server.closed().await, peer(7, "enough"));
    let gone = StreamError::Connection(ConnectionError(peer(7, "enough")));
    assert_eq!(read(&mut recv).await, Err(gone.clone()));
    assert_eq!(write_all(&mut back, b"x").await, Err(gone.clone()));
    assert_eq!(closed(&mut back).await, Err(gone));
}

pub(crate) async fn waiting_tasks_learn_of_the_close<K: Carrier>() {
    let mut limits = TransportLimits::default();
    limits.initial_incoming_uni = 2;
    limits.stream_window = 1000;
    let pair = K::pair_with(limits).await;
    let (mut stuck, _unread) = uni(&pair.server, &pair.client).await;
    let mut ended = open_uni(&pair.server).await.unwrap();
    write_all(&mut ended, b"x").await.unwrap();
    let (_send, mut silent) = uni(&pair.client, &pair.server).await;
    let server = pair.server.clone();
    let credit = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            match open_uni(&server).await {
                Ok(send) => held.push(send),
                Err(error) => return error,
            }
        }
    });
    let write = tokio::spawn(async move { write_all(&mut stuck, &[0; 100_000]).await });
    let wait = tokio::spawn(async move { closed(&mut ended).await });
    let read = tokio::spawn(async move { read(&mut silent).await });
    let accept = {
        let server = pair.server.clone();
        tokio::spawn(async move { server.accept_uni().await.err() })
    };
    let accept_bi = {
        let server = pair.server.clone();
        tokio::spawn(async move { server.accept_bi().await.err() })
    };
    let datagram = {
        let server = pair.server.clone();
        tokio::spawn(async move { server.read_datagram().await.err() })
    };
    tokio::task::yield_now().await;
    pair.client.close(2, "over");
    let gone = ConnectionError(peer(2, "over"));
    assert_eq!(credit.await.unwrap(), gone);
    assert_eq!(write.await.unwrap(), Err(gone.clone().into()));
    assert_eq!(wait.await.unwrap(), Err(gone.clone().into()));
    assert_eq!(read.await.unwrap(), Err(gone.clone().into()));
    assert_eq!(accept.await.unwrap(), Some(gone.clone()));
    assert_eq!(accept_bi.await.unwrap(), Some(gone.clone()));
    assert_eq!(datagram.await.unwrap(), Some(gone));
}

/// What was read and acknowledged before the close is all there, and stays acknowledged.
pub(crate) async fn acknowledged_data_survives_the_close<K: Carrier>() {
    let pair = K::pair().await;
    let mut send = send_one(&pair.client, &[5; 10_000]).await;
    let mut recv = pair.server.accept_uni().await.unwrap();
    let mut received = 0;
    while let Some(chunk) = read(&mut recv).await.unwrap() {
        received += chunk.len();
    }
    assert_eq!(closed(&mut send).await, Ok(()));
    pair.client.close(0, "");
    pair.client.closed().await;
    assert_eq!(received, 10_000);
    assert_eq!(read(&mut recv).await, Ok(None));
    assert_eq!(closed(&mut send).await, Ok(()));
}

/// What has arrived is not lost because its sender has closed since.
pub(crate) async fn what_was_received_before_the_peer_closed_can_be_taken<K: Carrier>() {
    let pair = K::pair().await;
    let datagram = Bytes::from_static(b"and so has this");
    pair.client.send_datagram(datagram.clone()).unwrap();
    let _sent = send_one(&pair.client, b"this has arrived").await;
    let (mut last, _) = pair.client.open_bi().await.unwrap();
    write_all(&mut last, b"after it").await.unwrap();
    let (_, mut after) = pair.server.accept_bi().await.unwrap();
    read(&mut after).await.unwrap();
    pair.client.close(0, "");
    assert_eq!(pair.server.closed().await, peer(0, ""));
    assert_eq!(pair.server.read_datagram().await, Ok(datagram));
    let mut late = pair.server.accept_uni().await.unwrap();
    assert_eq!(
        read(&mut late).await,
        Ok(Some(Bytes::from_static(b"this has arrived")))
    );
    assert_eq!(read(&mut late).await, Ok(None));
    assert!(pair.server.accept_uni().await.is_err());
    assert!(pair.server.read_datagram().await.is_err());
}

/// What is left of a stream that was finished is not taken for its end by the side that closed.
pub(crate) async fn who_closed_reads_no_end_in_place_of_what_was_left<K: Carrier>() {
    let pair = K::pair().await;
    let _sent = send_one(&pair.server, &[5; 10_000]).await;
    let mut left = pair.client.accept_uni().await.unwrap();
    pair.client.close(7, "enough");
    let gone = ConnectionError(local(7, "enough"));
    assert_eq!(read(&mut left).await, Err(gone.into()));
}

pub(crate) async fn dropping_all_handles_closes<K: Carrier>() {
    let pair = K::pair().await;
    let clone = pair.client.clone();
    drop(pair.client);
    clone
        .send_datagram(Bytes::from_static(b"still here"))
        .unwrap();
    assert_eq!(
        pair.server.read_datagram().await,
        Ok(Bytes::from_static(b"still here"))
    );
    drop(clone);
    assert_eq!(pair.server.closed().await, peer(0, ""));
}

pub(crate) async fn streams_do_not_keep_a_connection_open<K: Carrier>() {
    let pair = K::pair().await;
    let (mut send, _recv) = uni(&pair.client, &pair.server).await;
    drop(pair.client);
    assert_eq!(pair.server.closed().await, peer(0, ""));
    let gone = StreamError::Connection(ConnectionError(local(0, "")));
    assert_eq!(write_all(&mut send, b"x").await, Err(gone));
    send.finish();
}

pub(crate) async fn a_peer_that_vanishes_is_lost<K: Carrier>() {
    let mut limits = TransportLimits::default();
    limits.idle_timeout = Duration::from_millis(500);
    limits.keep_alive = Duration::from_millis(100);
    let pair = K::pair_with(limits).await;
    let (_send, mut recv) = uni(&pair.server, &pair.client).await;
    (pair.vanish)();
    let reason = pair.client.closed().await;
    assert!(matches!(reason, CloseReason::Lost(_)), "{reason:?}");
    assert_eq!(read(&mut recv).await, Err(ConnectionError(reason).into()));
}
