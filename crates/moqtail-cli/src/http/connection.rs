//! One connection: plain or TLS, then requests.

use std::{io, net::SocketAddr};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::timeout,
};
use tokio_rustls::server::TlsStream;

use super::{
    limits::HttpLimits,
    pages::{elsewhere, pages},
    shown::Shown,
    tls::Tls,
};

/// First byte of a TLS connection: a handshake record (RFC 8446 §5.1). No HTTP method begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// What all connections of a listener are served from.
pub(super) struct Site {
    shown: watch::Receiver<Shown>,
    limits: HttpLimits,
    pages: Router,
    elsewhere: Router,
}

impl Site {
    pub(super) fn new(shown: watch::Receiver<Shown>, limits: HttpLimits) -> Self {
        Self {
            pages: pages(shown.clone()),
            elsewhere: elsewhere(),
            shown,
            limits,
        }
    }

    /// Serves one connection to its end.
    pub(super) async fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        let tls = self.shown.borrow().tls.clone();
        let Some(tls) = tls else {
            return self.requests(stream, &self.pages).await;
        };
        match timeout(self.limits.handshake_timeout, secure(stream, &tls)).await {
            Ok(Ok(Secured::Tls(stream))) => self.requests(*stream, &self.pages).await,
            // Programs of this machine ask for the fingerprint before they know a certificate.
            Ok(Ok(Secured::Plain(stream))) if peer.ip().to_canonical().is_loopback() => {
                self.requests(stream, &self.pages).await;
            }
            Ok(Ok(Secured::Plain(stream))) => self.requests(stream, &self.elsewhere).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS connection"),
            Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
        }
    }

    async fn requests<S>(&self, stream: S, pages: &Router)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = TowerToHyperService::new(pages.clone());
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.request_timeout)
            .max_buf_size(self.limits.request_bytes)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "an HTTP connection ended");
        }
    }
}

enum Secured {
    Tls(Box<TlsStream<TcpStream>>),
    Plain(TcpStream),
}

async fn secure(stream: TcpStream, tls: &Tls) -> io::Result<Secured> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    match first {
        [TLS_HANDSHAKE] => {
            let stream = tls.acceptor().accept(stream).await?;
            Ok(Secured::Tls(Box::new(stream)))
        }
        _ => Ok(Secured::Plain(stream)),
    }
}
