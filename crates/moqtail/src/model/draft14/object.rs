//! What the objects of subgroup streams and fetch streams have in common (draft-14 §10.2.1, §10.4).

use bytes::{Bytes, BytesMut};

use super::coding::{Reader, Stop, invalid, put_varint};
use super::extension::{read_extensions, write_extensions};
use super::head::{Head, HeadBuffer};
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
#[derive(Clone, Copy)]
pub(super) struct Fields {
    object: u64,
    payload_len: u64,
    status: ObjectStatus,
    /// Where the extensions are.
    extensions: (usize, usize),
}

/// Cuts the bytes of a stream into headers and payloads, however they are split.
#[derive(Debug)]
pub(super) struct ObjectReader {
    pub(super) limits: ObjectLimits,
    /// Payload that is still to come; `None` between objects.
    payload: Option<u64>,
    head: HeadBuffer,
    /// Bytes taken before an unfinished head.
    position: u64,
}

impl ObjectReader {
    pub(super) fn new(limits: ObjectLimits) -> Self {
        Self {
            limits,
            payload: None,
            head: HeadBuffer::default(),
            position: 0,
        }
    }

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

    /// The next item. `read` reads what stands before the fields that all objects have, and these; `build` makes the
    /// header of them.
    #[inline]
    pub(super) fn next<P, H>(
        &mut self,
        input: &mut Bytes,
        read: impl Fn(&mut Reader<'_>, &ObjectLimits) -> Result<(P, Fields), Stop>,
        build: impl FnOnce(P, ObjectHeader) -> H,
    ) -> Result<Option<ObjectItem<H>>, DecodeError> {
        match self.payload {
            Some(0) => {
                self.payload = None;
                Ok(Some(ObjectItem::End))
            }
            Some(_) if input.is_empty() => Ok(None),
            Some(left) => {
                let len = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                self.payload = Some(left - len as u64);
                self.position += len as u64;
                Ok(Some(ObjectItem::Payload(input.split_to(len))))
            }
            None => {
                let limits = &self.limits;
                let head = self.head.read(input, self.position, |r| {
                    let (prefix, fields) = read(r, limits)?;
                    Ok(((prefix, fields), fields.extensions))
                })?;
                let Some(Head { value, kept, len }) = head else {
                    return Ok(None);
                };
                let (prefix, fields) = value;
                self.payload = Some(fields.payload_len);
                self.position += len as u64;
                let header = ObjectHeader {
                    object: fields.object,
                    extensions: Extensions(kept),
                    status: fields.status,
                    payload_len: fields.payload_len,
                };
                Ok(Some(ObjectItem::Header {
                    header: build(prefix, header),
                    wire_len: len,
                }))
            }
        }
    }
}

/// Reads `[Extension Headers Length, extensions], Object Payload Length, [Object Status]`.
#[inline]
pub(super) fn read_fields(
    r: &mut Reader<'_>,
    limits: &ObjectLimits,
    object: u64,
    has_extensions: bool,
) -> Result<Fields, Stop> {
    let extensions = if has_extensions {
        read_extensions(r, limits.max_extensions_len)?
    } else {
        (0, 0)
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
        read_status(r, extensions.0 < extensions.1)?
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
