//! One of our sessions and a peer that says anything.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bytes::BytesMut;

use super::{
    setting::{LONG, config, namespace, start, track},
    side::{OPERATIONS, Side},
};
use crate::fuzzing::arbitrary::{CONTROL_KINDS, Source};
use crate::model::{ControlDecoder, ControlMessage, RequestId, TrackAlias, encode_control};
use crate::session::{Blame, Role, StreamKey};

/// One of our sessions and a peer that sends any messages, mostly with Request IDs that may be: the session does not
/// panic, holds no more than its limits, says nothing after its close, and answers no request twice.
pub fn session_messages(data: &[u8]) {
    let mut now = start();
    let mut config = config(Role::Server);
    let mut peer = PeerIds {
        swapped: u64::from(data.first().copied().unwrap_or(0) & 1),
        ..PeerIds::default()
    };
    config.tolerances.allow_any_request_id_order = peer.swapped == 1;
    let mut side = Side::new(config, now);
    let parameters = crate::model::SetupParameters::default();
    let versions = vec![crate::model::VERSION];
    let setup = ControlMessage::ClientSetup(crate::model::ClientSetup {
        versions,
        parameters,
    });
    receive(&mut side, &setup, now);
    assert_eq!(side.session.accept_setup(), Ok(()));
    side.drain();
    peer.count_answers(&mut side);
    for chunk in data.chunks(24) {
        let mut source = Source::new(chunk);
        match source.byte() {
            operation @ 0..64 => {
                let arguments = [source.byte(), source.byte(), source.byte()];
                // None that would close it by itself.
                side.operate(operation % (OPERATIONS - 1), arguments, now);
            }
            64..72 => {
                now += Duration::from_millis(u64::from(source.byte()) * 100);
                side.advance(now);
            }
            72..96 => {
                peer.next_stream += 1;
                let alias = TrackAlias(u64::from(source.byte() % 4));
                side.stream(StreamKey(peer.next_stream), alias, now);
            }
            96..104 => side.stream_ended(StreamKey(u64::from(source.byte())), now),
            _ => {
                let kind = usize::from(source.byte()) % CONTROL_KINDS;
                let id = source.byte();
                let mut message = source.control_message(kind);
                peer.plausible(&mut message, id);
                receive(&mut side, &message, now);
            }
        }
        peer.count_answers(&mut side);
        if let Some(close) = &side.close {
            assert_eq!(close.blame, Blame::Peer, "{close:?}");
            assert!(close.code.name().is_some(), "{close:?}");
        }
    }
    if side.close.is_none() {
        for _ in 0..4 {
            side.leave();
            now += LONG;
            side.advance(now);
        }
        side.assert_idle();
    }
}

fn receive(side: &mut Side, message: &ControlMessage, now: Instant) {
    let mut bytes = BytesMut::new();
    if encode_control(message, &mut bytes).is_ok() {
        side.hear(&bytes, now);
    }
}

/// Request IDs of a peer that is a client, and which of them were answered.
#[derive(Default)]
struct PeerIds {
    issued: u64,
    /// 1: of each two requests the second one is sent first.
    swapped: u64,
    decoder: ControlDecoder,
    answered: BTreeSet<RequestId>,
    next_stream: u64,
}

impl PeerIds {
    /// Gives a request the next Request ID, and other messages one that may exist; now and then neither.
    fn plausible(&mut self, message: &mut ControlMessage, number: u8) {
        use ControlMessage as M;
        let next = RequestId(2 * (self.issued ^ self.swapped));
        let some = RequestId(u64::from(number % 16));
        let new = match message {
            M::Subscribe(m) | M::TrackStatus(m) => {
                m.track = track(number);
                &mut m.request_id
            }
            M::SubscribeUpdate(m) => {
                m.subscription = some;
                &mut m.request_id
            }
            M::Publish(m) => {
                m.track = track(number);
                m.track_alias = TrackAlias(u64::from(number % 4));
                &mut m.request_id
            }
            M::Fetch(m) => &mut m.request_id,
            M::PublishNamespace(m) => {
                m.namespace = namespace(number);
                &mut m.request_id
            }
            M::SubscribeNamespace(m) => &mut m.request_id,
            other => {
                let id = match other {
                    M::SubscribeOk(m) | M::TrackStatusOk(m) => {
                        m.track_alias = TrackAlias(u64::from(number % 4));
                        &mut m.request_id
                    }
                    M::SubscribeError(m) | M::TrackStatusError(m) => &mut m.request_id,
                    M::PublishDone(m) => &mut m.request_id,
                    M::PublishOk(m) => &mut m.request_id,
                    M::PublishError(m) => &mut m.request_id,
                    M::FetchOk(m) => &mut m.request_id,
                    M::FetchError(m) => &mut m.request_id,
                    M::PublishNamespaceError(m) => &mut m.request_id,
                    M::SubscribeNamespaceError(m) => &mut m.request_id,
                    M::Unsubscribe(id)
                    | M::FetchCancel(id)
                    | M::PublishNamespaceOk(id)
                    | M::SubscribeNamespaceOk(id) => id,
                    M::PublishNamespaceDone(name) => {
                        *name = namespace(number);
                        return;
                    }
                    M::MaxRequestId(m) => {
                        m.limit = u64::from(number);
                        return;
                    }
                    _ => return,
                };
                *id = some;
                return;
            }
        };
        if number < 250 {
            *new = next;
            self.issued += 1;
        }
    }

    fn count_answers(&mut self, side: &mut Side) {
        let bytes: Vec<u8> = side.control.drain(..).collect();
        self.decoder.push(&bytes);
        while let Some(message) = self.decoder.next().expect("draft 14 from the session") {
            use ControlMessage as M;
            let id = match message {
                M::SubscribeOk(m) => m.request_id,
                M::SubscribeError(m) | M::TrackStatusError(m) => m.request_id,
                M::PublishOk(m) => m.request_id,
                M::PublishError(m) => m.request_id,
                M::FetchError(m) => m.request_id,
                M::PublishNamespaceOk(id) => id,
                M::PublishNamespaceError(m) => m.request_id,
                M::SubscribeNamespaceError(m) => m.request_id,
                _ => continue,
            };
            assert!(self.answered.insert(id), "a second answer to {id}");
        }
    }
}
