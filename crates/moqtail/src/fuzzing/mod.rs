//! Bodies of fuzz targets and property tests: each takes any bytes and panics when the codec contradicts itself.
//!
//! Not a part of the API. [`arbitrary`] makes values out of bytes, so that one corpus drives fuzzing, property tests and
//! the comparison with another codec.

pub mod arbitrary;
mod integrity;
mod relay;
mod session;
mod track;

pub use relay::relay_operations;
pub use session::{session_legal, session_messages, session_operations};
pub use track::track_operations;

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};

use self::arbitrary::{Source, Stream};
use crate::model::{
    ControlDecoder, DecodeOptions, FetchDecoder, ObjectItem, ObjectLimits, StreamHeaderDecoder,
    SubgroupDecoder, SubgroupEncoder, decode_datagram, encode_control, encode_datagram,
    encode_fetch_object, encode_stream_header,
};
use crate::model::{
    ControlMessage, DecodeError, EncodeError, Location, ObjectHeader, StreamHeader, SubgroupHeader,
};

/// Bytes from a peer on the control stream: the same messages and the same error for every split, each message survives
/// encoding, and whoever tolerates deviations reads all that draft 14 allows, and nothing else of it.
pub fn control_message(data: &[u8]) {
    let whole = decode_control(data, &mut [data].into_iter(), STRICT);
    // One after the other, so that little is held at a time.
    for size in [1, data.len() / 3 + 1] {
        let split = decode_control(data, &mut data.chunks(size), STRICT);
        assert_eq!(whole, split, "the split changed the messages");
    }
    tolerated(data, &whole);
    for message in whole.0 {
        control_round_trip(&message);
    }
}

/// Values made of `data` survive encoding: a control message, a stream, a datagram, and a name as text.
pub fn value(data: &[u8]) {
    control_value(data);
    stream_value(data);
    datagram_value(data);
    let track = Source::new(data).track();
    assert_eq!(track.to_string().parse(), Ok(track));
}

/// A value made of `data` survives encoding.
pub fn control_value(data: &[u8]) {
    let mut source = Source::new(data);
    let kind = source.below(arbitrary::CONTROL_KINDS);
    control_round_trip(&source.control_message(kind));
}

/// What is read of `data` with all tolerances, beside what `strict` says.
fn tolerated(data: &[u8], strict: &(Vec<ControlMessage>, Option<DecodeError>)) {
    let (messages, error) = decode_control(data, &mut [data].into_iter(), TOLERANT);
    assert!(
        messages.starts_with(&strict.0),
        "a tolerance changed a message"
    );
    let ends_alike = messages.len() == strict.0.len() && error == strict.1;
    let deviation = strict.1.as_ref().and_then(DecodeError::tolerance);
    assert!(
        ends_alike || deviation.is_some(),
        "more than what is tolerated: {error:?}"
    );
}

fn control_round_trip(message: &ControlMessage) {
    let bytes = written(message, encode_control);
    let (messages, error) = decode_control(&bytes, &mut [&bytes[..]].into_iter(), STRICT);
    assert_eq!(error, None, "{message:?}");
    assert_eq!(messages, std::slice::from_ref(message));
}

const STRICT: DecodeOptions = DecodeOptions {
    allow_empty_namespace_prefix: false,
};

/// All tolerances.
const TOLERANT: DecodeOptions = DecodeOptions {
    allow_empty_namespace_prefix: true,
};

fn decode_control(
    data: &[u8],
    pieces: &mut dyn Iterator<Item = &[u8]>,
    options: DecodeOptions,
) -> (Vec<ControlMessage>, Option<DecodeError>) {
    let mut decoder = ControlDecoder::new(options);
    let mut messages = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => {
                    assert!(error.offset <= data.len() as u64, "{error}");
                    return (messages, Some(error));
                }
            }
        }
    }
    (messages, None)
}

/// Bytes of a unidirectional stream: the same objects, position and error for every split, and the objects survive
/// encoding.
pub fn data_stream(data: &[u8]) {
    let whole = decode_stream(&[Bytes::copy_from_slice(data)]);
    // Single bytes, but of long streams, which would take long.
    for size in [data.len() / 4096 + 1, data.len() / 3 + 1] {
        let pieces: Vec<_> = data.chunks(size).map(Bytes::copy_from_slice).collect();
        assert_eq!(
            whole,
            decode_stream(&pieces),
            "the split changed the objects"
        );
    }
    if let Some(stream) = whole.stream {
        stream_round_trip(&stream);
    }
}

/// The head of a stream in any two pieces, and byte by byte: the same head, and the same bytes after it.
pub fn stream_head(data: &[u8]) {
    // Longer than any head.
    let data = data.get(..64).unwrap_or(data);
    let whole = head_in([data]);
    for cut in 0..data.len() {
        let (front, back) = data.split_at(cut);
        assert_eq!(whole, head_in([front, back]), "cut at {cut}");
    }
    assert_eq!(whole, head_in(data.chunks(1)), "byte by byte");
    if let Ok(Some((header, rest))) = &whole {
        let bytes = written(header, encode_stream_header);
        assert!(
            bytes.len() + rest <= data.len(),
            "encoding is not the shortest"
        );
    }
}

/// The head that comes in these pieces, and how many bytes follow it.
fn head_in<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<(StreamHeader, usize)>, DecodeError> {
    let mut decoder = StreamHeaderDecoder::new();
    let mut head = None;
    let mut rest = 0;
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        if head.is_none() {
            head = decoder.decode(&mut input)?;
            assert!(head.is_some() || input.is_empty(), "bytes were left");
        }
        rest += input.len();
    }
    Ok(head.map(|head| (head, rest)))
}

/// A stream made of `data` survives encoding.
pub fn stream_value(data: &[u8]) {
    stream_round_trip(&Source::new(data).stream());
}

fn stream_round_trip(stream: &Stream) {
    if let Stream::Subgroup(header, objects) = stream {
        integrity::stream(header, objects);
    }
    let bytes = encode_stream(stream);
    let decoded = decode_stream(&[bytes]);
    assert_eq!(decoded.end, Ok(()), "{stream:?}");
    assert_eq!(decoded.stream.as_ref(), Some(stream));
}

/// The bytes of a whole stream.
pub fn encode_stream(stream: &Stream) -> Bytes {
    let mut out = BytesMut::new();
    match stream {
        Stream::Subgroup(header, objects) => {
            append(
                &StreamHeader::Subgroup(*header),
                encode_stream_header,
                &mut out,
            );
            let mut encoder = SubgroupEncoder::new(header);
            for (object, payload) in objects {
                let written = encoder.object(object, &mut out);
                assert_eq!(written, Ok(()), "{object:?}");
                out.extend_from_slice(payload);
            }
        }
        Stream::Fetch(header, objects) => {
            append(
                &StreamHeader::Fetch(*header),
                encode_stream_header,
                &mut out,
            );
            for (object, payload) in objects {
                append(object, encode_fetch_object, &mut out);
                out.extend_from_slice(payload);
            }
        }
    }
    out.freeze()
}

/// What a whole stream decodes to.
#[derive(Debug, PartialEq)]
pub struct DecodedStream {
    /// The header, and all objects that are complete.
    pub stream: Option<Stream>,
    /// Whether the stream could end there with FIN.
    pub end: Result<(), DecodeError>,
    /// Bytes taken after the header.
    pub position: u64,
}

/// Decodes a stream that comes in `pieces` and ends with FIN.
pub fn decode_stream(pieces: &[Bytes]) -> DecodedStream {
    let mut pieces = pieces.iter().cloned();
    let mut decoder = StreamHeaderDecoder::new();
    let failed = |error| DecodedStream {
        stream: None,
        end: Err(error),
        position: 0,
    };
    for mut input in pieces.by_ref() {
        let header = match decoder.decode(&mut input) {
            Err(error) => return failed(error),
            Ok(None) => continue,
            Ok(Some(header)) => header,
        };
        let rest = [input].into_iter().chain(pieces);
        return match header {
            StreamHeader::Subgroup(header) => {
                let rest: Vec<_> = rest.collect();
                let mut decoder = SubgroupDecoder::new(header, ObjectLimits::default());
                let (objects, end) =
                    decode_objects(rest.iter().cloned(), |input| decoder.decode(input));
                let end = end.and_then(|()| decoder.finish());
                let position = decoder.position();
                let framed = frames_of(header, &rest, &objects);
                assert_eq!(framed, (end.clone(), position), "frames are other objects");
                DecodedStream {
                    stream: Some(Stream::Subgroup(header, objects)),
                    end,
                    position,
                }
            }
            StreamHeader::Fetch(header) => {
                let mut decoder = FetchDecoder::new(ObjectLimits::default());
                let (objects, end) = decode_objects(rest, |input| decoder.decode(input));
                DecodedStream {
                    stream: Some(Stream::Fetch(header, objects)),
                    end: end.and_then(|()| decoder.finish()),
                    position: decoder.position(),
                }
            }
        };
    }
    DecodedStream {
        stream: None,
        end: decoder.finish(),
        position: 0,
    }
}

type Objects<H> = Vec<(H, Bytes)>;

/// All complete objects, and the error if there is one.
fn decode_objects<H>(
    pieces: impl Iterator<Item = Bytes>,
    mut decode: impl FnMut(&mut Bytes) -> Result<Option<ObjectItem<H>>, DecodeError>,
) -> (Objects<H>, Result<(), DecodeError>) {
    let mut objects = Vec::new();
    let mut open = None;
    for mut input in pieces {
        loop {
            match decode(&mut input) {
                Err(error) => return (objects, Err(error)),
                Ok(None) => break,
                Ok(Some(ObjectItem::Header { header, wire_len })) => {
                    assert!(wire_len > 0 && open.is_none(), "a header inside an object");
                    open = Some((header, BytesMut::new()));
                }
                Ok(Some(ObjectItem::Payload(piece))) => {
                    assert!(!piece.is_empty(), "an empty piece");
                    if let Some((_, payload)) = &mut open {
                        payload.extend_from_slice(&piece);
                    }
                }
                Ok(Some(ObjectItem::End)) => {
                    let ended = open
                        .take()
                        .map(|(header, payload)| (header, payload.freeze()));
                    assert!(ended.is_some(), "an end outside of an object");
                    objects.extend(ended);
                }
            }
        }
        assert!(input.is_empty(), "bytes were left");
    }
    (objects, Ok(()))
}

/// Reads a subgroup stream frame by frame, which are those of `objects` and at most one that is not complete: how it ends,
/// and the bytes taken.
fn frames_of(
    header: SubgroupHeader,
    pieces: &[Bytes],
    objects: &Objects<ObjectHeader>,
) -> (Result<(), DecodeError>, u64) {
    let bytes = pieces.concat();
    let mut decoder = SubgroupDecoder::new(header, ObjectLimits::default());
    let (mut count, mut end) = (0, 0);
    for piece in pieces {
        let mut input = &piece[..];
        loop {
            let frame = match decoder.next_frame(&mut input) {
                Err(error) => return (Err(error), decoder.position()),
                Ok(None) => break,
                Ok(Some(frame)) => frame,
            };
            assert_eq!(frame.start, end, "{frame:?}");
            end += frame.head_len() as u64 + frame.payload_len;
            let first = bytes.get(frame.start as usize).copied();
            assert_eq!(first.map(|byte| 1 << (byte >> 6)), Some(frame.delta_len));
            if let Some((object, _)) = objects.get(count) {
                let location = Location::new(header.group, object.object);
                let told = (frame.location, frame.status, frame.payload_len);
                assert_eq!(told, (location, object.status, object.payload_len));
                assert_eq!(frame.gaps(), object.extensions.gaps(location));
            }
            count += 1;
        }
        assert!(input.is_empty(), "bytes were left");
    }
    assert!(count.saturating_sub(objects.len()) <= 1 && count >= objects.len());
    (decoder.finish(), decoder.position())
}

/// A datagram survives encoding, and so do its extensions when taken apart.
pub fn datagram(data: &[u8]) {
    let Ok(datagram) = decode_datagram(Bytes::copy_from_slice(data)) else {
        return;
    };
    let pairs: Vec<_> = datagram.extensions.pairs().collect();
    let rebuilt = crate::model::Extensions::from_pairs(&pairs);
    let again = rebuilt.map(|extensions| extensions.pairs().collect::<Vec<_>>());
    assert_eq!(again, Ok(pairs));
    let _: Result<_, _> = datagram.extensions.prior_group_gap();
    integrity::datagram(&datagram);
    let bytes = written(&datagram, encode_datagram);
    assert!(bytes.len() <= data.len(), "encoding is not the shortest");
    assert_eq!(decode_datagram(bytes), Ok(datagram));
}

/// A datagram made of `data` survives encoding.
pub fn datagram_value(data: &[u8]) {
    let value = Source::new(data).datagram();
    assert_eq!(decode_datagram(written(&value, encode_datagram)), Ok(value));
}

type Encode<T> = fn(&T, &mut BytesMut) -> Result<(), EncodeError>;

fn append<T: Debug>(value: &T, encode: Encode<T>, out: &mut BytesMut) {
    let result = encode(value, out);
    assert_eq!(result, Ok(()), "{value:?}");
}

fn written<T: Debug>(value: &T, encode: Encode<T>) -> Bytes {
    let mut out = BytesMut::new();
    append(value, encode, &mut out);
    out.freeze()
}
