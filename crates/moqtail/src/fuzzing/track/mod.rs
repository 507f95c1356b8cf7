//! One track driven by bytes: publishers that send subgroups in pieces, and readers whose streams have windows.
//!
//! What an object is follows from its location, whoever publishes it, and what has happened is told beside the log. So it
//! can be judged what each reader gets: only what it may get, and all that it must get.

mod content;
mod finale;
mod history;
mod judge;
mod log;
mod operations;
mod reader;
mod reading;
mod sending;
mod wake;
mod wire;
mod world;

use super::{arbitrary::Source, session::start};
use world::{Setting, World};

/// Operations that one input may ask for.
const MOST_STEPS: usize = 2000;

/// Operations of publishers and readers on one track.
pub fn track_operations(data: &[u8]) {
    let mut source = Source::new(data);
    let setting = Setting::new(source.byte(), source.byte());
    let mut world = World::new(setting, start());
    let mut steps = 0;
    while !source.is_empty() && steps < MOST_STEPS {
        steps += world.operate(&mut source);
    }
    world.end();
}
