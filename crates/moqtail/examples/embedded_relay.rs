//! A relay inside a program: it serves UDP and one client in the same process, and decides who may publish.
//!
//! `cargo run -p moqtail --example embedded_relay -- 127.0.0.1:4443`

use std::time::Duration;

use moqtail::{
    client::{Broadcast, Client, ClientConfig, SubgroupOptions, TrackOptions},
    model::{Extensions, TrackNamespace},
    relay::{Hooks, Relay, RelayConfig, SessionInfo, Verdict},
    transport::{Identity, ListenConfig, Listener, MemoryConnection, TransportLimits},
};

struct OnlyBelow(TrackNamespace);

impl Hooks for OnlyBelow {
    fn publish_namespace(&self, _session: &SessionInfo, namespace: &TrackNamespace) -> Verdict {
        match self.0.as_prefix().matches(namespace) {
            true => Verdict::Allow,
            false => Verdict::Deny,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: embedded_relay ADDRESS:PORT")?.parse()?;
    let relay = Relay::new(RelayConfig::default().hooks(OnlyBelow("home".parse()?)));

    // A publisher in this process reaches the relay without a network.
    let (here, there) = MemoryConnection::pair(TransportLimits::default());
    let attached = relay.clone();
    let session = tokio::task::spawn(async move { attached.attach(there).await });
    let client = Client::over(here, ClientConfig::default()).await?;
    let broadcast = Broadcast::new("home/greeting".parse()?);
    let track = broadcast.track("text", TrackOptions::default())?;
    let _publication = client.publish(&broadcast).await?;
    let mut greeting = track.subgroup(SubgroupOptions::new(0))?;
    greeting.object(0, &Extensions::default(), "hello".into())?;
    greeting.finish()?;

    let identity = Identity::generate(["localhost"])?;
    let listener = Listener::bind(ListenConfig::new(address, identity))?;
    println!("relay at {}", listener.local_addr());
    tokio::select! {
        () = relay.serve(listener) => {}
        _ = tokio::signal::ctrl_c() => relay.shutdown(Duration::from_secs(1)).await,
    }
    session.abort();
    Ok(())
}
