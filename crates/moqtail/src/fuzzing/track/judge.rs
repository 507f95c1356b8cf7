//! Whether what a session received is what was published for it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{
    content::{self, Subgroup},
    history::Place,
    reader::{Opened, Reader},
    wire::{End, Stream},
    world::{DOWNSTREAM, World},
};
use crate::model::{
    Location, ObjectItem, ObjectLimits, StreamHeader, StreamHeaderDecoder, SubgroupDecoder,
    decode_datagram,
};

/// An object that came on a stream.
struct Object {
    /// Its place in its subgroup.
    at: usize,
    /// Bytes of the stream up to its end, or to what came of it.
    end: usize,
    whole: bool,
}

/// What came on a stream.
struct Received<'a> {
    group: u64,
    subgroup: &'a Subgroup,
    objects: Vec<Object>,
}

/// Whether all got what they may get; where everything was `served`, also whether they got what they must get.
pub(super) fn judge(world: &World, served: bool) {
    if world.setting.datagrams {
        judge_datagrams(world, served);
    }
    for reader in world.readers.values() {
        judge_reader(world, reader, served && !world.wire.gone);
    }
}

fn judge_reader(world: &World, reader: &Reader, served: bool) {
    let mut whole = BTreeSet::new();
    let mut finished = BTreeMap::new();
    for opened in &reader.streams {
        let stream = &world.wire.streams[opened.at];
        let Some(received) = read(world, stream) else {
            continue;
        };
        let place = (opened.epoch, received.group, received.subgroup.id);
        judge_stream(world, reader, opened, &received);
        for object in received.objects.iter().filter(|object| object.whole) {
            let id = received.subgroup.objects[object.at].id();
            let first = whole.insert((place, id));
            assert!(
                first || !is_exact(world, place),
                "{place:?} {id} came twice"
            );
        }
        if stream.end == End::Finished {
            finished.insert(place, opened);
        }
    }
    if world.setting.lies {
        return;
    }
    if served {
        for (&place, &opened) in &finished {
            judge_finished(world, reader, place, opened, &whole);
        }
    }
    let strict = reader.is_strict() && !world.ages && !leaves_out(world);
    if !served || !strict || world.setting.datagrams {
        return;
    }
    let ends = reader.may_end(&world.history, world.setting.delivery.range_grace);
    for (&(place, object), copies) in &world.history.objects {
        let (epoch, group, subgroup) = place;
        let due = epoch == world.history.epoch
            && is_exact(world, place)
            && reader.is_due(Location::new(group, object), copies, ends);
        if !due {
            continue;
        }
        let streams = &world.history.subgroups[&place];
        // What others brought may wait for a stream that is still open.
        let waits = streams.count > 1
            && world
                .sendings
                .iter()
                .any(|other| other.is_of(group, subgroup));
        let came = whole.contains(&(place, object));
        assert!(came || waits, "{place:?} {object} is missing");
        if streams.count == 1
            && streams.finished.is_some()
            && !reader.updated
            && !reader.was_paused()
        {
            let stream = finished.get(&place);
            assert!(stream.is_some(), "{place:?} has no FIN");
        }
    }
}

/// Whether readers that are too slow go on without what they missed.
fn leaves_out(world: &World) -> bool {
    let limits = &world.setting.delivery;
    limits.skip_groups || limits.default_timeout.is_some()
}

/// Whether of a subgroup each object comes once, and comes: it is remembered, or there is one stream only.
fn is_exact(world: &World, place: Place) -> bool {
    let streams = world.history.subgroups.get(&place);
    let alone = streams.is_some_and(|streams| streams.count == 1);
    !world.setting.lies && (world.remembers || alone)
}

/// Reads a stream; what came of each object is what is published there. `None`: not even the first object came.
fn read<'a>(world: &'a World, stream: &Stream) -> Option<Received<'a>> {
    let mut input = Bytes::copy_from_slice(&stream.bytes);
    let decoded = StreamHeaderDecoder::new().decode(&mut input);
    let Some(StreamHeader::Subgroup(header)) = decoded.expect("a head") else {
        assert_ne!(stream.end, End::Finished, "no head");
        return None;
    };
    let head = stream.bytes.len() - input.len();
    assert_eq!(header.track_alias, DOWNSTREAM);
    let mut decoder = SubgroupDecoder::new(header, ObjectLimits::default());
    let mut objects: Vec<Object> = Vec::new();
    let mut subgroup: Option<&Subgroup> = None;
    let mut got = Vec::new();
    while let Some(item) = decoder.decode(&mut input).expect("objects") {
        let end = head + decoder.position() as usize;
        match item {
            ObjectItem::Header { header: object, .. } => {
                let id = decoder.subgroup_id().expect("an object has one");
                let known = world
                    .content
                    .subgroup(header.group, id)
                    .expect("a subgroup");
                let at = known
                    .objects
                    .iter()
                    .position(|known| known.id() == object.object);
                let at = at.expect("an object of the subgroup");
                if !world.setting.lies {
                    assert_eq!(known.objects[at].header, object);
                    assert_eq!(known.priority, header.publisher_priority);
                    assert_eq!(known.extensions, header.extensions);
                    assert_eq!(known.end_of_group, header.end_of_group);
                }
                let next = objects.last().map_or(at, |last| last.at + 1);
                assert!(next <= at, "the order of objects");
                // draft-14 §10.4.3: nothing of the subgroup is left out between two objects
                let skipped = &known.objects[next..at];
                assert!(
                    world.setting.lies || skipped.iter().all(|object| !object.exists()),
                    "{:?} {id}: from {next} to {at}",
                    header.group
                );
                subgroup = Some(known);
                got.clear();
                objects.push(Object {
                    at,
                    end,
                    whole: false,
                });
            }
            ObjectItem::Payload(piece) => {
                got.extend_from_slice(&piece);
                let object = objects.last_mut().expect("an object");
                object.end = end;
                let payload = &subgroup.expect("a subgroup").objects[object.at].payload;
                let is_lie = world.setting.lies
                    && payload.len() >= got.len()
                    && payload.iter().zip(&got).all(|(a, b)| *a == !b);
                assert!(
                    payload.starts_with(&got) || is_lie,
                    "bytes of something else"
                );
            }
            ObjectItem::End => {
                let object = objects.last_mut().expect("an object");
                (object.end, object.whole) = (end, true);
                let payload = &subgroup.expect("a subgroup").objects[object.at].payload;
                assert!(world.setting.lies || *payload == got, "not all of it");
            }
        }
    }
    if stream.end == End::Finished {
        assert_eq!(decoder.finish(), Ok(()), "FIN inside an object");
        assert!(!objects.is_empty(), "FIN on nothing");
    }
    Some(Received {
        group: header.group,
        subgroup: subgroup?,
        objects,
    })
}

/// Whether what came on a stream belongs to its subscription.
fn judge_stream(world: &World, reader: &Reader, opened: &Opened, received: &Received<'_>) {
    let group = received.group;
    let place = (opened.epoch, group, received.subgroup.id);
    for object in &received.objects {
        let known = &received.subgroup.objects[object.at];
        let at = content::at(group, known);
        let in_force = opened
            .ranges
            .iter()
            .filter(|(after, _)| *after < object.end);
        // What was taken out before an update goes on where it would be lost otherwise.
        let leaves = !world.keeps || world.ages;
        let was_wanted = leaves && reader.wider.iter().any(|range| range.has(at));
        assert!(
            was_wanted || in_force.clone().all(|(_, range)| range.has(at)),
            "{at} is out of range"
        );
        let may = reader.may_have(&world.history, place, known.id());
        assert!(may, "{at} did not begin while it was wanted");
    }
    let stream = &world.wire.streams[opened.at];
    if stream.end == End::Finished && !world.setting.lies {
        let streams = &world.history.subgroups[&place];
        assert!(streams.finished.is_some(), "FIN that nobody sent");
        let last = received.objects.last().map(|object| object.at + 1);
        assert_eq!(
            last,
            Some(received.subgroup.objects.len()),
            "FIN before the end"
        );
    }
}

/// A subgroup that has ended with FIN has come: all of it that belongs to the subscription and was known then.
fn judge_finished(
    world: &World,
    reader: &Reader,
    place: Place,
    opened: &Opened,
    whole: &BTreeSet<(Place, u64)>,
) {
    let (_, group, id) = place;
    let streams = &world.history.subgroups[&place];
    if !is_exact(world, place) || streams.doubled || reader.lossy || reader.was_paused() {
        return;
    }
    if world.ages || leaves_out(world) || !(reader.is_alive() || reader.is_strict()) {
        return;
    }
    let known = world.content.subgroup(group, id).expect("a subgroup");
    for object in known.objects.iter().filter(|object| object.exists()) {
        let at = content::at(group, object);
        let begun = world.history.objects.get(&(place, object.id()));
        let belongs = begun.is_some_and(|copies| {
            copies.first() > reader.from && Some(copies.first()) < streams.finished
        });
        let in_range = opened.ranges.iter().all(|(_, range)| range.has(at));
        let came = whole.contains(&(place, object.id()));
        assert!(came || !belongs || !in_range, "FIN without {at}");
    }
}

fn judge_datagrams(world: &World, served: bool) {
    let mut counts: BTreeMap<(u64, Location), usize> = BTreeMap::new();
    for (wire, epoch) in world.wire.datagrams.iter().zip(&world.datagram_epochs) {
        let datagram = decode_datagram(wire.clone()).expect("a datagram");
        assert_eq!(datagram.track_alias, DOWNSTREAM);
        let at = Location::new(datagram.group, datagram.object);
        if !world.setting.lies {
            let known = world
                .content
                .group(datagram.group)
                .iter()
                .flat_map(|subgroup| &subgroup.objects)
                .find(|object| object.id() == datagram.object)
                .expect("an object");
            assert_eq!(known.header.status, datagram.body.status());
            assert_eq!(known.payload, datagram.body.payload());
            assert_eq!(known.header.extensions, datagram.extensions);
        }
        *counts.entry((*epoch, at)).or_default() += 1;
    }
    if world.setting.lies {
        return;
    }
    for (&(place, object), copies) in &world.history.objects {
        let (epoch, group, _) = place;
        let at = Location::new(group, object);
        let count = counts.remove(&(epoch, at)).unwrap_or_default();
        let readers = || world.readers.values();
        let may = |reader: &&Reader| copies.begun.iter().any(|begun| reader.admits(*begun));
        assert!(
            count <= readers().filter(may).count() || !world.remembers,
            "{at} came to somebody else"
        );
        let due = |reader: &&Reader| {
            let ends = reader.may_end(&world.history, world.setting.delivery.range_grace);
            reader.is_strict() && reader.is_due(at, copies, ends)
        };
        let exact = served
            && world.keeps
            && !world.ages
            && !leaves_out(world)
            && !world.setting.drops_datagrams();
        let current = epoch == world.history.epoch && !world.wire.gone;
        assert!(
            !exact || !current || count >= readers().filter(due).count(),
            "{at} did not come to all"
        );
    }
    assert!(counts.is_empty(), "nobody published {counts:?}");
}
