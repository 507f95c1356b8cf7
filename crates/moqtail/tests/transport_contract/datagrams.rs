//! Datagrams.

use std::future::poll_fn;

use bytes::Bytes;
use moqtail::transport::{Connection, DatagramError};

use crate::{
    carrier::{Carrier, Pair},
    io::{read_to_end, send_one},
};

pub(crate) async fn datagrams_arrive_whole<K: Carrier>() {
    let pair = K::pair().await;
    for (from, to) in [(&pair.client, &pair.server), (&pair.server, &pair.client)] {
        let max = from.max_datagram_size().unwrap();
        assert!(max >= 1100, "{max}");
        for size in [1, 2, 500, max] {
            let payload = Bytes::from(vec![size as u8; size]);
            from.send_datagram(payload.clone()).unwrap();
            assert_eq!(to.read_datagram().await, Ok(payload));
        }
        // Not sent at all; the next one is what arrives.
        from.send_datagram(Bytes::new()).unwrap();
        from.send_datagram(Bytes::from_static(b"next")).unwrap();
        assert_eq!(to.read_datagram().await, Ok(Bytes::from_static(b"next")));
    }
}

pub(crate) async fn a_large_datagram_is_refused<K: Carrier>() {
    let pair = K::pair().await;
    let Err(DatagramError::TooLarge { size, max }) =
        pair.client.send_datagram(vec![0; 9000].into())
    else {
        panic!("sent")
    };
    assert_eq!(size, 9000);
    assert!((1100..9000).contains(&max));
    pair.client.send_datagram(vec![0; 100].into()).unwrap();
    assert_eq!(pair.server.read_datagram().await.unwrap().len(), 100);
}

/// Each waits until the one before is on its way: none is dropped for another.
pub(crate) async fn datagrams_that_wait_for_each_other_all_leave<K: Carrier>() {
    for len in [1000, 1120] {
        let pair = K::pair().await;
        all_leave(&pair, len).await;
    }
}

async fn all_leave<C: Connection>(pair: &Pair<C>, len: usize) {
    let sending = async {
        for number in 0..200_u8 {
            poll_fn(|cx| pair.client.poll_datagrams(cx)).await;
            let payload = Bytes::from(vec![number; len]);
            pair.client.send_datagram(payload).unwrap();
        }
        poll_fn(|cx| pair.client.poll_datagrams(cx)).await;
    };
    let receiving = async {
        let mut numbers = Vec::new();
        while numbers.len() < 200 {
            numbers.push(pair.server.read_datagram().await.unwrap()[0]);
        }
        numbers
    };
    let ((), numbers) = tokio::join!(sending, receiving);
    assert!(numbers.into_iter().eq(0..200));
}

/// S7.2-05: the path is full of datagrams, and there are always more; a stream comes through nevertheless.
pub(crate) async fn datagrams_without_end_do_not_hold_up_a_stream<K: Carrier>() {
    let pair = K::pair().await;
    let payload = Bytes::from(vec![7; pair.client.max_datagram_size().unwrap()]);
    let sending = async {
        loop {
            poll_fn(|cx| pair.client.poll_datagrams(cx)).await;
            pair.client.send_datagram(payload.clone()).unwrap();
            tokio::task::consume_budget().await;
        }
    };
    let receiving = async {
        loop {
            pair.server.read_datagram().await.unwrap();
        }
    };
    let stream = async {
        let _send = send_one(&pair.client, &[1; 300_000]).await;
        let mut recv = pair.server.accept_uni().await.unwrap();
        read_to_end(&mut recv).await.unwrap().len()
    };
    tokio::select! {
        () = sending => {}
        () = receiving => {}
        len = stream => assert_eq!(len, 300_000),
    }
}
