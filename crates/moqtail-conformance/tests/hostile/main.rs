//! What peers of bad will or bad make can do to a relay: nothing. And what it owes to those who keep the rules.
//!
//! Each test is a story of a raw peer against a relay, beside a watcher that publishes and subscribes and misses nothing.
//! After the story the relay has to be what it was before: see [`world::World::end`].

#![cfg(target_os = "linux")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests run in real time, spawn tasks that they wait for, and fail by panicking"
)]

mod caps;
mod carrier;
mod churn;
mod farewell;
mod floods;
mod legal;
mod logs;
mod malformed;
mod order;
mod readers;
mod silence;
mod strangers;
mod streams;
mod vitals;
mod watcher;
mod web;
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
