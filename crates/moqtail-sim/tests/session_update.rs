//! SUBSCRIBE_UPDATE from both sides (draft-14 §9.10).

use std::time::Duration;

use moqtail::{
    model::{
        ControlMessage, Filter, KeyValuePair, Location, MAX_VARINT, MaxRequestId, Parameter,
        Parameters, RequestId, SessionCode, SubscribeOk, SubscribeUpdate, TrackAlias,
    },
    session::{CallError, Event, RangeFault, StreamVerdict, SubscriptionUpdate},
};
use moqtail_sim::{
    Scripted,
    messages::{subgroup, subscribe_answer, subscribe_ok, subscribe_options, subscribe_update},
};

fn sent_update(peer: &mut Scripted) -> SubscribeUpdate {
    let message = peer.received_one();
    let ControlMessage::SubscribeUpdate(update) = message else {
        panic!("{message:?}")
    };
    update
}

/// S5.1-07, S9.10-01, S9.10-02, S9.10-07, S9.10-09, S9.10-10, S7.1-07
#[test]
fn an_update_changes_what_it_names_and_repeats_the_rest() {
    let (mut peer, handle) = Scripted::subscribed(Filter::LargestObject);
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

/// S9.10-11: what was on its way when the range was narrowed is no error.
#[test]
fn objects_outside_of_a_narrowed_range_may_still_arrive() {
    let (mut peer, handle) = Scripted::subscribed(Filter::LargestObject);
    let update = SubscriptionUpdate {
        start: Some(Location::new(20, 0)),
        end_group: Some(30),
        ..SubscriptionUpdate::default()
    };
    peer.endpoint
        .call(|s, _| s.update_subscription(handle, update))
        .unwrap();
    sent_update(&mut peer);
    // Its group is 8.
    let (stream, verdict) = peer.open_stream(&subgroup(1));
    assert_eq!(verdict, StreamVerdict::Deliver(handle));
    peer.end_stream(stream);
    let taken = peer.endpoint.call(|s, _| s.datagram_alias(TrackAlias(1)));
    assert_eq!(taken, Some(handle));
    peer.assert_quiet();
}

/// S9.10-03, S9.10-04, S9.10-06
#[test]
fn own_updates_cannot_widen() {
    let filter = Filter::AbsoluteRange {
        start: Location::new(5, 0),
        end_group: 9,
    };
    let (mut peer, handle) = Scripted::subscribed(filter);
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

/// S9.7-06, S9.7-07, S9.10-02: what follows the last object or group that a varint can name.
#[test]
fn a_subscription_after_the_last_location_of_all_can_be_updated() {
    let (last, middle) = (Location::new(MAX_VARINT, MAX_VARINT), Location::new(7, 0));
    let cases = [
        (Filter::LargestObject, Location::new(6, MAX_VARINT), middle),
        (Filter::NextGroupStart, Location::new(6, MAX_VARINT), middle),
        (Filter::LargestObject, last, last),
        (Filter::NextGroupStart, Location::new(MAX_VARINT, 3), last),
    ];
    for (filter, largest, start) in cases {
        // An end that the answer raises to the start, too.
        for end_group in [None, Some(5)] {
            let (mut peer, handle) = Scripted::subscribing(filter);
            let update = SubscriptionUpdate {
                end_group,
                forward: Some(false),
                ..SubscriptionUpdate::default()
            };
            peer.endpoint
                .call(|s, _| s.update_subscription(handle, update))
                .unwrap();
            peer.send(&ControlMessage::SubscribeOk(SubscribeOk {
                largest: Some(largest),
                ..subscribe_ok(0, 1)
            }));
            let sent = sent_update(&mut peer);
            assert_eq!((sent.start, sent.forward), (start, false));
            let raised = end_group.map(|_| start.group);
            assert_eq!(sent.end_group, raised.filter(|end| *end < MAX_VARINT));
        }
    }
}

/// S9.10-04: SUBSCRIBE can name the last group of all as its end, SUBSCRIBE_UPDATE cannot.
#[test]
fn a_subscription_to_the_last_group_of_all_can_be_updated() {
    for (group, end) in [(5, Some(MAX_VARINT - 1)), (MAX_VARINT, None)] {
        let filter = Filter::AbsoluteRange {
            start: Location::new(group, 0),
            end_group: MAX_VARINT,
        };
        let (mut peer, handle) = Scripted::subscribed(filter);
        for priority in 1..3 {
            let update = SubscriptionUpdate {
                priority: Some(priority),
                ..SubscriptionUpdate::default()
            };
            peer.endpoint
                .call(|s, _| s.update_subscription(handle, update))
                .unwrap();
            assert_eq!(sent_update(&mut peer).end_group, end);
        }
    }
}

/// What no varint holds is an error of the call, whether the update is sent at once or has to wait.
#[test]
fn an_update_that_cannot_be_written_is_refused_and_changes_nothing() {
    let too_far = SubscriptionUpdate {
        end_group: Some(MAX_VARINT + 1),
        ..SubscriptionUpdate::default()
    };
    for answered in [false, true] {
        let (mut peer, handle) = Scripted::subscribing(Filter::LargestObject);
        if answered {
            peer.send(&ControlMessage::SubscribeOk(subscribe_ok(0, 1)));
        }
        let refused = peer
            .endpoint
            .call(|s, _| s.update_subscription(handle, too_far.clone()));
        assert!(matches!(refused, Err(CallError::Encode(_))), "{refused:?}");
        assert_eq!(peer.received(), []);
        let calm = SubscriptionUpdate {
            priority: Some(200),
            ..SubscriptionUpdate::default()
        };
        peer.endpoint
            .call(|s, _| s.update_subscription(handle, calm))
            .unwrap();
        if !answered {
            peer.send(&ControlMessage::SubscribeOk(subscribe_ok(0, 1)));
        }
        assert_eq!(sent_update(&mut peer).end_group, None);
    }
}

/// Updates that wait, for the answer or for credit, are joined.
#[test]
fn updates_before_the_answer_are_sent_after_it_as_one() {
    let (mut peer, handle) = Scripted::subscribing(Filter::LargestObject);
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
    let (mut peer, handle) = Scripted::serving(Filter::LargestObject);
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
        let (mut peer, _) = Scripted::serving(range);
        let mut update = subscribe_update(2, 0);
        update.start = Location::new(start.0, start.1);
        update.end_group = end_group;
        peer.send(&ControlMessage::SubscribeUpdate(update));
        peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
    }
    // A start that an update named counts as one that the filter named.
    let (mut peer, _) = Scripted::serving(Filter::LargestObject);
    for (id, start) in [(2, Location::new(9, 0)), (4, Location::new(8, 9))] {
        let mut update = subscribe_update(id, 0);
        update.start = start;
        peer.send(&ControlMessage::SubscribeUpdate(update));
    }
    peer.assert_closed(SessionCode::PROTOCOL_VIOLATION);
}

/// S9.10-03: with a relative filter the start is in SUBSCRIBE_OK, which the update may cross: what lies before the start in
/// force says that it stays.
#[test]
fn a_start_that_the_subscriber_cannot_know_stays() {
    for (filter, start) in [
        (Filter::LargestObject, Location::new(7, 4)),
        (Filter::NextGroupStart, Location::new(8, 0)),
    ] {
        let (mut peer, handle) = Scripted::serving(filter);
        // The highest end that can be written is none, either.
        let ends = [None, Some(MAX_VARINT - 1), None];
        for (id, end_group) in [2, 4, 6].into_iter().zip(ends) {
            let mut update = subscribe_update(id, 0);
            update.start = Location::new(0, 0);
            update.end_group = end_group;
            update.forward = id != 2;
            peer.send(&ControlMessage::SubscribeUpdate(update));
            let Event::SubscriptionUpdated(change) = peer.event() else {
                panic!()
            };
            assert_eq!((change.handle, change.forward), (handle, id != 2));
            assert_eq!((change.start, change.end_group), (start, None));
        }
        peer.assert_quiet();
    }
}

/// S9.10-05
#[test]
fn an_update_of_what_never_was_a_subscription_closes() {
    for subscription in [2, 400, 1] {
        let (mut peer, _) = Scripted::serving(Filter::LargestObject);
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
    let (mut peer, handle) = Scripted::requested(Filter::LargestObject);
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
        .call(|s, now| s.accept_subscribe(handle, subscribe_answer(1), now))
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

/// Limit `max_kept_parameters`
#[test]
fn an_update_that_has_to_wait_keeps_few_parameters() {
    let (mut peer, handle) = Scripted::requested(Filter::LargestObject);
    let unknown = Parameter::Unknown(KeyValuePair::Varint {
        key: 0x20,
        value: 1,
    });
    let mut parameters = vec![unknown; 10_000];
    parameters.push(Parameter::DeliveryTimeout(500));
    let mut update = subscribe_update(2, 0);
    update.parameters = Parameters(parameters);
    peer.send(&ControlMessage::SubscribeUpdate(update));
    peer.endpoint
        .call(|s, now| s.accept_subscribe(handle, subscribe_answer(1), now))
        .unwrap();
    let Event::SubscriptionUpdated(change) = peer.event() else {
        panic!()
    };
    assert_eq!(change.parameters.0, [Parameter::DeliveryTimeout(500)]);
}
