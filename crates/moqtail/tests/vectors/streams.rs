use bytes::{Bytes, BytesMut};
use moqtail::model::draft14::{
    FetchDecoder, ObjectItem, ObjectLimits, StreamHeaderDecoder, SubgroupDecoder, SubgroupEncoder,
    encode_fetch_object, encode_stream_header,
};
use moqtail::model::{
    DecodeError, Extensions, FetchHeader, FetchObjectHeader, MAX_VARINT, ObjectHeader,
    ObjectStatus, RequestId, StreamHeader, SubgroupHeader, SubgroupId, TrackAlias,
};

use super::{blob, check, extensions, number, parse};

const VECTORS: &str = include_str!("streams.txt");

/// A whole stream; every object with its payload.
#[derive(Debug, PartialEq)]
enum Stream {
    Subgroup(SubgroupHeader, Vec<(ObjectHeader, Vec<u8>)>),
    Fetch(FetchHeader, Vec<(FetchObjectHeader, Vec<u8>)>),
}

/// Reads a whole stream that comes in pieces which end at `cuts`.
fn decode_cut(bytes: &[u8], cuts: &[usize]) -> Result<Stream, DecodeError> {
    let mut start = 0;
    let pieces = cuts.iter().copied().chain([bytes.len()]).map(|end| {
        let piece = Bytes::copy_from_slice(&bytes[start..end]);
        start = end;
        piece
    });
    let mut pieces = pieces.collect::<Vec<_>>().into_iter();
    let mut header = StreamHeaderDecoder::new();
    for mut input in pieces.by_ref() {
        let rest = match header.decode(&mut input)? {
            None => continue,
            Some(header) => (header, [input].into_iter().chain(pieces)),
        };
        return match rest {
            (StreamHeader::Subgroup(header), pieces) => {
                let mut decoder = SubgroupDecoder::new(header, ObjectLimits::default());
                let objects = objects(pieces, |input| decoder.decode(input))?;
                decoder.finish()?;
                Ok(Stream::Subgroup(header, objects))
            }
            (StreamHeader::Fetch(header), pieces) => {
                let mut decoder = FetchDecoder::new(ObjectLimits::default());
                let objects = objects(pieces, |input| decoder.decode(input))?;
                decoder.finish()?;
                Ok(Stream::Fetch(header, objects))
            }
        };
    }
    Err(header.finish().unwrap_err())
}

fn objects<H>(
    pieces: impl Iterator<Item = Bytes>,
    mut decode: impl FnMut(&mut Bytes) -> Result<Option<ObjectItem<H>>, DecodeError>,
) -> Result<Vec<(H, Vec<u8>)>, DecodeError> {
    let mut objects: Vec<(H, Vec<u8>)> = Vec::new();
    let mut open = false;
    for mut input in pieces {
        while let Some(item) = decode(&mut input)? {
            match item {
                ObjectItem::Header { header, .. } => {
                    assert!(!open);
                    open = true;
                    objects.push((header, Vec::new()));
                }
                ObjectItem::Payload(piece) => {
                    assert!(open && !piece.is_empty());
                    objects.last_mut().unwrap().1.extend_from_slice(&piece);
                }
                ObjectItem::End => {
                    assert!(open);
                    open = false;
                }
            }
        }
        assert!(input.is_empty());
    }
    Ok(objects)
}

/// The result, which must be the same for every way to cut the bytes in two and for single bytes.
fn decode(bytes: &[u8]) -> Result<Stream, DecodeError> {
    let whole = decode_cut(bytes, &[]);
    let singles: Vec<_> = (1..bytes.len()).collect();
    assert_eq!(decode_cut(bytes, &singles), whole);
    let step = 1 + bytes.len() / 100;
    for cut in (0..bytes.len()).step_by(step) {
        assert_eq!(decode_cut(bytes, &[cut]), whole, "cut at {cut}");
    }
    whole
}

fn encode(stream: &Stream) -> Vec<u8> {
    let mut out = BytesMut::new();
    match stream {
        Stream::Subgroup(header, objects) => {
            encode_stream_header(&StreamHeader::Subgroup(*header), &mut out).unwrap();
            let mut encoder = SubgroupEncoder::new(header);
            for (object, payload) in objects {
                encoder.object(object, &mut out).unwrap();
                out.extend_from_slice(payload);
            }
        }
        Stream::Fetch(header, objects) => {
            encode_stream_header(&StreamHeader::Fetch(*header), &mut out).unwrap();
            for (object, payload) in objects {
                encode_fetch_object(object, &mut out).unwrap();
                out.extend_from_slice(payload);
            }
        }
    }
    out.to_vec()
}

/// S10.4.2-05, S10.4.2-01, S10.4.2-06, S10.2.1.1-01, S1.4.2-04, S1.4.2-06, S1.4-03
#[test]
fn data_streams_agree_with_the_vectors() {
    check(parse(VECTORS), expected(), decode, encode);
}

fn header(subgroup: SubgroupId, extensions: bool, end_of_group: bool) -> SubgroupHeader {
    SubgroupHeader {
        track_alias: TrackAlias(7),
        group: 9,
        subgroup,
        publisher_priority: 128,
        extensions,
        end_of_group,
    }
}

fn object(object: u64, payload: &[u8]) -> (ObjectHeader, Vec<u8>) {
    let header = ObjectHeader {
        object,
        extensions: Extensions::default(),
        status: ObjectStatus::Normal,
        payload_len: payload.len() as u64,
    };
    (header, payload.to_vec())
}

fn status(id: u64, status: ObjectStatus) -> (ObjectHeader, Vec<u8>) {
    let (header, payload) = object(id, b"");
    (ObjectHeader { status, ..header }, payload)
}

fn with(
    extensions: Extensions,
    (header, payload): (ObjectHeader, Vec<u8>),
) -> (ObjectHeader, Vec<u8>) {
    let header = ObjectHeader {
        extensions,
        ..header
    };
    (header, payload)
}

fn fetched(
    group: u64,
    subgroup: u64,
    publisher_priority: u8,
    (object, payload): (ObjectHeader, Vec<u8>),
) -> (FetchObjectHeader, Vec<u8>) {
    let header = FetchObjectHeader {
        group,
        subgroup,
        publisher_priority,
        object,
    };
    (header, payload)
}

fn expected() -> Vec<(&'static str, Stream)> {
    let mut all = subgroup_types();
    all.extend(subgroup_objects());
    all.extend(fetch_streams());
    all
}

fn two() -> Extensions {
    extensions(&[number(2, 5)])
}

fn subgroup_types() -> Vec<(&'static str, Stream)> {
    use SubgroupId::{Explicit, FirstObject, Zero};
    let two_pairs = extensions(&[number(2, 5), number(2, 6)]);
    let low = SubgroupHeader {
        publisher_priority: 0,
        ..header(Zero, false, true)
    };
    let high = SubgroupHeader {
        publisher_priority: 255,
        ..header(Zero, true, true)
    };
    let large = SubgroupHeader {
        track_alias: TrackAlias(0x107),
        group: 0x10000,
        ..header(Explicit(1 << 32), true, true)
    };
    let streams = [
        (
            "subgroup_10",
            header(Zero, false, false),
            vec![object(0, b"hi"), object(1, b"!")],
        ),
        (
            "subgroup_11",
            header(Zero, true, false),
            vec![with(two(), object(0, b"hi")), object(1, b"!")],
        ),
        (
            "subgroup_12",
            header(FirstObject, false, false),
            vec![object(7, b"hi")],
        ),
        (
            "subgroup_13",
            header(FirstObject, true, false),
            vec![with(two_pairs, object(7, b"h"))],
        ),
        (
            "subgroup_14",
            header(Explicit(5), false, false),
            vec![object(3, b"a"), object(5, b"b"), object(9, b"c")],
        ),
        (
            "subgroup_15",
            header(Explicit(5), true, false),
            vec![object(0, b"a")],
        ),
        ("subgroup_18", low, vec![object(0, b"a")]),
        ("subgroup_19", high, vec![object(0, b"a")]),
        (
            "subgroup_1a",
            header(FirstObject, false, true),
            vec![object(256, b"a")],
        ),
        (
            "subgroup_1b",
            header(FirstObject, true, true),
            vec![object(256, b"a")],
        ),
        (
            "subgroup_1c",
            header(Explicit(256), false, true),
            vec![object(0, b"a")],
        ),
        ("subgroup_1d", large, vec![object(0, b"a")]),
        (
            "subgroup_without_objects",
            header(Explicit(5), false, false),
            vec![],
        ),
    ];
    streams
        .into_iter()
        .map(|(name, header, objects)| (name, Stream::Subgroup(header, objects)))
        .collect()
}

fn subgroup_objects() -> Vec<(&'static str, Stream)> {
    use ObjectStatus::{DoesNotExist, EndOfGroup, EndOfTrack, Normal};
    let kept = extensions(&[
        blob(0x7f, b"\xff\0"),
        number(0x3e, 2),
        number(0x7e, 1),
        blob(0x0b, b"\x3c\x01"),
        number(0x7e, 1),
    ]);
    let broken = extensions(&[blob(0x0b, b"\x02")]);
    let nested = extensions(&[blob(0x0b, b"\x0b\0")]);
    let longest = extensions(&[blob(0x0d, &[0x61; 65535])]);
    let plain = vec![
        (
            "subgroup_largest_object_id",
            vec![object(MAX_VARINT - 1, b"a"), object(MAX_VARINT, b"b")],
        ),
        (
            "subgroup_status",
            vec![
                status(0, Normal),
                status(1, DoesNotExist),
                status(2, EndOfGroup),
            ],
        ),
        ("subgroup_end_of_track", vec![status(5, EndOfTrack)]),
        ("subgroup_large_payload", vec![object(0, &[0x61; 70_000])]),
        (
            "subgroup_long_numbers",
            vec![object(0, b"a"), status(1, EndOfGroup)],
        ),
    ];
    let with_extensions = vec![
        (
            "subgroup_status_extensions",
            vec![
                with(two(), status(0, Normal)),
                status(1, DoesNotExist),
                with(two(), status(2, EndOfGroup)),
            ],
        ),
        ("subgroup_extensions", vec![with(kept, object(10, b"a"))]),
        (
            "subgroup_broken_immutable",
            vec![with(broken, object(0, b"a"))],
        ),
        (
            "subgroup_nested_immutable",
            vec![with(nested, object(0, b"a"))],
        ),
        (
            "subgroup_longest_value",
            vec![with(longest, object(0, b"a"))],
        ),
    ];
    let stream = |extensions: bool| {
        move |(name, objects)| {
            let header = header(SubgroupId::Zero, extensions, false);
            (name, Stream::Subgroup(header, objects))
        }
    };
    let plain = plain.into_iter().map(stream(false));
    plain
        .chain(with_extensions.into_iter().map(stream(true)))
        .collect()
}

fn fetch_streams() -> Vec<(&'static str, Stream)> {
    use ObjectStatus::{DoesNotExist, EndOfGroup, EndOfTrack, Normal};
    let streams = [
        (
            "fetch",
            4,
            vec![
                fetched(1, 0, 128, object(0, b"hi")),
                fetched(1, 2, 0, with(two(), object(5, b"!"))),
            ],
        ),
        (
            "fetch_status",
            4,
            vec![
                fetched(1, 0, 128, status(0, Normal)),
                fetched(1, 0, 128, status(1, DoesNotExist)),
                fetched(1, 0, 128, with(two(), status(2, EndOfGroup))),
                fetched(2, 0, 128, status(0, EndOfTrack)),
            ],
        ),
        ("fetch_without_objects", 260, vec![]),
        (
            "fetch_large_ids",
            0,
            vec![fetched(MAX_VARINT, 1 << 32, 255, object(65536, b"a"))],
        ),
        (
            "fetch_long_numbers",
            4,
            vec![fetched(1, 0, 128, object(0, b"a"))],
        ),
    ];
    streams
        .into_iter()
        .map(|(name, request_id, objects)| {
            let request_id = RequestId(request_id);
            (name, Stream::Fetch(FetchHeader { request_id }, objects))
        })
        .collect()
}
