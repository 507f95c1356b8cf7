//! More publishers of one namespace than a track may have: one of them has what is asked for.

use super::*;

const UNKNOWN: SubscribeErrorCode = SubscribeErrorCode::TRACK_DOES_NOT_EXIST;

/// A hub where sessions 100, 101, … announced `room`, one after the other.
fn room(publishers: u64, change: impl FnOnce(&mut RelayLimits)) -> Relay {
    let base = Relay::new();
    let mut limits = RelayLimits::default();
    change(&mut limits);
    let mut relay = Relay::with_limits(limits, base.now);
    for number in 0..publishers {
        assert!(relay.hub.session_opened(SessionId(100 + number)));
        relay.announce(SessionId(100 + number), "room");
    }
    relay
}

impl Relay {
    fn refuse(&mut self, upstream: u64) -> Vec<Action> {
        self.hub
            .upstream_rejected(UpstreamId(upstream), UNKNOWN, self.now);
        self.actions()
    }
}

fn sessions<const N: usize>(numbers: [u64; N]) -> [SessionId; N] {
    numbers.map(SessionId)
}

/// S8.4-05: each publisher of the namespace is asked.
#[test]
fn a_track_of_the_oldest_of_five_publishers_is_found() {
    let mut relay = room(5, |_| {});
    let newest = asked(&relay.subscribe(VIEWER, handle(5), "room#x"));
    assert_eq!(newest, sessions([104, 103, 102, 101]));
    assert_eq!(asked(&relay.refuse(0)), sessions([100]));
    for upstream in 1..4 {
        assert_eq!(relay.refuse(upstream), []);
    }
    relay
        .hub
        .upstream_accepted(UpstreamId(4), LARGEST, relay.now);
    let largest = LargestSource::Upstream(LARGEST);
    assert_eq!(accepted(&relay.actions()), [(VIEWER, largest)]);
}

#[test]
fn a_name_that_no_publisher_has_is_refused_once() {
    let mut relay = room(5, |_| {});
    relay.subscribe(VIEWER, handle(5), "room#x");
    for upstream in 0..4 {
        assert!(rejected(&relay.refuse(upstream)).is_empty());
    }
    assert_eq!(rejected(&relay.refuse(4)), [(VIEWER, UNKNOWN)]);
    assert!(relay.hub.tracks.is_empty() && relay.hub.upstreams.is_empty());
    let again = asked(&relay.subscribe(VIEWER, handle(7), "room#x"));
    assert_eq!(again, sessions([104, 103, 102, 101]), "a new question");
}

/// S8.2-03: what a name costs that nobody has does not grow with the number of publishers.
#[test]
fn not_all_of_very_many_publishers_are_asked_for_one_name() {
    let mut relay = room(200, |_| {});
    relay.subscribe(VIEWER, handle(5), "room#x");
    let mut refusals = 0;
    let told = loop {
        let told = rejected(&relay.refuse(refusals));
        refusals += 1;
        if !told.is_empty() {
            break told;
        }
    };
    assert_eq!(told, [(VIEWER, UNKNOWN)]);
    assert_eq!(refusals, limits::PUBLISHERS_TO_TRY as u64);
}

/// S8.4-05: as many as a track may have leave everybody waiting; who comes next does not wait for them, of whatever track.
#[test]
fn publishers_that_do_not_answer_stand_in_no_other_ones_way() {
    let mut relay = room(5, |_| {});
    let newest = asked(&relay.subscribe(VIEWER, handle(5), "room#x"));
    assert_eq!(newest, sessions([104, 103, 102, 101]));
    let told = relay.pass(RelayLimits::default().upstream_timeout);
    assert_eq!(rejected(&told), [(VIEWER, SubscribeErrorCode::TIMEOUT)]);
    let again = asked(&relay.subscribe(VIEWER, handle(7), "room#x"));
    assert_eq!(again, sessions([100]));
    let other = asked(&relay.subscribe(VIEWER, handle(9), "room#y"));
    assert_eq!(other, sessions([100, 104, 103, 102]));
    // One that answers is what it was before.
    relay.hub.upstream_answered(UpstreamId(3));
    relay.refuse(3);
    let third = asked(&relay.subscribe(VIEWER, handle(11), "room#z"));
    assert_eq!(third, sessions([101, 100, 104, 103]));
}

/// SUBSCRIBE_OK and PUBLISH are answers, too.
#[test]
fn a_publisher_that_has_something_is_asked_as_before() {
    for offers in [false, true] {
        let mut relay = room(5, |_| {});
        relay.subscribe(VIEWER, handle(5), "room#x");
        relay.pass(RelayLimits::default().upstream_timeout);
        let other = asked(&relay.subscribe(VIEWER, handle(9), "room#y"));
        assert_eq!(other, sessions([100, 104, 103, 102]));
        let now = relay.now;
        if offers {
            let name = "room#z".parse().unwrap();
            let hub = &mut relay.hub;
            hub.publish_requested(SessionId(103), handle(1), name, LARGEST, now);
        } else {
            // Upstreams 0 to 3 are those that were asked first, and 4 and 5 are before it.
            relay.hub.upstream_accepted(UpstreamId(6), LARGEST, now);
        }
        relay.actions();
        let third = asked(&relay.subscribe(VIEWER, handle(11), "room#a"));
        assert_eq!(third, sessions([103, 100, 104, 102]), "offers: {offers}");
    }
}

/// Who waits already is served as well as who comes later.
#[test]
fn who_waits_while_others_do_not_answer_is_served_by_the_next() {
    let mut relay = room(5, |_| {});
    relay.subscribe(VIEWER, handle(5), "room#x");
    relay.pass(Duration::from_millis(900));
    assert_eq!(asked(&relay.subscribe(VIEWER, handle(7), "room#x")), []);
    let told = relay.pass(Duration::from_millis(100));
    assert_eq!(rejected(&told), [(VIEWER, SubscribeErrorCode::TIMEOUT)]);
    assert_eq!(asked(&told), sessions([100]));
}

/// Of those that do not answer each has its turn.
#[test]
fn publishers_that_do_not_answer_take_turns() {
    let mut relay = room(6, |_| {});
    let mut tried = BTreeSet::new();
    for number in 0..6 {
        let name = format!("room#{number}");
        tried.extend(asked(&relay.subscribe(VIEWER, handle(number), &name)));
        relay.pass(RelayLimits::default().upstream_timeout);
    }
    let newest = asked(&relay.subscribe(VIEWER, handle(9), "room#x"));
    assert_eq!(tried.len(), 6);
    let before = asked(&relay.subscribe(VIEWER, handle(10), "room#y"));
    assert_eq!(newest, before);
    relay.pass(RelayLimits::default().upstream_timeout);
    let after = asked(&relay.subscribe(VIEWER, handle(11), "room#z"));
    assert_ne!(after, before);
}

/// The offer that replaced the question was refused: the others are asked.
#[test]
fn who_waits_for_an_offer_that_was_refused_is_served_by_others() {
    let mut relay = room(5, |_| {});
    relay.subscribe(VIEWER, handle(5), "room#x");
    relay.hub.upstream_superseded(UpstreamId(0), relay.now);
    // It can be asked again, too.
    assert_eq!(asked(&relay.actions()), sessions([104]));
    relay
        .hub
        .session_closed(SessionId(104), Vec::new(), relay.now);
    assert_eq!(asked(&relay.actions()), sessions([100]));
}

/// The offer that replaced the question was refused, and there is nobody to ask.
#[test]
fn who_waits_for_an_offer_that_was_refused_is_told_at_once_that_nobody_has_the_track() {
    let mut relay = Relay::new();
    relay.announce(PUBLISHER, "live");
    relay.subscribe(VIEWER, handle(5), "live#x");
    relay.hub.namespace_done(PUBLISHER, handle(0));
    relay.hub.upstream_superseded(UpstreamId(0), relay.now);
    assert_eq!(rejected(&relay.actions()), [(VIEWER, UNKNOWN)]);
    assert!(relay.hub.tracks.is_empty());
}

/// One that has said PUBLISH_DONE is not among those that serve the track.
#[test]
fn a_publisher_that_answers_too_late_takes_the_place_of_one_that_has_ended() {
    let mut relay = room(3, |limits| limits.max_publishers_per_track = 2);
    let first = asked(&relay.subscribe(VIEWER, handle(5), "room#x"));
    assert_eq!(first, sessions([102, 101]));
    relay.pass(RelayLimits::default().upstream_timeout);
    let then = asked(&relay.subscribe(VIEWER, handle(7), "room#x"));
    assert_eq!(then, sessions([100]));
    for upstream in [0, 2] {
        let id = UpstreamId(upstream);
        relay.hub.upstream_accepted(id, LARGEST, relay.now);
    }
    let ended = PublishDoneCode::TRACK_ENDED;
    relay.hub.upstream_ends(UpstreamId(0), ended, relay.now);
    relay.actions();
    relay
        .hub
        .upstream_accepted(UpstreamId(1), LARGEST, relay.now);
    let left = |action: &Action| matches!(action, Action::UnsubscribeUpstream { .. });
    assert!(!relay.actions().iter().any(left));
}

/// S8.2-03: those that answer at last are left, if others serve the track by then.
#[test]
fn publishers_that_answer_too_late_are_not_more_than_a_track_may_have() {
    let mut relay = room(8, |_| {});
    relay.subscribe(VIEWER, handle(5), "room#x");
    relay.pass(RelayLimits::default().upstream_timeout);
    let others = asked(&relay.subscribe(VIEWER, handle(7), "room#x"));
    assert_eq!(others, sessions([103, 102, 101, 100]));
    for upstream in [4, 5, 6, 7, 0, 1] {
        relay
            .hub
            .upstream_accepted(UpstreamId(upstream), LARGEST, relay.now);
        let left = |action: &Action| matches!(action, Action::UnsubscribeUpstream { upstream: id, .. } if id.0 == upstream);
        let is_left = relay.actions().iter().any(left);
        assert_eq!(is_left, upstream < 4, "{upstream}");
    }
}

/// The one that had the track is gone, and it is the oldest one that goes on with it.
#[test]
fn viewers_of_a_lost_publisher_are_taken_to_whichever_has_the_track() {
    let mut relay = room(5, |limits| limits.max_publishers_per_track = 2);
    relay.subscribe(VIEWER, handle(5), "room#x");
    relay.refuse(0);
    relay
        .hub
        .upstream_accepted(UpstreamId(1), LARGEST, relay.now);
    relay.actions();
    relay.pass(Duration::from_secs(10));
    relay.refuse(2);
    relay
        .hub
        .session_closed(SessionId(103), Vec::new(), relay.now);
    let mut asked_now = asked(&relay.actions());
    let mut upstream = relay.hub.next_upstream - asked_now.len() as u64;
    let mut tried = Vec::new();
    while let Some(session) = asked_now.pop() {
        tried.push(session);
        if session == SessionId(100) {
            break;
        }
        asked_now.extend(asked(&relay.refuse(upstream)));
        upstream += 1;
    }
    assert!(tried.contains(&SessionId(100)), "{tried:?}");
}

/// While one of them is silent the others are asked again for who asks later, but not for each.
#[test]
fn a_crowd_at_a_silent_publisher_does_not_have_the_others_asked_for_each_viewer() {
    let mut relay = room(2, |_| {});
    relay.subscribe(VIEWER, handle(0), "room#x");
    relay.refuse(0);
    for number in 1..100 {
        let actions = relay.subscribe(VIEWER, handle(number), "room#x");
        assert!(asked(&actions).is_empty());
    }
    relay.pass(limits::QUESTION_REST);
    let later = asked(&relay.subscribe(VIEWER, handle(100), "room#x"));
    assert_eq!(later, sessions([101]));
}

/// `max_upstreams_per_session`.
#[test]
fn a_publisher_that_serves_as_much_as_it_may_stands_in_no_others_way() {
    let mut relay = room(2, |limits| {
        limits.max_publishers_per_track = 1;
        limits.max_upstreams_per_session = 1;
    });
    let first = asked(&relay.subscribe(VIEWER, handle(5), "room#x"));
    assert_eq!(first, sessions([101]));
    let second = asked(&relay.subscribe(VIEWER, handle(6), "room#y"));
    assert_eq!(second, sessions([100]));
    let third = rejected(&relay.subscribe(VIEWER, handle(7), "room#z"));
    assert_eq!(third, [(VIEWER, SubscribeErrorCode::INTERNAL_ERROR)]);
}

/// One of them may be there to take over, and the newest ones refuse.
#[test]
fn beside_one_that_serves_a_track_each_publisher_has_its_turn() {
    let mut relay = room(5, |limits| limits.max_publishers_per_track = 2);
    let first = asked(&relay.subscribe(VIEWER, handle(5), "room#x"));
    assert_eq!(first, sessions([104, 103]));
    relay
        .hub
        .upstream_accepted(UpstreamId(0), LARGEST, relay.now);
    relay.actions();
    let mut tried = Vec::new();
    for upstream in 1..9 {
        assert_eq!(relay.refuse(upstream), []);
        tried.extend(asked(&relay.pass(Duration::from_secs(64))));
    }
    assert_eq!(tried, sessions([102, 101, 100, 103, 102, 101, 100, 103]));
}

/// Publishers far away refuse four at a time, so the time of one viewer is not enough for all of them.
#[test]
fn the_oldest_of_many_slow_publishers_is_asked_in_the_end() {
    for crowd in [false, true] {
        let mut relay = room(45, |_| {});
        let mut pending = asked(&relay.subscribe(VIEWER, handle(0), "room#x")).len() as u64;
        let (mut first, mut tried) = (0, Vec::new());
        for turn in 1..=20 {
            let mut actions = relay.pass(Duration::from_millis(100));
            let (from, to) = (first, first + pending);
            for upstream in from..to {
                actions.extend(relay.refuse(upstream));
            }
            first = to;
            if crowd {
                actions.extend(relay.subscribe(OTHER, handle(turn), "room#x"));
            }
            pending = asked(&actions).len() as u64;
            tried.extend(asked(&actions));
            if tried.contains(&SessionId(100)) {
                break;
            }
        }
        assert!(tried.contains(&SessionId(100)), "crowd: {crowd}, {tried:?}");
        assert!(tried.len() < 45, "crowd: {crowd}, {tried:?}");
    }
}
