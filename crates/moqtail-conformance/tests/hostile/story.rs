//! How a story is told: over both carriers, as tests of their own.

/// What a story gives.
pub(crate) type Story = Result<(), moqtail_conformance::Failure>;

/// Runs each story over raw QUIC and over WebTransport, as tests of their own.
macro_rules! over_both_carriers {
    ($($(#[$doc:meta])* async fn $name:ident($carrier:ident: $type:ty) $body:block)*) => {
        $(
            mod $name {
                use super::*;

                async fn story($carrier: $type) -> crate::story::Story $body

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
