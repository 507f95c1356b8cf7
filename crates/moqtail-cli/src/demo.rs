//! `moqtail demo`: a relay, a publisher and a viewer, and one line that shows what passes.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use moqtail::{
    client::{Object, SubscribeOptions},
    model::{Filter, TrackNamespace},
    relay::{Relay, RelayConfig},
    transport::TransportLimits,
};
use tokio::sync::{mpsc, watch};

use crate::{
    args::DemoArgs,
    client_options::ClientOptions,
    clock,
    errors::CliError,
    link::Link,
    output::print,
    publish::{self, Input, MediaBroadcast, Sent},
    relay::{CertificateSource, Commands, RelayServer},
    signals::Signals,
    status::{StatusLine, bitrate, milliseconds},
    subscribe::{Memory, Received, Viewer},
    values::{DEFAULT_PORT, ListenAddr},
};

/// Objects under way from publisher to viewer that are remembered at most.
const MAX_UNDER_WAY: usize = 4096;

/// Objects that wait between the network and the counting.
const QUEUE: usize = 64;

/// How long the sample waits for its first viewer.
const HOLD: Duration = Duration::from_secs(5);

/// Runs `moqtail demo`.
pub(crate) async fn run(args: DemoArgs, signals: &mut Signals) -> Result<(), CliError> {
    let server = tokio::select! {
        server = listen(args.listen) => server?,
        _ = signals.next() => return Ok(()),
    };
    let Some(address) = server.addresses().first().copied() else {
        return Ok(());
    };
    let name = &args.name;
    let commands = Commands::new(address, server.to_pin(address));
    print(&format!(
        "A relay listens on {address} (UDP); {name} is published to it and watched from it. Ctrl-C ends the demo.\n\
         From another terminal:\n  watch:   {}\n  publish: {}\n\n",
        commands.watch(&name.to_string()),
        commands.publish("live/cam"),
    ));
    let authority = commands.authority().to_owned();
    let trust = ClientOptions {
        fingerprint: Some(server.fingerprint()),
        ..ClientOptions::default()
    };
    let publisher = Link::new(&format!("https://{authority}"), trust.clone(), true)?.quiet();
    let subscriber = Link::new(&format!("moqt://{authority}"), trust, true)?.quiet();
    let relay = server.relay().clone();

    let (mut input, init) = Input::sample()?;
    let mut broadcast =
        MediaBroadcast::new(name, &init, clock::unix_ms(), publish::DEFAULT_PRIORITY)?;
    let announced = broadcast.broadcast().clone();
    let published = watch::Sender::new(publish::Announced::NotYet);
    let meter = Meter::default();
    let viewer = Viewer {
        link: &subscriber,
        namespace: name,
        wanted: &[],
        options: SubscribeOptions::default().filter(Filter::NextGroupStart),
        wait: true,
        memory: Memory::default(),
    };
    let parts = async {
        tokio::select! {
            error = publish::keep_published(&publisher, &announced, &published) => Err(error),
            played = publish::play(&mut input, &mut broadcast, HOLD, published.subscribe(), |sent| meter.sent(sent)) => played,
            watched = watch(&viewer, &meter) => watched,
            () = show(&relay, name, &meter) => Ok(()),
        }
    };
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    let serving = server.run(None, async { drop(end.await) }, std::future::pending());
    let running = async {
        let result = tokio::select! {
            result = parts => result,
            _ = signals.next() => Ok(()),
        };
        StatusLine::new().end();
        tokio::join!(
            publisher.leave(Duration::ZERO),
            subscriber.leave(Duration::ZERO)
        );
        drop(ended);
        result
    };
    let (served, ran) = tokio::join!(serving, running);
    ran.and(served)
}

/// Follows the broadcast and counts what comes.
async fn watch(viewer: &Viewer<'_>, meter: &Meter) -> Result<(), CliError> {
    let (sender, mut receiver) = mpsc::channel(QUEUE);
    let counting = async {
        let mut names: Vec<String> = Vec::new();
        while let Some(received) = receiver.recv().await {
            match received {
                Received::Tracks(tracks) => {
                    names = tracks.into_iter().map(|track| track.name).collect();
                }
                Received::Object(track, object) => meter.received(names.get(track), &object),
                Received::TrackEnded(_) => {}
            }
        }
    };
    tokio::join!(viewer.run(sender), counting).0
}

/// Shows a line each second, as long as somebody reads it.
async fn show(relay: &Relay, name: &TrackNamespace, meter: &Meter) {
    let line = StatusLine::new();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.tick().await;
    loop {
        second.tick().await;
        if !line.show(&meter.line(relay.viewers(name))) {
            return;
        }
    }
}

/// The usual port if it is free and no other one is asked for.
async fn listen(wanted: Option<ListenAddr>) -> Result<RelayServer, CliError> {
    let bind = async |address: &ListenAddr| {
        let listen = std::slice::from_ref(address);
        let source = CertificateSource::Generated(Vec::new());
        let (config, transport) = (RelayConfig::default(), TransportLimits::default());
        let bound = RelayServer::bind(listen, None, source, config, transport).await;
        bound.map_err(|error| match error {
            CliError::PortInUse {
                protocol, address, ..
            } => CliError::PortInUse {
                protocol,
                address,
                // A demo has no `--http`.
                option: "--listen",
            },
            error => error,
        })
    };
    match wanted {
        Some(address) => bind(&address).await,
        None => match bind(&ListenAddr::localhost(DEFAULT_PORT)).await {
            Err(CliError::PortInUse { .. }) => bind(&ListenAddr::localhost(0)).await,
            bound => bound,
        },
    }
}

/// Counts what the viewer gets, and how long it took from the publisher.
#[derive(Default)]
struct Meter(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    under_way: BTreeMap<Sent, Instant>,
    objects: u64,
    bytes: u64,
    latencies: Vec<Duration>,
    since: Option<Instant>,
}

impl Meter {
    fn sent(&self, sent: Sent) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.under_way.insert(sent, clock::now());
        while counts.under_way.len() > MAX_UNDER_WAY {
            counts.under_way.pop_first();
        }
    }

    fn received(&self, track: Option<&String>, object: &Object) {
        let now = clock::now();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.objects += 1;
        counts.bytes += object.payload.len() as u64;
        let Some(track) = track else { return };
        let sent = Sent {
            track: track.clone(),
            location: object.location(),
        };
        if let Some(at) = counts.under_way.remove(&sent) {
            counts.latencies.push(now.saturating_duration_since(at));
        }
    }

    /// What came since the line before.
    fn line(&self, viewers: usize) -> String {
        let now = clock::now();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = counts
            .since
            .replace(now)
            .map_or(1.0, |since| (now - since).as_secs_f64());
        let objects = std::mem::take(&mut counts.objects) as f64 / seconds;
        let bits = std::mem::take(&mut counts.bytes) as f64 * 8.0 / seconds;
        let mut latencies = std::mem::take(&mut counts.latencies);
        latencies.sort_unstable();
        let latency = match latencies.get(latencies.len() / 2) {
            Some(median) => milliseconds(*median),
            None => "-".to_owned(),
        };
        format!(
            "WebTransport > relay > QUIC, MOQT draft 14 | {objects:.0} objects/s | {} | latency {latency} | viewers {viewers}",
            bitrate(bits),
        )
    }
}
