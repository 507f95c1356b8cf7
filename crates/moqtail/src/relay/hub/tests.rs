use std::time::{Duration, Instant};

use super::*;
use crate::model::{Filter, Location, PublishDoneCode, PublishErrorCode};

mod caps;
mod comebacks;
mod crowded_namespaces;
mod crowds;
mod turns;

const PUBLISHER: SessionId = SessionId(1);
const BACKUP: SessionId = SessionId(2);
const VIEWER: SessionId = SessionId(10);
const OTHER: SessionId = SessionId(11);
const LARGEST: Option<Location> = Some(Location::new(7, 3));

/// A hub with four sessions, and the actions it asked for.
struct Relay {
    hub: Hub,
    now: Instant,
}

impl Relay {
    #[expect(clippy::disallowed_methods, reason = "the base of virtual time")]
    fn new() -> Self {
        Self::with_limits(RelayLimits::default(), Instant::now())
    }

    fn with_limits(limits: RelayLimits, now: Instant) -> Self {
        let mut hub = Hub::new(limits);
        for session in [PUBLISHER, BACKUP, VIEWER, OTHER] {
            assert!(hub.session_opened(session));
        }
        Self { hub, now }
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.hub.poll_action()).collect()
    }

    fn announce(&mut self, session: SessionId, namespace: &str) -> Vec<Action> {
        self.hub
            .namespace_published(session, handle(0), namespace.parse().unwrap(), self.now);
        self.actions()
    }

    fn subscribe(&mut self, session: SessionId, handle: RequestHandle, track: &str) -> Vec<Action> {
        let name = track.parse().unwrap();
        self.hub
            .subscribe_requested(session, handle, name, request(true), self.now);
        self.actions()
    }

    /// A live track with one viewer; the relay's subscription is upstream 0.
    fn live() -> Self {
        Self::live_with(RelayLimits::default())
    }

    fn live_with(limits: RelayLimits) -> Self {
        let base = Self::new();
        let mut relay = Self::with_limits(limits, base.now);
        relay.announce(PUBLISHER, "live");
        relay.subscribe(VIEWER, handle(5), "live/cam#video");
        relay
            .hub
            .upstream_accepted(UpstreamId(0), LARGEST, relay.now);
        relay.actions();
        relay
    }

    fn pass(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        self.hub.timeout(self.now);
        self.actions()
    }
}

fn handle(number: u64) -> RequestHandle {
    RequestHandle(number)
}

fn request(forward: bool) -> DownstreamRequest {
    DownstreamRequest {
        filter: Filter::LargestObject,
        forward,
        priority: 128,
        group_order: None,
        delivery_timeout: None,
    }
}

fn accepted(actions: &[Action]) -> Vec<(SessionId, LargestSource)> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::AcceptSubscribe {
                session, largest, ..
            } => Some((*session, *largest)),
            _ => None,
        })
        .collect()
}

fn rejected(actions: &[Action]) -> Vec<(SessionId, SubscribeErrorCode)> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::RejectSubscribe { session, code, .. } => Some((*session, *code)),
            _ => None,
        })
        .collect()
}

fn asked(actions: &[Action]) -> Vec<SessionId> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::SubscribeUpstream { session, .. } => Some(*session),
            _ => None,
        })
        .collect()
}

#[test]
fn an_unknown_track_is_refused_at_once() {
    let mut relay = Relay::new();
    let actions = relay.subscribe(VIEWER, handle(5), "nowhere#x");
    assert_eq!(
        rejected(&actions),
        [(VIEWER, SubscribeErrorCode::TRACK_DOES_NOT_EXIST)]
    );
    assert!(relay.hub.tracks.is_empty());
}

/// S8.4-04: matching is by tuple fields, not by bytes.
#[test]
fn a_namespace_matches_by_whole_fields() {
    let mut relay = Relay::new();
    relay.announce(PUBLISHER, "live/ca");
    assert!(asked(&relay.subscribe(VIEWER, handle(5), "live/cam#video")).is_empty());
    relay.announce(BACKUP, "live");
    assert_eq!(
        asked(&relay.subscribe(VIEWER, handle(7), "live/cam#video")),
        [BACKUP]
    );
}

/// S8.3-02, S8.4-03, S8.4-08: SUBSCRIBE_OK goes down only after upstream's, and tells upstream's Largest to those who waited.
#[test]
fn many_waiting_subscribers_cost_one_upstream_subscription() {
    let mut relay = Relay::new();
    relay.announce(PUBLISHER, "live");
    assert_eq!(
        asked(&relay.subscribe(VIEWER, handle(5), "live/cam#video")),
        [PUBLISHER]
    );
    let actions = relay.subscribe(OTHER, handle(6), "live/cam#video");
    assert!(asked(&actions).is_empty() && accepted(&actions).is_empty());

    relay
        .hub
        .upstream_accepted(UpstreamId(0), LARGEST, relay.now);
    let told = LargestSource::Upstream(LARGEST);
    assert_eq!(accepted(&relay.actions()), [(VIEWER, told), (OTHER, told)]);

    let late = relay.subscribe(OTHER, handle(8), "live/cam#video");
    assert_eq!(accepted(&late), [(OTHER, LargestSource::Log)]);
}

/// S8.4-05, S8.4-10: every matching publisher is asked; one refusal does not end the wait, the last one does.
#[test]
fn all_matching_publishers_are_asked_and_the_last_refusal_counts() {
    let mut relay = Relay::new();
    relay.announce(PUBLISHER, "live");
    relay.announce(BACKUP, "live/cam");
    let actions = relay.subscribe(VIEWER, handle(5), "live/cam#video");
    assert_eq!(asked(&actions), [BACKUP, PUBLISHER]);

    let code = SubscribeErrorCode::TRACK_DOES_NOT_EXIST;
    relay.hub.upstream_rejected(UpstreamId(0), code, relay.now);
    assert!(rejected(&relay.actions()).is_empty());
    relay
        .hub
        .upstream_rejected(UpstreamId(1), SubscribeErrorCode::UNAUTHORIZED, relay.now);
    assert_eq!(
        rejected(&relay.actions()),
        [(VIEWER, SubscribeErrorCode::UNAUTHORIZED)]
    );
    assert!(relay.hub.tracks.is_empty() && relay.hub.names.is_empty());
}

/// S6.2-08: only senders of a PUBLISH_NAMESPACE that matches are asked. A relay asks all of those (A39), not only the ones
/// that match exactly: draft-14 §8.4 says it must.
#[test]
fn who_did_not_announce_the_namespace_is_not_asked() {
    let mut relay = Relay::new();
    relay.announce(PUBLISHER, "live/cam");
    relay.announce(BACKUP, "live/other");
    assert_eq!(
        asked(&relay.subscribe(VIEWER, handle(5), "live/cam#video")),
        [PUBLISHER]
    );
}

#[test]
fn a_silent_publisher_ends_the_wait_with_timeout() {
    let mut relay = Relay::new();
    relay.announce(PUBLISHER, "live");
    relay.subscribe(VIEWER, handle(5), "live/cam#video");
    assert_eq!(
        relay.hub.deadline(),
        Some(relay.now + Duration::from_secs(1))
    );
    let actions = relay.pass(Duration::from_secs(1));
    assert_eq!(rejected(&actions), [(VIEWER, SubscribeErrorCode::TIMEOUT)]);
    let actions = relay.pass(RelayLimits::default().answer_grace);
    assert!(actions.contains(&Action::UnsubscribeUpstream {
        session: PUBLISHER,
        upstream: UpstreamId(0)
    }));
    assert!(relay.hub.tracks.is_empty() && relay.hub.upstreams.is_empty());
}

/// S8.3-07
#[test]
fn the_last_viewer_that_leaves_releases_upstream() {
    let mut relay = Relay::live();
    relay.subscribe(OTHER, handle(6), "live/cam#video");
    relay.hub.downstream_left(VIEWER, handle(5));
    assert!(
        !relay
            .actions()
            .iter()
            .any(|a| matches!(a, Action::UnsubscribeUpstream { .. }))
    );
    relay.hub.session_closed(OTHER, Vec::new(), relay.now);
    let actions = relay.actions();
    assert!(
        actions
            .iter()
            .any(|a| matches!(a, Action::UnsubscribeUpstream { .. }))
    );
    assert!(
        actions
            .iter()
            .any(|a| matches!(a, Action::DropTrack { .. }))
    );
    assert!(relay.hub.tracks.is_empty() && relay.hub.downstreams.is_empty());
}

/// S8.3-07
#[test]
fn publish_done_reaches_every_subscriber_and_frees_the_name() {
    let mut relay = Relay::live();
    relay.hub.upstream_done(
        UpstreamId(0),
        PublishDoneCode::TRACK_ENDED,
        "over",
        relay.now,
    );
    let actions = relay.actions();
    assert!(actions.contains(&Action::EndTrack {
        track: TrackId(0),
        status: PublishDoneCode::TRACK_ENDED,
        reason: "over".into(),
    }));
    // The next subscriber starts afresh while the first one still reads the rest.
    assert_eq!(
        asked(&relay.subscribe(OTHER, handle(6), "live/cam#video")),
        [PUBLISHER]
    );
    assert_eq!(relay.hub.tracks.len(), 2);
    relay.hub.downstream_ended(VIEWER, handle(5));
    assert_eq!(relay.hub.tracks.len(), 1);
}

/// S8.4-01, S8.4-15, S8.4-09: the Forward State of a PUBLISH is the OR of the subscribers'.
#[test]
fn forward_of_a_published_track_follows_its_subscribers() {
    let mut relay = Relay::new();
    let name: FullTrackName = "live/cam#video".parse().unwrap();
    relay
        .hub
        .publish_requested(PUBLISHER, handle(1), name, LARGEST, relay.now);
    assert!(
        relay
            .actions()
            .iter()
            .any(|a| matches!(a, Action::AcceptPublish { forward: false, .. }))
    );
    let forward = |actions: Vec<Action>| {
        actions.into_iter().find_map(|a| match a {
            Action::ForwardUpstream { forward, .. } => Some(forward),
            _ => None,
        })
    };
    assert_eq!(
        forward(relay.subscribe(VIEWER, handle(5), "live/cam#video")),
        Some(true)
    );
    relay.hub.forward_changed(VIEWER, handle(5), false);
    assert_eq!(forward(relay.actions()), Some(false));
    relay.hub.forward_changed(VIEWER, handle(5), true);
    assert_eq!(forward(relay.actions()), Some(true));
    relay.hub.downstream_left(VIEWER, handle(5));
    assert_eq!(forward(relay.actions()), Some(false));
    assert_eq!(relay.hub.tracks.len(), 1, "the publisher still offers it");
    relay.hub.session_closed(PUBLISHER, Vec::new(), relay.now);
    assert!(relay.hub.tracks.is_empty());
}

/// S9.26-02: after PUBLISH_NAMESPACE_DONE running subscriptions continue, new ones find nothing.
#[test]
fn a_withdrawn_namespace_is_not_found_and_keeps_its_running_subscriptions() {
    let mut relay = Relay::live();
    relay.hub.namespace_done(PUBLISHER, handle(0));
    assert!(relay.actions().is_empty());
    let actions = relay.subscribe(OTHER, handle(6), "live/cam#audio");
    assert_eq!(
        rejected(&actions),
        [(OTHER, SubscribeErrorCode::TRACK_DOES_NOT_EXIST)]
    );
    assert_eq!(
        accepted(&relay.subscribe(OTHER, handle(8), "live/cam#video")).len(),
        1
    );
}

/// S8.4-14: an offer of a track with subscribers is accepted with Forward 1, and they are served from it.
#[test]
fn an_offer_serves_those_who_wait_for_the_track() {
    let mut relay = Relay::new();
    relay.announce(PUBLISHER, "live");
    relay.subscribe(VIEWER, handle(5), "live/cam#video");
    let name = "live/cam#video".parse().unwrap();
    relay
        .hub
        .publish_requested(BACKUP, handle(1), name, LARGEST, relay.now);
    let actions = relay.actions();
    assert!(actions.iter().any(|a| matches!(
        a,
        Action::AcceptPublish {
            session: BACKUP,
            forward: true,
            ..
        }
    )));
    assert_eq!(
        accepted(&actions),
        [(VIEWER, LargestSource::Upstream(LARGEST))]
    );
}

/// The session tells of the offer before it tells that the SUBSCRIBE which it crossed was refused.
#[test]
fn an_offer_in_place_of_the_own_subscribe_serves_those_who_wait() {
    let base = Relay::new();
    let limits = RelayLimits {
        max_publishers_per_track: 1,
        ..RelayLimits::default()
    };
    let mut relay = Relay::with_limits(limits, base.now);
    relay.announce(PUBLISHER, "live");
    relay.subscribe(VIEWER, handle(5), "live/cam#video");
    let name = "live/cam#video".parse().unwrap();
    relay
        .hub
        .publish_requested(PUBLISHER, handle(1), name, LARGEST, relay.now);
    let served = accepted(&relay.actions());
    assert_eq!(served, [(VIEWER, LargestSource::Upstream(LARGEST))]);
    let code = SubscribeErrorCode::INTERNAL_ERROR;
    relay.hub.upstream_rejected(UpstreamId(0), code, relay.now);
    assert_eq!(relay.actions(), []);
    assert_eq!(relay.hub.upstreams.len(), 1);
}

/// S8.2-03
#[test]
fn sessions_tracks_and_publishers_are_capped() {
    let base = Relay::new();
    let limits = RelayLimits {
        max_sessions: 4,
        max_tracks: 1,
        max_publishers_per_track: 1,
        ..RelayLimits::default()
    };
    let mut relay = Relay::with_limits(limits, base.now);
    assert!(!relay.hub.session_opened(SessionId(99)));
    relay.announce(PUBLISHER, "live");
    relay.announce(BACKUP, "live");
    assert_eq!(
        asked(&relay.subscribe(VIEWER, handle(5), "live#a")),
        [BACKUP]
    );
    let actions = relay.subscribe(VIEWER, handle(7), "live#b");
    assert_eq!(
        rejected(&actions),
        [(VIEWER, SubscribeErrorCode::INTERNAL_ERROR)]
    );
    relay.hub.publish_requested(
        PUBLISHER,
        handle(1),
        "live#a".parse().unwrap(),
        None,
        relay.now,
    );
    let actions = relay.actions();
    assert!(actions.iter().any(|a| matches!(
        a,
        Action::RejectPublish {
            code: PublishErrorCode::UNINTERESTED,
            ..
        }
    )));
}

/// S2.5-10: every publisher of a malformed track is left, the one that broke it as well.
#[test]
fn a_malformed_track_is_left_at_all_its_publishers() {
    let mut relay = Relay::live();
    relay.announce(BACKUP, "live/cam");
    relay.hub.upstream_malformed(UpstreamId(0), "two sizes");
    let actions = relay.actions();
    for (session, number) in [(PUBLISHER, 0), (BACKUP, 1)] {
        let upstream = UpstreamId(number);
        assert!(actions.contains(&Action::UnsubscribeUpstream { session, upstream }));
    }
    assert!(actions.iter().any(|a| matches!(
        a,
        Action::EndTrack {
            status: PublishDoneCode::MALFORMED_TRACK,
            ..
        }
    )));
    assert!(relay.hub.upstreams.is_empty());
}

#[test]
fn a_deadline_goes_with_the_last_who_waits() {
    let mut relay = Relay::new();
    relay.announce(PUBLISHER, "live");
    relay.subscribe(VIEWER, handle(5), "live#a");
    relay.now += Duration::from_millis(300);
    relay.subscribe(OTHER, handle(6), "live#b");
    let first = relay.hub.deadline().unwrap();
    relay.hub.downstream_left(VIEWER, handle(5));
    let second = relay.hub.deadline().unwrap();
    assert_eq!(second - first, Duration::from_millis(300));
    relay.hub.session_closed(OTHER, Vec::new(), relay.now);
    assert_eq!(relay.hub.deadline(), None);
    assert!(relay.hub.deadlines.is_empty());
}

/// Who comes late must not lose its wait to who came early.
#[test]
fn everybody_waits_for_a_publisher_as_long_as_the_first() {
    let mut relay = Relay::new();
    relay.announce(PUBLISHER, "live");
    let part = Duration::from_millis(400);
    relay.subscribe(VIEWER, handle(5), "live#a");
    relay.pass(part);
    relay.subscribe(OTHER, handle(6), "live#a");
    let timeout = SubscribeErrorCode::TIMEOUT;
    let first = relay.pass(Duration::from_secs(1) - part);
    assert_eq!(first.len(), 1, "the publisher is still asked: {first:?}");
    assert_eq!(rejected(&first), [(VIEWER, timeout)]);
    // It may wait again, beside the one that does.
    relay.subscribe(VIEWER, handle(7), "live#a");
    assert_eq!(rejected(&relay.pass(part)), [(OTHER, timeout)]);
    relay
        .hub
        .upstream_accepted(UpstreamId(0), LARGEST, relay.now);
    let served = accepted(&relay.actions());
    assert_eq!(served, [(VIEWER, LargestSource::Upstream(LARGEST))]);
    assert_eq!(relay.hub.deadline(), None);
}

#[test]
fn nothing_is_left_of_a_session_that_ends() {
    let mut relay = Relay::live();
    relay.hub.publish_requested(
        OTHER,
        handle(3),
        "other#x".parse().unwrap(),
        None,
        relay.now,
    );
    for session in [PUBLISHER, BACKUP, VIEWER, OTHER] {
        relay.hub.session_closed(session, Vec::new(), relay.now);
    }
    assert!(relay.hub.tracks.is_empty() && relay.hub.names.is_empty());
    assert!(relay.hub.upstreams.is_empty() && relay.hub.downstreams.is_empty());
    assert!(
        relay
            .hub
            .routes
            .matching(&"live/cam".parse().unwrap())
            .next()
            .is_none()
    );
}
