//! SUBSCRIBE from both sides, its answers, its updates and its end (draft-14 §5.1, §9.7-§9.12).

use std::time::Duration;

use moqtail::{
    model::{
        ControlMessage, Filter, GroupOrder, Location, Parameter, Parameters, PublishDoneCode,
        RequestError, RequestId, SessionCode, SubscribeErrorCode, TrackAlias, UNKNOWN_STREAM_COUNT,
    },
    session::{CallError, Event, RangeFault, RequestFailure},
};
use moqtail_sim::{
    Pair, Scripted, Side,
    messages::{
        publish_done, refusal, subscribe, subscribe_answer, subscribe_ok, subscribe_options,
        subscribe_update,
    },
};

/// S5.1-01, S5.1-08, S5.1-10, S9.7-20: the story from both sides.
#[test]
fn a_subscription_is_asked_for_answered_and_left() {
    let mut pair = Pair::established();
    let options = subscribe_options("live/cam#video");
    let ours = pair
        .call(Side::Client, |s, now| s.subscribe(options.clone(), now))
        .unwrap();
    pair.settle();
    let Some(Event::SubscribeRequested(request)) = pair.side(Side::Server).event() else {
        panic!()
    };
    assert_eq!(request.track, options.track);
    assert_eq!((request.priority, request.forward), (128, true));
    assert_eq!(
        (request.filter, request.group_order),
        (Filter::LargestObject, None)
    );

    let mut answer = subscribe_answer(42);
    answer.group_order = GroupOrder::Descending;
    answer.expires = Some(Duration::from_secs(60));
    answer.parameters = Parameters(vec![Parameter::MaxCacheDuration(5000)]);
    pair.call(Side::Server, |s, now| {
        s.accept_subscribe(request.handle, answer.clone(), now)
    })
    .unwrap();
    pair.settle();
    let Some(Event::SubscribeAccepted(ok)) = pair.side(Side::Client).event() else {
        panic!()
    };
    assert_eq!((ok.handle, ok.alias), (ours, TrackAlias(42)));
    assert_eq!(
        (ok.expires, ok.group_order),
        (answer.expires, GroupOrder::Descending)
    );
    assert_eq!(
        (ok.largest, ok.parameters),
        (answer.largest, answer.parameters)
    );

    pair.call(Side::Client, |s, _| s.unsubscribe(ours)).unwrap();
    pair.settle();
    let theirs = request.handle;
    assert_eq!(
        pair.side(Side::Server).events(),
        [Event::Unsubscribed { handle: theirs }]
    );
    for side in [Side::Client, Side::Server] {
        let load = pair.side(side).session.load();
        assert_eq!((load.subscriptions, load.publications), (0, 0), "{side:?}");
        assert_eq!((load.timers, load.peer_requests), (0, 0), "{side:?}");
    }
}

/// What a publisher needs is given to no peer that only refuses.
#[test]
fn a_peer_is_a_publisher_when_it_has_accepted() {
    let mut pair = Pair::established();
    for accepts in [false, true] {
        let options = subscribe_options("live#a");
        pair.call(Side::Client, |s, now| s.subscribe(options, now))
            .unwrap();
        pair.settle();
        assert!(!pair.side(Side::Client).session.has_subscribed());
        let Some(Event::SubscribeRequested(request)) = pair.side(Side::Server).event() else {
            panic!()
        };
        pair.call(Side::Server, |s, now| match accepts {
            true => s.accept_subscribe(request.handle, subscribe_answer(42), now),
            false => s.reject_subscribe(request.handle, SubscribeErrorCode::UNAUTHORIZED, ""),
        })
        .unwrap();
        pair.settle();
        assert_eq!(pair.side(Side::Client).session.has_subscribed(), accepts);
        pair.side(Side::Client).events();
    }
}

/// S9.9-01, S9.9-02, S5.1-15, S3.4-13
#[test]
fn a_refused_subscription_is_over_and_can_be_asked_for_again() {
    let mut pair = Pair::established();
    for _ in 0..2 {
        let options = subscribe_options("live#a");
        let ours = pair
            .call(Side::Client, |s, now| s.subscribe(options, now))
            .unwrap();
        pair.settle();
        let Some(Event::SubscribeRequested(request)) = pair.side(Side::Server).event() else {
            panic!()
        };
        let code = SubscribeErrorCode::TRACK_DOES_NOT_EXIST;
        pair.call(Side::Server, |s, _| {
            s.reject_subscribe(request.handle, code, "not found")
        })
        .unwrap();
        pair.settle();
        let failure = RequestFailure::Refused {
            code,
            reason: "not found".into(),
        };
        let rejected = Event::SubscribeRejected {
            handle: ours,
            failure,
        };
        assert_eq!(pair.side(Side::Client).events(), [rejected]);
    }
}

/// S5.1-21
#[test]
fn nothing_can_be_sent_for_a_refused_subscription() {
    let (mut peer, handle) = Scripted::requested(Filter::LargestObject);
    let code = SubscribeErrorCode::UNAUTHORIZED;
    peer.endpoint
        .call(|s, _| s.reject_subscribe(handle, code, "no"))
        .unwrap();
    let opened = peer.endpoint.call(|s, _| s.outbound_stream_opened(handle));
    assert_eq!(opened, Err(CallError::NoSuchRequest(handle)));
}

/// S9.9-03
#[test]
fn an_unknown_error_code_is_passed_on() {
    let (mut peer, handle) = Scripted::subscribing(Filter::LargestObject);
    let code = SubscribeErrorCode(0x7777);
    peer.send(&ControlMessage::SubscribeError(refusal(0, code)));
    let failure = RequestFailure::Refused {
        code,
        reason: "no".into(),
    };
    assert_eq!(peer.event(), Event::SubscribeRejected { handle, failure });
}

/// S5.1-04
#[test]
fn a_second_answer_to_subscribe_closes() {
    let ok = || ControlMessage::SubscribeOk(subscribe_ok(0, 1));
    let error = || ControlMessage::SubscribeError(refusal(0, SubscribeErrorCode::TIMEOUT));
    for (first, second) in [
        (ok(), ok()),
        (ok(), error()),
        (error(), ok()),
        (error(), error()),
    ] {
        let (mut peer, _) = Scripted::subscribing(Filter::LargestObject);
        peer.send(&first);
        assert_eq!(peer.endpoint.closed, None);
        peer.send(&second);
        peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
    }
}

/// S9.7-03
#[test]
fn one_subscription_per_track() {
    let (mut peer, handle) = Scripted::subscribed(Filter::LargestObject);
    let again = peer
        .endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#a"), now));
    assert_eq!(again, Err(CallError::AlreadySubscribed(handle)));
    // Once left, it can be asked for again at once, with the same alias.
    peer.endpoint.call(|s, _| s.unsubscribe(handle)).unwrap();
    let again = peer
        .endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#a"), now))
        .unwrap();
    peer.send(&ControlMessage::SubscribeOk(subscribe_ok(2, 1)));
    let Event::SubscribeAccepted(ok) = peer.event() else {
        panic!()
    };
    assert_eq!(ok.handle, again);
}

/// S9.7-04 [A24]
#[test]
fn a_second_subscribe_for_a_track_closes_in_any_state() {
    let second = ControlMessage::Subscribe(subscribe(2, "live#a"));
    let (mut peer, _) = Scripted::requested(Filter::LargestObject);
    peer.send(&second);
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);

    let (mut peer, _) = Scripted::serving(Filter::LargestObject);
    peer.send(&second);
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);

    // PUBLISH_DONE waits for a stream, so the peer still has its subscription.
    let (mut peer, handle) = Scripted::serving(Filter::LargestObject);
    peer.endpoint
        .call(|s, _| s.outbound_stream_opened(handle))
        .unwrap();
    let status = PublishDoneCode::TRACK_ENDED;
    peer.endpoint
        .call(|s, _| s.finish_publish(handle, status, ""))
        .unwrap();
    peer.send(&second);
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
}

/// S9.7-04: after the end of the first, the second is a new one.
#[test]
fn a_track_can_be_subscribed_again_after_unsubscribe_and_publish_done() {
    let (mut peer, _) = Scripted::serving(Filter::LargestObject);
    peer.send(&ControlMessage::Unsubscribe(RequestId(0)));
    peer.send(&ControlMessage::Subscribe(subscribe(2, "live#a")));
    let [
        Event::Unsubscribed { .. },
        Event::SubscribeRequested(second),
    ] = &peer.endpoint.events()[..]
    else {
        panic!()
    };
    let handle = second.handle;
    peer.endpoint
        .call(|s, now| s.accept_subscribe(handle, subscribe_answer(1), now))
        .unwrap();
    let status = PublishDoneCode::TRACK_ENDED;
    peer.endpoint
        .call(|s, _| s.finish_publish(handle, status, ""))
        .unwrap();
    peer.send(&ControlMessage::Subscribe(subscribe(4, "live#a")));
    assert!(matches!(peer.event(), Event::SubscribeRequested(_)));
}

/// S9.7-11 [A22]
#[test]
fn a_backward_range_is_refused_without_asking_the_application() {
    let backward = Filter::AbsoluteRange {
        start: Location::new(5, 0),
        end_group: 4,
    };
    let mut peer = Scripted::server(Scripted::server_config());
    let mut message = subscribe(0, "live#a");
    message.filter = backward;
    peer.send(&ControlMessage::Subscribe(message));
    assert_eq!(peer.endpoint.events(), []);
    let ControlMessage::SubscribeError(RequestError {
        request_id, code, ..
    }) = peer.received_one()
    else {
        panic!()
    };
    assert_eq!(
        (request_id, code),
        (RequestId(0), SubscribeErrorCode::INVALID_RANGE)
    );
    // Nothing of it is left.
    peer.send(&ControlMessage::Subscribe(subscribe(2, "live#a")));
    assert!(matches!(peer.event(), Event::SubscribeRequested(_)));

    let mut options = subscribe_options("live#b");
    options.filter = backward;
    let refused = peer.endpoint.call(|s, now| s.subscribe(options, now));
    assert!(matches!(
        refused,
        Err(CallError::Range(RangeFault::EndBeforeStart { .. }))
    ));
}

/// S9.7-10
#[test]
fn a_range_of_one_group_is_fine() {
    let one_group = Filter::AbsoluteRange {
        start: Location::new(9, 5),
        end_group: 9,
    };
    Scripted::requested(one_group);
}

/// S9.8-02
#[test]
fn an_alias_stands_for_one_track_at_a_time() {
    let (mut peer, first) = Scripted::serving(Filter::LargestObject);
    peer.send(&ControlMessage::Subscribe(subscribe(2, "live#b")));
    let Event::SubscribeRequested(second) = peer.event() else {
        panic!()
    };
    let call = |peer: &mut Scripted| {
        peer.endpoint
            .call(|s, now| s.accept_subscribe(second.handle, subscribe_answer(1), now))
    };
    assert_eq!(call(&mut peer), Err(CallError::AliasInUse(TrackAlias(1))));
    peer.send(&ControlMessage::Unsubscribe(RequestId(0)));
    assert_eq!(peer.event(), Event::Unsubscribed { handle: first });
    assert_eq!(call(&mut peer), Ok(()));
}

/// S9.8-03
#[test]
fn an_alias_of_another_active_track_closes() {
    let (mut peer, _) = Scripted::subscribed(Filter::LargestObject);
    peer.endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#b"), now))
        .unwrap();
    peer.send(&ControlMessage::SubscribeOk(subscribe_ok(2, 1)));
    peer.assert_closed(SessionCode::DUPLICATE_TRACK_ALIAS);
}

/// S9.8-03: an alias is free again when its track has ended, and after the end of its subscription here.
#[test]
fn an_alias_can_move_to_another_track() {
    let (mut peer, first) = Scripted::subscribed(Filter::LargestObject);
    let second = peer
        .endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#b"), now))
        .unwrap();
    peer.send(&publish_done(0, UNKNOWN_STREAM_COUNT));
    assert!(matches!(peer.event(), Event::PublishDone { .. }));
    peer.send(&ControlMessage::SubscribeOk(subscribe_ok(2, 1)));
    let [closed, Event::SubscribeAccepted(ok)] = &peer.endpoint.events()[..] else {
        panic!()
    };
    assert_eq!(*closed, Event::SubscriptionClosed { handle: first });
    assert_eq!(ok.handle, second);
    peer.endpoint.call(|s, _| s.unsubscribe(second)).unwrap();
    peer.endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#c"), now))
        .unwrap();
    peer.send(&ControlMessage::SubscribeOk(subscribe_ok(4, 1)));
    assert!(matches!(peer.event(), Event::SubscribeAccepted(_)));
}

/// S5.1-01: an answer is owed even when nobody waits for it any more.
#[test]
fn unsubscribing_before_the_answer_ends_both_sides() {
    let (mut peer, handle) = Scripted::requested(Filter::LargestObject);
    peer.send(&ControlMessage::Unsubscribe(RequestId(0)));
    assert!(matches!(
        peer.received_one(),
        ControlMessage::SubscribeError(_)
    ));
    assert_eq!(peer.event(), Event::Unsubscribed { handle });
    // The application's own answer comes too late, which harms nothing.
    let late = peer
        .endpoint
        .call(|s, now| s.accept_subscribe(handle, subscribe_answer(1), now));
    assert_eq!(late, Err(CallError::NoSuchRequest(handle)));

    for answer in [
        ControlMessage::SubscribeOk(subscribe_ok(0, 1)),
        ControlMessage::SubscribeError(refusal(0, SubscribeErrorCode::INTERNAL_ERROR)),
    ] {
        let (mut peer, handle) = Scripted::subscribing(Filter::LargestObject);
        peer.endpoint.call(|s, _| s.unsubscribe(handle)).unwrap();
        assert_eq!(peer.received(), [ControlMessage::Unsubscribe(RequestId(0))]);
        peer.send(&answer);
        peer.assert_quiet();
    }
}

/// S2.5-10
#[test]
fn a_malformed_track_is_left() {
    let (mut peer, handle) = Scripted::subscribed(Filter::LargestObject);
    peer.endpoint
        .call(|s, _| s.malformed_track(handle))
        .unwrap();
    assert_eq!(peer.received(), [ControlMessage::Unsubscribe(RequestId(0))]);
}

/// S9.11-01, S9.12-03 [A06][A47]: messages that crossed the end of a subscription are ignored.
#[test]
fn messages_about_an_ended_subscription_are_races() {
    let (mut peer, handle) = Scripted::subscribed(Filter::LargestObject);
    peer.endpoint.call(|s, _| s.unsubscribe(handle)).unwrap();
    peer.received();
    peer.send(&publish_done(0, 0));
    peer.assert_quiet();

    let (mut peer, handle) = Scripted::serving(Filter::LargestObject);
    let status = PublishDoneCode::TRACK_ENDED;
    peer.endpoint
        .call(|s, _| s.finish_publish(handle, status, ""))
        .unwrap();
    peer.received();
    peer.send(&ControlMessage::Unsubscribe(RequestId(0)));
    peer.send(&ControlMessage::SubscribeUpdate(subscribe_update(2, 0)));
    peer.assert_quiet();
}
