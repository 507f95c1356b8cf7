//! What is served, and what a plain request on the HTTPS port gets.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use tokio::sync::watch;

use super::shown::Shown;

/// Path of the fingerprint: SHA-256 of the certificate in hexadecimal digits.
pub(crate) const FINGERPRINT_PATH: &str = "/certificate.sha256";

/// The pages.
pub(super) fn pages(shown: watch::Receiver<Shown>) -> Router {
    Router::new()
        .route(FINGERPRINT_PATH, get(certificate))
        .route("/health", get(|| async { "ok\n" }))
        .with_state(shown)
}

/// Where the pages are, for who asked without TLS.
pub(super) fn elsewhere() -> Router {
    Router::new().fallback(redirect)
}

/// Pages of any origin may read it: a fingerprint is public.
async fn certificate(State(shown): State<watch::Receiver<Shown>>) -> impl IntoResponse {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
    ];
    let fingerprint = shown.borrow().fingerprint;
    (headers, format!("{fingerprint}\n"))
}

async fn redirect(headers: HeaderMap, uri: Uri) -> Response {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let Some(host) = host else {
        let text = "This port serves HTTPS: ask with https://.\n";
        return (StatusCode::BAD_REQUEST, text).into_response();
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Redirect::permanent(&format!("https://{host}{path}")).into_response()
}
