//! One track driven by bytes: publishers that send subgroups in pieces, and readers whose streams have windows.
//!
//! Every object has the bytes that its location says, whoever publishes it. So a reader can judge alone what it gets: ids
//! that somebody published, in ascending order, each with its own bytes and none of another object's.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use super::{arbitrary::Source, session::start};
use crate::model::{
    Extensions, Filter, GroupOrder, Location, ObjectHeader, ObjectItem, ObjectLimits, ObjectStatus,
    PublishDoneCode, StreamCode, StreamHeader, StreamHeaderDecoder, SubgroupDecoder,
    SubgroupEncoder, SubgroupHeader, SubgroupId, TrackAlias,
};
use crate::track::{
    Admission, DatagramSent, Delivery, DeliveryEvent, DeliveryLimits, Opened, Outlet, PublisherId,
    Source as LogSource, StreamIngest, StreamKey, SubscriptionId, SubscriptionParams, TrackLimits,
    TrackLog, UpdateParams, Watched, Written,
};

const UPSTREAM: TrackAlias = TrackAlias(3);
const DOWNSTREAM: TrackAlias = TrackAlias(1000);

/// The payload of an object: longer than what fits a window, and unlike that of its neighbours.
fn payload(group: u64, object: u64) -> Vec<u8> {
    let len = (object * 37 + group * 11) % 150;
    (0..len)
        .map(|at| (at + object * 7 + group * 31) as u8)
        .collect()
}

fn group_order(number: u8) -> GroupOrder {
    if number & 1 == 0 {
        GroupOrder::Ascending
    } else {
        GroupOrder::Descending
    }
}

fn filter(number: u8) -> Filter {
    let start = Location::new(u64::from(number >> 6), u64::from(number >> 4 & 3));
    match number % 4 {
        0 => Filter::NextGroupStart,
        1 => Filter::LargestObject,
        2 => Filter::AbsoluteStart { start },
        _ => Filter::AbsoluteRange {
            start,
            end_group: start.group + 1,
        },
    }
}

/// A subgroup stream on its way to the log.
struct Sending {
    publisher: PublisherId,
    ingest: StreamIngest,
    group: u64,
    subgroup: u64,
    bytes: Bytes,
    ids: Vec<u64>,
}

/// How a stream stands at its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Finished,
    Reset,
}

struct Stream {
    bytes: Vec<u8>,
    window: usize,
    end: End,
    stopped: bool,
    released: bool,
}

/// Streams of one session.
struct Wire {
    streams: Vec<Stream>,
    credit: usize,
    window: usize,
}

impl Wire {
    fn get(&mut self, key: StreamKey) -> &mut Stream {
        let stream = self.streams.get_mut(key.0).expect("a stream of this wire");
        assert!(!stream.released, "a stream that was given back");
        stream
    }
}

impl Outlet for Wire {
    fn open(&mut self, _priority: i32) -> Opened {
        let Some(credit) = self.credit.checked_sub(1) else {
            return Opened::NoCredit;
        };
        self.credit = credit;
        self.streams.push(Stream {
            bytes: Vec::new(),
            window: self.window,
            end: End::Open,
            stopped: false,
            released: false,
        });
        Opened::Stream(StreamKey(self.streams.len() - 1))
    }

    fn write(&mut self, key: StreamKey, chunks: &mut [Bytes]) -> Written {
        let stream = self.get(key);
        assert_eq!(stream.end, End::Open, "written after its end");
        if stream.stopped {
            return Written::Stopped;
        }
        let before = stream.bytes.len();
        for chunk in chunks {
            let piece = chunk.split_to(chunk.len().min(stream.window));
            stream.window -= piece.len();
            stream.bytes.extend_from_slice(&piece);
        }
        match stream.bytes.len() - before {
            0 => Written::Blocked,
            taken => Written::Taken(taken),
        }
    }

    fn watch(&mut self, key: StreamKey) -> Watched {
        let stream = self.get(key);
        match (stream.stopped, stream.end) {
            (true, _) => Watched::Stopped,
            (_, End::Finished) => Watched::Received,
            _ => Watched::Pending,
        }
    }

    fn finish(&mut self, key: StreamKey) {
        let stream = self.get(key);
        assert_eq!(stream.end, End::Open, "finished twice");
        stream.end = End::Finished;
    }

    fn reset(&mut self, key: StreamKey, _code: StreamCode) {
        let stream = self.get(key);
        stream.end = End::Reset;
        stream.released = true;
    }

    fn release(&mut self, key: StreamKey) {
        self.get(key).released = true;
    }

    fn set_priority(&mut self, _key: StreamKey, _priority: i32) {}

    fn datagram(&mut self, _wire: Bytes) -> DatagramSent {
        panic!("nobody published a datagram");
    }
}

#[derive(Clone)]
struct Log(Rc<RefCell<TrackLog>>);

impl LogSource for Log {
    fn read<R>(&self, f: impl FnOnce(&TrackLog) -> R) -> R {
        f(&self.0.borrow())
    }
}

struct World {
    log: Log,
    delivery: Delivery<Log>,
    wire: Wire,
    now: Instant,
    publishers: Vec<PublisherId>,
    sendings: Vec<Sending>,
    next_subscription: u64,
    /// Subscriptions that were not told to have ended.
    subscriptions: BTreeSet<SubscriptionId>,
    opened: BTreeMap<SubscriptionId, u64>,
    closed: BTreeMap<SubscriptionId, u64>,
    published: BTreeSet<(u64, u64)>,
    finished: BTreeSet<(u64, u64)>,
}

/// Operations of publishers and readers on one track.
pub fn track_operations(data: &[u8]) {
    let mut source = Source::new(data);
    let small = source.byte();
    let track = TrackLimits {
        max_bytes: if small & 1 == 1 { 2000 } else { 1 << 20 },
        max_streams: 8,
        ..TrackLimits::default()
    };
    let delivery = DeliveryLimits {
        lag_bytes: if small & 2 == 2 { 1000 } else { 1 << 20 },
        skip_groups: small & 4 == 4,
        default_timeout: (small & 8 == 8).then_some(Duration::from_secs(2)),
        ..DeliveryLimits::default()
    };
    let mut log = TrackLog::new(DOWNSTREAM, track);
    let publishers = vec![log.add_publisher()];
    let mut world = World {
        log: Log(Rc::new(RefCell::new(log))),
        delivery: Delivery::new(delivery),
        wire: Wire {
            streams: Vec::new(),
            credit: 4,
            window: 40,
        },
        now: start(),
        publishers,
        sendings: Vec::new(),
        next_subscription: 0,
        subscriptions: BTreeSet::new(),
        opened: BTreeMap::new(),
        closed: BTreeMap::new(),
        published: BTreeSet::new(),
        finished: BTreeSet::new(),
    };
    for _ in 0..data.len().min(400) {
        world.operate(&mut source);
        world.serve();
    }
    world.end();
}

impl World {
    fn operate(&mut self, source: &mut Source<'_>) {
        let (operation, a, b) = (source.byte(), source.byte(), source.byte());
        match operation % 12 {
            0 if self.sendings.len() < 8 => self.publish(a, b),
            1..=3 => self.send(a, usize::from(b) + 1),
            4 => {
                if let Some(sending) = self.take(a) {
                    let code = StreamCode(u64::from(b));
                    sending.ingest.reset(&mut self.log.0.borrow_mut(), code);
                }
            }
            5 => self.subscribe(a, b),
            6 => self.update(a, b),
            7 => {
                if let Some(id) = self.subscription(a) {
                    self.subscriptions.remove(&id);
                    let code = StreamCode::CANCELLED;
                    self.delivery.detach(id, code, &mut self.wire);
                }
            }
            8 => {
                let at = usize::from(a) % self.wire.streams.len().max(1);
                if let Some(stream) = self.wire.streams.get_mut(at)
                    && !stream.released
                {
                    stream.window += usize::from(b);
                    stream.stopped |= b == 0;
                    self.delivery.woken(StreamKey(at), &mut self.wire);
                }
            }
            9 => {
                self.wire.credit += usize::from(b & 7);
                self.delivery.credit();
            }
            10 => self.now += Duration::from_millis(u64::from(b) * 20),
            _ => self.publisher_changes(a, b),
        }
    }

    fn publisher_changes(&mut self, a: u8, b: u8) {
        let mut log = self.log.0.borrow_mut();
        match b % 8 {
            0 | 1 if self.publishers.len() < 3 => self.publishers.push(log.add_publisher()),
            2 if !self.publishers.is_empty() => {
                let at = usize::from(a) % self.publishers.len();
                let publisher = self.publishers.remove(at);
                log.remove_publisher(publisher);
                // Its readers notice afterwards.
                let (gone, left) = std::mem::take(&mut self.sendings)
                    .into_iter()
                    .partition(|sending: &Sending| sending.publisher == publisher);
                self.sendings = left;
                for sending in gone {
                    sending.ingest.reset(&mut log, StreamCode::CANCELLED);
                }
            }
            3 if a == 0 => log.end(PublishDoneCode::TRACK_ENDED, "over"),
            _ => {}
        }
    }

    /// Opens a subgroup with a few objects.
    fn publish(&mut self, a: u8, b: u8) {
        let Some(publisher) = self.publishers.get(usize::from(a) % 3).copied() else {
            return;
        };
        let (group, subgroup) = (u64::from(b & 3), u64::from(b >> 2 & 1));
        let header = SubgroupHeader {
            track_alias: UPSTREAM,
            group,
            subgroup: SubgroupId::Explicit(subgroup),
            publisher_priority: a,
            extensions: false,
            end_of_group: false,
        };
        let mut encoder = SubgroupEncoder::new(&header);
        let mut bytes = BytesMut::new();
        let mut ids = Vec::new();
        for bit in 0..4 {
            // Ids of the two subgroups do not meet.
            let id = 2 * (u64::from(a >> 4 & 3) + bit) + subgroup;
            if b >> (4 + bit) & 1 == 1 {
                continue;
            }
            let payload = payload(group, id);
            let object = ObjectHeader {
                object: id,
                extensions: Extensions::default(),
                status: ObjectStatus::Normal,
                payload_len: payload.len() as u64,
            };
            encoder.object(&object, &mut bytes).expect("a small object");
            bytes.extend_from_slice(&payload);
            ids.push(id);
        }
        let log = &mut self.log.0.borrow_mut();
        let limits = ObjectLimits::default();
        if let Some(ingest) = StreamIngest::new(log, publisher, &header, limits) {
            self.sendings.push(Sending {
                publisher,
                ingest,
                group,
                subgroup,
                bytes: bytes.freeze(),
                ids,
            });
        }
    }

    fn take(&mut self, number: u8) -> Option<Sending> {
        let at = usize::from(number).checked_rem(self.sendings.len())?;
        Some(self.sendings.swap_remove(at))
    }

    /// The next bytes of a subgroup reach the log; the last ones with FIN.
    fn send(&mut self, number: u8, len: usize) {
        let Some(mut sending) = self.take(number) else {
            return;
        };
        let piece = sending.bytes.split_to(len.min(sending.bytes.len()));
        let (group, subgroup) = (sending.group, sending.subgroup);
        self.published
            .extend(sending.ids.iter().map(|id| (group, *id)));
        let now = self.now;
        let log = &mut *self.log.0.borrow_mut();
        let mut taken = sending.ingest.read(piece);
        if taken.is_ok()
            && let Some(turn) = sending.ingest.prepare()
        {
            taken = sending.ingest.commit(log, &turn, now);
        }
        match taken {
            Err(error) => sending.ingest.fail(log, &error),
            Ok(()) if sending.bytes.is_empty() => {
                if sending.ingest.finish(log).is_ok() {
                    self.finished.insert((group, subgroup));
                }
            }
            Ok(()) => self.sendings.push(sending),
        }
    }

    fn subscription(&self, number: u8) -> Option<SubscriptionId> {
        let at = usize::from(number) % self.subscriptions.len().max(1);
        self.subscriptions.iter().nth(at).copied()
    }

    fn subscribe(&mut self, a: u8, b: u8) {
        if self.subscriptions.len() >= 4 {
            return;
        }
        let id = SubscriptionId(self.next_subscription);
        self.next_subscription += 1;
        let params = SubscriptionParams {
            filter: filter(b),
            forward: a & 1 == 0,
            subscriber_priority: a >> 1 & 3,
            group_order: group_order(a >> 3),
            delivery_timeout: (a & 0x10 == 0x10).then_some(Duration::from_secs(1)),
            publisher_timeout: (a & 0x20 == 0x20).then_some(Duration::from_secs(3)),
        };
        let log = self.log.clone();
        if self
            .delivery
            .attach(id, log, &params, Admission::Now)
            .is_ok()
        {
            self.delivery.start(id);
            self.subscriptions.insert(id);
        }
    }

    fn update(&mut self, a: u8, b: u8) {
        let Some(id) = self.subscription(a) else {
            return;
        };
        let start = Location::new(u64::from(b & 3), u64::from(b >> 2 & 3));
        let update = UpdateParams {
            start,
            end_group: (b & 0x10 == 0x10).then_some(start.group + 1),
            forward: b & 0x20 == 0,
            subscriber_priority: b >> 6,
            delivery_timeout: None,
        };
        // One that widens the range is refused.
        let _ = self.delivery.update(id, &update, &mut self.wire);
    }

    /// The session looks at its tracks and sends.
    fn serve(&mut self) {
        for id in self.delivery.subscriptions().collect::<Vec<_>>() {
            self.delivery.changed(id);
        }
        let mut turns = 0;
        while self.delivery.service(self.now, &mut self.wire) {
            turns += 1;
            assert!(turns < 10_000, "it never rests");
        }
        while let Some(event) = self.delivery.poll_event() {
            match event {
                DeliveryEvent::Streams {
                    subscription,
                    opened,
                    closed,
                } => {
                    *self.opened.entry(subscription).or_default() += opened;
                    *self.closed.entry(subscription).or_default() += closed;
                }
                DeliveryEvent::Ended {
                    subscription,
                    streams,
                    ..
                } => {
                    assert!(self.subscriptions.remove(&subscription), "ended twice");
                    let count = |of: &BTreeMap<SubscriptionId, u64>| {
                        of.get(&subscription).copied().unwrap_or(0)
                    };
                    assert_eq!(count(&self.opened), streams);
                    assert_eq!(count(&self.closed), streams, "ended with open streams");
                }
            }
        }
    }

    /// Everything flows off and ends; then what was read is looked at.
    fn end(mut self) {
        self.log
            .0
            .borrow_mut()
            .end(PublishDoneCode::TRACK_ENDED, "over");
        for sending in std::mem::take(&mut self.sendings) {
            sending
                .ingest
                .reset(&mut self.log.0.borrow_mut(), StreamCode::CANCELLED);
        }
        self.wire.credit = usize::MAX;
        self.wire.window = usize::MAX;
        self.delivery.credit();
        for at in 0..self.wire.streams.len() {
            if !self.wire.streams[at].released {
                self.wire.streams[at].window = usize::MAX;
                self.delivery.woken(StreamKey(at), &mut self.wire);
            }
        }
        for _ in 0..100 {
            self.serve();
            match self.delivery.deadline() {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
        }
        assert!(self.subscriptions.is_empty(), "a subscription never ends");
        for stream in &self.wire.streams {
            assert!(stream.released, "a stream is never given back");
            self.judge(stream);
        }
    }

    fn judge(&self, stream: &Stream) {
        let mut input = Bytes::copy_from_slice(&stream.bytes);
        let header = StreamHeaderDecoder::new()
            .decode(&mut input)
            .expect("a head");
        let Some(StreamHeader::Subgroup(header)) = header else {
            assert_ne!(stream.end, End::Finished, "no head");
            return;
        };
        assert_eq!(header.track_alias, DOWNSTREAM);
        let mut decoder = SubgroupDecoder::new(header, ObjectLimits::default());
        let mut last = None;
        let mut got = Vec::new();
        while let Some(item) = decoder.decode(&mut input).expect("objects") {
            match item {
                ObjectItem::Header { header: object, .. } => {
                    let id = object.object;
                    assert!(last < Some(id), "{id} after {last:?}");
                    assert!(
                        self.published.contains(&(header.group, id)),
                        "nobody sent {id}"
                    );
                    last = Some(id);
                    got.clear();
                }
                ObjectItem::Payload(piece) => {
                    got.extend_from_slice(&piece);
                    let whole = payload(header.group, last.expect("an object"));
                    assert!(whole.starts_with(&got), "bytes of something else");
                }
                ObjectItem::End => {
                    assert_eq!(got, payload(header.group, last.expect("an object")));
                }
            }
        }
        if stream.end == End::Finished {
            assert_eq!(decoder.finish(), Ok(()), "FIN inside an object");
            let SubgroupId::Explicit(subgroup) = header.subgroup else {
                panic!("{header:?}");
            };
            let key = (header.group, subgroup);
            assert!(self.finished.contains(&key), "FIN that nobody sent");
        }
    }
}
