//! `cargo xtask bench`: what a relay costs above the floor, by the same load on both, in turns.

mod cells;
mod results;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use self::{
    cells::{CELLS, Cell, Program, Side},
    results::Results,
};
use crate::Result;

/// How to run it.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Times that each load is put on each side.
    pub rounds: usize,
    /// Measured seconds of each run.
    pub seconds: f64,
    /// Only the load with this name, or all whose names hold it.
    pub only: String,
    /// Programs to measure instead of those of this checkout, built before.
    pub programs: Option<PathBuf>,
}

impl Options {
    /// Reads the command line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            rounds: 3,
            seconds: 4.0,
            only: String::new(),
            programs: None,
        };
        let mut arguments = arguments.into_iter();
        while let Some(option) = arguments.next() {
            let value = arguments.next().ok_or(format!("{option} needs a value"))?;
            match option.as_str() {
                "--rounds" => options.rounds = value.parse()?,
                "--seconds" => options.seconds = value.parse()?,
                "--only" => options.only = value,
                "--programs" => options.programs = Some(value.into()),
                _ => return Err(format!("{option} is no option of `cargo xtask bench`").into()),
            }
        }
        Ok(options)
    }

    fn wants(&self, cell: &Cell) -> bool {
        match CELLS.iter().any(|cell| cell.name == self.only) {
            true => cell.name == self.only,
            false => cell.name.contains(&self.only),
        }
    }
}

/// Builds both programs, measures, prints tables and leaves the values in `target/bench.json`.
///
/// # Errors
/// A program cannot be built or run.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let programs = match &options.programs {
        Some(programs) => programs.clone(),
        None => build(root)?,
    };
    let mut results = Results::default();
    for round in 1..=options.rounds {
        for (at, cell) in CELLS.iter().enumerate() {
            if !options.wants(cell) {
                continue;
            }
            for subscribers in cell.subscribers {
                eprintln!("round {round}: {}, 1 to {subscribers}", cell.name);
                for side in cell.sides {
                    let result = measure(&programs, side, cell, *subscribers, options.seconds)?;
                    results.add(at, *subscribers, side, &result);
                }
            }
        }
    }
    print!("{}", results.tables());
    let path = root.join("target/bench.json");
    fs::write(&path, format!("{:#}\n", results.json()))?;
    println!("values: {}", path.display());
    Ok(())
}

fn build(root: &Path) -> Result<PathBuf> {
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "-p",
            "moqtail-cli",
            "-p",
            "moqtail-floor",
        ])
        .current_dir(root)
        .status()?;
    match built.success() {
        true => Ok(root.join("target/release")),
        false => Err("the programs do not build".into()),
    }
}

/// A program that is ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(programs: &Path, side: &Side) -> Result<(Running, String)> {
    let mut command = match side.program {
        Program::Relay => {
            let mut command = Command::new(programs.join("moqtail"));
            command.args(["relay", "--listen", "127.0.0.1:0", "--http", "off"]);
            command
        }
        Program::Floor => Command::new(programs.join("moqtail-floor")),
    };
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().ok_or("no standard output")?;
    let running = Running(child);
    let line = BufReader::new(stdout).lines().next().ok_or("it ended")??;
    let address = line
        .split_whitespace()
        .find(|word| word.starts_with("127."));
    let address = address.ok_or_else(|| format!("no address in `{line}`"))?;
    Ok((running, format!("{}://{address}", side.scheme)))
}

/// One run: a fresh program, and what `moqtail bench` says of it.
fn measure(
    programs: &Path,
    side: &Side,
    cell: &Cell,
    subscribers: u32,
    seconds: f64,
) -> Result<Value> {
    let (running, url) = start(programs, side)?;
    let mut bench = Command::new(programs.join("moqtail"));
    bench.args(["bench", &url, "--insecure", "--json"]);
    bench.args(["--relay-pid", &running.0.id().to_string()]);
    bench.args(["--duration", &format!("{seconds}s")]);
    bench.args(cell.arguments(side, subscribers));
    let output = bench.stderr(Stdio::inherit()).output()?;
    if output.stdout.is_empty() {
        return Err(format!("{bench:?} gave no result").into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let parse = |line: &str| Options::parse(line.split_whitespace().map(str::to_owned));
        let options = parse("--rounds 5 --seconds 2.5 --only datagrams").unwrap();
        assert_eq!((options.rounds, options.seconds), (5, 2.5));
        assert_eq!(options.only, "datagrams");
        assert!(parse("--runds 5").is_err() && parse("--rounds").is_err());
    }

    #[test]
    fn a_whole_name_is_one_load_and_a_part_of_it_may_be_several() {
        let wanted = |only: &str| {
            let options = Options {
                rounds: 1,
                seconds: 1.0,
                only: only.to_owned(),
                programs: None,
            };
            CELLS.iter().filter(|cell| options.wants(cell)).count()
        };
        assert_eq!(wanted("10 kB saturating"), 1);
        assert_eq!(wanted("isolation"), 2);
        assert_eq!(wanted(""), CELLS.len());
    }
}
