//! The WebTransport handshake on a fresh HTTP/3 connection: SETTINGS both ways, then one CONNECT request.

use std::{io, time::Duration};

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use web_transport_proto::{ConnectError, ConnectRequest, ConnectResponse, Frame, Settings, VarInt};

use super::{offer, request::WebRequest, web::Web};
use crate::transport::{ALPN, codes::H3_NO_ERROR, limits::MAX_HANDSHAKE_FRAME, prefix::SESSION_ID};

/// How long a refused client may take to read the answer.
const REFUSAL_GRACE: Duration = Duration::from_secs(1);

/// Why there is no WebTransport session.
#[derive(Debug, thiserror::Error)]
pub(in crate::transport) enum HandshakeError {
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
    #[error("the server answered with HTTP status {0}")]
    Status(u16),
    #[error("no session at path {0}")]
    Path(String),
    #[error("{0}")]
    Http3(String),
}

fn http3(what: &str, error: impl std::fmt::Display) -> HandshakeError {
    HandshakeError::Http3(format!("{what}: {error}"))
}

/// Streams that live as long as the session.
#[derive(Debug)]
pub(super) struct SessionStreams {
    pub(super) control_send: quinn::SendStream,
    pub(super) control_recv: quinn::RecvStream,
    pub(super) connect_send: quinn::SendStream,
    pub(super) connect_recv: quinn::RecvStream,
}

/// Server: answers the client's request, with 404 if `allow` does not know its path.
pub(super) async fn accept(
    conn: &quinn::Connection,
    web: &Web,
    allow: impl FnOnce(&str) -> bool,
) -> Result<(SessionStreams, WebRequest), HandshakeError> {
    let (control_send, control_recv) = exchange_settings(conn, web).await?;
    let (mut connect_send, mut connect_recv) = conn.accept_bi().await?;
    check_session_id(&connect_recv)?;
    let section = read_headers(&mut connect_recv)
        .await
        .map_err(|e| http3("no request", e))?;
    let request = offer::decode_request(&section).map_err(|e| http3("bad request", e))?;
    let url = &request.url;
    if !allow(url.path()) {
        let response = ConnectResponse::new(web_transport_proto::http::StatusCode::NOT_FOUND);
        response
            .write(&mut connect_send)
            .await
            .map_err(|e| http3("no answer", e))?;
        // Fails only if the client is gone, which is seen below.
        let _ = connect_send.finish();
        let _ = tokio::time::timeout(REFUSAL_GRACE, conn.closed()).await;
        conn.close(H3_NO_ERROR.into(), b"");
        return Err(HandshakeError::Path(url.path().to_owned()));
    }
    let mut response = ConnectResponse::OK;
    if request.protocols.iter().any(|offer| offer == ALPN) {
        response = response.with_protocol(ALPN);
    }
    response
        .write(&mut connect_send)
        .await
        .map_err(|e| http3("no answer", e))?;
    let asked = WebRequest::of(url);
    Ok((
        SessionStreams {
            control_send,
            control_recv,
            connect_send,
            connect_recv,
        },
        asked,
    ))
}

/// Client: asks for a session and waits for the answer.
pub(super) async fn connect(
    conn: &quinn::Connection,
    web: &Web,
    url: url::Url,
) -> Result<SessionStreams, HandshakeError> {
    let (control_send, control_recv) = exchange_settings(conn, web).await?;
    let (mut connect_send, mut connect_recv) = conn.open_bi().await?;
    check_session_id(&connect_recv)?;
    let request = ConnectRequest::new(url).with_protocol(ALPN);
    request
        .write(&mut connect_send)
        .await
        .map_err(|e| http3("no request", e))?;
    match ConnectResponse::read(&mut connect_recv).await {
        Ok(answer)
            if answer
                .protocol
                .as_deref()
                .is_none_or(|chosen| chosen == ALPN) =>
        {
            Ok(SessionStreams {
                control_send,
                control_recv,
                connect_send,
                connect_recv,
            })
        }
        Ok(_) => Err(HandshakeError::Http3(
            "the server chose a protocol not offered".to_owned(),
        )),
        Err(ConnectError::WrongStatus(Some(status))) => {
            Err(HandshakeError::Status(status.as_u16()))
        }
        Err(error) => Err(conn
            .close_reason()
            .map_or_else(|| http3("no answer", error), Into::into)),
    }
}

async fn exchange_settings(
    conn: &quinn::Connection,
    web: &Web,
) -> Result<(quinn::SendStream, quinn::RecvStream), HandshakeError> {
    let mut send = conn.open_uni().await?;
    let mut ours = Settings::default();
    ours.enable_webtransport(1);
    ours.write(&mut send)
        .await
        .map_err(|e| http3("no settings sent", e))?;
    let (recv, first) = web.control(conn).await?;
    // The decoder wants the stream type, which was read to recognise the stream.
    let mut head = io::Cursor::new(Bytes::from_static(&[0x00]))
        .chain(io::Cursor::new(first))
        .chain(recv);
    let theirs = Settings::read(&mut head)
        .await
        .map_err(|e| http3("no settings received", e))?;
    let (_, recv) = head.into_inner();
    if theirs.supports_webtransport() == 0 {
        return Err(HandshakeError::Http3(
            "the peer does not support WebTransport".to_owned(),
        ));
    }
    Ok((send, recv))
}

/// Stream heads and datagrams name the session by the id of this stream.
fn check_session_id(connect: &quinn::RecvStream) -> Result<(), HandshakeError> {
    match u64::from(quinn::VarInt::from(connect.id())) {
        SESSION_ID => Ok(()),
        id => Err(HandshakeError::Http3(format!(
            "the request came on stream {id}"
        ))),
    }
}

/// The field section of the first HEADERS frame; reserved frames before it are skipped.
async fn read_headers(recv: &mut quinn::RecvStream) -> io::Result<Vec<u8>> {
    loop {
        let typ = Frame(varint(recv).await?);
        let size = varint(recv).await?.into_inner();
        if size > MAX_HANDSHAKE_FRAME {
            return Err(io::Error::other(format!(
                "frame of {size} bytes is over {MAX_HANDSHAKE_FRAME}"
            )));
        }
        let mut payload = Vec::new();
        (&mut *recv).take(size).read_to_end(&mut payload).await?;
        if (payload.len() as u64) < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if typ == Frame::HEADERS {
            return Ok(payload);
        }
        if !typ.is_grease() {
            return Err(io::Error::other(format!(
                "frame {:#x} before the request",
                typ.0.into_inner()
            )));
        }
    }
}

async fn varint(recv: &mut quinn::RecvStream) -> io::Result<VarInt> {
    VarInt::read(recv)
        .await
        .map_err(|_| io::ErrorKind::UnexpectedEof.into())
}
