//! Logs: on standard error, quiet unless asked.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

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
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(verbose > 1)
        // It would tell with `eprintln!` that standard error cannot be written, which panics then.
        .log_internal_errors(false)
        .init();
}

/// Tells the person at the terminal what the command is doing; one line on standard error.
pub(crate) fn say(line: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "moqtail: {line}");
}
