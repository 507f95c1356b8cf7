//! Random publishers, readers and windows against a naive model of what a subscriber must and may receive.

use std::collections::BTreeMap;

use super::{failover::Random, integrity, support::*};
use crate::model::{Filter, Location, StreamCode};
use crate::track::{StreamKey, SubscriptionId, UpdateParams};

/// An inbound stream that is being sent.
struct Sending {
    upstream: Option<Upstream>,
    group: u64,
    subgroup: u64,
    bytes: Vec<u8>,
    sent: usize,
    /// Each object, where its first byte that tells of it is complete, and its arrival.
    objects: Vec<(Object, usize, Option<u64>)>,
    finished: bool,
}

/// A subscriber in the model.
struct Reader {
    id: SubscriptionId,
    start: Location,
    end_group: Option<u64>,
    /// Objects that arrive from here on.
    from: u64,
    forward: bool,
    /// It was updated: which streams carry what is not modelled, only what may not come at all.
    updated: bool,
    /// Arrivals during which nothing was forwarded.
    pauses: Vec<std::ops::Range<u64>>,
}

impl Reader {
    fn wants(&self, at: Location, arrival: Option<u64>) -> bool {
        arrival.is_some_and(|arrival| arrival >= self.from)
            && at >= self.start
            && self.end_group.is_none_or(|end| at.group <= end)
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let mut world = World::new();
    world.wire.window = 50;
    let mut sendings: Vec<Sending> = Vec::new();
    let mut readers: Vec<Reader> = Vec::new();
    let mut arrivals = 0;
    let mut largest: Option<Location> = None;
    for step in 0..300 {
        match random.below(10) {
            0 | 1 if sendings.len() < 40 => {
                let group = random.below(6);
                let subgroup = sendings.iter().filter(|other| other.group == group).count() as u64;
                let mut header = header(group, subgroup);
                header.extensions = random.chance(50);
                let mut id = subgroup;
                let mut objects = Vec::new();
                let mut bytes = Vec::new();
                let mut upstream = world.publish(header);
                for _ in 0..=random.below(6) {
                    let payload = vec![id as u8; random.below(200) as usize];
                    let object = object(id * 64 + subgroup, &payload);
                    let encoded = upstream.encode(std::slice::from_ref(&object));
                    let known = bytes.len() + encoded.len() - payload.len();
                    bytes.extend(encoded);
                    objects.push((object, known, None));
                    id += 1 + random.below(3);
                }
                sendings.push(Sending {
                    upstream: Some(upstream),
                    group,
                    subgroup,
                    bytes,
                    sent: 0,
                    objects,
                    finished: false,
                });
            }
            2 if readers.len() < 5 => {
                let start = Location::new(random.below(4), random.below(300));
                let (filter, start, end_group) = match random.below(4) {
                    0 => (
                        Filter::LargestObject,
                        largest.map_or(Location::default(), |at| {
                            Location::new(at.group, at.object + 1)
                        }),
                        None,
                    ),
                    1 => (
                        Filter::NextGroupStart,
                        largest.map_or(Location::default(), |at| Location::new(at.group + 1, 0)),
                        None,
                    ),
                    2 => (Filter::AbsoluteStart { start }, start, None),
                    _ => {
                        let end_group = start.group + random.below(4);
                        (
                            Filter::AbsoluteRange { start, end_group },
                            start,
                            Some(end_group),
                        )
                    }
                };
                let id = SubscriptionId(step);
                let past = end_group
                    .zip(largest)
                    .is_some_and(|(end, at)| end < at.group);
                let attached = world.subscribe(id, params(filter));
                assert_eq!(attached.is_err(), past);
                if !past {
                    readers.push(Reader {
                        id,
                        start,
                        end_group,
                        from: arrivals,
                        forward: true,
                        updated: false,
                        pauses: Vec::new(),
                    });
                }
            }
            3 => {
                let streams = world.wire.streams.len() as u64;
                if streams > 0 {
                    let stream = random.below(streams) as usize;
                    world.wire.streams[stream].window += random.below(300) as usize;
                    world.delivery.woken(StreamKey(stream), &mut world.wire);
                }
            }
            4 => world.run(),
            5 if !readers.is_empty() && random.chance(30) => {
                let at = random.below(readers.len() as u64) as usize;
                let reader = &mut readers[at];
                reader.updated = true;
                let forward = random.chance(70);
                match (reader.forward, forward) {
                    (true, false) => reader.pauses.push(arrivals..u64::MAX),
                    (false, true) => reader.pauses.last_mut().unwrap().end = arrivals,
                    _ => {}
                }
                reader.forward = forward;
                if random.chance(40) {
                    reader.start.object += random.below(100);
                }
                let update = UpdateParams {
                    start: reader.start,
                    end_group: reader.end_group,
                    forward,
                    subscriber_priority: random.below(3) as u8,
                    delivery_timeout: None,
                };
                world.update(reader.id, update).unwrap();
            }
            _ if !sendings.is_empty() => {
                let at = random.below(sendings.len() as u64) as usize;
                let sending = &mut sendings[at];
                let Some(upstream) = &mut sending.upstream else {
                    continue;
                };
                let to = (sending.sent + 1 + random.below(300) as usize).min(sending.bytes.len());
                upstream.bytes(&sending.bytes[sending.sent..to]).unwrap();
                for (object, known, arrival) in &mut sending.objects {
                    if *known > sending.sent && *known <= to {
                        *arrival = Some(arrivals);
                        arrivals += 1;
                        largest = largest.max(Some(Location::new(sending.group, object.id)));
                    }
                }
                sending.sent = to;
                let reset = random.chance(2);
                if to == sending.bytes.len() || reset {
                    let upstream = sending.upstream.take().unwrap();
                    if to == sending.bytes.len() {
                        sending.finished = true;
                        upstream.finish().unwrap();
                    } else {
                        upstream.reset(StreamCode(9));
                    }
                }
            }
            _ => {}
        }
        assert_eq!(world.log.borrow().largest(), largest, "seed {seed}");
        let subscriptions = world.delivery.subscriptions.values();
        let cursors = subscriptions.flat_map(|(subscription, _)| subscription.cursors.values());
        let waiting = cursors.filter(|cursor| cursor.stream.is_none() || cursor.behind() > 0);
        let counted = world.delivery.shared.waiting;
        assert_eq!(counted, waiting.count(), "seed {seed}");
    }
    // Everything is taken in the end.
    world.wire.window = usize::MAX;
    for stream in 0..world.wire.streams.len() {
        world.wire.streams[stream].window = usize::MAX;
        world.delivery.woken(StreamKey(stream), &mut world.wire);
    }
    world.run();
    compare(&world, &sendings, &readers, seed);
}

fn compare(world: &World, sendings: &[Sending], readers: &[Reader], seed: u64) {
    let streams = world.streams_by_subscription();
    for reader in readers {
        let own = streams.get(&reader.id).cloned().unwrap_or_default();
        let read = integrity::read_delivered(own.iter().map(|stream| world.stream(*stream)));
        assert_eq!(read, Ok(()), "seed {seed}");
        if reader.updated {
            compare_updated(world, sendings, reader, &own, seed);
            continue;
        }
        let mut by_subgroup = BTreeMap::new();
        for stream in own {
            let stream = world.stream(stream);
            if stream.bytes.is_empty() {
                continue;
            }
            let (header, objects) = decode(&stream.bytes);
            let crate::model::SubgroupId::Explicit(subgroup) = header.subgroup else {
                panic!("{header:?}");
            };
            let twice = by_subgroup.insert((header.group, subgroup), (stream.state, objects));
            assert!(twice.is_none(), "seed {seed}: a subgroup on two streams");
        }
        for sending in sendings {
            let got = by_subgroup.remove(&(sending.group, sending.subgroup));
            let wanted: Vec<_> = sending
                .objects
                .iter()
                .filter(|(object, _, arrival)| {
                    reader.wants(Location::new(sending.group, object.id), *arrival)
                })
                .map(|(object, ..)| object.clone())
                .collect();
            match got {
                None => assert!(
                    wanted.is_empty() || !sending.finished && sending.upstream.is_none(),
                    "seed {seed}: missed {wanted:?}"
                ),
                Some((state, objects)) if sending.finished => {
                    assert_eq!((state, &objects), (State::Finished, &wanted), "seed {seed}");
                }
                Some((state, objects)) => {
                    let open = sending.upstream.is_some();
                    assert_eq!(state == State::Open, open, "seed {seed}");
                    for (got, wanted) in objects.iter().zip(&wanted) {
                        assert_eq!(got.id, wanted.id, "seed {seed}");
                        assert!(wanted.payload.starts_with(&got.payload), "seed {seed}");
                    }
                    assert!(objects.len() <= wanted.len());
                    assert!(!open || objects.len() == wanted.len(), "seed {seed}");
                }
            }
        }
        assert!(by_subgroup.is_empty(), "seed {seed}: {by_subgroup:?}");
    }
}

/// A reader that was updated gets nothing twice and nothing that began while it was paused; and once everything is read,
/// all that began after the last update.
fn compare_updated(world: &World, sendings: &[Sending], reader: &Reader, own: &[usize], seed: u64) {
    let mut whole = std::collections::BTreeSet::new();
    for stream in own.iter().map(|stream| world.stream(*stream)) {
        if stream.bytes.is_empty() {
            continue;
        }
        let (header, objects) = decode(&stream.bytes);
        for got in objects {
            let at = Location::new(header.group, got.id);
            let sent = sendings
                .iter()
                .filter(|sending| sending.group == header.group)
                .flat_map(|sending| &sending.objects)
                .find(|(object, ..)| object.id == got.id)
                .expect("an object that was sent");
            let arrival = sent.2.expect("an object that arrived");
            assert!(sent.0.payload.starts_with(&got.payload), "seed {seed}");
            assert!(arrival >= reader.from, "seed {seed}");
            let paused = reader.pauses.iter().any(|pause| pause.contains(&arrival));
            assert!(!paused, "seed {seed}: {at} came while paused");
            if got.whole {
                assert!(whole.insert(at), "seed {seed}: {at} came twice");
            }
        }
    }
    let resumed = reader.pauses.last().map_or(0, |pause| pause.end);
    for sending in sendings.iter().filter(|sending| sending.finished) {
        for (object, _, arrival) in &sending.objects {
            let at = Location::new(sending.group, object.id);
            let due = reader.wants(at, *arrival) && arrival.is_some_and(|at| at >= resumed);
            assert!(!due || whole.contains(&at), "seed {seed}: missed {at}");
        }
    }
}

#[test]
fn readers_receive_what_the_model_says() {
    for seed in 0..250 {
        run(seed);
    }
}
