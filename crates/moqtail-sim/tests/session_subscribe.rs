//! SUBSCRIBE from both sides, its answers, its updates and its end (draft-14 §5.1, §9.7-§9.12).

use std::time::Duration;

use moqtail::{
    model::{
        ControlMessage, Filter, GroupOrder, Location, MaxRequestId, Parameter, Parameters,
        PublishDone, PublishDoneCode, RequestError, RequestId, SessionCode, SubscribeErrorCode,
        SubscribeUpdate, TrackAlias, UNKNOWN_STREAM_COUNT,
    },
    session::{CallError, Event, RangeFault, RequestFailure, RequestHandle, SubscriptionUpdate},
};
use moqtail_sim::{
    Pair, Scripted, Side,
    messages::{
        publish_done, refusal, subgroup, subscribe, subscribe_answer, subscribe_ok,
        subscribe_options, subscribe_update,
    },
};

fn server() -> Scripted {
    Scripted::server(Scripted::server_config())
}

/// A client session with a SUBSCRIBE that was sent as Request ID 0.
fn subscribing(filter: Filter) -> (Scripted, RequestHandle) {
    let mut peer = Scripted::client(Scripted::client_config());
    let mut options = subscribe_options("live#a");
    options.filter = filter;
    let handle = peer
        .endpoint
        .call(|s, now| s.subscribe(options, now))
        .unwrap();
    assert!(matches!(peer.received_one(), ControlMessage::Subscribe(_)));
    (peer, handle)
}

/// As [`subscribing`], accepted with alias 1 at {7, 3}.
fn subscribed(filter: Filter) -> (Scripted, RequestHandle) {
    let (mut peer, handle) = subscribing(filter);
    peer.send(&ControlMessage::SubscribeOk(subscribe_ok(0, 1)));
    assert!(matches!(peer.event(), Event::SubscribeAccepted(_)));
    (peer, handle)
}

/// A server session that serves SUBSCRIBE 0 with this filter of a track at {7, 3} as alias 1.
fn serving(filter: Filter) -> (Scripted, RequestHandle) {
    let mut peer = server();
    let handle = requested(&mut peer, filter);
    peer.endpoint
        .call(|s, _| s.accept_subscribe(handle, subscribe_answer(1)))
        .unwrap();
    assert!(matches!(
        peer.received_one(),
        ControlMessage::SubscribeOk(_)
    ));
    (peer, handle)
}

fn requested(peer: &mut Scripted, filter: Filter) -> RequestHandle {
    let mut message = subscribe(0, "live#a");
    message.filter = filter;
    peer.send(&ControlMessage::Subscribe(message));
    let Event::SubscribeRequested(request) = peer.event() else {
        panic!()
    };
    request.handle
}

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
    pair.call(Side::Server, |s, _| {
        s.accept_subscribe(request.handle, answer.clone())
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
    let mut peer = server();
    let handle = requested(&mut peer, Filter::LargestObject);
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
    let (mut peer, handle) = subscribing(Filter::LargestObject);
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
        let (mut peer, _) = subscribing(Filter::LargestObject);
        peer.send(&first);
        assert_eq!(peer.endpoint.closed, None);
        peer.send(&second);
        peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
    }
}

/// S9.7-03
#[test]
fn one_subscription_per_track() {
    let (mut peer, handle) = subscribed(Filter::LargestObject);
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
    let mut peer = server();
    requested(&mut peer, Filter::LargestObject);
    peer.send(&second);
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);

    let (mut peer, _) = serving(Filter::LargestObject);
    peer.send(&second);
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);

    // PUBLISH_DONE waits for a stream, so the peer still has its subscription.
    let (mut peer, handle) = serving(Filter::LargestObject);
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
    let (mut peer, _) = serving(Filter::LargestObject);
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
        .call(|s, _| s.accept_subscribe(handle, subscribe_answer(1)))
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
    let mut peer = server();
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
    requested(&mut server(), one_group);
}

/// S9.8-02
#[test]
fn an_alias_stands_for_one_track_at_a_time() {
    let (mut peer, first) = serving(Filter::LargestObject);
    peer.send(&ControlMessage::Subscribe(subscribe(2, "live#b")));
    let Event::SubscribeRequested(second) = peer.event() else {
        panic!()
    };
    let call = |peer: &mut Scripted| {
        peer.endpoint
            .call(|s, _| s.accept_subscribe(second.handle, subscribe_answer(1)))
    };
    assert_eq!(call(&mut peer), Err(CallError::AliasInUse(TrackAlias(1))));
    peer.send(&ControlMessage::Unsubscribe(RequestId(0)));
    assert_eq!(peer.event(), Event::Unsubscribed { handle: first });
    assert_eq!(call(&mut peer), Ok(()));
}

/// S9.8-03
#[test]
fn an_alias_of_another_active_track_closes() {
    let (mut peer, _) = subscribed(Filter::LargestObject);
    peer.endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#b"), now))
        .unwrap();
    peer.send(&ControlMessage::SubscribeOk(subscribe_ok(2, 1)));
    peer.assert_closed(SessionCode::DUPLICATE_TRACK_ALIAS);
}

/// S9.8-03: an alias is free again when its track has ended, and after the end of its subscription here.
#[test]
fn an_alias_can_move_to_another_track() {
    let (mut peer, first) = subscribed(Filter::LargestObject);
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
    let mut peer = server();
    let handle = requested(&mut peer, Filter::LargestObject);
    peer.send(&ControlMessage::Unsubscribe(RequestId(0)));
    assert!(matches!(
        peer.received_one(),
        ControlMessage::SubscribeError(_)
    ));
    assert_eq!(peer.event(), Event::Unsubscribed { handle });
    // The application's own answer comes too late, which harms nothing.
    let late = peer
        .endpoint
        .call(|s, _| s.accept_subscribe(handle, subscribe_answer(1)));
    assert_eq!(late, Err(CallError::NoSuchRequest(handle)));

    for answer in [
        ControlMessage::SubscribeOk(subscribe_ok(0, 1)),
        ControlMessage::SubscribeError(refusal(0, SubscribeErrorCode::INTERNAL_ERROR)),
    ] {
        let (mut peer, handle) = subscribing(Filter::LargestObject);
        peer.endpoint.call(|s, _| s.unsubscribe(handle)).unwrap();
        assert_eq!(peer.received(), [ControlMessage::Unsubscribe(RequestId(0))]);
        peer.send(&answer);
        peer.assert_quiet();
    }
}

/// S2.5-10
#[test]
fn a_malformed_track_is_left() {
    let (mut peer, handle) = subscribed(Filter::LargestObject);
    peer.endpoint
        .call(|s, _| s.malformed_track(handle))
        .unwrap();
    assert_eq!(peer.received(), [ControlMessage::Unsubscribe(RequestId(0))]);
}

/// S9.11-01, S9.12-03 [A06][A47]: messages that crossed the end of a subscription are ignored.
#[test]
fn messages_about_an_ended_subscription_are_races() {
    let (mut peer, handle) = subscribed(Filter::LargestObject);
    peer.endpoint.call(|s, _| s.unsubscribe(handle)).unwrap();
    peer.received();
    peer.send(&publish_done(0, 0));
    peer.assert_quiet();

    let (mut peer, handle) = serving(Filter::LargestObject);
    let status = PublishDoneCode::TRACK_ENDED;
    peer.endpoint
        .call(|s, _| s.finish_publish(handle, status, ""))
        .unwrap();
    peer.received();
    peer.send(&ControlMessage::Unsubscribe(RequestId(0)));
    peer.send(&ControlMessage::SubscribeUpdate(subscribe_update(2, 0)));
    peer.assert_quiet();
}

// ---- SUBSCRIBE_UPDATE ----

fn sent_update(peer: &mut Scripted) -> SubscribeUpdate {
    let message = peer.received_one();
    let ControlMessage::SubscribeUpdate(update) = message else {
        panic!("{message:?}")
    };
    update
}

/// S5.1-07, S9.10-01, S9.10-02, S9.10-07, S9.10-09, S9.10-10
#[test]
fn an_update_changes_what_it_names_and_repeats_the_rest() {
    let (mut peer, handle) = subscribed(Filter::LargestObject);
    let update = SubscriptionUpdate {
        forward: Some(false),
        ..SubscriptionUpdate::default()
    };
    peer.endpoint
        .call(|s, _| s.update_subscription(handle, update))
        .unwrap();
    let sent = sent_update(&mut peer);
    assert_eq!(
        (sent.request_id, sent.subscription),
        (RequestId(2), RequestId(0))
    );
    assert_eq!((sent.start, sent.end_group), (Location::new(7, 4), None));
    assert_eq!((sent.subscriber_priority, sent.forward), (128, false));

    let update = SubscriptionUpdate {
        start: Some(Location::new(8, 0)),
        end_group: Some(9),
        priority: Some(1),
        parameters: Parameters(vec![Parameter::DeliveryTimeout(500)]),
        ..SubscriptionUpdate::default()
    };
    peer.endpoint
        .call(|s, _| s.update_subscription(handle, update))
        .unwrap();
    let sent = sent_update(&mut peer);
    assert_eq!((sent.start, sent.end_group), (Location::new(8, 0), Some(9)));
    assert_eq!((sent.subscriber_priority, sent.forward), (1, false));
    assert_eq!(
        sent.parameters.delivery_timeout(),
        Some(Duration::from_millis(500))
    );
    // It is never answered, and its Request ID never stands in an answer.
    peer.send(&ControlMessage::SubscribeOk(subscribe_ok(4, 9)));
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
}

/// S9.10-03, S9.10-04, S9.10-06
#[test]
fn own_updates_cannot_widen() {
    let filter = Filter::AbsoluteRange {
        start: Location::new(5, 0),
        end_group: 9,
    };
    let (mut peer, handle) = subscribed(filter);
    let mut refused = |start: Option<(u64, u64)>, end_group| {
        let start = start.map(|(group, object)| Location::new(group, object));
        let update = SubscriptionUpdate {
            start,
            end_group,
            ..SubscriptionUpdate::default()
        };
        peer.endpoint
            .call(|s, _| s.update_subscription(handle, update))
            .unwrap_err()
    };
    let error = refused(Some((4, 9)), None);
    assert!(matches!(
        error,
        CallError::Range(RangeFault::StartLowered { .. })
    ));
    assert!(matches!(
        refused(None, Some(10)),
        CallError::Range(RangeFault::EndRaised { .. })
    ));
    let error = refused(Some((8, 0)), Some(7));
    assert!(matches!(
        error,
        CallError::Range(RangeFault::EndBeforeStart { .. })
    ));
    peer.assert_quiet();
}

/// Updates that wait, for the answer or for credit, are joined.
#[test]
fn updates_before_the_answer_are_sent_after_it_as_one() {
    let (mut peer, handle) = subscribing(Filter::LargestObject);
    let low = SubscriptionUpdate {
        start: Some(Location::new(0, 0)),
        parameters: Parameters(vec![Parameter::DeliveryTimeout(700)]),
        ..SubscriptionUpdate::default()
    };
    let calm = SubscriptionUpdate {
        priority: Some(200),
        ..SubscriptionUpdate::default()
    };
    for update in [low, calm] {
        peer.endpoint
            .call(|s, _| s.update_subscription(handle, update))
            .unwrap();
    }
    peer.assert_quiet();
    peer.send(&ControlMessage::SubscribeOk(subscribe_ok(0, 1)));
    let sent = sent_update(&mut peer);
    // Not below the start that the answer gave.
    assert_eq!(sent.start, Location::new(7, 4));
    assert_eq!(sent.subscriber_priority, 200);
    assert_eq!(
        sent.parameters.delivery_timeout(),
        Some(Duration::from_millis(700))
    );
}

/// S9.5-04, S9.5-05: updates need credit, too.
#[test]
fn updates_wait_for_credit_and_go_with_their_subscription() {
    let mut peer = Scripted::client_with_limit(Scripted::client_config(), 2);
    let options = subscribe_options("live#a");
    let handle = peer
        .endpoint
        .call(|s, now| s.subscribe(options, now))
        .unwrap();
    peer.send(&ControlMessage::SubscribeOk(subscribe_ok(0, 1)));
    for priority in [1, 2, 3] {
        let update = SubscriptionUpdate {
            priority: Some(priority),
            ..Default::default()
        };
        peer.endpoint
            .call(|s, _| s.update_subscription(handle, update))
            .unwrap();
    }
    assert!(matches!(
        &peer.received()[..],
        [
            ControlMessage::Subscribe(_),
            ControlMessage::RequestsBlocked(_)
        ]
    ));
    assert_eq!(peer.endpoint.session.load().queued_requests, 1);
    peer.endpoint.call(|s, _| s.unsubscribe(handle)).unwrap();
    peer.received();
    peer.send(&ControlMessage::MaxRequestId(MaxRequestId { limit: 4 }));
    assert_eq!(peer.received(), []);
}

/// S9.10-07, S9.10-10: what the application of a publisher is told.
#[test]
fn updates_of_the_peer_are_told_and_never_answered() {
    let (mut peer, handle) = serving(Filter::LargestObject);
    let mut update = subscribe_update(2, 0);
    update.start = Location::new(9, 0);
    update.end_group = Some(12);
    update.subscriber_priority = 3;
    update.forward = false;
    peer.send(&ControlMessage::SubscribeUpdate(update));
    let Event::SubscriptionUpdated(change) = peer.event() else {
        panic!()
    };
    assert_eq!(change.handle, handle);
    assert_eq!(
        (change.start, change.end_group),
        (Location::new(9, 0), Some(12))
    );
    assert_eq!((change.priority, change.forward), (3, false));
    assert_eq!(peer.received(), []);
}

/// S9.10-03, S9.10-04, S9.10-06 [A22]
#[test]
fn updates_of_the_peer_that_widen_close() {
    let range = Filter::AbsoluteRange {
        start: Location::new(5, 0),
        end_group: 9,
    };
    for (start, end_group) in [
        ((4, 9), Some(9)),
        ((5, 0), Some(10)),
        ((5, 0), None),
        ((8, 0), Some(7)),
    ] {
        let (mut peer, _) = serving(range);
        let mut update = subscribe_update(2, 0);
        update.start = Location::new(start.0, start.1);
        update.end_group = end_group;
        peer.send(&ControlMessage::SubscribeUpdate(update));
        peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
    }
    // The start of a relative filter is the one that SUBSCRIBE_OK gave.
    for (filter, start) in [
        (Filter::LargestObject, Location::new(7, 3)),
        (Filter::NextGroupStart, Location::new(7, 9)),
    ] {
        let (mut peer, _) = serving(filter);
        let mut update = subscribe_update(2, 0);
        update.start = start;
        peer.send(&ControlMessage::SubscribeUpdate(update));
        peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
    }
}

/// S9.10-05
#[test]
fn an_update_of_what_never_was_a_subscription_closes() {
    for subscription in [2, 400, 1] {
        let (mut peer, _) = serving(Filter::LargestObject);
        peer.send(&ControlMessage::SubscribeUpdate(subscribe_update(
            2,
            subscription,
        )));
        peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
    }
}

/// An update may come before this side has answered; the application hears of it after its answer.
#[test]
fn updates_of_the_peer_before_the_answer_are_folded_into_one() {
    let mut peer = server();
    let handle = requested(&mut peer, Filter::LargestObject);
    let mut first = subscribe_update(2, 0);
    first.start = Location::new(0, 0);
    first.parameters = Parameters(vec![Parameter::DeliveryTimeout(500)]);
    let mut second = subscribe_update(4, 0);
    second.start = Location::new(2, 0);
    second.subscriber_priority = 1;
    peer.send(&ControlMessage::SubscribeUpdate(first));
    peer.send(&ControlMessage::SubscribeUpdate(second));
    assert_eq!(peer.endpoint.events(), []);
    peer.endpoint
        .call(|s, _| s.accept_subscribe(handle, subscribe_answer(1)))
        .unwrap();
    let Event::SubscriptionUpdated(change) = peer.event() else {
        panic!()
    };
    assert_eq!((change.start, change.priority), (Location::new(7, 4), 1));
    assert_eq!(
        change.parameters.delivery_timeout(),
        Some(Duration::from_millis(500))
    );
}

// ---- PUBLISH_DONE ----

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
    let (mut peer, handle) = serving(Filter::LargestObject);
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

/// S9.7-19, S9.12-08
#[test]
fn a_datagram_track_ends_with_a_stream_count_of_zero() {
    let (mut peer, handle) = serving(Filter::LargestObject);
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
    let (mut peer, handle) = serving(Filter::LargestObject);
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
    let mut peer = server();
    let handle = requested(&mut peer, Filter::LargestObject);
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
    let (mut peer, handle) = subscribed(Filter::LargestObject);
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
    let (mut peer, handle) = subscribed(Filter::LargestObject);
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
        let (mut peer, handle) = subscribed(Filter::LargestObject);
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
    let (mut peer, handle) = subscribed(Filter::LargestObject);
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
    let (mut peer, _) = subscribed(Filter::LargestObject);
    let (_open, _) = peer.open_stream(&subgroup(1));
    peer.send(&publish_done(0, 1));
    let (_, verdict) = peer.open_stream(&subgroup(1));
    assert!(matches!(verdict, StreamVerdict::Refuse(_)));
    assert_eq!(peer.endpoint.closed, None);
}

#[test]
fn publish_done_in_the_wrong_state_closes() {
    let (mut peer, _) = subscribing(Filter::LargestObject);
    peer.send(&publish_done(0, 0));
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
    let (mut peer, _) = subscribed(Filter::LargestObject);
    peer.send(&publish_done(0, 3));
    peer.send(&publish_done(0, 3));
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
}

/// A subscription that drains can be left, and its track asked for again, without a word to the peer.
#[test]
fn leaving_a_subscription_that_is_done_says_nothing() {
    let (mut peer, handle) = subscribed(Filter::LargestObject);
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
