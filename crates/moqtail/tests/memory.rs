//! What logs count is what they hold: measured with an allocator that counts, over hours of media in virtual time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    alloc::System,
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use cap::Cap;
use moqtail::model::{
    DatagramBody, Extensions, Filter, GroupOrder, Location, ObjectDatagram, ObjectHeader,
    ObjectLimits, ObjectStatus, StreamCode, SubgroupEncoder, SubgroupHeader, SubgroupId,
    TrackAlias,
};
use moqtail::peer::{LocalTrack, TrackPool};
use moqtail::track::{
    Admission, DatagramSent, Delivery, DeliveryLimits, Opened, Outlet, PublisherId, Source,
    StreamIngest, StreamKey, SubgroupOptions, SubscriptionId, SubscriptionParams, TrackLimits,
    TrackLog, Watched, Written,
};
use tokio::sync::Mutex;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// What engine, streams and the test itself hold beside the logs.
const BESIDE: usize = 256 << 10;

/// The heap is shared, so these tests take turns.
static TURN: Mutex<()> = Mutex::const_new(());

/// Heap in use beyond what was in use `before`.
fn heap(before: usize) -> usize {
    HEAP.allocated().saturating_sub(before)
}

fn assert_counted(what: &str, heap: usize, counted: usize) {
    assert!(
        heap <= counted + counted * 3 / 10 + BESIDE,
        "{what}: {heap} bytes held, {counted} counted"
    );
}

#[derive(Clone)]
struct Log(Rc<RefCell<TrackLog>>);

impl Log {
    fn new(limits: TrackLimits) -> (Self, PublisherId) {
        let mut log = TrackLog::new(TrackAlias(1), limits);
        let publisher = log.add_publisher();
        (Self(Rc::new(RefCell::new(log))), publisher)
    }

    fn footprint(&self) -> usize {
        self.0.borrow().footprint()
    }
}

impl Source for Log {
    fn read<R>(&self, f: impl FnOnce(&TrackLog) -> R) -> R {
        f(&self.0.borrow())
    }
}

/// One inbound stream, in receive buffers as a UDP socket fills them.
struct Stream {
    log: Log,
    ingest: StreamIngest,
    encoder: SubgroupEncoder,
}

impl Stream {
    fn open(log: &Log, publisher: PublisherId, group: u64, subgroup: u64) -> Self {
        let header = SubgroupHeader {
            track_alias: TrackAlias(9),
            group,
            subgroup: SubgroupId::Explicit(subgroup),
            publisher_priority: 128,
            extensions: false,
            end_of_group: false,
        };
        let limits = ObjectLimits::default();
        Self {
            log: log.clone(),
            ingest: StreamIngest::new(&mut log.0.borrow_mut(), publisher, &header, limits).unwrap(),
            encoder: SubgroupEncoder::new(&header),
        }
    }

    /// One turn of reading that brings these objects.
    fn objects(&mut self, ids: impl Iterator<Item = u64>, len: usize, now: Instant) {
        const PACKET: usize = 1200;
        let mut buffer = BytesMut::with_capacity(16 << 10);
        for object in ids {
            let header = ObjectHeader {
                object,
                extensions: Extensions::default(),
                status: ObjectStatus::Normal,
                payload_len: len as u64,
            };
            self.encoder.object(&header, &mut buffer).unwrap();
            buffer.resize(buffer.len() + len, object as u8);
        }
        let mut received = buffer.freeze();
        while !received.is_empty() {
            let packet = received.split_to(received.len().min(PACKET));
            self.ingest.read(packet).unwrap();
        }
        let turn = self.ingest.prepare();
        let mut log = self.log.0.borrow_mut();
        turn.iter()
            .for_each(|turn| self.ingest.commit(&mut log, turn, now).unwrap());
    }

    fn finish(self) {
        self.ingest.finish(&mut self.log.0.borrow_mut()).unwrap();
    }
}

/// Streams that swallow everything, or nothing.
#[derive(Default)]
struct Sink {
    streams: usize,
    free: Vec<StreamKey>,
    bytes: usize,
    stalled: bool,
}

impl Outlet for Sink {
    fn open(&mut self, _priority: i32) -> Opened {
        let free = self.free.pop();
        Opened::Stream(free.unwrap_or_else(|| {
            self.streams += 1;
            StreamKey(self.streams)
        }))
    }

    fn write(&mut self, _stream: StreamKey, chunks: &mut [Bytes]) -> Written {
        if self.stalled {
            return Written::Blocked;
        }
        let taken = chunks.iter_mut().map(std::mem::take).map(|c| c.len()).sum();
        self.bytes += taken;
        Written::Taken(taken)
    }

    fn watch(&mut self, _stream: StreamKey) -> Watched {
        Watched::Received
    }

    fn finish(&mut self, _stream: StreamKey) {}

    fn reset(&mut self, stream: StreamKey, _code: StreamCode) {
        self.free.push(stream);
    }

    fn release(&mut self, stream: StreamKey) {
        self.free.push(stream);
    }

    fn set_priority(&mut self, _stream: StreamKey, _priority: i32) {}

    fn datagram(&mut self, wire: Bytes) -> DatagramSent {
        self.bytes += wire.len();
        DatagramSent::Sent
    }
}

/// A session that follows tracks, and changes its subscriptions now and then.
struct Reader {
    delivery: Delivery<Log>,
    sink: Sink,
    next: u64,
}

impl Reader {
    fn new() -> Self {
        Self {
            delivery: Delivery::new(DeliveryLimits::default()),
            sink: Sink::default(),
            next: 0,
        }
    }

    fn subscribe(&mut self, log: &Log) {
        let params = SubscriptionParams {
            filter: Filter::LargestObject,
            forward: true,
            subscriber_priority: 128,
            group_order: GroupOrder::Ascending,
            delivery_timeout: None,
            publisher_timeout: None,
        };
        let id = SubscriptionId(self.next);
        self.next += 1;
        self.delivery
            .attach(id, log.clone(), &params, Admission::Now)
            .unwrap();
        self.delivery.start(id);
    }

    fn leave_all(&mut self) {
        for id in self.delivery.subscriptions().collect::<Vec<_>>() {
            self.delivery
                .detach(id, StreamCode::CANCELLED, &mut self.sink);
        }
    }

    fn run(&mut self, now: Instant) {
        for id in self.delivery.subscriptions().collect::<Vec<_>>() {
            self.delivery.changed(id);
        }
        while self.delivery.service(now, &mut self.sink) {}
        while self.delivery.poll_event().is_some() {}
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a first moment; from there on time is counted"
)]
fn start() -> Instant {
    Instant::now()
}

/// Six hours of video at 30 frames a second and audio, a group a second, with readers that come and go and one that
/// stalls: memory is flat and what is counted is what is held.
#[test]
fn hours_of_media_hold_no_more_than_minutes() {
    const SECONDS: u64 = 6 * 3600;
    let _alone = TURN.blocking_lock();
    let before = HEAP.allocated();
    let limits = TrackLimits {
        max_bytes: 4 << 20,
        ..TrackLimits::default()
    };
    let (video, video_publisher) = Log::new(limits);
    let (audio, audio_publisher) = Log::new(limits);
    let mut readers = [Reader::new(), Reader::new()];
    let mut now = start();
    let mut peaks = [0; 2];
    for second in 0..SECONDS {
        let mut frames = Stream::open(&video, video_publisher, second, 0);
        let mut samples = Stream::open(&audio, audio_publisher, second, 0);
        for turn in 0..5_u64 {
            frames.objects(turn * 6..turn * 6 + 6, 700, now);
            samples.objects(turn * 10..turn * 10 + 10, 100, now);
            now += Duration::from_millis(200);
            if turn % 2 == 0 {
                readers.iter_mut().for_each(|reader| reader.run(now));
            }
        }
        frames.finish();
        samples.finish();
        let reader = &mut readers[usize::try_from(second % 2).unwrap()];
        if second % 10 < 2 {
            reader.leave_all();
            reader.subscribe(&video);
            reader.subscribe(&audio);
        }
        readers[1].sink.stalled = second % 60 > 30;
        if second % 60 == 59 {
            let counted = video.footprint() + audio.footprint();
            let held = heap(before);
            assert_counted(&format!("after {second} s"), held, counted);
            let peak = &mut peaks[usize::from(second > SECONDS / 6)];
            *peak = held.max(*peak);
        }
    }
    assert!(peaks[1] <= peaks[0] + BESIDE, "{peaks:?}");
    assert!(readers[0].sink.bytes > readers[1].sink.bytes);
    assert!(readers[1].sink.bytes > 100 << 20);
}

/// How objects come, for one log: what is counted is what is held, whatever their form.
#[test]
fn every_form_of_objects_is_counted() {
    let _alone = TURN.blocking_lock();
    type Form = fn(&Log, PublisherId, Instant);
    let forms: [(&str, Form); 7] = [
        ("a tiny object a group", |log, publisher, now| {
            for group in 0..20_000 {
                let mut stream = Stream::open(log, publisher, group, 0);
                stream.objects(0..1, 1, now);
                stream.finish();
            }
        }),
        ("many tiny objects a turn", |log, publisher, now| {
            let mut stream = Stream::open(log, publisher, 0, 0);
            for turn in 0..1000 {
                stream.objects(turn * 100..turn * 100 + 100, 1, now);
            }
        }),
        ("a tiny object a turn", |log, publisher, now| {
            let mut stream = Stream::open(log, publisher, 0, 0);
            (0..50_000).for_each(|id| stream.objects(id..id + 1, 1, now));
        }),
        ("ids with gaps", |log, publisher, now| {
            for group in 0..500 {
                let mut stream = Stream::open(log, publisher, group, 0);
                (0..200).for_each(|id| stream.objects(id * 2..id * 2 + 1, 1, now));
                stream.finish();
            }
        }),
        ("many subgroups", |log, publisher, now| {
            for group in 0..200 {
                for subgroup in 0..50 {
                    let mut stream = Stream::open(log, publisher, group, subgroup);
                    stream.objects(subgroup..subgroup + 1, 160, now);
                    stream.finish();
                }
            }
        }),
        ("large objects", |log, publisher, now| {
            for group in 0..100 {
                let mut stream = Stream::open(log, publisher, group, 0);
                stream.objects(0..1, 100_000, now);
                stream.finish();
            }
        }),
        ("datagrams", |log, _, now| {
            for id in 0..20_000 {
                let datagram = ObjectDatagram {
                    track_alias: TrackAlias(9),
                    group: id / 50,
                    object: id % 50,
                    object_id_absent: false,
                    publisher_priority: 1,
                    end_of_group: false,
                    extensions: Extensions::default(),
                    body: DatagramBody::Payload(Bytes::from(vec![0; 65_536]).slice(..120)),
                };
                log.0.borrow_mut().receive_datagram(datagram, now).unwrap();
            }
        }),
    ];
    let limits = TrackLimits {
        max_bytes: 2 << 20,
        max_datagrams: 100_000,
        ..TrackLimits::default()
    };
    for (what, form) in forms {
        let before = HEAP.allocated();
        let (log, publisher) = Log::new(limits);
        form(&log, publisher, start());
        assert!(log.0.borrow().bytes() <= (2 << 20) + (128 << 10), "{what}");
        assert_counted(what, heap(before), log.footprint());
    }
}

/// A thousand tracks within one budget: never over it, and the oldest groups of all leave first.
#[tokio::test]
async fn many_tracks_share_one_budget() {
    const TRACKS: u64 = 1000;
    const BUDGET: usize = 20 << 20;
    let _alone = TURN.lock().await;
    let before = HEAP.allocated();
    let pool = Arc::new(TrackPool::new(BUDGET));
    let keeper = pool.clone();
    let mut tasks = tokio::task::JoinSet::new();
    // As a relay does.
    tasks.spawn(async move {
        loop {
            keeper.exceeded().await;
            keeper.reclaim().await;
        }
    });
    let tracks: Vec<_> = (0..TRACKS)
        .map(|alias| LocalTrack::new(pool.track(TrackAlias(alias), TrackLimits::default())))
        .collect();
    let publish = async |track: &LocalTrack, group| {
        let mut subgroup = track.subgroup(SubgroupOptions::new(group)).unwrap();
        for object in 0..4 {
            let payload = Bytes::from(vec![0; 1000]);
            subgroup
                .object(object, &Extensions::default(), payload)
                .unwrap();
        }
        subgroup.finish().unwrap();
        assert!(pool.held() <= BUDGET, "{}", pool.held());
        tokio::task::yield_now().await;
    };
    for group in 0..20 {
        for track in &tracks {
            publish(track, group).await;
        }
        assert_counted("many tracks", heap(before), pool.held());
    }
    // One that goes on takes the room of the others' old groups, and leaves them their newest.
    for group in 20..5000 {
        publish(&tracks[0], group).await;
    }
    assert_counted("one busy track", heap(before), pool.held());
    // So much is left to it just after room was made, and four times as much before.
    assert!(tracks[0].track().bytes() > 1 << 19);
    assert!(tracks.iter().all(|track| track.track().bytes() > 4000));
    assert_eq!(tracks[1].track().largest(), Some(Location::new(19, 3)));
    tasks.shutdown().await;
    drop(tracks);
    assert_eq!(pool.held(), 0);
}

/// More newest groups than there is room for: those of the tracks that were written longest ago leave too.
#[tokio::test]
async fn newest_groups_alone_do_not_break_the_budget() {
    const BUDGET: usize = 8 << 20;
    let _alone = TURN.lock().await;
    let pool = TrackPool::new(BUDGET);
    let tracks: Vec<_> = (0..200)
        .map(|alias| LocalTrack::new(pool.track(TrackAlias(alias), TrackLimits::default())))
        .collect();
    for track in &tracks {
        let mut subgroup = track.subgroup(SubgroupOptions::new(0)).unwrap();
        for object in 0..10 {
            let payload = Bytes::from(vec![0; 10_000]);
            subgroup
                .object(object, &Extensions::default(), payload)
                .unwrap();
        }
        assert!(pool.held() <= BUDGET, "{}", pool.held());
        pool.reclaim().await;
    }
    assert_eq!(tracks[0].track().bytes() / 1000, 0);
    assert!(tracks[199].track().bytes() > 100_000);
}
