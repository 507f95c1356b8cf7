//! A relay between our own clients, over every carrier.

mod delivery;
mod fidelity;
mod filters;
mod lifecycle;
mod world;
