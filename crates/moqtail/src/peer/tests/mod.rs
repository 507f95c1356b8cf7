//! The data path over connections in memory: tasks, wakers and streams as in a real relay.

mod control;
mod delivered;
mod ends;
mod flow;
mod headers;
mod local;
mod support;
