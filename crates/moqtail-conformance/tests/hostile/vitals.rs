//! What the system says of a process.

use std::{fs, time::Duration};

/// Clock ticks per second in /proc, the same on all Linux systems in use.
const TICKS: u64 = 100;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Vitals {
    /// Resident memory in bytes.
    pub(crate) resident: u64,
    /// CPU time of all threads.
    pub(crate) cpu: Duration,
    pub(crate) threads: usize,
    pub(crate) files: usize,
}

pub(crate) fn of(process: u32) -> Vitals {
    let entries = |what: &str| {
        fs::read_dir(format!("/proc/{process}/{what}"))
            .unwrap()
            .count()
    };
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap();
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The second field is the program's name, which may hold anything but ends with the last parenthesis.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
    Vitals {
        resident: resident * 1024,
        cpu: Duration::from_millis((ticks(11) + ticks(12)) * 1000 / TICKS),
        threads: entries("task"),
        files: entries("fd"),
    }
}
