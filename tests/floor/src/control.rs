//! The control streams: just enough of a relay for one publisher with one track at a time.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use moqtail::{
    model::{FullTrackName, Parameters, SubscribeErrorCode},
    session::{
        Carrier, Event, Output, RequestHandle, Role, Session, SessionConfig, SubscribeAccepted,
        SubscribeAnswer, SubscribeOptions,
    },
    transport::{Connection as _, QuicConnection, RecvStream as _, SendStream as _, TransportKind},
};
use tokio::task::JoinSet;

use crate::{
    fan::{self, Fan},
    peer::{Peer, now},
};

/// Most bytes of the control stream read at once.
const READ: usize = 16 * 1024;

/// Who is there.
#[derive(Debug, Default)]
pub(crate) struct Floor {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    publisher: Option<Arc<Peer>>,
    /// The subscription at the publisher.
    upstream: Option<RequestHandle>,
    accepted: Option<SubscribeAccepted>,
    /// Subscribers that wait for the publisher's answer.
    waiting: Vec<(Arc<Peer>, RequestHandle)>,
    fan: Arc<Fan>,
}

impl Floor {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn publish(&mut self, peer: &Arc<Peer>) {
        *self = Self {
            publisher: Some(peer.clone()),
            ..Self::default()
        };
    }

    fn subscribe(&mut self, peer: &Arc<Peer>, handle: RequestHandle, track: FullTrackName) {
        let Some(publisher) = &self.publisher else {
            let code = SubscribeErrorCode::TRACK_DOES_NOT_EXIST;
            peer.call(|session| session.reject_subscribe(handle, code, "not found"));
            return;
        };
        if self.upstream.is_none() {
            self.upstream =
                publisher.call(|session| session.subscribe(SubscribeOptions::new(track), now()));
        }
        self.waiting.push((peer.clone(), handle));
        self.answer();
    }

    fn answer(&mut self) {
        let Some(accepted) = &self.accepted else {
            return;
        };
        for (peer, handle) in self.waiting.drain(..) {
            let answer = SubscribeAnswer {
                // The publisher's number, so that not a byte of its streams has to change.
                alias: accepted.alias,
                expires: None,
                group_order: accepted.group_order,
                largest: accepted.largest,
                parameters: Parameters::default(),
            };
            if peer
                .call(|session| session.accept_subscribe(handle, answer, now()))
                .is_some()
            {
                self.fan.add(peer, handle);
            }
        }
    }
}

/// Serves one client to its end.
pub(crate) async fn serve(floor: &Arc<Floor>, connection: QuicConnection) {
    if connection.kind() != TransportKind::Quic {
        return connection.close(0, "the floor is for moqt:// only");
    }
    let config = SessionConfig::new(Role::Server, Carrier::Raw);
    let Ok(session) = Session::new(config, now()) else {
        return;
    };
    let Ok((mut send, mut recv)) = connection.accept_bi().await else {
        return;
    };
    let peer = Arc::new(Peer::new(session, connection));
    let mut unsent: VecDeque<Bytes> = VecDeque::new();
    let mut fanning = JoinSet::new();
    loop {
        while let Some(output) = peer.with(Session::poll_output) {
            match output {
                Output::Control(bytes) => unsent.push_back(bytes),
                Output::Event(event) => handle(floor, &peer, event, &mut fanning),
                Output::Close(close) => {
                    return peer.connection.close(close.code.0 as u32, &close.reason);
                }
                Output::ResumeStream { .. } | Output::StopStream { .. } => {}
            }
        }
        tokio::select! {
            read = poll_fn(|cx| recv.poll_read(cx, READ)) => match read {
                Ok(Some(bytes)) => peer.with(|session| session.control_bytes(&bytes, now())),
                _ => break,
            },
            written = poll_fn(|cx| send.poll_write(cx, unsent.make_contiguous())), if !unsent.is_empty() => match written {
                Ok(count) => {
                    unsent.retain(|chunk| !chunk.is_empty());
                    peer.with(|session| session.control_written(count));
                }
                Err(_) => break,
            },
            () = peer.called.notified() => {}
        }
    }
    floor.lock().fan.remove(&peer);
}

fn handle(floor: &Arc<Floor>, peer: &Arc<Peer>, event: Event, fanning: &mut JoinSet<()>) {
    match event {
        Event::SetupRequested(_) => drop(peer.call(Session::accept_setup)),
        Event::NamespacePublished { handle, .. } => {
            floor.lock().publish(peer);
            peer.call(|session| session.accept_namespace(handle));
            let (peer, fan) = (peer.clone(), floor.lock().fan.clone());
            fanning.spawn(async move { fan::run(&peer, &fan).await });
        }
        Event::SubscribeRequested(request) => {
            floor.lock().subscribe(peer, request.handle, request.track);
        }
        Event::SubscribeAccepted(accepted) => {
            let mut state = floor.lock();
            state.accepted = Some(accepted);
            state.answer();
        }
        Event::PublishDone { stream_count, .. } => {
            floor.lock().fan.done(stream_count.unwrap_or_default());
        }
        Event::Unsubscribed { .. } => floor.lock().fan.remove(peer),
        _ => {}
    }
}
