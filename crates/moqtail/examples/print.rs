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
    let trust = match arguments.next().as_deref() {
        Some("--insecure") => Trust::Insecure,
        Some(other) => return Err(format!("{other} is unknown; {usage}").into()),
        None => Trust::System,
    };

    let client = Client::connect(&url, ClientConfig::default().trust(trust)).await?;
    let subscription = client.subscribe(track, SubscribeOptions::default()).await?;
    let mut objects = subscription.into_objects();
    while let Some(object) = objects.next().await {
        match object {
            Ok(object) => println!(
                "{} {}",
                object.location(),
                String::from_utf8_lossy(&object.payload)
            ),
            // One stream ended early; the others go on.
            Err(error) => eprintln!("{error}"),
        }
    }
    println!("ended: {:?}", objects.subscription().end());
    Ok(())
}
