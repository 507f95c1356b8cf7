//! Objects in datagrams (draft-14 §10.3.1).

use std::ops::Range;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::coding::{Reader, Stop, all_or_nothing, invalid, put_varint};
use super::extension::{read_extensions, write_extensions};
use super::object::{read_status, write_status};
use crate::model::{
    DatagramBody, DecodeError, DecodeErrorKind, EncodeError, Extensions, ObjectDatagram,
    ObjectStatus, TrackAlias,
};

/// Bits of the datagram type; [`STATUS`] goes with [`EXTENSIONS`] only.
const EXTENSIONS: u64 = 0x01;
const END_OF_GROUP: u64 = 0x02;
const OBJECT_ID_ABSENT: u64 = 0x04;
const STATUS: u64 = 0x20;

/// Reads one datagram; payload and extensions share its bytes.
///
/// # Errors
/// The peer broke draft 14; offsets count from the start of the datagram.
pub fn decode_datagram(mut bytes: Bytes) -> Result<ObjectDatagram, DecodeError> {
    let fields = read_fields(&mut Reader::new(&bytes, 0)).map_err(Stop::at_end)?;
    let extensions = Extensions(bytes.slice(fields.extensions));
    let body = match fields.status {
        Some(status) => DatagramBody::Status(status),
        None => {
            bytes.advance(fields.payload_start);
            DatagramBody::Payload(bytes)
        }
    };
    let has = |bit: u64| fields.datagram_type & bit != 0;
    Ok(ObjectDatagram {
        track_alias: fields.track_alias,
        group: fields.group,
        object: fields.object,
        object_id_absent: has(OBJECT_ID_ABSENT),
        publisher_priority: fields.publisher_priority,
        end_of_group: has(END_OF_GROUP),
        extensions,
        body,
    })
}

/// Fields of a datagram as they lie in its bytes.
struct Fields {
    datagram_type: u64,
    track_alias: TrackAlias,
    group: u64,
    object: u64,
    publisher_priority: u8,
    /// Where the extensions are.
    extensions: Range<usize>,
    /// `None`: the rest is payload.
    status: Option<ObjectStatus>,
    payload_start: usize,
}

fn read_fields(r: &mut Reader<'_>) -> Result<Fields, Stop> {
    let datagram_type = r.varint("Datagram Type")?;
    // draft-14 §10
    if !matches!(datagram_type, 0x00..=0x07 | 0x20 | 0x21) {
        let kind = DecodeErrorKind::UnknownType(datagram_type);
        return Err(invalid("Datagram Type", 0, kind));
    }
    let has = |bit: u64| datagram_type & bit != 0;
    let track_alias = TrackAlias(r.varint("Track Alias")?);
    let group = r.varint("Group ID")?;
    let object = if has(OBJECT_ID_ABSENT) {
        0
    } else {
        r.varint("Object ID")?
    };
    let publisher_priority = r.byte("Publisher Priority")?;
    let extensions = if has(EXTENSIONS) {
        let offset = r.offset();
        // The datagram itself is the limit.
        let extensions = read_extensions(r, usize::MAX)?;
        // draft-14 §10.3.1
        if extensions.is_empty() {
            let kind = DecodeErrorKind::InvalidValue(0);
            return Err(invalid("Extension Headers Length", offset, kind));
        }
        extensions
    } else {
        0..0
    };
    let status = if has(STATUS) {
        let status = read_status(r, !extensions.is_empty())?;
        // draft-14 §10.2.1.1
        if !r.rest().is_empty() {
            let kind = DecodeErrorKind::TrailingBytes(r.rest().len());
            return Err(invalid("Object Status", r.offset(), kind));
        }
        Some(status)
    } else {
        None
    };
    Ok(Fields {
        datagram_type,
        track_alias,
        group,
        object,
        publisher_priority,
        extensions,
        status,
        payload_start: r.consumed(),
    })
}

/// Appends the whole datagram to `out`.
///
/// # Errors
/// A number over 2^62 - 1, or fields that no datagram type has together; nothing was appended.
pub fn encode_datagram(datagram: &ObjectDatagram, out: &mut BytesMut) -> Result<(), EncodeError> {
    if datagram.object_id_absent && datagram.object != 0 {
        return Err(EncodeError::NotAllowed("an absent Object ID that is not 0"));
    }
    let has_extensions = !datagram.extensions.is_empty();
    let is_status = matches!(datagram.body, DatagramBody::Status(_));
    // draft-14 §10.3.1
    if is_status && (datagram.object_id_absent || datagram.end_of_group) {
        return Err(EncodeError::NotAllowed(
            "a status with End of Group or without Object ID",
        ));
    }
    let flag = |set: bool, bit: u64| if set { bit } else { 0 };
    let datagram_type = flag(has_extensions, EXTENSIONS)
        | flag(datagram.end_of_group, END_OF_GROUP)
        | flag(datagram.object_id_absent, OBJECT_ID_ABSENT)
        | flag(is_status, STATUS);
    all_or_nothing(out, |out| {
        put_varint(out, "Datagram Type", datagram_type)?;
        put_varint(out, "Track Alias", datagram.track_alias.0)?;
        put_varint(out, "Group ID", datagram.group)?;
        if !datagram.object_id_absent {
            put_varint(out, "Object ID", datagram.object)?;
        }
        out.put_u8(datagram.publisher_priority);
        if has_extensions {
            write_extensions(out, &datagram.extensions)?;
        }
        match &datagram.body {
            DatagramBody::Payload(payload) => {
                out.extend_from_slice(payload);
                Ok(())
            }
            DatagramBody::Status(status) => write_status(out, *status, has_extensions),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KeyValuePair;

    fn datagram(body: DatagramBody) -> ObjectDatagram {
        ObjectDatagram {
            track_alias: TrackAlias(1),
            group: 2,
            object: 0,
            object_id_absent: false,
            publisher_priority: 128,
            end_of_group: false,
            extensions: Extensions::default(),
            body,
        }
    }

    /// S10.3.1-02, S10.2.1.2-01: fields that no type has together are not written.
    #[test]
    fn impossible_datagrams_are_refused() {
        let status = || datagram(DatagramBody::Status(ObjectStatus::DoesNotExist));
        let pair = KeyValuePair::Varint { key: 2, value: 1 };
        let extensions = Extensions::from_pairs(&[pair]).unwrap();
        let impossible = [
            ObjectDatagram {
                end_of_group: true,
                ..status()
            },
            ObjectDatagram {
                object_id_absent: true,
                ..status()
            },
            ObjectDatagram {
                extensions,
                ..status()
            },
            ObjectDatagram {
                object: 1,
                object_id_absent: true,
                ..datagram(DatagramBody::Payload(Bytes::new()))
            },
            ObjectDatagram {
                group: 1 << 62,
                ..status()
            },
        ];
        let mut out = BytesMut::new();
        for datagram in impossible {
            assert!(
                encode_datagram(&datagram, &mut out).is_err(),
                "{datagram:?}"
            );
            assert!(out.is_empty());
        }
        assert!(encode_datagram(&status(), &mut out).is_ok());
    }

    #[test]
    fn payload_is_not_copied() {
        let bytes = Bytes::from_static(&[0x00, 1, 2, 3, 128, b'h', b'i']);
        let DatagramBody::Payload(payload) = decode_datagram(bytes.clone()).unwrap().body else {
            panic!("no payload");
        };
        assert_eq!(payload.as_ptr(), bytes.slice(5..).as_ptr());
    }
}
