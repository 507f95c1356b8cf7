//! The `moqtail` command.

mod args;
mod backoff;
mod bench;
mod client_options;
mod clock;
mod config;
mod demo;
mod errors;
mod fingerprint;
mod http;
mod link;
mod logging;
mod names;
mod output;
mod program;
mod publish;
mod relay;
mod signals;
mod status;
mod stderr;
mod subscribe;
mod values;

use std::process::ExitCode;

use args::{Cli, Command, Stop};
use config::ConfigFile;
use errors::{CliError, DONE, plain};
use signals::Signals;

fn main() -> ExitCode {
    let code = match args::parse(std::env::args_os()) {
        Ok(cli) => exit_code(run(cli)),
        Err(Stop::Show(text)) => {
            output::print(&text);
            DONE
        }
        Err(Stop::Failed(error)) => exit_code(Err(error)),
    };
    stderr::flush();
    ExitCode::from(code)
}

fn exit_code(result: Result<(), CliError>) -> u8 {
    match result {
        Ok(()) => DONE,
        Err(error) => {
            logging::say(&error);
            error.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<(), CliError> {
    logging::start(cli.global.verbose)?;
    let config = ConfigFile::load(cli.global.config.as_deref())?;
    let started = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = started.map_err(|error| CliError::Start {
        reason: plain(error),
    })?;
    let result = runtime.block_on(async {
        let mut signals = Signals::install().map_err(|error| CliError::Start {
            reason: plain(error),
        })?;
        match cli.command {
            Command::Relay(args) => relay::run(args, config, &mut signals).await,
            Command::Publish(args) => publish::run(args, config, &mut signals).await,
            Command::Subscribe(args) => subscribe::run(args, config, &mut signals).await,
            Command::Bench(args) => bench::run(args, config, &mut signals).await,
            Command::Demo(args) => demo::run(args, &mut signals).await,
        }
    });
    // A thread may still wait for standard input; the process ends without it.
    runtime.shutdown_background();
    result
}
