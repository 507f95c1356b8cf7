//! The start of a unidirectional stream (draft-14 §10.4).

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::coding::{Reader, Stop, all_or_nothing, invalid, put_varint};
use super::head::{HeadBuffer, ReadHead};
use crate::model::{
    DecodeError, DecodeErrorKind, EncodeError, FetchHeader, RequestId, StreamHeader,
    SubgroupHeader, SubgroupId, TrackAlias,
};

/// FETCH_HEADER (draft-14 §10.4.4).
const FETCH: u64 = 0x05;

/// SUBGROUP_HEADER is 0x10 and these bits; [`FIRST_OBJECT`] and [`EXPLICIT_ID`] exclude each other (draft-14 §10.4.2).
const SUBGROUP: u64 = 0x10;
const EXTENSIONS: u64 = 0x01;
const FIRST_OBJECT: u64 = 0x02;
const EXPLICIT_ID: u64 = 0x04;
const END_OF_GROUP: u64 = 0x08;

/// Takes the header off the start of one unidirectional stream, however its bytes are split.
#[derive(Debug, Default)]
pub struct StreamHeaderDecoder {
    head: HeadBuffer,
}

impl StreamHeaderDecoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the header and leaves what follows in `input`; `None`: all of `input` was taken and more is needed.
    ///
    /// # Errors
    /// A stream type that draft 14 does not have; offsets count from the start of the stream.
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Option<StreamHeader>, DecodeError> {
        let mut rest = &input[..];
        let head = self.head.read(&mut rest, 0, &Header)?;
        let (header, left) = (head.map(|head| head.value), rest.len());
        input.advance(input.len() - left);
        Ok(header)
    }

    /// Whether the stream may end here, which it may only before its first byte.
    ///
    /// # Errors
    /// The stream ends inside its header.
    pub fn finish(&self) -> Result<(), DecodeError> {
        self.head.at_end()
    }
}

/// The header of a unidirectional stream.
struct Header;

impl ReadHead for Header {
    type Value = StreamHeader;

    fn read(&self, r: &mut Reader<'_>) -> Result<StreamHeader, Stop> {
        let stream_type = r.varint("Stream Type")?;
        if stream_type == FETCH {
            return Ok(StreamHeader::Fetch(FetchHeader {
                request_id: RequestId(r.varint("Request ID")?),
            }));
        }
        let bits = stream_type ^ SUBGROUP;
        let subgroup = match bits & (FIRST_OBJECT | EXPLICIT_ID) {
            _ if bits > 0x0f => None,
            0 => Some(SubgroupId::Zero),
            FIRST_OBJECT => Some(SubgroupId::FirstObject),
            EXPLICIT_ID => Some(SubgroupId::Explicit(0)),
            _ => None,
        };
        // draft-14 §10.4
        let subgroup = subgroup
            .ok_or_else(|| invalid("Stream Type", 0, DecodeErrorKind::UnknownType(stream_type)))?;
        let track_alias = TrackAlias(r.varint("Track Alias")?);
        let group = r.varint("Group ID")?;
        let subgroup = match subgroup {
            SubgroupId::Explicit(_) => SubgroupId::Explicit(r.varint("Subgroup ID")?),
            other => other,
        };
        Ok(StreamHeader::Subgroup(SubgroupHeader {
            track_alias,
            group,
            subgroup,
            publisher_priority: r.byte("Publisher Priority")?,
            extensions: bits & EXTENSIONS != 0,
            end_of_group: bits & END_OF_GROUP != 0,
        }))
    }
}

/// Appends the header of a unidirectional stream to `out`.
///
/// # Errors
/// A number is over 2^62 - 1; nothing was appended.
pub fn encode_stream_header(header: &StreamHeader, out: &mut BytesMut) -> Result<(), EncodeError> {
    all_or_nothing(out, |out| match header {
        StreamHeader::Fetch(fetch) => {
            put_varint(out, "Stream Type", FETCH)?;
            put_varint(out, "Request ID", fetch.request_id.0)
        }
        StreamHeader::Subgroup(subgroup) => write_subgroup_header(subgroup, out),
    })
}

fn write_subgroup_header(header: &SubgroupHeader, out: &mut BytesMut) -> Result<(), EncodeError> {
    let (id_bits, explicit) = match header.subgroup {
        SubgroupId::Zero => (0, None),
        SubgroupId::FirstObject => (FIRST_OBJECT, None),
        SubgroupId::Explicit(id) => (EXPLICIT_ID, Some(id)),
    };
    let flag = |set: bool, bit: u64| if set { bit } else { 0 };
    let stream_type = SUBGROUP
        | id_bits
        | flag(header.extensions, EXTENSIONS)
        | flag(header.end_of_group, END_OF_GROUP);
    put_varint(out, "Stream Type", stream_type)?;
    put_varint(out, "Track Alias", header.track_alias.0)?;
    put_varint(out, "Group ID", header.group)?;
    if let Some(id) = explicit {
        put_varint(out, "Subgroup ID", id)?;
    }
    out.put_u8(header.publisher_priority);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S10-03, S10.4.2-02, S10-01: the sixteen numbers around SUBGROUP_HEADER and the rest.
    #[test]
    fn only_the_types_of_the_draft_are_known() {
        for stream_type in 0..0x40_u8 {
            let mut input = Bytes::copy_from_slice(&[stream_type, 1, 2, 3, 4]);
            let known = matches!(stream_type, 0x05 | 0x10..=0x15 | 0x18..=0x1D);
            match StreamHeaderDecoder::new().decode(&mut input) {
                Ok(header) => {
                    assert!(known, "{stream_type:#x}");
                    let mut out = BytesMut::new();
                    encode_stream_header(&header.unwrap(), &mut out).unwrap();
                    out.extend_from_slice(&input);
                    assert_eq!(out[..], [stream_type, 1, 2, 3, 4]);
                }
                Err(error) => {
                    assert!(!known, "{stream_type:#x}");
                    let kind = DecodeErrorKind::UnknownType(u64::from(stream_type));
                    assert_eq!(error.kind, kind);
                }
            }
        }
    }

    #[test]
    fn headers_come_out_of_any_split() {
        let bytes = [0x40, 0x15, 0x40, 0x07, 0x80, 0, 0, 9, 5, 200, 0xAA];
        let mut decoder = StreamHeaderDecoder::new();
        let mut header = None;
        for byte in bytes {
            let mut input = Bytes::copy_from_slice(&[byte]);
            if header.is_some() {
                assert_eq!(byte, 0xAA);
                continue;
            }
            header = decoder.decode(&mut input).unwrap();
            assert_eq!(decoder.finish().is_ok(), header.is_some());
        }
        let expected = SubgroupHeader {
            track_alias: TrackAlias(7),
            group: 9,
            subgroup: SubgroupId::Explicit(5),
            publisher_priority: 200,
            extensions: true,
            end_of_group: false,
        };
        assert_eq!(header, Some(StreamHeader::Subgroup(expected)));
    }
}
