//! The end of subscriptions by PUBLISH_DONE, from both sides (draft-14 §9.12).

use std::time::Duration;

use moqtail::{
    model::{
        ControlMessage, Filter, MAX_VARINT, Parameter, Parameters, PublishDone, PublishDoneCode,
        RequestId, SessionCode, UNKNOWN_STREAM_COUNT,
    },
    session::{
        CallError, Event, RequestHandle, SessionConfig, SessionLimits, StreamVerdict,
        SubscriptionUpdate,
    },
};
use moqtail_sim::{
    Scripted,
    messages::{
        namespace, publish_done, publish_options, subgroup, subscribe_answer, subscribe_ok,
        subscribe_options, subscribe_update,
    },
};

fn done(peer: &mut Scripted) -> PublishDone {
    let message = peer.received_one();
    let ControlMessage::PublishDone(done) = message else {
        panic!("{message:?}")
    };
    done
}

/// S5.1-20, S9.12-02, S9.12-07, S9.12-13 to -19
#[test]
fn publish_done_waits_for_the_streams_and_counts_them() {
    let (mut peer, handle) = Scripted::serving(Filter::LargestObject);
    for _ in 0..3 {
        peer.endpoint
            .call(|s, _| s.outbound_stream_opened(handle))
            .unwrap();
    }
    peer.endpoint.call(|s, _| s.outbound_stream_closed(handle));
    let status = PublishDoneCode::TRACK_ENDED;
    peer.endpoint
        .call(|s, _| s.finish_publish(handle, status, "over"))
        .unwrap();
    assert_eq!(peer.received(), []);
    // No further stream, no second end.
    let opened = peer.endpoint.call(|s, _| s.outbound_stream_opened(handle));
    assert_eq!(opened, Err(CallError::WrongState(handle)));
    let again = peer
        .endpoint
        .call(|s, _| s.finish_publish(handle, status, ""));
    assert_eq!(again, Err(CallError::WrongState(handle)));

    peer.endpoint.call(|s, _| s.outbound_stream_closed(handle));
    assert_eq!(peer.received(), []);
    peer.endpoint.call(|s, _| s.outbound_stream_closed(handle));
    let done = done(&mut peer);
    assert_eq!(
        (done.request_id, done.status, done.stream_count),
        (RequestId(0), status, 3)
    );
    assert_eq!(done.reason.as_str(), "over");
    assert_eq!(peer.endpoint.session.load().publications, 0);
}

/// S9.12-17: the time counts from the answer, is told once, and not of a subscription that has ended.
#[test]
fn a_subscription_that_was_told_a_time_expires_then() {
    let told = |time| {
        let (mut peer, handle) = Scripted::requested(Filter::LargestObject);
        peer.advance(Duration::from_secs(9));
        let mut answer = subscribe_answer(1);
        answer.expires = Some(time);
        let accepted = peer
            .endpoint
            .call(|s, now| s.accept_subscribe(handle, answer, now));
        assert_eq!(accepted, Ok(()));
        let ControlMessage::SubscribeOk(ok) = peer.received_one() else {
            panic!()
        };
        (peer, handle, ok.expires_ms)
    };
    let second = Duration::from_secs(1);
    let millisecond = Duration::from_millis(1);
    let (mut peer, handle, expires) = told(second);
    assert_eq!(expires, 1000);
    peer.advance(second - millisecond);
    assert_eq!(peer.endpoint.events(), []);
    peer.advance(millisecond);
    assert_eq!(peer.event(), Event::SubscriptionExpired { handle });
    let expired = PublishDoneCode::EXPIRED;
    peer.endpoint
        .call(|s, _| s.finish_publish(handle, expired, ""))
        .unwrap();
    assert_eq!(done(&mut peer).status, expired);
    peer.advance(10 * second);
    assert_eq!(peer.endpoint.events(), []);

    for by_peer in [true, false] {
        let (mut peer, handle, _) = told(second);
        if by_peer {
            peer.send(&ControlMessage::Unsubscribe(RequestId(0)));
            assert_eq!(peer.event(), Event::Unsubscribed { handle });
        } else {
            let ended = PublishDoneCode::TRACK_ENDED;
            peer.endpoint
                .call(|s, _| s.outbound_stream_opened(handle))
                .unwrap();
            peer.endpoint
                .call(|s, _| s.finish_publish(handle, ended, ""))
                .unwrap();
        }
        peer.advance(10 * second);
        assert_eq!(peer.endpoint.events(), []);
    }

    // 0 would mean that it never ends, and not every time can be written.
    assert_eq!(told(Duration::from_nanos(1)).2, 1);
    assert_eq!(told(Duration::MAX).2, MAX_VARINT);
}

/// S9.7-19, S9.12-08
#[test]
fn a_datagram_track_ends_with_a_stream_count_of_zero() {
    let (mut peer, handle) = Scripted::serving(Filter::LargestObject);
    let mut update = subscribe_update(2, 0);
    update.forward = false;
    peer.send(&ControlMessage::SubscribeUpdate(update));
    let status = PublishDoneCode::SUBSCRIPTION_ENDED;
    peer.endpoint
        .call(|s, _| s.finish_publish(handle, status, ""))
        .unwrap();
    assert_eq!(done(&mut peer).stream_count, 0);
}

/// S9.11-02, S5.1-18: the shell resets; the core needs nothing more.
#[test]
fn unsubscribe_while_finishing_needs_no_publish_done() {
    let (mut peer, handle) = Scripted::serving(Filter::LargestObject);
    peer.endpoint
        .call(|s, _| s.outbound_stream_opened(handle))
        .unwrap();
    let status = PublishDoneCode::TRACK_ENDED;
    peer.endpoint
        .call(|s, _| s.finish_publish(handle, status, ""))
        .unwrap();
    peer.send(&ControlMessage::Unsubscribe(RequestId(0)));
    assert_eq!(peer.event(), Event::Unsubscribed { handle });
    peer.endpoint.call(|s, _| s.outbound_stream_closed(handle));
    peer.assert_quiet();
}

#[test]
fn an_unanswered_subscribe_is_refused_not_finished() {
    let (mut peer, handle) = Scripted::requested(Filter::LargestObject);
    let status = PublishDoneCode::TRACK_ENDED;
    let finished = peer
        .endpoint
        .call(|s, _| s.finish_publish(handle, status, ""));
    assert_eq!(finished, Err(CallError::WrongState(handle)));
    let update = SubscriptionUpdate::default();
    let updated = peer
        .endpoint
        .call(|s, _| s.update_subscription(handle, update));
    assert_eq!(updated, Err(CallError::NoSuchRequest(handle)));
}

/// S9.12-10
#[test]
fn when_all_counted_streams_are_in_the_subscription_closes_at_once() {
    let (mut peer, handle) = Scripted::subscribed(Filter::LargestObject);
    let (first, _) = peer.open_stream(&subgroup(1));
    let (second, _) = peer.open_stream(&subgroup(1));
    peer.end_stream(first);
    peer.send(&publish_done(0, 2));
    assert!(matches!(
        peer.event(),
        Event::PublishDone {
            stream_count: Some(2),
            ..
        }
    ));
    peer.end_stream(second);
    assert_eq!(peer.event(), Event::SubscriptionClosed { handle });
    assert_eq!(peer.endpoint.session.load().timers, 0);

    // Also when PUBLISH_DONE comes last.
    let (mut peer, handle) = Scripted::subscribed(Filter::LargestObject);
    let (only, _) = peer.open_stream(&subgroup(1));
    peer.end_stream(only);
    peer.send(&publish_done(0, 1));
    let [Event::PublishDone { .. }, closed] = &peer.endpoint.events()[..] else {
        panic!()
    };
    assert_eq!(*closed, Event::SubscriptionClosed { handle });
}

/// S9.12-04, S9.12-05, S9.12-09, S9.12-11: wrong, maximal and missing counts; limit `done_linger`.
#[test]
fn without_a_right_count_streams_may_come_for_a_while() {
    for count in [5, UNKNOWN_STREAM_COUNT, 0] {
        let (mut peer, handle) = Scripted::subscribed(Filter::LargestObject);
        peer.send(&publish_done(0, count));
        let Event::PublishDone { stream_count, .. } = peer.event() else {
            panic!()
        };
        assert_eq!(
            stream_count,
            (count != UNKNOWN_STREAM_COUNT).then_some(count)
        );
        peer.advance(Duration::from_millis(4_999));
        let (late, verdict) = peer.open_stream(&subgroup(1));
        assert_eq!(verdict, StreamVerdict::Deliver(handle), "count {count}");
        peer.end_stream(late);
        assert_eq!(peer.endpoint.events(), []);
        peer.advance(Duration::from_millis(1));
        assert_eq!(peer.event(), Event::SubscriptionClosed { handle });
    }
}

/// S9.12-11, limit `done_quiet`: a stream that was reset before its header may be the one that is missing.
#[test]
fn a_stream_without_a_header_is_not_waited_for_when_no_other_comes() {
    let ms = Duration::from_millis;
    for headless_first in [true, false] {
        let (mut peer, handle) = Scripted::subscribed(Filter::LargestObject);
        let (seen, _) = peer.open_stream(&subgroup(1));
        let headless = peer.open_stream_without_header();
        if headless_first {
            peer.end_stream(headless);
        }
        peer.end_stream(seen);
        peer.send(&publish_done(0, 2));
        peer.endpoint.events();
        if !headless_first {
            // As long as it may have a header, it is waited for.
            peer.advance(ms(1_500));
            peer.end_stream(headless);
        }
        peer.advance(ms(999));
        assert_eq!(peer.endpoint.events(), []);
        peer.advance(ms(1));
        assert_eq!(peer.event(), Event::SubscriptionClosed { handle });
        assert_eq!(peer.endpoint.session.load().timers, 0);
    }
}

/// S9.12-04: while streams come, the one that is missing may be among them.
#[test]
fn streams_that_open_prolong_the_wait_for_one_without_a_header() {
    let ms = Duration::from_millis;
    let (mut peer, handle) = Scripted::subscribed(Filter::LargestObject);
    let of_another = peer.open_stream_without_header();
    peer.end_stream(of_another);
    peer.send(&publish_done(0, 1));
    peer.endpoint.events();
    for _ in 0..3 {
        peer.advance(ms(900));
        let (other, verdict) = peer.open_stream(&subgroup(9));
        assert_eq!(verdict, StreamVerdict::Park);
        peer.end_stream(other);
        assert_eq!(peer.endpoint.events(), []);
    }
    peer.advance(ms(900));
    let (late, verdict) = peer.open_stream(&subgroup(1));
    assert_eq!(verdict, StreamVerdict::Deliver(handle));
    peer.end_stream(late);
    assert_eq!(peer.event(), Event::SubscriptionClosed { handle });
}

/// Streams without a header that ended before a subscription was asked for are none of its own, and fewer than are
/// missing leave one to come.
#[test]
fn too_few_streams_without_a_header_are_no_reason_to_stop_waiting() {
    for before in [true, false] {
        let mut peer = Scripted::client(Scripted::client_config());
        let end_one = |peer: &mut Scripted| {
            let headless = peer.open_stream_without_header();
            peer.end_stream(headless);
        };
        if before {
            end_one(&mut peer);
        }
        let options = subscribe_options("live#a");
        let handle = peer
            .endpoint
            .call(|s, now| s.subscribe(options, now))
            .unwrap();
        peer.send(&ControlMessage::SubscribeOk(subscribe_ok(0, 1)));
        if !before {
            end_one(&mut peer);
        }
        peer.send(&publish_done(0, if before { 1 } else { 2 }));
        peer.endpoint.events();
        peer.advance(Duration::from_millis(4_999));
        assert_eq!(peer.endpoint.events(), []);
        peer.advance(Duration::from_millis(1));
        assert_eq!(peer.event(), Event::SubscriptionClosed { handle });
    }
}

/// S9.12-05: a longer delivery timeout wins, up to `done_drain`.
#[test]
fn the_delivery_timeout_prolongs_the_wait() {
    for (timeout_ms, wait) in [(8_000, 8_000), (1_000_000_000, 60_000)] {
        let mut peer = Scripted::client(Scripted::client_config());
        let options = subscribe_options("live#a");
        let handle = peer
            .endpoint
            .call(|s, now| s.subscribe(options, now))
            .unwrap();
        let mut ok = subscribe_ok(0, 1);
        ok.parameters = Parameters(vec![Parameter::DeliveryTimeout(timeout_ms)]);
        peer.send(&ControlMessage::SubscribeOk(ok));
        peer.send(&publish_done(0, 1));
        peer.endpoint.events();
        peer.advance(Duration::from_millis(wait - 1));
        assert_eq!(peer.endpoint.events(), []);
        peer.advance(Duration::from_millis(1));
        assert_eq!(peer.event(), Event::SubscriptionClosed { handle });
    }
}

/// S9.12-06, limit `done_drain`
#[test]
fn streams_that_are_still_open_at_the_end_are_stopped() {
    let (mut peer, handle) = Scripted::subscribed(Filter::LargestObject);
    let (stalled, _) = peer.open_stream(&subgroup(1));
    peer.send(&publish_done(0, 2));
    peer.endpoint.events();
    peer.advance(Duration::from_secs(64));
    peer.assert_quiet();
    // After done_linger no further stream is taken.
    let (_, verdict) = peer.open_stream(&subgroup(1));
    assert!(matches!(verdict, StreamVerdict::Refuse(_)));
    peer.advance(Duration::from_secs(1));
    assert_eq!(peer.event(), Event::SubscriptionClosed { handle });
    assert_eq!(peer.endpoint.stopped.len(), 1);
    assert_eq!(peer.endpoint.stopped[0].0, stalled);
    assert_eq!(peer.endpoint.session.load().streams, 0);
}

/// S9.12-12
#[test]
fn more_streams_than_counted_are_refused() {
    let (mut peer, _) = Scripted::subscribed(Filter::LargestObject);
    let (_open, _) = peer.open_stream(&subgroup(1));
    peer.send(&publish_done(0, 1));
    let (_, verdict) = peer.open_stream(&subgroup(1));
    assert!(matches!(verdict, StreamVerdict::Refuse(_)));
    assert_eq!(peer.endpoint.closed, None);
}

#[test]
fn publish_done_in_the_wrong_state_closes() {
    let (mut peer, _) = Scripted::subscribing(Filter::LargestObject);
    peer.send(&publish_done(0, 0));
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
    let (mut peer, _) = Scripted::subscribed(Filter::LargestObject);
    peer.send(&publish_done(0, 3));
    peer.send(&publish_done(0, 3));
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
}

/// A subscription that drains can be left, and its track asked for again, without a word to the peer.
#[test]
fn leaving_a_subscription_that_is_done_says_nothing() {
    let (mut peer, handle) = Scripted::subscribed(Filter::LargestObject);
    peer.send(&publish_done(0, 3));
    peer.endpoint.events();
    let again = peer
        .endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#a"), now))
        .unwrap();
    assert!(matches!(peer.received_one(), ControlMessage::Subscribe(_)));
    peer.endpoint.call(|s, _| s.unsubscribe(handle)).unwrap();
    peer.assert_quiet();
    // The end of the first does not touch the second.
    let third = peer
        .endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#a"), now));
    assert_eq!(third, Err(CallError::AlreadySubscribed(again)));
}

fn limited(limits: SessionLimits) -> Scripted {
    Scripted::client(SessionConfig {
        limits,
        ..Scripted::client_config()
    })
}

/// A client session of these limits that has subscribed to `live#a` as alias 1.
fn subscribed(limits: SessionLimits) -> (Scripted, RequestHandle) {
    let mut peer = limited(limits);
    let options = subscribe_options("live#a");
    let handle = peer
        .endpoint
        .call(|s, now| s.subscribe(options, now))
        .expect("first request");
    peer.send(&ControlMessage::SubscribeOk(subscribe_ok(0, 1)));
    peer.endpoint.events();
    (peer, handle)
}

/// A time that cannot be reached is none.
#[test]
fn times_without_end_are_never_over() {
    let limits = SessionLimits {
        setup_timeout: Duration::MAX,
        answer_timeout: Duration::MAX,
        header_timeout: Duration::MAX,
        park_timeout: Duration::MAX,
        done_linger: Duration::MAX,
        done_quiet: Duration::MAX,
        done_drain: Duration::MAX,
        ..SessionLimits::default()
    };
    let (mut peer, handle) = subscribed(limits);
    let (open, _) = peer.open_stream(&subgroup(1));
    assert_eq!(peer.open_stream(&subgroup(2)).1, StreamVerdict::Park);
    let begun = peer.open_stream_without_header();
    peer.begin_header(begun);
    for request in [
        peer.endpoint
            .call(|s, now| s.subscribe(subscribe_options("live#b"), now)),
        peer.endpoint
            .call(|s, now| s.publish(publish_options("live#c", 1), now)),
        peer.endpoint
            .call(|s, now| s.publish_namespace(namespace("live"), Parameters::default(), now)),
    ] {
        assert!(request.is_ok(), "{request:?}");
    }
    peer.send(&publish_done(0, UNKNOWN_STREAM_COUNT));
    assert!(matches!(peer.event(), Event::PublishDone { .. }));
    peer.end_stream(open);
    assert_eq!(peer.endpoint.session.deadline(), None);
    peer.advance(Duration::from_secs(1 << 30));
    assert_eq!(peer.endpoint.events(), []);
    assert_eq!(peer.endpoint.closed, None);
    peer.endpoint.call(|s, _| s.unsubscribe(handle)).unwrap();
}

/// The time for streams to open is over, and none is set for those that are open to end.
#[test]
fn streams_may_be_given_all_the_time_to_end() {
    let (mut peer, handle) = subscribed(SessionLimits {
        done_drain: Duration::MAX,
        ..SessionLimits::default()
    });
    let (open, _) = peer.open_stream(&subgroup(1));
    peer.send(&publish_done(0, 2));
    peer.endpoint.events();
    peer.advance(Duration::from_secs(5));
    assert!(matches!(
        peer.open_stream(&subgroup(1)).1,
        StreamVerdict::Refuse(_)
    ));
    assert_eq!(peer.endpoint.session.deadline(), None);
    peer.end_stream(open);
    assert_eq!(peer.event(), Event::SubscriptionClosed { handle });
}

/// Limit `done_quiet`: of zero, streams that may have been reset before their header are not waited for, and others are
/// until `done_linger` is over.
#[test]
fn no_quiet_time_is_one_look_at_once_and_one_in_the_end() {
    let limits = SessionLimits {
        done_quiet: Duration::ZERO,
        ..SessionLimits::default()
    };
    let (mut peer, handle) = subscribed(limits.clone());
    let (open, _) = peer.open_stream(&subgroup(1));
    peer.send(&publish_done(0, 2));
    assert!(matches!(peer.event(), Event::PublishDone { .. }));
    let now = peer.endpoint.now;
    let linger = limits.done_linger;
    peer.endpoint.call(|s, now| s.timeout(now));
    assert_eq!(peer.endpoint.session.deadline(), Some(now + linger));
    peer.end_stream(open);
    peer.advance(linger);
    assert_eq!(peer.event(), Event::SubscriptionClosed { handle });

    let (mut peer, handle) = subscribed(limits);
    let reset = peer.open_stream_without_header();
    peer.end_stream(reset);
    peer.send(&publish_done(0, 1));
    assert!(matches!(peer.event(), Event::PublishDone { .. }));
    peer.endpoint.call(|s, now| s.timeout(now));
    assert_eq!(peer.event(), Event::SubscriptionClosed { handle });
}
