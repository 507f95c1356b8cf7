//! Control messages against the other codec.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use bytes::BytesMut;
use moqtail::fuzzing::arbitrary::{CONTROL_KINDS, Source};
use moqtail::model::ControlMessage;
use moqtail::model::draft14::encode_control;
use moqtail_oracle::generate::{Seeds, THEIR_KINDS, TheirSource};
use moqtail_oracle::known_differences::CONTROL;
use moqtail_oracle::report::Report;
use moqtail_oracle::{convert, decode_ours, decode_theirs, vectors};
use moqtap_codec::auth_token::AuthorizationToken;
use moqtap_codec::draft14::message::ControlMessage as Theirs;
use moqtap_codec::error::CodecError;
use moqtap_codec::kvp::{KeyValuePair, KvpValue};

const VALUES: usize = 120;
const MUTANTS: usize = 12;

fn encode_ours(message: &ControlMessage) -> Vec<u8> {
    let mut out = BytesMut::new();
    assert_eq!(encode_control(message, &mut out), Ok(()));
    out.to_vec()
}

/// Writes the tokens of a message in their shortest form, which ours does when it reads them.
fn with_short_tokens(mut message: Theirs) -> Theirs {
    let parameters = match &mut message {
        Theirs::ClientSetup(m) => &mut m.parameters,
        Theirs::ServerSetup(m) => &mut m.parameters,
        Theirs::Subscribe(m) => &mut m.parameters,
        Theirs::SubscribeUpdate(m) => &mut m.parameters,
        Theirs::Publish(m) => &mut m.parameters,
        Theirs::Fetch(m) => &mut m.parameters,
        Theirs::TrackStatus(m) => &mut m.parameters,
        Theirs::PublishNamespace(m) => &mut m.parameters,
        Theirs::SubscribeNamespace(m) => &mut m.parameters,
        _ => return message,
    };
    for KeyValuePair { key, value } in parameters {
        if let (3, KvpValue::Bytes(bytes)) = (key.into_inner(), value) {
            let token = AuthorizationToken::decode(3, bytes).unwrap();
            bytes.clear();
            token.encode(bytes).unwrap();
        }
    }
    message
}

/// Holds both verdicts on `bytes` together.
fn compare(kind: &str, bytes: &[u8], report: &mut Report) {
    let (ours, theirs) = match (decode_ours(bytes), decode_theirs(bytes)) {
        (None, None) => return,
        (Some(ours), Some(theirs)) => (ours, theirs),
        (ours, theirs) => panic!("{kind}: ours {ours:?}, theirs {theirs:?}: {bytes:02x?}"),
    };
    if let (Ok(ours), Ok(theirs)) = (&ours, &theirs) {
        assert_eq!(
            &convert::control_message(ours),
            &with_short_tokens(theirs.clone())
        );
    }
    if ours.is_ok() == theirs.is_ok() {
        return report.mutant(kind);
    }
    let known = CONTROL
        .iter()
        .find(|known| (known.applies)((&ours, &theirs)));
    let known = known.unwrap_or_else(|| panic!("ours {ours:?}, theirs {theirs:?}: {bytes:02x?}"));
    report.known(kind, known.name);
}

/// Property A of one message.
fn ours_to_theirs(message: &ControlMessage, report: &mut Report) -> Vec<u8> {
    let bytes = encode_ours(message);
    let value = convert::control_message(message);
    match decode_theirs(&bytes).expect("the frame is whole") {
        Ok(theirs) => {
            assert_eq!(theirs, value);
            report.value(message.name());
        }
        Err(_) => compare(message.name(), &bytes, report),
    }
    let mut again = Vec::new();
    match value.encode(&mut again) {
        Ok(()) => assert_eq!(again, bytes),
        // Theirs holds a sender to more than a receiver: no repetition even of unknown parameters, whose definition may
        // allow it, and what is listed for receivers.
        Err(
            CodecError::DuplicateParameter(_)
            | CodecError::InvalidRange(..)
            | CodecError::KeyValueFormatting { .. },
        ) => {}
        Err(error) => panic!("{error}: {message:?}"),
    }
    bytes
}

/// Property B of one message.
fn theirs_to_ours(message: &Theirs, report: &mut Report) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes).unwrap();
    let ours = decode_ours(&bytes).expect("the frame is whole");
    let ours = ours.unwrap_or_else(|error| panic!("{error}: {message:?}"));
    assert_eq!(&convert::control_message(&ours), message);
    assert_eq!(encode_ours(&ours), bytes);
    report.value(ours.name());
    bytes
}

#[test]
fn control_messages_agree() {
    let mut report = Report::default();
    let mut seeds = Seeds::new(14);
    for kind in 0..CONTROL_KINDS.max(THEIR_KINDS) {
        for _ in 0..VALUES {
            let seed = seeds.bytes();
            let mut frames = Vec::new();
            if kind < CONTROL_KINDS {
                let message = Source::new(&seed).control_message(kind);
                frames.push((message.name(), ours_to_theirs(&message, &mut report)));
            }
            let message = TheirSource(Source::new(&seed)).control_message(kind);
            let frame = theirs_to_ours(&message, &mut report);
            let name = decode_ours(&frame).unwrap().unwrap().name();
            frames.push((name, frame));
            for (name, frame) in frames {
                for _ in 0..MUTANTS {
                    compare(name, &seeds.damaged_frame(&frame), &mut report);
                    compare("any", &seeds.damaged(&frame), &mut report);
                }
            }
        }
    }
    for bytes in vectors(include_str!(
        "../../../crates/moqtail/tests/vectors/control.txt"
    )) {
        compare("vectors", &bytes, &mut report);
    }
    println!("{report}");
    let names = report.names();
    assert_eq!(names.len(), CONTROL_KINDS + 2, "{names:?}");
    let gaps: Vec<_> = report.gaps();
    assert_eq!(gaps, ["any", "vectors"], "types that were not compared");
    let listed: BTreeSet<_> = CONTROL.iter().map(|known| known.name).collect();
    assert_eq!(report.unused(&listed), [""; 0], "differences that are gone");
}
