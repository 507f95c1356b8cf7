//! Reading and writing the primitive types of draft-14 §1.4: the only place that touches single bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::DecodeOptions;
use super::message_type::MessageType;
use crate::model::{DecodeError, DecodeErrorKind, EncodeError, MAX_VARINT};

/// Why a value could not be read: bytes that are not there yet are no error of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The bytes end inside `field`; at least `missing` more are needed to go on.
    Short {
        field: &'static str,
        offset: u64,
        missing: usize,
    },
    /// No further bytes can make it valid.
    Invalid(DecodeError),
}

impl Stop {
    /// The error when no more bytes can come.
    #[cold]
    pub(super) fn at_end(self) -> DecodeError {
        match self {
            Self::Short { field, offset, .. } => DecodeError {
                kind: DecodeErrorKind::UnexpectedEnd,
                field,
                offset,
            },
            Self::Invalid(error) => error,
        }
    }
}

/// Splits a varint (RFC 9000 §16) off the front of `bytes`: its value and what follows, or how many bytes are missing.
#[inline(always)]
fn split_varint(bytes: &[u8]) -> Result<(u64, &[u8]), usize> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Err(1);
    };
    if first < 0x40 {
        return Ok((u64::from(first), rest));
    }
    let split = match first >> 6 {
        1 => bytes
            .split_first_chunk()
            .map(|(b, rest)| (u64::from(u16::from_be_bytes(*b) & 0x3fff), rest)),
        2 => bytes
            .split_first_chunk()
            .map(|(b, rest)| (u64::from(u32::from_be_bytes(*b) & 0x3fff_ffff), rest)),
        _ => bytes
            .split_first_chunk()
            .map(|(b, rest)| (u64::from_be_bytes(*b) & MAX_VARINT, rest)),
    };
    split.ok_or_else(|| usize::from(varint_len(first)) - bytes.len())
}

/// Length of a varint that begins with this byte (RFC 9000 §16).
pub(crate) fn varint_len(first: u8) -> u8 {
    1 << (first >> 6)
}

/// Reads fields one after the other from bytes that lie together. Offsets in errors count from `base`.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// The end of `bytes` that was not read.
    rest: &'a [u8],
    base: u64,
    /// The control message read; parameters depend on it.
    pub(super) message: Option<MessageType>,
    pub(super) options: DecodeOptions,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8], base: u64) -> Self {
        Self {
            bytes,
            rest: bytes,
            base,
            message: None,
            options: DecodeOptions::default(),
        }
    }

    /// Bytes read so far.
    #[inline]
    pub(super) fn consumed(&self) -> usize {
        self.bytes.len() - self.rest.len()
    }

    /// Offset of the next byte in the message, stream or datagram.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.base + self.consumed() as u64
    }

    /// What was not read so far.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[cold]
    fn short(&self, field: &'static str, missing: usize) -> Stop {
        Stop::Short {
            field,
            offset: self.offset(),
            missing,
        }
    }

    #[inline(always)]
    pub(super) fn varint(&mut self, field: &'static str) -> Result<u64, Stop> {
        match split_varint(self.rest) {
            Ok((value, rest)) => {
                self.rest = rest;
                Ok(value)
            }
            Err(missing) => Err(self.short(field, missing)),
        }
    }

    #[inline]
    pub(super) fn byte(&mut self, field: &'static str) -> Result<u8, Stop> {
        match self.rest.split_first() {
            Some((&byte, rest)) => {
                self.rest = rest;
                Ok(byte)
            }
            None => Err(self.short(field, 1)),
        }
    }

    /// The next `len` bytes.
    #[inline]
    pub(super) fn take(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], Stop> {
        match self.rest.split_at_checked(len) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(self.short(field, len - self.rest.len())),
        }
    }

    /// All bytes that are left.
    pub(super) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// The bytes read since [`consumed`](Self::consumed) was `begin`.
    pub(super) fn since(&self, begin: usize) -> &'a [u8] {
        self.bytes.get(begin..self.consumed()).unwrap_or_default()
    }

    /// A length (i) of at most `max`, then so many bytes.
    #[inline(always)]
    pub(super) fn sized(&mut self, field: &'static str, max: usize) -> Result<&'a [u8], Stop> {
        let offset = self.offset();
        let len = self.varint(field)?;
        match usize::try_from(len) {
            Ok(len) if len <= max => self.take(field, len),
            _ => {
                let max = max as u64;
                Err(invalid(
                    field,
                    offset,
                    DecodeErrorKind::TooLong { len, max },
                ))
            }
        }
    }
}

/// A [`Stop::Invalid`].
#[cold]
pub(super) fn invalid(field: &'static str, offset: u64, kind: DecodeErrorKind) -> Stop {
    Stop::Invalid(DecodeError {
        kind,
        field,
        offset,
    })
}

/// Appends fields; the owner undoes what was appended when a field cannot be written.
pub(super) struct Writer<'a> {
    out: &'a mut BytesMut,
    /// The control message written; parameters depend on it.
    pub(super) message: Option<MessageType>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut BytesMut) -> Self {
        Self { out, message: None }
    }

    #[inline]
    pub(super) fn varint(&mut self, field: &'static str, value: u64) -> Result<(), EncodeError> {
        put_varint(self.out, field, value)
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.out.put_u8(byte);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.put_slice(bytes);
    }

    /// Bytes in the whole output so far.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Writes over two bytes at `at` of the output.
    pub(super) fn overwrite(&mut self, at: usize, bytes: [u8; 2]) {
        for (place, byte) in self.out.iter_mut().skip(at).zip(bytes) {
            *place = byte;
        }
    }

    /// A length (i) of at most `max`, then the bytes.
    pub(super) fn sized(
        &mut self,
        field: &'static str,
        bytes: &[u8],
        max: usize,
    ) -> Result<(), EncodeError> {
        let len = bytes.len();
        if len > max {
            return Err(EncodeError::TooLong { field, len, max });
        }
        self.varint(field, len as u64)?;
        self.bytes(bytes);
        Ok(())
    }
}

/// Appends the shortest varint (draft-14 §1.4) of `value`.
#[inline]
pub(crate) fn put_varint(
    out: &mut BytesMut,
    field: &'static str,
    value: u64,
) -> Result<(), EncodeError> {
    match value {
        0..=0x3f => out.put_u8(value as u8),
        0x40..=0x3fff => out.put_u16(value as u16 | 0x4000),
        0x4000..=0x3fff_ffff => out.put_u32(value as u32 | 0x8000_0000),
        0x4000_0000..=MAX_VARINT => out.put_u64(value | 0xc000_0000_0000_0000),
        _ => return Err(EncodeError::VarintRange { field, value }),
    }
    Ok(())
}

/// Runs `write` on `out` and takes back what it appended when it fails.
pub(super) fn all_or_nothing(
    out: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let result = write(out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// A value with one form on the wire. `field` is the draft's name for it where it stands; structures use the names of their own fields.
pub(super) trait Wire: Sized {
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Stop>;
    fn write(&self, w: &mut Writer<'_>, field: &'static str) -> Result<(), EncodeError>;
}

/// Implements [`Wire`] for a structure by the list of its fields in the order of the wire.
macro_rules! wire_fields {
    ($type:ident $(<$code:ident>)? { $($member:ident: $name:literal,)* }) => {
        impl $(<$code: $crate::model::draft14::coding::Wire>)? $crate::model::draft14::coding::Wire for $type $(<$code>)? {
            fn read(
                r: &mut $crate::model::draft14::coding::Reader<'_>,
                _field: &'static str,
            ) -> Result<Self, $crate::model::draft14::coding::Stop> {
                Ok(Self {
                    $($member: $crate::model::draft14::coding::Wire::read(r, $name)?,)*
                })
            }

            fn write(
                &self,
                w: &mut $crate::model::draft14::coding::Writer<'_>,
                _field: &'static str,
            ) -> Result<(), $crate::model::EncodeError> {
                $($crate::model::draft14::coding::Wire::write(&self.$member, w, $name)?;)*
                Ok(())
            }
        }
    };
}
pub(super) use wire_fields;

/// A copy of `bytes` that keeps nothing else alive.
pub(super) fn owned(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
