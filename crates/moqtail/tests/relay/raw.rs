//! A peer of the relay that speaks MOQT by hand over a transport with limits of its own, to do what our client would not.

use std::{future::poll_fn, pin::pin, task::Poll};

use bytes::{Bytes, BytesMut};
use moqtail::model::{
    ClientSetup, ControlDecoder, ControlMessage, DecodeOptions, Extensions, Filter, GroupOrder,
    Location, ObjectHeader, ObjectItem, ObjectLimits, ObjectStatus, Parameters, Publish,
    PublishDone, PublishErrorCode, PublishNamespace, RequestId, SetupParameter, SetupParameters,
    StreamHeader, StreamHeaderDecoder, SubgroupDecoder, SubgroupEncoder, SubgroupHeader,
    SubgroupId, Subscribe, SubscribeOk, TrackAlias, VERSION, encode_control, encode_stream_header,
};
use moqtail::transport::{
    CloseReason, Connection, MemoryConnection, QuicConnection, RecvStream, SendStream, StreamError,
    TransportKind,
};

use crate::patience::soon;

/// A connection to the relay, whatever carries it.
pub(crate) enum Link {
    Quic(QuicConnection),
    Memory(MemoryConnection),
}

macro_rules! on {
    ($link:expr, $connection:ident => $do:expr) => {
        match $link {
            Link::Quic($connection) => $do,
            Link::Memory($connection) => $do,
        }
    };
}

impl Link {
    async fn open_control(&self) -> (Box<dyn SendStream>, Box<dyn RecvStream>) {
        on!(self, connection => {
            let (send, recv) = connection.open_bi().await.unwrap();
            (Box::new(send), Box::new(recv))
        })
    }

    async fn accept_uni(&self) -> Box<dyn RecvStream> {
        on!(self, connection => Box::new(connection.accept_uni().await.unwrap()))
    }

    async fn open_uni(&self) -> Box<dyn SendStream> {
        on!(self, connection => {
            Box::new(poll_fn(|cx| connection.poll_open_uni(cx)).await.unwrap())
        })
    }

    fn kind(&self) -> TransportKind {
        on!(self, connection => connection.kind())
    }
}

/// A session by hand.
pub(crate) struct RawPeer {
    link: Link,
    send: Box<dyn SendStream>,
    recv: Box<dyn RecvStream>,
    decoder: ControlDecoder,
    next_request: u64,
}

impl RawPeer {
    /// Sets a session up.
    pub(crate) async fn over(link: Link) -> Self {
        let (send, recv) = link.open_control().await;
        let mut peer = Self {
            link,
            send,
            recv,
            decoder: ControlDecoder::new(DecodeOptions::default()),
            next_request: 0,
        };
        let mut parameters = vec![SetupParameter::MaxRequestId(1000)];
        if peer.link.kind() != TransportKind::WebTransport {
            parameters.push(SetupParameter::Path(Bytes::from_static(b"/")));
        }
        peer.say(ControlMessage::ClientSetup(ClientSetup {
            versions: vec![VERSION],
            parameters: SetupParameters(parameters),
        }))
        .await;
        let answer = peer.hear().await;
        assert!(
            matches!(answer, ControlMessage::ServerSetup(_)),
            "{answer:?}"
        );
        peer
    }

    pub(crate) async fn say(&mut self, message: ControlMessage) {
        let mut bytes = BytesMut::new();
        encode_control(&message, &mut bytes).unwrap();
        soon(
            "control bytes to go",
            write(&mut *self.send, bytes.freeze()),
        )
        .await
        .unwrap();
    }

    /// The next control message, but for grants of requests.
    pub(crate) async fn hear(&mut self) -> ControlMessage {
        loop {
            match self.decoder.next().unwrap() {
                Some(ControlMessage::MaxRequestId(_)) => {}
                Some(message) => return message,
                None => {
                    let read = poll_fn(|cx| self.recv.poll_read(cx, 1 << 16));
                    let bytes = soon("a control message", read).await.unwrap();
                    self.decoder.push(&bytes.expect("the session goes on"));
                }
            }
        }
    }

    fn request_id(&mut self) -> RequestId {
        let id = self.next_request;
        self.next_request += 2;
        RequestId(id)
    }

    /// Asks for a track; the next message, which need not be the answer.
    pub(crate) async fn ask(&mut self, track: &str, filter: Filter) -> (RequestId, ControlMessage) {
        let request_id = self.request_id();
        self.say(ControlMessage::Subscribe(Subscribe {
            request_id,
            track: track.parse().unwrap(),
            subscriber_priority: 128,
            group_order: None,
            forward: true,
            filter,
            parameters: Parameters::default(),
        }))
        .await;
        (request_id, self.hear().await)
    }

    /// Subscribes to a track of the broadcast `live`.
    pub(crate) async fn subscribe(&mut self, track: &str) -> SubscribeOk {
        self.subscribe_to(&format!("live#{track}"), Filter::LargestObject)
            .await
    }

    /// Subscribes to a track by its full name.
    pub(crate) async fn subscribe_to(&mut self, track: &str, filter: Filter) -> SubscribeOk {
        match self.ask(track, filter).await {
            (id, ControlMessage::SubscribeOk(ok)) if ok.request_id == id => ok,
            other => panic!("expected SUBSCRIBE_OK, got {other:?}"),
        }
    }

    /// A request and its answer: what was sent before is at the relay.
    pub(crate) async fn round_trip(&mut self) {
        match self.ask("nowhere#nothing", Filter::LargestObject).await {
            (id, ControlMessage::SubscribeError(error)) if error.request_id == id => {}
            other => panic!("expected SUBSCRIBE_ERROR, got {other:?}"),
        }
    }

    /// Announces a broadcast.
    pub(crate) async fn announce(&mut self, broadcast: &str) {
        let request_id = self.request_id();
        self.say(ControlMessage::PublishNamespace(PublishNamespace {
            request_id,
            namespace: broadcast.parse().unwrap(),
            parameters: Parameters::default(),
        }))
        .await;
        let answer = self.hear().await;
        assert_eq!(answer, ControlMessage::PublishNamespaceOk(request_id));
    }

    /// Offers a track by PUBLISH.
    pub(crate) async fn offer(&mut self, track: &str, alias: u64) -> Result<(), PublishErrorCode> {
        let request_id = self.begin_offer(track, alias, None).await;
        self.offer_answered(request_id).await
    }

    /// Sends PUBLISH for a track with this Largest Location.
    pub(crate) async fn begin_offer(
        &mut self,
        track: &str,
        alias: u64,
        largest: Option<Location>,
    ) -> RequestId {
        let request_id = self.request_id();
        self.say(ControlMessage::Publish(Publish {
            request_id,
            track: track.parse().unwrap(),
            track_alias: TrackAlias(alias),
            group_order: GroupOrder::Ascending,
            largest,
            forward: true,
            parameters: Parameters::default(),
        }))
        .await;
        request_id
    }

    /// Waits for the answer to PUBLISH.
    pub(crate) async fn offer_answered(
        &mut self,
        request_id: RequestId,
    ) -> Result<(), PublishErrorCode> {
        match self.hear().await {
            ControlMessage::PublishOk(ok) if ok.request_id == request_id => Ok(()),
            ControlMessage::PublishError(error) if error.request_id == request_id => {
                Err(error.code)
            }
            other => panic!("expected an answer to PUBLISH, got {other:?}"),
        }
    }

    /// Takes the relay's SUBSCRIBE for a track with this Largest Location.
    pub(crate) async fn accept_subscribe(&mut self, alias: u64, largest: Option<Location>) {
        let ControlMessage::Subscribe(request) = self.hear().await else {
            panic!("expected SUBSCRIBE");
        };
        self.say(ControlMessage::SubscribeOk(SubscribeOk {
            request_id: request.request_id,
            track_alias: TrackAlias(alias),
            expires_ms: 0,
            group_order: GroupOrder::Ascending,
            largest,
            parameters: Parameters::default(),
        }))
        .await;
    }

    /// Waits for PUBLISH_DONE.
    pub(crate) async fn done(&mut self) -> PublishDone {
        match self.hear().await {
            ControlMessage::PublishDone(done) => done,
            other => panic!("expected PUBLISH_DONE, got {other:?}"),
        }
    }

    /// The next data stream, its head read.
    pub(crate) async fn stream(&self) -> RawStream {
        soon("a stream", async {
            RawStream::read(self.link.accept_uni().await).await
        })
        .await
        .unwrap()
    }

    /// Sees that the relay has opened no further stream when a control message has gone there and back.
    pub(crate) async fn no_stream(&mut self) {
        self.round_trip().await;
        assert!(
            self.waiting_stream().await.is_none(),
            "a stream without credit"
        );
    }

    async fn waiting_stream(&self) -> Option<Box<dyn RecvStream>> {
        let mut accept = pin!(self.link.accept_uni());
        poll_fn(|cx| match accept.as_mut().poll(cx) {
            Poll::Ready(stream) => Poll::Ready(Some(stream)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    /// The streams that are here, but for those that were reset before their head could be read.
    pub(crate) async fn streams_left(&self) -> Vec<RawStream> {
        let mut streams = Vec::new();
        while let Some(recv) = self.waiting_stream().await {
            streams.extend(soon("a head", RawStream::read(recv)).await.ok());
        }
        streams
    }

    /// Opens a data stream.
    pub(crate) async fn open(&self) -> Box<dyn SendStream> {
        soon("stream credit", self.link.open_uni()).await
    }

    /// Streams that the relay may open beyond what is granted: room for HTTP/3 that our server does not use.
    pub(crate) fn spare_streams(&self) -> usize {
        match self.link.kind() {
            TransportKind::WebTransport => 2,
            _ => 0,
        }
    }

    /// Lets the relay have this many streams open.
    pub(crate) fn grant(&self, streams: u32) {
        on!(&self.link, connection => connection.set_max_incoming_uni(streams));
    }

    /// Closes the connection at once.
    pub(crate) fn close(&self) {
        on!(&self.link, connection => connection.close(0, ""));
    }

    /// Waits for the end of the connection.
    pub(crate) async fn closed(&self) -> CloseReason {
        soon("the end of the session", async {
            on!(&self.link, connection => connection.closed().await)
        })
        .await
    }
}

/// A data stream of the relay.
pub(crate) struct RawStream {
    pub(crate) header: SubgroupHeader,
    recv: Box<dyn RecvStream>,
    rest: Bytes,
    decoder: SubgroupDecoder,
}

/// An object as it stands on a stream.
pub(crate) type RawObject = (u64, Extensions, ObjectStatus, Bytes);

impl RawStream {
    async fn read(mut recv: Box<dyn RecvStream>) -> Result<Self, StreamError> {
        let mut decoder = StreamHeaderDecoder::new();
        loop {
            let mut rest = chunk(&mut *recv).await?.expect("a head");
            if let Some(header) = decoder.decode(&mut rest).unwrap() {
                let StreamHeader::Subgroup(header) = header else {
                    panic!("a subgroup stream");
                };
                let decoder = SubgroupDecoder::new(header, ObjectLimits::default());
                return Ok(Self {
                    header,
                    recv,
                    rest,
                    decoder,
                });
            }
        }
    }

    /// What the stream brings next; `None` is the FIN.
    pub(crate) async fn item(&mut self) -> Result<Option<ObjectItem<ObjectHeader>>, StreamError> {
        loop {
            if let Some(item) = self.decoder.decode(&mut self.rest).unwrap() {
                return Ok(Some(item));
            }
            match soon("bytes of a stream", chunk(&mut *self.recv)).await? {
                Some(bytes) => self.rest = bytes,
                None => {
                    self.decoder.finish().unwrap();
                    return Ok(None);
                }
            }
        }
    }

    /// The next whole object; `None` is the FIN.
    pub(crate) async fn object(&mut self) -> Result<Option<RawObject>, StreamError> {
        let Some(ObjectItem::Header { header, .. }) = self.item().await? else {
            return Ok(None);
        };
        let payload = self
            .payload(usize::try_from(header.payload_len).unwrap())
            .await?;
        match self.item().await? {
            Some(ObjectItem::End) => {}
            other => panic!("expected the end of the object, got {other:?}"),
        }
        Ok(Some((
            header.object,
            header.extensions,
            header.status,
            payload,
        )))
    }

    /// At least the next `len` bytes of the payload of the object that was begun.
    pub(crate) async fn payload(&mut self, len: usize) -> Result<Bytes, StreamError> {
        let mut payload = BytesMut::new();
        while payload.len() < len {
            match self.item().await? {
                Some(ObjectItem::Payload(bytes)) => payload.extend_from_slice(&bytes),
                other => panic!("expected payload, got {other:?}"),
            }
        }
        Ok(payload.freeze())
    }

    /// All objects up to the FIN.
    pub(crate) async fn objects(mut self) -> Result<Vec<RawObject>, StreamError> {
        let mut objects = Vec::new();
        while let Some(object) = self.object().await? {
            objects.push(object);
        }
        Ok(objects)
    }

    /// STOP_SENDING.
    pub(crate) fn stop(&mut self, code: u32) {
        self.recv.stop(code);
    }
}

async fn chunk(recv: &mut dyn RecvStream) -> Result<Option<Bytes>, StreamError> {
    poll_fn(|cx| recv.poll_read(cx, 1 << 20)).await
}

/// Writes all of `bytes`.
pub(crate) async fn write(send: &mut dyn SendStream, bytes: Bytes) -> Result<(), StreamError> {
    let mut chunks = [bytes];
    while !chunks[0].is_empty() {
        poll_fn(|cx| send.poll_write(cx, &mut chunks)).await?;
    }
    Ok(())
}

/// The header of subgroup 0 of `group`, with nothing special.
pub(crate) fn plain_header(alias: u64, group: u64) -> SubgroupHeader {
    SubgroupHeader {
        track_alias: TrackAlias(alias),
        group,
        subgroup: SubgroupId::Explicit(0),
        publisher_priority: 128,
        extensions: false,
        end_of_group: false,
    }
}

/// The bytes of a subgroup stream with these objects.
pub(crate) fn subgroup_bytes(header: &SubgroupHeader, objects: &[RawObject]) -> Bytes {
    let mut out = BytesMut::new();
    encode_stream_header(&StreamHeader::Subgroup(*header), &mut out).unwrap();
    let mut encoder = SubgroupEncoder::new(header);
    for (object, extensions, status, payload) in objects {
        let head = ObjectHeader {
            object: *object,
            extensions: extensions.clone(),
            status: *status,
            payload_len: payload.len() as u64,
        };
        encoder.object(&head, &mut out).unwrap();
        out.extend_from_slice(payload);
    }
    out.freeze()
}
