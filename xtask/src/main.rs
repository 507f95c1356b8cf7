//! `cargo xtask walls`, `cargo xtask corpus` and `cargo xtask bench`.

use std::{path::Path, process::ExitCode};

use xtask::{
    Result, bench, corpus,
    walls::{self, Network},
};

const USAGE: &str = "usage: cargo xtask COMMAND

  walls    check the rules between the parts of the source tree
  corpus   write the fuzz corpus seeds from the golden vectors
  bench    put the same load on relay and floor in turns, and print what the relay costs more
           [--rounds N] [--seconds N] [--only NAME_OR_PART_OF_IT] [--programs FOLDER]";

fn main() -> ExitCode {
    // Asked at run time: one build may serve several checkouts with a common target folder.
    let Some(root) = std::env::var_os("CARGO_MANIFEST_DIR").map(|own| Path::new(&own).join(".."))
    else {
        eprintln!("xtask: run it as `cargo xtask`");
        return ExitCode::from(2);
    };
    let command = std::env::args().nth(1);
    let done = match command.as_deref() {
        Some("walls") => check_walls(&root),
        Some("corpus") => write_corpus(&root),
        Some("bench") => bench::Options::parse(std::env::args().skip(2))
            .and_then(|options| bench::run(&root, &options))
            .map(|()| true),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check_walls(root: &Path) -> Result<bool> {
    let mut violations = walls::sources(root)?;
    violations.extend(walls::dependencies(root, Network::Allowed)?);
    for violation in &violations {
        println!("{violation}");
    }
    println!("walls: {} violations", violations.len());
    Ok(violations.is_empty())
}

fn write_corpus(root: &Path) -> Result<bool> {
    for (target, seeds) in corpus::write(root)? {
        println!("fuzz/corpus/{target}: {seeds} seeds");
    }
    Ok(true)
}
