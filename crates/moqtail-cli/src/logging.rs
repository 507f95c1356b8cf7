//! Logs: on standard error, quiet unless asked.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::stderr::{self, StandardError};

/// Starts logging: warnings of ours by default, more with each `-v`; `MOQTAIL_LOG` holds a filter of its own.
pub(crate) fn start(verbose: u8) {
    let directives = match verbose {
        0 => "error,moqtail=warn,moqtail_media=warn",
        1 => "warn,moqtail=info,moqtail_media=info",
        2 => "info,moqtail=debug,moqtail_media=debug",
        _ => "trace",
    };
    let filter =
        EnvFilter::try_from_env("MOQTAIL_LOG").unwrap_or_else(|_| EnvFilter::new(directives));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| StandardError)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(verbose > 1)
        .init();
}

/// Tells the person at the terminal what the command is doing; one line on standard error.
pub(crate) fn say(line: impl std::fmt::Display) {
    stderr::put(format!("moqtail: {line}\n").as_bytes());
}
