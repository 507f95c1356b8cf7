//! Objects on a fetch stream (draft-14 §10.4.4).

use bytes::{BufMut as _, Bytes, BytesMut};

use super::coding::{all_or_nothing, put_varint};
use super::object::{ObjectItem, ObjectLimits, ObjectReader, read_fields, write_fields};
use crate::model::{DecodeError, EncodeError, FetchObjectHeader};

/// Cuts a fetch stream, after its header, into objects. Splits of the bytes make no difference but in how payloads are
/// cut; payloads are shared, not copied. The first error is final.
#[derive(Debug)]
pub struct FetchDecoder {
    objects: ObjectReader,
}

impl FetchDecoder {
    /// A decoder for what follows the stream's header.
    pub fn new(limits: ObjectLimits) -> Self {
        Self {
            objects: ObjectReader::new(limits),
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
    ) -> Result<Option<ObjectItem<FetchObjectHeader>>, DecodeError> {
        self.objects.next(
            input,
            |r, limits| {
                let group = r.varint("Group ID")?;
                let subgroup = r.varint("Subgroup ID")?;
                let object = r.varint("Object ID")?;
                let publisher_priority = r.byte("Publisher Priority")?;
                let fields = read_fields(r, limits, object, true)?;
                Ok(((group, subgroup, publisher_priority), fields))
            },
            |(group, subgroup, publisher_priority), object| FetchObjectHeader {
                group,
                subgroup,
                publisher_priority,
                object,
            },
        )
    }

    /// Bytes of the stream taken since the end of its header; after an error, where the object with the error starts.
    pub fn position(&self) -> u64 {
        self.objects.position()
    }

    /// Whether the stream may end here with FIN.
    ///
    /// # Errors
    /// The stream ends inside an object (draft-14 §10.4), or there was an error before.
    pub fn finish(&self) -> Result<(), DecodeError> {
        self.objects.finish()
    }
}

/// Appends the header of an object on a fetch stream to `out`; the caller writes its payload after it.
///
/// # Errors
/// A number is over 2^62 - 1, a status has payload, or status 0x1 has extensions; nothing was appended.
pub fn encode_fetch_object(
    header: &FetchObjectHeader,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    all_or_nothing(out, |out| {
        put_varint(out, "Group ID", header.group)?;
        put_varint(out, "Subgroup ID", header.subgroup)?;
        put_varint(out, "Object ID", header.object.object)?;
        out.put_u8(header.publisher_priority);
        write_fields(out, &header.object, true)
    })
}
