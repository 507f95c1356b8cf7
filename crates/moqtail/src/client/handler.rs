//! What a client does with the events and streams of its session.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::{
    Broadcast, ClientLimits, Incoming, PublishError, SubgroupReader, SubscribeError,
    SubscriptionEnd,
    broadcast::Offered,
    ending::{EndSlot, Forget},
    gather::Gathering,
    inspection::{Inspection, StreamInspection},
    timeout::delivery_timeout,
};
use crate::{
    model::{
        FullTrackName, ObjectDatagram, Parameters, PublishDoneCode, PublishErrorCode,
        PublishNamespaceErrorCode, SubgroupHeader, SubscribeErrorCode,
    },
    peer::{EgressHandle, Handler, InboundStream, PeerHandle, refusal, subscription_id},
    session::{
        CallError, Event, RequestFailure, RequestHandle, Session, SubscribeAccepted,
        SubscribeAnswer, SubscribeRequest,
    },
    track::{Admission, SubscriptionParams, UpdateParams},
    transport::{Connection, RecvStream, lock},
};

type SubscribeAnswerSender = oneshot::Sender<Result<Answer, SubscribeError>>;
type PublishAnswerSender = oneshot::Sender<Result<(), PublishError>>;
/// Why the peer no longer takes a namespace. It is dropped without when the session ends.
type CancelSender = watch::Sender<Option<PublishError>>;

/// What became of a SUBSCRIBE that did not fail.
#[derive(Debug)]
pub(super) enum Answer {
    Accepted(SubscribeAccepted),
    /// The peer offered the track before it could be asked, which was refused.
    Superseded,
}

/// What handler and callers share.
#[derive(Debug)]
pub(super) struct State {
    established: Option<oneshot::Sender<()>>,
    subscriptions: BTreeMap<RequestHandle, Subscribed>,
    publications: BTreeMap<RequestHandle, Published>,
    /// The URI of the peer's GOAWAY.
    pub(super) goaway: watch::Sender<Option<String>>,
    /// After GOAWAY the last subscription of both sides has ended.
    pub(super) drained: Arc<Notify>,
    pub(super) ended: bool,
}

#[derive(Debug)]
struct Subscribed {
    answer: Option<SubscribeAnswerSender>,
    sender: mpsc::Sender<Incoming>,
    end: EndSlot,
    inspection: Arc<Inspection>,
}

#[derive(Debug)]
struct Published {
    broadcast: Broadcast,
    answer: Option<PublishAnswerSender>,
    cancelled: CancelSender,
}

impl State {
    pub(super) fn new(established: oneshot::Sender<()>) -> Self {
        Self {
            established: Some(established),
            subscriptions: BTreeMap::new(),
            publications: BTreeMap::new(),
            goaway: watch::Sender::new(None),
            drained: Arc::default(),
            ended: false,
        }
    }

    pub(super) fn subscribing(
        &mut self,
        handle: RequestHandle,
        answer: SubscribeAnswerSender,
        sender: mpsc::Sender<Incoming>,
        end: EndSlot,
        inspection: Arc<Inspection>,
    ) {
        let subscribed = Subscribed {
            answer: Some(answer),
            sender,
            end,
            inspection,
        };
        self.subscriptions.insert(handle, subscribed);
    }

    pub(super) fn publishing(
        &mut self,
        handle: RequestHandle,
        broadcast: Broadcast,
        answer: PublishAnswerSender,
        cancelled: CancelSender,
    ) {
        self.publications.insert(
            handle,
            Published {
                broadcast,
                answer: Some(answer),
                cancelled,
            },
        );
    }

    /// Whether the Track Aliases of `broadcast` fit those of what is published.
    pub(super) fn takes(&self, broadcast: &Broadcast) -> bool {
        self.publications
            .values()
            .all(|published| published.broadcast.is_beside(broadcast))
    }

    pub(super) fn withdraw(&mut self, handle: RequestHandle) {
        self.publications.remove(&handle);
    }

    /// Ends every subscription for the application; the session is to be told.
    pub(super) fn end_subscriptions(&mut self) -> Vec<RequestHandle> {
        let ended = std::mem::take(&mut self.subscriptions);
        for subscribed in ended.values() {
            subscribed.end.set(SubscriptionEnd::SessionEnded);
        }
        ended.into_keys().collect()
    }
}

impl Forget for Mutex<State> {
    fn forget(&self, handle: RequestHandle) {
        let forgotten = lock(self).subscriptions.remove(&handle);
        // Streams that wait in its channel tell the session of their end.
        drop(forgotten);
    }
}

pub(super) struct ClientHandler<C: Connection> {
    peer: PeerHandle,
    egress: EgressHandle<C>,
    state: Arc<Mutex<State>>,
    gathering: Gathering,
    limits: ClientLimits,
}

impl<C: Connection> Drop for ClientHandler<C> {
    /// The task may be dropped with its runtime: nobody is to wait for it then.
    fn drop(&mut self) {
        self.session_ended();
    }
}

impl<C: Connection> ClientHandler<C> {
    pub(super) fn new(
        peer: PeerHandle,
        egress: EgressHandle<C>,
        state: Arc<Mutex<State>>,
        limits: ClientLimits,
    ) -> Self {
        Self {
            peer,
            egress,
            state,
            gathering: Gathering::new(limits.max_gathered),
            limits,
        }
    }

    /// Answers everybody who waits, and ends every subscription.
    pub(super) fn session_ended(&self) {
        self.egress.close();
        let mut state = self.state();
        state.ended = true;
        state.established = None;
        state.publications.clear();
        state.end_subscriptions();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn answer(&self, answer: impl FnOnce(&mut Session) -> Result<(), CallError>) {
        self.peer.call(|session, _| {
            if let Err(error) = answer(session) {
                tracing::debug!(%error, "request ended before its answer");
            }
        });
    }

    fn subscribe_answered(&self, handle: RequestHandle, answer: Result<Answer, SubscribeError>) {
        let mut state = self.state();
        let Some(subscribed) = state.subscriptions.get_mut(&handle) else {
            return;
        };
        let sender = subscribed.answer.take();
        if !matches!(answer, Ok(Answer::Accepted(_))) {
            state.subscriptions.remove(&handle);
        }
        if let Some(sender) = sender {
            // The caller may have given up; then its drop unsubscribes.
            let _ = sender.send(answer);
        }
    }

    fn publish_answered(&self, handle: RequestHandle, answer: Result<(), PublishError>) {
        let mut state = self.state();
        let Some(published) = state.publications.get_mut(&handle) else {
            return;
        };
        let sender = published.answer.take();
        if answer.is_err() {
            state.publications.remove(&handle);
        }
        if let Some(sender) = sender {
            // The caller may have given up; then its drop withdraws.
            let _ = sender.send(answer);
        }
    }

    fn find(&self, name: &FullTrackName) -> Option<Arc<Offered>> {
        self.state()
            .publications
            .values()
            .find_map(|published| published.broadcast.find(name))
    }

    fn serve(&self, request: SubscribeRequest) {
        let handle = request.handle;
        let Some(offered) = self.find(&request.track) else {
            let code = SubscribeErrorCode::TRACK_DOES_NOT_EXIST;
            return self
                .answer(|s| s.reject_subscribe(handle, code, "track not found in this broadcast"));
        };
        let params = SubscriptionParams {
            filter: request.filter,
            forward: request.forward,
            subscriber_priority: request.priority,
            group_order: request.group_order.unwrap_or(offered.group_order),
            delivery_timeout: request.parameters.delivery_timeout(),
            publisher_timeout: offered.delivery_timeout,
        };
        let id = subscription_id(handle);
        match self
            .egress
            .attach(id, &offered.track, params, Admission::Now)
        {
            Ok(start) => {
                let timeout = offered.delivery_timeout.map(delivery_timeout);
                let answer = SubscribeAnswer {
                    alias: start.alias,
                    expires: offered.expires,
                    group_order: params.group_order,
                    largest: start.largest,
                    parameters: Parameters(timeout.into_iter().collect()),
                };
                if self.peer.accept_subscribe(handle, answer).is_err() {
                    self.egress.detach(id);
                }
            }
            Err(error) => {
                self.answer(|s| s.reject_subscribe(handle, refusal(&error), error.to_string()))
            }
        }
    }

    /// Gives the application what `receive` makes of something that came for it.
    fn deliver(
        &self,
        handle: RequestHandle,
        receive: impl FnOnce(Arc<Inspection>) -> Option<Incoming>,
    ) {
        let subscribed = self
            .state()
            .subscriptions
            .get(&handle)
            .map(|s| (s.sender.clone(), s.inspection.clone()));
        let Some((sender, inspection)) = subscribed else {
            return;
        };
        if let Some(incoming) = receive(inspection)
            && sender.try_send(incoming).is_err()
        {
            tracing::debug!(%handle, "the application does not take what arrives; dropped");
        }
    }
}

impl<C: Connection> Handler<C> for ClientHandler<C> {
    fn event(&mut self, event: Event) {
        match event {
            Event::Established(_) => {
                if let Some(established) = self.state().established.take() {
                    // The caller may have given up.
                    let _ = established.send(());
                }
            }
            Event::SubscribeAccepted(accepted) => {
                self.subscribe_answered(accepted.handle, Ok(Answer::Accepted(accepted)));
            }
            Event::SubscribeRejected { handle, failure } => {
                let error = match failure {
                    RequestFailure::Refused { code, reason } => SubscribeError::Rejected {
                        code,
                        reason: reason.as_str().to_owned(),
                    },
                    RequestFailure::TimedOut => SubscribeError::TimedOut,
                    RequestFailure::GoingAway => CallError::GoingAway.into(),
                };
                self.subscribe_answered(handle, Err(error));
            }
            Event::SubscribeSuperseded { handle } => {
                self.subscribe_answered(handle, Ok(Answer::Superseded));
            }
            Event::PublishDone {
                handle,
                status,
                reason,
                ..
            } => {
                if let Some(subscribed) = self.state().subscriptions.get(&handle) {
                    let reason = reason.as_str().to_owned();
                    subscribed.end.set(SubscriptionEnd::Done { status, reason });
                }
            }
            Event::SubscriptionClosed { handle } => {
                self.state().subscriptions.remove(&handle);
            }
            Event::SubscribeRequested(request) => self.serve(request),
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
            }
            Event::SubscriptionExpired { handle } => {
                let reason = "the time told in SUBSCRIBE_OK is over";
                let code = PublishDoneCode::EXPIRED;
                self.egress.finish(subscription_id(handle), code, reason);
            }
            Event::Unsubscribed { handle } => self.egress.detach(subscription_id(handle)),
            Event::NamespaceAccepted { handle } => self.publish_answered(handle, Ok(())),
            Event::NamespaceRejected { handle, failure } => {
                let error = match failure {
                    RequestFailure::Refused { code, reason } => PublishError::Rejected {
                        code,
                        reason: reason.as_str().to_owned(),
                    },
                    RequestFailure::TimedOut => PublishError::TimedOut,
                    RequestFailure::GoingAway => CallError::GoingAway.into(),
                };
                self.publish_answered(handle, Err(error));
            }
            Event::NamespaceCancelled {
                handle,
                code,
                reason,
            } => {
                tracing::info!(%code, %reason, "the peer no longer takes the namespace");
                let reason = reason.as_str().to_owned();
                if let Some(published) = self.state().publications.remove(&handle) {
                    let why = PublishError::Rejected { code, reason };
                    published.cancelled.send_replace(Some(why));
                }
            }
            // A client has not asked for these.
            Event::PublishRequested(request) => {
                let code = PublishErrorCode::UNINTERESTED;
                self.answer(|s| s.reject_publish(request.handle, code, "not asked for"));
            }
            Event::NamespacePublished { handle, .. } => {
                let code = PublishNamespaceErrorCode::UNINTERESTED;
                self.answer(|s| s.reject_namespace(handle, code, "not asked for"));
            }
            Event::GoawayReceived { uri } => {
                tracing::info!(uri, "the peer asks to leave");
                self.state().goaway.send_replace(Some(uri));
            }
            // draft-14 §3.5: after GOAWAY the client leaves when nothing is open any more.
            Event::Drained => self.state().drained.notify_one(),
            Event::SetupRequested(_)
            | Event::PublishAccepted(_)
            | Event::PublishRejected { .. }
            | Event::NamespaceDone { .. } => {}
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
        let stream: Box<dyn RecvStream> = Box::new(stream);
        self.deliver(handle, |inspection| {
            let reader = SubgroupReader::new(
                header,
                stream,
                self.peer.clone(),
                self.limits.max_object_len,
                self.gathering.part(),
                StreamInspection::new(inspection, &header),
            );
            Some(Incoming::Subgroup(Box::new(reader)))
        });
    }

    fn datagram(&mut self, handle: RequestHandle, datagram: ObjectDatagram) {
        self.deliver(handle, |inspection| {
            inspection.datagram(&datagram).ok()?;
            Some(Incoming::Datagram(datagram))
        });
    }
}
