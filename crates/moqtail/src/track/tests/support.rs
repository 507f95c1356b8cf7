//! A world of one track: what publishers send, what one session receives.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use crate::model::draft14::{
    ObjectItem, ObjectLimits, StreamHeaderDecoder, SubgroupDecoder, SubgroupEncoder,
    decode_datagram, encode_stream_header,
};
use crate::model::{
    Extensions, Filter, GroupOrder, KeyValuePair, Location, ObjectDatagram, ObjectHeader,
    ObjectStatus, StreamCode, StreamHeader, SubgroupHeader, SubgroupId, TrackAlias,
};
use crate::track::*;

/// Track Alias in what is delivered; upstream uses another one.
pub(super) const ALIAS: TrackAlias = TrackAlias(77);
const UPSTREAM: TrackAlias = TrackAlias(3);

pub(super) fn header(group: u64, subgroup: u64) -> SubgroupHeader {
    SubgroupHeader {
        track_alias: UPSTREAM,
        group,
        subgroup: SubgroupId::Explicit(subgroup),
        publisher_priority: 128,
        extensions: false,
        end_of_group: false,
    }
}

/// An object as a reader sees it; `payload` is what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) id: u64,
    pub(super) extensions: Extensions,
    pub(super) status: ObjectStatus,
    pub(super) payload: Vec<u8>,
    pub(super) whole: bool,
}

pub(super) fn object(id: u64, payload: &[u8]) -> Object {
    Object {
        id,
        extensions: Extensions::default(),
        status: ObjectStatus::Normal,
        payload: payload.to_vec(),
        whole: true,
    }
}

/// Objects whose payloads tell which they are.
pub(super) fn objects(ids: std::ops::Range<u64>) -> Vec<Object> {
    ids.map(|id| object(id, format!("payload of {id}").as_bytes()))
        .collect()
}

pub(super) fn status(id: u64, status: ObjectStatus) -> Object {
    Object {
        status,
        ..object(id, b"")
    }
}

pub(super) fn with_gap(id: u64, key: u64, gap: u64) -> Object {
    Object {
        extensions: Extensions::from_pairs(&[KeyValuePair::Varint { key, value: gap }]).unwrap(),
        ..object(id, b"g")
    }
}

/// A subgroup stream as bytes.
pub(super) fn encode(header: &SubgroupHeader, objects: &[Object]) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode_stream_header(&StreamHeader::Subgroup(*header), &mut out).unwrap();
    out.extend_from_slice(&encode_objects(header, None, objects));
    out.to_vec()
}

pub(super) fn encode_objects(
    header: &SubgroupHeader,
    previous: Option<u64>,
    objects: &[Object],
) -> Vec<u8> {
    let mut encoder = match previous {
        Some(previous) => SubgroupEncoder::after(header, previous),
        None => SubgroupEncoder::new(header),
    };
    let mut out = BytesMut::new();
    for object in objects {
        let head = ObjectHeader {
            object: object.id,
            extensions: object.extensions.clone(),
            status: object.status,
            payload_len: object.payload.len() as u64,
        };
        encoder.object(&head, &mut out).unwrap();
        out.extend_from_slice(&object.payload);
    }
    out.to_vec()
}

/// Reads a stream back.
pub(super) fn decode(bytes: &[u8]) -> (SubgroupHeader, Vec<Object>) {
    let mut input = Bytes::copy_from_slice(bytes);
    let header = StreamHeaderDecoder::new().decode(&mut input).unwrap();
    let Some(StreamHeader::Subgroup(header)) = header else {
        panic!("no subgroup stream: {bytes:?}");
    };
    let mut decoder = SubgroupDecoder::new(header, ObjectLimits::default());
    let mut objects: Vec<Object> = Vec::new();
    while let Some(item) = decoder.decode(&mut input).unwrap() {
        match item {
            ObjectItem::Header { header, .. } => objects.push(Object {
                id: header.object,
                extensions: header.extensions,
                status: header.status,
                payload: Vec::new(),
                whole: false,
            }),
            ObjectItem::Payload(piece) => objects.last_mut().unwrap().payload.extend(&piece[..]),
            ObjectItem::End => objects.last_mut().unwrap().whole = true,
        }
    }
    (header, objects)
}

/// How a stream stands at the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Finished,
    Reset(StreamCode),
}

#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) priority: i32,
    pub(super) bytes: Vec<u8>,
    pub(super) state: State,
    /// Bytes that it still takes.
    pub(super) window: usize,
    pub(super) stopped: bool,
    /// The peer has everything.
    pub(super) received: bool,
    released: bool,
}

impl Stream {
    pub(super) fn objects(&self) -> Vec<Object> {
        decode(&self.bytes).1
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.objects().iter().map(|object| object.id).collect()
    }
}

/// Streams that are vectors.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) streams: Vec<Stream>,
    pub(super) credit: usize,
    /// Window of new streams.
    pub(super) window: usize,
    /// Bytes that all streams together still take.
    pub(super) total: usize,
    /// What came, in order: stream and bytes.
    pub(super) writes: Vec<(usize, usize)>,
    pub(super) datagrams: Vec<ObjectDatagram>,
    pub(super) max_datagram: usize,
    /// How many datagrams find room on the path.
    pub(super) room: usize,
    /// Finished streams count as received at once.
    pub(super) acknowledge: bool,
    pub(super) blocked_writes: usize,
    /// Chunks taken so far.
    pub(super) pieces: usize,
    /// Priorities that were changed so far.
    pub(super) prioritized: usize,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            streams: Vec::new(),
            credit: usize::MAX,
            window: usize::MAX,
            total: usize::MAX,
            writes: Vec::new(),
            datagrams: Vec::new(),
            max_datagram: 1200,
            room: usize::MAX,
            acknowledge: true,
            blocked_writes: 0,
            pieces: 0,
            prioritized: 0,
        }
    }
}

impl Outlet for Wire {
    fn open(&mut self, priority: i32) -> Opened {
        if self.credit == 0 {
            return Opened::NoCredit;
        }
        self.credit -= 1;
        self.streams.push(Stream {
            priority,
            bytes: Vec::new(),
            state: State::Open,
            window: self.window,
            stopped: false,
            received: false,
            released: false,
        });
        Opened::Stream(StreamKey(self.streams.len() - 1))
    }

    fn write(&mut self, key: StreamKey, chunks: &mut [Bytes]) -> Written {
        let stream = &mut self.streams[key.0];
        assert_eq!(stream.state, State::Open);
        if stream.stopped {
            return Written::Stopped;
        }
        let room = stream.window.min(self.total);
        if room == 0 {
            self.blocked_writes += 1;
            return Written::Blocked;
        }
        let mut taken = 0;
        for chunk in chunks {
            let piece = chunk.split_to(chunk.len().min(room - taken));
            taken += piece.len();
            self.pieces += usize::from(!piece.is_empty());
            stream.bytes.extend_from_slice(&piece);
        }
        assert!(taken > 0, "nothing to write");
        stream.window -= taken.min(stream.window);
        self.total -= taken.min(self.total);
        self.writes.push((key.0, taken));
        Written::Taken(taken)
    }

    fn watch(&mut self, key: StreamKey) -> Watched {
        let stream = &mut self.streams[key.0];
        stream.received |= self.acknowledge && stream.state == State::Finished;
        match (stream.stopped, stream.received) {
            (true, _) => Watched::Stopped,
            (_, true) => Watched::Received,
            _ => Watched::Pending,
        }
    }

    fn finish(&mut self, key: StreamKey) {
        assert_eq!(self.streams[key.0].state, State::Open);
        self.streams[key.0].state = State::Finished;
    }

    fn reset(&mut self, key: StreamKey, code: StreamCode) {
        let stream = &mut self.streams[key.0];
        assert!(!stream.released && !matches!(stream.state, State::Reset(_)));
        stream.state = State::Reset(code);
        stream.released = true;
    }

    fn release(&mut self, key: StreamKey) {
        assert!(!self.streams[key.0].released);
        self.streams[key.0].released = true;
    }

    fn set_priority(&mut self, key: StreamKey, priority: i32) {
        self.streams[key.0].priority = priority;
        self.prioritized += 1;
    }

    fn datagram(&mut self, wire: Bytes) -> DatagramSent {
        if wire.len() > self.max_datagram {
            return DatagramSent::Refused;
        }
        let Some(room) = self.room.checked_sub(1) else {
            return DatagramSent::Blocked;
        };
        self.room = room;
        self.datagrams.push(decode_datagram(wire).unwrap());
        DatagramSent::Sent
    }
}

pub(super) type Log = Rc<RefCell<TrackLog>>;

impl Source for Log {
    fn read<R>(&self, f: impl FnOnce(&TrackLog) -> R) -> R {
        f(&self.borrow())
    }
}

/// One track, its publishers and one session.
pub(super) struct World {
    pub(super) log: Log,
    pub(super) delivery: Delivery<Log>,
    pub(super) wire: Wire,
    pub(super) now: Instant,
    pub(super) publisher: PublisherId,
    pub(super) events: Vec<DeliveryEvent>,
}

pub(super) const SUB: SubscriptionId = SubscriptionId(1);

impl World {
    pub(super) fn new() -> Self {
        Self::with(TrackLimits::default(), at_once())
    }

    pub(super) fn with(track: TrackLimits, delivery: DeliveryLimits) -> Self {
        let mut log = TrackLog::new(ALIAS, track);
        let publisher = log.add_publisher();
        Self {
            log: Rc::new(RefCell::new(log)),
            delivery: Delivery::new(delivery),
            wire: Wire::default(),
            now: Instant::now_for_tests(),
            publisher,
            events: Vec::new(),
        }
    }

    /// A world whose one subscription passes everything from now on.
    pub(super) fn subscribed() -> Self {
        let mut world = Self::new();
        world.subscribe(SUB, params(from_start())).unwrap();
        world
    }

    pub(super) fn subscribe(
        &mut self,
        id: SubscriptionId,
        params: SubscriptionParams,
    ) -> Result<StartInfo, AttachError> {
        let log = self.log.clone();
        let info = self.delivery.attach(id, log, &params, Admission::Now)?;
        self.delivery.start(id);
        Ok(info)
    }

    pub(super) fn update(
        &mut self,
        id: SubscriptionId,
        params: UpdateParams,
    ) -> Result<(), UpdateError> {
        self.delivery.update(id, &params, &mut self.wire)
    }

    pub(super) fn detach(&mut self, id: SubscriptionId) {
        self.delivery
            .detach(id, StreamCode::CANCELLED, &mut self.wire);
        self.drain_events();
    }

    pub(super) fn drain_events(&mut self) {
        self.events
            .extend(std::iter::from_fn(|| self.delivery.poll_event()));
    }

    /// Lets the session look at all its tracks and send.
    pub(super) fn run(&mut self) {
        for id in self.delivery.subscriptions().collect::<Vec<_>>() {
            self.delivery.changed(id);
        }
        while self.delivery.service(self.now, &mut self.wire) {}
        self.drain_events();
    }

    /// Everything that can leave the log leaves it.
    pub(super) fn evict_all(&self) {
        let mut log = self.log.borrow_mut();
        log.evict_before(u64::MAX, Spared::Nothing);
    }

    /// Lets the session run at its own deadlines until `time` has passed.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.run();
        while let Some(at) = self.delivery.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.run();
        }
        self.now = end;
        self.run();
    }

    /// Gives a stream window and tells the session.
    pub(super) fn open_window(&mut self, stream: usize, window: usize) {
        self.wire.streams[stream].window = window;
        self.delivery.woken(StreamKey(stream), &mut self.wire);
        self.run();
    }

    pub(super) fn stop(&mut self, stream: usize) {
        self.wire.streams[stream].stopped = true;
        self.delivery.woken(StreamKey(stream), &mut self.wire);
        self.run();
    }

    pub(super) fn give_credit(&mut self, credit: usize) {
        self.wire.credit = credit;
        self.delivery.credit();
        self.run();
    }

    pub(super) fn give_room(&mut self, room: usize) {
        self.wire.room = room;
        self.delivery.datagrams();
        self.run();
    }

    pub(super) fn publish(&self, header: SubgroupHeader) -> Upstream {
        self.publish_as(self.publisher, header)
    }

    pub(super) fn publish_as(&self, publisher: PublisherId, header: SubgroupHeader) -> Upstream {
        self.publish_in(self.log.clone(), publisher, header)
    }

    /// The same for another track.
    pub(super) fn publish_in(
        &self,
        log: Log,
        publisher: PublisherId,
        header: SubgroupHeader,
    ) -> Upstream {
        let ingest = StreamIngest::new(
            &mut log.borrow_mut(),
            publisher,
            &header,
            ObjectLimits::default(),
        );
        Upstream {
            log,
            ingest: Some(ingest.expect("a stream")),
            header,
            previous: None,
            now: self.now,
        }
    }

    pub(super) fn second_publisher(&self) -> PublisherId {
        self.log.borrow_mut().add_publisher()
    }

    /// A whole subgroup at once.
    pub(super) fn send(&self, header: SubgroupHeader, objects: &[Object]) {
        let mut upstream = self.publish(header);
        upstream.objects(objects).unwrap();
        upstream.finish().unwrap();
    }

    pub(super) fn stream(&self, at: usize) -> &Stream {
        &self.wire.streams[at]
    }

    /// Everything received, by location; a location received twice fails the test.
    pub(super) fn received(&self) -> BTreeMap<Location, Vec<u8>> {
        let mut all = BTreeMap::new();
        for stream in self
            .wire
            .streams
            .iter()
            .filter(|stream| !stream.bytes.is_empty())
        {
            let (header, objects) = decode(&stream.bytes);
            assert_eq!(header.track_alias, ALIAS);
            for object in objects.into_iter().filter(|object| object.whole) {
                let at = Location::new(header.group, object.id);
                let twice = all.insert(at, object.payload);
                assert_eq!(twice, None, "{at} came twice");
            }
        }
        all
    }

    /// Streams of each subscription: they are opened in the order of the events.
    pub(super) fn streams_by_subscription(&self) -> BTreeMap<SubscriptionId, Vec<usize>> {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let opened = self.events.iter().flat_map(|event| match event {
            DeliveryEvent::Streams {
                subscription,
                opened,
                ..
            } => vec![*subscription; *opened as usize],
            DeliveryEvent::Ended { .. } => Vec::new(),
        });
        for (stream, id) in opened.enumerate() {
            all.entry(id).or_default().push(stream);
        }
        all
    }

    /// How many streams were opened and closed, as it was told.
    pub(super) fn told(&self) -> (u64, u64) {
        self.events.iter().fold((0, 0), |sum, event| match event {
            DeliveryEvent::Streams { opened, closed, .. } => (sum.0 + opened, sum.1 + closed),
            DeliveryEvent::Ended { .. } => sum,
        })
    }

    pub(super) fn ended(&self) -> Option<(crate::model::PublishDoneCode, u64)> {
        self.events.iter().find_map(|event| match event {
            DeliveryEvent::Ended { code, streams, .. } => Some((*code, *streams)),
            _ => None,
        })
    }
}

/// An inbound stream.
pub(super) struct Upstream {
    log: Log,
    ingest: Option<StreamIngest>,
    header: SubgroupHeader,
    previous: Option<u64>,
    pub(super) now: Instant,
}

impl Upstream {
    /// Bytes after the stream header.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), IngestError> {
        let ingest = self.ingest.as_mut().expect("a stream that is open");
        let mut log = self.log.borrow_mut();
        if let Err(error) = ingest.read(Bytes::copy_from_slice(bytes)) {
            let ingest = self.ingest.take().expect("a stream");
            ingest.fail(&mut log, &error);
            return Err(error);
        }
        if let Some(turn) = ingest.prepare() {
            ingest.commit(&mut log, &turn, self.now)?;
        }
        Ok(())
    }

    pub(super) fn encode(&mut self, objects: &[Object]) -> Vec<u8> {
        let bytes = encode_objects(&self.header, self.previous, objects);
        self.previous = objects.last().map(|object| object.id).or(self.previous);
        bytes
    }

    pub(super) fn objects(&mut self, objects: &[Object]) -> Result<(), IngestError> {
        let bytes = self.encode(objects);
        self.bytes(&bytes)
    }

    pub(super) fn object(&mut self, id: u64, payload: &[u8]) {
        self.objects(&[object(id, payload)]).unwrap();
    }

    /// Begins an object, and gives what is left of it.
    pub(super) fn begin(&mut self, id: u64, payload: &[u8], now: usize) -> Vec<u8> {
        let bytes = self.encode(&[object(id, payload)]);
        let cut = bytes.len() - payload.len() + now;
        self.bytes(&bytes[..cut]).unwrap();
        bytes[cut..].to_vec()
    }

    pub(super) fn finish(self) -> Result<(), IngestError> {
        let ingest = self.ingest.expect("a stream that is open");
        ingest.finish(&mut self.log.borrow_mut())
    }

    pub(super) fn reset(self, code: StreamCode) {
        let ingest = self.ingest.expect("a stream that is open");
        ingest.reset(&mut self.log.borrow_mut(), code);
    }
}

/// Streams are reset at once where upstream was.
pub(super) fn at_once() -> DeliveryLimits {
    DeliveryLimits {
        reset_delay: Duration::ZERO,
        ..DeliveryLimits::default()
    }
}

/// A log that holds little.
pub(super) fn small() -> TrackLimits {
    TrackLimits {
        max_bytes: 100_000,
        max_remembered_groups: 4,
        ..TrackLimits::default()
    }
}

pub(super) fn from_start() -> Filter {
    Filter::AbsoluteStart {
        start: Location::default(),
    }
}

pub(super) fn params(filter: Filter) -> SubscriptionParams {
    SubscriptionParams {
        filter,
        forward: true,
        subscriber_priority: 128,
        group_order: GroupOrder::Ascending,
        delivery_timeout: None,
        publisher_timeout: None,
    }
}

pub(super) fn with_priority(priority: u8) -> SubscriptionParams {
    SubscriptionParams {
        subscriber_priority: priority,
        ..params(from_start())
    }
}

pub(super) fn open_update() -> UpdateParams {
    UpdateParams {
        start: Location::default(),
        end_group: None,
        forward: true,
        subscriber_priority: 128,
        delivery_timeout: None,
    }
}

/// A first moment; tests go on from it by themselves.
trait NowForTests {
    fn now_for_tests() -> Instant;
}

impl NowForTests for Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant cannot be made in another way; only differences matter"
    )]
    fn now_for_tests() -> Instant {
        Self::now()
    }
}
