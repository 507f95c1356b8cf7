//! The `moqtail` command.

fn main() {}
