//! Simulated peers, links and time, for tests of `moqtail`. Not published.
//!
//! - [`Endpoint`]: a session with everything that came out of it.
//! - [`Pair`]: two sessions joined by a link with delay, in virtual time, ruled by a seed.
//! - [`Scripted`]: one session and a peer that says whatever a test wants, right or wrong.
//! - [`messages`]: messages and answers with ordinary values.
//! - [`Frame`]: bytes of control messages that the codec would refuse to write.
//! - [`UdpProxy`]: loss, delay, reordering, outages and changing addresses between real programs, ruled by a seed.
//!
//! Time is virtual but for the last: it starts at some instant and moves only when a test says so. Same seed, same run.

mod endpoint;
mod frame;
pub mod messages;
mod pair;
mod rng;
mod scripted;
mod time;
mod udp;

pub use endpoint::Endpoint;
pub use frame::Frame;
pub use pair::{Link, Pair, Side};
pub use rng::Rng;
pub use scripted::Scripted;
pub use time::start_of_time;
pub use udp::{Counts, Direction, Fate, UdpProxy, Weather, WeatherStation};
