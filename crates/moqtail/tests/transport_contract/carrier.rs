//! The three carriers, each as a connected pair.

use std::{future::Future, net::Ipv4Addr, ops::Deref, time::Duration};

use moqtail::transport::{
    ConnectConfig, Connection, Identity, ListenConfig, Listener, MemoryConnection, MoqtUrl,
    QuicConnection, TransportLimits, Trust, connect,
};
use tokio::runtime::Runtime;

/// Far more than any test needs; a test that waits this long waits for ever.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) async fn in_time<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, test)
        .await
        .expect("the test hangs")
}

/// Both ends of a connection.
pub(crate) struct Pair<C> {
    pub client: C,
    pub server: C,
    /// Makes the server disappear without a word. It also holds what must live as long as the pair.
    pub vanish: Box<dyn FnOnce() + Send>,
}

pub(crate) trait Carrier {
    type Conn: Connection;
    fn pair_with(limits: TransportLimits) -> impl Future<Output = Pair<Self::Conn>> + Send;
    fn pair() -> impl Future<Output = Pair<Self::Conn>> + Send {
        Self::pair_with(TransportLimits::default())
    }
}

pub(crate) struct Memory;

impl Carrier for Memory {
    type Conn = MemoryConnection;
    async fn pair_with(limits: TransportLimits) -> Pair<MemoryConnection> {
        let (client, server) = MemoryConnection::pair(limits);
        let lost = server.clone();
        Pair {
            client,
            server,
            vanish: Box::new(move || lost.lose("cut")),
        }
    }
}

pub(crate) struct Quic;

impl Carrier for Quic {
    type Conn = QuicConnection;
    async fn pair_with(limits: TransportLimits) -> Pair<QuicConnection> {
        network_pair("moqt", limits).await
    }
}

pub(crate) struct WebTransport;

impl Carrier for WebTransport {
    type Conn = QuicConnection;
    async fn pair_with(limits: TransportLimits) -> Pair<QuicConnection> {
        network_pair("https", limits).await
    }
}

pub(crate) fn identity() -> Identity {
    Identity::generate(["localhost"]).expect("a certificate")
}

pub(crate) fn listen(limits: TransportLimits) -> (Listener, Identity) {
    let identity = identity();
    let mut config = ListenConfig::new((Ipv4Addr::LOCALHOST, 0).into(), identity.clone());
    config.limits = limits;
    (Listener::bind(config).expect("a free port"), identity)
}

pub(crate) fn url(scheme: &str, listener: &Listener, path: &str) -> MoqtUrl {
    format!("{scheme}://{}{path}", listener.local_addr())
        .parse()
        .expect("a valid URL")
}

/// The server lives in a runtime of its own, which can be stopped to make it vanish.
async fn network_pair(scheme: &str, limits: TransportLimits) -> Pair<QuicConnection> {
    let runtime = Stopped::runtime();
    let (listener, identity) = {
        let _inside = runtime.enter();
        listen(limits.clone())
    };
    let mut config = ConnectConfig::new(
        url(scheme, &listener, "/path?query"),
        Trust::Fingerprints(vec![identity.fingerprint()]),
    );
    config.limits = limits;
    let accept = runtime.spawn(async move {
        let incoming = listener.accept().await.expect("a client");
        (incoming.establish().await.expect("a session"), listener)
    });
    let client = connect(config).await.expect("a connection");
    let (server, listener) = accept.await.expect("no panic");
    let vanish = move || drop((runtime, listener));
    Pair {
        client,
        server,
        vanish: Box::new(vanish),
    }
}

/// A runtime that can be dropped inside another one: what runs in it stands still from then on.
pub(crate) struct Stopped(Option<Runtime>);

impl Stopped {
    pub(crate) fn runtime() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        Self(Some(runtime.expect("a runtime")))
    }
}

impl Deref for Stopped {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        self.0.as_ref().expect("it is dropped once")
    }
}

impl Drop for Stopped {
    #[expect(
        clippy::disallowed_methods,
        reason = "inside a runtime another one cannot be waited for"
    )]
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Its worker would go on for a moment, and send a good-bye if it is asked for one meanwhile.
            let stopping = std::thread::spawn(move || drop(runtime));
            stopping.join().expect("no panic");
        }
    }
}
