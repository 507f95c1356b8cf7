use bytes::{Bytes, BytesMut};
use moqtail::model::draft14::{decode_datagram, encode_datagram};
use moqtail::model::{
    DatagramBody, Extensions, MAX_VARINT, ObjectDatagram, ObjectStatus, TrackAlias,
};

use super::{check, extensions, number, parse};

const VECTORS: &str = include_str!("datagrams.txt");

/// S10-02, S10.3.1-01, S10.3.1-03, S10.3.1-06, S10.2.1.1-01, S10.2.1.1-04, S1.4.2-04
#[test]
fn datagrams_agree_with_the_vectors() {
    check(
        parse(VECTORS),
        expected(),
        |bytes| decode_datagram(Bytes::copy_from_slice(bytes)),
        |datagram| {
            let mut out = BytesMut::new();
            encode_datagram(datagram, &mut out).unwrap();
            out.to_vec()
        },
    );
}

fn datagram(body: DatagramBody) -> ObjectDatagram {
    ObjectDatagram {
        track_alias: TrackAlias(7),
        group: 9,
        object: 5,
        object_id_absent: false,
        publisher_priority: 128,
        end_of_group: false,
        extensions: Extensions::default(),
        body,
    }
}

fn payload(payload: &'static [u8]) -> ObjectDatagram {
    datagram(DatagramBody::Payload(Bytes::from_static(payload)))
}

fn status(status: ObjectStatus) -> ObjectDatagram {
    datagram(DatagramBody::Status(status))
}

fn with_extensions(datagram: ObjectDatagram) -> ObjectDatagram {
    ObjectDatagram {
        extensions: extensions(&[number(2, 5)]),
        ..datagram
    }
}

fn last(datagram: ObjectDatagram) -> ObjectDatagram {
    ObjectDatagram {
        end_of_group: true,
        ..datagram
    }
}

fn absent(datagram: ObjectDatagram) -> ObjectDatagram {
    ObjectDatagram {
        object: 0,
        object_id_absent: true,
        ..datagram
    }
}

fn priority(publisher_priority: u8, datagram: ObjectDatagram) -> ObjectDatagram {
    ObjectDatagram {
        publisher_priority,
        ..datagram
    }
}

fn expected() -> Vec<(&'static str, ObjectDatagram)> {
    let hi = || payload(b"hi");
    vec![
        ("datagram_00", hi()),
        ("datagram_01", with_extensions(hi())),
        ("datagram_02", last(hi())),
        ("datagram_03", priority(255, with_extensions(last(hi())))),
        ("datagram_04", absent(hi())),
        ("datagram_05", with_extensions(absent(hi()))),
        ("datagram_06", priority(0, absent(last(hi())))),
        ("datagram_07", with_extensions(absent(last(hi())))),
        ("datagram_20", status(ObjectStatus::EndOfGroup)),
        (
            "datagram_21",
            with_extensions(status(ObjectStatus::EndOfTrack)),
        ),
        ("empty_payload", payload(b"")),
        ("empty_payload_absent_id", absent(payload(b""))),
        ("empty_payload_extensions", with_extensions(payload(b""))),
        ("status_normal", status(ObjectStatus::Normal)),
        ("status_does_not_exist", status(ObjectStatus::DoesNotExist)),
        (
            "status_normal_extensions",
            with_extensions(status(ObjectStatus::Normal)),
        ),
        (
            "large_numbers",
            ObjectDatagram {
                track_alias: TrackAlias(0x107),
                group: 0x10000,
                object: MAX_VARINT,
                ..payload(b"a")
            },
        ),
        (
            "zero_object_id",
            ObjectDatagram {
                object: 0,
                ..payload(b"a")
            },
        ),
        ("long_numbers", hi()),
        ("long_status", status(ObjectStatus::EndOfGroup)),
    ]
}
