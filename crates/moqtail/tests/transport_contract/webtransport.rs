//! Streams and datagrams on a WebTransport connection that are not plain data of the session.

use bytes::Bytes;
use moqtail::transport::{
    Connection, ConnectionError, RecvStream, SendStream, StreamError, TransportLimits,
};
use quinn::VarInt;

use crate::{
    carrier::{Carrier, Pair, WebTransport, in_time},
    io::{read, read_to_end, send_one, write_all},
};

type Conn = <WebTransport as Carrier>::Conn;

/// HTTP/3 error for stream types that are not taken.
const STREAM_CREATION_ERROR: VarInt = VarInt::from_u32(0x103);

fn mapped(code: u64) -> VarInt {
    VarInt::from_u64(0x52e4_a40f_a8db + code + code / 0x1e).unwrap()
}

/// Opens a raw stream and writes these bytes.
async fn raw(conn: &Conn, bytes: &[u8]) -> quinn::SendStream {
    let mut send = conn.quinn_connection().open_uni().await.unwrap();
    send.write_all(bytes).await.unwrap();
    send
}

/// Data still flows from client to server.
async fn still_works(pair: &Pair<Conn>) {
    let _send = send_one(&pair.client, b"data").await;
    let mut recv = pair.server.accept_uni().await.unwrap();
    assert_eq!(read_to_end(&mut recv).await.unwrap(), b"data");
}

#[tokio::test]
async fn silent_http3_streams_stay_open_and_block_nothing() {
    in_time(async {
        let pair = WebTransport::pair().await;
        // Known to the server as soon as the next one is used, and silent like a browser's reserved streams.
        let silent = pair.client.quinn_connection().open_uni().await.unwrap();
        let encoder = raw(&pair.client, &[0x02]).await;
        let decoder = raw(&pair.client, &[0x03]).await;
        let control = raw(&pair.client, &[0x00]).await;
        still_works(&pair).await;
        still_works(&pair).await;
        tokio::select! {
            biased;
            s = silent.stopped() => panic!("{s:?}"),
            s = encoder.stopped() => panic!("{s:?}"),
            s = decoder.stopped() => panic!("{s:?}"),
            s = control.stopped() => panic!("{s:?}"),
            () = still_works(&pair) => {}
        }
        // The silent one may still become a data stream.
        let mut late = silent;
        late.write_all(&[0x40, 0x54, 0x00, 9]).await.unwrap();
        let mut recv = pair.server.accept_uni().await.unwrap();
        assert_eq!(read(&mut recv).await, Ok(Some(Bytes::from_static(&[9]))));
    })
    .await;
}

#[tokio::test]
async fn parked_streams_are_capped() {
    in_time(async {
        let mut limits = TransportLimits::default();
        limits.parked_streams = 2;
        let pair = WebTransport::pair_with(limits).await;
        let accept = tokio::spawn({
            let server = pair.server.clone();
            async move { server.accept_uni().await.map(drop) }
        });
        let _first = raw(&pair.client, &[0x02]).await;
        let _second = raw(&pair.client, &[0x03]).await;
        let third = raw(&pair.client, &[0x02]).await;
        assert_eq!(third.stopped().await, Ok(Some(STREAM_CREATION_ERROR)));
        accept.abort();
        still_works(&pair).await;
    })
    .await;
}

#[tokio::test]
async fn unknown_types_are_refused_and_forgotten() {
    in_time(async {
        let pair = WebTransport::pair().await;
        let unknown = [
            &[0x21][..],
            &[0x40, 0x5f, 1, 2, 3],
            &[0x05],
            &[0x40, 0x41, 0x00],
        ];
        let mut sends = Vec::new();
        for bytes in unknown {
            sends.push(raw(&pair.client, bytes).await);
        }
        still_works(&pair).await;
        for send in sends {
            assert_eq!(send.stopped().await, Ok(Some(STREAM_CREATION_ERROR)));
        }
    })
    .await;
}

#[tokio::test]
async fn streams_of_other_sessions_are_refused() {
    in_time(async {
        let pair = WebTransport::pair().await;
        let send = raw(&pair.client, &[0x40, 0x54, 0x04, 1, 2]).await;
        still_works(&pair).await;
        assert_eq!(send.stopped().await, Ok(Some(mapped(1))));
    })
    .await;
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    in_time(async {
        let pair = WebTransport::pair().await;
        for head in [&[0x40, 0x54, 0x00][..], &[0x80, 0, 0, 0x54, 0x80, 0, 0, 0]] {
            let mut send = pair.client.quinn_connection().open_uni().await.unwrap();
            let write = async {
                for byte in head.iter().chain(b"payload") {
                    send.write_all(&[*byte]).await.unwrap();
                    // Each byte is in a packet of its own once the other stream's echo is back.
                    still_works_back(&pair).await;
                }
                send.finish().unwrap();
            };
            let receive = async {
                let mut recv = pair.server.accept_uni().await.unwrap();
                read_to_end(&mut recv).await.unwrap()
            };
            let ((), data) = tokio::join!(write, receive);
            assert_eq!(data, b"payload");
        }
    })
    .await;
}

/// The first byte of its head was seen before, the rest came just before the close.
#[tokio::test]
async fn a_head_that_is_complete_before_the_close_is_read() {
    in_time(async {
        let pair = WebTransport::pair().await;
        let mut begun = raw(&pair.client, &[0x40]).await;
        still_works(&pair).await;
        begun.write_all(&[0x54, 0x00, 9]).await.unwrap();
        begun.finish().unwrap();
        assert_eq!(begun.stopped().await, Ok(None), "all of it arrived");
        pair.client.close(0, "");
        pair.server.closed().await;
        let mut late = pair.server.accept_uni().await.unwrap();
        assert_eq!(read_to_end(&mut late).await.unwrap(), [9]);
        assert!(pair.server.accept_uni().await.is_err());
    })
    .await;
}

/// A stream from server to client, waited for until acknowledged: a round trip.
async fn still_works_back(pair: &Pair<Conn>) {
    let _send = send_one(&pair.server, b"tick").await;
    let mut recv = pair.client.accept_uni().await.unwrap();
    assert_eq!(read_to_end(&mut recv).await.unwrap(), b"tick");
}

#[tokio::test]
async fn streams_given_up_early_are_normal() {
    in_time(async {
        let pair = WebTransport::pair().await;
        // Nothing, half a head, a whole head: then the reset.
        for length in 0..=2 {
            let mut send = raw(&pair.client, &[0x40, 0x54, 0x00][..length]).await;
            send.reset(mapped(7)).unwrap();
            let mut send = raw(&pair.client, &[0x40, 0x54, 0x00][..length]).await;
            send.finish().unwrap();
            still_works(&pair).await;
        }
        let mut send = raw(&pair.client, &[0x40, 0x54, 0x00]).await;
        let mut recv = pair.server.accept_uni().await.unwrap();
        send.reset(mapped(7)).unwrap();
        assert_eq!(read(&mut recv).await, Err(StreamError::Reset(7)));
        // Our own streams, reset before anything was written.
        let mut send = crate::io::open_uni(&pair.client).await.unwrap();
        send.reset(2);
        still_works(&pair).await;
    })
    .await;
}

#[tokio::test]
async fn codes_outside_the_range_are_internal_errors() {
    in_time(async {
        let pair = WebTransport::pair().await;
        let mut send = raw(&pair.client, &[0x40, 0x54, 0x00]).await;
        let mut recv = pair.server.accept_uni().await.unwrap();
        send.reset(VarInt::from_u32(0x10c)).unwrap();
        assert_eq!(read(&mut recv).await, Err(StreamError::Reset(0)));
    })
    .await;
}

#[tokio::test]
async fn bidirectional_streams_are_sorted_too() {
    in_time(async {
        let pair = WebTransport::pair().await;
        let conn = pair.client.quinn_connection();
        let (mut foreign, _foreign) = conn.open_bi().await.unwrap();
        foreign.write_all(&[0x40, 0x41, 0x04]).await.unwrap();
        let (mut get, mut got) = conn.open_bi().await.unwrap();
        get.write_all(&[0x01, 0x00]).await.unwrap();
        let (mut slow, _slow) = conn.open_bi().await.unwrap();
        slow.write_all(&[0x40]).await.unwrap();

        let (mut send, mut recv) = pair.client.open_bi().await.unwrap();
        write_all(&mut send, b"hello").await.unwrap();
        let (mut there, mut here) = pair.server.accept_bi().await.unwrap();
        assert_eq!(
            read(&mut here).await,
            Ok(Some(Bytes::from_static(b"hello")))
        );
        write_all(&mut there, b"hi").await.unwrap();
        assert_eq!(read(&mut recv).await, Ok(Some(Bytes::from_static(b"hi"))));

        assert_eq!(foreign.stopped().await, Ok(Some(mapped(1))));
        let rejected = VarInt::from_u32(0x10b);
        assert_eq!(get.stopped().await, Ok(Some(rejected)));
        assert_eq!(
            got.read(&mut [0]).await,
            Err(quinn::ReadError::Reset(rejected))
        );
        slow.write_all(&[0x41, 0x00, 5]).await.unwrap();
        let (_, mut here) = pair.server.accept_bi().await.unwrap();
        assert_eq!(read(&mut here).await, Ok(Some(Bytes::from_static(&[5]))));
    })
    .await;
}

#[tokio::test]
async fn datagrams_of_other_sessions_are_dropped() {
    in_time(async {
        let pair = WebTransport::pair().await;
        let conn = pair.client.quinn_connection();
        conn.send_datagram(Bytes::from_static(&[1, 2, 3])).unwrap();
        conn.send_datagram(Bytes::new()).unwrap();
        pair.client
            .send_datagram(Bytes::from_static(b"ours"))
            .unwrap();
        assert_eq!(
            pair.server.read_datagram().await,
            Ok(Bytes::from_static(b"ours"))
        );
    })
    .await;
}

/// Several tasks may accept, and each stream goes to one of them.
#[tokio::test]
async fn two_tasks_share_the_incoming_streams() {
    in_time(async {
        let pair = WebTransport::pair().await;
        let accept = |server: Conn| {
            tokio::spawn(async move {
                let mut taken = Vec::new();
                loop {
                    match server.accept_uni().await {
                        Ok(mut recv) => taken.push(read_to_end(&mut recv).await.unwrap()[0]),
                        Err(ConnectionError(_)) => return taken,
                    }
                }
            })
        };
        let tasks = [accept(pair.server.clone()), accept(pair.server.clone())];
        for number in 0..100 {
            let mut send = raw(&pair.client, &[0x40]).await;
            send.write_all(&[0x54, 0x00, number]).await.unwrap();
            send.finish().unwrap();
            assert_eq!(send.stopped().await, Ok(None));
        }
        // Acknowledged is not yet accepted: the last one is asked for an answer.
        pair.server
            .send_datagram(Bytes::from_static(b"done"))
            .unwrap();
        pair.client.read_datagram().await.unwrap();
        pair.client.close(0, "");
        let mut taken = Vec::new();
        for task in tasks {
            taken.extend(task.await.unwrap());
        }
        taken.sort_unstable();
        assert_eq!(taken, (0..100).collect::<Vec<u8>>());
    })
    .await;
}

/// A stopped stream is told with a mapped code also when it is dropped unread.
#[tokio::test]
async fn dropping_uses_mapped_codes() {
    in_time(async {
        let pair = WebTransport::pair().await;
        let send = raw(&pair.client, &[0x40, 0x54, 0x00, 1]).await;
        let mut recv = pair.server.accept_uni().await.unwrap();
        recv.stop(3);
        drop(recv);
        assert_eq!(send.stopped().await, Ok(Some(mapped(3))));
        let send = raw(&pair.client, &[0x40, 0x54, 0x00, 1]).await;
        drop(pair.server.accept_uni().await.unwrap());
        assert_eq!(send.stopped().await, Ok(Some(mapped(1))));
    })
    .await;
}
