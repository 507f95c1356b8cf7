//! Datagrams.

use bytes::Bytes;
use moqtail::transport::{Connection, DatagramError};

use crate::carrier::Carrier;

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
