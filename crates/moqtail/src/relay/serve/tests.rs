//! What is kept of publishers, with a session that is set up and goes nowhere.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::directory::Delivery;
use super::*;
use crate::model::{
    ClientSetup, ControlDecoder, ControlMessage, Filter, GroupOrder, Location, Parameter,
    Parameters, Publish, PublishDoneCode, PublishErrorCode, ReasonPhrase, RequestId,
    SetupParameter, SetupParameters, Subscribe, SubscribeErrorCode, TrackAlias, VERSION,
    encode_control,
};
use crate::peer::Handler as _;
use crate::peer::{IngestLimits, PeerLimits, Track, TrackPool};
use crate::relay::{DownstreamRequest, UpstreamId, limits::REQUESTS_TO_STOP};
use crate::session::{
    Event, Output, PublishRequest, RequestFailure, RequestHandle, SubscribeAccepted,
};
use crate::track::{
    Admission, AttachError, DeliveryLimits, MalformedTrack, StartInfo, SubscriptionParams,
};
use crate::transport::{MemoryConnection, TransportLimits};

const SESSION: SessionId = SessionId(0);

/// Delivers nothing, and keeps what it was asked for.
#[derive(Clone, Default)]
struct Nowhere(Arc<Mutex<Vec<SubscriptionParams>>>);

impl Delivery for Nowhere {
    fn attach(
        &self,
        _: RequestHandle,
        track: &Arc<Track>,
        params: SubscriptionParams,
        _: Admission,
    ) -> Result<StartInfo, AttachError> {
        lock(&self.0).push(params);
        Ok(StartInfo {
            alias: track.alias(),
            largest: None,
            start: Location::default(),
            end_group: None,
        })
    }

    fn detach(&self, _: RequestHandle) {}
}

/// A session whose client takes any number of requests.
fn established() -> PeerHandle {
    established_with(1 << 20)
}

/// A session whose client named this MAX_REQUEST_ID.
fn established_with(limit: u64) -> PeerHandle {
    let config = SessionConfig::new(Role::Server, crate::session::Carrier::Raw);
    let peer = PeerHandle::new(Session::new(config, now()).unwrap());
    let setup = ControlMessage::ClientSetup(ClientSetup {
        versions: vec![VERSION],
        parameters: SetupParameters(vec![SetupParameter::MaxRequestId(limit)]),
    });
    let mut bytes = BytesMut::new();
    encode_control(&setup, &mut bytes).unwrap();
    peer.call(|session, now| {
        session.control_bytes(&bytes, now);
        session.accept_setup().unwrap();
    });
    peer
}

/// The client asks for `live#a`, with its first request.
fn subscribe(peer: &PeerHandle) -> RequestHandle {
    let subscribe = ControlMessage::Subscribe(Subscribe {
        request_id: RequestId(0),
        track: "live#a".parse().unwrap(),
        subscriber_priority: 128,
        group_order: None,
        forward: true,
        filter: Filter::LargestObject,
        parameters: Parameters::default(),
    });
    let mut bytes = BytesMut::new();
    encode_control(&subscribe, &mut bytes).unwrap();
    peer.call(|session, now| {
        session.control_bytes(&bytes, now);
        std::iter::from_fn(|| session.poll_output())
            .find_map(|output| match output {
                Output::Event(Event::SubscribeRequested(request)) => Some(request.handle),
                _ => None,
            })
            .unwrap()
    })
}

fn sent(peer: &PeerHandle) -> Vec<ControlMessage> {
    let mut decoder = ControlDecoder::default();
    peer.call(|session, _| {
        while let Some(output) = session.poll_output() {
            if let Output::Control(bytes) = output {
                decoder.push(&bytes);
            }
        }
    });
    std::iter::from_fn(|| decoder.next().unwrap()).collect()
}

fn entry(peer: &PeerHandle, delivery: &Nowhere) -> SessionEntry {
    SessionEntry {
        peer: peer.clone(),
        delivery: Box::new(delivery.clone()),
        upstreams: Upstreams::default(),
        ingest: IngestLimits::of_session(&PeerLimits::default()),
        stopped: BTreeSet::new(),
    }
}

/// A PUBLISH with the client's Request ID `request`.
fn offer_of(request: u64, track: &str, group_order: GroupOrder) -> Bytes {
    let publish = ControlMessage::Publish(Publish {
        request_id: RequestId(request),
        track: track.parse().unwrap(),
        track_alias: TrackAlias(3 + request),
        group_order,
        largest: None,
        forward: true,
        parameters: Parameters::default(),
    });
    let mut bytes = BytesMut::new();
    encode_control(&publish, &mut bytes).unwrap();
    bytes.freeze()
}

/// The session reads a PUBLISH.
fn offered(peer: &PeerHandle, publish: &[u8]) -> PublishRequest {
    peer.call(|session, now| {
        session.control_bytes(publish, now);
        std::iter::from_fn(|| session.poll_output())
            .find_map(|output| match output {
                Output::Event(Event::PublishRequested(request)) => Some(request),
                _ => None,
            })
            .unwrap()
    })
}

/// What a subscriber asks for that leaves all to the publisher.
fn wants_objects() -> DownstreamRequest {
    DownstreamRequest {
        filter: Filter::LargestObject,
        forward: true,
        priority: 128,
        group_order: None,
        delivery_timeout: None,
    }
}

struct Fixture {
    directory: Directory,
    peer: PeerHandle,
    upstreams: Upstreams,
    delivery: Nowhere,
    viewer: RequestHandle,
}

impl Fixture {
    /// A session that announces `live` and subscribes to `live#a` itself.
    fn new() -> Self {
        Self::asking(128, None)
    }

    /// The same, with this priority and order.
    fn asking(priority: u8, group_order: Option<GroupOrder>) -> Self {
        let peer = established();
        let viewer = subscribe(&peer);
        let fixture = Self::of(peer, viewer, priority, group_order);
        assert_eq!(lock(&fixture.upstreams).len(), 1);
        fixture
    }

    /// The same with a session that was set up before, and asked with `viewer`.
    fn of(
        peer: PeerHandle,
        viewer: RequestHandle,
        priority: u8,
        group_order: Option<GroupOrder>,
    ) -> Self {
        let mut directory =
            Directory::new(RelayConfig::default(), Arc::new(TrackPool::new(usize::MAX)));
        let delivery = Nowhere::default();
        let entry = entry(&peer, &delivery);
        let upstreams = entry.upstreams.clone();
        assert!(directory.open(SESSION, entry));
        let handle = RequestHandle(999);
        let namespace = "live".parse().unwrap();
        directory
            .hub
            .namespace_published(SESSION, handle, namespace, now());
        let request = DownstreamRequest {
            filter: Filter::LargestObject,
            forward: false,
            priority,
            group_order,
            delivery_timeout: Some(Duration::from_millis(800)),
        };
        let name = "live#a".parse().unwrap();
        directory
            .hub
            .subscribe_requested(SESSION, viewer, name, request, now());
        directory.run();
        Self {
            directory,
            peer,
            upstreams,
            delivery,
            viewer,
        }
    }

    /// SUBSCRIBE_OK of a publisher, with this DELIVERY TIMEOUT in ms.
    fn accepts(&mut self, handle: RequestHandle, timeout: u64) {
        let accepted = SubscribeAccepted {
            handle,
            alias: TrackAlias(7),
            expires: None,
            group_order: GroupOrder::Descending,
            largest: None,
            parameters: Parameters(vec![Parameter::DeliveryTimeout(timeout)]),
        };
        self.directory.upstream_accepted(SESSION, &accepted);
    }

    /// What the session would send.
    fn sent(&self) -> Vec<ControlMessage> {
        sent(&self.peer)
    }

    fn upstream(&self) -> RequestHandle {
        *lock(&self.upstreams).first_key_value().unwrap().0
    }

    fn is_clean(&self) -> bool {
        lock(&self.upstreams).is_empty()
            && self.directory.asked() == 0
            && self.peer.call(|session, _| session.load().subscriptions) == 0
    }
}

/// S8.3-06, S8.4-11, S9.7-18, S9.2.1.2-09, S7.3-02, S7.3-03: upstream is asked for everything from now on at middle
/// priority, whatever the subscriber said.
#[tokio::test]
async fn upstream_is_asked_with_forward_and_without_the_subscribers_timeout() {
    let sent = Fixture::asking(3, Some(GroupOrder::Descending)).sent();
    let subscribes: Vec<_> = sent
        .iter()
        .filter_map(|message| match message {
            ControlMessage::Subscribe(subscribe) => Some(subscribe),
            _ => None,
        })
        .collect();
    let [subscribe] = subscribes[..] else {
        panic!("{sent:?}")
    };
    assert!(subscribe.forward);
    assert_eq!(
        (subscribe.subscriber_priority, subscribe.group_order),
        (128, None)
    );
    assert_eq!(subscribe.filter, Filter::LargestObject);
    assert_eq!(subscribe.parameters, Parameters::default());
}

/// S9.2.1.2-03, S9.2.1.2-04, S9.7-17, S7.1-06: both timeouts are in force, and the publisher's order where the subscriber
/// has none; the subscriber is told what the publisher said.
#[tokio::test]
async fn a_subscriber_is_served_as_the_publisher_says() {
    let mut fixture = Fixture::new();
    let handle = fixture.upstream();
    fixture.accepts(handle, 500);
    let served = lock(&fixture.delivery.0).clone();
    assert_eq!(served.len(), 1);
    assert_eq!(served[0].delivery_timeout, Some(Duration::from_millis(800)));
    assert_eq!(
        served[0].publisher_timeout,
        Some(Duration::from_millis(500))
    );
    assert_eq!(served[0].group_order, GroupOrder::Descending);
    let told = fixture
        .sent()
        .into_iter()
        .find_map(|message| match message {
            ControlMessage::SubscribeOk(ok) => Some((ok.group_order, ok.parameters)),
            _ => None,
        });
    let timeout = Parameters(vec![Parameter::DeliveryTimeout(500)]);
    assert_eq!(told, Some((GroupOrder::Descending, timeout)));
}

/// What a viewer is told who comes when a second publisher has offered the track with 1 ms, ascending.
fn told_beside_a_second_publisher(first_gives_up: bool) -> (Option<Duration>, GroupOrder) {
    let mut fixture = Fixture::new();
    let first = fixture.upstream();
    fixture.accepts(first, 900);
    if first_gives_up {
        let status = PublishDoneCode::GOING_AWAY;
        let directory = &mut fixture.directory;
        directory.upstream_ends(SESSION, first, status, String::new());
    }
    let other = SessionId(1);
    let peer = established();
    let viewer = subscribe(&peer);
    assert!(
        fixture
            .directory
            .open(other, entry(&peer, &fixture.delivery))
    );
    let offer = PublishRequest {
        handle: RequestHandle(5),
        track: "live#a".parse().unwrap(),
        alias: TrackAlias(3),
        group_order: GroupOrder::Ascending,
        largest: None,
        forward: true,
        parameters: Parameters(vec![Parameter::DeliveryTimeout(1)]),
    };
    fixture.directory.publish_requested(other, &offer);
    let name = "live#a".parse().unwrap();
    let hub = &mut fixture.directory.hub;
    hub.subscribe_requested(other, viewer, name, wants_objects(), now());
    fixture.directory.run();
    let last = *lock(&fixture.delivery.0).last().unwrap();
    (last.publisher_timeout, last.group_order)
}

/// A second publisher could make the first one's subscribers lose objects.
#[tokio::test]
async fn what_a_second_publisher_says_does_not_replace_what_the_first_one_said() {
    let first = (Some(Duration::from_millis(900)), GroupOrder::Descending);
    assert_eq!(told_beside_a_second_publisher(false), first);
}

/// The last streams of the first one may take long to come.
#[tokio::test]
async fn what_a_publisher_said_that_gave_up_gives_way_to_the_next_one() {
    let second = (Some(Duration::from_millis(1)), GroupOrder::Ascending);
    assert_eq!(told_beside_a_second_publisher(true), second);
}

/// S7.1-06, S9.14-01, S9.7-17: the order in PUBLISH_OK replaces that of PUBLISH, and is what subscribers are told.
#[tokio::test]
async fn an_offer_is_taken_in_the_order_of_its_publisher() {
    let mut fixture = Fixture::new();
    let offer = offered(
        &fixture.peer,
        &offer_of(2, "live#b", GroupOrder::Descending),
    );
    fixture.directory.publish_requested(SESSION, &offer);
    let answered = fixture
        .sent()
        .into_iter()
        .find_map(|message| match message {
            ControlMessage::PublishOk(ok) => Some(ok.group_order),
            _ => None,
        });
    assert_eq!(answered, Some(GroupOrder::Descending));
}

/// The whole log of the track would stay with what is kept of its publisher.
#[tokio::test]
async fn nothing_is_kept_of_a_malformed_track() {
    let mut fixture = Fixture::new();
    let error = MalformedTrack::AfterTrackEnd {
        at: Location::new(1, 0),
        end: Location::default(),
    };
    fixture.directory.malformed(UpstreamId(0), &error);
    assert!(fixture.is_clean());
}

#[tokio::test]
async fn nothing_is_kept_of_a_publisher_that_its_last_viewer_left_before_its_end() {
    let mut fixture = Fixture::new();
    let handle = fixture.upstream();
    if let Some(upstream) = lock(&fixture.upstreams).get_mut(&handle) {
        upstream.done(PublishDoneCode::TRACK_ENDED, "over".to_owned());
    }
    fixture
        .directory
        .hub
        .downstream_left(SESSION, fixture.viewer);
    fixture.directory.run();
    assert!(fixture.is_clean());
}

#[tokio::test]
async fn nothing_is_kept_of_a_publisher_that_refuses_or_whose_session_ends() {
    let mut fixture = Fixture::new();
    let handle = fixture.upstream();
    let unknown = SubscribeErrorCode::TRACK_DOES_NOT_EXIST;
    fixture
        .peer
        .call(|session, _| session.unsubscribe(handle))
        .unwrap();
    fixture
        .directory
        .upstream_rejected(SESSION, handle, unknown);
    assert!(fixture.is_clean());

    let mut fixture = Fixture::new();
    fixture.directory.close(SESSION);
    assert_eq!(fixture.directory.asked(), 0);
    assert_eq!(fixture.directory.stats(), RelayStats::default());
    assert!(lock(&fixture.upstreams).is_empty());
}

/// S12.1-01.
#[tokio::test]
async fn publishers_share_what_they_may_leave_unread_until_they_go() {
    let mut config = RelayConfig::default();
    config.limits.max_publisher_window = 200;
    config.limits.max_receive_windows = 6400;
    let relay = Relay::new(config);
    let session = || {
        let (connection, _) = MemoryConnection::pair(TransportLimits::default());
        let info = SessionInfo {
            id: 0,
            authority: None,
            path: String::new(),
            tokens: Vec::new(),
        };
        let egress = Egress::new(connection, DeliveryLimits::default()).handle();
        let upstreams = Upstreams::default();
        RelayHandler::new(&relay.shared, info, established(), egress, upstreams)
    };
    let windows = |sessions: &mut [RelayHandler<MemoryConnection>]| -> Vec<_> {
        let asked = sessions
            .iter_mut()
            .map(|session| session.receive_window(900));
        asked.collect()
    };
    let mut sessions = [session(), session(), session()];
    assert_eq!(windows(&mut sessions), [200, 193, 187]);
    drop(sessions);
    assert_eq!(windows(&mut [session()]), [200]);
}

/// A session that has read an offer cannot ask for the track, and tells the offer next: nobody is refused meanwhile.
#[tokio::test]
async fn who_waits_is_not_refused_because_the_track_is_offered() {
    let peer = established();
    let viewer = subscribe(&peer);
    let publish = offer_of(2, "live#a", GroupOrder::Ascending);
    peer.call(|session, now| session.control_bytes(&publish, now));
    let fixture = Fixture::of(peer, viewer, 128, None);
    let sent = fixture.sent();
    let refused = |message: &ControlMessage| matches!(message, ControlMessage::SubscribeError(_));
    assert!(!sent.iter().any(refused), "{sent:?}");
}

/// S8.4-14: the publisher gives no request to ask it with, and offers the track itself.
#[tokio::test]
async fn who_waits_is_served_by_the_offer_of_a_publisher_that_cannot_be_asked() {
    let peer = established_with(0);
    let viewer = subscribe(&peer);
    let mut fixture = Fixture::of(peer, viewer, 128, None);
    let asked = fixture.upstream();
    let offer = offered(&fixture.peer, &offer_of(2, "live#a", GroupOrder::Ascending));
    fixture.directory.publish_requested(SESSION, &offer);
    let told = fixture.peer.call(|session, _| session.poll_output());
    let Some(Output::Event(Event::SubscribeSuperseded { handle })) = told else {
        panic!("{told:?}")
    };
    assert_eq!(handle, asked);
    fixture.directory.upstream_superseded(SESSION, handle);
    let sent = fixture.sent();
    let of = |wanted: fn(&ControlMessage) -> bool| sent.iter().filter(|one| wanted(one)).count();
    assert_eq!(
        of(|one| matches!(one, ControlMessage::PublishOk(_))),
        1,
        "{sent:?}"
    );
    assert_eq!(
        of(|one| matches!(one, ControlMessage::SubscribeOk(_))),
        1,
        "{sent:?}"
    );
    assert_eq!(
        of(|one| matches!(one, ControlMessage::SubscribeError(_))),
        0,
        "{sent:?}"
    );
}

/// The same, but the offer was not allowed: it can be asked once it gives a request.
#[tokio::test]
async fn who_waits_goes_on_waiting_for_a_publisher_whose_offer_was_refused() {
    let peer = established_with(0);
    let viewer = subscribe(&peer);
    let mut fixture = Fixture::of(peer, viewer, 128, None);
    let asked = fixture.upstream();
    let offer = offered(&fixture.peer, &offer_of(2, "live#a", GroupOrder::Ascending));
    fixture.peer.call(|session, _| {
        let code = PublishErrorCode::UNAUTHORIZED;
        session
            .reject_publish(offer.handle, code, "not allowed")
            .unwrap();
    });
    fixture.directory.upstream_superseded(SESSION, asked);
    assert_ne!(fixture.upstream(), asked);
    let sent = fixture.sent();
    let refused = |message: &ControlMessage| matches!(message, ControlMessage::SubscribeError(_));
    assert!(!sent.iter().any(refused), "{sent:?}");
}

/// S8.4-05: a relay that nobody answers is as silent as one of its publishers, and stands in no other one's way.
#[test]
fn a_publisher_that_says_timeout_has_not_answered() {
    let refused = |code| RequestFailure::Refused {
        code,
        reason: ReasonPhrase::default(),
    };
    for (failure, answered) in [
        (refused(SubscribeErrorCode::UNAUTHORIZED), true),
        (refused(SubscribeErrorCode::TIMEOUT), false),
        (RequestFailure::TimedOut, false),
        (RequestFailure::GoingAway, false),
    ] {
        assert_eq!(super::session::refusal(&failure).1, answered, "{failure:?}");
    }
}

/// S9.5-01, S8.4-01, S8.4-09: it takes a request to let a publisher begin again, and one that gives none would be silent
/// for ever once it is told to stop.
#[tokio::test]
async fn a_publisher_that_allows_few_requests_is_not_told_to_stop() {
    for (limit, told) in [
        (0, &[true][..]),
        (10, &[true]),
        (32, &[false, true]),
        (34, &[false, true, false]),
    ] {
        let peer = established_with(limit);
        let offer = offered(&peer, &offer_of(0, "live#a", GroupOrder::Ascending));
        let pool = Arc::new(TrackPool::new(usize::MAX));
        let mut directory = Directory::new(RelayConfig::default(), pool);
        let delivery = Nowhere::default();
        assert!(directory.open(SESSION, entry(&peer, &delivery)));
        directory.publish_requested(SESSION, &offer);

        let other = SessionId(1);
        let viewers = established();
        let viewer = subscribe(&viewers);
        assert!(directory.open(other, entry(&viewers, &delivery)));
        let hub = &mut directory.hub;
        hub.subscribe_requested(other, viewer, offer.track.clone(), wants_objects(), now());
        directory.run();
        directory.hub.downstream_left(other, viewer);
        directory.run();
        let states: Vec<_> = sent(&peer)
            .iter()
            .filter_map(|message| match message {
                ControlMessage::PublishOk(ok) => Some(ok.forward),
                ControlMessage::SubscribeUpdate(update) => Some(update.forward),
                _ => None,
            })
            .collect();
        assert_eq!(states, told, "MAX_REQUEST_ID {limit}");
    }
}

/// S8.4-01: each of those that were told to stop takes a request to begin again.
#[tokio::test]
async fn no_more_publishers_are_told_to_stop_than_can_be_told_to_begin_again() {
    const OFFERS: u64 = 10;
    let peer = established_with(2 * (REQUESTS_TO_STOP + 4));
    let delivery = Nowhere::default();
    let pool = Arc::new(TrackPool::new(usize::MAX));
    let mut directory = Directory::new(RelayConfig::default(), pool);
    assert!(directory.open(SESSION, entry(&peer, &delivery)));
    let offers: Vec<_> = (0..OFFERS)
        .map(|number| {
            let name = format!("live#{number}");
            let offer = offer_of(2 * number, &name, GroupOrder::Ascending);
            offered(&peer, &offer)
        })
        .collect();
    for offer in &offers {
        directory.publish_requested(SESSION, offer);
    }
    let stopped = sent(&peer)
        .iter()
        .filter(|message| matches!(message, ControlMessage::PublishOk(ok) if !ok.forward))
        .count();
    assert_eq!(stopped, 5);

    let other = SessionId(1);
    assert!(directory.open(other, entry(&established(), &delivery)));
    for (number, offer) in offers.iter().enumerate() {
        let (viewer, hub) = (RequestHandle(100 + number as u64), &mut directory.hub);
        hub.subscribe_requested(other, viewer, offer.track.clone(), wants_objects(), now());
        directory.run();
    }
    let begun = sent(&peer)
        .iter()
        .filter(
            |message| matches!(message, ControlMessage::SubscribeUpdate(update) if update.forward),
        )
        .count();
    assert_eq!(begun, stopped);

    // The requests are spent, so nobody is stopped any more.
    directory.close(other);
    let told = sent(&peer);
    assert!(
        told.iter()
            .all(|message| !matches!(message, ControlMessage::SubscribeUpdate(_))),
        "{told:?}"
    );
}

/// Counts warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicU64>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Who is refused comes again at once, and there may be thousands of them.
#[tokio::test(start_paused = true)]
async fn a_hundred_refusals_in_a_second_are_one_warning() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let mut config = RelayConfig::default();
    config.limits.max_sessions = 0;
    let relay = Relay::new(config);
    for _ in 0..100 {
        let (_client, connection) = MemoryConnection::pair(TransportLimits::default());
        let reason = relay.attach(connection).await;
        assert!(matches!(reason, CloseReason::Local { .. }), "{reason:?}");
    }
    assert_eq!(warnings.0.load(Ordering::Relaxed), 1);
}
