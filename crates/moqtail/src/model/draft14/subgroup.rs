//! Objects on a subgroup stream (draft-14 §10.4.2).

use std::{borrow::Cow, ops::Range};

use bytes::{Bytes, BytesMut};

use super::coding::{Reader, Stop, all_or_nothing, invalid, put_varint};
use super::extension::gaps_of;
use super::head::ReadHead;
use super::object::{Fields, ObjectItem, ObjectLimits, ObjectReader, read_fields, write_fields};
use crate::model::{
    DecodeError, DecodeErrorKind, EncodeError, Gaps, Location, MAX_VARINT, MalformedExtensions,
    ObjectHeader, ObjectStatus, SubgroupHeader,
};

/// Cuts a subgroup stream, after its header, into objects. Splits of the bytes make no difference but in how payloads
/// are cut; payloads are shared, not copied. The first error is final.
#[derive(Debug)]
pub struct SubgroupDecoder {
    header: SubgroupHeader,
    limits: ObjectLimits,
    objects: ObjectReader,
    /// Object ID of the first object.
    first: Option<u64>,
    /// Object ID that a delta of 0 stands for.
    next: u64,
}

impl SubgroupDecoder {
    /// A decoder for what follows `header`.
    pub fn new(header: SubgroupHeader, limits: ObjectLimits) -> Self {
        Self {
            header,
            limits,
            objects: ObjectReader::default(),
            first: None,
            next: 0,
        }
    }

    /// The next item; `None`: all of `input` was taken and more is needed. Call again after every item, also when
    /// `input` is empty.
    ///
    /// # Errors
    /// The peer broke draft 14, or a limit; offsets count from the end of the stream's header.
    #[inline]
    pub fn decode(
        &mut self,
        input: &mut Bytes,
    ) -> Result<Option<ObjectItem<ObjectHeader>>, DecodeError> {
        let head = self.next_object();
        self.objects.next(input, &head, |_, header| {
            self.first.get_or_insert(header.object);
            self.next = header.object + 1;
            header
        })
    }

    /// The next object, for who passes the bytes on as they came: payload is passed over. `None`: all of `input` was
    /// taken and more is needed.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    #[inline]
    pub fn next_frame<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<ObjectFrame<'a>>, DecodeError> {
        let head = self.next_object();
        let Some(head) = self.objects.next_head(input, &head)? else {
            return Ok(None);
        };
        let (delta_len, fields) = head.value;
        self.first.get_or_insert(fields.object);
        self.next = fields.object + 1;
        Ok(Some(ObjectFrame {
            location: Location::new(self.header.group, fields.object),
            status: fields.status,
            payload_len: fields.payload_len,
            start: self.objects.position() - head.bytes.len() as u64,
            delta_len,
            head: head.bytes,
            extensions: fields.extensions,
        }))
    }

    #[inline]
    fn next_object(&self) -> NextObject {
        NextObject {
            id: self.next,
            has_extensions: self.header.extensions,
            limits: self.limits,
        }
    }

    /// Bytes of the stream taken since the end of its header; after an error, where the object with the error starts.
    pub fn position(&self) -> u64 {
        self.objects.position()
    }

    /// The Subgroup ID; `None` as long as it is that of a first object that has not come.
    pub fn subgroup_id(&self) -> Option<u64> {
        self.header.subgroup.told().or(self.first)
    }

    /// Whether the stream may end here with FIN.
    ///
    /// # Errors
    /// The stream ends inside an object (draft-14 §10.4), or there was an error before.
    pub fn finish(&self) -> Result<(), DecodeError> {
        self.objects.finish()
    }
}

/// An object on a subgroup stream and how its head lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectFrame<'a> {
    /// Group ID and Object ID.
    pub location: Location,
    /// Status; anything but Normal has no payload.
    pub status: ObjectStatus,
    /// Payload length in bytes.
    pub payload_len: u64,
    /// Bytes between the end of the stream's header and this object.
    pub start: u64,
    /// Bytes of the Object ID Delta, which comes first.
    pub delta_len: usize,
    head: Cow<'a, [u8]>,
    extensions: Range<usize>,
}

impl ObjectFrame<'_> {
    /// Bytes of all that stands before the payload.
    pub fn head_len(&self) -> usize {
        self.head.len()
    }

    /// What the extension headers say does not exist.
    ///
    /// # Errors
    /// As [`Extensions::gaps`](crate::model::Extensions::gaps).
    #[inline]
    pub fn gaps(&self) -> Result<Gaps, MalformedExtensions> {
        if self.extensions.is_empty() {
            return Ok(Gaps::default());
        }
        let extensions = self.head.get(self.extensions.clone()).unwrap_or_default();
        gaps_of(extensions, self.location)
    }
}

/// The head of an object on a subgroup stream; its value is the length of the delta, and the fields.
struct NextObject {
    /// Object ID if the delta is 0.
    id: u64,
    has_extensions: bool,
    limits: ObjectLimits,
}

impl ReadHead for NextObject {
    type Value = (usize, Fields);

    #[inline(always)]
    fn read(&self, r: &mut Reader<'_>) -> Result<(usize, Fields), Stop> {
        let offset = r.offset();
        let delta = r.varint("Object ID Delta")?;
        let delta_len = r.consumed();
        // draft-14 §10.4.2: the first delta is the Object ID, later ones count from the one after the previous
        let object = self
            .id
            .checked_add(delta)
            .filter(|object| *object <= MAX_VARINT)
            .ok_or_else(|| {
                let kind = DecodeErrorKind::InvalidValue(delta);
                invalid("Object ID Delta", offset, kind)
            })?;
        let fields = read_fields(r, &self.limits, object, self.has_extensions)?;
        Ok((delta_len, fields))
    }
}

/// Writes the headers of the objects of one subgroup stream; the caller writes the stream's header before and each
/// payload after its header.
#[derive(Clone, Debug)]
pub struct SubgroupEncoder {
    extensions: bool,
    previous: Option<u64>,
}

impl SubgroupEncoder {
    /// An encoder for what follows `header`.
    pub fn new(header: &SubgroupHeader) -> Self {
        Self {
            extensions: header.extensions,
            previous: None,
        }
    }

    /// An encoder for what follows `previous`, the last object on a stream with `header`.
    pub fn after(header: &SubgroupHeader, previous: u64) -> Self {
        Self {
            extensions: header.extensions,
            previous: Some(previous),
        }
    }

    /// Appends the header of `object` to `out`.
    ///
    /// # Errors
    /// Object IDs must rise, extensions need a stream type with extensions, status needs an empty payload. Nothing was
    /// appended and the encoder is as before.
    #[inline]
    pub fn object(&mut self, object: &ObjectHeader, out: &mut BytesMut) -> Result<(), EncodeError> {
        let id = object.object;
        let delta = match self.previous {
            None => id,
            Some(previous) => id
                .checked_sub(previous)
                .and_then(|distance| distance.checked_sub(1))
                .ok_or(EncodeError::ObjectOrder {
                    previous,
                    object: id,
                })?,
        };
        if id > MAX_VARINT {
            return Err(EncodeError::VarintRange {
                field: "Object ID",
                value: id,
            });
        }
        all_or_nothing(out, |out| {
            put_varint(out, "Object ID Delta", delta)?;
            write_fields(out, object, self.extensions)
        })?;
        self.previous = Some(id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Extensions, KeyValuePair, ObjectStatus, SessionCode, SubgroupId, TrackAlias,
    };

    fn header(extensions: bool) -> SubgroupHeader {
        SubgroupHeader {
            track_alias: TrackAlias(1),
            group: 2,
            subgroup: SubgroupId::FirstObject,
            publisher_priority: 128,
            extensions,
            end_of_group: false,
        }
    }

    fn object(object: u64, payload_len: u64) -> ObjectHeader {
        ObjectHeader {
            object,
            extensions: Extensions::default(),
            status: ObjectStatus::Normal,
            payload_len,
        }
    }

    type Object = (ObjectHeader, Vec<u8>);

    /// All items, with payload pieces put together, when the bytes come in pieces of `step`.
    fn decode(
        extensions: bool,
        bytes: &[u8],
        step: usize,
    ) -> (Vec<Object>, Result<(), DecodeError>, u64) {
        let mut decoder = SubgroupDecoder::new(header(extensions), ObjectLimits::default());
        let mut objects: Vec<Object> = Vec::new();
        for piece in bytes.chunks(step) {
            let mut input = Bytes::copy_from_slice(piece);
            loop {
                match decoder.decode(&mut input) {
                    Err(error) => return (objects, Err(error), decoder.position()),
                    Ok(None) => break,
                    Ok(Some(ObjectItem::Header { header, .. })) => {
                        objects.push((header, Vec::new()));
                    }
                    Ok(Some(ObjectItem::Payload(piece))) => {
                        objects.last_mut().unwrap().1.extend_from_slice(&piece);
                    }
                    Ok(Some(ObjectItem::End)) => {}
                }
            }
        }
        (objects, decoder.finish(), decoder.position())
    }

    /// S10.4.2-07: IDs 3, 5, 9 are the deltas 3, 1, 3.
    #[test]
    fn deltas_skip_the_object_between() {
        let mut encoder = SubgroupEncoder::new(&header(false));
        let mut out = BytesMut::new();
        for id in [3, 5, 9] {
            encoder.object(&object(id, 1), &mut out).unwrap();
            out.extend_from_slice(b"x");
        }
        assert_eq!(out[..], *b"\x03\x01x\x01\x01x\x03\x01x");
        for step in 1..=out.len() {
            let (objects, end, position) = decode(false, &out, step);
            let ids: Vec<_> = objects.iter().map(|(header, _)| header.object).collect();
            assert_eq!((ids, end, position), (vec![3, 5, 9], Ok(()), 9));
        }
    }

    /// S10.4.2-07: an Object ID over 2^62 - 1 is a violation.
    #[test]
    fn object_ids_do_not_overflow() {
        let mut bytes = vec![0xff; 8];
        bytes.extend([1, b'x', 0]);
        let (objects, end, _) = decode(false, &bytes, 100);
        assert_eq!(objects.len(), 1);
        let error = end.unwrap_err();
        assert_eq!((error.field, error.offset), ("Object ID Delta", 10));
        assert_eq!(error.code(), SessionCode::PROTOCOL_VIOLATION);
    }

    /// S10.4-02: the stream may end between objects only.
    #[test]
    fn fin_inside_an_object_is_an_error() {
        let bytes = b"\x00\x02hi\x00\x02hi";
        for len in 0..=bytes.len() {
            let (_, end, _) = decode(false, &bytes[..len], 1);
            assert_eq!(end.is_ok(), matches!(len, 0 | 4 | 8), "{len}: {end:?}");
        }
    }

    /// S10.2.1.2-01 and S10.2.1.2-02.
    #[test]
    fn objects_that_do_not_exist_have_no_extensions() {
        let with = |status: u8| [0, 3, 0x02, 0x40, 0x50, 0, status];
        let (objects, end, _) = decode(true, &with(3), 1);
        assert_eq!(end, Ok(()));
        let pairs: Vec<_> = objects[0].0.extensions.pairs().collect();
        assert_eq!(
            pairs,
            [KeyValuePair::Varint {
                key: 2,
                value: 0x50
            }]
        );
        let (_, end, _) = decode(true, &with(1), 1);
        assert_eq!(end.unwrap_err().kind, DecodeErrorKind::Extensions);
    }

    /// However the bytes are split; the deltas are 1, 1 and 2 bytes long.
    #[test]
    fn frames_tell_where_objects_lie() {
        let bytes = b"\x03\x03\x3e\x40\x02\x02hi\x00\x00\x00\x03\x40\x00\x00\x01!";
        let location = |object| Location::new(2, object);
        let gap = Gaps {
            objects: Some(2),
            ..Gaps::default()
        };
        let expected = [
            (location(3), 2, 0, 6, 1, gap),
            (location(4), 0, 8, 4, 1, Gaps::default()),
            (location(5), 1, 12, 4, 2, Gaps::default()),
        ];
        for step in 1..=bytes.len() {
            let mut decoder = SubgroupDecoder::new(header(true), ObjectLimits::default());
            let mut frames = Vec::new();
            for mut piece in bytes.chunks(step) {
                while let Some(frame) = decoder.next_frame(&mut piece).unwrap() {
                    frames.push((
                        frame.location,
                        frame.payload_len,
                        frame.start,
                        frame.head_len(),
                        frame.delta_len,
                        frame.gaps().unwrap(),
                    ));
                }
                assert!(piece.is_empty());
            }
            assert_eq!(frames, expected, "pieces of {step}");
            assert_eq!((decoder.finish(), decoder.position()), (Ok(()), 17));
        }
    }

    #[test]
    fn payload_is_not_copied() {
        let mut input = Bytes::from_static(b"\x00\x02hi");
        let before = input.slice(2..);
        let mut decoder = SubgroupDecoder::new(header(false), ObjectLimits::default());
        decoder.decode(&mut input).unwrap();
        let Some(ObjectItem::Payload(payload)) = decoder.decode(&mut input).unwrap() else {
            panic!("no payload");
        };
        assert_eq!(payload.as_ptr(), before.as_ptr());
        assert_eq!(decoder.decode(&mut input), Ok(Some(ObjectItem::End)));
        assert_eq!(decoder.subgroup_id(), Some(0));
    }

    #[test]
    fn limits_hold() {
        let limits = ObjectLimits {
            max_extensions_len: 4,
            max_object_len: 10,
        };
        let mut decoder = SubgroupDecoder::new(header(true), limits);
        let error = decoder
            .decode(&mut Bytes::from_static(&[0, 5]))
            .unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::OverLimit { len: 5, max: 4 });
        assert_eq!(error.code(), SessionCode::INTERNAL_ERROR);
        let mut decoder = SubgroupDecoder::new(header(true), limits);
        let error = decoder
            .decode(&mut Bytes::from_static(&[0, 0, 11]))
            .unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::OverLimit { len: 11, max: 10 });
    }

    #[test]
    fn refused_objects_change_nothing() {
        let mut encoder = SubgroupEncoder::new(&header(false));
        let mut out = BytesMut::new();
        encoder.object(&object(5, 1), &mut out).unwrap();
        let order = EncodeError::ObjectOrder {
            previous: 5,
            object: 5,
        };
        assert_eq!(encoder.object(&object(5, 1), &mut out), Err(order));
        let extensions = Extensions::from_pairs(&[KeyValuePair::Varint { key: 2, value: 1 }]);
        let with_extensions = ObjectHeader {
            extensions: extensions.unwrap(),
            ..object(6, 1)
        };
        let refused = encoder.object(&with_extensions, &mut out);
        assert_eq!(refused, Err(EncodeError::Extensions));
        let status = ObjectHeader {
            status: ObjectStatus::EndOfGroup,
            ..object(6, 1)
        };
        assert!(encoder.object(&status, &mut out).is_err());
        assert_eq!(out[..], [5, 1]);
        encoder.object(&object(6, 1), &mut out).unwrap();
        assert_eq!(out[..], [5, 1, 0, 1]);
    }
}
