//! A relay, and clients that reach it over one carrier.

use bytes::Bytes;
use moqtail::client::{
    Broadcast, Client, ClientConfig, ConnectError, LocalTrack, Object, Objects, ReadError,
    SubgroupOptions, SubscribeError, SubscribeOptions, Subscription, TrackOptions,
};
use moqtail::model::{Extensions, Filter};
use moqtail::relay::{Relay, RelayConfig};
use moqtail::transport::{
    ConnectConfig, Identity, ListenConfig, Listener, MemoryConnection, MoqtUrl, StreamError,
    TransportKind, TransportLimits, Trust, connect,
};
use tokio::task::JoinSet;

pub(crate) use crate::patience::soon;
use crate::raw::{Link, RawPeer};

pub(crate) struct World {
    pub(crate) relay: Relay,
    carrier: TransportKind,
    url: Option<MoqtUrl>,
    fingerprint: [u8; 32],
    tasks: JoinSet<()>,
}

impl World {
    pub(crate) async fn new(carrier: TransportKind) -> Self {
        Self::with(carrier, RelayConfig::default()).await
    }

    pub(crate) async fn with(carrier: TransportKind, config: RelayConfig) -> Self {
        let relay = Relay::new(config);
        let mut tasks = JoinSet::new();
        let identity = Identity::generate(["localhost"]).unwrap();
        let fingerprint = identity.fingerprint();
        let url = match carrier {
            TransportKind::Memory => None,
            _ => {
                let config = ListenConfig::new("127.0.0.1:0".parse().unwrap(), identity);
                let listener = Listener::bind(config).unwrap();
                let port = listener.local_addr().port();
                let served = relay.clone();
                tasks.spawn(async move { served.serve(&listener).await });
                let scheme = if carrier == TransportKind::Quic {
                    "moqt"
                } else {
                    "https"
                };
                Some(format!("{scheme}://127.0.0.1:{port}/").parse().unwrap())
            }
        };
        Self {
            relay,
            carrier,
            url,
            fingerprint,
            tasks,
        }
    }

    pub(crate) async fn client(&mut self) -> Client {
        self.client_with(ClientConfig::default()).await
    }

    pub(crate) async fn client_with(&mut self, config: ClientConfig) -> Client {
        let client = self.try_client(config).await.unwrap();
        assert_eq!(client.transport(), self.carrier);
        client
    }

    pub(crate) async fn try_client(
        &mut self,
        config: ClientConfig,
    ) -> Result<Client, ConnectError> {
        let config = config.trust(Trust::Fingerprints(vec![self.fingerprint]));
        let connected = async {
            match &self.url {
                Some(url) => Client::connect(url, config).await,
                None => {
                    let (here, there) = MemoryConnection::pair(TransportLimits::default());
                    let relay = self.relay.clone();
                    self.tasks.spawn(async move {
                        relay.attach(there).await;
                    });
                    Client::over(here, config).await
                }
            }
        };
        soon("a session", connected).await
    }

    /// A session by hand over a transport with these limits.
    pub(crate) async fn raw(&mut self, limits: TransportLimits) -> RawPeer {
        let link = match &self.url {
            Some(url) => {
                let trust = Trust::Fingerprints(vec![self.fingerprint]);
                let mut config = ConnectConfig::new(url.clone(), trust);
                config.limits = limits;
                Link::Quic(soon("a connection", connect(config)).await.unwrap())
            }
            None => {
                let (here, there) = MemoryConnection::pair(limits);
                let relay = self.relay.clone();
                self.tasks.spawn(async move {
                    relay.attach(there).await;
                });
                Link::Memory(here)
            }
        };
        RawPeer::over(link).await
    }

    /// A client that publishes `broadcast`.
    pub(crate) async fn publisher(&mut self, broadcast: &Broadcast) -> Publisher {
        let client = self.client().await;
        let publication = soon("PUBLISH_NAMESPACE_OK", client.publish(broadcast))
            .await
            .unwrap();
        Publisher {
            client,
            _publication: publication,
        }
    }

    /// A client that subscribes to `track` of the broadcast `live`.
    pub(crate) async fn viewer(&mut self, track: &str, filter: Filter) -> Viewer {
        self.try_viewer(track, filter).await.unwrap()
    }

    pub(crate) async fn try_viewer(
        &mut self,
        track: &str,
        filter: Filter,
    ) -> Result<Viewer, SubscribeError> {
        let client = self.client().await;
        let name = format!("live#{track}").parse().unwrap();
        let options = SubscribeOptions::default().filter(filter);
        let subscription = soon("an answer", client.subscribe(name, options)).await?;
        Ok(Viewer {
            client,
            subscription,
        })
    }
}

pub(crate) struct Publisher {
    pub(crate) client: Client,
    _publication: moqtail::client::Publication,
}

pub(crate) struct Viewer {
    pub(crate) client: Client,
    pub(crate) subscription: Subscription,
}

impl Viewer {
    pub(crate) fn objects(self) -> Reader {
        Reader {
            objects: self.subscription.into_objects(),
            _client: self.client,
        }
    }
}

pub(crate) struct Reader {
    pub(crate) objects: Objects,
    _client: Client,
}

impl Reader {
    pub(crate) async fn next(&mut self) -> Object {
        soon("an object", self.objects.next())
            .await
            .expect("the subscription goes on")
            .unwrap()
    }

    /// The next object, past streams that ended early with their publisher.
    pub(crate) async fn next_after_loss(&mut self) -> Object {
        loop {
            let next = soon("an object", self.objects.next()).await;
            match next.expect("the subscription goes on") {
                Ok(object) => return object,
                Err(
                    ReadError::Stream(StreamError::Reset(_))
                    | ReadError::Partial {
                        cause: StreamError::Reset(_),
                        ..
                    },
                ) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Location and payload of the next `count` objects.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<((u64, u64), Bytes)> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let object = self.next().await;
            taken.push(((object.group, object.object), object.payload));
        }
        taken
    }
}

/// The broadcast `live` with one track.
pub(crate) fn live(track: &str) -> (Broadcast, LocalTrack) {
    let broadcast = Broadcast::new("live".parse().unwrap());
    let track = broadcast
        .track(track.to_owned(), TrackOptions::default())
        .unwrap();
    (broadcast, track)
}

/// Publishes objects `objects` of `group` in one subgroup; each says where it stands.
pub(crate) fn publish_group(track: &LocalTrack, group: u64, objects: std::ops::Range<u64>) {
    let mut subgroup = track.subgroup(SubgroupOptions::new(group)).unwrap();
    for object in objects {
        subgroup
            .object(object, &Extensions::default(), text(group, object))
            .unwrap();
    }
    subgroup.finish().unwrap();
}

pub(crate) fn text(group: u64, object: u64) -> Bytes {
    format!("object {object} of group {group}").into()
}

/// Waits until the track has as many subscriptions as wanted.
pub(crate) async fn subscriptions(track: &LocalTrack, count: usize) {
    let mut interest = track.track().interest();
    soon(
        "subscriptions to come or go",
        interest.wait_for(|interest| interest.subscriptions == count),
    )
    .await
    .expect("the track exists");
}

/// Runs an async test body over each carrier, as a test of its own.
#[macro_export]
macro_rules! over_every_carrier {
    ($($(#[$doc:meta])* async fn $name:ident($world:ident: World) $body:block)*) => {
        $(
            mod $name {
                use super::*;

                #[allow(unused_mut, reason = "some bodies only look")]
                async fn body(mut $world: World) $body

                $(#[$doc])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn memory() {
                    body(World::new(moqtail::transport::TransportKind::Memory).await).await;
                }

                $(#[$doc])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn quic() {
                    body(World::new(moqtail::transport::TransportKind::Quic).await).await;
                }

                $(#[$doc])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn webtransport() {
                    body(World::new(moqtail::transport::TransportKind::WebTransport).await).await;
                }
            }
        )*
    };
}
