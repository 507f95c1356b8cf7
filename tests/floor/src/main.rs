//! The floor under a relay's costs: it passes each stream and datagram of one publisher on to all subscribers as it comes,
//! on the transport's own sockets and QUIC settings, and knows nothing of objects.
//!
//! It speaks MOQT on the control stream, as far as `moqtail bench moqt://…` needs it, and keeps the publisher's Track Alias,
//! so that the same program makes the same load for it and for a relay, with the same bytes on the wire.

mod control;
mod fan;
mod peer;

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use moqtail::transport::{Identity, ListenConfig, Listener};
use tokio::{runtime, task::JoinSet};

use control::Floor;

const USAGE: &str = "usage: moqtail-floor [--listen ADDRESS:PORT] [--threads N]";

fn main() -> ExitCode {
    let ended = options().and_then(|(listen, threads)| {
        let runtime = match threads {
            Some(1) => runtime::Builder::new_current_thread().enable_all().build(),
            Some(threads) => runtime::Builder::new_multi_thread()
                .worker_threads(threads)
                .enable_all()
                .build(),
            None => runtime::Builder::new_multi_thread().enable_all().build(),
        };
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(serve(listen))
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("moqtail-floor: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where to listen, and on how many threads: by default as many as a relay.
fn options() -> Result<(SocketAddr, Option<usize>), String> {
    let mut listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut threads = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or(USAGE)?;
        let wrong = || format!("`{value}` cannot be for {option}; {USAGE}");
        match option.as_str() {
            "--listen" => listen = value.parse().map_err(|_| wrong())?,
            "--threads" => threads = Some(value.parse().map_err(|_| wrong())?),
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok((listen, threads.map(|threads: usize| threads.max(1))))
}

async fn serve(listen: SocketAddr) -> Result<(), String> {
    let identity = Identity::generate(["localhost"]).map_err(|error| error.to_string())?;
    let listener =
        Listener::bind(ListenConfig::new(listen, identity)).map_err(|error| error.to_string())?;
    println!("listening on {}", listener.local_addr());
    let floor = Arc::new(Floor::default());
    let mut peers = JoinSet::new();
    loop {
        tokio::select! {
            incoming = listener.accept() => {
                let Some(incoming) = incoming else { return Ok(()) };
                let floor = floor.clone();
                peers.spawn(async move {
                    match incoming.establish().await {
                        Ok(connection) => control::serve(&floor, connection).await,
                        Err(error) => eprintln!("moqtail-floor: {error}"),
                    }
                });
            }
            Some(_) = peers.join_next() => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}
