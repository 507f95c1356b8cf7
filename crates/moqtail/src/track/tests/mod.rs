//! The data path without a network: publishers write a log, an engine delivers it to streams that are only vectors.

mod behind;
mod datagrams;
mod deliver;
mod epochs;
mod failover;
mod integrity;
mod join;
mod malformed;
mod memory;
mod merge;
mod random;
mod searches;
mod stalls;
mod support;
mod timeouts;
mod update;
mod waiting;
mod whole;
