//! Programs of others.

use std::process::Command;

/// A program of others, by the environment variable that `./test` sets to its path.
///
/// # Panics
/// If the variable is not set.
pub fn stranger(variable: &str) -> Command {
    let path = std::env::var(variable).expect("`./test` sets the paths");
    let mut command = Command::new(path);
    // moq-sub logs to standard output, between the media.
    command.env("RUST_LOG", "off");
    command
}
