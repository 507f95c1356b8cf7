//! Reading the objects of one subgroup stream.

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};

use super::{Object, gather::Part};
use crate::{
    model::{
        DatagramBody, DecodeError, ObjectDatagram, ObjectHeader, ObjectItem, ObjectLimits,
        SubgroupDecoder, SubgroupHeader, SubgroupId,
    },
    peer::PeerHandle,
    transport::{RecvStream, StreamError},
};

/// Most bytes taken from the transport at once.
const READ: usize = 256 * 1024;

/// Why a subgroup cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The publisher ended the stream early, or the connection is gone. Objects not yet read are lost with this stream.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The bytes are not draft 14. The session is being closed for it.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// The object is larger than [`super::ClientLimits::max_object_len`]; the stream is stopped.
    #[error(
        "object of {len} bytes is over the limit of {max} bytes; raise max_object_len to take it"
    )]
    TooLarge {
        /// Payload length of the object.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// The objects of this session that are not complete would hold more than
    /// [`super::ClientLimits::max_gathered`]; this one is given up, and the stream is stopped.
    #[error(
        "incomplete objects hold {max} bytes and no more; raise max_gathered to take more at once"
    )]
    TooMuchAtOnce {
        /// The limit, in bytes.
        max: u64,
    },
}

/// Objects of one subgroup, in order. Dropping it stops the stream with CANCELLED.
pub struct SubgroupReader {
    header: SubgroupHeader,
    /// `None` until the first object of a stream whose Subgroup ID is its first Object ID.
    subgroup: Option<u64>,
    decoder: SubgroupDecoder,
    /// Read and not yet decoded.
    unread: Bytes,
    stream: Box<dyn RecvStream>,
    peer: PeerHandle,
    max_object_len: u64,
    partial: Option<(ObjectHeader, BytesMut)>,
    whole: Option<Bytes>,
    /// What they hold.
    held: Part,
}

impl SubgroupReader {
    pub(super) fn new(
        header: SubgroupHeader,
        stream: Box<dyn RecvStream>,
        peer: PeerHandle,
        max_object_len: u64,
        held: Part,
    ) -> Self {
        let subgroup = match header.subgroup {
            SubgroupId::Zero => Some(0),
            SubgroupId::FirstObject => None,
            SubgroupId::Explicit(id) => Some(id),
        };
        let decoder = SubgroupDecoder::new(header, ObjectLimits::default());
        Self {
            header,
            subgroup,
            decoder,
            unread: Bytes::new(),
            stream,
            peer,
            max_object_len,
            partial: None,
            whole: None,
            held,
        }
    }

    /// The header of the stream.
    pub fn header(&self) -> &SubgroupHeader {
        &self.header
    }

    /// Group ID of every object here.
    pub fn group(&self) -> u64 {
        self.header.group
    }

    /// Subgroup ID; `None` before the first object of a stream that takes it from there.
    pub fn subgroup(&self) -> Option<u64> {
        self.subgroup
    }

    /// The next object, or `None` when the publisher finished the subgroup.
    ///
    /// Cancel safe: dropping the future loses nothing.
    pub async fn next_object(&mut self) -> Result<Option<Object>, ReadError> {
        loop {
            if let Some(object) = self.decode()? {
                return Ok(Some(object));
            }
            match poll_fn(|cx| self.stream.poll_read(cx, READ)).await? {
                Some(bytes) => self.unread = bytes,
                None => {
                    // draft-14 §10.4: a FIN inside an object is a violation.
                    if let Err(error) = self.decoder.finish() {
                        return Err(self.malformed(error));
                    }
                    return Ok(None);
                }
            }
        }
    }

    fn decode(&mut self) -> Result<Option<Object>, ReadError> {
        loop {
            match self.decoder.decode(&mut self.unread) {
                Ok(None) => return Ok(None),
                Ok(Some(ObjectItem::Header { header, .. })) => {
                    if header.payload_len > self.max_object_len {
                        let (len, max) = (header.payload_len, self.max_object_len);
                        return Err(ReadError::TooLarge { len, max });
                    }
                    self.subgroup.get_or_insert(header.object);
                    self.partial = Some((header, BytesMut::new()));
                    self.whole = None;
                }
                Ok(Some(ObjectItem::Payload(bytes))) => {
                    if let Some((header, gathered)) = &mut self.partial {
                        if gathered.is_empty() && bytes.len() as u64 == header.payload_len {
                            self.whole = Some(bytes);
                        } else if let Err(max) = self.held.add(bytes.len()) {
                            self.partial = None;
                            self.held.clear();
                            return Err(ReadError::TooMuchAtOnce { max });
                        } else {
                            gathered.extend_from_slice(&bytes);
                        }
                    }
                }
                Ok(Some(ObjectItem::End)) => {
                    self.held.clear();
                    if let Some((header, gathered)) = self.partial.take() {
                        let payload = self.whole.take().unwrap_or_else(|| gathered.freeze());
                        return Ok(Some(self.object(header, payload)));
                    }
                }
                Err(error) => return Err(self.malformed(error)),
            }
        }
    }

    fn object(&self, header: ObjectHeader, payload: Bytes) -> Object {
        Object {
            group: self.header.group,
            subgroup: self.subgroup,
            object: header.object,
            publisher_priority: self.header.publisher_priority,
            status: header.status,
            end_of_group: false,
            extensions: header.extensions,
            payload,
        }
    }

    fn malformed(&self, error: DecodeError) -> ReadError {
        self.peer.call(|session, _| session.data_error(&error));
        error.into()
    }
}

impl std::fmt::Debug for SubgroupReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubgroupReader")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl From<ObjectDatagram> for Object {
    fn from(datagram: ObjectDatagram) -> Self {
        let (status, payload) = match datagram.body {
            DatagramBody::Payload(payload) => (Default::default(), payload),
            DatagramBody::Status(status) => (status, Bytes::new()),
        };
        Self {
            group: datagram.group,
            subgroup: None,
            object: datagram.object,
            publisher_priority: datagram.publisher_priority,
            status,
            end_of_group: datagram.end_of_group,
            extensions: datagram.extensions,
            payload,
        }
    }
}
