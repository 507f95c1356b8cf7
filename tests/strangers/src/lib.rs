//! The moqtail relay and command against libraries of others: an independent client, and a proxy that interferes.

#![cfg(unix)]

use moqtail_e2e::{PATIENCE, Process, Relay};

/// Starts `moqtail publish --lines` for `live/stranger`, track `t`.
pub fn publish(url: &str, options: &[&str]) -> Process {
    let arguments = ["publish", url, "live/stranger", "--lines", "--track", "t"];
    let publisher = Process::moqtail(arguments.iter().chain(options));
    publisher.wait_stderr("Publishing live/stranger#t.");
    publisher
}

/// Starts `moqtail subscribe` for what [`publish`] publishes; it prints the text of each object on a line.
pub fn subscribe(url: &str, options: &[&str]) -> Process {
    let arguments = ["-v", "subscribe", url, "live/stranger", "--track", "t"];
    let lines = ["--format", "lines"];
    Process::moqtail(arguments.iter().chain(&lines).chain(options))
}

/// Both transports of a relay.
pub fn both(relay: &Relay) -> [String; 2] {
    [relay.quic(), relay.web()]
}

/// Chooses the TLS provider for libraries that take the process's: with ours in the same build there are two.
pub fn choose_tls() {
    // Fails when it is chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A future that has to be ready in time.
///
/// # Panics
/// If it is not.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not happen"),
    }
}
