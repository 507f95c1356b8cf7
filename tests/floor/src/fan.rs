//! The data: what one connection brings goes out on many.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use moqtail::{model::PublishDoneCode, session::RequestHandle};
use quinn::{RecvStream, SendStream};
use tokio::{sync::watch, task::JoinSet};

use crate::peer::Peer;

/// Pieces passed on at once.
const PIECES: usize = 32;

type Receivers = Arc<Vec<(Arc<Peer>, RequestHandle)>>;

/// Who gets what the publisher sends.
#[derive(Debug, Default)]
pub(crate) struct Fan {
    receivers: Mutex<Receivers>,
    /// The publisher has ended, after so many streams.
    done: watch::Sender<Option<u64>>,
}

impl Fan {
    pub(crate) fn add(&self, peer: Arc<Peer>, handle: RequestHandle) {
        self.change(|receivers| receivers.push((peer, handle)));
    }

    pub(crate) fn remove(&self, peer: &Arc<Peer>) {
        self.change(|receivers| receivers.retain(|(one, _)| !Arc::ptr_eq(one, peer)));
    }

    pub(crate) fn done(&self, streams: u64) {
        self.done.send_replace(Some(streams));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<(Arc<Peer>, RequestHandle)>)) {
        let mut receivers = self
            .receivers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut receivers));
    }

    fn receivers(&self) -> Receivers {
        self.receivers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Passes on what `publisher` sends until it has ended.
pub(crate) async fn run(publisher: &Arc<Peer>, fan: &Fan) {
    let connection = publisher.quic();
    let mut streams = JoinSet::new();
    let mut accepted = 0;
    let mut done = fan.done.subscribe();
    loop {
        let last = *done.borrow_and_update();
        if last.is_some_and(|last| accepted >= last) && streams.is_empty() {
            return end(&fan.receivers(), accepted);
        }
        tokio::select! {
            stream = connection.accept_uni() => {
                let Ok(stream) = stream else { return };
                accepted += 1;
                streams.spawn(pass_on(stream, fan.receivers(), rank(accepted)));
            }
            datagram = connection.read_datagram() => {
                let Ok(datagram) = datagram else { return };
                for (peer, _) in fan.receivers().iter() {
                    // Lost ones are lost.
                    let _ = peer.quic().send_datagram(datagram.clone());
                }
            }
            Some(_) = streams.join_next() => {}
            changed = done.changed() => if changed.is_err() { return },
        }
    }
}

/// The priority of a stream: earlier ones first. QUIC sends streams of one priority packet by packet in turns, which costs
/// more.
fn rank(stream: u64) -> i32 {
    -i32::try_from(stream).unwrap_or(i32::MAX)
}

/// One stream, to everybody at the pace of the slowest.
async fn pass_on(mut from: RecvStream, receivers: Receivers, priority: i32) {
    let mut pieces: [Bytes; PIECES] = Default::default();
    let mut streams: Vec<SendStream> = Vec::new();
    while let Ok(Some(read)) = from.read_chunks(&mut pieces).await {
        if streams.is_empty() {
            streams.reserve_exact(receivers.len());
            for (peer, _) in receivers.iter() {
                // A receiver that is gone gets no more.
                if let Ok(stream) = peer.quic().open_uni().await {
                    // Fails only on one that is over.
                    let _ = stream.set_priority(priority);
                    streams.push(stream);
                }
            }
        }
        let pieces = &pieces[..read];
        for stream in &mut streams {
            let mut copies: [Bytes; PIECES] = Default::default();
            copies[..read].clone_from_slice(pieces);
            // Fails only at one that is gone.
            let _ = stream.write_all_chunks(&mut copies[..read]).await;
        }
    }
    for stream in &mut streams {
        // Fails only at one that is gone.
        let _ = stream.finish();
    }
}

/// What all subscribers are told at the end, after `streams` streams.
fn end(receivers: &[(Arc<Peer>, RequestHandle)], streams: u64) {
    for (peer, handle) in receivers {
        peer.call(|session| {
            // The session counts them for PUBLISH_DONE; on the way nobody did.
            for _ in 0..streams {
                session.outbound_stream_opened(*handle)?;
            }
            for _ in 0..streams {
                session.outbound_stream_closed(*handle);
            }
            session.finish_publish(*handle, PublishDoneCode::TRACK_ENDED, "")
        });
    }
}
