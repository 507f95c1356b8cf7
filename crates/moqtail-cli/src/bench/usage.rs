//! Processor time and memory of a process, and how busy the machine is. Linux tells; elsewhere nothing is known.

use std::{collections::BTreeMap, fs, num::NonZero, path::PathBuf, time::Duration};

use crate::errors::CliError;

/// A process of this machine.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pid: u32,
}

/// Processor time up to some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cpu {
    /// In nanoseconds, by thread.
    threads: BTreeMap<u64, u64>,
}

impl Process {
    /// This process.
    pub(super) fn own() -> Self {
        Self {
            pid: std::process::id(),
        }
    }

    /// Another process.
    pub(super) fn of(pid: u32) -> Result<Self, CliError> {
        let process = Self { pid };
        if !cfg!(target_os = "linux") {
            return Err(CliError::Usage(
                "--relay-pid works on Linux only: leave it out".to_owned(),
            ));
        }
        match (process.cpu(), process.resident()) {
            (Some(_), Some(_)) => Ok(process),
            _ => Err(CliError::Usage(format!(
                "--relay-pid {pid} is no process that can be looked at here: give the relay's, as `pidof` shows it"
            ))),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    fn path(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.pid).into()
    }

    /// Processor time so far; `None`: the system does not tell, or the process is gone.
    pub(super) fn cpu(&self) -> Option<Cpu> {
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(self.path("task")).ok()? {
            let entry = entry.ok()?;
            let thread = entry.file_name().to_str()?.parse().ok()?;
            // A thread may end meanwhile.
            let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else {
                continue;
            };
            threads.insert(thread, text.split_whitespace().next()?.parse().ok()?);
        }
        (!threads.is_empty()).then_some(Cpu { threads })
    }

    /// Resident bytes now.
    pub(super) fn resident(&self) -> Option<u64> {
        let text = fs::read_to_string(self.path("status")).ok()?;
        kibibytes(&text, "VmRSS:").map(|kib| kib * 1024)
    }
}

impl Cpu {
    /// Time used since `before`. What threads did that ended in between is not in it.
    pub(super) fn since(&self, before: &Self) -> Duration {
        let used = self.threads.iter().map(|(thread, now)| {
            let then = before.threads.get(thread).copied().unwrap_or_default();
            now.saturating_sub(then)
        });
        Duration::from_nanos(used.sum())
    }
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Processor time of the whole machine up to some moment, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    busy: u64,
    total: u64,
}

impl Machine {
    pub(super) fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        // user, nice, system, idle, iowait, irq, softirq, steal; what guests use is in user.
        let times = line.split_whitespace().take(8).map(str::parse);
        let times: Vec<u64> = times.collect::<Result<_, _>>().ok()?;
        let total = times.iter().sum();
        let idle: u64 = times.get(3..5)?.iter().sum();
        Some(Self {
            busy: total - idle,
            total,
        })
    }

    /// Share of the machine that was busy since `before`: 0 to 1.
    pub(super) fn busy_since(&self, before: &Self) -> Option<f64> {
        let total = self.total.checked_sub(before.total).filter(|t| *t > 0)?;
        Some(self.busy.saturating_sub(before.busy) as f64 / total as f64)
    }
}

/// Processors that this program may use.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_time_and_memory() {
        let own = Process::of(std::process::id()).unwrap();
        let before = own.cpu().unwrap();
        while own.cpu().unwrap().since(&before) < Duration::from_millis(2) {}
        assert!(own.resident().unwrap() > 100_000);
        assert!(Machine::now().is_some());
    }

    #[test]
    fn a_process_that_is_not_there_is_wrong_usage() {
        let error = Process::of(u32::MAX).unwrap_err();
        assert_eq!(error.exit_code(), crate::errors::USAGE);
        assert!(error.to_string().contains("--relay-pid"), "{error}");
    }

    #[test]
    fn new_threads_count_and_those_gone_do_not() {
        let cpu = |threads: &[(u64, u64)]| Cpu {
            threads: threads.iter().copied().collect(),
        };
        let used = cpu(&[(1, 500), (3, 30)]).since(&cpu(&[(1, 100), (2, 70)]));
        assert_eq!(used, Duration::from_nanos(430));
    }

    #[test]
    fn waiting_for_the_disk_is_idle() {
        let at = |text| Machine::parse(text).unwrap();
        let before = at("cpu  10 0 10 100 0 0 0 0 0 0\ncpu0 1 2 3\n");
        let after = at("cpu  40 0 20 140 20 0 0 0 0 0\n");
        assert_eq!(after.busy_since(&before), Some(0.4));
        assert_eq!(before.busy_since(&before), None);
    }
}
