//! Shell: what a relay does with the events and streams of one session.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::{
    directory::{Directory, Upstreams, lock},
    shared::Shared,
    upstream::OnMalformed,
};
use crate::relay::{DownstreamRequest, SessionId, Verdict};
use crate::{
    model::{
        AuthToken, ObjectDatagram, PublishDoneCode, PublishErrorCode, PublishNamespaceErrorCode,
        SubgroupHeader, SubscribeErrorCode,
    },
    peer::{EgressHandle, Handler, InboundStream, PeerHandle, now, subscription_id},
    session::{
        Carrier, Event, PeerSetup, RequestFailure, RequestHandle, Session, SetupRefusal,
        SubscribeRequest,
    },
    track::UpdateParams,
    transport::{Connection, TransportKind},
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
    peer: PeerHandle,
    egress: EgressHandle<C>,
    upstreams: Upstreams,
    /// PUBLISH_DONE that waits for the streams still on their way.
    done: BTreeMap<RequestHandle, (PublishDoneCode, String)>,
    malformed: OnMalformed,
}

impl<C: Connection> RelayHandler<C> {
    pub(super) fn new(
        relay: Weak<Shared>,
        id: SessionId,
        peer: PeerHandle,
        egress: EgressHandle<C>,
        upstreams: Upstreams,
    ) -> Self {
        let shared = relay.clone();
        let malformed: OnMalformed = Arc::new(move |upstream, error| {
            if let Some(shared) = shared.upgrade() {
                lock(&shared.directory).malformed(upstream, error);
            }
        });
        Self {
            relay,
            id,
            peer,
            egress,
            upstreams,
            done: BTreeMap::new(),
            malformed,
        }
    }

    /// Changes the directory, then lets the relay's clock see its new deadline.
    fn directory(&self, change: impl FnOnce(&mut Directory)) {
        if let Some(shared) = self.relay.upgrade() {
            change(&mut lock(&shared.directory));
            shared.changed.notify_one();
        }
    }

    fn answer(&self, answer: impl FnOnce(&mut Session) -> Result<(), crate::session::CallError>) {
        self.peer.call(|session, _| {
            if let Err(error) = answer(session) {
                tracing::debug!(%error, "request ended before its answer");
            }
        });
    }

    fn set_up(&self, setup: PeerSetup) {
        let id = self.id;
        self.directory(|directory| {
            let hooks = directory.config.hooks.clone();
            let Some(entry) = directory.session(id) else {
                return;
            };
            if let Some(path) = setup.path {
                entry.info.path = path;
            }
            entry.info.tokens = setup.tokens.into_iter().map(AuthToken::from).collect();
            let verdict = hooks.connect(&entry.info);
            entry.peer.call(|session, _| {
                let answered = match verdict {
                    Verdict::Allow => session.accept_setup(),
                    Verdict::Deny => session.refuse_setup(SetupRefusal::Unauthorized, ""),
                };
                if let Err(error) = answered {
                    tracing::debug!(%error, "client left during setup");
                }
            });
        });
    }

    fn subscribe(&self, request: SubscribeRequest) {
        let id = self.id;
        let handle = request.handle;
        self.directory(|directory| {
            let hooks = directory.config.hooks.clone();
            let Some(entry) = directory.session(id) else {
                return;
            };
            // draft-14 §8.3
            if hooks.subscribe(&entry.info, &request.track) == Verdict::Deny {
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
            directory
                .hub
                .subscribe_requested(id, handle, request.track, downstream, now());
            directory.run();
        });
    }

    /// No stream comes any more, so a PUBLISH_DONE that counted more of them need not wait.
    pub(super) fn session_over(&mut self) {
        for (handle, (status, reason)) in std::mem::take(&mut self.done) {
            self.directory(|directory| directory.upstream_done(self.id, handle, status, &reason));
        }
    }

    fn upstream_done(&mut self, handle: RequestHandle) {
        let (status, reason) = self.done.remove(&handle).unwrap_or((
            PublishDoneCode::INTERNAL_ERROR,
            "publisher ended".to_owned(),
        ));
        self.directory(|directory| directory.upstream_done(self.id, handle, status, &reason));
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
                let code = match failure {
                    RequestFailure::Refused { code, .. } => code,
                    RequestFailure::TimedOut => SubscribeErrorCode::TIMEOUT,
                    RequestFailure::GoingAway => SubscribeErrorCode::INTERNAL_ERROR,
                };
                self.directory(|directory| directory.upstream_rejected(id, handle, code));
            }
            Event::PublishRequested(request) => self.directory(|directory| {
                let hooks = directory.config.hooks.clone();
                let Some(entry) = directory.session(id) else {
                    return;
                };
                // draft-14 §8.4
                if hooks.publish(&entry.info, &request.track) == Verdict::Deny {
                    let code = PublishErrorCode::UNAUTHORIZED;
                    return self.answer(|s| s.reject_publish(request.handle, code, "not allowed"));
                }
                directory.publish_requested(id, &request);
            }),
            Event::PublishDone {
                handle,
                status,
                reason,
                ..
            } => {
                self.done
                    .insert(handle, (status, reason.as_str().to_owned()));
            }
            Event::SubscriptionClosed { handle } => self.upstream_done(handle),
            Event::NamespacePublished {
                handle, namespace, ..
            } => self.directory(|directory| {
                let hooks = directory.config.hooks.clone();
                let Some(entry) = directory.session(id) else {
                    return;
                };
                // draft-14 §8.4
                if hooks.publish_namespace(&entry.info, &namespace) == Verdict::Deny {
                    let code = PublishNamespaceErrorCode::UNAUTHORIZED;
                    return self.answer(|s| s.reject_namespace(handle, code, "not allowed"));
                }
                tracing::debug!(session = id.0, %namespace, "namespace published");
                directory.hub.namespace_published(id, handle, namespace);
                directory.run();
            }),
            Event::NamespaceDone { handle } => self.directory(|directory| {
                directory.hub.namespace_done(id, handle);
                directory.run();
            }),
            // The relay makes no such requests, and a client's GOAWAY asks nothing of it but patience.
            Event::PublishAccepted(_)
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
            upstream.subgroup(
                handle,
                header,
                stream,
                self.peer.clone(),
                self.malformed.clone(),
            );
        }
    }

    fn datagram(&mut self, handle: RequestHandle, datagram: ObjectDatagram) {
        let taken = match lock(&self.upstreams).get(&handle) {
            Some(upstream) => upstream
                .datagram(handle, datagram, &self.peer)
                .map_err(|e| (upstream.id, e)),
            None => return,
        };
        if let Err((upstream, error)) = taken {
            (self.malformed)(upstream, &error);
        }
    }
}
