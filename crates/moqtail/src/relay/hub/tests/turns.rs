//! Very many subscribers who wait for one answer.

use super::*;

const CROWD: u64 = 600;

/// A hub where so many wait for `live#x`, with its publisher's answer.
fn answered_crowd() -> (Relay, Vec<Action>) {
    let base = Relay::new();
    let limits = RelayLimits {
        max_waiting_per_session: usize::MAX,
        ..RelayLimits::default()
    };
    let mut relay = Relay::with_limits(limits, base.now);
    relay.announce(PUBLISHER, "live");
    for number in 0..CROWD {
        relay.subscribe(VIEWER, handle(number), "live#x");
    }
    relay.now += Duration::from_millis(900);
    relay
        .hub
        .upstream_accepted(UpstreamId(0), LARGEST, relay.now);
    let first = relay.actions();
    (relay, first)
}

/// The requests that were accepted.
fn answered(actions: &[Action]) -> BTreeSet<RequestHandle> {
    let mut handles = BTreeSet::new();
    for action in actions {
        if let Action::AcceptSubscribe { handle, .. } = action {
            assert!(handles.insert(*handle), "answered twice");
        }
    }
    assert!(rejected(actions).is_empty(), "{actions:?}");
    handles
}

/// Every other session waits while one answer is passed on.
#[test]
fn a_crowd_is_answered_in_turns() {
    let (mut relay, mut actions) = answered_crowd();
    let largest = LargestSource::Upstream(LARGEST);
    assert_eq!(accepted(&actions), vec![(VIEWER, largest); limits::ANSWERS]);
    assert_eq!(relay.hub.deadline(), Some(relay.now));
    // Who comes meanwhile is served at once.
    let late = relay.subscribe(OTHER, handle(1000), "live#x");
    assert_eq!(accepted(&late), [(OTHER, LargestSource::Log)]);

    // Whoever was accepted waits no longer, however late its turn comes.
    let second = relay.pass(Duration::from_secs(1));
    assert_eq!(
        accepted(&second),
        vec![(VIEWER, LargestSource::Log); limits::ANSWERS]
    );
    actions.extend(second);
    assert!(relay.hub.deadline() <= Some(relay.now));
    actions.extend(relay.pass(Duration::ZERO));
    assert_eq!(answered(&actions).len() as u64, CROWD);
    assert_eq!(relay.hub.deadline(), None);
}

#[test]
fn who_had_no_turn_waits_on_when_the_publisher_is_lost() {
    let (mut relay, first) = answered_crowd();
    relay.hub.session_closed(PUBLISHER, Vec::new(), relay.now);
    assert_eq!(relay.actions(), []);
    assert_eq!(relay.pass(Duration::ZERO), []);
    assert!(relay.hub.deadline() > Some(relay.now));
    assert_eq!(asked(&relay.announce(BACKUP, "live")), [BACKUP]);
    relay
        .hub
        .upstream_accepted(UpstreamId(1), LARGEST, relay.now);
    let mut actions = first;
    actions.extend(relay.actions());
    actions.extend(relay.pass(Duration::ZERO));
    assert_eq!(answered(&actions).len() as u64, CROWD);
    assert_eq!(relay.hub.deadline(), None);

    let (mut relay, _) = answered_crowd();
    relay.hub.session_closed(PUBLISHER, Vec::new(), relay.now);
    let told = rejected(&relay.pass(Duration::from_millis(100)));
    let left = CROWD as usize - limits::ANSWERS;
    assert_eq!(told, vec![(VIEWER, SubscribeErrorCode::TIMEOUT); left]);
}

#[test]
fn nothing_is_left_of_a_crowd_that_goes_before_its_turn() {
    let (mut relay, _) = answered_crowd();
    for session in [PUBLISHER, BACKUP, VIEWER, OTHER] {
        relay.hub.session_closed(session, Vec::new(), relay.now);
    }
    relay.actions();
    assert!(relay.hub.is_empty(), "{:?}", relay.hub);
}

/// What has ended waits for nobody but those that were asked before, also when the time of some is over.
#[test]
fn nobody_else_is_asked_for_a_crowd_whose_track_ended_before_its_turn() {
    let base = Relay::new();
    let limits = RelayLimits {
        max_waiting_per_session: usize::MAX,
        max_publishers_per_track: 2,
        ..RelayLimits::default()
    };
    let mut relay = Relay::with_limits(limits, base.now);
    for session in [OTHER, PUBLISHER, BACKUP] {
        relay.announce(session, "live");
    }
    let half = Duration::from_millis(500);
    for number in 0..CROWD {
        if number == CROWD / 2 {
            relay.pass(half);
        }
        relay.subscribe(VIEWER, handle(number), "live#x");
    }
    let ended = PublishDoneCode::TRACK_ENDED;
    let serves = UpstreamId(0);
    relay.hub.upstream_accepted(serves, LARGEST, relay.now);
    relay.hub.upstream_done(serves, ended, "over", relay.now);
    assert_eq!(accepted(&relay.actions()).len(), limits::ANSWERS);
    let actions = relay.pass(half);
    let overdue = CROWD as usize / 2 - limits::ANSWERS;
    assert_eq!(rejected(&actions).len(), overdue);
    assert_eq!(asked(&actions), []);
}
