//! Namespaces that peers announce to each other (draft-14 §6.2, §9.23-§9.27).

use moqtail::{
    model::{
        ControlMessage, MaxRequestId, Parameters, PublishNamespaceCancel,
        PublishNamespaceErrorCode, RequestId, SessionCode,
    },
    session::{CallError, Event, RequestFailure, RequestHandle},
};
use moqtail_sim::{
    Pair, Scripted, Side,
    messages::{namespace, publish_namespace, refusal, subscribe},
};

const UNAUTHORIZED: PublishNamespaceErrorCode = PublishNamespaceErrorCode::UNAUTHORIZED;

fn announce(peer: &mut Scripted, name: &str) -> Result<RequestHandle, CallError> {
    let namespace = namespace(name);
    peer.endpoint
        .call(|s, now| s.publish_namespace(namespace, Parameters::default(), now))
}

fn announcing() -> (Scripted, RequestHandle) {
    let mut peer = Scripted::client(Scripted::client_config());
    let handle = announce(&mut peer, "live").expect("namespace announced");
    assert_eq!(peer.received(), [publish_namespace(0, "live")]);
    (peer, handle)
}

fn announced() -> (Scripted, RequestHandle) {
    let mut peer = Scripted::server(Scripted::server_config());
    peer.send(&publish_namespace(0, "live"));
    let Event::NamespacePublished {
        handle,
        namespace: name,
        ..
    } = peer.event()
    else {
        panic!()
    };
    assert_eq!(name, namespace("live"));
    (peer, handle)
}

fn cancel(name: &str) -> ControlMessage {
    ControlMessage::PublishNamespaceCancel(PublishNamespaceCancel {
        namespace: namespace(name),
        code: UNAUTHORIZED,
        reason: "no more".into(),
    })
}

/// S6.2-01, S6.2-03, S6.2-04, S9.23-01, S9.24-01, S9.26-01: the story from both sides.
#[test]
fn a_namespace_is_announced_accepted_and_withdrawn() {
    let mut pair = Pair::established();
    let parameters = Parameters::default();
    let ours = pair
        .call(Side::Client, |s, now| {
            s.publish_namespace(namespace("live"), parameters, now)
        })
        .unwrap();
    pair.settle();
    let Some(Event::NamespacePublished { handle, .. }) = pair.side(Side::Server).event() else {
        panic!()
    };
    pair.call(Side::Server, |s, _| s.accept_namespace(handle))
        .unwrap();
    pair.settle();
    let accepted = Event::NamespaceAccepted { handle: ours };
    assert_eq!(pair.side(Side::Client).events(), [accepted]);
    pair.call(Side::Client, |s, _| s.namespace_done(ours))
        .unwrap();
    pair.settle();
    assert_eq!(
        pair.side(Side::Server).events(),
        [Event::NamespaceDone { handle }]
    );
    for side in [Side::Client, Side::Server] {
        let load = pair.side(side).session.load();
        assert_eq!((load.announced, load.announced_by_peer), (0, 0), "{side:?}");
        assert_eq!((load.timers, load.peer_requests), (0, 0), "{side:?}");
    }
}

/// S9.23-02, S9.25-01, S9.25-02
#[test]
fn a_namespace_can_be_refused_and_announced_again() {
    let (mut peer, handle) = announced();
    peer.endpoint
        .call(|s, _| s.reject_namespace(handle, UNAUTHORIZED, "no"))
        .unwrap();
    let error = ControlMessage::PublishNamespaceError(refusal(0, UNAUTHORIZED));
    assert_eq!(peer.received(), [error]);
    let again = peer.endpoint.call(|s, _| s.accept_namespace(handle));
    assert_eq!(again, Err(CallError::NoSuchRequest(handle)));
    peer.send(&publish_namespace(2, "live"));
    assert!(matches!(peer.event(), Event::NamespacePublished { .. }));

    let (mut peer, handle) = announcing();
    peer.send(&ControlMessage::PublishNamespaceError(refusal(
        0,
        UNAUTHORIZED,
    )));
    let failure = RequestFailure::Refused {
        code: UNAUTHORIZED,
        reason: "no".into(),
    };
    assert_eq!(peer.event(), Event::NamespaceRejected { handle, failure });
    announce(&mut peer, "live").unwrap();
}

/// S6.2-05
#[test]
fn a_second_answer_to_publish_namespace_closes() {
    let ok = || ControlMessage::PublishNamespaceOk(RequestId(0));
    let error = || ControlMessage::PublishNamespaceError(refusal(0, UNAUTHORIZED));
    for (first, second) in [
        (ok(), ok()),
        (ok(), error()),
        (error(), ok()),
        (error(), error()),
    ] {
        let (mut peer, _) = announcing();
        peer.send(&first);
        assert_eq!(peer.endpoint.closed, None);
        peer.send(&second);
        peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
    }
}

/// S6.2-07, S9.27-01
#[test]
fn a_revoked_namespace_is_over_and_can_be_announced_again() {
    let (mut peer, handle) = announcing();
    peer.send(&ControlMessage::PublishNamespaceOk(RequestId(0)));
    assert_eq!(peer.event(), Event::NamespaceAccepted { handle });
    peer.send(&cancel("live"));
    let reason = "no more".into();
    assert_eq!(
        peer.event(),
        Event::NamespaceCancelled {
            handle,
            code: UNAUTHORIZED,
            reason
        }
    );
    // No PUBLISH_NAMESPACE_DONE for it.
    let done = peer.endpoint.call(|s, _| s.namespace_done(handle));
    assert_eq!(done, Err(CallError::NoSuchRequest(handle)));
    assert_eq!(peer.received(), []);
    announce(&mut peer, "live").unwrap();

    let (mut peer, handle) = announced();
    let too_early = peer
        .endpoint
        .call(|s, _| s.cancel_namespace(handle, UNAUTHORIZED, ""));
    assert_eq!(too_early, Err(CallError::WrongState(handle)));
    peer.endpoint
        .call(|s, _| s.accept_namespace(handle))
        .unwrap();
    peer.endpoint
        .call(|s, _| s.cancel_namespace(handle, UNAUTHORIZED, "no more"))
        .unwrap();
    assert_eq!(
        peer.received(),
        [
            ControlMessage::PublishNamespaceOk(RequestId(0)),
            cancel("live")
        ]
    );
    // The peer's DONE crossed it.
    peer.send(&ControlMessage::PublishNamespaceDone(namespace("live")));
    peer.assert_quiet();
}

/// [A46]: a second announcement is refused, and an unknown namespace in DONE and CANCEL is ignored.
#[test]
fn a_namespace_is_announced_once_at_a_time() {
    let (mut peer, handle) = announced();
    peer.send(&publish_namespace(2, "live"));
    let ControlMessage::PublishNamespaceError(error) = peer.received_one() else {
        panic!()
    };
    assert_eq!(error.request_id, RequestId(2));
    assert_eq!(error.code, PublishNamespaceErrorCode::INTERNAL_ERROR);
    peer.send(&ControlMessage::PublishNamespaceDone(namespace("other")));
    peer.send(&cancel("other"));
    peer.assert_quiet();
    // The first is unharmed.
    assert_eq!(
        peer.endpoint.call(|s, _| s.accept_namespace(handle)),
        Ok(())
    );

    let (mut peer, _) = announcing();
    assert_eq!(
        announce(&mut peer, "live"),
        Err(CallError::AlreadyAnnounced(namespace("live")))
    );
    peer.assert_quiet();
}

/// S6.2-04: a withdrawn announcement is answered, too.
#[test]
fn withdrawing_before_the_answer_ends_both_sides() {
    let (mut peer, handle) = announced();
    peer.send(&ControlMessage::PublishNamespaceDone(namespace("live")));
    assert_eq!(peer.event(), Event::NamespaceDone { handle });
    assert!(matches!(
        peer.received_one(),
        ControlMessage::PublishNamespaceError(_)
    ));

    let (mut peer, handle) = announcing();
    peer.endpoint.call(|s, _| s.namespace_done(handle)).unwrap();
    assert_eq!(
        peer.received(),
        [ControlMessage::PublishNamespaceDone(namespace("live"))]
    );
    peer.send(&ControlMessage::PublishNamespaceOk(RequestId(0)));
    peer.assert_quiet();
}

/// A CANCEL can only mean an announcement that was accepted: this one crossed DONE and a new announcement.
#[test]
fn a_cancel_before_the_answer_is_about_an_earlier_announcement() {
    let (mut peer, _) = announcing();
    peer.send(&cancel("live"));
    peer.assert_quiet();
    peer.send(&ControlMessage::PublishNamespaceOk(RequestId(0)));
    assert!(matches!(peer.event(), Event::NamespaceAccepted { .. }));
}

/// What was not sent needs no withdrawal.
#[test]
fn an_announcement_that_waits_for_credit_can_be_dropped() {
    let mut peer = Scripted::client_with_limit(Scripted::client_config(), 0);
    let handle = announce(&mut peer, "live").unwrap();
    peer.received();
    peer.endpoint.call(|s, _| s.namespace_done(handle)).unwrap();
    peer.send(&ControlMessage::MaxRequestId(MaxRequestId { limit: 10 }));
    peer.assert_quiet();
}

/// S6.2-06, S9.26-02
#[test]
fn a_subscribe_below_a_withdrawn_namespace_is_no_error() {
    let (mut peer, handle) = announcing();
    peer.endpoint.call(|s, _| s.namespace_done(handle)).unwrap();
    peer.send(&ControlMessage::Subscribe(subscribe(1, "live#a")));
    assert!(matches!(peer.event(), Event::SubscribeRequested(_)));
}
