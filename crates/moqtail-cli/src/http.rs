//! The relay's small HTTP side: the certificate's fingerprint for browsers and local clients, and a health check.

use std::{future::Future, io, sync::Arc};

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use tokio::net::TcpListener;

use crate::values::Fingerprint;

/// Path of the fingerprint: SHA-256 of the certificate in hexadecimal digits.
pub(crate) const FINGERPRINT_PATH: &str = "/certificate.sha256";

/// Tells the fingerprint of the certificate in use now.
pub(crate) type CurrentFingerprint = Arc<dyn Fn() -> Fingerprint + Send + Sync>;

/// Serves HTTP on `listener` until `end` is ready; open requests are finished first.
pub(crate) async fn serve(
    listener: TcpListener,
    fingerprint: CurrentFingerprint,
    end: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(fingerprint))
        .with_graceful_shutdown(end)
        .await
}

fn router(fingerprint: CurrentFingerprint) -> Router {
    Router::new()
        .route(FINGERPRINT_PATH, get(certificate))
        .route("/health", get(|| async { "ok\n" }))
        .with_state(fingerprint)
}

/// Pages of any origin may read it: a fingerprint is public.
async fn certificate(State(fingerprint): State<CurrentFingerprint>) -> impl IntoResponse {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
    ];
    (headers, format!("{}\n", fingerprint()))
}
