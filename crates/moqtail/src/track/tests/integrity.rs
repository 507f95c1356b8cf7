//! What a subscriber notices of a track without keeping its objects, and what it must not take for a fault. That it finds
//! what the log finds is in [`malformed`](super::malformed).

use super::support::*;
use crate::model::{Location, ObjectHeader, ObjectStatus, StreamCode, SubgroupHeader};
use crate::track::{IntegrityLimits, MalformedTrack, StreamIntegrity, TrackIntegrity};

const CANCELLED: State = State::Reset(StreamCode::CANCELLED);

type Verdict = Result<(), MalformedTrack>;

fn head(object: &Object) -> ObjectHeader {
    ObjectHeader {
        object: object.id,
        extensions: object.extensions.clone(),
        status: object.status,
        payload_len: object.payload.len() as u64,
    }
}

/// A subscriber reads a stream of whole objects as far as it goes.
pub(super) fn read(
    track: &mut TrackIntegrity,
    header: &SubgroupHeader,
    objects: &[Object],
    end: State,
) -> Verdict {
    let mut stream = StreamIntegrity::new(header);
    for object in objects.iter().filter(|object| object.whole) {
        stream.begin(track, &head(object))?;
        stream.payload(&object.payload);
        stream.end(track)?;
    }
    match end {
        State::Finished => stream.finish(track)?,
        State::Reset(_) => stream.break_off(track),
        State::Open => {}
    }
    Ok(())
}

/// A subscriber reads all of these streams, the first one first and again the last one first.
pub(super) fn read_delivered<'a>(
    streams: impl DoubleEndedIterator<Item = &'a Stream> + Clone,
) -> Verdict {
    let read_in = |streams: &mut dyn Iterator<Item = &'a Stream>| {
        let mut track = new();
        for stream in streams.filter(|stream| !stream.bytes.is_empty()) {
            let (header, objects) = decode(&stream.bytes);
            read(&mut track, &header, &objects, stream.state)?;
        }
        Ok(())
    };
    read_in(&mut streams.clone()).and_then(|()| read_in(&mut streams.rev()))
}

pub(super) fn new() -> TrackIntegrity {
    TrackIntegrity::new(IntegrityLimits::default())
}

/// What comes of streams that are read one after the other.
fn verdict(streams: &[(SubgroupHeader, Vec<Object>, State)]) -> Verdict {
    let mut track = new();
    streams
        .iter()
        .try_for_each(|(header, objects, end)| read(&mut track, header, objects, *end))
}

fn at(group: u64, object: u64) -> Location {
    Location::new(group, object)
}

/// Begins an object whose payload never comes completely.
fn begin_partial(track: &mut TrackIntegrity, id: u64, payload: &[u8]) -> StreamIntegrity {
    let mut stream = StreamIntegrity::new(&header(1, 0));
    stream.begin(track, &head(&object(id, payload))).unwrap();
    stream.payload(&payload[..1]);
    stream
}

/// S2.5-04, S2.5-05: a relay that loses its publisher resets the stream and goes on in another one.
#[test]
fn a_subgroup_may_go_on_after_a_reset_and_be_read_in_any_order() {
    let mut streams = vec![
        (
            header(1, 0),
            vec![object(0, b"a"), object(1, b"b")],
            CANCELLED,
        ),
        (
            header(1, 0),
            vec![object(1, b"b"), object(2, b"c")],
            CANCELLED,
        ),
        (header(1, 0), vec![object(3, b"d")], State::Finished),
    ];
    for _ in 0..3 {
        streams.rotate_left(1);
        assert_eq!(verdict(&streams), Ok(()));
    }
    streams.reverse();
    assert_eq!(verdict(&streams), Ok(()));
}

/// S2.5-06, S2.5-07: streams overtake each other, and what was dropped on the way never comes.
#[test]
fn an_end_may_be_read_before_what_it_ends_and_objects_may_be_missing() {
    let ends = SubgroupHeader {
        end_of_group: true,
        ..header(1, 2)
    };
    let early = [
        (
            header(2, 9),
            vec![status(0, ObjectStatus::EndOfTrack)],
            State::Finished,
        ),
        (
            header(1, 1),
            vec![status(9, ObjectStatus::EndOfGroup)],
            State::Finished,
        ),
        (ends, vec![object(8, b"last")], State::Finished),
        (
            header(1, 0),
            vec![object(0, b"first"), object(5, b"a hole before")],
            CANCELLED,
        ),
        (
            header(0, 0),
            vec![object(70, b"an old group")],
            State::Finished,
        ),
    ];
    assert_eq!(verdict(&early), Ok(()));
}

/// S2.5-08: copies that are equal are no fault, whether they come one after the other or side by side.
#[test]
fn copies_are_compared_when_they_are_complete() {
    let mut track = new();
    let (mut one, mut other) = (
        StreamIntegrity::new(&header(1, 0)),
        StreamIntegrity::new(&header(1, 0)),
    );
    for (copy, expected) in [
        (&b"same"[..], Ok(())),
        (
            b"diff",
            Err(MalformedTrack::Contradiction {
                at: at(1, 1),
                what: "payload",
            }),
        ),
    ] {
        let id = u64::from(copy != b"same");
        one.begin(&mut track, &head(&object(id, b"same"))).unwrap();
        other.begin(&mut track, &head(&object(id, copy))).unwrap();
        one.payload(b"sa");
        other.payload(copy);
        one.payload(b"me");
        assert_eq!(other.end(&mut track), Ok(()));
        assert_eq!(one.end(&mut track), expected);
    }
}

/// S10.4.3-14: nothing is known of an object that broke off.
#[test]
fn an_object_that_broke_off_may_come_again_or_not_exist() {
    for after in [
        object(5, b"of another length"),
        status(5, ObjectStatus::EndOfGroup),
        status(5, ObjectStatus::DoesNotExist),
    ] {
        let mut track = new();
        let mut stream = begin_partial(&mut track, 5, b"broken off");
        stream.break_off(&mut track);
        let objects = [object(4, b"x"), after];
        read(&mut track, &header(1, 0), &objects, State::Finished).unwrap();
    }
    let mut track = new();
    let mut stream = begin_partial(&mut track, 5, b"broken off");
    stream.break_off(&mut track);
    let finished = read(
        &mut track,
        &header(1, 0),
        &[object(4, b"x")],
        State::Finished,
    );
    assert_eq!(finished, Ok(()), "the subgroup may end before it");
}

/// What a whole copy told stays when another one breaks off.
#[test]
fn a_copy_that_breaks_off_takes_nothing_back() {
    let mut track = new();
    read(&mut track, &header(1, 0), &[object(5, b"whole")], CANCELLED).unwrap();
    begin_partial(&mut track, 5, b"whole").break_off(&mut track);
    let other = read(&mut track, &header(1, 0), &[object(5, b"WHOLE")], CANCELLED);
    let what = "payload";
    assert_eq!(
        other,
        Err(MalformedTrack::Contradiction { at: at(1, 5), what })
    );
}

/// S8.1-05: what comes after Object Does Not Exist is not compared.
#[test]
fn an_object_that_ceased_to_exist_contradicts_nothing() {
    let mut track = new();
    for object in [
        object(0, b"was"),
        status(0, ObjectStatus::DoesNotExist),
        object(0, b"zombie"),
        object(0, b"other"),
    ] {
        read(&mut track, &header(1, 0), &[object], CANCELLED).unwrap();
    }
}

type Subgroup = (SubgroupHeader, Vec<Object>);

/// The limit, what is remembered first, what comes then, and what contradicts the first.
type Case = (&'static str, Subgroup, fn(u64) -> Subgroup, Subgroup);

/// Each limit: what is remembered is noticed, and what came too long ago contradicts nothing.
#[test]
fn what_is_forgotten_contradicts_nothing() {
    let limits = IntegrityLimits {
        max_groups: 4,
        max_subgroups: 4,
        max_objects: 4,
        max_ranges: 4,
    };
    let end_of_group = || vec![status(1, ObjectStatus::EndOfGroup)];
    let objects = |group| (header(group, 0), vec![object(0, b"x")]);
    let subgroups = |subgroup| (header(0, subgroup), vec![object(10 + subgroup, b"x")]);
    let holes = |n: u64| (header(0, 0), vec![object(10 + 2 * n, b"x")]);
    let gap = |id, gap| with_gap(id, 0x3E, gap);
    let with_extensions = SubgroupHeader {
        extensions: true,
        ..header(0, 9)
    };
    let cases: [Case; 4] = [
        (
            "max_groups",
            (header(0, 0), end_of_group()),
            objects,
            (header(0, 1), vec![object(2, b"x")]),
        ),
        (
            "max_subgroups",
            (header(0, 0), vec![object(1, b"x")]),
            subgroups,
            (header(0, 0), vec![object(2, b"x")]),
        ),
        (
            "max_objects",
            (header(0, 0), vec![object(0, b"x")]),
            objects,
            (header(0, 0), vec![object(0, b"y")]),
        ),
        (
            "max_ranges",
            (header(0, 0), vec![object(1, b"x")]),
            holes,
            (with_extensions, vec![gap(3, 3)]),
        ),
    ];
    for (limit, first, others, contradiction) in cases {
        for (between, noticed) in [(3, true), (4, false)] {
            let mut track = TrackIntegrity::new(limits);
            let finished = match limit {
                "max_ranges" => CANCELLED,
                _ => State::Finished,
            };
            read(&mut track, &first.0, &first.1, finished).unwrap();
            for number in 1..=between {
                let (header, objects) = others(number);
                read(&mut track, &header, &objects, finished).unwrap();
            }
            let verdict = read(&mut track, &contradiction.0, &contradiction.1, CANCELLED);
            assert_eq!(
                verdict.is_err(),
                noticed,
                "{limit}, {between} between: {verdict:?}"
            );
        }
    }
}
