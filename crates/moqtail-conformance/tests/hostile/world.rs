//! The relay under test, alone in a process or in a runtime of its own, and what has to hold after a story.

use std::{
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use moqtail::{
    model::SessionCode,
    relay::{Relay, RelayConfig},
    transport::{Identity, ListenConfig, Listener, TransportLimits},
};
use moqtail_conformance::{PATIENCE, Target};
use moqtail_e2e::Budget;
use tokio::{
    runtime::{Builder, Runtime},
    time::sleep,
};

use crate::{
    vitals::{self, Vitals},
    watcher::{self, Watcher},
};

/// Tasks of an embedded relay that serves nobody: its clock, its listener, and the listener's socket.
const TASKS_AT_REST: usize = 3;

/// How long a new session may take to get its first object, right after an attack and on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);

/// How much larger a process may be after an attack, in bytes. It covers what the allocator does not give back to the
/// system; a leak of 420 bytes per step of a flood of 20,000 is above it.
const MEMORY_TOLERANCE: u64 = 8 << 20;

/// A process that gives back less than this in [`IDLE_WINDOW`] gives back nothing.
const STILL: u64 = 256 << 10;

/// Open files that may come and go with the process's own work.
const FILE_TOLERANCE: usize = 2;

/// A process is idle if it uses less than [`IDLE_CPU`] of [`IDLE_WINDOW`].
const IDLE_WINDOW: Duration = Duration::from_millis(500);
const IDLE_CPU: Duration = Duration::from_millis(50);

/// Name of the threads of an embedded relay, whose panics are counted.
const THREADS: &str = "relay-under-test";
static PANICS: AtomicUsize = AtomicUsize::new(0);

pub(crate) struct World {
    pub(crate) target: Target,
    under_test: UnderTest,
    watcher: Watcher,
}

enum UnderTest {
    Embedded {
        runtime: Option<Runtime>,
        relay: Relay,
    },
    Program {
        relay: Option<moqtail_e2e::Relay>,
        before: Vitals,
        tolerance: u64,
    },
}

impl World {
    /// A relay in a runtime of its own, whose tasks can be counted.
    pub(crate) async fn embedded() -> Self {
        Self::embedded_with(RelayConfig::default(), TransportLimits::default()).await
    }

    /// An embedded relay with these limits.
    pub(crate) async fn embedded_with(config: RelayConfig, limits: TransportLimits) -> Self {
        count_panics();
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(THREADS)
            .enable_all()
            .build()
            .unwrap();
        let started = runtime.spawn(async move {
            let relay = Relay::new(config);
            let identity = Identity::generate(["localhost"]).unwrap();
            let mut config = ListenConfig::new("127.0.0.1:0".parse().unwrap(), identity);
            config.limits = limits;
            let listener = Listener::bind(config).unwrap();
            let address = listener.local_addr();
            let served = relay.clone();
            tokio::spawn(async move { served.serve(&listener).await });
            (relay, address)
        });
        let (relay, address) = started.await.unwrap();
        let target = Target::new(address);
        let watcher = Watcher::start(&target).await;
        let runtime = Some(runtime);
        Self {
            target,
            under_test: UnderTest::Embedded { runtime, relay },
            watcher,
        }
    }

    /// `moqtail relay` in a process of its own, whose memory can be measured.
    pub(crate) async fn program() -> Self {
        Self::program_with(Vec::new()).await
    }

    /// The same, and it is told to keep within `budget`.
    pub(crate) async fn program_within(budget: Budget) -> Self {
        Self::program_with(budget.arguments().into()).await
    }

    async fn program_with(arguments: Vec<String>) -> Self {
        let quiet = ["--listen", "127.0.0.1:0", "--http", "off"].map(str::to_owned);
        let relay = moqtail_e2e::Relay::start_with(quiet.into_iter().chain(arguments));
        let target = Target::new(([127, 0, 0, 1], relay.port()).into());
        let watcher = Watcher::start(&target).await;
        let before = vitals::of(relay.process().id());
        Self {
            target,
            under_test: UnderTest::Program {
                relay: Some(relay),
                before,
                tolerance: MEMORY_TOLERANCE,
            },
            watcher,
        }
    }

    /// Takes what the process is now as what it has to come back to, after a first round that made it grow to its
    /// working size. Whoever took part in that is gone: waits until nothing more is given back.
    pub(crate) async fn take_level(&mut self) {
        if let UnderTest::Program { relay, before, .. } = &mut self.under_test {
            let id = relay.as_ref().unwrap().process().id();
            let deadline = Instant::now() + PATIENCE;
            loop {
                *before = vitals::of(id);
                sleep(IDLE_WINDOW).await;
                let given_back = before.resident.saturating_sub(vitals::of(id).resident);
                if given_back < STILL || Instant::now() > deadline {
                    break;
                }
            }
        }
    }

    /// Lets the process come back to within `bytes`, in place of [`MEMORY_TOLERANCE`], where much larger pieces
    /// than those of a flood come and go, and the allocator keeps more of their room.
    pub(crate) fn tolerate(&mut self, bytes: u64) {
        if let UnderTest::Program { tolerance, .. } = &mut self.under_test {
            *tolerance = bytes;
        }
    }

    /// Resident memory over what it was before, in bytes; 0 for an embedded relay.
    pub(crate) fn grown(&self) -> u64 {
        match &self.under_test {
            UnderTest::Program { relay, before, .. } => {
                let now = vitals::of(relay.as_ref().unwrap().process().id());
                now.resident.saturating_sub(before.resident)
            }
            UnderTest::Embedded { .. } => 0,
        }
    }

    /// Waits until the embedded relay serves nobody but the watcher.
    pub(crate) async fn others_gone(&self) {
        if let UnderTest::Embedded { relay, .. } = &self.under_test {
            until("only the watcher is served", || {
                let stats = relay.stats();
                (stats.sessions <= 2)
                    .then_some(())
                    .ok_or(format!("{stats:?}"))
            })
            .await;
        }
    }

    /// After the attack: a new session is accepted at once over both carriers, the watcher has missed nothing, and
    /// tasks, memory, threads, files and CPU are back to the level before.
    pub(crate) async fn end(mut self) {
        for scheme in ["moqt", "https"] {
            let began = Instant::now();
            let client = watcher::connect(&self.target, scheme).await;
            let mut objects = watcher::subscribe(&client).await;
            objects.next().await.unwrap().unwrap();
            let took = began.elapsed();
            assert!(took < AT_ONCE, "a new {scheme} session took {took:?}");
            client.close(SessionCode::NO_ERROR, "");
            client.closed().await;
        }
        self.watcher.finish().await;
        self.under_test.settle().await;
    }
}

impl UnderTest {
    async fn settle(&mut self) {
        match self {
            Self::Embedded { runtime, relay } => {
                until("the relay holds nothing", || {
                    let stats = relay.stats();
                    let rest = stats.sessions + stats.tracks + stats.subscriptions;
                    (rest == 0).then_some(()).ok_or(format!("{stats:?}"))
                })
                .await;
                let metrics = runtime.as_ref().unwrap().metrics();
                until("its tasks are those of a relay at rest", || {
                    let tasks = metrics.num_alive_tasks();
                    (tasks <= TASKS_AT_REST)
                        .then_some(())
                        .ok_or(format!("{tasks} tasks"))
                })
                .await;
                let busy = || (0..2).map(|w| metrics.worker_total_busy_duration(w)).sum();
                idle(busy).await;
                assert_eq!(PANICS.load(Ordering::Relaxed), 0, "the relay panicked");
            }
            Self::Program {
                relay,
                before,
                tolerance,
            } => {
                let id = relay.as_ref().unwrap().process().id();
                idle(|| vitals::of(id).cpu).await;
                let (before, tolerance) = (*before, *tolerance);
                until("memory, threads and files are back", || {
                    let now = vitals::of(id);
                    let back = now.resident <= before.resident + tolerance
                        && now.threads <= before.threads
                        && now.files <= before.files + FILE_TOLERANCE;
                    back.then_some(())
                        .ok_or(format!("{before:?} before, {now:?} after"))
                })
                .await;
                let after = vitals::of(id);
                println!(
                    "relay: {} kB resident before, {} kB after; {:?} of CPU",
                    before.resident >> 10,
                    after.resident >> 10,
                    after.cpu
                );
                let finished = relay.take().unwrap().stop();
                assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
                let panicked: Vec<_> = finished
                    .stderr
                    .iter()
                    .filter(|line| line.contains("panicked"))
                    .collect();
                assert!(panicked.is_empty(), "{panicked:#?}");
            }
        }
    }
}

impl Drop for UnderTest {
    fn drop(&mut self) {
        if let Self::Embedded { runtime, .. } = self
            && let Some(runtime) = runtime.take()
        {
            runtime.shutdown_background();
        }
    }
}

/// Waits until `check` finds nothing to say.
pub(crate) async fn until(what: &str, mut check: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check() {
            Ok(()) => return,
            Err(state) if Instant::now() > deadline => panic!("waited for: {what}; but {state}"),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn idle(mut cpu: impl FnMut() -> Duration) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = cpu();
        sleep(IDLE_WINDOW).await;
        let used = cpu().saturating_sub(before);
        if used < IDLE_CPU {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "nobody is served, but {used:?} of {IDLE_WINDOW:?} is used"
        );
    }
}

fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name() == Some(THREADS) {
                PANICS.fetch_add(1, Ordering::Relaxed);
            }
            previous(info);
        }));
    });
}
