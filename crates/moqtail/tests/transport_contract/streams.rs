//! Streams: content, ends, codes, back-pressure, credit, priorities.

use std::{
    future::{Future, poll_fn},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use moqtail::transport::{Connection, RecvStream, SendStream, StreamError, TransportLimits};

use crate::{
    carrier::Carrier,
    io::{closed, open_uni, read, read_to_end, send_one, uni, write_all},
};

/// Codes that a mapping might get wrong, beside those draft 14 uses.
const CODES: [u32; 12] = [0, 1, 2, 3, 29, 30, 31, 42, 255, 256, 65536, u32::MAX];

pub(crate) async fn a_bidirectional_stream_echoes<K: Carrier>() {
    let pair = K::pair().await;
    let echo = async {
        let (mut send, mut recv) = pair.server.accept_bi().await.unwrap();
        while let Some(chunk) = read(&mut recv).await.unwrap() {
            write_all(&mut send, &chunk).await.unwrap();
        }
        send.finish();
        closed(&mut send).await
    };
    let ask = async {
        let (mut send, mut recv) = pair.client.open_bi().await.unwrap();
        write_all(&mut send, b"ping").await.unwrap();
        assert_eq!(read(&mut recv).await, Ok(Some(Bytes::from_static(b"ping"))));
        write_all(&mut send, b"pong").await.unwrap();
        send.finish();
        assert_eq!(read_to_end(&mut recv).await.unwrap(), b"pong");
        closed(&mut send).await
    };
    assert_eq!(tokio::join!(echo, ask), (Ok(()), Ok(())));
}

pub(crate) async fn content_arrives_both_ways<K: Carrier>() {
    let pair = K::pair().await;
    for (from, to) in [(&pair.client, &pair.server), (&pair.server, &pair.client)] {
        for size in [1, 3, 1200, 100_000, 300_000] {
            let data: Vec<u8> = (0..size).map(|i: u32| (i % 251) as u8).collect();
            let send = async {
                let mut send = send_one(from, &data).await;
                closed(&mut send).await
            };
            let receive = async {
                let mut recv = to.accept_uni().await.unwrap();
                read_to_end(&mut recv).await
            };
            let (sent, received) = tokio::join!(send, receive);
            assert_eq!(sent, Ok(()));
            assert!(received.unwrap() == data, "{size} bytes");
        }
    }
}

pub(crate) async fn an_empty_stream_is_a_stream<K: Carrier>() {
    let pair = K::pair().await;
    let mut send = open_uni(&pair.client).await.unwrap();
    send.finish();
    let mut recv = pair.server.accept_uni().await.unwrap();
    assert_eq!(read(&mut recv).await, Ok(None));
    assert_eq!(read(&mut recv).await, Ok(None));
    assert_eq!(closed(&mut send).await, Ok(()));
}

/// S3.1-02
pub(crate) async fn reset_codes_arrive_exactly<K: Carrier>() {
    let pair = K::pair().await;
    for (from, to) in [(&pair.client, &pair.server), (&pair.server, &pair.client)] {
        for code in CODES {
            let (mut send, mut recv) = uni(from, to).await;
            send.reset(code);
            assert_eq!(read(&mut recv).await, Err(StreamError::Reset(code)));
            assert_eq!(read(&mut recv).await, Err(StreamError::Reset(code)));
            assert_eq!(closed(&mut send).await, Err(StreamError::Closed));
        }
    }
}

pub(crate) async fn stop_codes_arrive_exactly<K: Carrier>() {
    let pair = K::pair().await;
    for (from, to) in [(&pair.client, &pair.server), (&pair.server, &pair.client)] {
        for code in CODES {
            let (mut send, mut recv) = uni(from, to).await;
            recv.stop(code);
            assert_eq!(closed(&mut send).await, Err(StreamError::Stopped(code)));
            assert_eq!(
                write_all(&mut send, b"x").await,
                Err(StreamError::Stopped(code))
            );
            assert_eq!(read(&mut recv).await, Err(StreamError::Closed));
        }
    }
}

/// S10.4.3-05: what is reset after the FIN ends either way: complete, or with the code. It never hangs, and nothing is
/// made up.
pub(crate) async fn a_reset_after_the_fin_ends_the_stream<K: Carrier>() {
    let pair = K::pair().await;
    for _ in 0..20 {
        let (mut send, mut recv) = uni(&pair.client, &pair.server).await;
        write_all(&mut send, &[7; 50_000]).await.unwrap();
        send.finish();
        send.reset(2);
        match read_to_end(&mut recv).await {
            Ok(data) => assert_eq!(data.len(), 50_000),
            Err(error) => assert_eq!(error, StreamError::Reset(2)),
        }
    }
}

pub(crate) async fn a_closed_stream_takes_no_more<K: Carrier>() {
    let pair = K::pair().await;
    let (mut send, _recv) = uni(&pair.client, &pair.server).await;
    send.finish();
    assert_eq!(write_all(&mut send, b"x").await, Err(StreamError::Closed));
    let (mut send, _recv) = uni(&pair.client, &pair.server).await;
    send.reset(0);
    send.finish();
    assert_eq!(write_all(&mut send, b"x").await, Err(StreamError::Closed));
    let mut nothing = [Bytes::new(), Bytes::new()];
    let (mut send, _recv) = uni(&pair.client, &pair.server).await;
    assert_eq!(poll_fn(|cx| send.poll_write(cx, &mut nothing)).await, Ok(0));
}

pub(crate) async fn dropped_streams_are_cancelled<K: Carrier>() {
    let pair = K::pair().await;
    for (from, to) in [(&pair.client, &pair.server), (&pair.server, &pair.client)] {
        let (send, mut recv) = uni(from, to).await;
        drop(send);
        assert_eq!(read(&mut recv).await, Err(StreamError::Reset(1)));
        let (mut send, recv) = uni(from, to).await;
        drop(recv);
        assert_eq!(closed(&mut send).await, Err(StreamError::Stopped(1)));
        let (mut send, mut recv) = uni(from, to).await;
        send.finish();
        assert_eq!(read(&mut recv).await, Ok(None));
        drop(recv);
        assert_eq!(closed(&mut send).await, Ok(()));
    }
}

/// Who took all there was may leave before the FIN is asked for.
pub(crate) async fn leaving_at_the_last_byte_stops_nothing<K: Carrier>() {
    let pair = K::pair().await;
    let mut send = send_one(&pair.client, b"all").await;
    let mut recv = pair.server.accept_uni().await.unwrap();
    let mut taken = 0;
    while taken < 3 {
        taken += read(&mut recv).await.unwrap().unwrap().len();
    }
    // Acknowledged, hence arrived with its FIN.
    assert_eq!(closed(&mut send).await, Ok(()));
    drop(recv);
    assert_eq!(closed(&mut send).await, Ok(()));
}

pub(crate) async fn an_unread_stream_blocks_only_itself<K: Carrier>() {
    let mut limits = TransportLimits::default();
    limits.stream_window = 20_000;
    let pair = K::pair_with(limits).await;
    let (mut control, mut answers) = pair.client.open_bi().await.unwrap();
    write_all(&mut control, b"setup").await.unwrap();
    let (mut answer, mut questions) = pair.server.accept_bi().await.unwrap();
    assert_eq!(
        read(&mut questions).await,
        Ok(Some(Bytes::from_static(b"setup")))
    );

    let (mut stuck, mut unread) = uni(&pair.client, &pair.server).await;
    let mut chunks = [Bytes::from(vec![1; 100_000])];
    let mut written = 0;
    // Nobody reads, so this ends with a stream that takes nothing more.
    while let Poll::Ready(taken) = poll_once(|cx| stuck.poll_write(cx, &mut chunks)) {
        written += taken.unwrap();
    }
    assert!((1..=20_000).contains(&written), "{written}");

    write_all(&mut control, b"alive?").await.unwrap();
    assert_eq!(
        read(&mut questions).await,
        Ok(Some(Bytes::from_static(b"alive?")))
    );
    write_all(&mut answer, b"alive").await.unwrap();
    assert_eq!(
        read(&mut answers).await,
        Ok(Some(Bytes::from_static(b"alive")))
    );
    let mut other = send_one(&pair.client, b"other").await;
    let mut recv = pair.server.accept_uni().await.unwrap();
    assert_eq!(read_to_end(&mut recv).await.unwrap(), b"other");
    assert_eq!(closed(&mut other).await, Ok(()));

    let rest = async {
        while !chunks[0].is_empty() {
            poll_fn(|cx| stuck.poll_write(cx, &mut chunks))
                .await
                .unwrap();
        }
        stuck.finish();
    };
    let (data, ()) = tokio::join!(read_to_end(&mut unread), rest);
    assert_eq!(data.unwrap().len(), 100_000);
}

/// S12.1-01: what all streams hold unread is bounded, and more is allowed to who needs it.
pub(crate) async fn streams_that_nobody_reads_share_one_window<K: Carrier>() {
    const STREAM: usize = 100_000;
    let mut limits = TransportLimits::default();
    // WebTransport begins each stream with a few bytes of its own.
    limits.stream_window = STREAM as u32 + 10;
    limits.initial_window = 300_000;
    limits.max_send_window = limits.send_window;
    let most = (limits.initial_window + limits.send_window) as usize;
    let pair = K::pair_with(limits).await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        let chunks = [Bytes::from(vec![0; STREAM])];
        streams.push((open_uni(&pair.client).await.unwrap(), chunks));
    }
    let mut accepted = 0;
    let mut write = async || {
        poll_fn(|cx| {
            for (send, chunks) in &mut streams {
                if chunks[0].is_empty() {
                    continue;
                }
                if let Poll::Ready(taken) = send.poll_write(cx, chunks) {
                    accepted += taken.unwrap();
                    return Poll::Ready(accepted);
                }
            }
            Poll::Pending
        })
        .await
    };
    let mut so_far = 0;
    while let Ok(accepted) = tokio::time::timeout(Duration::from_millis(300), write()).await {
        so_far = accepted;
    }
    assert!(so_far <= most, "{so_far} bytes");
    pair.server.set_receive_window(2_000_000);
    while so_far < 10 * STREAM {
        so_far = write().await;
    }
}

pub(crate) async fn reading_takes_no_more_than_asked<K: Carrier>() {
    let pair = K::pair().await;
    let _send = send_one(&pair.client, &[9; 1000]).await;
    let mut recv = pair.server.accept_uni().await.unwrap();
    let mut total = 0;
    while let Some(chunk) = poll_fn(|cx| recv.poll_read(cx, 7)).await.unwrap() {
        assert!((1..=7).contains(&chunk.len()));
        total += chunk.len();
    }
    assert_eq!(total, 1000);
}

/// S3.1.3: a peer's stream limit is waited for. HTTP/3 has up to three streams of its own within it.
pub(crate) async fn opening_waits_for_credit<K: Carrier>() {
    let mut limits = TransportLimits::default();
    limits.initial_incoming_uni = 5;
    let pair = K::pair_with(limits).await;
    let mut open = Vec::new();
    while let Poll::Ready(send) = poll_once(|cx| pair.client.poll_open_uni(cx)) {
        open.push(send.unwrap());
        assert!(open.len() <= 8);
    }
    assert!(open.len() >= 5, "{}", open.len());

    // Some streams end, so at least one may open; QUIC does not announce every single one.
    let end = async {
        for mut done in open.drain(..3) {
            write_all(&mut done, b"x").await.unwrap();
            done.finish();
            let mut recv = pair.server.accept_uni().await.unwrap();
            assert_eq!(read_to_end(&mut recv).await.unwrap(), b"x");
        }
    };
    let (opened, ()) = tokio::join!(open_uni(&pair.client), end);
    open.push(opened.unwrap());

    while let Poll::Ready(send) = poll_once(|cx| pair.client.poll_open_uni(cx)) {
        open.push(send.unwrap());
    }
    pair.server.set_max_incoming_uni(20);
    let first = open_uni(&pair.client);
    open.push(first.await.unwrap());
}

pub(crate) async fn every_waiting_task_gets_credit<K: Carrier>() {
    let mut limits = TransportLimits::default();
    limits.initial_incoming_uni = 1;
    let pair = K::pair_with(limits).await;
    let mut held = Vec::new();
    while let Poll::Ready(send) = poll_once(|cx| pair.client.poll_open_uni(cx)) {
        held.push(send.unwrap());
    }
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let client = pair.client.clone();
            tokio::spawn(async move { open_uni(&client).await })
        })
        .collect();
    tokio::task::yield_now().await;
    pair.server.set_max_incoming_uni(30);
    for task in waiting {
        held.push(task.await.unwrap().unwrap());
    }
}

/// All streams are written before the connection gets to send, the most important last. What was sent first is
/// acknowledged first, and the acknowledgements are seen in that order however slow the machine is.
pub(crate) async fn more_important_streams_go_first<K: Carrier>() {
    const STREAMS: u32 = 90;
    let mut limits = TransportLimits::default();
    limits.initial_incoming_uni = STREAMS;
    let pair = K::pair_with(limits).await;
    let mut sends = Vec::new();
    for priority in 0..STREAMS {
        let Poll::Ready(send) = poll_once(|cx| pair.client.poll_open_uni(cx)) else {
            panic!()
        };
        let mut send = send.unwrap();
        send.set_priority(priority as i32);
        let mut chunks = [Bytes::from(vec![0; 1100])];
        let written = poll_once(|cx| send.poll_write(cx, &mut chunks));
        assert_eq!(written, Poll::Ready(Ok(1100)));
        send.finish();
        sends.push((priority, send));
    }
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (priority, mut send) in sends {
        let order = order.clone();
        tasks.push(tokio::spawn(async move {
            closed(&mut send).await.unwrap();
            order.lock().unwrap().push(priority);
        }));
    }
    for _ in 0..STREAMS {
        let mut recv = pair.server.accept_uni().await.unwrap();
        tasks.push(tokio::spawn(async move {
            drop(read_to_end(&mut recv).await.unwrap())
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let order = order.lock().unwrap();
    let mut inversions = 0;
    for (i, earlier) in order.iter().enumerate() {
        inversions += order[i + 1..]
            .iter()
            .filter(|later| *later > earlier)
            .count();
    }
    let pairs = order.len() * (order.len() - 1) / 2;
    // The end of a stream may share a packet with the next one, or be sent again.
    assert!(
        inversions * 20 < pairs,
        "{inversions} of {pairs}: {order:?}"
    );
}

pub(crate) async fn a_thousand_short_streams<K: Carrier>() {
    const STREAMS: u32 = 1000;
    let pair = K::pair().await;
    pair.client.set_max_incoming_uni(1024);
    let send = async {
        for number in 0..STREAMS {
            let mut data = number.to_be_bytes().to_vec();
            data.resize(200 + number as usize % 1000, 1);
            drop(send_one(&pair.server, &data).await);
        }
    };
    let receive = async {
        let mut seen = vec![false; STREAMS as usize];
        let mut readers = Vec::new();
        for _ in 0..STREAMS {
            let mut recv = pair.client.accept_uni().await.unwrap();
            readers.push(tokio::spawn(async move {
                read_to_end(&mut recv).await.unwrap()
            }));
        }
        for reader in readers {
            let data = reader.await.unwrap();
            let number = u32::from_be_bytes(data[..4].try_into().unwrap()) as usize;
            assert_eq!(data.len(), 200 + number % 1000);
            assert!(!std::mem::replace(&mut seen[number], true));
        }
    };
    tokio::join!(send, receive);
}

pub(crate) async fn a_stop_is_told_however_many_streams_were_reset<K: Carrier>() {
    const RESET: usize = 2100;
    let pair = K::pair().await;
    let send = async {
        for _ in 0..RESET {
            let mut send = open_uni(&pair.server).await.unwrap();
            write_all(&mut send, b"!").await.unwrap();
            assert!(poll_once(|cx| send.poll_closed(cx)).is_pending());
            send.reset(1);
        }
    };
    let receive = async {
        loop {
            drop(pair.client.accept_uni().await.unwrap());
        }
    };
    tokio::select! {
        () = send => {}
        () = receive => {}
    }
    let mut send = open_uni(&pair.server).await.unwrap();
    write_all(&mut send, b"last").await.unwrap();
    assert!(poll_once(|cx| send.poll_closed(cx)).is_pending());
    let mut recv = loop {
        let mut recv = pair.client.accept_uni().await.unwrap();
        if read(&mut recv).await == Ok(Some(Bytes::from_static(b"last"))) {
            break recv;
        }
    };
    recv.stop(7);
    let stopped = loop {
        if let Err(error) = write_all(&mut send, b"more").await {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(stopped, StreamError::Stopped(7));
}

pub(crate) async fn accepting_can_be_given_up<K: Carrier>() {
    let pair = K::pair().await;
    for number in 0..50u8 {
        let mut accept = Box::pin(pair.server.accept_uni());
        assert!(poll_once(|cx| accept.as_mut().poll(cx)).is_pending());
        drop(accept);
        let _send = send_one(&pair.client, &[number]).await;
        let mut recv = loop {
            let mut accept = Box::pin(pair.server.accept_uni());
            if let Poll::Ready(recv) = poll_once(|cx| accept.as_mut().poll(cx)) {
                break recv.unwrap();
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(read_to_end(&mut recv).await.unwrap(), [number]);
    }
}

fn poll_once<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll(&mut Context::from_waker(Waker::noop()))
}
