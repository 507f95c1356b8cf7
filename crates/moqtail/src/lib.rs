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
//! ```no_run
//! # async fn publish() -> Result<(), Box<dyn std::error::Error>> {
//! use moqtail::client::{Broadcast, Client, ClientConfig, SubgroupOptions, TrackOptions};
//! use moqtail::model::Extensions;
//!
//! let broadcast = Broadcast::new("room/sensor".parse()?);
//! let track = broadcast.track("temperature", TrackOptions::default())?;
//! let client = Client::connect(&"moqt://relay.example:4443".parse()?, ClientConfig::default()).await?;
//! let publication = client.publish(&broadcast).await?;
//! let mut group = track.subgroup(SubgroupOptions::new(0))?;
//! group.object(0, &Extensions::default(), "21.5".into())?;
//! # Ok(()) }
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
//!     println!("{:?}", object?.payload);
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
