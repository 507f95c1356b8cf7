//! A relay inside a program: it serves UDP and one publisher in the same process, and decides who may publish what.
//!
//! `cargo run -p moqtail --example embedded_relay -- 127.0.0.1:4443 clock`

use std::time::Duration;

use moqtail::{
    client::{Broadcast, Client, ClientConfig, SubgroupOptions, TrackOptions},
    model::{Extensions, FullTrackName, TrackNamespace},
    relay::{Hooks, Relay, RelayConfig, SessionInfo, Verdict},
    transport::{Identity, ListenConfig, Listener, MemoryConnection, TransportLimits},
};
use tokio::task::JoinSet;

/// Lets anybody publish below these namespaces, and nothing else.
struct OnlyBelow(Vec<TrackNamespace>);

impl OnlyBelow {
    fn judge(&self, namespace: &TrackNamespace) -> Verdict {
        let mut allowed = self.0.iter();
        match allowed.any(|allowed| allowed.as_prefix().matches(namespace)) {
            true => Verdict::Allow,
            false => Verdict::Deny,
        }
    }
}

impl Hooks for OnlyBelow {
    fn publish_namespace(&self, _session: &SessionInfo, namespace: &TrackNamespace) -> Verdict {
        self.judge(namespace)
    }

    fn publish(&self, _session: &SessionInfo, track: &FullTrackName) -> Verdict {
        self.judge(track.namespace())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: embedded_relay ADDRESS:PORT [NAMESPACE...]";
    let address = arguments.next().ok_or(usage)?.parse()?;
    let mut allowed = vec!["home".parse()?];
    for namespace in arguments {
        allowed.push(namespace.parse()?);
    }
    let relay = Relay::new(RelayConfig::default().hooks(OnlyBelow(allowed)));

    // A publisher in this process reaches the relay without a network.
    let (here, there) = MemoryConnection::pair(TransportLimits::default());
    let attached = relay.clone();
    let mut session = JoinSet::new();
    session.spawn(async move { attached.attach(there).await });
    let client = Client::over(here, ClientConfig::default()).await?;
    let broadcast = Broadcast::new("home/greeting".parse()?);
    let track = broadcast.track("text", TrackOptions::default())?;
    let _publication = client.publish(&broadcast).await?;

    let listener = Listener::bind(ListenConfig::new(
        address,
        Identity::generate(["localhost"])?,
    ))?;
    println!("relay at {}", listener.local_addr());
    let serving = relay.serve(&listener);
    tokio::pin!(serving);
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    for group in 0.. {
        tokio::select! {
            () = &mut serving => break,
            _ = tokio::signal::ctrl_c() => break,
            _ = tick.tick() => {}
        }
        let mut greeting = track.subgroup(SubgroupOptions::new(group))?;
        greeting.object(0, &Extensions::default(), format!("hello {group}").into())?;
        greeting.finish()?;
    }
    relay.shutdown(Duration::from_secs(1)).await;
    session.join_all().await;
    Ok(())
}
