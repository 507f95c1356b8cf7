//! How subscriptions, streams, tracks and sessions end.

use bytes::Bytes;

use super::support::*;
use crate::{model::*, peer::*, track::*, transport::*};

/// S5.1-18: all streams are reset before the call returns, and interest is told.
#[tokio::test]
async fn leaving_resets_open_streams_and_finishes_none() {
    let local = LocalTrack::new(track());
    let interest = local.track().interest();
    let session = subscribed(local.track());
    assert_eq!(interest.borrow().forwarding, 1);
    let mut subgroup = local.subgroup(options(0)).unwrap();
    let none = Extensions::default();
    subgroup.object(0, &none, Bytes::from_static(b"x")).unwrap();
    let mut stream = session.subscriber.accept_uni().await.unwrap();
    read_some(&mut stream, 1).await;
    session.relay.detach(SUB);
    let (_, end) = read_all(&mut stream).await;
    assert_eq!(end, Err(StreamError::Reset(1)));
    assert_eq!(*interest.borrow(), Interest::default());
    // The id is free again.
    subscribe(&session, local.track());
    subgroup.object(1, &none, Bytes::from_static(b"y")).unwrap();
    let mut stream = session.subscriber.accept_uni().await.unwrap();
    let subgroup = subgroup.finish();
    assert_eq!(subgroup, Ok(()));
    let (bytes, _) = read_all(&mut stream).await;
    assert_eq!(decode(&bytes).1, [(1, b"y".to_vec())]);
}

/// S10.4.3-13: nobody is woken for a finished stream, and still one that was stopped does not hold up the ends of others.
#[tokio::test]
async fn a_finished_stream_that_was_stopped_is_found_to_be_over() {
    let local = LocalTrack::new(track());
    let session = subscribed(local.track());
    let none = Extensions::default();
    for group in 0..100 {
        let mut subgroup = local.subgroup(options(group)).unwrap();
        let payload = Bytes::from_static(b"payload");
        subgroup.object(0, &none, payload).unwrap();
        subgroup.finish().unwrap();
        let mut stream = session.subscriber.accept_uni().await.unwrap();
        match group {
            0 => stream.stop(0),
            _ => assert_eq!(read_all(&mut stream).await.1, Ok(())),
        }
    }
    let closed = || {
        let told = session.told.all();
        told.iter()
            .filter(|what| what.starts_with("closed"))
            .count()
    };
    until("the end of the first streams", || closed() > 1).await;
}

/// Forward and its OR over all subscriptions, for upstreams that came by PUBLISH.
#[tokio::test]
async fn interest_follows_forward() {
    let track = track();
    let interest = track.interest();
    let session = session(TransportLimits::default(), DeliveryLimits::default());
    for id in 1..=2 {
        let params = SubscriptionParams {
            forward: id == 1,
            ..params(Location::default())
        };
        let id = SubscriptionId(id);
        session
            .relay
            .attach(id, &track, params, Admission::Now)
            .unwrap();
    }
    let forwarding = |n| Interest {
        subscriptions: 2,
        forwarding: n,
    };
    assert_eq!(*interest.borrow(), forwarding(1));
    let update = |forward| UpdateParams {
        start: Location::default(),
        end_group: None,
        forward,
        subscriber_priority: 0,
        delivery_timeout: None,
    };
    session
        .relay
        .update(SubscriptionId(2), update(true))
        .unwrap();
    assert_eq!(*interest.borrow(), forwarding(2));
    for id in [1, 1, 2] {
        session
            .relay
            .update(SubscriptionId(id), update(false))
            .unwrap();
    }
    assert_eq!(*interest.borrow(), forwarding(0));
    session.relay.close();
    assert_eq!(*interest.borrow(), Interest::default());
}

/// Reading that is dropped, a lost connection and a reset all end the run, and nobody waits for ever.
#[tokio::test]
async fn lost_publishers_reset_their_streams() {
    for how in ["dropped", "lost", "reset", "broken", "fin inside"] {
        let (track, upstream) = (track(), Upstream::new());
        let publisher = track.add_publisher();
        let session = subscribed(&track);
        let mut sending = upstream.open().await;
        let mut bytes = encode(0, &objects(2));
        bytes.truncate(bytes.len() - 1000);
        write(&mut sending, &bytes).await;
        let (mut got, expected) = {
            let mut relaying = Box::pin(upstream.ingest(&track, publisher));
            let reading = async {
                let mut stream = session.subscriber.accept_uni().await.unwrap();
                read_some(&mut stream, bytes.len()).await;
                stream
            };
            let got = tokio::select! {
                end = &mut relaying => panic!("{end:?}"),
                stream = reading => stream,
            };
            let expected = match how {
                "dropped" => {
                    drop(relaying);
                    1
                }
                "lost" => {
                    upstream.relay.lose("gone");
                    assert!(matches!(relaying.await, IngestEnd::Connection(_)));
                    1
                }
                "reset" => {
                    sending.reset(3);
                    assert_eq!(relaying.await, IngestEnd::Reset(3));
                    3
                }
                "broken" => {
                    // The rest of the object, then one with an unknown status.
                    let mut rest = vec![1; 1000];
                    rest.extend([0, 0, 7]);
                    write(&mut sending, &rest).await;
                    assert!(matches!(relaying.await, IngestEnd::Decode(_)));
                    0
                }
                _ => {
                    sending.finish();
                    assert!(matches!(relaying.await, IngestEnd::Decode(_)));
                    0
                }
            };
            (got, expected)
        };
        let (_, end) = read_all(&mut got).await;
        assert_eq!(end, Err(StreamError::Reset(expected)), "{how}");
    }
}

/// S2.5-13, S9.12-19.
#[tokio::test]
async fn a_malformed_track_ends_for_everybody() {
    let (track, upstream) = (track(), Upstream::new());
    let publisher = track.add_publisher();
    let session = subscribed(&track);
    for payload in [b"a", b"b"] {
        let mut stream = upstream.open().await;
        write(&mut stream, &encode(0, &[(0, payload.to_vec())])).await;
        stream.finish();
    }
    assert_eq!(
        upstream.ingest(&track, publisher).await,
        IngestEnd::Finished
    );
    let end = upstream.ingest(&track, publisher).await;
    assert!(matches!(end, IngestEnd::Malformed(_)), "{end:?}");
    let malformed = format!("{}", PublishDoneCode::MALFORMED_TRACK);
    until("the end", || {
        session
            .told
            .all()
            .last()
            .is_some_and(|last| last.contains(&malformed))
    })
    .await;
    let refused = session
        .relay
        .attach(SUB, &track, params(Location::default()), Admission::Now);
    assert!(matches!(refused, Err(AttachError::Malformed(_))));
    let mut stream = upstream.open().await;
    write(&mut stream, &encode(1, &objects(1))).await;
    let end = upstream.ingest(&track, publisher).await;
    assert!(matches!(end, IngestEnd::Malformed(_)), "{end:?}");
}

/// S10.4.3-15: the two ways in which the sending of a session ends.
#[tokio::test]
async fn the_task_ends_with_its_session() {
    let local = LocalTrack::new(track());
    let ended = subscribed(local.track());
    let lost = subscribed(local.track());
    let mut subgroup = local.subgroup(options(0)).unwrap();
    let none = Extensions::default();
    subgroup.object(0, &none, Bytes::from_static(b"x")).unwrap();
    let mut stream = ended.subscriber.accept_uni().await.unwrap();
    read_some(&mut stream, 1).await;
    ended.relay.close();
    assert_eq!(ended.task.await.unwrap(), None);
    let (_, end) = read_all(&mut stream).await;
    assert_eq!(end, Err(StreamError::Reset(3)));
    lost.subscriber.lose("gone");
    let reason = CloseReason::Lost("gone".to_owned());
    assert_eq!(lost.task.await.unwrap(), Some(reason));
    let interest = local.track().interest();
    assert_eq!(*interest.borrow(), Interest::default());
    let refused = lost.relay.attach(
        SUB,
        local.track(),
        params(Location::default()),
        Admission::Now,
    );
    assert_eq!(refused, Err(AttachError::Closed));
}

/// S3.4-09: the rest of an object's header has to come in time, however slowly it trickles; the log forgets the stream.
#[tokio::test(start_paused = true)]
async fn a_stream_that_stalls_inside_an_object_header_ends() {
    let (track, upstream) = (track(), Upstream::new());
    let publisher = track.add_publisher();
    let mut stream = upstream.open().await;
    let payload = vec![7; 100];
    let bytes = encode(0, &[(0, payload.clone()), (1, payload)]);
    // Of the second object's header, delta and length, the length takes two bytes.
    let (first, header) = bytes.split_at(bytes.len() - 100 - 3);
    let feeding = async {
        write(&mut stream, first).await;
        // Between objects nothing is due.
        tokio::time::sleep(HEADER_TIMEOUT * 10).await;
        let begun = tokio::time::Instant::now();
        for byte in &header[..2] {
            write(&mut stream, &[*byte]).await;
            tokio::time::sleep(HEADER_TIMEOUT / 2).await;
        }
        begun
    };
    let (end, begun) = tokio::join!(upstream.ingest(&track, publisher), feeding);
    assert_eq!(end, IngestEnd::Stalled);
    assert_eq!(begun.elapsed(), HEADER_TIMEOUT);
    assert_eq!(track.largest(), Some(Location::new(0, 0)));
}

/// S3.4-09: each header has that time for itself, also if the next one has always begun when one is complete.
#[tokio::test(start_paused = true)]
async fn the_time_of_a_header_begins_with_its_first_byte() {
    const OBJECTS: u64 = 40;
    let (track, upstream) = (track(), Upstream::new());
    let publisher = track.add_publisher();
    let mut stream = upstream.open().await;
    let objects: Vec<_> = (0..OBJECTS).map(|id| (id, vec![7; 100])).collect();
    let bytes = encode(0, &objects);
    // Delta, length in two bytes, payload.
    const OBJECT: usize = 1 + 2 + 100;
    let header = bytes.len() - OBJECTS as usize * OBJECT;
    let feeding = async {
        let (first, rest) = bytes.split_at(header + 1);
        write(&mut stream, first).await;
        for object in rest.chunks(OBJECT) {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            write(&mut stream, object).await;
        }
        stream.finish();
    };
    let feeding = async {
        // The stream may be stopped meanwhile.
        let _ = tokio::time::timeout(HEADER_TIMEOUT * 2, feeding).await;
    };
    let (end, ()) = tokio::join!(upstream.ingest(&track, publisher), feeding);
    assert_eq!(end, IngestEnd::Finished);
    assert_eq!(track.largest(), Some(Location::new(0, OBJECTS - 1)));
}
