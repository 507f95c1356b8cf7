//! Accepting connections: raw QUIC and WebTransport on one UDP port.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use quinn::crypto::rustls::HandshakeData;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SetOnce},
    time::timeout,
};

use super::{
    ALPN, ALPN_HTTP3, Connection, Identity, QuicConnection, TlsError, TransportLimits,
    hosts::{HostPlace, Hosts},
    limits::HTTP3_STREAMS,
    lock,
    quic::{HandshakeError, Owner, WeakConnection},
    refusals::Refusals,
    socket::{self, BufferShortfall},
    swept::Swept,
    tls,
};

/// Bytes kept of a client that [`Listener::accept`] has not returned yet, and of all of them.
const WAITING_CLIENT_BYTES: u64 = 64 << 10;
const WAITING_BYTES: u64 = 16 << 20;

/// How to listen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenConfig {
    /// Address and UDP port; port 0 takes a free one. `[::]` takes IPv4 too.
    pub addr: SocketAddr,
    /// Certificate and key shown to clients.
    pub identity: Identity,
    /// Bounds for the listener and its connections.
    pub limits: TransportLimits,
    /// Paths at which WebTransport sessions are accepted; others get status 404. Empty accepts every path. On raw QUIC the
    /// path comes in CLIENT_SETUP, for the session or the hooks of a relay to judge.
    pub paths: Vec<String>,
}

impl ListenConfig {
    /// Listens at `addr` with default limits, for every path.
    pub fn new(addr: SocketAddr, identity: Identity) -> Self {
        Self {
            addr,
            identity,
            limits: TransportLimits::default(),
            paths: Vec::new(),
        }
    }
}

/// A listener could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address is taken, not ours, or the system refused a socket.
    #[error("cannot listen on UDP {addr}: {source}")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why an incoming connection did not become a session. The listener goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The client did not finish the handshake in time.
    #[error("handshake not finished within {0:?}")]
    Timeout(Duration),
    /// The QUIC handshake failed: no common protocol, certificate refused, client gone.
    #[error("QUIC handshake failed: {0}")]
    Handshake(String),
    /// The WebTransport request was missing or malformed.
    #[error("WebTransport handshake failed: {0}")]
    WebTransport(String),
    /// The WebTransport request was for a path that is not served; the client was told with status 404.
    #[error("no session at path {0}")]
    Path(String),
    /// The listener was closed meanwhile.
    #[error("the listener is closed")]
    Closed,
}

/// A UDP port on which connections arrive.
///
/// Dropping it stops new connections and leaves established ones alone.
#[derive(Debug)]
pub struct Listener {
    endpoint: quinn::Endpoint,
    shortfall: Option<BufferShortfall>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: TransportLimits,
    paths: Vec<String>,
    certificate: Arc<tls::Certificate>,
    handshakes: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    hosts: Arc<Hosts>,
    refusals: Refusals,
    open: Mutex<Swept<WeakConnection>>,
    closed: SetOnce<(u32, String)>,
}

impl Listener {
    /// Opens the port. Needs a Tokio runtime.
    ///
    /// Connections that another listener had here before, in this process or in one that died, end at once when their
    /// clients send something, if it had an [`Identity`] with the same private key.
    ///
    /// # Errors
    /// [`ListenError`], with the address in it.
    pub fn bind(config: ListenConfig) -> Result<Self, ListenError> {
        let ListenConfig {
            addr,
            identity,
            limits,
            paths,
        } = config;
        let certificate = Arc::new(tls::Certificate::new(identity.certified_key()));
        let crypto = tls::server(certificate.clone())?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        server
            .transport_config(socket::transport(&limits, HTTP3_STREAMS))
            .max_incoming(limits.handshakes)
            .incoming_buffer_size(WAITING_CLIENT_BYTES)
            .incoming_buffer_size_total(WAITING_BYTES);
        let (endpoint, shortfall) = socket::bind(addr, limits.socket_buffer, false)
            .and_then(|socket| {
                let shortfall = socket::shortfall(&socket, limits.socket_buffer);
                let config = identity.resets().endpoint_config(socket.local_addr()?);
                Ok((socket::endpoint(socket, config, Some(server))?, shortfall))
            })
            .map_err(|source| ListenError::Bind { addr, source })?;
        let shared = Arc::new(Shared {
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
            connections: Arc::new(Semaphore::new(limits.connections)),
            hosts: Arc::default(),
            refusals: Refusals::default(),
            open: Mutex::default(),
            closed: SetOnce::new(),
            limits,
            paths,
            certificate,
        });
        Ok(Self {
            endpoint,
            shortfall,
            shared,
        })
    }

    /// Opens the same port on 127.0.0.1 and ::1, because `localhost` may mean either. The port is that of
    /// `config.addr`, whose address is ignored; port 0 takes one that is free on both. On a machine without IPv6 the
    /// IPv4 listener is alone.
    ///
    /// # Errors
    /// The port is taken on one of the addresses, or no port is free on both.
    pub fn bind_localhost(config: ListenConfig) -> Result<Vec<Self>, ListenError> {
        /// Times another free port is tried.
        const TRIES: usize = 16;
        let wanted = config.addr.port();
        let at = |addr: SocketAddr| {
            Self::bind(ListenConfig {
                addr,
                ..config.clone()
            })
        };
        let mut tries = 0;
        loop {
            tries += 1;
            let v4 = at((Ipv4Addr::LOCALHOST, wanted).into())?;
            let port = v4.local_addr().port();
            match at((Ipv6Addr::LOCALHOST, port).into()) {
                Ok(v6) => return Ok(vec![v4, v6]),
                Err(ListenError::Bind { source, .. })
                    if source.kind() == io::ErrorKind::AddrInUse
                        && wanted == 0
                        && tries < TRIES => {}
                Err(ListenError::Bind { source, .. })
                    if source.kind() != io::ErrorKind::AddrInUse =>
                {
                    tracing::debug!("no IPv6 listener: {source}");
                    return Ok(vec![v4]);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The address listened on, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        // Fails only if the system forgot a bound socket.
        self.endpoint
            .local_addr()
            .unwrap_or_else(|_| (Ipv4Addr::UNSPECIFIED, 0).into())
    }

    /// Whether the system granted smaller socket buffers than [`TransportLimits::socket_buffer`] asks for.
    pub fn buffer_shortfall(&self) -> Option<BufferShortfall> {
        self.shortfall
    }

    /// Waits for the next client. The handshake is left to [`Incoming::establish`], to be awaited in a task of its own,
    /// so that a slow client holds up nobody. `None` after [`Listener::close`]. Cancel safe.
    pub async fn accept(&self) -> Option<Incoming> {
        loop {
            let incoming = tokio::select! {
                biased;
                _ = self.shared.closed.wait() => return None,
                incoming = self.endpoint.accept() => incoming?,
            };
            let permits = (
                self.shared.handshakes.clone().try_acquire_owned(),
                self.shared.connections.clone().try_acquire_owned(),
            );
            let peer = incoming.remote_address();
            let (Ok(handshake), Ok(connection)) = permits else {
                self.shared.refusals.tell(Some(peer), "at the limit");
                incoming.refuse();
                continue;
            };
            // Under pressure a client has to show that its address is real before it costs anything.
            let busy =
                self.shared.handshakes.available_permits() < self.shared.limits.handshakes / 2;
            if busy && !incoming.remote_address_validated() && incoming.may_retry() {
                // Fails only if `may_retry` is false.
                let _ = incoming.retry();
                continue;
            }
            let most = match busy {
                true => self.shared.limits.handshakes_per_host,
                false => usize::MAX,
            };
            // An address that is not proven may be somebody else's.
            let proven = incoming.remote_address_validated();
            let host = proven.then(|| self.shared.hosts.enter(peer.ip(), most));
            if let Some(None) = host {
                let why = "too many handshakes of one host";
                self.shared.refusals.tell(Some(peer), why);
                incoming.refuse();
                continue;
            }
            let shared = self.shared.clone();
            return Some(Incoming {
                incoming,
                shared,
                handshake: Handshake {
                    _place: handshake,
                    _host: host.flatten(),
                },
                connection,
            });
        }
    }

    /// Shows another certificate from the next handshake on. What connections of this listener end by after a restart
    /// stays with the private key that it was bound with.
    pub fn set_identity(&self, identity: &Identity) {
        self.shared.certificate.set(identity.certified_key());
    }

    /// Ends [`Listener::accept`] and closes all connections of this listener with a session termination code
    /// (draft-14 §3.4). The first call wins.
    pub fn close(&self, code: u32, reason: &str) {
        if self.shared.closed.set((code, reason.to_owned())).is_err() {
            return;
        }
        self.endpoint.set_server_config(None);
        let open = std::mem::take(&mut *lock(&self.shared.open));
        for connection in open.into_items() {
            connection.close(code, reason);
        }
    }

    /// Waits until every connection is closed and its peer was told. Call it after [`Listener::close`], before the
    /// program ends.
    pub async fn wait_idle(&self) {
        self.endpoint.wait_idle().await;
    }
}

/// A client that wants in. Dropping it refuses the client.
#[derive(Debug)]
pub struct Incoming {
    incoming: quinn::Incoming,
    shared: Arc<Shared>,
    handshake: Handshake,
    connection: OwnedSemaphorePermit,
}

/// What a handshake takes while it runs.
#[derive(Debug)]
struct Handshake {
    _place: OwnedSemaphorePermit,
    _host: Option<HostPlace>,
}

impl Incoming {
    /// The client's address, not yet proven.
    pub fn remote_address(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    /// Runs the QUIC handshake and, for WebTransport, answers the session request; both within
    /// [`TransportLimits::handshake_timeout`]. Dropping the future drops the client.
    ///
    /// # Errors
    /// [`AcceptError`]; the client is told as far as the protocol allows.
    pub async fn establish(self) -> Result<QuicConnection, AcceptError> {
        let Self {
            incoming,
            shared,
            handshake,
            connection,
        } = self;
        let limit = shared.limits.handshake_timeout;
        let established = timeout(limit, establish(incoming, &shared, connection)).await;
        drop(handshake);
        let connection = established.map_err(|_| AcceptError::Timeout(limit))??;
        shared.remember(&connection);
        if let Some((code, reason)) = shared.closed.get() {
            connection.close(*code, reason);
            return Err(AcceptError::Closed);
        }
        Ok(connection)
    }
}

impl Shared {
    fn remember(&self, connection: &QuicConnection) {
        lock(&self.open).push(connection.downgrade(), WeakConnection::is_gone);
    }
}

async fn establish(
    incoming: quinn::Incoming,
    shared: &Shared,
    place: OwnedSemaphorePermit,
) -> Result<QuicConnection, AcceptError> {
    let failed = |error: quinn::ConnectionError| AcceptError::Handshake(error.to_string());
    let conn = incoming.accept().map_err(failed)?.await.map_err(failed)?;
    let owner = Owner::Listener(place);
    let protocol = conn
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok())
        .and_then(|data| data.protocol);
    // draft-14 §3.1.2: raw QUIC is told by its ALPN. TLS refuses all but these two.
    if protocol.as_deref() == Some(ALPN.as_bytes()) {
        return Ok(QuicConnection::raw(conn, &shared.limits, owner));
    }
    if protocol.as_deref() != Some(ALPN_HTTP3.as_bytes()) {
        return Err(AcceptError::Handshake("no protocol negotiated".to_owned()));
    }
    let allow = |path: &str| shared.paths.is_empty() || shared.paths.iter().any(|p| p == path);
    QuicConnection::accept_web(conn, &shared.limits, allow, owner)
        .await
        .map_err(|error| match error {
            HandshakeError::Connection(error) => failed(error),
            HandshakeError::Path(path) => AcceptError::Path(path),
            HandshakeError::Status(_) | HandshakeError::Http3(_) => {
                AcceptError::WebTransport(error.to_string())
            }
        })
}
