//! Connecting: `moqt://` over raw QUIC, `https://` over WebTransport.

use std::{
    future::pending,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{sleep, timeout};

use super::{
    ALPN, ALPN_HTTP3, MoqtUrl, QuicConnection, Scheme, TlsError, TransportLimits, Trust,
    limits::HTTP3_STREAMS,
    lock,
    quic::{HandshakeError, Owner},
    socket, tls,
};

/// Head start of one address before the next is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);

/// Silence after which a probe finds out whether anything listens there at all.
const PROBE_AFTER: Duration = Duration::from_millis(150);

/// How to connect once; see [`connect`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectConfig {
    /// Where to.
    pub url: MoqtUrl,
    /// Which certificates are accepted.
    pub trust: Trust,
    /// Bounds for the connection.
    pub limits: TransportLimits,
}

impl ConnectConfig {
    /// Connects to `url` with default limits.
    pub fn new(url: MoqtUrl, trust: Trust) -> Self {
        Self {
            url,
            trust,
            limits: TransportLimits::default(),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The host name has no address.
    #[error("cannot resolve {host}: {reason}")]
    Resolve {
        /// The name asked for.
        host: String,
        /// What the resolver says.
        reason: String,
    },
    /// The system refused a socket.
    #[error("cannot open a UDP socket: {0}")]
    Socket(#[from] io::Error),
    /// The machine answered that nothing listens there.
    #[error("nothing listens on UDP {0}; is the relay running?")]
    Refused(SocketAddr),
    /// There is a server, and it takes no more connections now.
    #[error("the server at {0} takes no more connections now; try again later")]
    Busy(SocketAddr),
    /// Nobody answered.
    #[error("no answer from {target} within {limit:?}; is the relay running, and UDP let through?")]
    Timeout {
        /// Host and port.
        target: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The server's certificate is not trusted.
    #[error("certificate of {host} not trusted: {reason}")]
    Untrusted {
        /// The host asked for.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server speaks QUIC, but not the protocol asked for.
    #[error("{addr} does not speak {alpn} (no common ALPN)")]
    Protocol {
        /// The server.
        addr: SocketAddr,
        /// The protocol asked for: `moq-00` for moqt URLs, `h3` for https URLs.
        alpn: &'static str,
    },
    /// The server is there and refused, or the handshake broke.
    #[error("connection to {addr} failed: {reason}")]
    Handshake {
        /// The server.
        addr: SocketAddr,
        /// Why.
        reason: String,
    },
    /// The server answered the WebTransport request with this HTTP status; 404 says that the path is wrong.
    #[error("WebTransport request refused with HTTP status {status}")]
    Rejected {
        /// HTTP status code.
        status: u16,
    },
    /// HTTP/3 or WebTransport went wrong before the session was established.
    #[error("WebTransport handshake failed: {0}")]
    WebTransport(String),
    /// What to trust cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl ConnectError {
    /// The failure to report when several addresses fail: the one that got furthest.
    fn rank(&self) -> u8 {
        match self {
            Self::Socket(_) => 0,
            Self::Timeout { .. } => 1,
            Self::Refused(_) => 2,
            Self::Busy(_) | Self::Handshake { .. } => 3,
            _ => 4,
        }
    }
}

/// Connects once, from a socket of its own.
///
/// # Errors
/// [`ConnectError`], one line of which tells a person what to do.
pub async fn connect(config: ConnectConfig) -> Result<QuicConnection, ConnectError> {
    Dialer::new(&config.trust, config.limits)?
        .connect(&config.url)
        .await
}

/// Makes connections that share one socket per address family.
#[derive(Debug)]
pub struct Dialer {
    limits: TransportLimits,
    quic: quinn::ClientConfig,
    http3: quinn::ClientConfig,
    endpoints: Mutex<[Option<quinn::Endpoint>; 2]>,
}

impl Dialer {
    /// Reads the certificates to trust. Sockets are opened when first used.
    ///
    /// # Errors
    /// There is nothing to trust, or it cannot be read.
    pub fn new(trust: &Trust, limits: TransportLimits) -> Result<Self, TlsError> {
        let verifier = tls::verifier(trust)?;
        let config = |alpn, http3_streams| {
            let transport = socket::transport(&limits, http3_streams);
            let mut config =
                quinn::ClientConfig::new(Arc::new(tls::client(verifier.clone(), alpn)?));
            config.transport_config(transport);
            Ok::<_, TlsError>(config)
        };
        let (quic, http3) = (config(ALPN, 0)?, config(ALPN_HTTP3, HTTP3_STREAMS)?);
        Ok(Self {
            limits,
            quic,
            http3,
            endpoints: Mutex::default(),
        })
    }

    /// Connects within [`TransportLimits::connect_timeout`]. All addresses of the host are tried, each next one when
    /// the one before failed or took 250 ms. Dropping the future gives up.
    ///
    /// # Errors
    /// [`ConnectError`]; of several addresses, that of the one that got furthest.
    pub async fn connect(&self, url: &MoqtUrl) -> Result<QuicConnection, ConnectError> {
        let limit = self.limits.connect_timeout;
        // Outside of what is given up: an address that says nothing does not hide what another one said.
        let mut failed = None;
        let connected = timeout(limit, self.try_connect(url, &mut failed)).await;
        connected.unwrap_or_else(|_| {
            let silence = ConnectError::Timeout {
                target: format!("{}:{}", url.host(), url.port()),
                limit,
            };
            Err(failed
                .filter(|said| said.rank() > silence.rank())
                .unwrap_or(silence))
        })
    }

    /// Waits until every connection made here is closed and its peer was told. Call it before the program ends.
    pub async fn wait_idle(&self) {
        let endpoints = lock(&self.endpoints).clone();
        for endpoint in endpoints.iter().flatten() {
            endpoint.wait_idle().await;
        }
    }

    async fn try_connect(
        &self,
        url: &MoqtUrl,
        failed: &mut Option<ConnectError>,
    ) -> Result<QuicConnection, ConnectError> {
        let (conn, endpoint) = self.race(url, addresses(url).await?, failed).await?;
        let owner = Owner::Dialer(endpoint);
        match url.scheme() {
            Scheme::Moqt => Ok(QuicConnection::raw(conn, &self.limits, owner)),
            Scheme::Https => {
                let addr = conn.remote_address();
                let request = url::Url::parse(&url.to_string())
                    .map_err(|error| ConnectError::WebTransport(error.to_string()))?;
                QuicConnection::connect_web(conn, &self.limits, request, owner)
                    .await
                    .map_err(|error| match error {
                        HandshakeError::Connection(error) => failure(url, addr, error),
                        HandshakeError::Status(status) => ConnectError::Rejected { status },
                        HandshakeError::Path(_) | HandshakeError::Http3(_) => {
                            ConnectError::WebTransport(error.to_string())
                        }
                    })
            }
        }
    }

    async fn race(
        &self,
        url: &MoqtUrl,
        addresses: Vec<SocketAddr>,
        failed: &mut Option<ConnectError>,
    ) -> Result<(quinn::Connection, quinn::Endpoint), ConnectError> {
        let mut rest = addresses.into_iter();
        let mut attempts = FuturesUnordered::new();
        loop {
            let more = match rest.next() {
                Some(addr) => {
                    attempts.push(self.attempt(url, addr));
                    !rest.as_slice().is_empty()
                }
                None => false,
            };
            tokio::select! {
                result = attempts.next() => match (result, failed.take()) {
                    (Some(Ok(connected)), _) => return Ok(connected),
                    (Some(Err(error)), Some(before)) if before.rank() >= error.rank() => {
                        *failed = Some(before);
                    }
                    (Some(Err(error)), _) => *failed = Some(error),
                    (None, Some(error)) => return Err(error),
                    (None, None) => return Err(no_address(url, "no addresses")),
                },
                () = sleep(STAGGER), if more => {}
            }
        }
    }

    async fn attempt(
        &self,
        url: &MoqtUrl,
        addr: SocketAddr,
    ) -> Result<(quinn::Connection, quinn::Endpoint), ConnectError> {
        let config = match url.scheme() {
            Scheme::Moqt => self.quic.clone(),
            Scheme::Https => self.http3.clone(),
        };
        let endpoint = self.endpoint(addr)?;
        let connecting = endpoint
            .connect_with(config, addr, url.host())
            .map_err(|error| ConnectError::Handshake {
                addr,
                reason: error.to_string(),
            })?;
        tokio::select! {
            biased;
            result = connecting => match result {
                Ok(conn) => Ok((conn, endpoint)),
                Err(error) => Err(failure(url, addr, error)),
            },
            () = refused(addr) => Err(ConnectError::Refused(addr)),
        }
    }

    fn endpoint(&self, addr: SocketAddr) -> io::Result<quinn::Endpoint> {
        let mut endpoints = lock(&self.endpoints);
        let slot = &mut endpoints[usize::from(addr.is_ipv6())];
        if let Some(endpoint) = slot {
            return Ok(endpoint.clone());
        }
        let socket = socket::bind(any_port(addr), self.limits.socket_buffer, true)?;
        Ok(slot
            .insert(socket::endpoint(
                socket,
                quinn::EndpointConfig::default(),
                None,
            )?)
            .clone())
    }
}

fn any_port(family: SocketAddr) -> SocketAddr {
    if family.is_ipv6() {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    }
}

/// `localhost` is always both loopback addresses (RFC 6761 §6.3), whatever the resolver knows of it.
async fn addresses(url: &MoqtUrl) -> Result<Vec<SocketAddr>, ConnectError> {
    if url.host().eq_ignore_ascii_case("localhost") {
        let port = url.port();
        return Ok(vec![
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv6Addr::LOCALHOST, port).into(),
        ]);
    }
    let found = tokio::net::lookup_host((url.host(), url.port()))
        .await
        .map_err(|error| no_address(url, &error.to_string()))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for addr in found {
        if !addresses.contains(&addr) {
            addresses.push(addr);
        }
    }
    Ok(addresses)
}

fn no_address(url: &MoqtUrl, reason: &str) -> ConnectError {
    ConnectError::Resolve {
        host: url.host().to_owned(),
        reason: reason.to_owned(),
    }
}

/// Ends when the system reports that nothing listens at `addr`, which an unconnected QUIC socket never hears.
async fn refused(addr: SocketAddr) {
    sleep(PROBE_AFTER).await;
    let asked = async {
        let probe = tokio::net::UdpSocket::bind(any_port(addr)).await?;
        probe.connect(addr).await?;
        // A QUIC server takes no notice of an empty datagram.
        probe.send(&[]).await?;
        probe.recv(&mut [0]).await
    };
    match asked.await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        _ => pending().await,
    }
}

fn failure(url: &MoqtUrl, addr: SocketAddr, error: quinn::ConnectionError) -> ConnectError {
    /// TLS alert no_application_protocol.
    const NO_PROTOCOL: u64 = 120;
    /// QUIC transport errors that carry a TLS alert.
    const CRYPTO: std::ops::Range<u64> = 0x100..0x200;
    /// QUIC transport error CONNECTION_REFUSED.
    const CONNECTION_REFUSED: u64 = 0x2;
    let host = url.host().to_owned();
    let alpn = match url.scheme() {
        Scheme::Moqt => ALPN,
        Scheme::Https => ALPN_HTTP3,
    };
    match &error {
        quinn::ConnectionError::TransportError(ours) => {
            let code = u64::from(ours.code);
            if code == CRYPTO.start + NO_PROTOCOL {
                return ConnectError::Protocol { addr, alpn };
            }
            if CRYPTO.contains(&code) {
                return ConnectError::Untrusted {
                    host,
                    reason: ours.reason.clone(),
                };
            }
        }
        quinn::ConnectionError::ConnectionClosed(theirs) => {
            let code = u64::from(theirs.error_code);
            if code == CRYPTO.start + NO_PROTOCOL {
                return ConnectError::Protocol { addr, alpn };
            }
            if code == CONNECTION_REFUSED {
                return ConnectError::Busy(addr);
            }
        }
        _ => {}
    }
    ConnectError::Handshake {
        addr,
        reason: error.to_string(),
    }
}
