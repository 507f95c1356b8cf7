//! What one session can make the relay hold.

use super::*;

/// A hub where one session may have at most so many of anything.
fn capped(change: impl FnOnce(&mut RelayLimits)) -> Relay {
    let base = Relay::new();
    let mut limits = RelayLimits::default();
    change(&mut limits);
    Relay::with_limits(limits, base.now)
}

#[test]
fn namespaces_of_one_session_are_capped() {
    let mut relay = capped(|limits| limits.max_namespaces_per_session = 2);
    for (number, name) in [(0, "a"), (1, "b"), (2, "c")] {
        let name = name.parse().unwrap();
        relay
            .hub
            .namespace_published(PUBLISHER, handle(number), name, relay.now);
    }
    let answers = relay.actions();
    assert!(matches!(
        answers[..],
        [
            Action::AcceptNamespace { .. },
            Action::AcceptNamespace { .. },
            Action::RejectNamespace {
                code: PublishNamespaceErrorCode::INTERNAL_ERROR,
                ..
            }
        ]
    ));
    assert!(asked(&relay.subscribe(VIEWER, handle(5), "c#x")).is_empty());
    assert_eq!(
        relay.announce(BACKUP, "c").len(),
        1,
        "others are not concerned"
    );

    relay.hub.namespace_done(PUBLISHER, handle(0));
    let name = "c".parse().unwrap();
    relay
        .hub
        .namespace_published(PUBLISHER, handle(3), name, relay.now);
    assert!(matches!(
        relay.actions()[..],
        [Action::AcceptNamespace { .. }]
    ));
}

#[test]
fn tracks_offered_by_one_session_are_capped() {
    let mut relay = capped(|limits| limits.max_published_per_session = 1);
    let mut publish = |session, number, name: &str| {
        let name = name.parse().unwrap();
        relay
            .hub
            .publish_requested(session, handle(number), name, None, relay.now);
        relay.actions().into_iter().find_map(|action| match action {
            Action::RejectPublish { code, .. } => Some(code),
            _ => None,
        })
    };
    assert_eq!(publish(PUBLISHER, 1, "live#a"), None);
    let refused = Some(PublishErrorCode::INTERNAL_ERROR);
    assert_eq!(publish(PUBLISHER, 2, "live#b"), refused);
    assert_eq!(publish(BACKUP, 1, "live#b"), None);
    relay
        .hub
        .upstream_done(UpstreamId(0), PublishDoneCode::TRACK_ENDED, "", relay.now);
    relay.actions();
    let name = "live#c".parse().unwrap();
    relay
        .hub
        .publish_requested(PUBLISHER, handle(3), name, None, relay.now);
    assert!(
        relay
            .actions()
            .iter()
            .any(|a| matches!(a, Action::AcceptPublish { .. }))
    );
}

#[test]
fn subscriptions_of_one_session_are_capped() {
    let mut relay = capped(|limits| limits.max_subscriptions_per_session = 1);
    relay.announce(PUBLISHER, "live");
    relay.subscribe(VIEWER, handle(5), "live#a");
    relay
        .hub
        .upstream_accepted(UpstreamId(0), LARGEST, relay.now);
    relay.actions();
    let refused = [(VIEWER, SubscribeErrorCode::INTERNAL_ERROR)];
    assert_eq!(
        rejected(&relay.subscribe(VIEWER, handle(6), "live#a")),
        refused
    );
    assert_eq!(
        accepted(&relay.subscribe(OTHER, handle(5), "live#a")).len(),
        1
    );
    relay.hub.downstream_left(VIEWER, handle(5));
    assert_eq!(
        accepted(&relay.subscribe(VIEWER, handle(7), "live#a")).len(),
        1
    );
}

/// One viewer that asks for names nobody has must not use up what the publisher can be asked.
#[test]
fn a_flood_of_unknown_names_below_a_namespace_waits_in_small_numbers() {
    let mut relay = capped(|limits| limits.max_waiting_per_session = 2);
    relay.announce(PUBLISHER, "live");
    for number in 0..2 {
        let track = format!("live#{number}");
        assert_eq!(
            asked(&relay.subscribe(VIEWER, handle(number), &track)),
            [PUBLISHER]
        );
    }
    let refused = [(VIEWER, SubscribeErrorCode::INTERNAL_ERROR)];
    assert_eq!(
        rejected(&relay.subscribe(VIEWER, handle(7), "live#7")),
        refused
    );
    assert_eq!(
        asked(&relay.subscribe(OTHER, handle(5), "live#7")),
        [PUBLISHER]
    );

    let unknown = SubscribeErrorCode::TRACK_DOES_NOT_EXIST;
    relay
        .hub
        .upstream_rejected(UpstreamId(0), unknown, relay.now);
    relay.hub.upstream_accepted(UpstreamId(1), None, relay.now);
    relay.actions();
    for number in 8..10 {
        let track = format!("live#{number}");
        assert_eq!(
            asked(&relay.subscribe(VIEWER, handle(number), &track)),
            [PUBLISHER]
        );
    }
}

#[test]
fn what_one_publisher_is_asked_for_is_capped() {
    let mut relay = capped(|limits| limits.max_upstreams_per_session = 1);
    relay.announce(PUBLISHER, "live");
    assert_eq!(
        asked(&relay.subscribe(VIEWER, handle(5), "live#a")),
        [PUBLISHER]
    );
    let refused = [(VIEWER, SubscribeErrorCode::INTERNAL_ERROR)];
    assert_eq!(
        rejected(&relay.subscribe(VIEWER, handle(6), "live#b")),
        refused
    );
    assert_eq!(relay.hub.tracks.len(), 1);
    assert_eq!(asked(&relay.announce(BACKUP, "live")), [BACKUP]);
    relay.hub.downstream_left(VIEWER, handle(5));
    relay.actions();
    assert_eq!(
        asked(&relay.subscribe(OTHER, handle(5), "live#c")),
        [BACKUP, PUBLISHER]
    );
}

/// Names that nobody waits for any more must not take up what a publisher can be asked.
#[test]
fn slow_answers_are_waited_for_with_half_of_what_a_publisher_takes() {
    let mut relay = capped(|limits| limits.max_upstreams_per_session = 4);
    relay.announce(PUBLISHER, "live");
    for number in 0..3 {
        relay.subscribe(VIEWER, handle(number), &format!("live#{number}"));
    }
    relay.pass(Duration::from_secs(1));
    assert_eq!(relay.hub.upstreams.len(), 2);
    relay.pass(RelayLimits::default().answer_grace);
    assert!(relay.hub.tracks.is_empty());
    assert_eq!(relay.hub.deadline(), None);

    let mut relay = capped(|limits| limits.answer_grace = Duration::ZERO);
    relay.announce(PUBLISHER, "live");
    relay.subscribe(VIEWER, handle(5), "live#a");
    relay.pass(Duration::from_secs(1));
    assert!(relay.hub.tracks.is_empty());
}

/// Its Request IDs are for those who ask for what it has.
#[test]
fn slow_answers_are_waited_for_with_few_requests_of_a_publisher() {
    let mut relay = Relay::new();
    relay.announce(PUBLISHER, "live");
    let kept = limits::KEPT_TRACKS;
    for number in 0..=kept as u64 {
        relay.subscribe(VIEWER, handle(number), &format!("live#{number}"));
    }
    relay.pass(Duration::from_secs(1));
    assert_eq!(relay.hub.upstreams.len(), kept);
    // Somebody waits for one of them when it is answered.
    relay.pass(Duration::from_secs(1));
    relay.subscribe(VIEWER, handle(100), "live#0");
    relay
        .hub
        .upstream_accepted(UpstreamId(0), LARGEST, relay.now);
    relay.pass(RelayLimits::default().answer_grace);
    assert_eq!(relay.hub.upstreams.len(), 1);
    for number in 200..=200 + kept as u64 {
        relay.subscribe(VIEWER, handle(number), &format!("live#{number}"));
    }
    relay.pass(Duration::from_secs(1));
    assert_eq!(relay.hub.upstreams.len(), 1 + kept);
    relay.pass(RelayLimits::default().answer_grace);
    assert_eq!(relay.hub.upstreams.len(), 1);
}

/// Two publishers, of which one is asked for a track at a time: first [`BACKUP`].
fn one_place() -> Relay {
    let base = Relay::new();
    let limits = RelayLimits {
        max_publishers_per_track: 1,
        ..RelayLimits::default()
    };
    let mut relay = Relay::with_limits(limits, base.now);
    relay.announce(PUBLISHER, "live");
    relay.announce(BACKUP, "live");
    relay
}

/// Those that refuse late leave no more names to one that never answers.
#[test]
fn no_more_requests_are_left_with_a_silent_publisher_because_others_refuse() {
    let mut relay = one_place();
    let kept = limits::KEPT_TRACKS as u64;
    for round in 0..3 {
        for number in 0..kept {
            let name = format!("live#{round}/{number}");
            relay.subscribe(VIEWER, handle(round * kept + number), &name);
        }
        relay.pass(Duration::from_secs(1));
        let asked: Vec<_> = relay.hub.upstreams.iter().collect();
        let refusing = asked.iter().filter(|(_, it)| it.session == BACKUP);
        let refusing: Vec<_> = refusing.map(|(id, _)| **id).collect();
        let code = SubscribeErrorCode::TRACK_DOES_NOT_EXIST;
        for upstream in refusing {
            relay.hub.upstream_rejected(upstream, code, relay.now);
        }
        relay.actions();
    }
    assert_eq!(relay.hub.upstreams.len(), limits::KEPT_TRACKS);
}

/// Nor because somebody asks a second time and leaves.
#[test]
fn a_request_that_nobody_waits_for_any_more_is_not_left_with_whoever_was_asked_last() {
    let mut relay = one_place();
    relay.subscribe(VIEWER, handle(1), "live#x");
    relay.pass(Duration::from_secs(1));
    let asked_again = asked(&relay.subscribe(VIEWER, handle(2), "live#x"));
    assert_eq!(asked_again, [PUBLISHER]);
    let code = SubscribeErrorCode::TRACK_DOES_NOT_EXIST;
    relay.hub.upstream_rejected(UpstreamId(0), code, relay.now);
    relay.actions();
    relay.hub.downstream_left(VIEWER, handle(2));
    relay.actions();
    assert!(relay.hub.upstreams.is_empty());
    assert!(relay.hub.tracks.is_empty());
}

#[test]
fn publishers_of_one_namespace_are_found_newest_first_and_each_once() {
    let mut routes = Routes::default();
    let namespace: TrackNamespace = "live/cam".parse().unwrap();
    for number in 0..100 {
        routes.insert(&namespace, SessionId(number));
        routes.insert(&"live".parse().unwrap(), SessionId(number));
    }
    let found: Vec<_> = routes.matching(&namespace).collect();
    assert_eq!(found[..2], [SessionId(99), SessionId(98)]);
    assert_eq!(found.len(), 100);
}

/// PUBLISH_NAMESPACE is small, and there may be very many tracks under it.
#[test]
fn an_announcement_takes_running_tracks_over_bit_by_bit() {
    const TRACKS: u64 = 200;
    let mut relay = Relay::new();
    for number in 0..TRACKS {
        let name = format!("live/{number}#x").parse().unwrap();
        let publisher = [PUBLISHER, OTHER][(number % 2) as usize];
        let hub = &mut relay.hub;
        hub.publish_requested(publisher, handle(number), name, None, relay.now);
        relay.subscribe(VIEWER, handle(number), &format!("live/{number}#x"));
    }
    let first = asked(&relay.announce(BACKUP, "live")).len();
    assert!(first > 0 && first < TRACKS as usize, "{first} at once");
    let mut taken = first;
    while relay.hub.deadline().is_some_and(|at| at <= relay.now) {
        taken += asked(&relay.pass(Duration::ZERO)).len();
    }
    assert_eq!(taken, TRACKS as usize);

    relay.hub.session_closed(BACKUP, Vec::new(), relay.now);
    relay.hub.session_opened(BACKUP);
    relay.announce(BACKUP, "live");
    relay.hub.namespace_done(BACKUP, handle(0));
    relay.actions();
    assert!(asked(&relay.pass(Duration::ZERO)).is_empty(), "withdrawn");
    assert_eq!(relay.hub.deadline(), None);
}

/// `max_lookups_per_second`: who announces a prefix of very many tracks again and again makes the relay look at no more of
/// them than that, and keeps nobody else from announcing.
#[test]
fn what_one_session_makes_the_relay_look_at_in_a_second_is_capped() {
    const TRACKS: u64 = 10;
    let mut relay = capped(|limits| limits.max_lookups_per_second = 7);
    for number in 0..TRACKS {
        let name = format!("live/{number}#x").parse().unwrap();
        relay
            .hub
            .publish_requested(PUBLISHER, handle(number), name, None, relay.now);
        relay.subscribe(VIEWER, handle(number), &format!("live/{number}#x"));
    }
    // One for the announcement.
    assert_eq!(asked(&relay.announce(BACKUP, "live")).len(), 6);
    let second = Duration::from_secs(1);
    assert_eq!(relay.hub.deadline(), Some(relay.now + second));
    assert!(asked(&relay.pass(second / 2)).is_empty());
    relay.hub.namespace_done(BACKUP, handle(0));
    let again = relay.announce(BACKUP, "live");
    assert!(
        matches!(
            again[..],
            [Action::RejectNamespace {
                code: PublishNamespaceErrorCode::INTERNAL_ERROR,
                ..
            }]
        ),
        "{again:?}"
    );
    assert_eq!(asked(&relay.announce(OTHER, "live")).len(), 6);

    relay.pass(second / 2);
    assert_eq!(asked(&relay.announce(BACKUP, "live")).len(), 0, "asked");
    relay.hub.session_closed(OTHER, Vec::new(), relay.now);
    relay.actions();
    assert_eq!(relay.hub.deadline(), Some(relay.now + second));
    let later = relay.pass(second);
    assert_eq!(asked(&later).len(), 4, "the rest");
    assert_eq!(relay.hub.deadline(), None);
}

/// What waits for its time must not be asked for at the moment at which nobody wants it any more.
#[test]
fn a_lookup_that_is_due_with_the_end_of_a_wait_asks_nobody() {
    let mut relay = capped(|limits| limits.max_lookups_per_second = 1);
    relay.announce(PUBLISHER, "live");
    relay.subscribe(VIEWER, handle(5), "live#a");
    assert!(asked(&relay.announce(BACKUP, "live")).is_empty());
    let both = relay.pass(Duration::from_secs(1));
    assert_eq!(rejected(&both), [(VIEWER, SubscribeErrorCode::TIMEOUT)]);
    assert!(asked(&both).is_empty(), "{both:?}");
    relay.pass(RelayLimits::default().answer_grace);
    assert_eq!(relay.hub.deadline(), None);
}

/// A time that cannot be reached is none.
#[test]
fn times_without_end_are_never_over() {
    let limits = RelayLimits {
        upstream_timeout: Duration::MAX,
        publisher_linger: Duration::MAX,
        ..RelayLimits::default()
    };
    let mut relay = Relay::live_with(limits);
    relay.subscribe(VIEWER, handle(7), "live/cam#audio");
    assert_eq!(relay.hub.deadline(), None);
    relay.hub.session_closed(PUBLISHER, Vec::new(), relay.now);
    relay.actions();
    assert_eq!(relay.hub.deadline(), None);
    assert!(relay.pass(Duration::from_secs(1 << 30)).is_empty());
    assert_eq!(asked(&relay.announce(BACKUP, "live")), [BACKUP]);
}
