//! Which subscription a stream or datagram belongs to, and what becomes of the others (draft-14 §3.4, §10.1, §10.4).

use std::time::Duration;

use moqtail::{
    model::{
        ControlMessage, DecodeError, DecodeErrorKind, FetchHeader, Filter, RequestId, SessionCode,
        StreamCode, StreamHeader, SubscribeOk, TrackAlias,
    },
    session::{Event, SessionConfig, SessionLimits, StreamKey, StreamVerdict},
};
use moqtail_sim::{
    Pair, Scripted, Side,
    messages::{publish_done, subgroup, subscribe_answer, subscribe_ok, subscribe_options},
};

const REFUSED: StreamVerdict = StreamVerdict::Refuse(StreamCode::CANCELLED);

fn limited(limits: SessionLimits) -> Scripted {
    Scripted::client(SessionConfig {
        limits,
        ..Scripted::client_config()
    })
}

/// S10.1-01: the story from both sides, two tracks.
#[test]
fn streams_find_their_subscription_by_alias() {
    let mut pair = Pair::established();
    let mut handles = Vec::new();
    for (name, alias) in [("live#a", 7), ("live#b", 3)] {
        let options = subscribe_options(name);
        let ours = pair
            .call(Side::Client, |s, now| s.subscribe(options, now))
            .unwrap();
        pair.settle();
        let Some(Event::SubscribeRequested(request)) = pair.side(Side::Server).event() else {
            panic!()
        };
        let (theirs, answer) = (request.handle, subscribe_answer(alias));
        pair.call(Side::Server, |s, now| {
            s.accept_subscribe(theirs, answer, now)
        })
        .unwrap();
        handles.push((ours, theirs, alias));
    }
    for (ours, theirs, alias) in handles {
        let stream = pair.open_stream(Side::Server, theirs, subgroup(alias));
        pair.settle();
        assert_eq!(pair.verdict(stream), Some(StreamVerdict::Deliver(ours)));
        let datagram = pair
            .side(Side::Client)
            .session
            .datagram_alias(TrackAlias(alias));
        assert_eq!(datagram, Some(ours));
    }
}

/// Streams overtake the control stream: what comes before SUBSCRIBE_OK waits for it, in order (S10.4.2-09).
#[test]
fn a_stream_with_an_unknown_alias_is_parked_and_resumed() {
    let (mut peer, handle) = Scripted::subscribing(Filter::LargestObject);
    let (first, verdict) = peer.open_stream(&subgroup(1));
    assert_eq!(verdict, StreamVerdict::Park);
    let (second, _) = peer.open_stream(&subgroup(1));
    let (other, _) = peer.open_stream(&subgroup(2));
    peer.send(&ControlMessage::SubscribeOk(subscribe_ok(0, 1)));
    assert_eq!(peer.endpoint.resumed, [(first, handle), (second, handle)]);
    assert_eq!(peer.endpoint.stopped, []);
    // They count for PUBLISH_DONE.
    peer.endpoint.events();
    peer.end_stream(first);
    peer.send(&publish_done(0, 2));
    peer.endpoint.events();
    peer.end_stream(second);
    assert_eq!(peer.event(), Event::SubscriptionClosed { handle });
    // The other one waits on.
    assert_eq!(peer.endpoint.session.load().parked_streams, 1);
    peer.end_stream(other);
    assert_eq!(peer.endpoint.session.load().streams, 0);
    assert_eq!(peer.endpoint.session.load().timers, 0);
}

/// Limit `park_timeout` (S10.4.2-09)
#[test]
fn a_parked_stream_that_nobody_claims_is_stopped() {
    let mut peer = Scripted::client(Scripted::client_config());
    let (stream, _) = peer.open_stream(&subgroup(1));
    peer.advance(Duration::from_millis(1_999));
    assert_eq!(peer.endpoint.stopped, []);
    peer.advance(Duration::from_millis(1));
    assert_eq!(peer.endpoint.stopped, [(stream, StreamCode::CANCELLED)]);
    assert_eq!(peer.endpoint.session.load().streams, 0);
    assert_eq!(peer.endpoint.closed, None);
}

/// Limit `max_parked_streams` (S12.1-03)
#[test]
fn parked_streams_are_bounded() {
    let mut peer = limited(SessionLimits {
        max_parked_streams: 2,
        ..SessionLimits::default()
    });
    assert_eq!(peer.open_stream(&subgroup(1)).1, StreamVerdict::Park);
    let (second, _) = peer.open_stream(&subgroup(2));
    assert_eq!(peer.open_stream(&subgroup(3)).1, REFUSED);
    peer.end_stream(second);
    assert_eq!(peer.open_stream(&subgroup(3)).1, StreamVerdict::Park);
    assert_eq!(peer.endpoint.session.load().streams, 2);
}

/// Limit `max_inbound_streams` (S12.1-03)
#[test]
fn open_streams_are_bounded() {
    let mut peer = limited(SessionLimits {
        max_inbound_streams: 1,
        ..SessionLimits::default()
    });
    let stream = peer.open_stream_without_header();
    let mut open = |key| {
        peer.endpoint
            .call(|s, now| s.inbound_stream_opened(StreamKey(key), now))
    };
    assert!(!open(100));
    let verdict = peer
        .endpoint
        .call(|s, now| s.stream_header(StreamKey(100), &subgroup(1), now));
    assert_eq!(verdict, REFUSED);
    peer.end_stream(stream);
    assert!(
        peer.endpoint
            .call(|s, now| s.inbound_stream_opened(StreamKey(101), now))
    );
}

/// S5.1-15, S10.1-02
#[test]
fn late_streams_of_an_ended_subscription_are_refused_quietly() {
    let (mut peer, handle) = Scripted::subscribed(Filter::LargestObject);
    let (open, _) = peer.open_stream(&subgroup(1));
    peer.endpoint.call(|s, _| s.unsubscribe(handle)).unwrap();
    assert_eq!(peer.endpoint.stopped, [(open, StreamCode::CANCELLED)]);
    assert_eq!(peer.open_stream(&subgroup(1)).1, REFUSED);
    assert_eq!(peer.endpoint.session.datagram_alias(TrackAlias(1)), None);
    // Also when the shell tells its end after all.
    peer.end_stream(open);
    assert_eq!(peer.endpoint.session.load().streams, 0);
    assert_eq!(peer.endpoint.closed, None);
}

/// S10.1-02: the alias is learned from an answer that came too late.
#[test]
fn late_streams_of_a_subscription_left_before_its_answer_are_refused() {
    let (mut peer, handle) = Scripted::subscribing(Filter::LargestObject);
    peer.endpoint.call(|s, _| s.unsubscribe(handle)).unwrap();
    let (early, _) = peer.open_stream(&subgroup(1));
    peer.send(&ControlMessage::SubscribeOk(subscribe_ok(0, 1)));
    assert_eq!(peer.endpoint.stopped, [(early, StreamCode::CANCELLED)]);
    assert_eq!(peer.open_stream(&subgroup(1)).1, REFUSED);
}

/// Limit `max_retired_aliases`
#[test]
fn retired_aliases_are_bounded() {
    let mut peer = limited(SessionLimits {
        max_retired_aliases: 1,
        ..SessionLimits::default()
    });
    for (id, alias) in [(0, 1), (2, 2)] {
        let options = subscribe_options("live#a");
        let handle = peer
            .endpoint
            .call(|s, now| s.subscribe(options, now))
            .unwrap();
        peer.send(&ControlMessage::SubscribeOk(subscribe_ok(id, alias)));
        peer.endpoint.call(|s, _| s.unsubscribe(handle)).unwrap();
    }
    assert_eq!(peer.endpoint.session.load().retired_aliases, 1);
    assert_eq!(peer.open_stream(&subgroup(2)).1, REFUSED);
    // The oldest is unknown again: it is parked, and stopped in the end.
    assert_eq!(peer.open_stream(&subgroup(1)).1, StreamVerdict::Park);
}

/// S3.4-09, S12.1-03, limit `header_timeout`: streams that come first may leave one no room, so it is the stream that is
/// lost and not the session.
#[test]
fn a_header_that_stays_unfinished_costs_its_stream() {
    let (mut peer, handle) = Scripted::subscribed(Filter::LargestObject);
    let ended = peer.open_stream_without_header();
    let whole = peer.open_stream_without_header();
    let late = peer.open_stream_without_header();
    for stream in [ended, whole, late] {
        peer.begin_header(stream);
    }
    peer.end_stream(ended);
    peer.advance(Duration::from_millis(29_999));
    let verdict = peer
        .endpoint
        .call(|s, now| s.stream_header(whole, &subgroup(1), now));
    assert_eq!(verdict, StreamVerdict::Deliver(handle));
    assert_eq!(peer.endpoint.stopped, []);
    peer.advance(Duration::from_millis(1));
    assert_eq!(peer.endpoint.stopped, [(late, StreamCode::CANCELLED)]);
    // The rest may be on its way.
    let verdict = peer
        .endpoint
        .call(|s, now| s.stream_header(late, &subgroup(1), now));
    assert_eq!(verdict, REFUSED);
    assert_eq!(peer.endpoint.closed, None);
    assert_eq!(peer.endpoint.session.load().streams, 1);
}

/// S3.4-09, S12.1-03: QUIC opens the streams below one that is seen, whether or not anything of them came.
#[test]
fn a_stream_without_a_byte_is_waited_for() {
    let (mut peer, handle) = Scripted::subscribed(Filter::LargestObject);
    let stream = peer.open_stream_without_header();
    peer.advance(Duration::from_secs(3600));
    let verdict = peer
        .endpoint
        .call(|s, now| s.stream_header(stream, &subgroup(1), now));
    assert_eq!(verdict, StreamVerdict::Deliver(handle));
    assert_eq!(peer.endpoint.closed, None);
}

/// S10.3.1-05, S10.4.2: what the codec refuses closes with the code it names.
#[test]
fn a_data_stream_that_is_not_draft_14_closes() {
    for (kind, code) in [
        (
            DecodeErrorKind::UnknownType(0x16),
            SessionCode::PROTOCOL_VIOLATION,
        ),
        (
            DecodeErrorKind::KeyValueFormat(2),
            SessionCode::KEY_VALUE_FORMATTING_ERROR,
        ),
    ] {
        let mut peer = Scripted::client(Scripted::client_config());
        peer.endpoint.data_error(&DecodeError {
            kind,
            field: "Stream Type",
            offset: 0,
        });
        peer.assert_closed(code);
    }
}

/// S9.1-06: a fetch stream answers a FETCH, and none was made.
#[test]
fn a_fetch_stream_that_nobody_asked_for_closes() {
    let fetch = |id| {
        StreamHeader::Fetch(FetchHeader {
            request_id: RequestId(id),
        })
    };
    for (id, code) in [
        (400, SessionCode::INVALID_REQUEST_ID),
        (1, SessionCode::INVALID_REQUEST_ID),
        (0, SessionCode::PROTOCOL_VIOLATION),
    ] {
        let (mut peer, _) = Scripted::subscribing(Filter::LargestObject);
        let (_, verdict) = peer.open_stream(&fetch(id));
        assert_eq!(verdict, StreamVerdict::Refuse(StreamCode::SESSION_CLOSED));
        peer.assert_closed(code);
    }
}

/// S5.1-07: Forward State is the publisher's business; what comes anyway is delivered.
#[test]
fn streams_after_forward_0_are_no_error() {
    let mut peer = Scripted::client(Scripted::client_config());
    let mut options = subscribe_options("live#a");
    options.forward = false;
    let handle = peer
        .endpoint
        .call(|s, now| s.subscribe(options, now))
        .unwrap();
    peer.send(&ControlMessage::SubscribeOk(subscribe_ok(0, 1)));
    assert_eq!(
        peer.open_stream(&subgroup(1)).1,
        StreamVerdict::Deliver(handle)
    );
}

/// S9.12-04: datagrams that come after PUBLISH_DONE are still delivered.
#[test]
fn late_datagrams_are_delivered_until_the_subscription_closes() {
    let (mut peer, handle) = Scripted::subscribed(Filter::LargestObject);
    peer.send(&publish_done(0, 0));
    assert_eq!(
        peer.endpoint.session.datagram_alias(TrackAlias(1)),
        Some(handle)
    );
    peer.advance(Duration::from_secs(5));
    assert_eq!(peer.endpoint.session.datagram_alias(TrackAlias(1)), None);
}

#[test]
fn a_closed_session_takes_no_streams() {
    let mut peer = Scripted::client(Scripted::client_config());
    let stream = peer.open_stream_without_header();
    peer.endpoint
        .call(|s, _| s.close(SessionCode::NO_ERROR, ""));
    assert_eq!(peer.endpoint.session.deadline(), None);
    let verdict = peer
        .endpoint
        .call(|s, now| s.stream_header(stream, &subgroup(1), now));
    assert_eq!(verdict, StreamVerdict::Refuse(StreamCode::SESSION_CLOSED));
    assert!(
        !peer
            .endpoint
            .call(|s, now| s.inbound_stream_opened(StreamKey(9), now))
    );
}

/// S9.8-04: Expires is what the publisher means to do, no promise.
#[test]
fn streams_may_come_after_the_time_that_was_told_for_the_end() {
    let (mut peer, handle) = Scripted::subscribing(Filter::LargestObject);
    peer.send(&ControlMessage::SubscribeOk(SubscribeOk {
        expires_ms: 1000,
        ..subscribe_ok(0, 1)
    }));
    let Event::SubscribeAccepted(accepted) = peer.event() else {
        panic!()
    };
    assert_eq!(accepted.expires, Some(Duration::from_secs(1)));
    peer.advance(Duration::from_secs(2));
    let (_, verdict) = peer.open_stream(&subgroup(1));
    assert_eq!(verdict, StreamVerdict::Deliver(handle));
    peer.assert_quiet();
}
