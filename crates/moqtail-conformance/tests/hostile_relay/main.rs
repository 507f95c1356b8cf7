//! What a relay of bad will or bad make can do to our clients: nothing but cost them its session.
//!
//! Each test is a story of a raw relay that says to a client what no relay should. The client ends with a typed error that
//! says whose fault it was, or goes on; in bounded time and memory either way.

#![cfg(target_os = "linux")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests run in real time, spawn tasks that they wait for, and fail by panicking"
)]

mod answers;
mod legal;
mod malformed;
mod programs;
mod publisher;
mod setup;
mod streams;
#[path = "../hostile/vitals.rs"]
mod vitals;
mod world;

/// What a story gives.
type Story = Result<(), moqtail_conformance::Failure>;

/// Runs each story over raw QUIC and over WebTransport, as tests of their own.
macro_rules! over_both_carriers {
    ($($(#[$doc:meta])* async fn $name:ident($carrier:ident: $type:ty) $body:block)*) => {
        $(
            mod $name {
                use super::*;

                async fn story($carrier: $type) -> crate::Story $body

                $(#[$doc])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn over_quic() {
                    if let Err(failure) = story(moqtail_conformance::Carrier::Quic).await {
                        panic!("{failure}");
                    }
                }

                $(#[$doc])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn over_webtransport() {
                    if let Err(failure) = story(moqtail_conformance::Carrier::WebTransport).await {
                        panic!("{failure}");
                    }
                }
            }
        )*
    };
}
pub(crate) use over_both_carriers;
