//! The HTTP/3 that WebTransport needs, as bytes that a test may also send in other shapes.

use bytes::{Bytes, BytesMut};
use web_transport_proto::{ConnectRequest, ConnectResponse, Settings};

use crate::{
    dial::Target,
    failure::{Close, Failure},
    wire::{Reader, prefixed, varint},
};

/// ALPN of HTTP/3.
pub const H3_ALPN: &str = "h3";

/// Type of a unidirectional WebTransport stream.
pub const UNI_STREAM: u64 = 0x54;

/// Signal at the start of a bidirectional WebTransport stream.
pub const BIDI_SIGNAL: u64 = 0x41;

/// Type of the capsule that closes a session.
pub const CAPSULE_CLOSE: u64 = 0x2843;

const DATA: u64 = 0x00;

/// Start of the HTTP/3 control stream: its type and SETTINGS that offer WebTransport.
pub fn settings() -> Vec<u8> {
    let mut settings = Settings::default();
    settings.enable_webtransport(1);
    let mut bytes = BytesMut::new();
    settings.encode(&mut bytes);
    bytes.to_vec()
}

/// HEADERS frame of the CONNECT request for `path`.
///
/// # Errors
/// Host and path make no URL.
pub fn request(host: &str, path: &str) -> Result<Vec<u8>, Failure> {
    let url: url::Url = format!("https://{host}{path}")
        .parse()
        .map_err(|error| Failure::transport("making a request", error))?;
    let mut bytes = Vec::new();
    ConnectRequest::new(url)
        .encode(&mut bytes)
        .map_err(|error| Failure::transport("making a request", error))?;
    Ok(bytes)
}

/// An HTTP/3 frame.
pub fn h3_frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    [varint(kind), prefixed(payload)].concat()
}

/// A capsule inside a DATA frame.
pub fn capsule(kind: u64, payload: &[u8]) -> Vec<u8> {
    h3_frame(DATA, &h3_frame(kind, payload))
}

/// The streams of an HTTP/3 client or server that has a WebTransport session.
#[derive(Debug)]
pub struct WebSession {
    /// Sending half of the request stream, or of its answer.
    pub request: quinn::SendStream,
    /// The HTTP/3 control stream.
    pub control: quinn::SendStream,
    answer: quinn::RecvStream,
    /// Read from the request stream and not yet cut into frames.
    unread: BytesMut,
    /// Payload of DATA frames, not yet cut into capsules.
    capsules: BytesMut,
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::transport("WebTransport", error)
}

/// Opens the HTTP/3 control stream and says its settings on it.
async fn own_settings(connection: &quinn::Connection) -> Result<quinn::SendStream, Failure> {
    let mut control = connection.open_uni().await.map_err(failed)?;
    control.write_all(&settings()).await.map_err(failed)?;
    Ok(control)
}

impl WebSession {
    /// Asks for a session and waits for the answer.
    ///
    /// # Errors
    /// It was refused.
    pub async fn open(connection: &quinn::Connection, target: &Target) -> Result<Self, Failure> {
        let control = own_settings(connection).await?;
        let (mut send, mut recv) = connection.open_bi().await.map_err(failed)?;
        send.write_all(&request(&target.host, &target.path)?)
            .await
            .map_err(failed)?;
        ConnectResponse::read(&mut recv).await.map_err(failed)?;
        Ok(Self {
            request: send,
            control,
            answer: recv,
            unread: BytesMut::new(),
            capsules: BytesMut::new(),
        })
    }

    /// As a server: waits for the request and grants it.
    ///
    /// # Errors
    /// None came.
    pub(crate) async fn accept(connection: &quinn::Connection) -> Result<Self, Failure> {
        let control = own_settings(connection).await?;
        let (mut send, mut recv) = connection.accept_bi().await.map_err(failed)?;
        let request = ConnectRequest::read(&mut recv).await.map_err(failed)?;
        let mut answer = ConnectResponse::OK;
        if let Some(protocol) = request.protocols.into_iter().next() {
            answer = answer.with_protocol(protocol);
        }
        answer.write(&mut send).await.map_err(failed)?;
        Ok(Self {
            request: send,
            control,
            answer: recv,
            unread: BytesMut::new(),
            capsules: BytesMut::new(),
        })
    }

    /// Waits for the capsule that closes the session; `None`: the stream ended without. Cancel safe.
    pub(crate) async fn closed(&mut self) -> Option<Close> {
        loop {
            if let Some(close) = self.close_capsule() {
                return Some(close);
            }
            match self.answer.read_chunk(usize::MAX, true).await {
                Ok(Some(chunk)) => self.unread.extend_from_slice(&chunk.bytes),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    fn close_capsule(&mut self) -> Option<Close> {
        while let Some((kind, payload)) = split(&mut self.unread) {
            if kind == DATA {
                self.capsules.extend_from_slice(&payload);
            }
        }
        while let Some((kind, payload)) = split(&mut self.capsules) {
            if kind != CAPSULE_CLOSE {
                continue;
            }
            let Some((code, reason)) = payload.split_first_chunk() else {
                return Some(Close::Below("a close capsule without a code".to_owned()));
            };
            return Some(Close::Code {
                code: u32::from_be_bytes(*code).into(),
                reason: String::from_utf8_lossy(reason).into_owned(),
            });
        }
        None
    }
}

/// Splits one frame or capsule off the front: type, length, value.
fn split(bytes: &mut BytesMut) -> Option<(u64, Bytes)> {
    let mut reader = Reader(bytes);
    let kind = reader.varint()?;
    let length = usize::try_from(reader.varint()?).ok()?;
    reader.bytes(length)?;
    let used = bytes.len() - reader.0.len();
    let whole = bytes.split_to(used).freeze();
    Some((kind, whole.slice(used - length..)))
}
