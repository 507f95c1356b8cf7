//! What a client does with the events and streams of its session.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Broadcast, ClientLimits, Incoming, PublishError, SubgroupReader, SubscribeError, SubscriptionEnd,
    subscription::EndSlot,
};
use crate::{
    model::{
        ObjectDatagram, Parameters, PublishErrorCode, PublishNamespaceErrorCode, SessionCode,
        SubgroupHeader, SubscribeErrorCode,
    },
    peer::{AttachRequest, EgressHandle, Handler, InboundStream, PeerHandle},
    session::{Event, RequestFailure, RequestHandle, SubscribeAccepted, SubscribeAnswer, SubscribeRequest},
    transport::Connection,
};

type SubscribeAnswerSender = oneshot::Sender<Result<SubscribeAccepted, SubscribeError>>;
type PublishAnswerSender = oneshot::Sender<Result<(), PublishError>>;

/// What handler and callers share.
#[derive(Debug)]
pub(super) struct State {
    established: Option<oneshot::Sender<()>>,
    subscriptions: BTreeMap<RequestHandle, Subscribed>,
    publications: BTreeMap<RequestHandle, Published>,
    /// Subscriptions that are served to the peer.
    pub(super) served: watch::Sender<usize>,
    pub(super) ended: bool,
}

#[derive(Debug)]
struct Subscribed {
    answer: Option<SubscribeAnswerSender>,
    sender: mpsc::Sender<Incoming>,
    end: EndSlot,
}

#[derive(Debug)]
struct Published {
    broadcast: Broadcast,
    answer: Option<PublishAnswerSender>,
}

impl State {
    pub(super) fn new(established: oneshot::Sender<()>) -> Self {
        Self {
            established: Some(established),
            subscriptions: BTreeMap::new(),
            publications: BTreeMap::new(),
            served: watch::Sender::new(0),
            ended: false,
        }
    }

    pub(super) fn subscribing(
        &mut self,
        handle: RequestHandle,
        answer: SubscribeAnswerSender,
        sender: mpsc::Sender<Incoming>,
        end: EndSlot,
    ) {
        let answer = Some(answer);
        self.subscriptions.insert(handle, Subscribed { answer, sender, end });
    }

    pub(super) fn publishing(
        &mut self,
        handle: RequestHandle,
        broadcast: Broadcast,
        answer: PublishAnswerSender,
    ) {
        self.publications.insert(handle, Published { broadcast, answer: Some(answer) });
    }

    pub(super) fn withdraw(&mut self, handle: RequestHandle) {
        self.publications.remove(&handle);
    }
}

pub(super) struct ClientHandler<C> {
    peer: PeerHandle,
    egress: EgressHandle,
    state: Arc<Mutex<State>>,
    limits: ClientLimits,
    connection: std::marker::PhantomData<fn(C)>,
}

impl<C: Connection> ClientHandler<C> {
    pub(super) fn new(
        peer: PeerHandle,
        egress: EgressHandle,
        state: Arc<Mutex<State>>,
        limits: ClientLimits,
    ) -> Self {
        Self { peer, egress, state, limits, connection: std::marker::PhantomData }
    }

    /// Answers everybody who waits, and ends every subscription.
    pub(super) fn session_ended(&self) {
        let mut state = self.state();
        state.ended = true;
        state.established = None;
        state.publications.clear();
        for subscribed in std::mem::take(&mut state.subscriptions).into_values() {
            set_end(&subscribed.end, SubscriptionEnd::SessionEnded);
        }
        state.served.send_replace(0);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer_subscribe(
        &self,
        handle: RequestHandle,
        answer: Result<SubscribeAccepted, SubscribeError>,
    ) {
        let mut state = self.state();
        let Some(subscribed) = state.subscriptions.get_mut(&handle) else { return };
        let sender = subscribed.answer.take();
        if answer.is_err() {
            state.subscriptions.remove(&handle);
        }
        if let Some(sender) = sender {
            // The caller may have given up; then its drop unsubscribes.
            let _ = sender.send(answer);
        }
    }

    fn answer_publish(&self, handle: RequestHandle, answer: Result<(), PublishError>) {
        let mut state = self.state();
        let Some(published) = state.publications.get_mut(&handle) else { return };
        let sender = published.answer.take();
        if answer.is_err() {
            state.publications.remove(&handle);
        }
        if let Some(sender) = sender {
            // The caller may have given up; then its drop withdraws.
            let _ = sender.send(answer);
        }
    }

    fn serve(&self, request: SubscribeRequest) {
        let handle = request.handle;
        let track = self.state().publications.values().find_map(|published| {
            published.broadcast.find(&request.track)
        });
        let Some(track) = track else {
            return self.reject(
                handle,
                SubscribeErrorCode::TRACK_DOES_NOT_EXIST,
                "track not found in this broadcast",
            );
        };
        let attach = AttachRequest {
            filter: request.filter,
            forward: request.forward,
            priority: request.priority,
            group_order: request.group_order,
            delivery_timeout: request.parameters.delivery_timeout(),
        };
        match self.egress.attach(handle, &track, attach) {
            Ok(attached) => {
                let answer = SubscribeAnswer {
                    alias: track.alias(),
                    expires: None,
                    group_order: attached.group_order,
                    largest: attached.largest,
                    parameters: Parameters::default(),
                };
                self.peer.call(|session, now| {
                    if let Err(error) = session.accept_subscribe(handle, answer, now) {
                        tracing::debug!(%handle, %error, "SUBSCRIBE was not accepted");
                    }
                });
                self.egress.start(handle);
                self.state().served.send_modify(|count| *count += 1);
            }
            Err(error) => self.reject(handle, error.code(), &error.to_string()),
        }
    }

    fn reject(&self, handle: RequestHandle, code: SubscribeErrorCode, reason: &str) {
        self.peer.call(|session, now| {
            if let Err(error) = session.reject_subscribe(handle, code, reason.into(), now) {
                tracing::debug!(%handle, %error, "SUBSCRIBE was not rejected");
            }
        });
    }

    fn deliver(&self, handle: RequestHandle, incoming: Incoming) {
        let sender = self.state().subscriptions.get(&handle).map(|s| s.sender.clone());
        if let Some(sender) = sender
            && sender.try_send(incoming).is_err()
        {
            tracing::debug!(%handle, "the application does not take what arrives; dropped");
        }
    }
}

fn set_end(slot: &EndSlot, end: SubscriptionEnd) {
    slot.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(end);
}
