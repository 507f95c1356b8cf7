//! Publishers, sessions and subscribers on connections in memory.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;

use crate::model::{
    Extensions, Filter, GroupOrder, Location, ObjectHeader, ObjectItem, ObjectLimits, ObjectStatus,
    PublishDoneCode, StreamHeader, StreamHeaderDecoder, SubgroupDecoder, SubgroupEncoder,
    SubgroupHeader, SubgroupId, TrackAlias, encode_stream_header,
};
use crate::peer::*;
use crate::track::{
    Admission, DeliveryLimits, SubgroupOptions, SubscriptionId, SubscriptionParams, TrackLimits,
};
use crate::transport::{
    CloseReason, Connection, MemoryConnection, MemoryRecv, MemorySend, RecvStream, SendStream,
    StreamError, TransportLimits,
};

pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) const SUB: SubscriptionId = SubscriptionId(7);

pub(super) fn track() -> Arc<Track> {
    Track::new(TrackAlias(55), TrackLimits::default())
}

pub(super) fn params(start: Location) -> SubscriptionParams {
    SubscriptionParams {
        filter: Filter::AbsoluteStart { start },
        forward: true,
        subscriber_priority: 128,
        group_order: GroupOrder::Ascending,
        delivery_timeout: None,
        publisher_timeout: None,
    }
}

pub(super) fn options(group: u64) -> SubgroupOptions {
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
pub(super) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    pub(super) fn say(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl EgressEvents for Told {
    fn streams(&mut self, subscription: SubscriptionId, opened: u64, closed: u64) {
        for (count, what) in [(opened, "opened"), (closed, "closed")] {
            (0..count).for_each(|_| self.say(format!("{what} {}", subscription.0)));
        }
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
pub(super) struct Session {
    pub(super) relay: EgressHandle<MemoryConnection>,
    pub(super) subscriber: MemoryConnection,
    pub(super) told: Told,
    pub(super) task: JoinHandle<Option<CloseReason>>,
}

#[expect(clippy::disallowed_methods, reason = "the test owns what it spawns")]
pub(super) fn session(limits: TransportLimits, delivery: DeliveryLimits) -> Session {
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

pub(super) fn subscribed(track: &Arc<Track>) -> Session {
    let session = session(TransportLimits::default(), DeliveryLimits::default());
    subscribe(&session, track);
    session
}

pub(super) fn subscribe(session: &Session, track: &Arc<Track>) {
    let start = Location::default();
    session
        .relay
        .attach(SUB, track, params(start), Admission::Now)
        .unwrap();
    session.relay.start(SUB);
}

/// Waits until a condition holds that other tasks bring about.
pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(waited.is_ok(), "{what} did not come");
}

pub(super) async fn read_all(stream: &mut MemoryRecv) -> (Vec<u8>, Result<(), StreamError>) {
    let mut all = Vec::new();
    loop {
        match poll_fn(|cx| stream.poll_read(cx, usize::MAX)).await {
            Ok(Some(piece)) => all.extend_from_slice(&piece),
            Ok(None) => return (all, Ok(())),
            Err(error) => return (all, Err(error)),
        }
    }
}

pub(super) async fn read_some(stream: &mut MemoryRecv, len: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < len {
        let piece = poll_fn(|cx| stream.poll_read(cx, len - all.len())).await;
        all.extend_from_slice(&piece.unwrap().expect("more"));
    }
    all
}

/// Group and payloads by object of a whole stream.
pub(super) fn decode(bytes: &[u8]) -> (SubgroupHeader, Vec<(u64, Vec<u8>)>) {
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
pub(super) fn encode(group: u64, objects: &[(u64, Vec<u8>)]) -> Vec<u8> {
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
pub(super) struct Upstream {
    pub(super) publisher: MemoryConnection,
    pub(super) relay: MemoryConnection,
    limits: IngestLimits,
}

impl Upstream {
    pub(super) fn new() -> Self {
        Self::within(&PeerLimits::default())
    }

    pub(super) fn within(limits: &PeerLimits) -> Self {
        let (publisher, relay) = MemoryConnection::pair(TransportLimits::default());
        Self {
            publisher,
            relay,
            limits: IngestLimits::of_session(limits),
        }
    }

    pub(super) async fn open(&self) -> MemorySend {
        poll_fn(|cx| self.publisher.poll_open_uni(cx))
            .await
            .unwrap()
    }

    /// Reads the next stream of the publisher into the track.
    pub(super) async fn ingest(
        &self,
        track: &Arc<Track>,
        publisher: crate::track::PublisherId,
    ) -> IngestEnd {
        let mut stream = self.relay.accept_uni().await.unwrap();
        let mut decoder = StreamHeaderDecoder::new();
        loop {
            let mut piece = poll_fn(|cx| stream.poll_read(cx, 3))
                .await
                .unwrap()
                .unwrap();
            if let Some(StreamHeader::Subgroup(header)) = decoder.decode(&mut piece).unwrap() {
                let limits = self.limits.clone();
                let track = track.clone();
                return ingest_subgroup(track, publisher, header, piece, stream, limits).await;
            }
        }
    }
}

pub(super) async fn write(stream: &mut MemorySend, bytes: &[u8]) {
    let mut chunks = [Bytes::copy_from_slice(bytes)];
    while !chunks[0].is_empty() {
        poll_fn(|cx| stream.poll_write(cx, &mut chunks))
            .await
            .unwrap();
    }
}

pub(super) fn objects(n: u64) -> Vec<(u64, Vec<u8>)> {
    (0..n).map(|id| (id, vec![id as u8; 3000])).collect()
}
