//! Objects on a fetch stream (draft-14 §10.4.4).

use bytes::{BufMut as _, Bytes, BytesMut};

use super::coding::{Reader, Stop, all_or_nothing, put_varint};
use super::head::ReadHead;
use super::object::{Fields, ObjectItem, ObjectLimits, ObjectReader, read_fields, write_fields};
use crate::model::{DecodeError, EncodeError, FetchObjectHeader};

/// Cuts a fetch stream, after its header, into objects. Splits of the bytes make no difference but in how payloads are
/// cut; payloads are shared, not copied. The first error is final.
#[derive(Debug)]
pub struct FetchDecoder {
    limits: ObjectLimits,
    objects: ObjectReader,
}

impl FetchDecoder {
    /// A decoder for what follows the stream's header.
    pub fn new(limits: ObjectLimits) -> Self {
        Self {
            limits,
            objects: ObjectReader::default(),
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
        let head = FetchedObject {
            limits: self.limits,
        };
        self.objects.next(input, &head, |place, object| {
            let (group, subgroup, publisher_priority) = place;
            FetchObjectHeader {
                group,
                subgroup,
                publisher_priority,
                object,
            }
        })
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

/// The head of an object on a fetch stream; its value is Group ID, Subgroup ID and Publisher Priority, and the fields.
struct FetchedObject {
    limits: ObjectLimits,
}

impl ReadHead for FetchedObject {
    type Value = ((u64, u64, u8), Fields);

    #[inline(always)]
    fn read(&self, r: &mut Reader<'_>) -> Result<Self::Value, Stop> {
        let group = r.varint("Group ID")?;
        let subgroup = r.varint("Subgroup ID")?;
        let object = r.varint("Object ID")?;
        let publisher_priority = r.byte("Publisher Priority")?;
        let fields = read_fields(r, &self.limits, object, true)?;
        Ok(((group, subgroup, publisher_priority), fields))
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
