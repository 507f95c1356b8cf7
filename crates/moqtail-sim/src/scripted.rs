//! A session under test and a peer that says what a test wants.

use std::time::Duration;

use bytes::BytesMut;
use moqtail::{
    model::{
        ControlDecoder, ControlMessage, DecodeOptions, Filter, SessionCode, SetupParameter,
        StreamHeader, Subscribe, encode_control,
    },
    session::{
        Carrier, Close, Event, RequestHandle, Role, SessionConfig, StreamKey, StreamVerdict,
        SubscribeOptions,
    },
};

use crate::{
    Endpoint,
    messages::{
        client_setup, server_setup, subscribe, subscribe_answer, subscribe_ok, subscribe_options,
    },
    start_of_time,
};

/// First MAX_REQUEST_ID of the scripted peer, if its setup is [`Scripted::server`] or [`Scripted::client`].
const LIMIT: u64 = 200;

/// A session and its scripted peer.
#[derive(Debug)]
pub struct Scripted {
    /// The session under test.
    pub endpoint: Endpoint,
    decoder: ControlDecoder,
    next_stream: u64,
}

impl Scripted {
    /// A session of this configuration, before any setup.
    ///
    /// # Panics
    /// The configuration cannot be written.
    pub fn new(config: SessionConfig) -> Self {
        Self {
            endpoint: Endpoint::new(config, start_of_time()).expect("valid configuration"),
            decoder: ControlDecoder::new(DecodeOptions::default()),
            next_stream: 0,
        }
    }

    /// Configuration of a client on raw QUIC.
    pub fn client_config() -> SessionConfig {
        let (authority, path) = ("relay.example:4443".to_owned(), "/live".to_owned());
        SessionConfig::new(Role::Client { authority, path }, Carrier::Raw)
    }

    /// Configuration of a server on raw QUIC.
    pub fn server_config() -> SessionConfig {
        SessionConfig::new(Role::Server, Carrier::Raw)
    }

    /// An established server session; the scripted peer is its client.
    pub fn server(config: SessionConfig) -> Self {
        Self::server_with_limit(config, LIMIT)
    }

    /// As [`Scripted::server`]; the scripted client gives this MAX_REQUEST_ID.
    ///
    /// # Panics
    /// The session does not accept it.
    pub fn server_with_limit(config: SessionConfig, limit: u64) -> Self {
        let mut this = Self::new(config);
        this.send(&client_setup(vec![SetupParameter::MaxRequestId(limit)]));
        this.endpoint
            .call(|session, _| session.accept_setup())
            .expect("SETUP to accept");
        this.established()
    }

    /// An established client session; the scripted peer is its server.
    pub fn client(config: SessionConfig) -> Self {
        Self::client_with_limit(config, LIMIT)
    }

    /// As [`Scripted::client`]; the scripted server gives this MAX_REQUEST_ID.
    ///
    /// # Panics
    /// The session does not accept it.
    pub fn client_with_limit(config: SessionConfig, limit: u64) -> Self {
        let mut this = Self::new(config);
        this.send(&server_setup(vec![SetupParameter::MaxRequestId(limit)]));
        this.established()
    }

    fn established(mut self) -> Self {
        assert!(
            self.endpoint.session.is_established(),
            "{:?}",
            self.endpoint.closed
        );
        self.endpoint.events();
        self.received();
        self
    }

    /// A client session that has sent SUBSCRIBE with Request ID 0 for `live#a`.
    ///
    /// # Panics
    /// The session does not send it.
    pub fn subscribing(filter: Filter) -> (Self, RequestHandle) {
        let mut this = Self::client(Self::client_config());
        let options = SubscribeOptions {
            filter,
            ..subscribe_options("live#a")
        };
        let handle = this
            .endpoint
            .call(|s, now| s.subscribe(options, now))
            .expect("first request");
        assert!(matches!(this.received_one(), ControlMessage::Subscribe(_)));
        (this, handle)
    }

    /// As [`Scripted::subscribing`], accepted with alias 1 at {7, 3}.
    ///
    /// # Panics
    /// The session does not take the answer.
    pub fn subscribed(filter: Filter) -> (Self, RequestHandle) {
        let (mut this, handle) = Self::subscribing(filter);
        this.send(&ControlMessage::SubscribeOk(subscribe_ok(0, 1)));
        assert!(matches!(this.event(), Event::SubscribeAccepted(_)));
        (this, handle)
    }

    /// A server session that was asked with Request ID 0 to serve `live#a`.
    ///
    /// # Panics
    /// The session does not ask the application.
    pub fn requested(filter: Filter) -> (Self, RequestHandle) {
        let mut this = Self::server(Self::server_config());
        this.send(&ControlMessage::Subscribe(Subscribe {
            filter,
            ..subscribe(0, "live#a")
        }));
        let Event::SubscribeRequested(request) = this.event() else {
            panic!("no request")
        };
        (this, request.handle)
    }

    /// As [`Scripted::requested`], accepted with alias 1 at {7, 3}.
    ///
    /// # Panics
    /// The session does not send the answer.
    pub fn serving(filter: Filter) -> (Self, RequestHandle) {
        let (mut this, handle) = Self::requested(filter);
        let accept = this
            .endpoint
            .call(|s, now| s.accept_subscribe(handle, subscribe_answer(1), now));
        assert_eq!(accept, Ok(()));
        assert!(matches!(
            this.received_one(),
            ControlMessage::SubscribeOk(_)
        ));
        (this, handle)
    }

    /// The peer sends a message.
    ///
    /// # Panics
    /// The message cannot be written; use [`Scripted::send_raw`] for wrong ones.
    pub fn send(&mut self, message: &ControlMessage) {
        let mut bytes = BytesMut::new();
        encode_control(message, &mut bytes).expect("message that can be written");
        self.endpoint.receive(&bytes);
    }

    /// The peer sends bytes on the control stream.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.endpoint.receive(bytes);
    }

    /// What the session has sent since the last call.
    ///
    /// # Panics
    /// The session sent what is not draft 14.
    pub fn received(&mut self) -> Vec<ControlMessage> {
        self.decoder
            .push(&std::mem::take(&mut self.endpoint.control));
        std::iter::from_fn(|| self.decoder.next().expect("draft 14 from the session")).collect()
    }

    /// The one message that the session has sent.
    ///
    /// # Panics
    /// It sent none or several.
    pub fn received_one(&mut self) -> ControlMessage {
        let mut received = self.received();
        assert_eq!(received.len(), 1, "{received:?}");
        received.remove(0)
    }

    /// The one event of the session.
    ///
    /// # Panics
    /// It told none or several.
    pub fn event(&mut self) -> Event {
        let mut events = self.endpoint.events();
        assert_eq!(
            events.len(),
            1,
            "{events:?}; closed: {:?}",
            self.endpoint.closed
        );
        events.remove(0)
    }

    /// How the session closed.
    ///
    /// # Panics
    /// It is open.
    pub fn closed(&self) -> &Close {
        self.endpoint.closed.as_ref().expect("closed session")
    }

    /// Checks that the session closed with this code, by the peer's fault.
    ///
    /// # Panics
    /// It is open or closed with another code.
    #[track_caller]
    pub fn assert_closed(&self, code: SessionCode) {
        let close = self.closed();
        assert_eq!(close.code, code, "{}", close.reason);
    }

    /// Checks that the session is open, said nothing and told nothing.
    ///
    /// # Panics
    /// It did something.
    #[track_caller]
    pub fn assert_quiet(&mut self) {
        assert_eq!(self.endpoint.closed, None);
        assert_eq!(self.endpoint.events(), []);
        assert_eq!(self.received(), []);
    }

    /// The peer opens a unidirectional stream with this header.
    pub fn open_stream(&mut self, header: &StreamHeader) -> (StreamKey, StreamVerdict) {
        let stream = self.open_stream_without_header();
        let verdict = self
            .endpoint
            .call(|s, now| s.stream_header(stream, header, now));
        (stream, verdict)
    }

    /// The peer opens a unidirectional stream and sends no whole header.
    ///
    /// # Panics
    /// The session refuses it.
    pub fn open_stream_without_header(&mut self) -> StreamKey {
        let stream = StreamKey(self.next_stream);
        self.next_stream += 1;
        assert!(
            self.endpoint
                .call(|s, now| s.inbound_stream_opened(stream, now)),
            "refused"
        );
        stream
    }

    /// The first bytes of a stream came, and not all of its header.
    pub fn begin_header(&mut self, stream: StreamKey) {
        self.endpoint
            .call(|session, now| session.inbound_stream_begun(stream, now));
    }

    /// A stream of the peer was read to its end.
    pub fn end_stream(&mut self, stream: StreamKey) {
        self.endpoint
            .call(|session, now| session.inbound_stream_ended(stream, now));
    }

    /// Time goes by.
    pub fn advance(&mut self, time: Duration) {
        self.endpoint.advance(time);
    }
}
