//! Deviations of the peer: fatal, and let pass where the session was told so.

use moqtail::{
    model::{
        ControlMessage, MaxRequestId, Parameters, RequestId, SessionCode, SubscribeNamespace,
        Tolerance,
    },
    session::SessionConfig,
};
use moqtail_sim::{
    Scripted,
    messages::{namespace, publish_namespace, subscribe, subscribe_update},
};

/// Requests of the peer that a session here takes at a time.
const ROOM: u32 = 4;

fn config() -> SessionConfig {
    let mut config = Scripted::server_config();
    config.limits.max_peer_requests = ROOM;
    config
}

fn any_order() -> Scripted {
    let mut config = config();
    config.tolerances.allow_any_request_id_order = true;
    Scripted::server(config)
}

/// A request that is answered at once.
fn brief(id: u64) -> ControlMessage {
    ControlMessage::SubscribeNamespace(SubscribeNamespace {
        request_id: RequestId(id),
        prefix: namespace("live").into(),
        parameters: Parameters::default(),
    })
}

/// The last MAX_REQUEST_ID among what the session sent.
fn granted(peer: &mut Scripted) -> Option<u64> {
    let messages = peer.received().into_iter().rev();
    messages.into_iter().find_map(|message| match message {
        ControlMessage::MaxRequestId(MaxRequestId { limit }) => Some(limit),
        _ => None,
    })
}

/// What `moq-sub` does when it asks for several tracks at once.
#[test]
fn requests_may_come_in_any_order() {
    let mut peer = any_order();
    let mut limit = 2 * u64::from(ROOM);
    for round in 0..100 {
        let first = 8 * round;
        for id in [4, 0, 6, 2] {
            assert!(first + id < limit, "no credit for {}", first + id);
            peer.send(&brief(first + id));
            limit = granted(&mut peer).unwrap_or(limit);
        }
        assert_eq!(peer.endpoint.closed, None);
    }
    assert_eq!(limit, 2 * (400 + u64::from(ROOM)));
    assert_eq!(peer.endpoint.session.load().peer_requests, 0);
}

/// S9.1-05: an early request can be referred to, one that is missing cannot.
#[test]
fn what_has_come_early_is_known() {
    let mut peer = any_order();
    peer.send(&ControlMessage::Subscribe(subscribe(2, "live#a")));
    peer.send(&ControlMessage::SubscribeUpdate(subscribe_update(6, 2)));
    assert_eq!(peer.endpoint.closed, None);
    peer.send(&ControlMessage::Unsubscribe(RequestId(4)));
    peer.assert_closed(SessionCode::INVALID_REQUEST_ID);
}

/// S9.1-03, S9.1-04, S9.5-04: parity, reuse and MAX_REQUEST_ID hold in any order.
#[test]
fn an_id_is_still_used_once_and_by_its_side() {
    for (before, id, code) in [
        (&[][..], 1, SessionCode::INVALID_REQUEST_ID),
        (&[2], 2, SessionCode::INVALID_REQUEST_ID),
        (&[0], 0, SessionCode::INVALID_REQUEST_ID),
        (&[2, 0], 2, SessionCode::INVALID_REQUEST_ID),
        (&[], 8, SessionCode::TOO_MANY_REQUESTS),
    ] {
        let mut peer = any_order();
        for before in before {
            peer.send(&publish_namespace(*before, &format!("a/{before}")));
        }
        assert_eq!(peer.endpoint.closed, None);
        peer.send(&publish_namespace(id, "b"));
        peer.assert_closed(code);
        let close = peer.endpoint.closed.unwrap();
        assert_eq!(close.tolerance, None, "{id} after {before:?}");
    }
}

/// What is remembered of a peer that leaves one out for ever is bounded, because it gets no credit.
#[test]
fn an_id_that_never_comes_costs_the_peer_its_credit() {
    let mut peer = any_order();
    for id in [2, 4, 6] {
        peer.send(&brief(id));
        assert_eq!(granted(&mut peer), None);
    }
    peer.send(&brief(0));
    assert_eq!(granted(&mut peer), Some(16));
    for id in [10, 12, 14] {
        peer.send(&brief(id));
        assert_eq!(granted(&mut peer), None);
    }
    peer.send(&brief(16));
    peer.assert_closed(SessionCode::TOO_MANY_REQUESTS);
}

/// Who runs a strict session is told what would help, and only if it would.
#[test]
fn the_end_of_a_strict_session_names_the_tolerance() {
    for (ids, tolerance) in [
        (&[2][..], Some(Tolerance::RequestIdOrder)),
        (&[0, 4], Some(Tolerance::RequestIdOrder)),
        (&[1], None),
        (&[3], None),
        (&[0, 0], None),
        (&[0, 2, 0], None),
    ] {
        let mut peer = Scripted::server(config());
        for (number, id) in ids.iter().enumerate() {
            peer.send(&publish_namespace(*id, &format!("a/{number}")));
        }
        let close = peer.endpoint.closed.unwrap();
        assert_eq!(close.code, SessionCode::INVALID_REQUEST_ID);
        assert_eq!(close.tolerance, tolerance, "{ids:?}");
    }
}
