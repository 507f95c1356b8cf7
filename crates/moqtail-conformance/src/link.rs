//! One connection, raw QUIC or WebTransport: how codes and stream heads look on it, and how it ends.

use web_transport_proto::{error_from_http3, error_to_http3};

use crate::{
    failure::{Close, Failure},
    web::{BIDI_SIGNAL, H3_ALPN, UNI_STREAM, WebSession},
    wire::varint,
};

/// What carries a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Raw QUIC, ALPN `moq-00`.
    Quic,
    /// WebTransport, ALPN `h3`.
    WebTransport,
}

impl Carrier {
    /// Its ALPN.
    pub fn alpn(self) -> &'static str {
        match self {
            Self::Quic => "moq-00",
            Self::WebTransport => H3_ALPN,
        }
    }

    /// What stands before the payload of a unidirectional stream.
    pub fn uni_head(self) -> Vec<u8> {
        self.head(UNI_STREAM)
    }

    /// What stands before the payload of a bidirectional stream.
    pub fn bidi_head(self) -> Vec<u8> {
        self.head(BIDI_SIGNAL)
    }

    /// What stands before the payload of a datagram: the quarter of the session's stream id.
    pub fn datagram_head(self) -> Vec<u8> {
        match self {
            Self::Quic => Vec::new(),
            Self::WebTransport => vec![0],
        }
    }

    fn head(self, kind: u64) -> Vec<u8> {
        match self {
            Self::Quic => Vec::new(),
            // The session's id is that of the first request stream.
            Self::WebTransport => [varint(kind), varint(0)].concat(),
        }
    }

    pub(crate) fn encode(self, code: u32) -> quinn::VarInt {
        match self {
            Self::Quic => code.into(),
            Self::WebTransport => {
                quinn::VarInt::from_u64(error_to_http3(code)).unwrap_or(quinn::VarInt::MAX)
            }
        }
    }

    /// `None`: not a MOQT code.
    pub(crate) fn decode(self, code: quinn::VarInt) -> Option<u64> {
        match self {
            Self::Quic => Some(code.into_inner()),
            Self::WebTransport => error_from_http3(code.into_inner()).map(u64::from),
        }
    }
}

/// A connection, and the WebTransport session on it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) carrier: Carrier,
    pub(crate) connection: quinn::Connection,
    pub(crate) web: Option<WebSession>,
}

impl Link {
    /// Waits for the end of the session. Cancel safe.
    pub(crate) async fn closed(&mut self) -> Close {
        if let Some(web) = &mut self.web
            && let Some(close) = web.closed().await
        {
            return close;
        }
        self.close_of(&self.connection.closed().await)
    }

    fn close_of(&self, error: &quinn::ConnectionError) -> Close {
        let quinn::ConnectionError::ApplicationClosed(close) = error else {
            return Close::Below(error.to_string());
        };
        match self.carrier.decode(close.error_code) {
            Some(code) => Close::Code {
                code,
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            None => Close::Below(format!("HTTP/3 code {:#x}", close.error_code.into_inner())),
        }
    }

    /// What went wrong with a stream: the end of the connection, if that is the cause.
    pub(crate) fn failed(&self, what: &'static str, error: impl std::fmt::Display) -> Failure {
        match self.connection.close_reason() {
            Some(reason) => Failure::Ended {
                close: self.close_of(&reason),
                instead: what.to_owned(),
            },
            None => Failure::transport(what, error),
        }
    }
}
