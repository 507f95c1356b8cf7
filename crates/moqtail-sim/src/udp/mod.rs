//! A real UDP path with bad weather, between real programs.

mod flow;
mod proxy;
mod queue;
mod weather;

pub use proxy::{Counts, Direction, UdpProxy};
pub use weather::{Fate, Weather, WeatherStation};
