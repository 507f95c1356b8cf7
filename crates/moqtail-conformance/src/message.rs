//! A control message as a list of fields, so that each can be replaced, cut or blown up.

use bytes::Bytes;

use crate::{types, wire::varint};

/// What a field is for, which says how it can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A Request ID: any number can stand here, but few are in order.
    RequestId,
    /// A number without limits of its own.
    Number,
    /// The length of what follows.
    Length,
    /// How many elements follow.
    Count,
    /// One of a few values; all others break the draft.
    Choice,
    /// A byte of which every value is legal.
    Priority,
    /// Bytes whose length was told before.
    Raw,
}

/// One field as it stands on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in the draft.
    pub name: &'static str,
    /// What it is for.
    pub role: Role,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A control message that was not yet put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its name in the draft.
    pub name: &'static str,
    /// Its type.
    pub kind: u64,
    /// Its fields in order.
    pub fields: Vec<Field>,
}

/// A Key-Value-Pair (draft-14 §1.4.2) with a type of the right parity for its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pair<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
}

impl Message {
    /// A message without fields.
    pub fn new(name: &'static str, kind: u64) -> Self {
        Self {
            name,
            kind,
            fields: Vec::new(),
        }
    }

    fn field(mut self, name: &'static str, role: Role, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        self.fields.push(Field { name, role, bytes });
        self
    }

    /// With a Request ID.
    pub fn id(self, id: u64) -> Self {
        self.field("Request ID", Role::RequestId, varint(id))
    }

    /// With a number.
    pub fn number(self, name: &'static str, value: u64) -> Self {
        self.field(name, Role::Number, varint(value))
    }

    /// With a byte of few legal values.
    pub fn choice(self, name: &'static str, value: u8) -> Self {
        self.field(name, Role::Choice, [value])
    }

    /// With a number of few legal values.
    pub fn kind(self, name: &'static str, value: u64) -> Self {
        self.field(name, Role::Choice, varint(value))
    }

    /// With a priority.
    pub fn priority(self, value: u8) -> Self {
        self.field("Priority", Role::Priority, [value])
    }

    /// With bytes and their length.
    pub fn bytes(self, name: &'static str, value: &[u8]) -> Self {
        self.field(name, Role::Length, varint(value.len() as u64))
            .field(name, Role::Raw, value)
    }

    /// With a namespace or prefix.
    pub fn namespace(self, fields: &[&str]) -> Self {
        let name = "Track Namespace";
        let counted = self.field(name, Role::Count, varint(fields.len() as u64));
        fields.iter().fold(counted, |message, field| {
            message.bytes(name, field.as_bytes())
        })
    }

    /// With a Location.
    pub fn location(self, group: u64, object: u64) -> Self {
        self.number("Group", group).number("Object", object)
    }

    /// With the versions of CLIENT_SETUP.
    pub fn versions(self, versions: &[u64]) -> Self {
        let name = "Supported Version";
        let counted = self.field(name, Role::Count, varint(versions.len() as u64));
        versions
            .iter()
            .fold(counted, |message, version| message.number(name, *version))
    }

    /// With parameters.
    pub(crate) fn parameters(self, pairs: &[Pair<'_>]) -> Self {
        let name = "Parameters";
        let counted = self.field(name, Role::Count, varint(pairs.len() as u64));
        pairs.iter().fold(counted, |message, pair| match pair {
            Pair::Number(kind, value) => message
                .field("Parameter Type", Role::Raw, varint(*kind))
                .number(name, *value),
            Pair::Bytes(kind, value) => message
                .field("Parameter Type", Role::Raw, varint(*kind))
                .bytes(name, value),
        })
    }

    /// Whether it consumes a Request ID (draft-14 §9.1).
    pub fn is_request(&self) -> bool {
        matches!(
            self.kind,
            types::SUBSCRIBE
                | types::SUBSCRIBE_UPDATE
                | types::PUBLISH
                | types::FETCH
                | types::TRACK_STATUS
                | types::PUBLISH_NAMESPACE
                | types::SUBSCRIBE_NAMESPACE
        )
    }

    /// The fields without the frame.
    pub fn payload(&self) -> Vec<u8> {
        self.fields
            .iter()
            .flat_map(|field| field.bytes.iter().copied())
            .collect()
    }

    /// The whole message.
    pub fn encode(&self) -> Vec<u8> {
        frame(self.kind, &self.payload())
    }
}

impl From<Message> for Bytes {
    fn from(message: Message) -> Self {
        message.encode().into()
    }
}

/// A control message frame (draft-14 §9): type, length in 16 bits, payload. A payload over 65535 bytes gets a length
/// that is too small.
pub fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = varint(kind);
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(payload);
    out
}
