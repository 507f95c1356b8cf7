//! The relay's small HTTP side: the certificate's fingerprint for browsers and local clients, and a health check. With a
//! certificate from files it is HTTPS.

mod accept;
mod connection;
mod limits;
mod pages;
mod shown;
#[cfg(test)]
mod tests;
mod tls;

use std::{convert::Infallible, sync::Arc};

use tokio::{net::TcpListener, sync::watch};

use self::connection::Site;
pub(crate) use self::{
    limits::HttpLimits,
    pages::FINGERPRINT_PATH,
    shown::Shown,
    tls::{Tls, tls},
};

/// Serves `listener` until the future is dropped, which closes its connections.
pub(crate) async fn serve(
    listener: TcpListener,
    shown: watch::Receiver<Shown>,
    limits: HttpLimits,
) -> Infallible {
    let site = Arc::new(Site::new(shown, limits.clone()));
    accept::all(listener, &limits, |stream, peer| {
        let site = site.clone();
        async move { site.serve(stream, peer).await }
    })
    .await
}
