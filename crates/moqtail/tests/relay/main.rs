//! A relay between our own clients, over every carrier.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod budget;
mod delivery;
mod fidelity;
mod filters;
mod joining;
mod lifecycle;
mod loops;
mod objects;
mod patience;
mod pieces;
mod raw;
mod readers;
mod refused;
mod silence;
mod told;
mod world;
