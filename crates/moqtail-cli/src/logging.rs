//! Logs: on standard error, quiet unless asked.

use std::{env::VarError, io::IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::{
    errors::{CliError, escaped, plain},
    stderr::{self, StandardError},
};

/// Starts logging: warnings of ours by default, more with each `-v`; without one, `MOQTAIL_LOG` may hold a filter.
pub(crate) fn start(verbose: u8) -> Result<(), CliError> {
    let directives = match verbose {
        0 => "error,moqtail=warn,moqtail_media=warn",
        1 => "warn,moqtail=info,moqtail_media=info",
        2 => "info,moqtail=debug,moqtail_media=debug",
        _ => "trace",
    };
    let wanted = |reason: String| {
        CliError::Usage(format!(
            "MOQTAIL_LOG is no filter: {reason}. Write it like moqtail=debug,quinn=info"
        ))
    };
    let filter = match std::env::var("MOQTAIL_LOG") {
        // A flag goes before the environment.
        _ if verbose > 0 => EnvFilter::new(directives),
        Ok(text) if !text.trim().is_empty() => {
            EnvFilter::try_new(&text).map_err(|error| wanted(plain(error)))?
        }
        Ok(_) | Err(VarError::NotPresent) => EnvFilter::new(directives),
        Err(error) => return Err(wanted(plain(error))),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| StandardError)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(verbose > 1)
        .init();
    Ok(())
}

/// Tells the person at the terminal what the command is doing; one line on standard error.
pub(crate) fn say(line: impl std::fmt::Display) {
    let line = escaped(&line.to_string());
    stderr::put(format!("moqtail: {line}\n").as_bytes());
}
