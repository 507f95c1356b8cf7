//! Data streams and datagrams against the other codec.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use moqtail::fuzzing::arbitrary::{Source, Stream};
use moqtail::fuzzing::{decode_stream, encode_stream};
use moqtail::model::draft14::{decode_datagram, encode_datagram};
use moqtail::model::{
    DecodeError, ObjectDatagram, SubgroupHeader as OurSubgroupHeader, SubgroupId,
};
use moqtail_oracle::generate::Seeds;
use moqtail_oracle::known_differences::{DATAGRAMS, STREAMS};
use moqtail_oracle::report::Report;
use moqtail_oracle::{convert, vectors};
use moqtap_codec::draft14::data_stream::{
    DatagramObject, FetchHeader, FetchObject, SubgroupHeader, SubgroupObject, SubgroupObjectReader,
    SubgroupStreamType,
};
use moqtap_codec::error::CodecError;
use moqtap_codec::varint::VarInt;

const VALUES: usize = 600;
const MUTANTS: usize = 20;

/// A whole stream of theirs.
#[derive(Debug, PartialEq)]
enum Theirs {
    Subgroup(SubgroupHeader, Vec<SubgroupObject>),
    Fetch(FetchHeader, Vec<FetchObject>),
}

fn number(value: u64) -> VarInt {
    VarInt::from_u64(value).unwrap()
}

fn subgroup_header(header: &OurSubgroupHeader) -> SubgroupHeader {
    let (field, first) = match header.subgroup {
        SubgroupId::Zero => (None, false),
        SubgroupId::FirstObject => (None, true),
        SubgroupId::Explicit(id) => (Some(number(id)), false),
    };
    let stream_type = SubgroupStreamType::from_flags(
        field.is_some(),
        first,
        header.extensions,
        header.end_of_group,
    );
    SubgroupHeader {
        stream_type,
        track_alias: number(header.track_alias.0),
        group_id: number(header.group),
        subgroup_id: field,
        publisher_priority: header.publisher_priority,
    }
}

fn to_theirs(stream: &Stream) -> Theirs {
    match stream {
        Stream::Subgroup(header, objects) => {
            let object = |(header, payload): &(_, Bytes)| convert::subgroup_object(header, payload);
            Theirs::Subgroup(
                subgroup_header(header),
                objects.iter().map(object).collect(),
            )
        }
        Stream::Fetch(header, objects) => {
            let object = |(header, payload): &(_, Bytes)| convert::fetch_object(header, payload);
            let request_id = number(header.request_id.0);
            Theirs::Fetch(
                FetchHeader { request_id },
                objects.iter().map(object).collect(),
            )
        }
    }
}

fn decode_theirs(mut bytes: &[u8]) -> Result<Theirs, CodecError> {
    let mut peek = bytes;
    if VarInt::decode(&mut peek)?.into_inner() == 5 {
        let header = FetchHeader::decode(&mut bytes)?;
        let mut objects = Vec::new();
        while !bytes.is_empty() {
            objects.push(FetchObject::decode(&mut bytes)?);
        }
        return Ok(Theirs::Fetch(header, objects));
    }
    let header = SubgroupHeader::decode(&mut bytes)?;
    let mut reader = SubgroupObjectReader::new(&header);
    let mut objects = Vec::new();
    while !bytes.is_empty() {
        objects.push(reader.read_object(&mut bytes)?);
    }
    Ok(Theirs::Subgroup(header, objects))
}

fn encode_theirs(stream: &Theirs) -> Vec<u8> {
    let mut out = Vec::new();
    match stream {
        Theirs::Subgroup(header, objects) => {
            header.encode_checked(&mut out).unwrap();
            let mut writer = SubgroupObjectReader::new(header);
            for object in objects {
                writer.write_object(object, &mut out).unwrap();
            }
        }
        Theirs::Fetch(header, objects) => {
            header.encode(&mut out);
            for object in objects {
                object.encode_checked(&mut out).unwrap();
            }
        }
    }
    out
}

fn decode_ours(bytes: &[u8]) -> Result<Stream, DecodeError> {
    let decoded = decode_stream(&[Bytes::copy_from_slice(bytes)]);
    decoded.end?;
    Ok(decoded
        .stream
        .expect("a stream that ended well has a header"))
}

fn kind(stream: &Stream) -> String {
    match stream {
        Stream::Subgroup(header, _) => {
            format!(
                "subgroup {:#x}",
                subgroup_header(header).stream_type.as_u8()
            )
        }
        Stream::Fetch(..) => "fetch".to_owned(),
    }
}

fn compare_streams(kind: &str, bytes: &[u8], report: &mut Report) {
    // Theirs takes a FIN before the first byte for an error of the header.
    if bytes.is_empty() {
        return;
    }
    let (ours, theirs) = (decode_ours(bytes), decode_theirs(bytes));
    if let (Ok(ours), Ok(theirs)) = (&ours, &theirs) {
        assert_eq!(&to_theirs(ours), theirs);
    }
    if ours.is_ok() == theirs.is_ok() {
        return report.mutant(kind);
    }
    let theirs = theirs.map(drop);
    let known = STREAMS
        .iter()
        .find(|known| (known.applies)((&ours, &theirs)));
    let known = known.unwrap_or_else(|| panic!("ours {ours:?}, theirs {theirs:?}: {bytes:02x?}"));
    report.known(kind, known.name);
}

#[test]
fn data_streams_agree() {
    let mut report = Report::default();
    let mut seeds = Seeds::new(15);
    for _ in 0..VALUES {
        let seed = seeds.bytes();
        let stream = Source::new(&seed).stream();
        let kind = kind(&stream);
        let bytes = encode_stream(&stream);
        let value = to_theirs(&stream);
        // B: what they write of their value is what ours read and writes.
        assert_eq!(encode_theirs(&value), bytes);
        assert_eq!(decode_ours(&bytes).as_ref(), Ok(&stream));
        // A
        match decode_theirs(&bytes) {
            Ok(theirs) => {
                assert_eq!(theirs, value);
                report.value(&kind);
            }
            Err(_) => compare_streams(&kind, &bytes, &mut report),
        }
        // C
        for _ in 0..MUTANTS {
            compare_streams(&kind, &seeds.damaged(&bytes), &mut report);
        }
    }
    for bytes in vectors(include_str!(
        "../../../crates/moqtail/tests/vectors/streams.txt"
    )) {
        compare_streams("vectors", &bytes, &mut report);
    }
    finish(
        &report,
        13,
        STREAMS.iter().map(|known| known.name).collect(),
    );
}

fn compare_datagrams(kind: &str, bytes: &[u8], report: &mut Report) {
    let ours = decode_datagram(Bytes::copy_from_slice(bytes));
    let theirs = DatagramObject::decode(&mut &bytes[..]);
    if let (Ok(ours), Ok(theirs)) = (&ours, &theirs) {
        assert_eq!(&convert::datagram(ours), theirs);
    }
    if ours.is_ok() == theirs.is_ok() {
        return report.mutant(kind);
    }
    let known = DATAGRAMS
        .iter()
        .find(|known| (known.applies)((&ours, &theirs)));
    let known = known.unwrap_or_else(|| panic!("ours {ours:?}, theirs {theirs:?}: {bytes:02x?}"));
    report.known(kind, known.name);
}

fn encode_ours(datagram: &ObjectDatagram) -> Vec<u8> {
    let mut out = BytesMut::new();
    assert_eq!(encode_datagram(datagram, &mut out), Ok(()));
    out.to_vec()
}

#[test]
fn datagrams_agree() {
    let mut report = Report::default();
    let mut seeds = Seeds::new(16);
    for _ in 0..VALUES {
        let seed = seeds.bytes();
        let datagram = Source::new(&seed).datagram();
        let value = convert::datagram(&datagram);
        let kind = format!("datagram {:#04x}", value.datagram_type.as_u8());
        let bytes = encode_ours(&datagram);
        // A
        assert_eq!(DatagramObject::decode(&mut &bytes[..]), Ok(value.clone()));
        // B
        let mut theirs = Vec::new();
        value.encode_checked(&mut theirs).unwrap();
        assert_eq!(theirs, bytes);
        assert_eq!(decode_datagram(theirs.into()), Ok(datagram));
        report.value(&kind);
        // C
        for _ in 0..MUTANTS {
            compare_datagrams(&kind, &seeds.damaged(&bytes), &mut report);
        }
    }
    for bytes in vectors(include_str!(
        "../../../crates/moqtail/tests/vectors/datagrams.txt"
    )) {
        compare_datagrams("vectors", &bytes, &mut report);
    }
    finish(
        &report,
        10,
        DATAGRAMS.iter().map(|known| known.name).collect(),
    );
}

fn finish(report: &Report, types: usize, listed: BTreeSet<&'static str>) {
    println!("{report}");
    let names = report.names();
    assert_eq!(names.len(), types + 1, "{names:?}");
    assert_eq!(report.gaps(), ["vectors"], "types that were not compared");
    assert_eq!(report.unused(&listed), [""; 0], "differences that are gone");
}
