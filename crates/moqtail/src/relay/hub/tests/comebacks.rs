//! Publishers that vanish, those that come back, and those that take over.

use super::*;

/// S8.4-13: a publisher that comes back is subscribed to again, and its subscribers never notice.
#[test]
fn subscribers_outlive_a_publisher_that_restarts() {
    let mut relay = Relay::live();
    relay.hub.session_closed(PUBLISHER, Vec::new(), relay.now);
    assert!(relay.actions().is_empty());
    assert_eq!(asked(&relay.announce(BACKUP, "live")), [BACKUP]);
    relay
        .hub
        .upstream_accepted(UpstreamId(1), LARGEST, relay.now);
    assert!(relay.pass(Duration::from_secs(60)).is_empty());
    assert_eq!(relay.hub.deadline(), None);
}

#[test]
fn subscribers_are_told_when_the_publisher_does_not_come_back() {
    let mut relay = Relay::live();
    relay.hub.session_closed(PUBLISHER, Vec::new(), relay.now);
    assert!(relay.pass(Duration::from_secs(9)).is_empty());
    let actions = relay.pass(Duration::from_secs(1));
    assert!(actions.iter().any(|a| matches!(
        a,
        Action::EndTrack {
            status: PublishDoneCode::INTERNAL_ERROR,
            ..
        }
    )));
}

/// It announces before it knows its tracks.
#[test]
fn a_publisher_that_comes_back_and_is_not_ready_is_asked_again() {
    let mut relay = Relay::live();
    relay.hub.session_closed(PUBLISHER, Vec::new(), relay.now);
    assert_eq!(asked(&relay.announce(BACKUP, "live")), [BACKUP]);
    let code = SubscribeErrorCode::TRACK_DOES_NOT_EXIST;
    let second = Duration::from_secs(1);
    for upstream in 1..=2 {
        relay
            .hub
            .upstream_rejected(UpstreamId(upstream), code, relay.now);
        assert_eq!(relay.actions(), []);
        assert_eq!(relay.hub.deadline(), Some(relay.now + second));
        assert_eq!(asked(&relay.pass(second)), [BACKUP]);
    }
    assert!(relay.pass(second).is_empty(), "it has not answered yet");
    relay
        .hub
        .upstream_accepted(UpstreamId(3), LARGEST, relay.now);
    assert!(relay.pass(Duration::from_secs(60)).is_empty());
    assert_eq!(relay.hub.deadline(), None);
}

/// Who refuses to the end is not waited for any longer than one that is gone.
#[test]
fn a_publisher_that_always_refuses_does_not_hold_its_viewers() {
    let limits = RelayLimits {
        publisher_retry: Duration::from_secs(3),
        ..RelayLimits::default()
    };
    let mut relay = Relay::live_with(limits);
    relay.announce(BACKUP, "live/cam");
    let code = SubscribeErrorCode::UNAUTHORIZED;
    relay.hub.upstream_rejected(UpstreamId(1), code, relay.now);
    relay.hub.session_closed(PUBLISHER, Vec::new(), relay.now);
    assert_eq!(asked(&relay.actions()), [BACKUP]);
    for upstream in 2..=4 {
        relay
            .hub
            .upstream_rejected(UpstreamId(upstream), code, relay.now);
        assert_eq!(asked(&relay.pass(Duration::from_secs(3))), [BACKUP]);
    }
    relay.hub.upstream_rejected(UpstreamId(5), code, relay.now);
    assert!(
        relay
            .pass(Duration::from_secs(1))
            .iter()
            .any(|a| matches!(a, Action::EndTrack { .. }))
    );
    relay.hub.downstream_ended(VIEWER, handle(5));
    assert_eq!(relay.hub.deadline(), None);
}

#[test]
fn without_a_time_to_ask_again_nobody_is_asked_twice() {
    for publisher_retry in [Duration::ZERO, Duration::MAX] {
        let mut relay = Relay::live_with(RelayLimits {
            publisher_retry,
            ..RelayLimits::default()
        });
        relay.hub.session_closed(PUBLISHER, Vec::new(), relay.now);
        relay.announce(BACKUP, "live");
        let code = SubscribeErrorCode::INTERNAL_ERROR;
        relay.hub.upstream_rejected(UpstreamId(1), code, relay.now);
        assert!(relay.pass(Duration::from_secs(9)).is_empty());
    }
}

/// A publisher that was killed and started again is two publishers until the relay misses the first one.
#[test]
fn a_track_that_one_publisher_ended_ends_when_the_other_vanishes() {
    let mut relay = Relay::live();
    relay.announce(BACKUP, "live/cam");
    relay
        .hub
        .upstream_accepted(UpstreamId(1), LARGEST, relay.now);
    relay.hub.upstream_done(
        UpstreamId(1),
        PublishDoneCode::TRACK_ENDED,
        "over",
        relay.now,
    );
    assert!(relay.actions().is_empty());
    relay.hub.session_closed(PUBLISHER, Vec::new(), relay.now);
    assert!(relay.actions().iter().any(|a| matches!(
        a,
        Action::EndTrack {
            status: PublishDoneCode::TRACK_ENDED,
            ..
        }
    )));
}

/// Of two that publish side by side the older one was stopped in good order: the other one may come back like any.
#[test]
fn a_publisher_that_a_stopped_one_left_alone_is_waited_for() {
    let mut relay = Relay::live();
    relay.announce(BACKUP, "live/cam");
    relay
        .hub
        .upstream_accepted(UpstreamId(1), LARGEST, relay.now);
    relay.hub.upstream_done(
        UpstreamId(0),
        PublishDoneCode::TRACK_ENDED,
        "over",
        relay.now,
    );
    relay.hub.session_closed(PUBLISHER, Vec::new(), relay.now);
    relay.hub.session_closed(BACKUP, Vec::new(), relay.now);
    assert_eq!(relay.actions(), []);
    let linger = RelayLimits::default().publisher_linger;
    assert_eq!(relay.hub.deadline(), Some(relay.now + linger));
    assert_eq!(asked(&relay.announce(OTHER, "live")), [OTHER]);
    relay
        .hub
        .upstream_accepted(UpstreamId(2), LARGEST, relay.now);
    assert!(relay.pass(linger).is_empty());
}

#[test]
fn a_second_publisher_takes_over_without_a_gap_in_service() {
    let mut relay = Relay::live();
    assert_eq!(asked(&relay.announce(BACKUP, "live/cam")), [BACKUP]);
    relay
        .hub
        .upstream_accepted(UpstreamId(1), LARGEST, relay.now);
    relay.hub.session_closed(PUBLISHER, Vec::new(), relay.now);
    relay
        .hub
        .upstream_done(UpstreamId(0), PublishDoneCode::TRACK_ENDED, "", relay.now);
    assert!(relay.actions().is_empty());
    assert_eq!(relay.hub.deadline(), None);
}

fn ends(actions: &[Action]) -> Vec<PublishDoneCode> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::EndTrack { status, .. } => Some(*status),
            _ => None,
        })
        .collect()
}

/// S8.4.1-01: it announces on its new network, answers there, and stops on the old one; the faster path brings the end first.
#[test]
fn a_publisher_that_moves_takes_its_viewers_along_whichever_path_is_faster() {
    let mut relay = Relay::live();
    assert_eq!(asked(&relay.announce(BACKUP, "live/cam")), [BACKUP]);
    let ended = PublishDoneCode::TRACK_ENDED;
    relay.hub.upstream_ends(UpstreamId(0), ended, relay.now);
    relay
        .hub
        .upstream_done(UpstreamId(0), ended, "over", relay.now);
    assert_eq!(relay.actions(), []);
    relay
        .hub
        .upstream_accepted(UpstreamId(1), LARGEST, relay.now);
    assert!(relay.pass(Duration::from_secs(60)).is_empty());
    assert_eq!(relay.hub.deadline(), None);
}

#[test]
fn a_track_that_ended_waits_no_longer_than_for_an_answer() {
    let ended = PublishDoneCode::TRACK_ENDED;
    let waits = || {
        let mut relay = Relay::live();
        relay.announce(BACKUP, "live/cam");
        relay
            .hub
            .upstream_done(UpstreamId(0), ended, "over", relay.now);
        assert_eq!(relay.actions(), []);
        relay
    };
    let mut relay = waits();
    let code = SubscribeErrorCode::TRACK_DOES_NOT_EXIST;
    relay.hub.upstream_rejected(UpstreamId(1), code, relay.now);
    assert_eq!(ends(&relay.actions()), [ended]);
    assert_eq!(relay.hub.deadline(), None);

    let mut relay = waits();
    assert_eq!(
        ends(&relay.pass(RelayLimits::default().upstream_timeout)),
        [ended]
    );
    assert_eq!(relay.hub.deadline(), None);
}

/// Its uplink stood still for a while: the publisher is well, and so are its viewers.
#[test]
fn viewers_outlive_a_publisher_that_gives_up_one_subscription() {
    for status in [PublishDoneCode::TOO_FAR_BEHIND, PublishDoneCode::GOING_AWAY] {
        let mut relay = Relay::live();
        relay.hub.upstream_ends(UpstreamId(0), status, relay.now);
        relay
            .hub
            .upstream_done(UpstreamId(0), status, "", relay.now);
        assert_eq!(asked(&relay.actions()), [PUBLISHER]);
        relay
            .hub
            .upstream_accepted(UpstreamId(1), LARGEST, relay.now);
        assert!(relay.pass(Duration::from_secs(60)).is_empty());
        assert_eq!(relay.hub.deadline(), None);
    }
}

#[test]
fn viewers_are_told_why_when_no_publisher_goes_on() {
    let mut relay = Relay::live();
    let status = PublishDoneCode::TOO_FAR_BEHIND;
    relay
        .hub
        .upstream_done(UpstreamId(0), status, "", relay.now);
    let code = SubscribeErrorCode::INTERNAL_ERROR;
    relay.hub.upstream_rejected(UpstreamId(1), code, relay.now);
    assert_eq!(
        ends(&relay.pass(RelayLimits::default().publisher_linger)),
        [status]
    );
}

/// One that ends each subscription at once is asked once a second, not as often as it answers.
#[test]
fn a_publisher_that_gives_up_at_once_is_not_asked_at_once() {
    let mut relay = Relay::live();
    let status = PublishDoneCode::TOO_FAR_BEHIND;
    relay
        .hub
        .upstream_done(UpstreamId(0), status, "", relay.now);
    assert_eq!(asked(&relay.actions()), [PUBLISHER]);
    for upstream in 1..4 {
        // An answer is no reason to be asked sooner.
        relay
            .hub
            .upstream_accepted(UpstreamId(upstream), LARGEST, relay.now);
        relay
            .hub
            .upstream_done(UpstreamId(upstream), status, "", relay.now);
        assert_eq!(relay.actions(), []);
        assert_eq!(
            asked(&relay.pass(RelayLimits::default().publisher_retry)),
            [PUBLISHER]
        );
    }
}

/// The session waits for streams that PUBLISH_DONE counted, and some of them may never come.
#[test]
fn viewers_do_not_wait_for_the_last_streams_of_a_publisher_that_gave_up() {
    for status in [PublishDoneCode::TOO_FAR_BEHIND, PublishDoneCode::GOING_AWAY] {
        let mut relay = Relay::live_with(RelayLimits {
            max_publishers_per_track: 1,
            ..RelayLimits::default()
        });
        relay.hub.upstream_ends(UpstreamId(0), status, relay.now);
        assert_eq!(asked(&relay.actions()), [PUBLISHER]);
        relay
            .hub
            .upstream_accepted(UpstreamId(1), LARGEST, relay.now);
        assert_eq!(relay.actions(), []);
        relay
            .hub
            .upstream_done(UpstreamId(0), status, "", relay.now);
        assert_eq!(relay.actions(), []);
        assert_eq!(relay.hub.deadline(), None);
    }
}

/// The one that gave up refuses, and another one has the track.
#[test]
fn all_publishers_are_asked_while_the_last_streams_of_one_that_gave_up_are_on_their_way() {
    let mut relay = Relay::live_with(RelayLimits {
        max_publishers_per_track: 1,
        ..RelayLimits::default()
    });
    relay.announce(BACKUP, "live");
    let status = PublishDoneCode::GOING_AWAY;
    relay.hub.upstream_ends(UpstreamId(0), status, relay.now);
    assert_eq!(asked(&relay.actions()), [BACKUP]);
    let code = SubscribeErrorCode::TRACK_DOES_NOT_EXIST;
    for (upstream, next) in [(1, PUBLISHER), (3, PUBLISHER)] {
        relay
            .hub
            .upstream_rejected(UpstreamId(upstream), code, relay.now);
        assert_eq!(asked(&relay.actions()), [next]);
        relay
            .hub
            .upstream_rejected(UpstreamId(upstream + 1), code, relay.now);
        assert_eq!(relay.actions(), []);
        let second = RelayLimits::default().publisher_retry;
        assert_eq!(asked(&relay.pass(second)), [BACKUP]);
    }
}

/// What is on its way of so many subscriptions has a bound.
#[test]
fn a_publisher_that_gives_up_again_and_again_is_not_asked_without_end() {
    let mut relay = Relay::live();
    let status = PublishDoneCode::TOO_FAR_BEHIND;
    let mut upstream = 0;
    loop {
        relay
            .hub
            .upstream_ends(UpstreamId(upstream), status, relay.now);
        let mut again = asked(&relay.actions());
        again.extend(asked(&relay.pass(Duration::from_secs(1))));
        if again.is_empty() {
            break;
        }
        assert_eq!(again, [PUBLISHER]);
        upstream += 1;
        relay
            .hub
            .upstream_accepted(UpstreamId(upstream), LARGEST, relay.now);
        relay.actions();
    }
    let max = RelayLimits::default().max_publishers_per_track;
    assert_eq!(relay.hub.upstreams.len(), 2 * max);
}

/// It gave up one subscription, went on, and ended the broadcast before the last streams of the first one were in.
#[test]
fn a_track_that_ends_while_what_was_given_up_is_on_its_way_ends_with_it() {
    let mut relay = Relay::live();
    let status = PublishDoneCode::TOO_FAR_BEHIND;
    relay.hub.upstream_ends(UpstreamId(0), status, relay.now);
    relay
        .hub
        .upstream_accepted(UpstreamId(1), LARGEST, relay.now);
    let ended = PublishDoneCode::TRACK_ENDED;
    relay.hub.upstream_ends(UpstreamId(1), ended, relay.now);
    relay
        .hub
        .upstream_done(UpstreamId(1), ended, "over", relay.now);
    assert_eq!(ends(&relay.actions()), []);
    relay
        .hub
        .upstream_done(UpstreamId(0), status, "", relay.now);
    assert_eq!(ends(&relay.actions()), [ended]);
}

/// S8.4-10: streams of the old track are on their way for some time after PUBLISH_DONE.
#[test]
fn who_subscribes_after_publish_done_is_not_served_by_what_has_ended() {
    let mut relay = Relay::live();
    let ended = PublishDoneCode::TRACK_ENDED;
    relay.hub.upstream_ends(UpstreamId(0), ended, relay.now);
    assert_eq!(relay.actions(), []);
    let again = relay.subscribe(OTHER, handle(6), "live/cam#video");
    assert_eq!(asked(&again), [PUBLISHER]);
    relay
        .hub
        .upstream_accepted(UpstreamId(1), LARGEST, relay.now);
    let largest = LargestSource::Upstream(LARGEST);
    assert_eq!(accepted(&relay.actions()), [(OTHER, largest)]);

    relay
        .hub
        .upstream_done(UpstreamId(0), ended, "over", relay.now);
    assert_eq!(ends(&relay.actions()), [ended]);
    relay.hub.downstream_ended(VIEWER, handle(5));
    relay.actions();
    let third = relay.subscribe(VIEWER, handle(8), "live/cam#video");
    assert_eq!(accepted(&third), [(VIEWER, LargestSource::Log)]);
}

/// A publisher that refused before would be taken for the old track, and could not be asked for the new one.
#[test]
fn nobody_is_asked_for_what_only_waits_to_be_read_out() {
    let mut relay = Relay::live();
    relay.announce(BACKUP, "live");
    let code = SubscribeErrorCode::TRACK_DOES_NOT_EXIST;
    relay.hub.upstream_rejected(UpstreamId(1), code, relay.now);
    let ended = PublishDoneCode::TRACK_ENDED;
    relay.hub.upstream_ends(UpstreamId(0), ended, relay.now);
    assert_eq!(relay.pass(RelayLimits::default().publisher_retry), []);
    let again = relay.subscribe(OTHER, handle(6), "live/cam#video");
    assert_eq!(asked(&again), [BACKUP, PUBLISHER]);
}

/// S8.4-10: the one that was to go on with it is gone before the last streams of the other one are in.
#[test]
fn who_subscribes_when_only_the_end_is_left_begins_anew() {
    let ended = PublishDoneCode::TRACK_ENDED;
    let gone_first = |relay: &mut Relay| relay.hub.session_closed(BACKUP, Vec::new(), relay.now);
    let refuses = |relay: &mut Relay| {
        let code = SubscribeErrorCode::INTERNAL_ERROR;
        relay.hub.upstream_rejected(UpstreamId(1), code, relay.now);
    };
    let ways: [&dyn Fn(&mut Relay); 2] = [&gone_first, &refuses];
    for goes in ways {
        let mut relay = Relay::live();
        relay.announce(BACKUP, "live");
        relay.hub.upstream_ends(UpstreamId(0), ended, relay.now);
        goes(&mut relay);
        relay.actions();
        let again = relay.subscribe(OTHER, handle(6), "live/cam#video");
        assert!(asked(&again).contains(&PUBLISHER), "{again:?}");
    }
}

/// A session that offered many tracks nobody watches leaves in good order.
#[test]
fn a_publisher_that_leaves_makes_nobody_asked_for_what_nobody_watches() {
    let mut relay = Relay::new();
    relay.announce(BACKUP, "live");
    let name: FullTrackName = "live/cam#video".parse().unwrap();
    relay
        .hub
        .publish_requested(PUBLISHER, handle(1), name, LARGEST, relay.now);
    relay.actions();
    let status = PublishDoneCode::GOING_AWAY;
    relay.hub.upstream_ends(UpstreamId(0), status, relay.now);
    relay
        .hub
        .upstream_done(UpstreamId(0), status, "", relay.now);
    assert!(asked(&relay.actions()).is_empty());
    assert!(relay.hub.tracks.is_empty());
    assert_eq!(relay.hub.deadline(), None);
}

/// Two encoders side by side: the one that started again announced before it had the track.
#[test]
fn a_publisher_that_was_not_ready_is_asked_again_beside_the_one_that_serves() {
    let mut relay = Relay::live();
    relay.announce(BACKUP, "live/cam");
    let code = SubscribeErrorCode::TRACK_DOES_NOT_EXIST;
    let waits = [1, 2, 4, 8, 16, 32, 64, 64];
    for (upstream, seconds) in (1..).zip(waits) {
        relay
            .hub
            .upstream_rejected(UpstreamId(upstream), code, relay.now);
        let before = Duration::from_secs(seconds) - Duration::from_millis(1);
        assert_eq!(relay.pass(before), []);
        assert_eq!(asked(&relay.pass(Duration::from_millis(1))), [BACKUP]);
    }
    relay
        .hub
        .upstream_accepted(UpstreamId(9), LARGEST, relay.now);
    assert_eq!(relay.hub.deadline(), None);
    // Nobody is asked for what nobody watches.
    relay.hub.downstream_left(VIEWER, handle(5));
    assert_eq!(relay.hub.deadline(), None);
    assert!(relay.hub.tracks.is_empty());
}

/// Beside one that serves the track it is asked less and less often, whether it refuses or takes it back.
#[test]
fn a_publisher_that_accepts_and_gives_up_is_asked_more_rarely() {
    let mut relay = Relay::live();
    relay.announce(BACKUP, "live/cam");
    let status = PublishDoneCode::TOO_FAR_BEHIND;
    for (upstream, seconds) in [(1, 1), (2, 2), (3, 4)] {
        relay
            .hub
            .upstream_accepted(UpstreamId(upstream), LARGEST, relay.now);
        relay
            .hub
            .upstream_done(UpstreamId(upstream), status, "", relay.now);
        let before = Duration::from_secs(seconds) - Duration::from_millis(1);
        assert_eq!(relay.pass(before), []);
        assert_eq!(asked(&relay.pass(Duration::from_millis(1))), [BACKUP]);
    }
}

/// It said why it goes before its session ended: nothing is asked of it any more, and it takes up no place.
#[test]
fn viewers_of_a_publisher_whose_session_ends_are_taken_to_the_one_that_stays() {
    let mut relay = Relay::with_limits(
        RelayLimits {
            max_publishers_per_track: 1,
            ..RelayLimits::default()
        },
        Relay::new().now,
    );
    relay.announce(BACKUP, "live");
    relay.announce(PUBLISHER, "live");
    let first = asked(&relay.subscribe(VIEWER, handle(5), "live/cam#video"));
    assert_eq!(first, [PUBLISHER]);
    relay
        .hub
        .upstream_accepted(UpstreamId(0), LARGEST, relay.now);
    relay.actions();
    let end = (PublishDoneCode::GOING_AWAY, String::new());
    let done = vec![(UpstreamId(0), end)];
    relay.hub.session_closed(PUBLISHER, done, relay.now);
    assert_eq!(asked(&relay.actions()), [BACKUP]);
}

/// One that came back takes up two places until its old session is missed.
#[test]
fn a_publisher_without_a_place_gets_the_one_that_is_left() {
    let mut relay = Relay::live_with(RelayLimits {
        max_publishers_per_track: 2,
        ..RelayLimits::default()
    });
    relay.announce(BACKUP, "live");
    relay
        .hub
        .upstream_accepted(UpstreamId(1), LARGEST, relay.now);
    assert_eq!(asked(&relay.announce(OTHER, "live")), []);
    relay.hub.session_closed(PUBLISHER, Vec::new(), relay.now);
    assert_eq!(asked(&relay.actions()), [OTHER]);
}

/// It starts its encoder for the first viewer, who does not wait that long but asks again.
#[test]
fn a_slow_publisher_serves_the_viewer_that_asks_again() {
    let mut relay = Relay::new();
    relay.announce(PUBLISHER, "live");
    relay.subscribe(VIEWER, handle(5), "live/cam#video");
    let actions = relay.pass(Duration::from_secs(1));
    assert_eq!(rejected(&actions), [(VIEWER, SubscribeErrorCode::TIMEOUT)]);
    assert_eq!(actions.len(), 1, "it may still answer");

    relay.pass(Duration::from_secs(1));
    relay
        .hub
        .upstream_accepted(UpstreamId(0), LARGEST, relay.now);
    let again = relay.subscribe(VIEWER, handle(7), "live/cam#video");
    assert_eq!(accepted(&again).len(), 1);
    relay.pass(Duration::from_secs(60));
    assert_eq!(relay.hub.deadline(), None);
    assert_eq!(relay.hub.upstreams.len(), 1);
}

/// It announced and offered in one breath: the offer is read already, and about to be told.
#[test]
fn viewers_wait_for_the_offer_of_a_publisher_that_could_not_be_asked() {
    let mut relay = Relay::new();
    relay.announce(PUBLISHER, "live");
    let asked = asked(&relay.subscribe(VIEWER, handle(5), "live/cam#video"));
    assert_eq!(asked, [PUBLISHER]);
    relay.hub.upstream_offers(UpstreamId(0), relay.now);
    assert_eq!(relay.actions(), []);
    let name = "live/cam#video".parse().unwrap();
    relay
        .hub
        .publish_requested(PUBLISHER, handle(1), name, LARGEST, relay.now);
    let actions = relay.actions();
    let largest = LargestSource::Upstream(LARGEST);
    assert_eq!(accepted(&actions), [(VIEWER, largest)]);
}

/// One that takes its offer back is waited for no longer than one that does not answer.
#[test]
fn viewers_do_not_wait_for_an_offer_for_ever() {
    let mut relay = Relay::new();
    relay.announce(PUBLISHER, "live");
    relay.subscribe(VIEWER, handle(5), "live/cam#video");
    relay.hub.upstream_offers(UpstreamId(0), relay.now);
    let refused = rejected(&relay.pass(RelayLimits::default().upstream_timeout));
    assert_eq!(refused, [(VIEWER, SubscribeErrorCode::TIMEOUT)]);
    assert_eq!(relay.hub.deadline(), None);
}

/// It was offered and given up before anybody came.
#[test]
fn a_track_that_was_given_up_unwatched_is_asked_for_when_somebody_comes() {
    let mut relay = Relay::new();
    relay.announce(PUBLISHER, "live");
    let name = "live/cam#video".parse().unwrap();
    relay
        .hub
        .publish_requested(PUBLISHER, handle(3), name, LARGEST, relay.now);
    relay.actions();
    let status = PublishDoneCode::GOING_AWAY;
    relay.hub.upstream_ends(UpstreamId(0), status, relay.now);
    assert_eq!(asked(&relay.actions()), []);
    let came = relay.subscribe(VIEWER, handle(5), "live/cam#video");
    assert_eq!(asked(&came), [PUBLISHER]);
    assert_eq!(
        asked(&relay.subscribe(OTHER, handle(6), "live/cam#video")),
        []
    );
}

/// One refused long ago, one gave up, and the one that served dies.
#[test]
fn who_refused_is_asked_when_the_last_one_that_serves_is_lost() {
    const THIRD: SessionId = OTHER;
    let mut relay = Relay::live();
    relay.announce(THIRD, "live");
    relay.announce(BACKUP, "live");
    relay
        .hub
        .upstream_accepted(UpstreamId(1), LARGEST, relay.now);
    let code = SubscribeErrorCode::TRACK_DOES_NOT_EXIST;
    relay.hub.upstream_rejected(UpstreamId(2), code, relay.now);
    let gives_up = PublishDoneCode::TOO_FAR_BEHIND;
    relay.hub.upstream_ends(UpstreamId(0), gives_up, relay.now);
    relay.actions();
    relay.now += 2 * limits::REVIVAL_REST;
    relay.hub.session_closed(THIRD, Vec::new(), relay.now);
    let asked = asked(&relay.actions());
    assert!(asked.contains(&BACKUP), "{asked:?}");
}

/// An older one that says it is over may be what died unnoticed; the newer one only gave a subscription up.
#[test]
fn a_newer_publisher_that_gave_up_outlives_the_end_of_an_older_one() {
    let mut relay = Relay::live();
    relay.announce(BACKUP, "live");
    relay
        .hub
        .upstream_accepted(UpstreamId(1), LARGEST, relay.now);
    let (gives_up, ended) = (
        PublishDoneCode::TOO_FAR_BEHIND,
        PublishDoneCode::TRACK_ENDED,
    );
    relay.hub.upstream_ends(UpstreamId(1), gives_up, relay.now);
    assert_eq!(asked(&relay.actions()), []);
    relay.hub.upstream_ends(UpstreamId(0), ended, relay.now);
    relay
        .hub
        .upstream_done(UpstreamId(0), ended, "over", relay.now);
    let actions = relay.actions();
    assert_eq!(ends(&actions), []);
    assert!(asked(&actions).contains(&BACKUP), "{actions:?}");
}

/// What has ended waits for nobody but those that were asked before.
#[test]
fn nobody_else_is_asked_for_a_track_that_ended_while_a_slow_one_was_asked() {
    let mut relay = Relay::new();
    relay.announce(PUBLISHER, "live");
    relay.announce(BACKUP, "live");
    relay.subscribe(VIEWER, handle(5), "live/cam#video");
    relay.pass(Duration::from_secs(1));
    let (first, second) = (UpstreamId(0), UpstreamId(1));
    relay.subscribe(VIEWER, handle(6), "live/cam#video");
    relay.hub.upstream_accepted(second, LARGEST, relay.now);
    relay.actions();
    let ended = PublishDoneCode::TRACK_ENDED;
    relay.hub.upstream_ends(second, ended, relay.now);
    relay.hub.upstream_done(second, ended, "over", relay.now);
    assert_eq!(ends(&relay.actions()), []);
    let code = SubscribeErrorCode::TRACK_DOES_NOT_EXIST;
    relay.hub.upstream_rejected(first, code, relay.now);
    let actions = relay.actions();
    assert_eq!(asked(&actions), []);
    assert_eq!(ends(&actions), [ended]);
}

/// What it had sent may still be on its way into the tracks.
#[test]
fn a_publisher_whose_connection_is_over_is_not_asked_any_more() {
    let mut relay = Relay::live();
    relay.announce(BACKUP, "live/other");
    relay.hub.session_leaves(PUBLISHER);
    let gone = relay.subscribe(OTHER, handle(6), "live/cam#audio");
    assert_eq!(asked(&gone), []);
    assert_eq!(rejected(&gone).len(), 1);
    // What it serves it goes on with.
    let served = relay.subscribe(OTHER, handle(7), "live/cam#video");
    assert_eq!(accepted(&served).len(), 1);
    relay
        .hub
        .upstream_ends(UpstreamId(0), PublishDoneCode::GOING_AWAY, relay.now);
    assert_eq!(asked(&relay.actions()), []);
}
