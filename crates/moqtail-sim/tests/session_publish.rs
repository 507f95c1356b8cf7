//! PUBLISH from both sides, and where it meets SUBSCRIBE for the same track (draft-14 §5.1, §9.13-§9.15).

use std::time::Duration;

use moqtail::{
    model::{
        AuthToken, ControlMessage, Filter, GroupOrder, Location, MaxRequestId, Parameter,
        Parameters, PublishDoneCode, PublishErrorCode, RequestId, SessionCode, TrackAlias,
    },
    session::{
        CallError, Event, RangeFault, RequestFailure, RequestHandle, StreamVerdict,
        SubscriptionUpdate,
    },
};
use moqtail_sim::{
    Pair, Scripted, Side,
    messages::{
        publish, publish_answer, publish_done, publish_ok, publish_options, refusal, subgroup,
        subscribe_update, track,
    },
};

fn server() -> Scripted {
    Scripted::server(Scripted::server_config())
}

/// A server session that was offered `live#a` as alias 1 with Request ID 0.
fn offered() -> (Scripted, RequestHandle) {
    let mut peer = server();
    peer.send(&ControlMessage::Publish(publish(0, "live#a", 1)));
    let Event::PublishRequested(request) = peer.event() else {
        panic!()
    };
    (peer, request.handle)
}

/// As [`offered`], accepted.
fn taking() -> (Scripted, RequestHandle) {
    let (mut peer, handle) = offered();
    peer.endpoint
        .call(|s, now| s.accept_publish(handle, publish_answer(), now))
        .expect("offer to accept");
    assert!(matches!(peer.received_one(), ControlMessage::PublishOk(_)));
    (peer, handle)
}

/// A client session that has offered `live#a` as alias 1 with Request ID 0.
fn offering() -> (Scripted, RequestHandle) {
    let mut peer = Scripted::client(Scripted::client_config());
    let options = publish_options("live#a", 1);
    let handle = peer
        .endpoint
        .call(|s, now| s.publish(options, now))
        .expect("track to offer");
    assert!(matches!(peer.received_one(), ControlMessage::Publish(_)));
    (peer, handle)
}

/// As [`offering`], taken.
fn publishing() -> (Scripted, RequestHandle) {
    let (mut peer, handle) = offering();
    peer.send(&ControlMessage::PublishOk(publish_ok(0)));
    assert!(matches!(peer.event(), Event::PublishAccepted(_)));
    (peer, handle)
}

/// S5.1-03, S5.1-08, S5.1-09, S9.13-01, S9.14-01, S9.14-03: the story from both sides.
#[test]
fn a_track_is_offered_taken_updated_and_done() {
    let mut pair = Pair::established();
    let mut options = publish_options("live/cam#video", 9);
    options.parameters = Parameters(vec![Parameter::MaxCacheDuration(1000)]);
    let ours = pair
        .call(Side::Client, |s, now| s.publish(options.clone(), now))
        .unwrap();
    pair.settle();
    let Some(Event::PublishRequested(request)) = pair.side(Side::Server).event() else {
        panic!()
    };
    assert_eq!(
        (&request.track, request.alias),
        (&options.track, options.alias)
    );
    assert_eq!((request.largest, request.forward), (options.largest, true));
    assert_eq!(request.parameters, options.parameters);

    let mut answer = publish_answer();
    answer.forward = false;
    answer.priority = 5;
    answer.group_order = GroupOrder::Descending;
    answer.filter = Filter::AbsoluteStart {
        start: Location::new(9, 0),
    };
    let theirs = request.handle;
    pair.call(Side::Server, |s, now| {
        s.accept_publish(theirs, answer.clone(), now)
    })
    .unwrap();
    pair.settle();
    let Some(Event::PublishAccepted(ok)) = pair.side(Side::Client).event() else {
        panic!()
    };
    assert_eq!((ok.handle, ok.forward, ok.priority), (ours, false, 5));
    assert_eq!(
        (ok.group_order, ok.filter),
        (GroupOrder::Descending, answer.filter)
    );

    let update = SubscriptionUpdate {
        forward: Some(true),
        ..Default::default()
    };
    pair.call(Side::Server, |s, _| s.update_subscription(theirs, update))
        .unwrap();
    pair.settle();
    let Some(Event::SubscriptionUpdated(change)) = pair.side(Side::Client).event() else {
        panic!()
    };
    assert_eq!(
        (change.handle, change.forward, change.priority),
        (ours, true, 5)
    );
    assert_eq!(change.start, Location::new(9, 0));

    let stream = pair.open_stream(Side::Client, ours, subgroup(9));
    pair.end_stream(Side::Client, ours, stream);
    let status = PublishDoneCode::TRACK_ENDED;
    pair.call(Side::Client, |s, _| s.finish_publish(ours, status, "over"))
        .unwrap();
    pair.settle();
    let done = Event::PublishDone {
        handle: theirs,
        status,
        stream_count: Some(1),
        reason: "over".into(),
    };
    let closed = Event::SubscriptionClosed { handle: theirs };
    assert_eq!(pair.side(Side::Server).events(), [done, closed]);
    for side in [Side::Client, Side::Server] {
        let load = pair.side(side).session.load();
        assert_eq!(
            (load.subscriptions, load.publications, load.streams),
            (0, 0, 0),
            "{side:?}"
        );
        assert_eq!((load.timers, load.peer_requests), (0, 0), "{side:?}");
    }
}

/// S9.13-09, S9.15-01, S9.15-02
#[test]
fn an_unwanted_track_is_refused_and_its_streams_stopped() {
    let (mut peer, handle) = offered();
    let (early, verdict) = peer.open_stream(&subgroup(1));
    assert_eq!(verdict, StreamVerdict::Park);
    let code = PublishErrorCode::UNINTERESTED;
    peer.endpoint
        .call(|s, _| s.reject_publish(handle, code, "no"))
        .unwrap();
    assert_eq!(
        peer.received(),
        [ControlMessage::PublishError(refusal(0, code))]
    );
    assert_eq!(
        peer.endpoint
            .stopped
            .iter()
            .map(|(s, _)| *s)
            .collect::<Vec<_>>(),
        [early]
    );
    // Late ones too (S10.1-02).
    assert!(matches!(
        peer.open_stream(&subgroup(1)).1,
        StreamVerdict::Refuse(_)
    ));
    // It is answered once.
    let again = peer
        .endpoint
        .call(|s, now| s.accept_publish(handle, publish_answer(), now));
    assert_eq!(again, Err(CallError::NoSuchRequest(handle)));
    peer.send(&publish_done(0, 1));
    assert_eq!(peer.endpoint.events(), []);
}

/// S5.1-14, S9.13-07
#[test]
fn streams_may_come_before_publish_ok_and_are_delivered_after_it() {
    let (mut peer, handle) = offered();
    let (first, _) = peer.open_stream(&subgroup(1));
    let (second, _) = peer.open_stream(&subgroup(1));
    assert_eq!(peer.endpoint.session.datagram_alias(TrackAlias(1)), None);
    peer.endpoint
        .call(|s, now| s.accept_publish(handle, publish_answer(), now))
        .unwrap();
    assert_eq!(peer.endpoint.resumed, [(first, handle), (second, handle)]);
    assert_eq!(
        peer.open_stream(&subgroup(1)).1,
        StreamVerdict::Deliver(handle)
    );
    assert_eq!(
        peer.endpoint.session.datagram_alias(TrackAlias(1)),
        Some(handle)
    );
}

/// S9.13-07: on the publisher's side.
#[test]
fn a_publisher_may_open_streams_once_publish_is_sent() {
    let mut peer = Scripted::client_with_limit(Scripted::client_config(), 0);
    let options = publish_options("live#a", 1);
    let handle = peer
        .endpoint
        .call(|s, now| s.publish(options, now))
        .unwrap();
    let opened = peer.endpoint.call(|s, _| s.outbound_stream_opened(handle));
    assert_eq!(opened, Err(CallError::WrongState(handle)));
    peer.send(&ControlMessage::MaxRequestId(MaxRequestId { limit: 2 }));
    assert!(peer.endpoint.session.is_sent(handle));
    assert_eq!(
        peer.endpoint.call(|s, _| s.outbound_stream_opened(handle)),
        Ok(())
    );
}

/// S5.1-06
#[test]
fn a_second_answer_to_publish_closes() {
    let ok = || ControlMessage::PublishOk(publish_ok(0));
    let error = || ControlMessage::PublishError(refusal(0, PublishErrorCode::UNINTERESTED));
    for (first, second) in [
        (ok(), ok()),
        (ok(), error()),
        (error(), ok()),
        (error(), error()),
    ] {
        let (mut peer, _) = offering();
        peer.send(&first);
        assert_eq!(peer.endpoint.closed, None);
        peer.send(&second);
        peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
    }
}

#[test]
fn a_refused_offer_is_told_and_over() {
    let (mut peer, handle) = offering();
    peer.endpoint
        .call(|s, _| s.outbound_stream_opened(handle))
        .unwrap();
    let code = PublishErrorCode::UNAUTHORIZED;
    peer.send(&ControlMessage::PublishError(refusal(0, code)));
    let failure = RequestFailure::Refused {
        code,
        reason: "no".into(),
    };
    assert_eq!(peer.event(), Event::PublishRejected { handle, failure });
    // The shell resets its streams; no PUBLISH_DONE is due.
    peer.endpoint.call(|s, _| s.outbound_stream_closed(handle));
    peer.assert_quiet();
    assert_eq!(peer.endpoint.session.load().publications, 0);
}

/// [A22]: no answer is possible.
#[test]
fn a_backward_range_in_publish_ok_closes() {
    let (mut peer, _) = offering();
    let mut ok = publish_ok(0);
    ok.filter = Filter::AbsoluteRange {
        start: Location::new(5, 0),
        end_group: 4,
    };
    peer.send(&ControlMessage::PublishOk(ok));
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);

    let (mut peer, handle) = offered();
    let mut answer = publish_answer();
    answer.filter = Filter::AbsoluteRange {
        start: Location::new(5, 0),
        end_group: 4,
    };
    let refused = peer
        .endpoint
        .call(|s, now| s.accept_publish(handle, answer, now));
    assert!(matches!(
        refused,
        Err(CallError::Range(RangeFault::EndBeforeStart { .. }))
    ));
    peer.assert_quiet();
}

/// S9.13-02, S9.8-02: aliases of PUBLISH and SUBSCRIBE_OK are one space.
#[test]
fn an_own_alias_in_use_cannot_be_published() {
    let (mut peer, served) = Scripted::serving(Filter::LargestObject);
    let taken = peer
        .endpoint
        .call(|s, now| s.publish(publish_options("live#b", 1), now));
    assert_eq!(taken, Err(CallError::AliasInUse(TrackAlias(1))));
    let same = peer
        .endpoint
        .call(|s, now| s.publish(publish_options("live#a", 2), now));
    assert_eq!(same, Err(CallError::AlreadyServed(served)));
}

/// S9.13-03
#[test]
fn an_alias_of_another_active_track_in_publish_closes() {
    let (mut peer, _) = offered();
    peer.send(&ControlMessage::Publish(publish(2, "live#b", 1)));
    peer.assert_closed(SessionCode::DUPLICATE_TRACK_ALIAS);
}

/// S9.10-05, S9.11-01 [A21]: the PUBLISH Request ID names the subscription.
#[test]
fn a_published_subscription_is_updated_and_left_by_the_id_of_publish() {
    let (mut peer, handle) = publishing();
    peer.send(&ControlMessage::SubscribeUpdate(subscribe_update(1, 0)));
    assert!(matches!(peer.event(), Event::SubscriptionUpdated(change) if change.handle == handle));
    peer.send(&ControlMessage::Unsubscribe(RequestId(0)));
    assert_eq!(peer.event(), Event::Unsubscribed { handle });

    let (mut peer, handle) = taking();
    let update = SubscriptionUpdate {
        priority: Some(1),
        ..Default::default()
    };
    peer.endpoint
        .call(|s, _| s.update_subscription(handle, update))
        .unwrap();
    let ControlMessage::SubscribeUpdate(sent) = peer.received_one() else {
        panic!()
    };
    assert_eq!(
        (sent.request_id, sent.subscription),
        (RequestId(1), RequestId(0))
    );
    assert_eq!(sent.start, Location::new(7, 4));
    peer.endpoint.call(|s, _| s.unsubscribe(handle)).unwrap();
    assert_eq!(peer.received(), [ControlMessage::Unsubscribe(RequestId(0))]);
    // PUBLISH_DONE crossed it.
    peer.send(&publish_done(0, 0));
    peer.assert_quiet();
}

#[test]
fn an_offer_must_be_answered_before_it_is_left_or_changed() {
    for message in [
        ControlMessage::Unsubscribe(RequestId(0)),
        ControlMessage::SubscribeUpdate(subscribe_update(1, 0)),
    ] {
        let (mut peer, _) = offering();
        peer.send(&message);
        peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
    }
    let (mut peer, handle) = offered();
    let left = peer.endpoint.call(|s, _| s.unsubscribe(handle));
    assert_eq!(left, Err(CallError::WrongState(handle)));
}

/// S9.12-03: an offer can end before it is answered.
#[test]
fn an_offer_that_is_done_before_its_answer_still_gets_one() {
    // The application takes what there is.
    let (mut peer, handle) = offered();
    let (stream, _) = peer.open_stream(&subgroup(1));
    peer.send(&publish_done(0, 1));
    assert!(matches!(peer.event(), Event::PublishDone { .. }));
    peer.endpoint
        .call(|s, now| s.accept_publish(handle, publish_answer(), now))
        .unwrap();
    assert!(matches!(peer.received_one(), ControlMessage::PublishOk(_)));
    assert_eq!(peer.endpoint.resumed, [(stream, handle)]);
    peer.end_stream(stream);
    assert_eq!(peer.event(), Event::SubscriptionClosed { handle });

    // The publisher ignores the answer that comes too late, whatever it is.
    for answer in [
        ControlMessage::PublishOk(publish_ok(0)),
        ControlMessage::PublishError(refusal(0, PublishErrorCode::UNINTERESTED)),
    ] {
        let (mut peer, handle) = offering();
        let status = PublishDoneCode::TRACK_ENDED;
        peer.endpoint
            .call(|s, _| s.finish_publish(handle, status, ""))
            .unwrap();
        assert!(matches!(
            peer.received_one(),
            ControlMessage::PublishDone(_)
        ));
        peer.send(&answer);
        peer.assert_quiet();
    }
}

/// An alias may move on as soon as PUBLISH_DONE is sent, even if the offer was never answered.
#[test]
fn an_offer_that_is_done_gives_up_its_alias() {
    let (mut peer, _) = offered();
    peer.send(&publish_done(0, 0));
    peer.send(&ControlMessage::Publish(publish(2, "live#b", 1)));
    let [Event::PublishDone { .. }, Event::PublishRequested(second)] = &peer.endpoint.events()[..]
    else {
        panic!()
    };
    assert_eq!(second.track, track("live#b"));
}

/// S3.4-08, limit `answer_timeout`
#[test]
fn an_offer_that_is_never_answered_ends_when_its_streams_are_closed() {
    let (mut peer, handle) = offering();
    peer.endpoint
        .call(|s, _| s.outbound_stream_opened(handle))
        .unwrap();
    peer.advance(Duration::from_secs(30));
    let failure = RequestFailure::TimedOut;
    assert_eq!(peer.event(), Event::PublishRejected { handle, failure });
    assert_eq!(peer.received(), []);
    peer.endpoint.call(|s, _| s.outbound_stream_closed(handle));
    let ControlMessage::PublishDone(done) = peer.received_one() else {
        panic!()
    };
    assert_eq!(
        (done.status, done.stream_count),
        (PublishDoneCode::INTERNAL_ERROR, 1)
    );
}

/// An offer that was withdrawn waits for its streams, not for its answer.
#[test]
fn a_withdrawn_offer_is_not_timed() {
    let (mut peer, handle) = offering();
    peer.endpoint
        .call(|s, _| s.outbound_stream_opened(handle))
        .unwrap();
    let status = PublishDoneCode::TRACK_ENDED;
    peer.endpoint
        .call(|s, _| s.finish_publish(handle, status, ""))
        .unwrap();
    peer.advance(Duration::from_secs(60));
    peer.assert_quiet();
    peer.endpoint.call(|s, _| s.outbound_stream_closed(handle));
    let ControlMessage::PublishDone(done) = peer.received_one() else {
        panic!()
    };
    assert_eq!(done.status, status);
}

#[test]
fn own_offers_carry_no_token_alias() {
    let mut peer = Scripted::client(Scripted::client_config());
    let mut options = publish_options("live#a", 1);
    let token = AuthToken::Delete { alias: 1 };
    options.parameters = Parameters(vec![Parameter::AuthorizationToken(token)]);
    let refused = peer.endpoint.call(|s, now| s.publish(options, now));
    assert_eq!(refused, Err(CallError::TokenAlias));
}
