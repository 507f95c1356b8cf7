//! Subscribes to a track and prints each object as a line.
//!
//! `cargo run -p moqtail --example print -- moqt://localhost:4443 clock#seconds --insecure`

use moqtail::{
    client::{Client, ClientConfig, SubscribeOptions},
    transport::{MoqtUrl, Trust},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let usage = "usage: print URL NAMESPACE#TRACK [--insecure]";
    let mut arguments = std::env::args().skip(1);
    let url: MoqtUrl = arguments.next().ok_or(usage)?.parse()?;
    let track = arguments.next().ok_or(usage)?.parse()?;
    let trust = match arguments.next() {
        Some(_) => Trust::Insecure,
        None => Trust::System,
    };

    let client = Client::connect(&url, ClientConfig::default().trust(trust)).await?;
    let subscription = client.subscribe(track, SubscribeOptions::default()).await?;
    let mut objects = subscription.into_objects();
    while let Some(object) = objects.next().await {
        let object = object?;
        println!(
            "{} {}",
            object.location(),
            String::from_utf8_lossy(&object.payload)
        );
    }
    println!("ended: {:?}", objects.subscription().end());
    Ok(())
}
