//! A relay with its UDP listeners, its HTTP side and its certificate; also the relay of the demo.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use moqtail::{
    relay::{Relay, RelayConfig},
    transport::{BufferShortfall, Listener, TransportLimits},
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::sleep};

use super::{
    certificate::{CertificateSource, Stamp},
    listening::bind_all,
    validity::{self, Validity},
};
use crate::{
    errors::{CliError, plain},
    http::{self, HttpLimits, Shown},
    output::print,
    signals::Hangups,
    values::{Fingerprint, HttpAddr, ListenAddr},
};

/// How often another free port is tried when its TCP twin is taken.
const FREE_PORT_TRIES: usize = 16;

/// How long sessions may take to leave when the relay ends; those that do not are closed. Clients of ours leave within a
/// second, each at a time of its own, and take up to half a second for it.
const GRACE: Duration = Duration::from_millis(1500);

/// How long the end of the relay takes at most, with sessions that do not cooperate.
const DRAIN: Duration = Duration::from_secs(2);

/// A relay that listens.
pub(crate) struct RelayServer {
    relay: Relay,
    listeners: Vec<Arc<Listener>>,
    http: Vec<TcpListener>,
    source: CertificateSource,
    shown: watch::Sender<Shown>,
    /// From when to when the certificate in use is.
    dates: Option<Validity>,
    /// The state of the files that it is from.
    stamp: Stamp,
}

impl RelayServer {
    /// Opens all listeners.
    pub(crate) async fn bind(
        listen: &[ListenAddr],
        http: Option<&HttpAddr>,
        source: CertificateSource,
        config: RelayConfig,
        transport: TransportLimits,
    ) -> Result<Self, CliError> {
        let certificate = source.load()?;
        let identity = certificate.identity;
        let mut tries = 1;
        let (listeners, http) = loop {
            match bind_all(listen, http, &identity, &transport).await {
                Err(CliError::PortInUse {
                    protocol: "TCP", ..
                }) if listen.iter().any(|address| address.port == 0) && tries < FREE_PORT_TRIES => {
                    tries += 1;
                }
                bound => break bound?,
            }
        };
        Ok(Self {
            relay: Relay::new(config),
            listeners,
            http,
            source,
            shown: watch::Sender::new(certificate.shown),
            dates: certificate.dates,
            stamp: certificate.stamp,
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

    /// The least that a listener got of the socket buffers that it asked for. Those on the loopback need none.
    pub(super) fn buffer_shortfall(&self) -> Option<BufferShortfall> {
        let far = |listener: &&Arc<Listener>| !listener.local_addr().ip().is_loopback();
        let short = self.listeners.iter().filter(far);
        short
            .filter_map(|listener| listener.buffer_shortfall())
            .min_by_key(|short| short.granted)
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
        certificate_line(self.fingerprint(), self.renewed_at())
    }

    /// SHA-256 of the certificate in use.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.shown.borrow().fingerprint
    }

    /// What a client has to be told to trust the listener at `address`: nothing on this machine, if the port of the same
    /// number tells it.
    pub(crate) fn to_pin(&self, address: SocketAddr) -> Option<Fingerprint> {
        let http = self.http_addresses();
        let tells = |http: &SocketAddr| is_here(*http) && http.port() == address.port();
        let is_told = is_here(address) && http.iter().any(tells);
        (!is_told).then(|| self.fingerprint())
    }

    /// `http` or `https`, as the HTTP side speaks it.
    pub(crate) fn http_scheme(&self) -> &'static str {
        match self.shown.borrow().tls {
            Some(_) => "https",
            None => "http",
        }
    }

    /// Whether the certificate was generated here.
    pub(crate) fn is_generated(&self) -> bool {
        self.source.is_generated()
    }

    /// When another certificate takes the place of a generated one.
    pub(super) fn renewed_at(&self) -> Option<SystemTime> {
        let dates = self.dates.filter(|_| self.is_generated());
        dates.map(|dates| dates.until)
    }

    /// Serves until `end` is ready, then lets the sessions leave. A second signal in `hurry` cuts that short. `hangups` have
    /// it look at its certificate.
    pub(crate) async fn run(
        self,
        hangups: Option<Hangups>,
        end: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> Result<(), CliError> {
        let Self {
            relay,
            listeners,
            http,
            source,
            shown,
            dates,
            stamp,
        } = self;
        let mut serving = JoinSet::new();
        for listener in &listeners {
            let (relay, listener) = (relay.clone(), listener.clone());
            serving.spawn(async move { relay.serve(&listener).await });
        }
        let mut web = JoinSet::new();
        for listener in http {
            web.spawn(http::serve(
                listener,
                shown.subscribe(),
                HttpLimits::default(),
            ));
        }
        let generated = source.is_generated();
        let renew = source.watch(dates, stamp, hangups, |renewed| {
            for listener in &listeners {
                listener.set_identity(&renewed.identity);
            }
            let fingerprint = renewed.shown.fingerprint;
            shown.send_replace(renewed.shown);
            let dates = renewed.dates.filter(|_| generated);
            print(&certificate_line(
                fingerprint,
                dates.map(|dates| dates.until),
            ));
        });
        let ended = tokio::select! {
            () = end => Ok(()),
            () = renew => Ok(()),
            Some(Err(error)) = web.join_next() => Err(CliError::Listen {
                address: "its HTTP port any longer".to_owned(),
                reason: plain(error),
                option: "--http",
            }),
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
            }
            // A peer that is gone does not acknowledge.
            join_all(listeners.iter().map(|listener| listener.wait_idle())).await;
        };
        tokio::select! {
            () = leave => {}
            () = hurry => {}
            () = sleep(DRAIN) => {}
        }
        ended
    }
}

/// Whether `localhost` is a name of this listener's address.
pub(super) fn is_here(address: SocketAddr) -> bool {
    address.ip().is_loopback() || address.ip().is_unspecified()
}

/// `renewed_at`: when the fingerprint is no longer that of the relay.
fn certificate_line(fingerprint: Fingerprint, renewed_at: Option<SystemTime>) -> String {
    let until = renewed_at.map_or_else(String::new, |at| {
        let date = validity::date(at);
        format!(", until {date}; `--cert` and `--key` give one that stays")
    });
    format!("certificate {fingerprint} (SHA-256){until}\n")
}
