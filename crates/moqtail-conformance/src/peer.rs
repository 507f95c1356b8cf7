//! The scripted peer: sends what it is told, and says what came.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::{
    dial::{Target, dial_with},
    failure::{Close, Failure},
    link::{Carrier, Link},
    messages,
    patience::in_time,
    streams::{RawRecv, RawSend},
    types,
    web::{CAPSULE_CLOSE, UNI_STREAM, WebSession, capsule},
    wire::Reader,
};

/// A control message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u64,
    /// What stands after type and length.
    pub payload: Bytes,
}

impl Frame {
    /// The number at the start of the payload, which is a Request ID in most messages.
    pub fn first_number(&self) -> Option<u64> {
        Reader(&self.payload).varint()
    }
}

/// A peer that keeps no rule of MOQT: a client, or a server if it comes from [`RawListener`](crate::RawListener).
/// Dropping it closes the connection.
#[derive(Debug)]
pub struct RawPeer {
    link: Link,
    control: Option<(quinn::SendStream, quinn::RecvStream)>,
    /// Read from the control stream and not yet cut into messages.
    unread: BytesMut,
    /// Streams of HTTP/3 itself, which must not be closed.
    parked: Vec<quinn::RecvStream>,
    /// Exclusive limit of our Request IDs, as told last.
    limit: u64,
    _endpoint: quinn::Endpoint,
}

impl RawPeer {
    /// Connects, and no more: no control stream, no SETUP.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn connect(target: &Target, carrier: Carrier) -> Result<Self, Failure> {
        Self::connect_with(target, carrier, quinn::TransportConfig::default()).await
    }

    /// Connects with windows and limits of its own.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn connect_with(
        target: &Target,
        carrier: Carrier,
        transport: quinn::TransportConfig,
    ) -> Result<Self, Failure> {
        let connecting = async {
            let (endpoint, connection) = dial_with(target, carrier.alpn(), transport).await?;
            let web = match carrier {
                Carrier::Quic => None,
                Carrier::WebTransport => Some(WebSession::open(&connection, target).await?),
            };
            let link = Link {
                carrier,
                connection,
                web,
            };
            Ok(Self::over(link, endpoint))
        };
        in_time("a connection", connecting).await?
    }

    pub(crate) fn over(link: Link, endpoint: quinn::Endpoint) -> Self {
        Self {
            link,
            control: None,
            unread: BytesMut::new(),
            parked: Vec::new(),
            limit: 0,
            _endpoint: endpoint,
        }
    }

    /// Connects and exchanges SETUP.
    ///
    /// # Errors
    /// Something else came of it.
    pub async fn established(target: &Target, carrier: Carrier) -> Result<Self, Failure> {
        let mut peer = Self::connect(target, carrier).await?;
        peer.setup().await?;
        Ok(peer)
    }

    /// Opens the control stream, sends CLIENT_SETUP and waits for SERVER_SETUP.
    ///
    /// # Errors
    /// Something else came of it.
    pub async fn setup(&mut self) -> Result<(), Failure> {
        self.open_control().await?;
        self.send(messages::client_setup(messages::GENEROUS))
            .await?;
        self.expect(types::SERVER_SETUP).await?;
        Ok(())
    }

    /// Opens the control stream and says nothing on it; on WebTransport, the head of the stream is written.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn open_control(&mut self) -> Result<(), Failure> {
        self.control = Some(self.open_bi().await?);
        Ok(())
    }

    /// As a server: takes the control stream that the client opens, without its head.
    ///
    /// # Errors
    /// None came.
    pub async fn accept_control(&mut self) -> Result<(), Failure> {
        let what = "the control stream";
        let accepted = in_time(what, self.link.connection.accept_bi()).await?;
        let (send, mut recv) = accepted.map_err(|e| self.link.failed(what, e))?;
        let head = self.link.carrier.bidi_head();
        let mut read = vec![0; head.len()];
        let taken = in_time(what, recv.read_exact(&mut read)).await?;
        taken.map_err(|e| self.link.failed(what, e))?;
        if read != head {
            return Err(Failure::transport(
                what,
                format!("it begins with {read:x?}"),
            ));
        }
        self.control = Some((send, recv));
        Ok(())
    }

    /// As a server: takes the control stream and CLIENT_SETUP, and answers with this.
    ///
    /// # Errors
    /// Something else came.
    pub async fn answer_setup(&mut self, answer: impl Into<Bytes>) -> Result<(), Failure> {
        self.accept_control().await?;
        self.expect(types::CLIENT_SETUP).await?;
        self.send(answer).await
    }

    /// Opens another bidirectional stream of the session.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn open_bi(&mut self) -> Result<(quinn::SendStream, quinn::RecvStream), Failure> {
        let what = "opening a bidirectional stream";
        let opened = in_time(what, self.link.connection.open_bi()).await?;
        let (mut send, recv) = opened.map_err(|e| self.link.failed(what, e))?;
        let head = self.link.carrier.bidi_head();
        send.write_all(&head)
            .await
            .map_err(|e| self.link.failed(what, e))?;
        Ok((send, recv))
    }

    /// Sends bytes on the control stream.
    ///
    /// # Errors
    /// The session is closed.
    pub async fn send(&mut self, bytes: impl Into<Bytes>) -> Result<(), Failure> {
        let bytes = bytes.into();
        let (send, _) = self.control.as_mut().ok_or_else(no_control)?;
        let written = in_time("room on the control stream", send.write_all(&bytes)).await?;
        written.map_err(|e| self.link.failed("sending on the control stream", e))
    }

    /// Sends each byte in a packet of its own, as far as QUIC lets one say so.
    ///
    /// # Errors
    /// The session is closed.
    pub async fn send_bytewise(&mut self, bytes: impl Into<Bytes>) -> Result<(), Failure> {
        for byte in bytes.into() {
            self.send(vec![byte]).await?;
            // The connection's task sends what was written once this one waits.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// The sending half of the control stream, to finish or reset it. It is not sent on any more.
    ///
    /// # Errors
    /// There is no control stream.
    pub fn take_control(&mut self) -> Result<(quinn::SendStream, quinn::RecvStream), Failure> {
        self.control.take().ok_or_else(no_control)
    }

    /// The next control message.
    ///
    /// # Errors
    /// The session ended, or nothing came.
    pub async fn next_frame(&mut self, what: &str) -> Result<Frame, Failure> {
        in_time(what, self.read_frame(what)).await?
    }

    async fn read_frame(&mut self, what: &str) -> Result<Frame, Failure> {
        loop {
            if let Some(frame) = self.split_frame() {
                self.note_limit(&frame);
                return Ok(frame);
            }
            let (_, recv) = self.control.as_mut().ok_or_else(no_control)?;
            let close = tokio::select! {
                read = recv.read_chunk(usize::MAX, true) => match read {
                    Ok(Some(chunk)) => {
                        self.unread.extend_from_slice(&chunk.bytes);
                        continue;
                    }
                    Ok(None) | Err(_) => self.link.closed().await,
                },
                close = self.link.closed() => close,
            };
            let instead = what.to_owned();
            return Err(Failure::Ended { close, instead });
        }
    }

    fn split_frame(&mut self) -> Option<Frame> {
        let mut reader = Reader(&self.unread);
        let kind = reader.varint()?;
        let length = u16::from_be_bytes([reader.byte()?, reader.byte()?]).into();
        reader.bytes(length)?;
        let used = self.unread.len() - reader.0.len();
        self.unread.advance(used - length);
        let payload = self.unread.split_to(length).freeze();
        Some(Frame { kind, payload })
    }

    /// MAX_REQUEST_ID, as message or among the parameters of SETUP.
    fn note_limit(&mut self, frame: &Frame) {
        let mut reader = Reader(&frame.payload);
        let versions = match frame.kind {
            types::MAX_REQUEST_ID => {
                self.limit = reader.varint().unwrap_or(self.limit);
                return;
            }
            types::CLIENT_SETUP => reader.varint().unwrap_or(0),
            types::SERVER_SETUP => 1,
            _ => return,
        };
        for _ in 0..versions {
            if reader.varint().is_none() {
                return;
            }
        }
        let count = reader.varint().unwrap_or(0);
        for _ in 0..count {
            let Some(kind) = reader.varint() else { return };
            let Some(value) = reader.varint() else { return };
            if kind == 0x02 {
                self.limit = value;
            }
            if kind % 2 == 1
                && reader
                    .bytes(value.try_into().unwrap_or(usize::MAX))
                    .is_none()
            {
                return;
            }
        }
    }

    /// Exclusive limit of our Request IDs, as the target told it last.
    pub fn request_limit(&self) -> u64 {
        self.limit
    }

    /// Waits for a message of this type. MAX_REQUEST_ID may come at any time and is passed over.
    ///
    /// # Errors
    /// Something else came.
    pub async fn expect(&mut self, kind: u64) -> Result<Frame, Failure> {
        loop {
            let frame = self.next_frame(&format!("message {kind:#x}")).await?;
            if frame.kind == kind {
                return Ok(frame);
            }
            if frame.kind != types::MAX_REQUEST_ID {
                return Err(Failure::WrongMessage {
                    expected: kind,
                    got: frame.kind,
                    payload: frame.payload.to_vec(),
                });
            }
        }
    }

    /// Waits for a message of this type and passes over all others.
    ///
    /// # Errors
    /// The session ended, or none came.
    pub async fn expect_among(&mut self, kind: u64) -> Result<Frame, Failure> {
        let what = format!("message {kind:#x}");
        let found = async {
            loop {
                let frame = self.read_frame(&what).await?;
                if frame.kind == kind {
                    return Ok(frame);
                }
            }
        };
        in_time(&what, found).await?
    }

    /// Waits for the session to close with this code.
    ///
    /// # Errors
    /// It closed otherwise or not at all.
    pub async fn expect_close(&mut self, code: u64) -> Result<(), Failure> {
        let got = self.closed().await?;
        match got {
            Close::Code { code: came, .. } if came == code => Ok(()),
            got => Err(Failure::WrongClose {
                expected: code,
                got,
            }),
        }
    }

    /// Waits for the session to close in any way.
    ///
    /// # Errors
    /// It did not.
    pub async fn closed(&mut self) -> Result<Close, Failure> {
        in_time("the end of the session", self.link.closed()).await
    }

    /// Closes the session with a session termination code (draft-14 §3.4).
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn close(&mut self, code: u32, reason: &str) -> Result<(), Failure> {
        let Some(web) = &mut self.link.web else {
            self.link.connection.close(code.into(), reason.as_bytes());
            return Ok(());
        };
        let what = "closing the session";
        let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
        let written = web
            .request
            .write_all(&capsule(CAPSULE_CLOSE, &payload))
            .await;
        // Fails only on a stream that is over.
        let _ = web.request.finish();
        written.map_err(|e| Failure::transport(what, e))
    }

    /// Finds out whether the session still works: asks for a track that nobody has with the Request ID `id`, and waits
    /// for the refusal or the end of the session.
    ///
    /// # Errors
    /// Neither came.
    pub async fn reaction(&mut self, id: u64) -> Result<Option<Close>, Failure> {
        let asked = self
            .send(messages::subscribe(id, &["nobody"], "nothing"))
            .await;
        let answered = match asked {
            Ok(()) => self.expect_among(types::SUBSCRIBE_ERROR).await.map(|_| ()),
            Err(error) => Err(error),
        };
        match answered {
            Ok(()) => Ok(None),
            Err(Failure::Ended { .. }) => self.closed().await.map(Some),
            Err(other) => Err(other),
        }
    }

    /// Opens a unidirectional stream; on WebTransport, its head is written.
    ///
    /// # Errors
    /// The connection is gone or gives no credit.
    pub async fn open_uni(&self) -> Result<RawSend, Failure> {
        let mut stream = self.open_bare_uni().await?;
        stream.write(&self.link.carrier.uni_head()).await?;
        Ok(stream)
    }

    /// Opens a unidirectional stream without a byte on it.
    ///
    /// # Errors
    /// The connection is gone or gives no credit.
    pub async fn open_bare_uni(&self) -> Result<RawSend, Failure> {
        let what = "opening a stream";
        let opened = in_time(what, self.link.connection.open_uni()).await?;
        Ok(RawSend {
            carrier: self.link.carrier,
            stream: opened.map_err(|e| self.link.failed(what, e))?,
        })
    }

    /// Sends `bytes` as a unidirectional stream of its own.
    ///
    /// # Errors
    /// The connection is gone or gives no credit.
    pub async fn stream(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stream = self.open_uni().await?;
        stream.write(bytes).await?;
        stream.finish();
        Ok(())
    }

    /// The next unidirectional stream of the session from the target. One that is reset before its transport head is there
    /// is none of the session's, and passed over.
    ///
    /// # Errors
    /// None came.
    pub async fn accept_uni(&mut self) -> Result<RawRecv, Failure> {
        let what = "a stream";
        'streams: loop {
            let accepted = in_time(what, self.link.connection.accept_uni()).await?;
            let mut stream = accepted.map_err(|e| self.link.failed(what, e))?;
            let carrier = self.link.carrier;
            if carrier == Carrier::Quic {
                let first = Bytes::new();
                return Ok(RawRecv {
                    carrier,
                    stream,
                    first,
                });
            }
            let mut head = BytesMut::new();
            let (used, kind) = loop {
                let mut reader = Reader(&head);
                match (reader.varint(), reader.varint()) {
                    (Some(kind), _) if kind != UNI_STREAM => break (0, kind),
                    (Some(kind), Some(_)) => break (head.len() - reader.0.len(), kind),
                    _ => {}
                }
                let read = in_time(what, stream.read_chunk(usize::MAX, true)).await?;
                match read {
                    Ok(Some(chunk)) => head.extend_from_slice(&chunk.bytes),
                    Ok(None) => return Err(Failure::transport(what, "ended inside its head")),
                    Err(quinn::ReadError::Reset(_)) => continue 'streams,
                    Err(error) => return Err(self.link.failed(what, error)),
                }
            };
            if kind == UNI_STREAM {
                let first = head.split_off(used).freeze();
                return Ok(RawRecv {
                    carrier,
                    stream,
                    first,
                });
            }
            self.parked.push(stream);
        }
    }

    /// Sends a datagram of the session; waits for room, so that none is dropped here.
    ///
    /// # Errors
    /// The connection is gone or takes no datagrams.
    pub async fn datagram(&self, payload: &[u8]) -> Result<(), Failure> {
        let bytes = [&self.link.carrier.datagram_head(), payload].concat();
        let what = "sending a datagram";
        let sent = in_time(what, self.link.connection.send_datagram_wait(bytes.into())).await?;
        sent.map_err(|e| self.link.failed(what, e))
    }

    /// The connection underneath, for attacks on the carrier.
    pub fn connection(&self) -> &quinn::Connection {
        &self.link.connection
    }

    /// The HTTP/3 streams underneath, on WebTransport.
    pub fn web(&mut self) -> Option<&mut WebSession> {
        self.link.web.as_mut()
    }
}

fn no_control() -> Failure {
    Failure::transport("the control stream", "it is not open")
}
