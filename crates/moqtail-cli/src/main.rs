//! The `moqtail` command.
#![allow(dead_code, reason = "x")]
mod args;
mod config;
mod errors;
mod fingerprint;
mod http;
mod logging;
mod output;
mod signals;
mod status;
mod values;

fn main() {}
