//! Requests that are not answered in time, or never let out (draft-14 §9.5).

use std::time::Duration;

use moqtail::{
    model::{
        ControlMessage, MaxRequestId, Parameters, PublishErrorCode, RequestId, RequestsBlocked,
    },
    session::{Event, RequestFailure, RequestHandle},
};
use moqtail_sim::{
    Scripted,
    messages::{namespace, publish_ok, publish_options, refusal, subscribe_ok, subscribe_options},
};

/// A client whose SUBSCRIBE waits for its first Request ID, and told so.
fn subscribing_without_credit() -> (Scripted, RequestHandle) {
    let mut peer = Scripted::client_with_limit(Scripted::client_config(), 0);
    let handle = peer
        .endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#a"), now))
        .expect("a session that takes requests");
    peer.received();
    (peer, handle)
}

/// S3.4-08, limit `answer_timeout`
#[test]
fn requests_that_are_never_answered_fail_alone() {
    let mut peer = Scripted::client(Scripted::client_config());
    let subscribed = peer
        .endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#a"), now));
    let announced = peer
        .endpoint
        .call(|s, now| s.publish_namespace(namespace("mine"), Parameters::default(), now));
    peer.received();
    peer.advance(Duration::from_millis(29_999));
    peer.assert_quiet();
    peer.advance(Duration::from_millis(1));
    let expected = [
        Event::SubscribeRejected {
            handle: subscribed.unwrap(),
            failure: RequestFailure::TimedOut,
        },
        Event::NamespaceRejected {
            handle: announced.unwrap(),
            failure: RequestFailure::TimedOut,
        },
    ];
    assert_eq!(peer.endpoint.events(), expected);
    let withdrawn = [
        ControlMessage::Unsubscribe(RequestId(0)),
        ControlMessage::PublishNamespaceDone(namespace("mine")),
    ];
    assert_eq!(peer.received(), withdrawn);
    // Answers that crossed the withdrawal are ignored.
    peer.send(&ControlMessage::SubscribeOk(subscribe_ok(0, 1)));
    peer.send(&ControlMessage::PublishNamespaceOk(RequestId(2)));
    peer.assert_quiet();
    assert_eq!(peer.endpoint.session.load().timers, 0);
}

/// Limit `answer_timeout`: a peer that gives no Request ID is not waited for any longer than one that does not answer.
#[test]
fn requests_that_are_never_let_out_fail_and_are_not_sent_later() {
    let mut peer = Scripted::client_with_limit(Scripted::client_config(), 0);
    let subscribed = peer
        .endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#a"), now))
        .unwrap();
    let published = peer
        .endpoint
        .call(|s, now| s.publish(publish_options("live#b", 1), now))
        .unwrap();
    let announced = peer
        .endpoint
        .call(|s, now| s.publish_namespace(namespace("mine"), Parameters::default(), now))
        .unwrap();
    let blocked = ControlMessage::RequestsBlocked(RequestsBlocked { limit: 0 });
    assert_eq!(peer.received(), [blocked]);
    peer.advance(Duration::from_millis(29_999));
    peer.assert_quiet();
    peer.advance(Duration::from_millis(1));
    let expected = [
        Event::SubscribeRejected {
            handle: subscribed,
            failure: RequestFailure::TimedOut,
        },
        Event::PublishRejected {
            handle: published,
            failure: RequestFailure::TimedOut,
        },
        Event::NamespaceRejected {
            handle: announced,
            failure: RequestFailure::TimedOut,
        },
    ];
    assert_eq!(peer.endpoint.events(), expected);
    let load = peer.endpoint.session.load();
    assert_eq!(
        (load.subscriptions, load.publications, load.announced),
        (0, 0, 0)
    );
    assert_eq!((load.queued_requests, load.timers), (0, 0));
    // Nothing is withdrawn, because nothing was sent, nor is it when there is credit.
    peer.send(&ControlMessage::MaxRequestId(MaxRequestId { limit: 100 }));
    peer.assert_quiet();
    // The names are free again.
    for name in ["live#a", "live#b"] {
        peer.endpoint
            .call(|s, now| s.subscribe(subscribe_options(name), now))
            .unwrap();
        assert!(matches!(peer.received_one(), ControlMessage::Subscribe(_)));
    }
}

/// Limit `answer_timeout`: the time counts from the call, and waiting for credit is part of it.
#[test]
fn a_request_that_waited_for_credit_has_what_is_left_of_its_time() {
    for answered in [true, false] {
        let (mut peer, handle) = subscribing_without_credit();
        peer.advance(Duration::from_secs(29));
        peer.send(&ControlMessage::MaxRequestId(MaxRequestId { limit: 100 }));
        assert!(matches!(peer.received_one(), ControlMessage::Subscribe(_)));
        peer.advance(Duration::from_millis(999));
        peer.assert_quiet();
        if answered {
            peer.send(&ControlMessage::SubscribeOk(subscribe_ok(0, 1)));
            assert!(matches!(peer.event(), Event::SubscribeAccepted(_)));
            peer.advance(Duration::from_secs(60));
            peer.assert_quiet();
            continue;
        }
        peer.advance(Duration::from_millis(1));
        let failure = RequestFailure::TimedOut;
        assert_eq!(peer.event(), Event::SubscribeRejected { handle, failure });
        let withdrawn = ControlMessage::Unsubscribe(RequestId(0));
        assert_eq!(peer.received(), [withdrawn]);
        peer.send(&ControlMessage::SubscribeOk(subscribe_ok(0, 1)));
        peer.assert_quiet();
        assert_eq!(peer.endpoint.session.load().timers, 0);
    }
}

/// Limit `answer_timeout`: a PUBLISH that failed while its streams are still open has ended for the application, whatever
/// the peer says of it late.
#[test]
fn an_offer_that_failed_is_not_told_of_again_by_a_late_answer() {
    for late in [
        vec![ControlMessage::PublishError(refusal(
            0,
            PublishErrorCode::UNINTERESTED,
        ))],
        vec![
            ControlMessage::PublishOk(publish_ok(0)),
            ControlMessage::Unsubscribe(RequestId(0)),
        ],
    ] {
        let mut peer = Scripted::client(Scripted::client_config());
        let handle = peer
            .endpoint
            .call(|s, now| s.publish(publish_options("live#a", 1), now))
            .unwrap();
        peer.received();
        let opened = peer.endpoint.session.outbound_stream_opened(handle);
        assert_eq!(opened, Ok(()));
        peer.advance(Duration::from_secs(30));
        let failure = RequestFailure::TimedOut;
        assert_eq!(peer.event(), Event::PublishRejected { handle, failure });
        for message in late {
            peer.send(&message);
        }
        peer.assert_quiet();
        assert_eq!(peer.endpoint.session.load().publications, 0);
    }
}
