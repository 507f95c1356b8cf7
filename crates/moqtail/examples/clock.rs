//! Publishes the time of day: one group per minute, one object per second.
//!
//! `cargo run -p moqtail --example clock -- moqt://localhost:4443 --insecure`

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use moqtail::{
    client::{Broadcast, Client, ClientConfig, LocalSubgroup, SubgroupOptions, TrackOptions},
    model::Extensions,
    transport::{MoqtUrl, Trust},
};
use tokio::time::MissedTickBehavior;

const USAGE: &str = "clock URL [--insecure]";

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "a clock reads the clock")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url: MoqtUrl = arguments
        .next()
        .ok_or_else(|| format!("usage: {USAGE}"))?
        .parse()?;
    let trust = match arguments.next().as_deref() {
        Some("--insecure") => Trust::Insecure,
        Some(other) => return Err(format!("{other} is unknown; usage: {USAGE}").into()),
        None => Trust::System,
    };

    let broadcast = Broadcast::new("clock".parse()?);
    let track = broadcast.track("seconds", TrackOptions::default())?;
    let client = Client::connect(&url, ClientConfig::default().trust(trust)).await?;
    let _publication = client.publish(&broadcast).await?;
    println!("publishing clock#seconds at {url}");

    let mut minute: Option<(u64, LocalSubgroup)> = None;
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut last = 0;
    loop {
        tokio::select! {
            reason = client.closed() => return Err(reason.into()),
            _ = tick.tick() => {}
        }
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        // Object IDs only grow, whatever happens to the clock.
        if seconds <= last {
            continue;
        }
        last = seconds;
        let (group, object) = (seconds / 60, seconds % 60);
        let writer = match minute.take() {
            Some((current, writer)) if current == group => minute.insert((current, writer)),
            previous => {
                if let Some((_, writer)) = previous {
                    writer.finish()?;
                }
                minute.insert((group, track.subgroup(SubgroupOptions::new(group))?))
            }
        };
        let text = format!(
            "{:02}:{:02}:{object:02} UTC",
            seconds / 3600 % 24,
            group % 60
        );
        writer
            .1
            .object(object, &Extensions::default(), text.into())?;
    }
}
