//! Reading the objects of one subgroup stream.

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};

use super::{Object, ReadError, gather::Part, inspection::StreamInspection};
use crate::{
    model::{
        DatagramBody, DecodeError, Location, ObjectDatagram, ObjectHeader, ObjectItem,
        ObjectLimits, SubgroupDecoder, SubgroupHeader,
    },
    peer::PeerHandle,
    transport::{RecvStream, StreamError},
};

/// Most bytes taken from the transport at once.
const READ: usize = 256 * 1024;

/// Objects of one subgroup, in order: whole ([`SubgroupReader::next_object`]) or in pieces
/// ([`SubgroupReader::open_object`]). Dropping it stops the stream with CANCELLED.
pub struct SubgroupReader {
    header: SubgroupHeader,
    /// `None` until the first object of a stream whose Subgroup ID is its first Object ID.
    subgroup: Option<u64>,
    decoder: SubgroupDecoder,
    /// Read and not yet decoded.
    unread: Bytes,
    stream: Source,
    peer: PeerHandle,
    max_object_len: u64,
    current: Option<Current>,
    /// What is gathered of it.
    held: Part,
    inspection: StreamInspection,
}

/// Where the bytes come from. Whoever waits for the end of a stream does so until it is dropped.
enum Source {
    Open(Box<dyn RecvStream>),
    Finished,
    Broken(StreamError),
}

/// The object that the stream is in.
struct Current {
    header: ObjectHeader,
    /// Bytes of its payload that were read.
    received: u64,
    /// Payload for [`SubgroupReader::next_object`]; `None`: the object is read in pieces, and what nobody takes of it is
    /// passed over.
    gathered: Option<Gathered>,
}

/// Payload put together; the only piece of one is not copied.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    all: BytesMut,
}

impl Gathered {
    fn push(&mut self, piece: Bytes) {
        if self.first.is_empty() && self.all.is_empty() {
            self.first = piece;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&piece);
    }

    fn into_bytes(self) -> Bytes {
        match self.all.is_empty() {
            true => self.first,
            false => self.all.freeze(),
        }
    }
}

impl SubgroupReader {
    pub(super) fn new(
        header: SubgroupHeader,
        stream: Box<dyn RecvStream>,
        peer: PeerHandle,
        max_object_len: u64,
        held: Part,
        inspection: StreamInspection,
    ) -> Self {
        let decoder = SubgroupDecoder::new(header, ObjectLimits::default());
        Self {
            header,
            subgroup: header.subgroup.told(),
            decoder,
            unread: Bytes::new(),
            stream: Source::Open(stream),
            peer,
            max_object_len,
            current: None,
            held,
            inspection,
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

    /// The next object, or `None` when the publisher finished the subgroup. An object that was opened and not read to its
    /// end is passed over.
    ///
    /// Cancel safe: dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ReadError`]. After [`ReadError::TooLarge`] and [`ReadError::TooMuchAtOnce`] the next call goes on behind that
    /// object; others are repeated.
    pub async fn next_object(&mut self) -> Result<Option<Object>, ReadError> {
        while let Some(item) = self.item().await? {
            match item {
                ObjectItem::Header { header, .. } => {
                    let (len, max) = (header.payload_len, self.max_object_len);
                    let gathered = (len <= max).then(Gathered::default);
                    self.begin(header, gathered);
                    if len > max {
                        return Err(ReadError::TooLarge { len, max });
                    }
                }
                ObjectItem::Payload(piece) => self.gather(piece)?,
                ObjectItem::End => {
                    self.held.clear();
                    if let Some(Current {
                        header,
                        gathered: Some(gathered),
                        ..
                    }) = self.current.take()
                    {
                        return Ok(Some(self.object(header, gathered.into_bytes())));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The next object as soon as its header is there, or `None` when the publisher finished the subgroup; its payload is
    /// read from the [`ObjectReader`]. An object that was opened before and not read to its end is passed over.
    ///
    /// This is for objects that are large, or that should be looked at before they are complete: nothing is gathered, the
    /// limits for what is ([`ClientLimits`](super::ClientLimits)) do not apply, and what is not taken waits at the sender.
    ///
    /// Cancel safe: dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ReadError::Stream`], [`ReadError::Partial`], [`ReadError::Malformed`] and [`ReadError::MalformedTrack`]; after one
    /// there is nothing more.
    pub async fn open_object(&mut self) -> Result<Option<ObjectReader<'_>>, ReadError> {
        // What a call of `next_object` that was dropped had of its object comes first.
        while self.gathered().is_none() {
            match self.item().await? {
                Some(ObjectItem::Header { header, .. }) => {
                    self.begin(header, Some(Gathered::default()));
                }
                Some(ObjectItem::Payload(_)) => {}
                Some(ObjectItem::End) => self.current = None,
                None => return Ok(None),
            }
        }
        self.held.clear();
        let opened = self.current.as_mut().and_then(|current| {
            let gathered = current.gathered.take()?;
            Some((current.header.clone(), gathered.into_bytes()))
        });
        Ok(opened.map(|(header, first)| ObjectReader {
            header,
            first,
            received: 0,
            ended: false,
            subgroup: self,
        }))
    }

    fn begin(&mut self, header: ObjectHeader, gathered: Option<Gathered>) {
        self.subgroup.get_or_insert(header.object);
        self.current = Some(Current {
            header,
            received: 0,
            gathered,
        });
    }

    /// Puts a piece to the others, if the object is to be whole.
    fn gather(&mut self, piece: Bytes) -> Result<(), ReadError> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        let Some(gathered) = &mut current.gathered else {
            return Ok(());
        };
        if piece.len() as u64 != current.header.payload_len
            && let Err(max) = self.held.add(piece.len())
        {
            current.gathered = None;
            self.held.clear();
            return Err(ReadError::TooMuchAtOnce { max });
        }
        gathered.push(piece);
        Ok(())
    }

    fn gathered(&mut self) -> Option<&mut Gathered> {
        self.current.as_mut()?.gathered.as_mut()
    }

    /// The next step through the stream; `None`: it ended between two objects. Cancel safe.
    async fn item(&mut self) -> Result<Option<ObjectItem<ObjectHeader>>, ReadError> {
        self.inspection.check()?;
        loop {
            match self.decoder.decode(&mut self.unread) {
                Ok(None) => {}
                Ok(Some(item)) => {
                    self.inspect(&item)?;
                    return Ok(Some(item));
                }
                Err(error) => return Err(self.malformed(error)),
            }
            let stream = match &mut self.stream {
                Source::Open(stream) => stream,
                Source::Finished => return self.finished(),
                Source::Broken(cause) => {
                    let cause = cause.clone();
                    return Err(self.broken_off(cause));
                }
            };
            match poll_fn(|cx| stream.poll_read(cx, READ)).await {
                Ok(Some(bytes)) => self.unread = bytes,
                Ok(None) => {
                    self.stream = Source::Finished;
                    return self.finished();
                }
                Err(cause) => self.stream = Source::Broken(cause),
            }
        }
    }

    /// What a FIN here means.
    fn finished<T>(&mut self) -> Result<Option<T>, ReadError> {
        // draft-14 §10.4: a FIN inside an object is a violation.
        match self.decoder.finish() {
            Ok(()) => self.inspection.finish().map(|()| None),
            Err(error) => Err(self.malformed(error)),
        }
    }

    fn inspect(&mut self, item: &ObjectItem<ObjectHeader>) -> Result<(), ReadError> {
        match item {
            ObjectItem::Header { header, .. } => self.inspection.begin(header),
            ObjectItem::Payload(piece) => {
                if let Some(current) = &mut self.current {
                    current.received += piece.len() as u64;
                }
                self.inspection.payload(piece);
                Ok(())
            }
            ObjectItem::End => self.inspection.end(),
        }
    }

    fn broken_off(&mut self, cause: StreamError) -> ReadError {
        let reason = match &self.current {
            None => cause.into(),
            Some(current) => ReadError::Partial {
                object: current.header.object,
                received: current.received,
                len: current.header.payload_len,
                cause,
            },
        };
        self.inspection.break_off(reason)
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

/// An object whose payload is read in pieces, from [`SubgroupReader::open_object`]. Dropping it before its end leaves the
/// subgroup usable: the rest of the object is passed over.
///
/// ```no_run
/// # use moqtail::client::{ReadError, SubgroupReader};
/// # async fn example(mut subgroup: SubgroupReader) -> Result<(), ReadError> {
/// while let Some(mut object) = subgroup.open_object().await? {
///     println!("object {} of {} bytes", object.location(), object.header().payload_len);
///     while let Some(piece) = object.chunk().await? {
///         println!("{} bytes, {} so far", piece.len(), object.received());
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ObjectReader<'a> {
    header: ObjectHeader,
    /// What was gathered before the object was opened.
    first: Bytes,
    received: u64,
    ended: bool,
    subgroup: &'a mut SubgroupReader,
}

impl ObjectReader<'_> {
    /// Object ID, extension headers, status and length of the payload.
    pub fn header(&self) -> &ObjectHeader {
        &self.header
    }

    /// Group and Object ID.
    pub fn location(&self) -> Location {
        Location::new(self.subgroup.group(), self.header.object)
    }

    /// Bytes of the payload that [`ObjectReader::chunk`] gave so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The next piece of the payload as the transport has it, never empty and never copied; `None` at the end of the
    /// object. Nothing is read ahead: as long as no piece is asked for, the stream's flow control holds its sender back.
    ///
    /// Cancel safe: dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ReadError::Partial`] when the publisher gives the object up or the connection is lost: the pieces given so far are
    /// all there is. [`ReadError::Malformed`] when the stream ends in the middle without a reset,
    /// [`ReadError::MalformedTrack`] when the object came before and was another one.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        let piece = match std::mem::take(&mut self.first) {
            none if none.is_empty() => self.read().await?,
            first => Some(first),
        };
        self.received += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok(piece)
    }

    async fn read(&mut self) -> Result<Option<Bytes>, ReadError> {
        if self.ended {
            return Ok(None);
        }
        if let Some(ObjectItem::Payload(piece)) = self.subgroup.item().await? {
            return Ok(Some(piece));
        }
        self.ended = true;
        self.subgroup.current = None;
        Ok(None)
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

#[cfg(test)]
mod tests;
