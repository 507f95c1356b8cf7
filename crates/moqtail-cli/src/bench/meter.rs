//! Watches processes while the measured interval lasts.

use std::time::Duration;

use super::{
    run::Run,
    times::Times,
    usage::{Machine, Process},
};

/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(100);

/// What a process used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) cpu: Duration,
    /// Most resident bytes seen.
    pub(super) peak: u64,
}

/// What was used in the measured interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measured {
    /// Its real length.
    pub(super) length: Duration,
    pub(super) own: Option<Used>,
    pub(super) relay: Option<Used>,
    /// Share of the machine that was busy, 0 to 1.
    pub(super) busy: Option<f64>,
    /// Milliseconds that nine of ten timers of this program were late at most.
    pub(super) timers_late: f64,
}

/// Measures from the begin of the interval to its end. `None`: the run was stopped before it began.
pub(super) async fn measure(run: &Run, relay: Option<&Process>) -> Option<Measured> {
    let interval = run.begun().await?;
    run.until(interval.from).await;
    let begin = run.clock.now();
    if begin < interval.from {
        return None;
    }
    let own_process = Process::own();
    let machine = Machine::now();
    let mut own = Watched::new(&own_process);
    let mut relay = relay.map(Watched::new);
    let mut late = Times::new();
    loop {
        let next = run.clock.now() + SAMPLE;
        let until = next.min(interval.to);
        run.until(until).await;
        late.record(run.clock.now().saturating_sub(until));
        own.sample();
        relay.iter_mut().for_each(Watched::sample);
        if next >= interval.to || run.clock.now() < next {
            break;
        }
    }
    Some(Measured {
        length: run.clock.now().saturating_sub(begin),
        own: own.used(),
        relay: relay.and_then(|relay| relay.used()),
        busy: machine.and_then(|before| Machine::now()?.busy_since(&before)),
        timers_late: late.quantile(0.9),
    })
}

/// A process from some moment on.
struct Watched<'p> {
    process: &'p Process,
    before: Option<super::usage::Cpu>,
    peak: u64,
}

impl<'p> Watched<'p> {
    fn new(process: &'p Process) -> Self {
        let mut watched = Self {
            process,
            before: process.cpu(),
            peak: 0,
        };
        watched.sample();
        watched
    }

    fn sample(&mut self) {
        self.peak = self.peak.max(self.process.resident().unwrap_or(0));
    }

    fn used(&self) -> Option<Used> {
        Some(Used {
            cpu: self.process.cpu()?.since(self.before.as_ref()?),
            peak: self.peak,
        })
    }
}
