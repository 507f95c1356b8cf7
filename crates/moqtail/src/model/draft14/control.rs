//! The control stream: frames (draft-14 §9) and which value stands in which.

use bytes::BytesMut;

use super::DecodeOptions;
use super::coding::{Reader, Stop, Wire, Writer, all_or_nothing, invalid};
use super::message_type::{MessageType, for_each_message};
use crate::model::{ControlMessage, DecodeError, DecodeErrorKind, EncodeError};

/// Most bytes in the payload of a control message: Message Length has 16 bits (draft-14 §9).
pub const MAX_MESSAGE_LEN: usize = 65535;

macro_rules! dispatch {
    ($($type:literal $name:ident $variant:ident $($field:literal)?,)*) => {
        fn type_of(message: &ControlMessage) -> MessageType {
            match message {
                $(ControlMessage::$variant(_) => MessageType::$variant,)*
            }
        }

        fn read_payload(message: MessageType, r: &mut Reader<'_>) -> Result<ControlMessage, Stop> {
            match message {
                $(MessageType::$variant => Wire::read(r, concat!($($field)?)).map(ControlMessage::$variant),)*
            }
        }

        fn write_payload(message: &ControlMessage, w: &mut Writer<'_>) -> Result<(), EncodeError> {
            match message {
                $(ControlMessage::$variant(fields) => fields.write(w, concat!($($field)?)),)*
            }
        }

        impl ControlMessage {
            /// Name in the draft, such as `SUBSCRIBE_OK`.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => stringify!($name),)*
                }
            }
        }
    };
}

for_each_message!(dispatch);

/// Appends the whole frame of `message` to `out`.
///
/// Numbers are written in their shortest form.
///
/// # Errors
/// The value cannot be written in draft 14 or is longer than [`MAX_MESSAGE_LEN`]; nothing was appended.
pub fn encode_control(message: &ControlMessage, out: &mut BytesMut) -> Result<(), EncodeError> {
    all_or_nothing(out, |out| {
        let mut w = Writer::new(out);
        let message_type = type_of(message);
        w.message = Some(message_type);
        w.varint("Message Type", message_type.number())?;
        w.bytes(&[0, 0]);
        let start = w.len();
        write_payload(message, &mut w)?;
        let len = w.len() - start;
        // draft-14 §9
        let length = u16::try_from(len).map_err(|_| EncodeError::TooLong {
            field: "Message Payload",
            len,
            max: MAX_MESSAGE_LEN,
        })?;
        w.overwrite(start - 2, length.to_be_bytes());
        Ok(())
    })
}

/// Most bytes of memory that a control stream at rest keeps for its next message; most messages are far smaller.
const KEPT: usize = 512;

/// Takes control messages out of the bytes of the control stream, however these are split (draft-14 §9).
///
/// Push what was read, then call [`next`](Self::next) until it gives `None`; then less than one message, at most
/// [`MAX_MESSAGE_LEN`] bytes and its frame, is kept. The first error is final and is given again by every later call.
#[derive(Debug, Default)]
pub struct ControlDecoder {
    options: DecodeOptions,
    bytes: Vec<u8>,
    /// So many of `bytes` are messages that were given.
    taken: usize,
    failed: Option<DecodeError>,
}

impl ControlDecoder {
    /// A decoder at the start of a control stream.
    pub fn new(options: DecodeOptions) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// Adds bytes read from the control stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The next whole message; `None`: more bytes are needed.
    ///
    /// # Errors
    /// The peer broke draft 14; offsets count from the start of the message's frame.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would end at None"
    )]
    pub fn next(&mut self) -> Result<Option<ControlMessage>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let bytes = self.bytes.get(self.taken..).unwrap_or_default();
        match decode_frame(bytes, self.options) {
            Ok((message, len)) => {
                self.taken += len;
                if self.taken == self.bytes.len() {
                    self.forget_taken();
                }
                Ok(Some(message))
            }
            Err(Stop::Short { .. }) => {
                self.forget_taken();
                Ok(None)
            }
            Err(Stop::Invalid(error)) => {
                self.bytes = Vec::new();
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    fn forget_taken(&mut self) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
    }
}

/// The message at the start of `bytes` and the length of its frame.
fn decode_frame(bytes: &[u8], options: DecodeOptions) -> Result<(ControlMessage, usize), Stop> {
    let mut frame = Reader::new(bytes, 0);
    let number = frame.varint("Message Type")?;
    // draft-14 §9: said before the length is known to mean anything
    let message = MessageType::from_number(number)
        .ok_or_else(|| invalid("Message Type", 0, DecodeErrorKind::UnknownType(number)))?;
    let high = frame.byte("Message Length")?;
    let low = frame.byte("Message Length")?;
    let len = usize::from(u16::from_be_bytes([high, low]));
    let base = frame.offset();
    let mut r = Reader::new(frame.take("Message Payload", len)?, base);
    r.message = Some(message);
    r.options = options;
    // draft-14 §9: the fields must end where the message ends
    let decoded = read_payload(message, &mut r).map_err(|stop| Stop::Invalid(stop.at_end()))?;
    if !r.rest().is_empty() {
        let kind = DecodeErrorKind::TrailingBytes(r.rest().len());
        return Err(invalid("Message Payload", r.offset(), kind));
    }
    Ok((decoded, frame.consumed()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Goaway, MaxRequestId, SessionCode};

    fn decode(bytes: &[u8]) -> Result<Option<ControlMessage>, DecodeError> {
        let mut decoder = ControlDecoder::default();
        decoder.push(bytes);
        decoder.next()
    }

    /// S9.5-01, S9.4-01, S9-01.
    #[test]
    fn frames_have_a_sixteen_bit_length() {
        let mut out = BytesMut::new();
        encode_control(
            &ControlMessage::MaxRequestId(MaxRequestId { limit: 100 }),
            &mut out,
        )
        .unwrap();
        encode_control(
            &ControlMessage::Goaway(Goaway {
                new_session_uri: String::new(),
            }),
            &mut out,
        )
        .unwrap();
        assert_eq!(out[..], [0x15, 0, 2, 0x40, 0x64, 0x10, 0, 1, 0]);
    }

    /// S9-03.
    #[test]
    fn messages_come_out_of_any_split() {
        let bytes = [0x15, 0, 2, 0x40, 0x64, 0x17, 0, 1, 3];
        let mut decoder = ControlDecoder::default();
        let mut messages = Vec::new();
        for byte in bytes {
            decoder.push(&[byte]);
            messages.extend(decoder.next().unwrap());
        }
        assert_eq!(
            messages,
            [
                ControlMessage::MaxRequestId(MaxRequestId { limit: 100 }),
                ControlMessage::FetchCancel(crate::model::RequestId(3)),
            ]
        );
    }

    /// S9-04: also before the length has come.
    #[test]
    fn unknown_types_are_violations() {
        for head in [&[0x01][..], &[0x40, 0x40], &[0x40, 0x41], &[0x3f]] {
            let error = decode(head).unwrap_err();
            assert_eq!(error.field, "Message Type");
            assert_eq!(error.code(), SessionCode::PROTOCOL_VIOLATION);
        }
    }

    /// S9-05.
    #[test]
    fn fields_must_end_where_the_message_ends() {
        let long = decode(&[0x15, 0, 3, 0x40, 0x64, 0]).unwrap_err();
        assert_eq!(long.kind, DecodeErrorKind::TrailingBytes(1));
        let short = decode(&[0x15, 0, 1, 0x40]).unwrap_err();
        assert_eq!(
            (short.kind, short.field, short.offset),
            (DecodeErrorKind::UnexpectedEnd, "Request ID", 3)
        );
    }

    #[test]
    fn a_control_stream_at_rest_keeps_no_memory_of_its_largest_message() {
        let mut decoder = ControlDecoder::default();
        for len in [8000, 1] {
            let new_session_uri = "x".repeat(len);
            let message = ControlMessage::Goaway(Goaway { new_session_uri });
            let mut out = BytesMut::new();
            encode_control(&message, &mut out).unwrap();
            decoder.push(&out);
            assert_eq!(decoder.next(), Ok(Some(message)));
            let kept = decoder.bytes.capacity();
            assert!(kept <= KEPT && decoder.bytes.is_empty(), "{kept}");
        }
    }

    /// The first error is final.
    #[test]
    fn errors_stay() {
        let mut decoder = ControlDecoder::default();
        decoder.push(&[0x01]);
        let error = decoder.next().unwrap_err();
        decoder.push(&[0x15, 0, 1, 0]);
        assert_eq!(decoder.next(), Err(error));
    }

    /// S9-02: nothing is written of a message that is too long.
    #[test]
    fn long_messages_are_refused() {
        let mut out = BytesMut::from(&b"before"[..]);
        let versions = vec![crate::model::MAX_VARINT; 10_000];
        let parameters = crate::model::SetupParameters::default();
        let error = encode_control(
            &ControlMessage::ClientSetup(crate::model::ClientSetup {
                versions,
                parameters,
            }),
            &mut out,
        )
        .unwrap_err();
        assert!(
            matches!(error, EncodeError::TooLong { len: 80_003, .. }),
            "{error:?}"
        );
        assert_eq!(out[..], b"before"[..]);
    }
}
