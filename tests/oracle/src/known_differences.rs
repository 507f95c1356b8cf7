//! Where the two codecs may differ, which one follows the draft, and why. Reviewed by hand; an entry that no test meets
//! fails as well.

use moqtail::fuzzing::arbitrary::Stream;
use moqtail::model::{
    ControlMessage, DecodeError, DecodeErrorKind, Extensions, NameError, ObjectDatagram, Parameter,
    Parameters,
};
use moqtap_codec::draft14::data_stream::DatagramObject;
use moqtap_codec::draft14::message::ControlMessage as Theirs;
use moqtap_codec::error::CodecError;

/// Two verdicts that differ.
pub type Verdicts<'a, O, T> = (&'a Result<O, DecodeError>, &'a Result<T, CodecError>);

/// One reviewed difference.
pub struct Known<O, T> {
    /// Short name for the report.
    pub name: &'static str,
    /// Why ours is as it is.
    pub reason: &'static str,
    /// Whether two verdicts differ in this way.
    pub applies: fn(Verdicts<'_, O, T>) -> bool,
}

fn our_error<O, T>((ours, theirs): Verdicts<'_, O, T>) -> Option<&DecodeError> {
    match (ours, theirs) {
        (Err(error), Ok(_)) => Some(error),
        _ => None,
    }
}

/// Differences in control messages.
pub const CONTROL: &[Known<ControlMessage, Theirs>] = &[
    Known {
        name: "range that ends before it starts",
        reason: "draft-14 answers with INVALID_RANGE or closes by what the session knows (§9.7, §9.10, §9.16); the \
                 message itself is well formed",
        applies: |verdicts| matches!(verdicts, (Ok(_), Err(CodecError::InvalidRange(..)))),
    },
    Known {
        name: "no supported versions",
        reason: "draft-14 §9.3.1: the server closes with VERSION_NEGOTIATION_FAILED, which is the session's to say",
        applies: |verdicts| match verdicts {
            (Ok(ControlMessage::ClientSetup(setup)), Err(_)) => setup.versions.is_empty(),
            _ => false,
        },
    },
    Known {
        name: "parameter that the message does not define",
        reason: "draft-14 §9.2.1: it is ignored there, so neither its repetition nor its value can be wrong",
        applies: |(ours, theirs)| match (ours, theirs) {
            (
                Ok(message),
                Err(
                    CodecError::DuplicateParameter(key)
                    | CodecError::KeyValueFormatting { key, .. },
                ),
            ) => parameters(message).is_some_and(|parameters| {
                parameters.0.iter().any(
                    |parameter| matches!(parameter, Parameter::Unknown(pair) if pair.key() == *key),
                )
            }),
            _ => false,
        },
    },
    Known {
        name: "MOQT_IMPLEMENTATION twice",
        reason: "the draft prints its number as 0x05 by mistake; ours knows 0x07 and refuses its repetition (§9.2)",
        applies: |verdicts| {
            our_error(verdicts)
                .is_some_and(|error| error.kind == DecodeErrorKind::DuplicateParameter(7))
        },
    },
    Known {
        name: "text that is not UTF-8",
        reason: "draft-14 §1.4.3 and §9.4 define text; theirs keeps the bytes",
        applies: |verdicts| {
            our_error(verdicts).is_some_and(|error| error.kind == DecodeErrorKind::NotUtf8)
        },
    },
    Known {
        name: "End Of Track above 1",
        reason: "draft-14 §9.17 defines 0 and 1 only",
        applies: |verdicts| our_error(verdicts).is_some_and(|error| error.field == "End Of Track"),
    },
    Known {
        name: "namespace over 4096 bytes without a track name",
        reason: "no track name could follow it (§2.4.1), so it is refused at once",
        applies: |verdicts| {
            our_error(verdicts).is_some_and(|error| {
                matches!(error.kind, DecodeErrorKind::Name(NameError::TooLong(_)))
            })
        },
    },
];

fn parameters(message: &ControlMessage) -> Option<&Parameters> {
    use ControlMessage as M;
    Some(match message {
        M::Subscribe(m) | M::TrackStatus(m) => &m.parameters,
        M::SubscribeOk(m) | M::TrackStatusOk(m) => &m.parameters,
        M::SubscribeUpdate(m) => &m.parameters,
        M::Publish(m) => &m.parameters,
        M::PublishOk(m) => &m.parameters,
        M::Fetch(m) => &m.parameters,
        M::FetchOk(m) => &m.parameters,
        M::PublishNamespace(m) => &m.parameters,
        M::SubscribeNamespace(m) => &m.parameters,
        _ => return None,
    })
}

const EXTENSIONS_NOT_PAIRS: &str = "extension headers that are no pairs";
const NOT_PAIRS_REASON: &str = "draft-14 §10.2.1.2: extension headers are Key-Value-Pairs; theirs looks inside on subgroup streams only";

/// Differences in data streams.
pub const STREAMS: &[Known<Stream, ()>] = &[
    Known {
        name: EXTENSIONS_NOT_PAIRS,
        reason: NOT_PAIRS_REASON,
        applies: |verdicts| {
            our_error(verdicts).is_some_and(|error| error.field == "Extension headers")
        },
    },
    Known {
        name: "broken Immutable Extensions",
        reason: "draft-14 §11.2 makes the track malformed, which is no error of the stream; ours tells it apart",
        applies: |verdicts| match verdicts {
            (
                Ok(Stream::Subgroup(_, objects)),
                Err(CodecError::MalformedObjectProperties { .. } | CodecError::Kvp(_)),
            ) => objects
                .iter()
                .any(|(object, _)| is_malformed(&object.extensions)),
            _ => false,
        },
    },
];

fn is_malformed(extensions: &Extensions) -> bool {
    extensions.immutable().any(|inner| inner.is_err())
}

/// Differences in datagrams.
pub const DATAGRAMS: &[Known<ObjectDatagram, DatagramObject>] = &[
    Known {
        name: EXTENSIONS_NOT_PAIRS,
        reason: NOT_PAIRS_REASON,
        applies: |verdicts| {
            our_error(verdicts).is_some_and(|error| error.field == "Extension headers")
        },
    },
    Known {
        name: "bytes after a status",
        reason: "draft-14 §10.2.1.1: an object with a status has no payload; theirs leaves the bytes unread",
        applies: |verdicts| {
            our_error(verdicts)
                .is_some_and(|error| matches!(error.kind, DecodeErrorKind::TrailingBytes(_)))
        },
    },
];
