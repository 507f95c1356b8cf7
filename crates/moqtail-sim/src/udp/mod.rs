//! A real UDP path with bad weather, between real programs.

mod direction;
mod flow;
mod proxy;
mod queue;
mod weather;

pub use direction::Direction;
pub use proxy::{Counts, UdpProxy};
pub use weather::{Fate, Weather, WeatherStation};
