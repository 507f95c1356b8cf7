//! Media over QUIC Transport (MOQT), draft 14.
//!
//! Read it in layers:
//!
//! - [`model`]: names, messages, objects, and their bytes.
//! - [`session`]: one peer of one session as a value, without I/O.
//! - [`track`]: the log of one track and who gets what of it, without I/O.
//! - [`transport`]: QUIC and WebTransport behind one trait.
//! - [`peer`]: drives a session and its data over a connection.
//! - [`client`]: publish and subscribe.
//! - [`relay`]: a relay to embed.
//!
//! `default-features = false` leaves the first three and the relay's core, on `bytes`, `thiserror` and `tracing` alone.
//!
//! # Publish
//!
//! What is published is delivered to those who have subscribed by then, and all of it when its subgroups are finished.
//!
//! ```
//! # use moqtail::{client::ClientConfig, relay::{Relay, RelayConfig}, transport::*};
//! # async fn publish(url: MoqtUrl, config: ClientConfig) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use moqtail::client::{Broadcast, Client, SubgroupOptions, TrackOptions};
//! use moqtail::model::Extensions;
//!
//! let broadcast = Broadcast::new("room/sensor".parse()?);
//! let track = broadcast.track("temperature", TrackOptions::default())?;
//! // `url` is like "moqt://relay.example:4443".parse()?, and `config` like ClientConfig::default().
//! let client = Client::connect(&url, config).await?;
//! let publication = client.publish(&broadcast).await?;
//!
//! let mut interest = track.track().interest();
//! interest.wait_for(|interest| interest.subscriptions > 0).await?;
//! let mut group = track.subgroup(SubgroupOptions::new(0))?;
//! group.object(0, &Extensions::default(), "21.5".into())?;
//! group.finish()?;
//!
//! drop(track); // The track has ended.
//! client.shutdown(Duration::from_secs(1)).await; // Once that has arrived.
//! # Ok(()) }
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let identity = Identity::generate(["localhost"])?;
//! # let config = ClientConfig::default().trust(Trust::Fingerprints(vec![identity.fingerprint()]));
//! # let listener = Listener::bind(ListenConfig::new("127.0.0.1:0".parse()?, identity))?;
//! # let url: MoqtUrl = format!("moqt://{}", listener.local_addr()).parse()?;
//! # let relay = Relay::new(RelayConfig::default());
//! # let viewer = async {
//! #     let client = moqtail::client::Client::connect(&url, config.clone()).await?;
//! #     let mut objects = loop {
//! #         // Until the track is announced.
//! #         match client.subscribe("room/sensor#temperature".parse()?, Default::default()).await {
//! #             Ok(subscription) => break subscription.into_objects(),
//! #             Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
//! #         }
//! #     };
//! #     let object = objects.next().await.expect("an object")?;
//! #     assert_eq!(object.payload, "21.5");
//! #     assert!(objects.next().await.is_none());
//! #     Ok(())
//! # };
//! # let both = async { tokio::try_join!(publish(url.clone(), config.clone()), viewer) };
//! # tokio::select! {
//! #     () = relay.serve(&listener) => Err("the relay ended".into()),
//! #     delivered = tokio::time::timeout(std::time::Duration::from_secs(30), both) => delivered?.map(|_| ()),
//! # }
//! # }
//! ```
//!
//! # Subscribe
//!
//! ```no_run
//! # async fn subscribe() -> Result<(), Box<dyn std::error::Error>> {
//! use moqtail::client::{Client, ClientConfig, SubscribeOptions};
//!
//! let client = Client::connect(&"https://relay.example/".parse()?, ClientConfig::default()).await?;
//! let subscription =
//!     client.subscribe("room/sensor#temperature".parse()?, SubscribeOptions::default()).await?;
//! let mut objects = subscription.into_objects();
//! while let Some(object) = objects.next().await {
//!     match object {
//!         Ok(object) => println!("{:?}", object.payload),
//!         // One stream ended early; the others go on.
//!         Err(error) => eprintln!("{error}"),
//!     }
//! }
//! # Ok(()) }
//! ```

#[cfg(feature = "net")]
pub mod client;
#[doc(hidden)]
pub mod fuzzing;
pub mod model;
#[cfg(feature = "net")]
pub mod peer;
pub mod relay;
pub mod session;
pub mod track;
#[cfg(feature = "net")]
pub mod transport;
