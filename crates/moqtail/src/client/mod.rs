//! Shell: async handles to publish and subscribe. Protocol decisions are made in [`crate::session`].
//!
//! A [`Client`] is one session. It subscribes to tracks ([`Client::subscribe`]) and publishes a [`Broadcast`]
//! ([`Client::publish`]); both at once is fine.

mod broadcast;
mod config;
mod ending;
mod error;
mod gather;
mod handler;
mod inspection;
mod limits;
mod object;
mod publication;
mod reader;
mod session;
mod subscription;
mod timeout;

pub use broadcast::{Broadcast, TrackError, TrackOptions};
pub use config::ClientConfig;
pub use ending::SubscriptionEnd;
pub use error::{ConnectError, PublishError, ReadError};
pub use limits::ClientLimits;
pub use object::Object;
pub use publication::Publication;
pub use reader::{ObjectReader, SubgroupReader};
pub use session::{Client, Farewell};
pub use subscription::{
    Incoming, Objects, SubscribeError, SubscribeOptions, Subscription, SubscriptionInfo,
};

pub use crate::peer::{Interest, LocalSubgroup, LocalTrack};
pub use crate::session::SubscriptionUpdate;
pub use crate::track::{IntegrityLimits, MalformedTrack, SubgroupOptions, WriteError};
