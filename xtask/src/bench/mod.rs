//! `cargo xtask bench`: what a relay costs above the floor, by the same load on both, in turns.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::Result;

/// A load.
struct Cell {
    name: &'static str,
    /// Arguments of `moqtail bench` but the number of subscribers.
    load: &'static str,
    subscribers: &'static [u32],
}

const CELLS: &[Cell] = &[
    Cell {
        name: "1200 B paced",
        load: "--size 1200 --groups-per-second 10 --rate",
        subscribers: &[10, 50, 100],
    },
    Cell {
        name: "10 kB at 30/s",
        load: "--size 10000 --rate 30 --groups-per-second 1",
        subscribers: &[10, 50, 100],
    },
    Cell {
        name: "1200 B saturating",
        load: "--size 1200 --saturate --objects-per-group 100",
        subscribers: &[10, 50, 100],
    },
    Cell {
        name: "1200 B saturating, a stream each",
        load: "--size 1200 --saturate",
        subscribers: &[10, 50, 100],
    },
    Cell {
        name: "10 kB saturating",
        load: "--size 10000 --saturate --objects-per-group 30",
        subscribers: &[10, 50, 100],
    },
    Cell {
        name: "120 B datagrams at 50/s",
        load: "--size 120 --rate 50 --datagrams",
        subscribers: &[10, 50, 100],
    },
];

/// Objects delivered in a second by the first cell, whatever the number of subscribers.
const PACED_DELIVERIES: u32 = 10_000;

/// Who serves the load.
const SIDES: [&str; 2] = ["relay", "floor"];

/// What is measured of each run: its name in the result, and where `moqtail bench --json` has it.
const MEASURES: [(&str, &str); 7] = [
    ("cpu_us_per_object", "/relay/cpu_us_per_object"),
    ("cpu_seconds_per_gb", "/relay/cpu_seconds_per_gb"),
    ("p50_ms", "/delivery/latency_ms/p50"),
    ("p99_ms", "/delivery/latency_ms/p99"),
    ("peak_bytes", "/relay/peak_resident_bytes"),
    ("objects_per_second", "/delivery/objects_per_second"),
    ("lost", "/delivery/lost"),
];

/// How to run it.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Times that each load is put on each side.
    pub rounds: usize,
    /// Measured seconds of each run.
    pub seconds: f64,
    /// Only loads whose name holds this.
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
}

/// Measured values by load, subscribers and side; each value once a round.
type Measured = BTreeMap<(usize, u32, &'static str), BTreeMap<&'static str, Vec<f64>>>;

/// Builds both programs, measures, prints a table and leaves the values in `target/bench.json`.
///
/// # Errors
/// A program cannot be built or run.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let programs = match &options.programs {
        Some(programs) => programs.clone(),
        None => build(root)?,
    };
    let mut measured = Measured::new();
    for round in 1..=options.rounds {
        for (at, cell) in CELLS.iter().enumerate() {
            if !cell.name.contains(&options.only) {
                continue;
            }
            for subscribers in cell.subscribers {
                eprintln!("round {round}: {}, 1 to {subscribers}", cell.name);
                for side in SIDES {
                    let result = measure(&programs, side, cell, *subscribers, options.seconds)?;
                    let values = measured.entry((at, *subscribers, side)).or_default();
                    for (name, place) in MEASURES {
                        let value = result.pointer(place).and_then(Value::as_f64);
                        values.entry(name).or_default().extend(value);
                    }
                }
            }
        }
    }
    println!("{}", table(&measured));
    let path = root.join("target/bench.json");
    fs::write(&path, format!("{:#}\n", as_json(&measured)))?;
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

fn start(programs: &Path, side: &str) -> Result<(Running, String)> {
    let mut command = match side {
        "relay" => {
            let mut command = Command::new(programs.join("moqtail"));
            command.args(["relay", "--listen", "127.0.0.1:0", "--http", "off"]);
            command
        }
        _ => Command::new(programs.join("moqtail-floor")),
    };
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().ok_or("no standard output")?;
    let running = Running(child);
    let line = BufReader::new(stdout).lines().next().ok_or("it ended")??;
    let address = line
        .split_whitespace()
        .find(|word| word.starts_with("127."));
    let address = address.ok_or_else(|| format!("no address in `{line}`"))?;
    Ok((running, format!("moqt://{address}")))
}

/// One run: a fresh program, and what `moqtail bench` says of it.
fn measure(
    programs: &Path,
    side: &str,
    cell: &Cell,
    subscribers: u32,
    seconds: f64,
) -> Result<Value> {
    let (running, url) = start(programs, side)?;
    let mut bench = Command::new(programs.join("moqtail"));
    bench.args(["bench", &url, "--insecure", "--json"]);
    bench.args(["--relay-pid", &running.0.id().to_string()]);
    bench.args(["--duration", &format!("{seconds}s")]);
    bench.args(["--subscribers", &subscribers.to_string()]);
    bench.args(cell.load.split_whitespace());
    if cell.load.ends_with("--rate") {
        bench.arg((PACED_DELIVERIES / subscribers).to_string());
    }
    let output = bench.stderr(Stdio::inherit()).output()?;
    if output.stdout.is_empty() {
        return Err(format!("{bench:?} gave no result").into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => at(odd / 2),
        even => f64::midpoint(at(even / 2 - 1), at(even / 2)),
    }
}

fn table(measured: &Measured) -> String {
    let mut text = String::from(
        "| load | 1 to | CPU us per object, relay / floor | ratio | s per GB, relay / floor | p50 ms | p99 ms | peak MB | objects/s | lost |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (at, cell) in CELLS.iter().enumerate() {
        for subscribers in cell.subscribers {
            let side = |side| measured.get(&(at, *subscribers, side));
            let (Some(relay), Some(floor)) = (side(SIDES[0]), side(SIDES[1])) else {
                continue;
            };
            let both = |name: &str| {
                let of =
                    |side: &BTreeMap<_, Vec<f64>>| side.get(name).map_or(f64::NAN, |v| median(v));
                (of(relay), of(floor))
            };
            let (us, gb) = (both("cpu_us_per_object"), both("cpu_seconds_per_gb"));
            let (p50, p99) = (both("p50_ms"), both("p99_ms"));
            let (peak, rate) = (both("peak_bytes"), both("objects_per_second"));
            let lost = both("lost");
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "| {} | {subscribers} | {:.1} / {:.1} | {:.2} | {:.2} / {:.2} | {:.2} / {:.2} | {:.2} / {:.2} | {:.0} / {:.0} | {:.0} / {:.0} | {:.0} / {:.0} |",
                cell.name,
                us.0,
                us.1,
                us.0 / us.1,
                gb.0,
                gb.1,
                p50.0,
                p50.1,
                p99.0,
                p99.1,
                peak.0 / 1e6,
                peak.1 / 1e6,
                rate.0,
                rate.1,
                lost.0,
                lost.1,
            );
        }
    }
    text
}

fn as_json(measured: &Measured) -> Value {
    measured
        .iter()
        .map(|((at, subscribers, side), values)| {
            let name = CELLS.get(*at).map_or("", |cell| cell.name);
            json!({ "load": name, "subscribers": subscribers, "side": side, "rounds": values })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_value_counts() {
        assert_eq!(median(&[3.0, 1.0, 100.0]), 3.0);
        assert_eq!(median(&[4.0, 2.0]), 3.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_table_shows_medians_and_their_ratio() {
        let side = |us: &[f64]| BTreeMap::from([("cpu_us_per_object", us.to_vec())]);
        let measured = Measured::from([
            ((0, 10, "relay"), side(&[10.0, 15.0, 90.0])),
            ((0, 10, "floor"), side(&[10.0, 12.0, 5.0])),
        ]);
        let table = table(&measured);
        assert!(
            table.contains("| 1200 B paced | 10 | 15.0 / 10.0 | 1.50 |"),
            "{table}"
        );
        assert_eq!(table.lines().count(), 3);
        assert_eq!(as_json(&measured)[0]["side"], "floor");
    }

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let parse = |line: &str| Options::parse(line.split_whitespace().map(str::to_owned));
        let options = parse("--rounds 5 --seconds 2.5 --only datagrams").unwrap();
        assert_eq!((options.rounds, options.seconds), (5, 2.5));
        assert_eq!(options.only, "datagrams");
        assert!(parse("--runds 5").is_err() && parse("--rounds").is_err());
    }
}
