//! When the peer has everything.

use std::pin::pin;

use bytes::Bytes;

use super::support::*;
use crate::{model::*, peer::*, track::*, transport::*};

/// Lets the sending task do what it can.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn waits<F: Future + Unpin>(future: &mut F) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = std::future::ready(()) => true,
    }
}

fn write(local: &LocalTrack, group: u64) -> LocalSubgroup {
    let mut subgroup = local.subgroup(options(group)).unwrap();
    let payload = Bytes::from(vec![1; 10_000]);
    let written = subgroup.object(0, &Extensions::default(), payload);
    assert_eq!(written, Ok(()));
    subgroup
}

#[tokio::test]
async fn all_is_delivered_when_the_last_stream_was_read() {
    let local = LocalTrack::new(track());
    let session = subscribed(local.track());
    let deliveries = session.relay.deliveries();
    assert!(deliveries.complete().await, "there is nothing");
    let open = write(&local, 0);
    let mut complete = pin!(deliveries.complete());
    assert!(waits(&mut complete).await);
    let mut stream = session.subscriber.accept_uni().await.unwrap();
    read_some(&mut stream, 10_000).await;
    settle().await;
    assert!(waits(&mut complete).await, "the subgroup is open");
    open.finish().unwrap();
    settle().await;
    assert!(waits(&mut complete).await, "its end was not read");
    assert_eq!(read_all(&mut stream).await.1, Ok(()));
    assert!(complete.await);
}

/// What is asked counts for what was published before, whether or not it was sent.
#[tokio::test]
async fn what_waits_for_stream_credit_is_not_delivered() {
    let limits = TransportLimits {
        initial_incoming_uni: 1,
        max_incoming_uni: 1,
        ..TransportLimits::default()
    };
    let local = LocalTrack::new(track());
    let session = session(limits, DeliveryLimits::default());
    subscribe(&session, local.track());
    for group in 0..3 {
        write(&local, group).finish().unwrap();
    }
    let deliveries = session.relay.deliveries();
    let mut complete = pin!(deliveries.complete());
    for group in 0..3 {
        settle().await;
        assert!(waits(&mut complete).await, "group {group}");
        let mut stream = session.subscriber.accept_uni().await.unwrap();
        let (bytes, end) = read_all(&mut stream).await;
        assert_eq!((decode(&bytes).0.group, end), (group, Ok(())));
    }
    assert!(complete.await);
}

/// Neither is a subscription that waits for its SUBSCRIBE_OK.
#[tokio::test]
async fn what_waits_for_the_answer_is_not_delivered() {
    let local = LocalTrack::new(track());
    let session = session(TransportLimits::default(), DeliveryLimits::default());
    let start = params(Location::default());
    let attached = session
        .relay
        .attach(SUB, local.track(), start, Admission::Now);
    assert!(attached.is_ok());
    write(&local, 0).finish().unwrap();
    let deliveries = session.relay.deliveries();
    let mut complete = pin!(deliveries.complete());
    assert!(waits(&mut complete).await);
    settle().await;
    assert!(waits(&mut complete).await);
    session.relay.start(SUB);
    let mut stream = session.subscriber.accept_uni().await.unwrap();
    assert_eq!(read_all(&mut stream).await.1, Ok(()));
    assert!(complete.await);
}

/// What the peer does not want, or can never have, holds nobody up; and the end of a track is told first.
#[tokio::test]
async fn streams_that_were_stopped_or_reset_count_and_ends_are_told_before() {
    let local = LocalTrack::new(track());
    let session = subscribed(local.track());
    let (stopped, given_up) = (write(&local, 0), write(&local, 1));
    let deliveries = session.relay.deliveries();
    let mut complete = pin!(deliveries.complete());
    assert!(waits(&mut complete).await);
    for _ in 0..2 {
        let mut stream = session.subscriber.accept_uni().await.unwrap();
        read_some(&mut stream, 100).await;
        stream.stop(1);
    }
    stopped.finish().unwrap();
    given_up.reset(StreamCode::DELIVERY_TIMEOUT);
    assert!(complete.await);
    local.end(PublishDoneCode::TRACK_ENDED, "");
    assert!(deliveries.complete().await);
    let code = PublishDoneCode::TRACK_ENDED;
    assert_eq!(
        session.told.all().last(),
        Some(&format!("ended 7 {code} 2"))
    );
}

#[tokio::test]
async fn nothing_is_delivered_when_the_session_is_over() {
    let local = LocalTrack::new(track());
    let (closed, lost) = (subscribed(local.track()), subscribed(local.track()));
    let open = write(&local, 0);
    let deliveries = [closed.relay.deliveries(), lost.relay.deliveries()];
    let asked = deliveries
        .clone()
        .map(|all| async move { all.complete().await });
    let [mut early, mut late] = asked.map(Box::pin);
    for complete in [&mut early, &mut late] {
        assert!(waits(complete).await);
    }
    closed.relay.close();
    lost.subscriber.lose("gone");
    assert!(!early.await && !late.await);
    for all in deliveries {
        assert!(!all.complete().await);
    }
    drop(open);
}
