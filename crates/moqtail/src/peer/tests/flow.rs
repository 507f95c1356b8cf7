//! Objects on their way from publishers to subscribers.

use std::time::Duration;

use bytes::Bytes;

use super::support::*;
use crate::{model::*, peer::*, track::*, transport::*};

/// S8.3-04: from one publisher to many sessions.
#[tokio::test]
async fn every_session_gets_the_same_bytes() {
    let (track, upstream) = (track(), Upstream::new());
    let publisher = track.add_publisher();
    let sessions: Vec<_> = (0..5).map(|_| subscribed(&track)).collect();
    let sending = async {
        for group in 0..20 {
            let mut stream = upstream.open().await;
            write(&mut stream, &encode(group, &objects(7))).await;
            stream.finish();
        }
    };
    let relaying = async {
        for _ in 0..20 {
            let end = upstream.ingest(&track, publisher).await;
            assert_eq!(end, IngestEnd::Finished);
        }
        track.end(PublishDoneCode::TRACK_ENDED, "");
    };
    let receiving = async {
        let mut first: Option<Vec<_>> = None;
        for session in &sessions {
            let mut all = Vec::new();
            for _ in 0..20 {
                let mut stream = session.subscriber.accept_uni().await.unwrap();
                let (bytes, end) = read_all(&mut stream).await;
                assert_eq!(end, Ok(()));
                let (header, got) = decode(&bytes);
                assert_eq!(header.track_alias, TrackAlias(55));
                assert_eq!(header.subgroup, SubgroupId::FirstObject);
                assert_eq!(got, objects(7));
                all.push(bytes);
            }
            all.sort();
            assert_eq!(first.get_or_insert_with(|| all.clone()), &all);
        }
    };
    tokio::join!(sending, relaying, receiving);
    for session in &sessions {
        let ended = format!("ended 7 {} 20", PublishDoneCode::TRACK_ENDED);
        until("the end", || session.told.all().last() == Some(&ended)).await;
        assert_eq!(session.told.all().len(), 41);
    }
}

/// A reader that does not read is ended; the one beside it loses nothing.
#[tokio::test]
async fn a_reader_that_does_not_read_disturbs_nobody() {
    let local = LocalTrack::new(track());
    let limits = TransportLimits {
        stream_window: 10_000,
        ..TransportLimits::default()
    };
    let delivery = DeliveryLimits {
        lag_bytes: 4 << 20,
        ..DeliveryLimits::default()
    };
    let slow = session(limits, delivery);
    subscribe(&slow, local.track());
    let quick = subscribed(local.track());
    let payload = Bytes::from(vec![1; 500_000]);
    let publishing = async {
        for group in 0..60 {
            let mut subgroup = local.subgroup(options(group)).unwrap();
            for id in 0..2 {
                let none = Extensions::default();
                subgroup.object(id, &none, payload.clone()).unwrap();
            }
            subgroup.finish().unwrap();
            let mut stream = quick.subscriber.accept_uni().await.unwrap();
            let (bytes, end) = read_all(&mut stream).await;
            assert_eq!(end, Ok(()));
            assert_eq!(decode(&bytes).1.len(), 2);
        }
    };
    publishing.await;
    let too_far = format!("{}", PublishDoneCode::TOO_FAR_BEHIND);
    until("the end", || {
        slow.told
            .all()
            .last()
            .is_some_and(|last| last.contains(&too_far))
    })
    .await;
    let budget = TrackLimits::default().max_bytes;
    assert!(local.track().bytes() < budget + (2 << 20));
    assert_eq!(local.track().interest().borrow().subscriptions, 1);
}

/// S9.7-14: joining in the middle of an object, and of a group.
#[tokio::test]
async fn a_late_session_gets_what_begins_after_it() {
    let local = LocalTrack::new(track());
    let none = Extensions::default();
    let mut subgroup = local.subgroup(options(3)).unwrap();
    subgroup
        .object(0, &none, Bytes::from_static(b"old"))
        .unwrap();
    subgroup.begin(1, &none, 6).unwrap();
    subgroup.payload(Bytes::from_static(b"par")).unwrap();
    let session = session(TransportLimits::default(), DeliveryLimits::default());
    let info = session
        .relay
        .attach(
            SUB,
            local.track(),
            SubscriptionParams {
                filter: Filter::LargestObject,
                ..params(Location::default())
            },
            Admission::Now,
        )
        .unwrap();
    assert_eq!(info.largest, Some(Location::new(3, 1)));
    session.relay.start(SUB);
    subgroup.payload(Bytes::from_static(b"tly")).unwrap();
    subgroup
        .object(2, &none, Bytes::from_static(b"new"))
        .unwrap();
    subgroup.finish().unwrap();
    let mut stream = session.subscriber.accept_uni().await.unwrap();
    let (bytes, end) = read_all(&mut stream).await;
    assert_eq!(end, Ok(()));
    assert_eq!(decode(&bytes).1, [(2, b"new".to_vec())]);
}

/// Stream credit of one: everything comes, one stream after another.
#[tokio::test]
async fn streams_wait_for_credit() {
    let limits = TransportLimits {
        initial_incoming_uni: 1,
        ..TransportLimits::default()
    };
    let session = session(limits, DeliveryLimits::default());
    let local = LocalTrack::new(track());
    subscribe(&session, local.track());
    for group in 0..10 {
        let mut subgroup = local.subgroup(options(group)).unwrap();
        let none = Extensions::default();
        subgroup.object(0, &none, Bytes::from_static(b"x")).unwrap();
        subgroup.finish().unwrap();
    }
    drop(local);
    for group in 0..10 {
        let mut stream = session.subscriber.accept_uni().await.unwrap();
        let (bytes, end) = read_all(&mut stream).await;
        assert_eq!((decode(&bytes).0.group, end), (group, Ok(())));
    }
    let ended = format!("ended 7 {} 10", PublishDoneCode::TRACK_ENDED);
    until("the end", || session.told.all().last() == Some(&ended)).await;
}

/// S10.4.3-13: STOP_SENDING on an idle stream is answered, and nothing else happens.
#[tokio::test]
async fn a_stopped_stream_is_reset() {
    let local = LocalTrack::new(track());
    let session = subscribed(local.track());
    let none = Extensions::default();
    let mut subgroup = local.subgroup(options(0)).unwrap();
    subgroup.object(0, &none, Bytes::from_static(b"x")).unwrap();
    let mut stream = session.subscriber.accept_uni().await.unwrap();
    read_some(&mut stream, 1).await;
    stream.stop(1);
    until("the answer", || session.told.all().len() == 2).await;
    assert_eq!(session.told.all(), ["opened 7", "closed 7"]);
    subgroup.object(1, &none, Bytes::from_static(b"y")).unwrap();
    let mut next = local.subgroup(options(1)).unwrap();
    next.object(0, &none, Bytes::from_static(b"z")).unwrap();
    let mut stream = session.subscriber.accept_uni().await.unwrap();
    let bytes = read_some(&mut stream, 5).await;
    assert_eq!(decode(&bytes).0.group, 1);
}

/// S9.2.1.2-08, in the time of the runtime.
#[tokio::test(start_paused = true)]
async fn an_object_expires() {
    let limits = TransportLimits {
        stream_window: 10,
        ..TransportLimits::default()
    };
    let session = session(limits, DeliveryLimits::default());
    let local = LocalTrack::new(track());
    let params = SubscriptionParams {
        delivery_timeout: Some(Duration::from_millis(500)),
        ..params(Location::default())
    };
    session
        .relay
        .attach(SUB, local.track(), params, Admission::Now)
        .unwrap();
    session.relay.start(SUB);
    let mut subgroup = local.subgroup(options(0)).unwrap();
    let none = Extensions::default();
    subgroup
        .object(0, &none, Bytes::from(vec![1; 100]))
        .unwrap();
    let mut stream = session.subscriber.accept_uni().await.unwrap();
    // Time passes while all tasks wait.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (_, end) = read_all(&mut stream).await;
    assert_eq!(end, Err(StreamError::Reset(2)));
    assert_eq!(session.told.all(), ["opened 7", "closed 7"]);
}

/// S10.3-02.
#[tokio::test]
async fn datagrams_go_through() {
    let local = LocalTrack::new(track());
    let session = subscribed(local.track());
    let datagram = |object, len| ObjectDatagram {
        track_alias: TrackAlias(0),
        group: 1,
        object,
        object_id_absent: false,
        publisher_priority: 3,
        end_of_group: false,
        extensions: Extensions::default(),
        body: DatagramBody::Payload(Bytes::from(vec![5; len])),
    };
    for (object, len) in [(0, 100), (1, 5000), (2, 10)] {
        local.datagram(datagram(object, len)).unwrap();
    }
    for (object, len) in [(0, 100), (2, 10)] {
        let got = decode_datagram(session.subscriber.read_datagram().await.unwrap()).unwrap();
        let expected = ObjectDatagram {
            track_alias: TrackAlias(55),
            ..datagram(object, len)
        };
        assert_eq!(got, expected);
    }
    assert_eq!(session.relay.refused_datagrams(), 1);
}

/// Many sessions on several threads: no wake-up is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[expect(clippy::disallowed_methods, reason = "the test owns what it spawns")]
async fn no_wake_up_is_lost() {
    let local = LocalTrack::new(track());
    let mut readers = Vec::new();
    let mut tasks = Vec::new();
    for _ in 0..16 {
        let Session {
            relay,
            subscriber,
            task,
            told,
        } = subscribed(local.track());
        tasks.push((relay, task));
        readers.push(tokio::spawn(async move {
            let mut count = 0;
            for _ in 0..200 {
                let mut stream = subscriber.accept_uni().await.unwrap();
                let (bytes, end) = read_all(&mut stream).await;
                assert_eq!(end, Ok(()));
                count += decode(&bytes).1.len();
            }
            let ended = format!("ended 7 {} 200", PublishDoneCode::TRACK_ENDED);
            until("the end", || told.all().last() == Some(&ended)).await;
            count
        }));
    }
    for group in 0..200 {
        let mut subgroup = local.subgroup(options(group)).unwrap();
        for id in 0..10 {
            let none = Extensions::default();
            subgroup
                .object(id, &none, Bytes::from(vec![1; 700]))
                .unwrap();
            if id % 3 == 0 {
                tokio::task::yield_now().await;
            }
        }
        subgroup.finish().unwrap();
    }
    drop(local);
    for reader in readers {
        let read = tokio::time::timeout(Duration::from_secs(120), reader).await;
        assert_eq!(read.expect("in time").unwrap(), 2000);
    }
}
