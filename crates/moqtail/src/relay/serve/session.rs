//! Shell: what a relay does with the events and streams of one session.

use std::sync::{Arc, Weak};

use super::{
    directory::Directory,
    shared::Shared,
    upstream::{OnMalformed, Upstreams},
    windows::Window,
};
use crate::relay::{DownstreamRequest, Hooks, SessionId, SessionInfo, Verdict};
use crate::{
    model::{
        AuthToken, ObjectDatagram, PublishErrorCode, PublishNamespaceErrorCode, SubgroupHeader,
        SubscribeErrorCode, TrackNamespace,
    },
    peer::{EgressHandle, Handler, InboundStream, PeerHandle, now, subscription_id},
    session::{
        Carrier, Event, PeerSetup, PublishRequest, RequestFailure, RequestHandle, Session,
        SubscribeRequest,
    },
    track::UpdateParams,
    transport::{Connection, TransportKind, lock},
};

/// Where a session finds its PATH.
pub(super) fn carrier(kind: TransportKind) -> Carrier {
    match kind {
        TransportKind::WebTransport => Carrier::WebTransport,
        TransportKind::Quic | TransportKind::Memory => Carrier::Raw,
    }
}

pub(super) struct RelayHandler<C: Connection> {
    relay: Weak<Shared>,
    id: SessionId,
    /// What hooks are told. They are called without a lock: they may ask the relay.
    info: SessionInfo,
    hooks: Arc<dyn Hooks>,
    peer: PeerHandle,
    egress: EgressHandle<C>,
    upstreams: Upstreams,
    malformed: OnMalformed,
    /// What the peer may leave unread as a publisher.
    window: Option<Window>,
}

impl<C: Connection> RelayHandler<C> {
    pub(super) fn new(
        relay: &Arc<Shared>,
        info: SessionInfo,
        peer: PeerHandle,
        egress: EgressHandle<C>,
        upstreams: Upstreams,
    ) -> Self {
        let shared = Arc::downgrade(relay);
        let malformed: OnMalformed = Arc::new(move |upstream, error| {
            if let Some(shared) = shared.upgrade() {
                shared.change(|directory| directory.malformed(upstream, error));
            }
        });
        Self {
            relay: Arc::downgrade(relay),
            id: SessionId(info.id),
            info,
            hooks: relay.config.hooks.clone(),
            peer,
            egress,
            upstreams,
            malformed,
            window: None,
        }
    }

    fn directory(&self, change: impl FnOnce(&mut Directory)) {
        if let Some(shared) = self.relay.upgrade() {
            shared.change(change);
        }
    }

    fn answer(&self, answer: impl FnOnce(&mut Session) -> Result<(), crate::session::CallError>) {
        self.peer.call(|session, _| {
            if let Err(error) = answer(session) {
                tracing::debug!(%error, "request ended before its answer");
            }
        });
    }

    fn set_up(&mut self, setup: PeerSetup) {
        self.info.authority = setup.authority.or(self.info.authority.take());
        if let Some(path) = setup.path {
            self.info.set_path(&path);
        }
        self.info.tokens = setup.tokens.into_iter().map(AuthToken::from).collect();
        match self.hooks.connect(&self.info) {
            Ok(()) => self.answer(Session::accept_setup),
            Err(refusal) => self.answer(|s| s.refuse_setup(refusal, "")),
        }
    }

    fn subscribe(&self, request: SubscribeRequest) {
        let (id, handle) = (self.id, request.handle);
        // draft-14 §8.3
        if self.hooks.subscribe(&self.info, &request.track) == Verdict::Deny {
            let code = SubscribeErrorCode::UNAUTHORIZED;
            return self.answer(|s| s.reject_subscribe(handle, code, "not allowed"));
        }
        let downstream = DownstreamRequest {
            filter: request.filter,
            forward: request.forward,
            priority: request.priority,
            group_order: request.group_order,
            delivery_timeout: request.parameters.delivery_timeout(),
        };
        self.directory(|directory| {
            directory
                .hub
                .subscribe_requested(id, handle, request.track, downstream, now());
            directory.run();
        });
    }

    fn publish(&self, request: &PublishRequest) {
        // draft-14 §8.4
        if self.hooks.publish(&self.info, &request.track) == Verdict::Deny {
            let code = PublishErrorCode::UNAUTHORIZED;
            return self.answer(|s| s.reject_publish(request.handle, code, "not allowed"));
        }
        self.directory(|directory| directory.publish_requested(self.id, request));
    }

    fn publish_namespace(&self, handle: RequestHandle, namespace: TrackNamespace) {
        // draft-14 §8.4
        if self.hooks.publish_namespace(&self.info, &namespace) == Verdict::Deny {
            let code = PublishNamespaceErrorCode::UNAUTHORIZED;
            return self.answer(|s| s.reject_namespace(handle, code, "not allowed"));
        }
        tracing::debug!(session = self.id.0, %namespace, "namespace published");
        self.directory(|directory| {
            directory
                .hub
                .namespace_published(self.id, handle, namespace, now());
            directory.run();
        });
    }
}

impl<C: Connection> Handler<C> for RelayHandler<C> {
    fn event(&mut self, event: Event) {
        let id = self.id;
        match event {
            Event::SetupRequested(setup) => self.set_up(setup),
            Event::Established(setup) => {
                let implementation = setup.implementation.unwrap_or_default();
                tracing::info!(session = id.0, implementation, "session established");
            }
            Event::SubscribeRequested(request) => self.subscribe(request),
            Event::SubscriptionUpdated(change) => {
                let update = UpdateParams {
                    start: change.start,
                    end_group: change.end_group,
                    forward: change.forward,
                    subscriber_priority: change.priority,
                    delivery_timeout: change.parameters.delivery_timeout(),
                };
                if let Err(error) = self.egress.update(subscription_id(change.handle), update) {
                    tracing::debug!(handle = %change.handle, %error, "update without effect");
                }
                self.directory(|directory| {
                    directory
                        .hub
                        .forward_changed(id, change.handle, change.forward);
                    directory.run();
                });
            }
            Event::Unsubscribed { handle } => self.directory(|directory| {
                directory.hub.downstream_left(id, handle);
                directory.run();
            }),
            Event::SubscribeAccepted(accepted) => {
                self.directory(|directory| directory.upstream_accepted(id, &accepted));
            }
            Event::SubscribeRejected { handle, failure } => {
                let (code, answered) = refusal(&failure);
                self.directory(|directory| {
                    if answered {
                        directory.upstream_answered(id, handle);
                    }
                    directory.upstream_rejected(id, handle, code);
                });
            }
            Event::SubscribeSuperseded { handle } => {
                self.directory(|directory| directory.upstream_superseded(id, handle));
            }
            Event::PublishRequested(request) => self.publish(&request),
            Event::PublishDone {
                handle,
                status,
                reason,
                ..
            } => {
                let reason = reason.as_str().to_owned();
                self.directory(|directory| directory.upstream_ends(id, handle, status, reason));
            }
            Event::SubscriptionClosed { handle } => {
                self.directory(|directory| directory.upstream_done(id, handle));
            }
            Event::NamespacePublished {
                handle, namespace, ..
            } => self.publish_namespace(handle, namespace),
            Event::NamespaceDone { handle } => self.directory(|directory| {
                directory.hub.namespace_done(id, handle);
                directory.run();
            }),
            // The relay tells no time, makes no such requests, and a client's GOAWAY asks nothing of it but patience.
            Event::SubscriptionExpired { .. }
            | Event::PublishAccepted(_)
            | Event::PublishRejected { .. }
            | Event::NamespaceAccepted { .. }
            | Event::NamespaceRejected { .. }
            | Event::NamespaceCancelled { .. }
            | Event::GoawayReceived { .. }
            | Event::Drained => {}
        }
    }

    fn start(&mut self, handle: RequestHandle) {
        self.egress.start(subscription_id(handle));
    }

    fn subgroup(
        &mut self,
        handle: RequestHandle,
        header: SubgroupHeader,
        stream: InboundStream<C::Recv>,
    ) {
        if let Some(upstream) = lock(&self.upstreams).get_mut(&handle) {
            upstream.subgroup(header, stream, self.peer.clone(), self.malformed.clone());
        }
    }

    fn datagram(&mut self, handle: RequestHandle, datagram: ObjectDatagram) {
        let taken = match lock(&self.upstreams).get(&handle) {
            Some(upstream) => upstream.datagram(datagram).map_err(|e| (upstream.id, e)),
            None => return,
        };
        if let Err((upstream, error)) = taken {
            (self.malformed)(upstream, &error);
        }
    }

    fn intolerable(&mut self, line: &str) {
        if let Some(shared) = self.relay.upgrade()
            && let Some(others) = shared.intolerable.count()
        {
            tracing::warn!(others, "{line}");
        }
    }

    fn ending(&mut self) {
        self.directory(|directory| directory.hub.session_leaves(self.id));
    }

    fn receive_window(&mut self, most: u32) -> u32 {
        let Some(shared) = self.relay.upgrade() else {
            return 0;
        };
        let most = most.min(shared.config.limits.max_publisher_window);
        let window = self.window.insert(shared.windows.take(most));
        window.bytes()
    }
}

/// Why a publisher does not serve a track, and whether that is an answer.
pub(super) fn refusal(failure: &RequestFailure<SubscribeErrorCode>) -> (SubscribeErrorCode, bool) {
    match failure {
        // A relay that has nobody who answers is like one that does not.
        RequestFailure::Refused { code, .. } => (*code, *code != SubscribeErrorCode::TIMEOUT),
        RequestFailure::TimedOut => (SubscribeErrorCode::TIMEOUT, false),
        RequestFailure::GoingAway => (SubscribeErrorCode::INTERNAL_ERROR, false),
    }
}
