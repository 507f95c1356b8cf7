//! The hot decoders and encoders beside those of the other codec. Throughput is in objects or messages.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use moqtail::fuzzing::arbitrary::Stream;
use moqtail::fuzzing::encode_stream;
use moqtail::model::draft14::{
    ControlDecoder, FetchDecoder, ObjectItem, ObjectLimits, StreamHeaderDecoder, SubgroupDecoder,
    SubgroupEncoder, decode_datagram, encode_control, encode_datagram,
};
use moqtail::model::{
    ControlMessage, DatagramBody, Extensions, FetchHeader, FetchObjectHeader, Filter, KeyValuePair,
    ObjectDatagram, ObjectHeader, ObjectStatus, Parameter, Parameters, RequestId, StreamHeader,
    SubgroupHeader, SubgroupId, Subscribe, TrackAlias,
};
use moqtail_oracle::convert;
use moqtap_codec::draft14::data_stream as theirs;
use moqtap_codec::draft14::message::ControlMessage as TheirMessage;

const OBJECTS: u64 = 100;
const PAYLOAD: usize = 1000;

type Group<'a> = BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn extensions(with: bool) -> Extensions {
    let capture = KeyValuePair::Varint {
        key: 2,
        value: 1_700_000_000_000_000,
    };
    let config = KeyValuePair::Bytes {
        key: 13,
        value: Bytes::from_static(&[1; 40]),
    };
    let pairs = [capture, config];
    Extensions::from_pairs(if with { &pairs[..] } else { &[] }).unwrap()
}

fn object(id: u64, extensions: &Extensions) -> ObjectHeader {
    ObjectHeader {
        object: id,
        extensions: extensions.clone(),
        status: ObjectStatus::Normal,
        payload_len: PAYLOAD as u64,
    }
}

fn subgroup_header(with_extensions: bool) -> SubgroupHeader {
    SubgroupHeader {
        track_alias: TrackAlias(7),
        group: 1_700_000_000_000,
        subgroup: SubgroupId::Zero,
        publisher_priority: 128,
        extensions: with_extensions,
        end_of_group: true,
    }
}

fn payload() -> Bytes {
    Bytes::from(vec![0x55; PAYLOAD])
}

fn subgroup_stream(with_extensions: bool) -> (Bytes, SubgroupHeader) {
    let header = subgroup_header(with_extensions);
    let extensions = extensions(with_extensions);
    let objects = (0..OBJECTS).map(|id| (object(id, &extensions), payload()));
    let mut bytes = encode_stream(&Stream::Subgroup(header, objects.collect()));
    StreamHeaderDecoder::new().decode(&mut bytes).unwrap();
    (bytes, header)
}

/// Takes a whole stream in pieces of `size`.
fn read_ours(header: SubgroupHeader, bytes: &Bytes, size: usize) -> u64 {
    let mut decoder = SubgroupDecoder::new(header, ObjectLimits::default());
    let mut read = 0;
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        let mut input = rest.split_to(size.min(rest.len()));
        while let Some(item) = decoder.decode(&mut input).unwrap() {
            if let ObjectItem::Payload(payload) = black_box(item) {
                read += payload.len() as u64;
            }
        }
    }
    read
}

fn decode_subgroup(c: &mut Criterion) {
    for with_extensions in [false, true] {
        let (bytes, header) = subgroup_stream(with_extensions);
        let name = ["without extensions", "with extensions"][usize::from(with_extensions)];
        let mut group: Group<'_> = c.benchmark_group(format!("decode subgroup {name}"));
        group.throughput(Throughput::Elements(OBJECTS));
        group.bench_function("moqtail, one piece", |b| {
            b.iter(|| read_ours(header, &bytes, usize::MAX));
        });
        group.bench_function("moqtail, 1200-byte pieces", |b| {
            b.iter(|| read_ours(header, &bytes, 1200));
        });
        group.bench_function("moqtail, framing and gaps", |b| {
            b.iter(|| {
                let mut decoder = SubgroupDecoder::new(header, ObjectLimits::default());
                let mut input = &bytes[..];
                while let Some(frame) = decoder.next_frame(&mut input).unwrap() {
                    black_box((frame.gaps().unwrap(), frame));
                }
            });
        });
        let stream = StreamHeader::Subgroup(header);
        let mut head = BytesMut::new();
        moqtail::model::draft14::encode_stream_header(&stream, &mut head).unwrap();
        let header = theirs::SubgroupHeader::decode(&mut head).unwrap();
        group.bench_function("moqtap, copied", |b| {
            b.iter(|| {
                let (mut reader, mut input) =
                    (theirs::SubgroupObjectReader::new(&header), &bytes[..]);
                while !input.is_empty() {
                    black_box(reader.read_object(&mut input).unwrap());
                }
            });
        });
        group.bench_function("moqtap, framing only", |b| {
            b.iter(|| {
                let (mut reader, mut input) =
                    (theirs::SubgroupObjectReader::new(&header), &bytes[..]);
                while !input.is_empty() {
                    black_box(reader.read_object_meta(&mut input).unwrap());
                }
            });
        });
        group.finish();
    }
}

fn encode_subgroup(c: &mut Criterion) {
    for with_extensions in [false, true] {
        let header = subgroup_header(with_extensions);
        let extensions = extensions(with_extensions);
        let objects: Vec<_> = (0..OBJECTS).map(|id| object(id, &extensions)).collect();
        let payload = payload();
        let name = ["without extensions", "with extensions"][usize::from(with_extensions)];
        let mut group: Group<'_> = c.benchmark_group(format!("encode subgroup {name}"));
        group.throughput(Throughput::Elements(OBJECTS));
        let mut out = BytesMut::with_capacity(200_000);
        group.bench_function("moqtail", |b| {
            b.iter(|| {
                out.clear();
                let mut encoder = SubgroupEncoder::new(&header);
                for object in &objects {
                    encoder.object(black_box(object), &mut out).unwrap();
                    out.extend_from_slice(&payload);
                }
            });
        });
        let objects: Vec<_> = objects
            .iter()
            .map(|object| convert::subgroup_object(object, &payload))
            .collect();
        let mut head = BytesMut::new();
        let stream = StreamHeader::Subgroup(header);
        moqtail::model::draft14::encode_stream_header(&stream, &mut head).unwrap();
        let header = theirs::SubgroupHeader::decode(&mut head).unwrap();
        let mut out = Vec::with_capacity(200_000);
        group.bench_function("moqtap", |b| {
            b.iter(|| {
                out.clear();
                let mut writer = theirs::SubgroupObjectReader::new(&header);
                for object in &objects {
                    writer.write_object(black_box(object), &mut out).unwrap();
                }
            });
        });
        group.finish();
    }
}

fn decode_fetch(c: &mut Criterion) {
    let objects = (0..OBJECTS).map(|id| {
        let header = FetchObjectHeader {
            group: 1_700_000_000_000,
            subgroup: 0,
            publisher_priority: 128,
            object: object(id, &Extensions::default()),
        };
        (header, payload())
    });
    let header = FetchHeader {
        request_id: RequestId(4),
    };
    let mut bytes = encode_stream(&Stream::Fetch(header, objects.collect()));
    StreamHeaderDecoder::new().decode(&mut bytes).unwrap();
    let mut group: Group<'_> = c.benchmark_group("decode fetch");
    group.throughput(Throughput::Elements(OBJECTS));
    group.bench_function("moqtail", |b| {
        b.iter(|| {
            let mut decoder = FetchDecoder::new(ObjectLimits::default());
            let mut input = bytes.clone();
            while let Some(item) = decoder.decode(&mut input).unwrap() {
                black_box(item);
            }
        });
    });
    group.bench_function("moqtap", |b| {
        b.iter(|| {
            let mut input = &bytes[..];
            while !input.is_empty() {
                black_box(theirs::FetchObject::decode(&mut input).unwrap());
            }
        });
    });
    group.finish();
}

fn datagrams(c: &mut Criterion) {
    let datagram = ObjectDatagram {
        track_alias: TrackAlias(7),
        group: 1_700_000_000_000,
        object: 12,
        object_id_absent: false,
        publisher_priority: 128,
        end_of_group: false,
        extensions: extensions(true),
        body: DatagramBody::Payload(payload()),
    };
    let value = convert::datagram(&datagram);
    let mut out = BytesMut::with_capacity(2000);
    encode_datagram(&datagram, &mut out).unwrap();
    let bytes = out.clone().freeze();
    let mut group: Group<'_> = c.benchmark_group("datagram");
    group.throughput(Throughput::Elements(1));
    group.bench_function("decode moqtail", |b| {
        b.iter(|| decode_datagram(black_box(bytes.clone())).unwrap());
    });
    group.bench_function("decode moqtap", |b| {
        b.iter(|| theirs::DatagramObject::decode(&mut black_box(&bytes[..])).unwrap());
    });
    group.bench_function("encode moqtail", |b| {
        b.iter(|| {
            out.clear();
            encode_datagram(black_box(&datagram), &mut out).unwrap();
        });
    });
    let mut out = Vec::with_capacity(2000);
    group.bench_function("encode moqtap", |b| {
        b.iter(|| {
            out.clear();
            black_box(&value).encode_checked(&mut out).unwrap();
        });
    });
    group.finish();
}

fn control(c: &mut Criterion) {
    let message = ControlMessage::Subscribe(Subscribe {
        request_id: RequestId(2),
        track: "live/cam-1/main#video".parse().unwrap(),
        subscriber_priority: 128,
        group_order: None,
        forward: true,
        filter: Filter::LargestObject,
        parameters: Parameters(vec![Parameter::DeliveryTimeout(500)]),
    });
    let value = convert::control_message(&message);
    let mut out = BytesMut::with_capacity(2000);
    encode_control(&message, &mut out).unwrap();
    let bytes = out.clone().freeze();
    let mut group: Group<'_> = c.benchmark_group("control");
    group.throughput(Throughput::Elements(1));
    let mut decoder = ControlDecoder::default();
    group.bench_function("decode moqtail", |b| {
        b.iter(|| {
            decoder.push(black_box(&bytes));
            decoder.next().unwrap().unwrap()
        });
    });
    group.bench_function("decode moqtap", |b| {
        b.iter(|| TheirMessage::decode(&mut black_box(&bytes[..])).unwrap());
    });
    group.bench_function("encode moqtail", |b| {
        b.iter(|| {
            out.clear();
            encode_control(black_box(&message), &mut out).unwrap();
        });
    });
    let mut out = Vec::with_capacity(2000);
    group.bench_function("encode moqtap", |b| {
        b.iter(|| {
            out.clear();
            black_box(&value).encode(&mut out).unwrap();
        });
    });
    group.finish();
}

criterion_group!(
    benches,
    decode_subgroup,
    encode_subgroup,
    decode_fetch,
    datagrams,
    control
);
criterion_main!(benches);
