//! Random publishers of the same content, of which one is reliable: whatever the others do, readers get everything once.

use super::{integrity, support::*};
use crate::model::{Location, StreamCode, SubgroupHeader};
use crate::track::{PublisherId, TrackLimits};

/// A small generator: the same seed, the same run (xorshift).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// One stream of one publisher.
struct Sending {
    upstream: Option<Upstream>,
    bytes: Vec<u8>,
    sent: usize,
    reliable: bool,
}

/// Objects of a subgroup: ids with holes, payloads that tell who they are.
fn content(group: u64, subgroup: u64) -> Vec<Object> {
    let mut random = Random::new(group * 100 + subgroup + 1);
    let mut id = subgroup;
    (0..3 + random.below(8))
        .map(|_| {
            let payload = format!("{group}/{subgroup}/{id};").repeat(random.below(30) as usize);
            let object = object(id, payload.as_bytes());
            id += 4 * (1 + random.below(3));
            object
        })
        .collect()
}

fn open(world: &World, publisher: PublisherId, header: SubgroupHeader, from: usize) -> Sending {
    let crate::model::SubgroupId::Explicit(subgroup) = header.subgroup else {
        panic!("{header:?}");
    };
    let mut upstream = world.publish_as(publisher, header);
    let objects = content(header.group, subgroup);
    let bytes = upstream.encode(&objects[from.min(objects.len() - 1)..]);
    Sending {
        upstream: Some(upstream),
        bytes,
        sent: 0,
        reliable: from == 0,
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let limits = TrackLimits {
        // Every other world is too small for what waits.
        max_held_bytes: if seed.is_multiple_of(2) {
            1 << 20
        } else {
            2000
        },
        ..TrackLimits::default()
    };
    let mut world = World::with(limits, at_once());
    world.subscribe(SUB, params(from_start())).unwrap();
    let others = [world.second_publisher(), world.second_publisher()];
    let headers: Vec<_> = (0..3)
        .flat_map(|group| (0..2).map(move |subgroup| header(group, subgroup)))
        .collect();
    let mut sendings: Vec<_> = headers
        .iter()
        .map(|header| open(&world, world.publisher, *header, 0))
        .collect();
    let mut steps = 0;
    while sendings.iter().any(|sending| sending.upstream.is_some()) {
        steps += 1;
        if steps < 200 && random.chance(10) {
            // Another publisher begins somewhere in a subgroup.
            let header = headers[random.below(headers.len() as u64) as usize];
            let publisher = others[random.below(2) as usize];
            let mut sending = open(&world, publisher, header, random.below(5) as usize);
            sending.reliable = false;
            sendings.push(sending);
        }
        let at = random.below(sendings.len() as u64) as usize;
        let sending = &mut sendings[at];
        let Some(upstream) = &mut sending.upstream else {
            continue;
        };
        let to = (sending.sent + 1 + random.below(150) as usize).min(sending.bytes.len());
        upstream.bytes(&sending.bytes[sending.sent..to]).unwrap();
        sending.sent = to;
        if to == sending.bytes.len() {
            sending.upstream.take().unwrap().finish().unwrap();
        } else if !sending.reliable && random.chance(15) {
            let code = StreamCode(random.below(4));
            sending.upstream.take().unwrap().reset(code);
        }
        world.run();
    }
    world.run();
    let log = world.log.borrow();
    assert_eq!(log.malformed(), None, "seed {seed}");
    assert_eq!(log.held_bytes, 0, "seed {seed}");
    drop(log);
    // Nothing twice, nothing altered, nothing missing.
    let received = world.received();
    let mut expected = 0;
    for header in &headers {
        let crate::model::SubgroupId::Explicit(subgroup) = header.subgroup else {
            panic!("{header:?}");
        };
        for object in content(header.group, subgroup) {
            let at = Location::new(header.group, object.id);
            assert_eq!(
                received.get(&at),
                Some(&object.payload),
                "seed {seed}: {at}"
            );
            expected += 1;
        }
    }
    assert_eq!(received.len(), expected, "seed {seed}");
    let read = integrity::read_delivered(world.wire.streams.iter());
    assert_eq!(read, Ok(()), "seed {seed}");
    for stream in &world.wire.streams {
        assert_ne!(stream.state, State::Open, "seed {seed}");
        let partial = stream.objects().iter().any(|object| !object.whole);
        assert!(!partial || stream.state != State::Finished, "seed {seed}");
    }
}

#[test]
fn readers_get_everything_once() {
    for seed in 0..300 {
        run(seed);
    }
}
