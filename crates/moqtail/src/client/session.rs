//! One session of a client: connect, subscribe, publish, close.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};
use std::{net::SocketAddr, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    Broadcast, ClientConfig, ClientLimits, ConnectError, Publication, PublishError, SubscribeError,
    SubscribeOptions, Subscription,
    ending::EndSlot,
    handler::{Answer, ClientHandler, State},
    inspection::Inspection,
    subscription::{Request, SubscriptionInfo},
    timeout::delivery_timeout,
};
use crate::{
    model::{FullTrackName, Parameters, PublishDoneCode, SessionCode},
    peer::{Deliveries, Egress, PeerHandle, Report, Side, Woken, close_code, drive, now},
    session::{self, Blame, Carrier, Role, Session, SessionConfig},
    transport::{
        CloseReason, Connection, ConnectionStats, MoqtUrl, QuicConnection, TransportKind, lock,
    },
};

/// How many round trips the last control messages are given before a session closes.
const LAST_WORDS_RTTS: u32 = 4;

/// Added to that for the time that the peer takes to read them, and what else it has received; and the longest wait for
/// the close itself.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// How often a peer may offer a track instead of being asked for it, before the call fails.
const OFFERS: usize = 4;

/// What is known of the peer when this side has [shut a session down](Client::shutdown).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// It has everything that was published here, as far as it subscribed to it ([`Client::delivered`]).
    Delivered,
    /// It may lack something: the grace time was over, or the session ended, before it was known to have everything; or it fell
    /// behind by more than [`DeliveryLimits::lag_bytes`](crate::track::DeliveryLimits::lag_bytes) allows, and its subscription ended
    /// with TOO_FAR_BEHIND.
    Incomplete,
}

/// A session with a relay or publisher. Clones refer to the same session; dropping the last one closes it with NO_ERROR.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    peer: PeerHandle,
    state: Arc<Mutex<State>>,
    kind: TransportKind,
    remote: Option<SocketAddr>,
    limits: ClientLimits,
    deliveries: Deliveries,
    /// A subscription of the peer has ended because it was too far behind.
    lagged: Arc<AtomicBool>,
    ended: watch::Receiver<Option<CloseReason>>,
    connection: Box<dyn ErasedConnection>,
    /// The same connection, if it was dialled here.
    dialled: Option<QuicConnection>,
}

/// The few things that a client asks of its connection after setup.
trait ErasedConnection: Send + Sync + std::fmt::Debug {
    fn close(&self, code: u32, reason: &str);
    fn stats(&self) -> ConnectionStats;
}

struct Erased<C>(C);

impl<C: Connection> ErasedConnection for Erased<C> {
    fn close(&self, code: u32, reason: &str) {
        self.0.close(code, reason);
    }

    fn stats(&self) -> ConnectionStats {
        self.0.stats()
    }
}

impl<C> std::fmt::Debug for Erased<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("connection")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.connection.close(close_code(SessionCode::NO_ERROR), "");
    }
}

impl Client {
    /// Connects to `url` and sets a session up: `moqt://` over raw QUIC, `https://` over WebTransport.
    ///
    /// # Errors
    /// [`ConnectError`] says whether the host, the way there, its certificate, its protocol or its policy is the cause.
    pub async fn connect(url: &MoqtUrl, config: ClientConfig) -> Result<Self, ConnectError> {
        let connection = crate::transport::connect(config.connect_config(url)).await?;
        let dialled = connection.clone();
        Self::set_up(connection, Some((url, dialled)), config).await
    }

    /// Sets a session up as client over an established connection, such as an in-memory one.
    ///
    /// # Errors
    /// [`ConnectError::Setup`] if the server refuses or does not answer.
    pub async fn over<C: Connection>(
        connection: C,
        config: ClientConfig,
    ) -> Result<Self, ConnectError> {
        Self::set_up(connection, None, config).await
    }

    async fn set_up<C: Connection>(
        connection: C,
        dialled: Option<(&MoqtUrl, QuicConnection)>,
        config: ClientConfig,
    ) -> Result<Self, ConnectError> {
        let (url, dialled) = dialled.unzip();
        let role = Role::Client {
            // Without a URL the peer is in this process.
            authority: url.map_or("localhost", MoqtUrl::authority).to_owned(),
            path: url
                .map(|url| url.path_and_query().to_owned())
                .unwrap_or_default(),
        };
        let carrier = match connection.kind() {
            TransportKind::WebTransport => Carrier::WebTransport,
            TransportKind::Quic | TransportKind::Memory => Carrier::Raw,
        };
        let session = Session::new(
            config.session_config(SessionConfig::new(role, carrier)),
            now(),
        )
        .map_err(ConnectError::Config)?;
        let peer = PeerHandle::new(session);
        let (established, set_up) = oneshot::channel();
        let (ended_tx, ended) = watch::channel(None);
        let egress = Egress::new(connection.clone(), config.delivery);
        let state = Arc::new(Mutex::new(State::new(established)));
        let drained = lock(&state).drained.clone();
        let mut handler = ClientHandler::<C>::new(
            peer.clone(),
            egress.handle(),
            state.clone(),
            config.limits.clone(),
        );

        let deliveries = egress.handle().deliveries();
        let lagged = Arc::new(AtomicBool::new(false));
        let report = Report::new(peer.clone(), {
            let lagged = lagged.clone();
            move |_, code| {
                if code == PublishDoneCode::TOO_FAR_BEHIND {
                    lagged.store(true, Ordering::Release);
                    tracing::info!("a subscription of the peer ended: it is too far behind");
                }
            }
        });
        let (driven, driver_peer, limits) = (connection.clone(), peer.clone(), config.peer.clone());
        #[expect(
            clippy::disallowed_methods,
            reason = "the task ends with the connection, which the client owns"
        )]
        tokio::spawn(async move {
            let reason = {
                let measured = driven.clone();
                let leave = async {
                    drained.notified().await;
                    tokio::time::sleep(last_words(&measured.stats())).await;
                    driver_peer.call(|session, _| session.close(SessionCode::NO_ERROR, ""));
                    std::future::pending().await
                };
                let peer = driver_peer.clone();
                let driven = drive(driven, peer, Side::Client, limits, &mut handler);
                let mut driven = Woken::new(driven);
                // One task for both: what the session answers is written before data that builds on it.
                tokio::select! {
                    biased;
                    reason = &mut driven => reason,
                    _ = egress.run(report) => driven.await,
                    () = leave => driven.await,
                }
            };
            handler.session_ended();
            ended_tx.send_replace(Some(reason));
        });

        let inner = Inner {
            peer,
            state,
            kind: connection.kind(),
            remote: connection.remote_address(),
            limits: config.limits,
            deliveries,
            lagged,
            ended,
            connection: Box::new(Erased(connection)),
            dialled,
        };
        let client = Self {
            inner: Arc::new(inner),
        };
        match set_up.await {
            Ok(()) => Ok(client),
            Err(_) => Err(client.not_set_up().await),
        }
    }

    async fn not_set_up(&self) -> ConnectError {
        let reason = self.closed().await;
        self.told().await;
        match (reason, self.blame()) {
            (CloseReason::Local { code, reason }, Some(Blame::Peer)) => ConnectError::Violation {
                code: SessionCode(code.into()),
                reason,
            },
            (reason, _) => ConnectError::Setup(reason),
        }
    }

    /// What carries the session.
    pub fn transport(&self) -> TransportKind {
        self.inner.kind
    }

    /// The peer's address, if the transport has one.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.inner.remote
    }

    /// What the transport measured so far.
    pub fn stats(&self) -> ConnectionStats {
        self.inner.connection.stats()
    }

    /// Subscribes to a track and waits for the publisher's answer.
    ///
    /// Dropping the future gives the subscription up.
    ///
    /// # Errors
    /// [`SubscribeError`]; a refusal has the publisher's code and reason.
    pub async fn subscribe(
        &self,
        track: FullTrackName,
        options: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError> {
        let mut parameters = Parameters::default();
        if let Some(timeout) = options.delivery_timeout {
            parameters.0.push(delivery_timeout(timeout));
        }
        let request = session::SubscribeOptions {
            track,
            priority: options.priority,
            group_order: options.group_order,
            forward: options.forward,
            filter: options.filter,
            parameters,
        };
        for _ in 0..OFFERS {
            if let Some(subscription) = self.subscribe_once(request.clone()).await? {
                return Ok(subscription);
            }
        }
        Err(SubscribeError::TimedOut)
    }

    /// As [`Client::subscribe`]; `None`: the peer offered the track before it could be asked.
    async fn subscribe_once(
        &self,
        request: session::SubscribeOptions,
    ) -> Result<Option<Subscription>, SubscribeError> {
        let (answer, answered) = oneshot::channel();
        let unread = self.inner.limits.max_unread;
        let (sender, incoming) = mpsc::channel(unread.clamp(1, Semaphore::MAX_PERMITS));
        let end = EndSlot::default();
        let handle = {
            // Held over the call, so that the answer finds its entry.
            let mut state = self.state();
            if state.ended {
                return Err(SubscribeError::SessionEnded);
            }
            let handle = self
                .inner
                .peer
                .call(|session, now| session.subscribe(request, now))?;
            let client = Arc::downgrade(&self.inner.state);
            let peer = self.inner.peer.clone();
            let inspection = Inspection::new(
                self.inner.limits.integrity,
                end.clone(),
                handle,
                peer,
                client,
            );
            state.subscribing(handle, answer, sender, end.clone(), inspection);
            handle
        };
        // Dropped with the future, it unsubscribes.
        let request = Request {
            handle,
            peer: self.inner.peer.clone(),
            client: self.inner.state.clone(),
        };
        let answer = answered.await.map_err(|_| SubscribeError::SessionEnded)??;
        let Answer::Accepted(accepted) = answer else {
            return Ok(None);
        };
        let info = SubscriptionInfo {
            largest: accepted.largest,
            group_order: accepted.group_order,
            expires: accepted.expires,
        };
        Ok(Some(Subscription {
            info,
            incoming,
            end,
            request,
        }))
    }

    /// Announces a broadcast with PUBLISH_NAMESPACE, waits for the answer, and serves its tracks until the
    /// [`Publication`] is dropped. The same broadcast can be published in many sessions.
    ///
    /// # Errors
    /// [`PublishError`]; a refusal has the peer's code and reason.
    pub async fn publish(&self, broadcast: &Broadcast) -> Result<Publication, PublishError> {
        let (answer, answered) = oneshot::channel();
        let (cancel, cancelled) = watch::channel(None);
        let namespace = broadcast.namespace().clone();
        let handle = {
            let mut state = self.state();
            if state.ended {
                return Err(PublishError::SessionEnded);
            }
            if !state.takes(broadcast) {
                return Err(PublishError::OtherBroadcast);
            }
            let handle = self.inner.peer.call(|session, now| {
                session.publish_namespace(namespace, Parameters::default(), now)
            })?;
            state.publishing(handle, broadcast.clone(), answer, cancel);
            handle
        };
        let (peer, state) = (self.inner.peer.clone(), self.inner.state.clone());
        let publication = Publication::new(handle, peer, state, cancelled);
        answered.await.map_err(|_| PublishError::SessionEnded)??;
        Ok(publication)
    }

    /// Waits until the session has ended, and tells why.
    pub async fn closed(&self) -> CloseReason {
        let mut ended = self.inner.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_else(lost),
            Err(_) => lost(),
        }
    }

    /// Whose doing it is that this side closed the session: [`Blame::Peer`] when the peer broke the protocol or a limit, or
    /// took too long. `None` while this side has not closed it, also when the peer or the network ended it.
    pub fn blame(&self) -> Option<Blame> {
        self.inner.peer.call(|session, _| session.blame())
    }

    /// Closes the session at once. What the peer has not acknowledged may be lost.
    pub fn close(&self, code: SessionCode, reason: &str) {
        self.inner
            .peer
            .call(|session, _| session.close(code, reason));
    }

    /// Waits until the peer has everything that was published here before the call, as far as it subscribes to it: each
    /// stream was received whole, or stopped or reset, and PUBLISH_DONE was said for the tracks that have ended. A
    /// subgroup that is open holds this up: only a finished one is known to have arrived. So does a peer that does not
    /// read; the wait is to be bounded. Dropping the future changes nothing.
    ///
    /// # Errors
    /// The session ended first, for this reason.
    pub async fn delivered(&self) -> Result<(), CloseReason> {
        match self.inner.deliveries.complete().await {
            true => Ok(()),
            false => Err(self.closed().await),
        }
    }

    /// Ends the session well: subscriptions end at once with UNSUBSCRIBE (draft-14 §9.4), what was published is given
    /// `grace` to be [delivered](Client::delivered), and what was said last a few round trips of what is left of it to
    /// arrive; then the session closes with NO_ERROR. End the tracks before, or finish the subgroups of those that
    /// another session or process goes on with. Returns when the peer was told, so that the program may end, and tells
    /// whether the peer has everything. Without `grace` nothing is sure to arrive but the close. Dropping the future early
    /// leaves the session as it is then.
    pub async fn shutdown(&self, grace: Duration) -> Farewell {
        self.unsubscribe_all();
        let farewell = self.see_off(grace).await;
        self.close(SessionCode::NO_ERROR, "");
        self.closed().await;
        self.told().await;
        farewell
    }

    /// The session has ended: waits until the peer was told, for the program may end next.
    async fn told(&self) {
        if let Some(dialled) = &self.inner.dialled {
            // Fails when the peer is gone; then there is nobody to tell.
            let _ = tokio::time::timeout(LAST_WORDS, dialled.wait_idle()).await;
        }
    }

    /// Waits until everything is with the peer and was read there, as far as that can be known.
    async fn see_off(&self, grace: Duration) -> Farewell {
        // `None`: there is no end of it.
        let until = Instant::now().checked_add(grace);
        match tokio::time::timeout(grace, self.delivered()).await {
            // Closing a connection throws away what the peer has not acknowledged, and nothing tells when it has the
            // last control message: the control stream must not be finished (draft-14 §3.3).
            Ok(Ok(())) => {
                let arrival = Instant::now() + last_words(&self.stats());
                tokio::select! {
                    () = tokio::time::sleep_until(until.map_or(arrival, |until| until.min(arrival))) => {}
                    _ = self.closed() => {}
                }
                match self.inner.lagged.load(Ordering::Acquire) {
                    true => Farewell::Incomplete,
                    false => Farewell::Delivered,
                }
            }
            Ok(Err(_)) | Err(_) => Farewell::Incomplete,
        }
    }

    fn unsubscribe_all(&self) {
        let running = self.state().end_subscriptions();
        self.inner.peer.call(|session, _| {
            for handle in running {
                if let Err(error) = session.unsubscribe(handle) {
                    tracing::trace!(%error, "subscription ended before the session");
                }
            }
        });
    }

    /// Waits until the peer sends GOAWAY, and gives the URI to connect to; empty: the current one. The URI is what the
    /// peer said: it may be no URI at all, and one of the other scheme (`moqt`, `https`) is legal, if against a SHOULD
    /// of draft-14 §9.4; [`Client::connect`] takes both. Pending forever if the session ends without.
    ///
    /// Subscriptions go on, and nothing new can be asked for here. When the new session has taken over, drop the
    /// subscriptions here, or call [`shutdown`](Client::shutdown): each ends with UNSUBSCRIBE, and after the last one,
    /// of both sides, the session closes with NO_ERROR. The peer may close it with GOAWAY_TIMEOUT before.
    pub async fn goaway(&self) -> String {
        let mut goaway = self.state().goaway.subscribe();
        match goaway.wait_for(Option::is_some).await {
            Ok(uri) => uri.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.inner.state)
    }
}

/// How long the last control messages are given to arrive before the close, which overtakes them.
fn last_words(stats: &ConnectionStats) -> Duration {
    stats.rtt * LAST_WORDS_RTTS + LAST_WORDS
}

fn lost() -> CloseReason {
    CloseReason::Lost("the session's task was stopped".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::SubscriptionEnd;
    use crate::{
        model::{GroupOrder, ObjectDatagram, SubgroupHeader, TrackAlias},
        peer::{Handler, InboundStream, PeerLimits},
        session::{Event, RequestHandle, SubscribeAnswer},
        transport::{MemoryConnection, MemoryRecv, TransportLimits},
    };

    /// A server that accepts every subscription.
    struct Server(PeerHandle);

    impl Handler<MemoryConnection> for Server {
        fn event(&mut self, event: Event) {
            match event {
                Event::SetupRequested(_) => {
                    self.0.call(|session, _| session.accept_setup()).unwrap();
                }
                Event::SubscribeRequested(request) => {
                    let answer = SubscribeAnswer {
                        alias: TrackAlias(1),
                        expires: None,
                        group_order: GroupOrder::Ascending,
                        largest: None,
                        parameters: Parameters::default(),
                    };
                    self.0.accept_subscribe(request.handle, answer).unwrap();
                }
                _ => {}
            }
        }

        fn start(&mut self, _: RequestHandle) {}

        fn subgroup(&mut self, _: RequestHandle, _: SubgroupHeader, _: InboundStream<MemoryRecv>) {}

        fn datagram(&mut self, _: RequestHandle, _: ObjectDatagram) {}
    }

    /// A client of such a server, which runs in these tasks.
    async fn client(
        config: ClientConfig,
    ) -> (Client, tokio::task::JoinSet<crate::transport::CloseReason>) {
        let (here, there) = MemoryConnection::pair(TransportLimits::default());
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            let config = SessionConfig::new(Role::Server, Carrier::Raw);
            let peer = PeerHandle::new(Session::new(config, now()).unwrap());
            let mut server = Server(peer.clone());
            drive(
                there,
                peer,
                Side::Server,
                PeerLimits::default(),
                &mut server,
            )
            .await
        });
        (Client::over(here, config).await.unwrap(), tasks)
    }

    fn video() -> FullTrackName {
        "live#video".parse().unwrap()
    }

    /// A handle may be used from another runtime than the one that its session runs in.
    #[test]
    fn nobody_waits_for_a_session_whose_runtime_is_gone() {
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
        };
        let of_session = runtime().unwrap();
        let (client, tasks) = of_session.block_on(client(ClientConfig::default()));
        let options = SubscribeOptions::default();
        let subscribed = of_session.block_on(client.subscribe(video(), options.clone()));
        let mut subscription = subscribed.unwrap();
        drop((tasks, of_session));
        let all = async {
            assert!(subscription.next().await.is_none());
            assert_eq!(subscription.end(), Some(SubscriptionEnd::SessionEnded));
            let update = subscription.update(crate::client::SubscriptionUpdate::default());
            assert_eq!(update, Err(session::CallError::Closed));
            let again = client.subscribe(video(), options).await;
            assert!(matches!(again, Err(SubscribeError::SessionEnded)));
        };
        let limit = Duration::from_secs(10);
        let here = runtime().unwrap();
        let done = here.block_on(async { tokio::time::timeout(limit, all).await });
        assert!(done.is_ok(), "it hangs");
    }

    #[tokio::test]
    async fn any_limit_of_what_is_unread_serves() {
        for max_unread in [0, usize::MAX] {
            let mut config = ClientConfig::default();
            config.limits.max_unread = max_unread;
            let (client, _tasks) = client(config).await;
            let subscribing = client.subscribe(video(), SubscribeOptions::default());
            assert!(subscribing.await.is_ok());
        }
    }

    /// A viewer that changes its mind often would hold more with every change.
    #[tokio::test]
    async fn nothing_is_kept_of_a_subscription_that_was_dropped() {
        let (client, _tasks) = client(ClientConfig::default()).await;
        let options = SubscribeOptions::default();
        let subscription = client.subscribe(video(), options).await.unwrap();
        let end = subscription.end.clone();
        drop(subscription);
        assert!(end.is_held_here_alone());
    }
}
