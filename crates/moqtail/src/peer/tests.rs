//! The data path over connections in memory: tasks, wakers and streams as in a real relay.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;

use super::*;
use crate::model::{
    DatagramBody, Extensions, Filter, GroupOrder, Location, ObjectDatagram, ObjectHeader,
    ObjectItem, ObjectLimits, ObjectStatus, PublishDoneCode, StreamHeader, StreamHeaderDecoder,
    SubgroupDecoder, SubgroupEncoder, SubgroupHeader, SubgroupId, TrackAlias, decode_datagram,
    encode_stream_header,
};
use crate::track::{
    Admission, AttachError, DeliveryLimits, SubgroupOptions, SubscriptionId, SubscriptionParams,
    TrackLimits, UpdateParams,
};
use crate::transport::{
    CloseReason, Connection, MemoryConnection, MemoryRecv, MemorySend, RecvStream, SendStream,
    StreamError, TransportLimits,
};

const SUB: SubscriptionId = SubscriptionId(7);

fn track() -> Arc<Track> {
    Track::new(TrackAlias(55), TrackLimits::default())
}

fn params(start: Location) -> SubscriptionParams {
    SubscriptionParams {
        filter: Filter::AbsoluteStart { start },
        forward: true,
        subscriber_priority: 128,
        group_order: GroupOrder::Ascending,
        delivery_timeout: None,
    }
}

fn options(group: u64) -> SubgroupOptions {
    SubgroupOptions {
        group,
        subgroup: SubgroupId::Zero,
        publisher_priority: 128,
        extensions: false,
        end_of_group: false,
    }
}

/// What a session was told.
#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn say(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl EgressEvents for Told {
    fn stream_opened(&mut self, subscription: SubscriptionId) {
        self.say(format!("opened {}", subscription.0));
    }

    fn stream_closed(&mut self, subscription: SubscriptionId) {
        self.say(format!("closed {}", subscription.0));
    }

    fn ended(
        &mut self,
        subscription: SubscriptionId,
        code: PublishDoneCode,
        _reason: &str,
        streams: u64,
    ) {
        self.say(format!("ended {} {code} {streams}", subscription.0));
    }
}

/// A session of a relay and the subscriber at its other end.
struct Session {
    relay: EgressHandle<MemoryConnection>,
    subscriber: MemoryConnection,
    told: Told,
    task: JoinHandle<Option<CloseReason>>,
}

#[expect(clippy::disallowed_methods, reason = "the test owns what it spawns")]
fn session(limits: TransportLimits, delivery: DeliveryLimits) -> Session {
    let (near, far) = MemoryConnection::pair(limits);
    let egress = Egress::new(near, delivery);
    let told = Told::default();
    Session {
        relay: egress.handle(),
        subscriber: far,
        task: tokio::spawn(egress.run(told.clone())),
        told,
    }
}

fn subscribed(track: &Arc<Track>) -> Session {
    let session = session(TransportLimits::default(), DeliveryLimits::default());
    subscribe(&session, track);
    session
}

fn subscribe(session: &Session, track: &Arc<Track>) {
    let start = Location::default();
    session
        .relay
        .attach(SUB, track, params(start), Admission::Now)
        .unwrap();
    session.relay.start(SUB);
}

/// Waits until a condition holds that other tasks bring about.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(waited.is_ok(), "{what} did not come");
}

async fn read_all(stream: &mut MemoryRecv) -> (Vec<u8>, Result<(), StreamError>) {
    let mut all = Vec::new();
    loop {
        match poll_fn(|cx| stream.poll_read(cx, usize::MAX)).await {
            Ok(Some(piece)) => all.extend_from_slice(&piece),
            Ok(None) => return (all, Ok(())),
            Err(error) => return (all, Err(error)),
        }
    }
}

async fn read_some(stream: &mut MemoryRecv, len: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < len {
        let piece = poll_fn(|cx| stream.poll_read(cx, len - all.len())).await;
        all.extend_from_slice(&piece.unwrap().expect("more"));
    }
    all
}

/// Group and payloads by object of a whole stream.
fn decode(bytes: &[u8]) -> (SubgroupHeader, Vec<(u64, Vec<u8>)>) {
    let mut input = Bytes::copy_from_slice(bytes);
    let Ok(Some(StreamHeader::Subgroup(header))) = StreamHeaderDecoder::new().decode(&mut input)
    else {
        panic!("no subgroup stream");
    };
    let mut decoder = SubgroupDecoder::new(header, ObjectLimits::default());
    let mut objects: Vec<(u64, Vec<u8>)> = Vec::new();
    while let Some(item) = decoder.decode(&mut input).unwrap() {
        match item {
            ObjectItem::Header { header, .. } => objects.push((header.object, Vec::new())),
            ObjectItem::Payload(piece) => objects.last_mut().unwrap().1.extend(&piece[..]),
            ObjectItem::End => {}
        }
    }
    (header, objects)
}

/// A publisher's stream as bytes.
fn encode(group: u64, objects: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let header = SubgroupHeader {
        track_alias: TrackAlias(1),
        group,
        subgroup: SubgroupId::FirstObject,
        publisher_priority: 128,
        extensions: false,
        end_of_group: false,
    };
    let mut out = BytesMut::new();
    encode_stream_header(&StreamHeader::Subgroup(header), &mut out).unwrap();
    let mut encoder = SubgroupEncoder::new(&header);
    for (id, payload) in objects {
        let head = ObjectHeader {
            object: *id,
            extensions: Extensions::default(),
            status: ObjectStatus::Normal,
            payload_len: payload.len() as u64,
        };
        encoder.object(&head, &mut out).unwrap();
        out.extend_from_slice(payload);
    }
    out.to_vec()
}

/// A publisher's connection, as the relay reads it.
struct Upstream {
    publisher: MemoryConnection,
    relay: MemoryConnection,
}

impl Upstream {
    fn new() -> Self {
        let (publisher, relay) = MemoryConnection::pair(TransportLimits::default());
        Self { publisher, relay }
    }

    async fn open(&self) -> MemorySend {
        poll_fn(|cx| self.publisher.poll_open_uni(cx))
            .await
            .unwrap()
    }

    /// Reads the next stream of the publisher into the track.
    async fn ingest(&self, track: &Arc<Track>, publisher: crate::track::PublisherId) -> IngestEnd {
        let mut stream = self.relay.accept_uni().await.unwrap();
        let mut decoder = StreamHeaderDecoder::new();
        loop {
            let mut piece = poll_fn(|cx| stream.poll_read(cx, 3))
                .await
                .unwrap()
                .unwrap();
            if let Some(StreamHeader::Subgroup(header)) = decoder.decode(&mut piece).unwrap() {
                let limits = ObjectLimits::default();
                let track = track.clone();
                return ingest_subgroup(track, publisher, header, piece, stream, limits).await;
            }
        }
    }
}

async fn write(stream: &mut MemorySend, bytes: &[u8]) {
    let mut chunks = [Bytes::copy_from_slice(bytes)];
    while !chunks[0].is_empty() {
        poll_fn(|cx| stream.poll_write(cx, &mut chunks))
            .await
            .unwrap();
    }
}

fn objects(n: u64) -> Vec<(u64, Vec<u8>)> {
    (0..n).map(|id| (id, vec![id as u8; 3000])).collect()
}

/// S8.3-04: from one publisher to many sessions.
#[tokio::test]
async fn every_session_gets_the_same_bytes() {
    let (track, upstream) = (track(), Upstream::new());
    let publisher = track.add_publisher();
    let sessions: Vec<_> = (0..5).map(|_| subscribed(&track)).collect();
    let sending = async {
        for group in 0..20 {
            let mut stream = upstream.open().await;
            write(&mut stream, &encode(group, &objects(7))).await;
            stream.finish();
        }
    };
    let relaying = async {
        for _ in 0..20 {
            let end = upstream.ingest(&track, publisher).await;
            assert_eq!(end, IngestEnd::Finished);
        }
        track.end(PublishDoneCode::TRACK_ENDED, "");
    };
    let receiving = async {
        let mut first: Option<Vec<_>> = None;
        for session in &sessions {
            let mut all = Vec::new();
            for _ in 0..20 {
                let mut stream = session.subscriber.accept_uni().await.unwrap();
                let (bytes, end) = read_all(&mut stream).await;
                assert_eq!(end, Ok(()));
                let (header, got) = decode(&bytes);
                assert_eq!(header.track_alias, TrackAlias(55));
                assert_eq!(header.subgroup, SubgroupId::FirstObject);
                assert_eq!(got, objects(7));
                all.push(bytes);
            }
            all.sort();
            assert_eq!(first.get_or_insert_with(|| all.clone()), &all);
        }
    };
    tokio::join!(sending, relaying, receiving);
    for session in &sessions {
        let ended = format!("ended 7 {} 20", PublishDoneCode::TRACK_ENDED);
        until("the end", || session.told.all().last() == Some(&ended)).await;
        assert_eq!(session.told.all().len(), 41);
    }
}

/// A reader that does not read is ended; the one beside it loses nothing.
#[tokio::test]
async fn a_reader_that_does_not_read_disturbs_nobody() {
    let local = LocalTrack::new(track());
    let mut limits = TransportLimits::default();
    limits.stream_window = 10_000;
    let delivery = DeliveryLimits {
        lag_bytes: 4 << 20,
        ..DeliveryLimits::default()
    };
    let slow = session(limits, delivery);
    subscribe(&slow, local.track());
    let quick = subscribed(local.track());
    let payload = Bytes::from(vec![1; 500_000]);
    let publishing = async {
        for group in 0..40 {
            let mut subgroup = local.subgroup(options(group)).unwrap();
            for id in 0..2 {
                let none = Extensions::default();
                subgroup.object(id, &none, payload.clone()).unwrap();
            }
            subgroup.finish().unwrap();
            let mut stream = quick.subscriber.accept_uni().await.unwrap();
            let (bytes, end) = read_all(&mut stream).await;
            assert_eq!(end, Ok(()));
            assert_eq!(decode(&bytes).1.len(), 2);
        }
    };
    publishing.await;
    let too_far = format!("{}", PublishDoneCode::TOO_FAR_BEHIND);
    until("the end", || {
        slow.told
            .all()
            .last()
            .is_some_and(|last| last.contains(&too_far))
    })
    .await;
    assert!(local.track().bytes() < 34 << 20);
    assert_eq!(local.track().interest().borrow().subscriptions, 1);
}

/// S9.7-14: joining in the middle of an object, and of a group.
#[tokio::test]
async fn a_late_session_gets_what_begins_after_it() {
    let local = LocalTrack::new(track());
    let none = Extensions::default();
    let mut subgroup = local.subgroup(options(3)).unwrap();
    subgroup
        .object(0, &none, Bytes::from_static(b"old"))
        .unwrap();
    subgroup.begin(1, &none, 6).unwrap();
    subgroup.payload(Bytes::from_static(b"par")).unwrap();
    let session = session(TransportLimits::default(), DeliveryLimits::default());
    let info = session
        .relay
        .attach(
            SUB,
            local.track(),
            SubscriptionParams {
                filter: Filter::LargestObject,
                ..params(Location::default())
            },
            Admission::Now,
        )
        .unwrap();
    assert_eq!(info.largest, Some(Location::new(3, 1)));
    session.relay.start(SUB);
    subgroup.payload(Bytes::from_static(b"tly")).unwrap();
    subgroup
        .object(2, &none, Bytes::from_static(b"new"))
        .unwrap();
    subgroup.finish().unwrap();
    let mut stream = session.subscriber.accept_uni().await.unwrap();
    let (bytes, end) = read_all(&mut stream).await;
    assert_eq!(end, Ok(()));
    assert_eq!(decode(&bytes).1, [(2, b"new".to_vec())]);
}

/// S5.1-18: all streams are reset before the call returns, and interest is told.
#[tokio::test]
async fn detaching_resets() {
    let local = LocalTrack::new(track());
    let interest = local.track().interest();
    let session = subscribed(local.track());
    assert_eq!(interest.borrow().forwarding, 1);
    let mut subgroup = local.subgroup(options(0)).unwrap();
    let none = Extensions::default();
    subgroup.object(0, &none, Bytes::from_static(b"x")).unwrap();
    let mut stream = session.subscriber.accept_uni().await.unwrap();
    read_some(&mut stream, 1).await;
    session.relay.detach(SUB);
    let (_, end) = read_all(&mut stream).await;
    assert_eq!(end, Err(StreamError::Reset(1)));
    assert_eq!(*interest.borrow(), Interest::default());
    // The id is free again.
    subscribe(&session, local.track());
    subgroup.object(1, &none, Bytes::from_static(b"y")).unwrap();
    let mut stream = session.subscriber.accept_uni().await.unwrap();
    let subgroup = subgroup.finish();
    assert_eq!(subgroup, Ok(()));
    let (bytes, _) = read_all(&mut stream).await;
    assert_eq!(decode(&bytes).1, [(1, b"y".to_vec())]);
}

/// Forward and its OR over all subscriptions, for upstreams that came by PUBLISH.
#[tokio::test]
async fn interest_follows_forward() {
    let track = track();
    let interest = track.interest();
    let session = session(TransportLimits::default(), DeliveryLimits::default());
    for id in 1..=2 {
        let params = SubscriptionParams {
            forward: id == 1,
            ..params(Location::default())
        };
        let id = SubscriptionId(id);
        session
            .relay
            .attach(id, &track, params, Admission::Now)
            .unwrap();
    }
    let forwarding = |n| Interest {
        subscriptions: 2,
        forwarding: n,
    };
    assert_eq!(*interest.borrow(), forwarding(1));
    let update = |forward| UpdateParams {
        start: Location::default(),
        end_group: None,
        forward,
        subscriber_priority: 0,
        delivery_timeout: None,
    };
    session
        .relay
        .update(SubscriptionId(2), update(true))
        .unwrap();
    assert_eq!(*interest.borrow(), forwarding(2));
    for id in [1, 1, 2] {
        session
            .relay
            .update(SubscriptionId(id), update(false))
            .unwrap();
    }
    assert_eq!(*interest.borrow(), forwarding(0));
    session.relay.close();
    assert_eq!(*interest.borrow(), Interest::default());
}

/// Stream credit of one: everything comes, one stream after another.
#[tokio::test]
async fn streams_wait_for_credit() {
    let mut limits = TransportLimits::default();
    limits.initial_incoming_uni = 1;
    let session = session(limits, DeliveryLimits::default());
    let local = LocalTrack::new(track());
    subscribe(&session, local.track());
    for group in 0..10 {
        let mut subgroup = local.subgroup(options(group)).unwrap();
        let none = Extensions::default();
        subgroup.object(0, &none, Bytes::from_static(b"x")).unwrap();
        subgroup.finish().unwrap();
    }
    drop(local);
    for group in 0..10 {
        let mut stream = session.subscriber.accept_uni().await.unwrap();
        let (bytes, end) = read_all(&mut stream).await;
        assert_eq!((decode(&bytes).0.group, end), (group, Ok(())));
    }
    let ended = format!("ended 7 {} 10", PublishDoneCode::TRACK_ENDED);
    until("the end", || session.told.all().last() == Some(&ended)).await;
}

/// S10.4.3-13: STOP_SENDING on an idle stream is answered, and nothing else happens.
#[tokio::test]
async fn a_stopped_stream_is_reset() {
    let local = LocalTrack::new(track());
    let session = subscribed(local.track());
    let none = Extensions::default();
    let mut subgroup = local.subgroup(options(0)).unwrap();
    subgroup.object(0, &none, Bytes::from_static(b"x")).unwrap();
    let mut stream = session.subscriber.accept_uni().await.unwrap();
    read_some(&mut stream, 1).await;
    stream.stop(1);
    until("the answer", || session.told.all().len() == 2).await;
    assert_eq!(session.told.all(), ["opened 7", "closed 7"]);
    subgroup.object(1, &none, Bytes::from_static(b"y")).unwrap();
    let mut next = local.subgroup(options(1)).unwrap();
    next.object(0, &none, Bytes::from_static(b"z")).unwrap();
    let mut stream = session.subscriber.accept_uni().await.unwrap();
    let bytes = read_some(&mut stream, 5).await;
    assert_eq!(decode(&bytes).0.group, 1);
}

/// S9.2.1.2-08, in the time of the runtime.
#[tokio::test(start_paused = true)]
async fn an_object_expires() {
    let mut limits = TransportLimits::default();
    limits.stream_window = 10;
    let session = session(limits, DeliveryLimits::default());
    let local = LocalTrack::new(track());
    let params = SubscriptionParams {
        delivery_timeout: Some(Duration::from_millis(500)),
        ..params(Location::default())
    };
    session
        .relay
        .attach(SUB, local.track(), params, Admission::Now)
        .unwrap();
    session.relay.start(SUB);
    let mut subgroup = local.subgroup(options(0)).unwrap();
    let none = Extensions::default();
    subgroup
        .object(0, &none, Bytes::from(vec![1; 100]))
        .unwrap();
    let mut stream = session.subscriber.accept_uni().await.unwrap();
    // Time passes while all tasks wait.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (_, end) = read_all(&mut stream).await;
    assert_eq!(end, Err(StreamError::Reset(2)));
    assert_eq!(session.told.all(), ["opened 7", "closed 7"]);
}

/// Reading that is dropped, a lost connection and a reset all end the run, and nobody waits for ever.
#[tokio::test]
async fn lost_publishers_reset_their_streams() {
    for how in ["dropped", "lost", "reset", "broken", "fin inside"] {
        let (track, upstream) = (track(), Upstream::new());
        let publisher = track.add_publisher();
        let session = subscribed(&track);
        let mut sending = upstream.open().await;
        let mut bytes = encode(0, &objects(2));
        bytes.truncate(bytes.len() - 1000);
        write(&mut sending, &bytes).await;
        let (mut got, expected) = {
            let mut relaying = Box::pin(upstream.ingest(&track, publisher));
            let reading = async {
                let mut stream = session.subscriber.accept_uni().await.unwrap();
                read_some(&mut stream, bytes.len()).await;
                stream
            };
            let got = tokio::select! {
                end = &mut relaying => panic!("{end:?}"),
                stream = reading => stream,
            };
            let expected = match how {
                "dropped" => {
                    drop(relaying);
                    1
                }
                "lost" => {
                    upstream.relay.lose("gone");
                    assert!(matches!(relaying.await, IngestEnd::Connection(_)));
                    1
                }
                "reset" => {
                    sending.reset(3);
                    assert_eq!(relaying.await, IngestEnd::Reset(3));
                    3
                }
                "broken" => {
                    // The rest of the object, then one with an unknown status.
                    let mut rest = vec![1; 1000];
                    rest.extend([0, 0, 7]);
                    write(&mut sending, &rest).await;
                    assert!(matches!(relaying.await, IngestEnd::Decode(_)));
                    0
                }
                _ => {
                    sending.finish();
                    assert!(matches!(relaying.await, IngestEnd::Decode(_)));
                    0
                }
            };
            (got, expected)
        };
        let (_, end) = read_all(&mut got).await;
        assert_eq!(end, Err(StreamError::Reset(expected)), "{how}");
    }
}

/// S2.5-13.
#[tokio::test]
async fn a_malformed_track_ends_for_everybody() {
    let (track, upstream) = (track(), Upstream::new());
    let publisher = track.add_publisher();
    let session = subscribed(&track);
    for payload in [b"a", b"b"] {
        let mut stream = upstream.open().await;
        write(&mut stream, &encode(0, &[(0, payload.to_vec())])).await;
        stream.finish();
    }
    assert_eq!(
        upstream.ingest(&track, publisher).await,
        IngestEnd::Finished
    );
    let end = upstream.ingest(&track, publisher).await;
    assert!(matches!(end, IngestEnd::Malformed(_)), "{end:?}");
    let malformed = format!("{}", PublishDoneCode::MALFORMED_TRACK);
    until("the end", || {
        session
            .told
            .all()
            .last()
            .is_some_and(|last| last.contains(&malformed))
    })
    .await;
    let refused = session
        .relay
        .attach(SUB, &track, params(Location::default()), Admission::Now);
    assert!(matches!(refused, Err(AttachError::Malformed(_))));
    let mut stream = upstream.open().await;
    write(&mut stream, &encode(1, &objects(1))).await;
    let end = upstream.ingest(&track, publisher).await;
    assert!(matches!(end, IngestEnd::Malformed(_)), "{end:?}");
}

/// S10.3-02.
#[tokio::test]
async fn datagrams_go_through() {
    let local = LocalTrack::new(track());
    let session = subscribed(local.track());
    let datagram = |object, len| ObjectDatagram {
        track_alias: TrackAlias(0),
        group: 1,
        object,
        object_id_absent: false,
        publisher_priority: 3,
        end_of_group: false,
        extensions: Extensions::default(),
        body: DatagramBody::Payload(Bytes::from(vec![5; len])),
    };
    for (object, len) in [(0, 100), (1, 5000), (2, 10)] {
        local.datagram(datagram(object, len)).unwrap();
    }
    for (object, len) in [(0, 100), (2, 10)] {
        let got = decode_datagram(session.subscriber.read_datagram().await.unwrap()).unwrap();
        let expected = ObjectDatagram {
            track_alias: TrackAlias(55),
            ..datagram(object, len)
        };
        assert_eq!(got, expected);
    }
    assert_eq!(session.relay.refused_datagrams(), 1);
}

/// The two ways in which the sending of a session ends.
#[tokio::test]
async fn the_task_ends_with_its_session() {
    let local = LocalTrack::new(track());
    let ended = subscribed(local.track());
    let lost = subscribed(local.track());
    let mut subgroup = local.subgroup(options(0)).unwrap();
    let none = Extensions::default();
    subgroup.object(0, &none, Bytes::from_static(b"x")).unwrap();
    let mut stream = ended.subscriber.accept_uni().await.unwrap();
    read_some(&mut stream, 1).await;
    ended.relay.close();
    assert_eq!(ended.task.await.unwrap(), None);
    let (_, end) = read_all(&mut stream).await;
    assert_eq!(end, Err(StreamError::Reset(3)));
    lost.subscriber.lose("gone");
    let reason = CloseReason::Lost("gone".to_owned());
    assert_eq!(lost.task.await.unwrap(), Some(reason));
    let interest = local.track().interest();
    assert_eq!(*interest.borrow(), Interest::default());
    let refused = lost.relay.attach(
        SUB,
        local.track(),
        params(Location::default()),
        Admission::Now,
    );
    assert_eq!(refused, Err(AttachError::Closed));
}

/// Many sessions on several threads: no wake-up is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[expect(clippy::disallowed_methods, reason = "the test owns what it spawns")]
async fn no_wake_up_is_lost() {
    let local = LocalTrack::new(track());
    let mut readers = Vec::new();
    let mut tasks = Vec::new();
    for _ in 0..16 {
        let Session {
            relay,
            subscriber,
            task,
            told,
        } = subscribed(local.track());
        tasks.push((relay, task));
        readers.push(tokio::spawn(async move {
            let mut count = 0;
            for _ in 0..200 {
                let mut stream = subscriber.accept_uni().await.unwrap();
                let (bytes, end) = read_all(&mut stream).await;
                assert_eq!(end, Ok(()));
                count += decode(&bytes).1.len();
            }
            let ended = format!("ended 7 {} 200", PublishDoneCode::TRACK_ENDED);
            until("the end", || told.all().last() == Some(&ended)).await;
            count
        }));
    }
    for group in 0..200 {
        let mut subgroup = local.subgroup(options(group)).unwrap();
        for id in 0..10 {
            let none = Extensions::default();
            subgroup
                .object(id, &none, Bytes::from(vec![1; 700]))
                .unwrap();
            if id % 3 == 0 {
                tokio::task::yield_now().await;
            }
        }
        subgroup.finish().unwrap();
    }
    drop(local);
    for reader in readers {
        let read = tokio::time::timeout(Duration::from_secs(120), reader).await;
        assert_eq!(read.expect("in time").unwrap(), 2000);
    }
}
