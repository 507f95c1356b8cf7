//! What the objects of subgroup streams and fetch streams have in common (draft-14 §10.2.1, §10.4).

use std::{borrow::Cow, ops::Range};

use bytes::{Buf as _, Bytes, BytesMut};

use super::coding::{Reader, Stop, invalid, put_varint};
use super::extension::{read_extensions, write_extensions};
use super::head::{Head, HeadBuffer, ReadHead};
use crate::model::{
    DecodeError, DecodeErrorKind, EncodeError, Extensions, MAX_VARINT, ObjectHeader, ObjectStatus,
};

/// What a decoder of objects accepts from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectLimits {
    /// Most bytes of extension headers of one object; so much and a few numbers can be buffered for a stream.
    /// Default 128 KiB.
    pub max_extensions_len: usize,
    /// Most bytes of payload of one object; payload is never buffered here. Default 2^62 - 1, all that draft 14 can say.
    pub max_object_len: u64,
}

impl Default for ObjectLimits {
    fn default() -> Self {
        Self {
            max_extensions_len: 128 * 1024,
            max_object_len: MAX_VARINT,
        }
    }
}

/// One step through the objects of a stream; `H` is the object's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectItem<H> {
    /// An object begins.
    Header {
        /// All before the payload.
        header: H,
        /// Bytes that it took on the wire.
        wire_len: usize,
    },
    /// The next piece of the payload, never empty; shares the bytes that were read.
    Payload(Bytes),
    /// The object is complete, the last byte of its payload was given.
    End,
}

/// Fields of an object as they lie in the bytes of its head.
pub(super) struct Fields {
    pub(super) object: u64,
    pub(super) payload_len: u64,
    pub(super) status: ObjectStatus,
    /// Where the extensions are.
    pub(super) extensions: Range<usize>,
}

/// Cuts the bytes of a stream into headers and payloads, however they are split. A head is what stands before the fields
/// that all objects have, and these.
#[derive(Debug, Default)]
pub(super) struct ObjectReader {
    /// Payload that is still to come; `None` between objects.
    payload: Option<u64>,
    head: HeadBuffer,
    /// Bytes taken before an unfinished head.
    position: u64,
}

impl ObjectReader {
    /// Bytes taken; after an error, the start of the object with the error.
    pub(super) fn position(&self) -> u64 {
        self.position + self.head.len() as u64
    }

    /// Whether the bytes end between two objects.
    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        // draft-14 §10.4
        match self.payload {
            Some(left) if left > 0 => Err(DecodeError {
                kind: DecodeErrorKind::UnexpectedEnd,
                field: "Object Payload",
                offset: self.position,
            }),
            _ => self.head.at_end(),
        }
    }

    /// The next item; `build` makes the header of what was read.
    #[inline(always)]
    pub(super) fn next<P, H>(
        &mut self,
        input: &mut Bytes,
        head: &impl ReadHead<Value = (P, Fields)>,
        build: impl FnOnce(P, ObjectHeader) -> H,
    ) -> Result<Option<ObjectItem<H>>, DecodeError> {
        match self.payload {
            Some(0) => {
                self.payload = None;
                Ok(Some(ObjectItem::End))
            }
            Some(_) if input.is_empty() => Ok(None),
            Some(left) => {
                let len = self.take_payload(left, input.len());
                Ok(Some(ObjectItem::Payload(input.split_to(len))))
            }
            None => {
                let mut rest = &input[..];
                let Some(head) = self.read_head(&mut rest, head)? else {
                    input.clear();
                    return Ok(None);
                };
                let taken = input.len() - rest.len();
                let (prefix, fields) = head.value;
                let wire_len = head.bytes.len();
                let header = ObjectHeader {
                    object: fields.object,
                    extensions: Extensions(share(input, head.bytes, fields.extensions)),
                    status: fields.status,
                    payload_len: fields.payload_len,
                };
                input.advance(taken);
                Ok(Some(ObjectItem::Header {
                    header: build(prefix, header),
                    wire_len,
                }))
            }
        }
    }

    /// Passes over payload to the next head and reads it; `None`: all of `input` was taken and more is needed.
    #[inline(always)]
    pub(super) fn next_head<'a, P>(
        &mut self,
        input: &mut &'a [u8],
        head: &impl ReadHead<Value = (P, Fields)>,
    ) -> Result<Option<Head<'a, (P, Fields)>>, DecodeError> {
        if let Some(left) = self.payload {
            let len = self.take_payload(left, input.len());
            *input = input.get(len..).unwrap_or_default();
            if len as u64 != left {
                return Ok(None);
            }
            self.payload = None;
        }
        self.read_head(input, head)
    }

    /// Takes what `available` bytes have of the `left` bytes of payload: so many.
    #[inline]
    fn take_payload(&mut self, left: u64, available: usize) -> usize {
        let len = usize::try_from(left).map_or(available, |left| left.min(available));
        self.payload = Some(left - len as u64);
        self.position += len as u64;
        len
    }

    #[inline(always)]
    fn read_head<'a, P>(
        &mut self,
        input: &mut &'a [u8],
        head: &impl ReadHead<Value = (P, Fields)>,
    ) -> Result<Option<Head<'a, (P, Fields)>>, DecodeError> {
        let head = self.head.read(input, self.position, head)?;
        if let Some(head) = &head {
            self.payload = Some(head.value.1.payload_len);
            self.position += head.bytes.len() as u64;
        }
        Ok(head)
    }
}

/// The bytes of `head` in `range`; a head that was not put together lies at the start of `input`, which is shared.
#[inline]
fn share(input: &Bytes, head: Cow<'_, [u8]>, range: Range<usize>) -> Bytes {
    match head {
        _ if range.is_empty() => Bytes::new(),
        Cow::Borrowed(_) => input.slice(range),
        Cow::Owned(mut head) => {
            head.truncate(range.end);
            let mut part = Bytes::from(head);
            part.advance(range.start);
            part
        }
    }
}

/// Reads `[Extension Headers Length, extensions], Object Payload Length, [Object Status]`.
#[inline(always)]
pub(super) fn read_fields(
    r: &mut Reader<'_>,
    limits: &ObjectLimits,
    object: u64,
    has_extensions: bool,
) -> Result<Fields, Stop> {
    let extensions = if has_extensions {
        read_extensions(r, limits.max_extensions_len)?
    } else {
        0..0
    };
    let offset = r.offset();
    let payload_len = r.varint("Object Payload Length")?;
    if payload_len > limits.max_object_len {
        return Err(invalid(
            "Object Payload Length",
            offset,
            DecodeErrorKind::OverLimit {
                len: payload_len,
                max: limits.max_object_len,
            },
        ));
    }
    let status = if payload_len == 0 {
        read_status(r, !extensions.is_empty())?
    } else {
        ObjectStatus::Normal
    };
    Ok(Fields {
        object,
        payload_len,
        status,
        extensions,
    })
}

/// Writes what [`read_fields`] reads.
pub(super) fn write_fields(
    out: &mut BytesMut,
    header: &ObjectHeader,
    has_extensions: bool,
) -> Result<(), EncodeError> {
    if has_extensions {
        write_extensions(out, &header.extensions)?;
    } else if !header.extensions.is_empty() {
        return Err(EncodeError::Extensions);
    }
    put_varint(out, "Object Payload Length", header.payload_len)?;
    if header.payload_len == 0 {
        write_status(out, header.status, !header.extensions.is_empty())
    } else if header.status == ObjectStatus::Normal {
        Ok(())
    } else {
        // draft-14 §10.2.1.1
        Err(EncodeError::NotAllowed(
            "payload of an object with a status",
        ))
    }
}

/// Object Status (i).
pub(super) fn read_status(r: &mut Reader<'_>, extensions: bool) -> Result<ObjectStatus, Stop> {
    const FIELD: &str = "Object Status";
    let offset = r.offset();
    match r.varint(FIELD)? {
        0x0 => Ok(ObjectStatus::Normal),
        // draft-14 §10.2.1.2
        0x1 if extensions => Err(invalid(FIELD, offset, DecodeErrorKind::Extensions)),
        0x1 => Ok(ObjectStatus::DoesNotExist),
        0x3 => Ok(ObjectStatus::EndOfGroup),
        0x4 => Ok(ObjectStatus::EndOfTrack),
        // draft-14 §10.2.1.1
        other => Err(invalid(FIELD, offset, DecodeErrorKind::InvalidValue(other))),
    }
}

pub(super) fn write_status(
    out: &mut BytesMut,
    status: ObjectStatus,
    extensions: bool,
) -> Result<(), EncodeError> {
    let number = match status {
        ObjectStatus::Normal => 0x0,
        // draft-14 §10.2.1.2
        ObjectStatus::DoesNotExist if extensions => return Err(EncodeError::Extensions),
        ObjectStatus::DoesNotExist => 0x1,
        ObjectStatus::EndOfGroup => 0x3,
        ObjectStatus::EndOfTrack => 0x4,
    };
    put_varint(out, "Object Status", number)
}
