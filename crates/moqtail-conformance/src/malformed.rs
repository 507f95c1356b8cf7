//! Ways to break a well-formed control message, generated from its fields.

use crate::{
    codes,
    message::{Message, Role, frame},
    wire::{HUGE, varint},
};

/// What has to come of a broken message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The session closes with this code.
    Close(u64),
    /// The bytes may make sense: an answer or a close of any code, but never silence.
    Reaction,
}

/// What follows the broken message on the control stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The stream stays open.
    Open,
    /// FIN.
    Fin,
}

/// A broken message.
#[derive(Clone, Debug)]
pub struct Variant {
    /// What is broken, for people.
    pub what: String,
    /// The bytes to send.
    pub bytes: Vec<u8>,
    /// What follows them.
    pub end: End,
    /// What has to come of it.
    pub expect: Expect,
}

/// Every way to break `message`: cut at each byte, something left over, and each field too large.
pub fn variants(message: &Message) -> Vec<Variant> {
    let violation = Expect::Close(codes::PROTOCOL_VIOLATION);
    let payload = message.payload();
    let variant = |what: String, bytes: Vec<u8>, expect| Variant {
        what: format!("{} {what}", message.name),
        bytes,
        end: End::Open,
        expect,
    };
    let mut all = Vec::new();
    for cut in 0..payload.len() {
        let bytes = frame(message.kind, &payload[..cut]);
        all.push(variant(format!("cut after {cut} bytes"), bytes, violation));
    }
    let mut longer = payload.clone();
    longer.push(0);
    let bytes = frame(message.kind, &longer);
    all.push(variant(
        "with a byte left over".to_owned(),
        bytes,
        violation,
    ));

    let mut unfinished = message.encode();
    unfinished.pop();
    all.push(Variant {
        end: End::Fin,
        ..variant(
            "without its last byte, then FIN".to_owned(),
            unfinished,
            violation,
        )
    });
    for (index, field) in message.fields.iter().enumerate() {
        let (values, expect): (Vec<Vec<u8>>, _) = match field.role {
            Role::Length | Role::Count => (
                vec![varint(HUGE), varint(1 << 40), varint(65_536)],
                violation,
            ),
            Role::Choice if field.bytes.len() == 1 && message.is_byte(index) => {
                (vec![vec![0xff]], violation)
            }
            Role::Choice => (vec![varint(HUGE)], violation),
            Role::RequestId | Role::Number => (vec![varint(HUGE)], Expect::Reaction),
            Role::Priority | Role::Raw => continue,
        };
        for value in values {
            let mut broken = message.clone();
            if let Some(field) = broken.fields.get_mut(index) {
                field.bytes.clone_from(&value);
            }
            let what = format!("with {} {value:x?} in field {index}", field.name);
            all.push(variant(what, broken.encode(), expect));
        }
    }
    all
}

impl Message {
    /// Whether the choice at `index` is a byte and not a number, which look the same when they are small.
    fn is_byte(&self, index: usize) -> bool {
        self.fields
            .get(index)
            .is_some_and(|field| !field.name.ends_with("Type"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages;

    #[test]
    fn a_message_is_cut_at_every_byte_and_blown_up_in_every_field() {
        let message = messages::unsubscribe(7);
        let all: Vec<_> = variants(&message)
            .into_iter()
            .map(|variant| (variant.bytes, variant.end))
            .collect();
        let huge = [&[0x0a, 0, 8][..], &[0xff; 8]].concat();
        assert_eq!(
            all,
            [
                (vec![0x0a, 0, 0], End::Open),
                (vec![0x0a, 0, 2, 7, 0], End::Open),
                (vec![0x0a, 0, 1], End::Fin),
                (huge, End::Open),
            ]
        );
    }
}
