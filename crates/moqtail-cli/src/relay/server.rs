//! A relay with its UDP listeners, its HTTP side and its certificate; also the relay of the demo.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use moqtail::{
    relay::{Relay, RelayConfig},
    transport::{Identity, ListenConfig, ListenError, Listener},
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};

use super::certificate::CertificateSource;
use crate::{
    args::Tolerance,
    errors::{CliError, plain},
    http,
    output::print,
    values::{Fingerprint, HttpAddr, ListenAddr},
};

/// How often another free port is tried when its TCP twin is taken.
const FREE_PORT_TRIES: usize = 16;

/// How long sessions may take to leave when the relay ends.
const GRACE: Duration = Duration::from_secs(2);

/// A relay that listens.
pub(crate) struct RelayServer {
    relay: Relay,
    listeners: Vec<Arc<Listener>>,
    http: Vec<TcpListener>,
    source: CertificateSource,
    identity: watch::Sender<Identity>,
}

impl RelayServer {
    /// Opens all listeners.
    pub(crate) async fn bind(
        listen: &[ListenAddr],
        http: Option<&HttpAddr>,
        source: CertificateSource,
        tolerate: &[Tolerance],
    ) -> Result<Self, CliError> {
        let identity = source.load()?;
        let mut tries = 1;
        let (listeners, http) = loop {
            match bind_all(listen, http, &identity).await {
                Err(CliError::PortInUse {
                    protocol: "TCP", ..
                }) if listen.iter().any(|address| address.port == 0) && tries < FREE_PORT_TRIES => {
                    tries += 1;
                }
                bound => break bound?,
            }
        };
        let mut config = RelayConfig::default();
        config.tolerances.allow_empty_namespace_prefix =
            tolerate.contains(&Tolerance::EmptyNamespacePrefix);
        Ok(Self {
            relay: Relay::new(config),
            listeners,
            http,
            source,
            identity: watch::Sender::new(identity),
        })
    }

    /// The relay itself.
    pub(crate) fn relay(&self) -> &Relay {
        &self.relay
    }

    /// The UDP addresses.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .map(|listener| listener.local_addr())
            .collect()
    }

    /// The TCP addresses of the HTTP side.
    pub(crate) fn http_addresses(&self) -> Vec<SocketAddr> {
        self.http
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    /// The line that tells of the certificate in use.
    pub(crate) fn certificate_line(&self) -> String {
        certificate_line(&self.identity)
    }

    /// SHA-256 of the certificate in use.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.identity.borrow().fingerprint())
    }

    /// Whether the certificate was generated here.
    pub(crate) fn is_generated(&self) -> bool {
        self.source.is_generated()
    }

    /// Serves until `end` is ready, then lets the sessions leave. A second signal in `hurry` cuts that short.
    pub(crate) async fn run(
        self,
        end: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> Result<(), CliError> {
        let Self {
            relay,
            listeners,
            http,
            source,
            identity,
        } = self;
        let mut serving = JoinSet::new();
        for listener in &listeners {
            let (relay, listener) = (relay.clone(), listener.clone());
            serving.spawn(async move { relay.serve(&listener).await });
        }
        let mut web = JoinSet::new();
        for listener in http {
            let identity = identity.clone();
            let fingerprint = Arc::new(move || Fingerprint(identity.borrow().fingerprint()));
            web.spawn(http::serve(listener, fingerprint, std::future::pending()));
        }
        let renew = source.watch(|renewed| {
            for listener in &listeners {
                listener.set_identity(&renewed);
            }
            identity.send_replace(renewed);
            print(&certificate_line(&identity));
        });
        let ended = tokio::select! {
            () = end => Ok(()),
            () = renew => Ok(()),
            Some(served) = web.join_next() => Err(http_failed(served)),
            Some(_) = serving.join_next() => Err(CliError::Listen {
                address: "its UDP port any longer".to_owned(),
                reason: "the listener ended".to_owned(),
                option: "--listen",
            }),
        };
        web.abort_all();
        let leave = async {
            relay.shutdown(GRACE).await;
            for listener in &listeners {
                listener.close(0, "the relay has ended");
                // A peer that is gone does not acknowledge.
                let _ = timeout(Duration::from_secs(1), listener.wait_idle()).await;
            }
        };
        tokio::select! {
            () = leave => {}
            () = hurry => {}
        }
        ended
    }
}

fn certificate_line(identity: &watch::Sender<Identity>) -> String {
    let fingerprint = Fingerprint(identity.borrow().fingerprint());
    format!("certificate {fingerprint} (SHA-256)\n")
}

fn http_failed(served: Result<io::Result<()>, tokio::task::JoinError>) -> CliError {
    let reason = match served {
        Ok(Ok(())) => "the listener ended".to_owned(),
        Ok(Err(error)) => plain(error),
        Err(error) => plain(error),
    };
    CliError::Listen {
        address: "its HTTP port any longer".to_owned(),
        reason,
        option: "--http",
    }
}

type Bound = (Vec<Arc<Listener>>, Vec<TcpListener>);

async fn bind_all(
    listen: &[ListenAddr],
    http: Option<&HttpAddr>,
    identity: &Identity,
) -> Result<Bound, CliError> {
    let mut listeners = Vec::new();
    for address in listen {
        listeners.extend(bind_udp(address, identity).await?);
    }
    let tcp: Vec<SocketAddr> = match http {
        Some(HttpAddr::Off) => Vec::new(),
        Some(HttpAddr::At(address)) => resolve(address, "--http").await?,
        None => listeners.iter().map(Listener::local_addr).collect(),
    };
    let mut bound = Vec::new();
    for address in tcp {
        let listener = TcpListener::bind(address).await;
        bound
            .push(listener.map_err(|error| CliError::from_bind("TCP", address, "--http", &error))?);
    }
    Ok((listeners.into_iter().map(Arc::new).collect(), bound))
}

async fn bind_udp(address: &ListenAddr, identity: &Identity) -> Result<Vec<Listener>, CliError> {
    let config = |at: SocketAddr| ListenConfig::new(at, identity.clone());
    if address.host == "localhost" {
        let any = SocketAddr::from(([127, 0, 0, 1], address.port));
        return Listener::bind_localhost(config(any)).map_err(udp_failed);
    }
    let addresses = resolve(address, "--listen").await?;
    addresses
        .into_iter()
        .map(|at| Listener::bind(config(at)).map_err(udp_failed))
        .collect()
}

async fn resolve(address: &ListenAddr, option: &'static str) -> Result<Vec<SocketAddr>, CliError> {
    let failed = |reason| CliError::Listen {
        address: address.to_string(),
        reason,
        option,
    };
    let found = address
        .resolve()
        .await
        .map_err(|error| failed(plain(error)))?;
    match found.is_empty() {
        true => Err(failed("the name has no address".to_owned())),
        false => Ok(found),
    }
}

fn udp_failed(error: ListenError) -> CliError {
    match error {
        ListenError::Bind { addr, source } => CliError::from_bind("UDP", addr, "--listen", &source),
        error => CliError::Start {
            reason: plain(error),
        },
    }
}
