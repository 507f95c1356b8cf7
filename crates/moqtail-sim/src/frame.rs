//! Bytes of control messages, right or wrong.

/// Builds one control message field by field; the length is filled in (draft-14 §9).
#[derive(Clone, Debug)]
pub struct Frame {
    message_type: u64,
    payload: Vec<u8>,
}

impl Frame {
    /// A message of this type without fields.
    pub fn new(message_type: u64) -> Self {
        Self {
            message_type,
            payload: Vec::new(),
        }
    }

    /// Adds a variable-length integer in its shortest form.
    pub fn varint(mut self, value: u64) -> Self {
        put_varint(&mut self.payload, value);
        self
    }

    /// Adds one byte.
    pub fn byte(mut self, value: u8) -> Self {
        self.payload.push(value);
        self
    }

    /// Adds a length and bytes.
    pub fn bytes(mut self, value: &[u8]) -> Self {
        put_varint(&mut self.payload, value.len() as u64);
        self.payload.extend_from_slice(value);
        self
    }

    /// Adds a Track Namespace.
    pub fn namespace(self, fields: &[&str]) -> Self {
        let counted = self.varint(fields.len() as u64);
        fields
            .iter()
            .fold(counted, |frame, field| frame.bytes(field.as_bytes()))
    }

    /// The whole frame.
    ///
    /// # Panics
    /// The payload has more than 65535 bytes.
    pub fn build(self) -> Vec<u8> {
        let mut frame = Vec::new();
        put_varint(&mut frame, self.message_type);
        let length = u16::try_from(self.payload.len()).expect("payload of at most 65535 bytes");
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&self.payload);
        frame
    }
}

fn put_varint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..0x40 => out.push(value as u8),
        0x40..0x4000 => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        0x4000..0x4000_0000 => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(value | 0xC000_0000_0000_0000).to_be_bytes()),
    }
}
