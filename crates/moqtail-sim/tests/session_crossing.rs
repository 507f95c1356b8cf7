//! PUBLISH and SUBSCRIBE for one track that meet: exactly one subscription comes of it (draft-14 §5.1, §9.7).

use moqtail::{
    model::{
        ControlMessage, Filter, KeyValuePair, MaxRequestId, Parameter, Parameters,
        PublishErrorCode, RequestId, SubscribeErrorCode,
    },
    session::{CallError, Event, RequestFailure, RequestHandle, SessionLimits, StreamVerdict},
};
use moqtail_sim::{
    Pair, Scripted, Side,
    messages::{
        publish, publish_answer, publish_done, publish_ok, publish_options, refusal, subgroup,
        subscribe, subscribe_answer, subscribe_ok, subscribe_options,
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

/// [A24]: SUBSCRIBE and PUBLISH for one track cross. Exactly one of them lives, on two sessions of ours. The offer is told
/// first: whoever loses the SUBSCRIBE has it already.
#[test]
fn subscribe_and_publish_that_cross_become_one_subscription() {
    let mut pair = Pair::established();
    let asked = pair.call(Side::Client, |s, now| {
        s.subscribe(subscribe_options("live#a"), now)
    });
    let offer = pair.call(Side::Server, |s, now| {
        s.publish(publish_options("live#a", 1), now)
    });
    pair.settle();
    let failure = |code| RequestFailure::Refused {
        code,
        reason: "the track is offered by PUBLISH in this session".into(),
    };
    let [
        Event::PublishRequested(request),
        Event::SubscribeRejected {
            handle,
            failure: why,
        },
    ] = &pair.side(Side::Client).events()[..]
    else {
        panic!()
    };
    assert_eq!(*handle, asked.unwrap());
    assert_eq!(*why, failure(SubscribeErrorCode::INTERNAL_ERROR));
    let theirs = request.handle;
    pair.call(Side::Client, |s, now| {
        s.accept_publish(theirs, publish_answer(), now)
    })
    .unwrap();
    pair.settle();
    let [Event::PublishAccepted(ok)] = &pair.side(Side::Server).events()[..] else {
        panic!()
    };
    assert_eq!(ok.handle, offer.unwrap());
    assert_eq!(pair.side(Side::Client).session.load().subscriptions, 1);
    assert_eq!(pair.side(Side::Server).session.load().publications, 1);
}

/// [A24]: a publisher that prefers the SUBSCRIBE answers it; then its PUBLISH is refused.
#[test]
fn a_publish_that_crossed_an_accepted_subscribe_is_refused() {
    // The same alias or another one: both are legal.
    for alias in [1, 2] {
        let mut peer = Scripted::client(Scripted::client_config());
        let options = subscribe_options("live#a");
        let handle = peer
            .endpoint
            .call(|s, now| s.subscribe(options, now))
            .unwrap();
        peer.received();
        peer.send(&ControlMessage::Publish(publish(1, "live#a", alias)));
        peer.assert_quiet();
        let (early, verdict) = peer.open_stream(&subgroup(alias));
        assert_eq!(verdict, StreamVerdict::Park);
        peer.send(&ControlMessage::SubscribeOk(subscribe_ok(0, 1)));
        assert!(matches!(peer.event(), Event::SubscribeAccepted(_)));
        let ControlMessage::PublishError(error) = peer.received_one() else {
            panic!()
        };
        assert_eq!(
            (error.request_id, error.code),
            (RequestId(1), PublishErrorCode::UNINTERESTED)
        );
        if alias == 1 {
            assert_eq!(peer.endpoint.resumed, [(early, handle)]);
        } else {
            assert_eq!(peer.endpoint.stopped[0].0, early);
        }
        assert_eq!(
            peer.open_stream(&subgroup(1)).1,
            StreamVerdict::Deliver(handle)
        );
    }
}

/// A PUBLISH for a track that is subscribed already, or offered already, does not start a second subscription.
#[test]
fn a_publish_for_a_subscribed_track_is_refused() {
    let (mut peer, handle) = Scripted::subscribed(Filter::LargestObject);
    peer.send(&ControlMessage::Publish(publish(1, "live#a", 1)));
    assert!(matches!(
        peer.received_one(),
        ControlMessage::PublishError(_)
    ));
    assert_eq!(peer.endpoint.events(), []);
    assert_eq!(
        peer.open_stream(&subgroup(1)).1,
        StreamVerdict::Deliver(handle)
    );

    let (mut peer, handle) = offered();
    peer.send(&ControlMessage::Publish(publish(2, "live#a", 2)));
    assert!(matches!(
        peer.received_one(),
        ControlMessage::PublishError(_)
    ));
    let subscribe = peer
        .endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#a"), now));
    assert_eq!(subscribe, Err(CallError::AlreadySubscribed(handle)));
}

/// What PUBLISH_DONE said about a held PUBLISH is told when that is offered.
#[test]
fn a_held_publish_can_be_done_before_it_is_offered() {
    let (mut peer, handle) = Scripted::subscribing(Filter::LargestObject);
    peer.send(&ControlMessage::Publish(publish(1, "live#a", 1)));
    peer.send(&publish_done(1, 0));
    peer.assert_quiet();
    peer.send(&ControlMessage::SubscribeError(refusal(
        0,
        SubscribeErrorCode::INTERNAL_ERROR,
    )));
    let [
        Event::PublishRequested(request),
        Event::PublishDone { handle: done, .. },
        Event::SubscribeRejected {
            handle: refused, ..
        },
    ] = &peer.endpoint.events()[..]
    else {
        panic!()
    };
    assert_eq!((*refused, *done), (handle, request.handle));
}

/// [A24]: while a PUBLISH is offered or taken, a SUBSCRIBE for the track is refused and does not close.
#[test]
fn a_subscribe_for_a_published_track_is_refused() {
    for (mut peer, _) in [offering(), publishing()] {
        peer.send(&ControlMessage::Subscribe(subscribe(1, "live#a")));
        assert!(matches!(
            peer.received_one(),
            ControlMessage::SubscribeError(_)
        ));
        assert_eq!(peer.endpoint.events(), []);
        assert_eq!(peer.endpoint.closed, None);
    }
}

/// An offer that still waits for credit gives way to the peer's own SUBSCRIBE.
#[test]
fn a_subscribe_supersedes_an_offer_that_was_not_sent() {
    let mut peer = Scripted::client_with_limit(Scripted::client_config(), 0);
    let options = publish_options("live#a", 1);
    let offer = peer
        .endpoint
        .call(|s, now| s.publish(options, now))
        .unwrap();
    peer.received();
    peer.send(&ControlMessage::Subscribe(subscribe(1, "live#a")));
    let [
        Event::PublishRejected { handle, .. },
        Event::SubscribeRequested(request),
    ] = &peer.endpoint.events()[..]
    else {
        panic!()
    };
    assert_eq!(*handle, offer);
    let served = request.handle;
    assert_eq!(
        peer.endpoint
            .call(|s, now| s.accept_subscribe(served, subscribe_answer(1), now)),
        Ok(())
    );
    peer.received();
    peer.send(&ControlMessage::MaxRequestId(MaxRequestId { limit: 10 }));
    assert_eq!(peer.received(), []);
}

/// A SUBSCRIBE that still waits for credit gives way to the peer's own offer, which is told first.
#[test]
fn an_offer_supersedes_a_subscribe_that_was_not_sent() {
    let mut peer = Scripted::client_with_limit(Scripted::client_config(), 0);
    let asked = peer
        .endpoint
        .call(|s, now| s.subscribe(subscribe_options("live#a"), now))
        .unwrap();
    peer.received();
    let mut offer = publish(1, "live#a", 1);
    offer.parameters = Parameters(vec![Parameter::Unknown(KeyValuePair::Bytes {
        key: 0x41,
        value: vec![7; SessionLimits::default().max_kept_parameters].into(),
    })]);
    peer.send(&ControlMessage::Publish(offer.clone()));
    let [
        Event::PublishRequested(request),
        Event::SubscribeSuperseded { handle },
    ] = &peer.endpoint.events()[..]
    else {
        panic!()
    };
    assert_eq!(*handle, asked);
    // It does not wait, so all of it is told.
    assert_eq!(request.parameters, offer.parameters);
    let offered = request.handle;
    assert_eq!(
        peer.endpoint
            .call(|s, now| s.accept_publish(offered, publish_answer(), now)),
        Ok(())
    );
    peer.received();
    peer.send(&ControlMessage::MaxRequestId(MaxRequestId { limit: 10 }));
    assert_eq!(peer.received(), []);
    assert_eq!(
        peer.open_stream(&subgroup(1)).1,
        StreamVerdict::Deliver(offered)
    );
}

/// S5.1-12: publishing and subscribing one track in one session do not meet.
#[test]
fn an_endpoint_may_subscribe_to_what_it_publishes() {
    let (mut peer, published) = publishing();
    let options = subscribe_options("live#a");
    let subscribed = peer
        .endpoint
        .call(|s, now| s.subscribe(options, now))
        .unwrap();
    peer.send(&ControlMessage::SubscribeOk(subscribe_ok(2, 1)));
    assert!(matches!(peer.event(), Event::SubscribeAccepted(_)));
    assert_eq!(
        peer.open_stream(&subgroup(1)).1,
        StreamVerdict::Deliver(subscribed)
    );
    assert_eq!(
        peer.endpoint
            .call(|s, _| s.outbound_stream_opened(published)),
        Ok(())
    );
}
