//! What a process costs: memory and processor time, as Linux tells it.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::process::{background, pause};

/// A process that is looked at from outside.
#[derive(Clone, Copy, Debug)]
pub struct Usage(u32);

impl Usage {
    /// Of the process with this id.
    pub fn of(process: u32) -> Self {
        Self(process)
    }

    /// Resident memory in bytes; 0 if the process is gone.
    pub fn resident(self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .map_or(0, |kib| kib * 1024)
    }

    /// Processor time of all its threads so far.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn cpu(self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0)).expect("the process runs");
        let nanoseconds = tasks
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
            .filter_map(|stat| stat.split_whitespace().next()?.parse::<u64>().ok())
            .sum();
        Duration::from_nanos(nanoseconds)
    }

    /// Follows its resident memory until the answer is dropped or taken.
    pub fn watch(self) -> Peak {
        let peak = Arc::new(AtomicU64::new(self.resident()));
        let over = Arc::new(AtomicBool::new(false));
        let (highest, stop) = (peak.clone(), over.clone());
        let thread = background(move || {
            while !stop.load(Ordering::Relaxed) {
                highest.fetch_max(self.resident(), Ordering::Relaxed);
                pause();
            }
        });
        Peak {
            peak,
            over,
            thread: Some(thread),
        }
    }
}

/// The highest resident memory since [`Usage::watch`].
#[derive(Debug)]
pub struct Peak {
    peak: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peak {
    /// In bytes, so far.
    pub fn bytes(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for Peak {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
