//! The control stream of a driver: fairness, and the time before there is one.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::BytesMut;
use tokio::task::JoinSet;

use super::support::*;
use crate::model::{
    ClientSetup, ControlDecoder, ControlMessage, DecodeOptions, FullTrackName, GroupOrder,
    ObjectDatagram, Parameters, RequestId, SetupParameters, SubgroupHeader, Subscribe,
    SubscribeErrorCode, TrackAlias, VERSION, encode_control,
};
use crate::peer::*;
use crate::session::{
    Carrier, Event, RequestHandle, Role, Session as SessionCore, SessionConfig, SubscribeAnswer,
};
use crate::transport::{
    CloseReason, Connection, MemoryConnection, MemoryRecv, RecvStream as _, TransportLimits,
};

/// Accepts the client and counts what it asks for.
struct Counting {
    peer: PeerHandle,
    subscribes: Arc<AtomicUsize>,
}

impl Handler<MemoryConnection> for Counting {
    fn event(&mut self, event: Event) {
        match event {
            Event::SetupRequested(_) => {
                self.peer.call(|session, _| session.accept_setup()).unwrap();
            }
            Event::SubscribeRequested(_) => {
                self.subscribes.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    fn start(&mut self, _: RequestHandle) {}

    fn subgroup(&mut self, _: RequestHandle, _: SubgroupHeader, _: InboundStream<MemoryRecv>) {}

    fn datagram(&mut self, _: RequestHandle, _: ObjectDatagram) {}
}

fn peer(role: Role) -> PeerHandle {
    let config = SessionConfig::new(role, Carrier::Raw);
    PeerHandle::new(SessionCore::new(config, now()).unwrap())
}

fn client() -> Role {
    Role::Client {
        authority: "relay".to_owned(),
        path: String::new(),
    }
}

async fn run(connection: MemoryConnection, peer: PeerHandle, side: Side) -> CloseReason {
    let mut handler = Counting {
        peer: peer.clone(),
        subscribes: Arc::default(),
    };
    drive(connection, peer, side, PeerLimits::default(), &mut handler).await
}

fn subscribe(number: u64) -> ControlMessage {
    let track: FullTrackName = format!("live#{number}").parse().unwrap();
    ControlMessage::Subscribe(Subscribe {
        request_id: RequestId(2 * number),
        track,
        subscriber_priority: 128,
        group_order: None,
        forward: true,
        filter: crate::model::Filter::LargestObject,
        parameters: crate::model::Parameters::default(),
    })
}

fn hello() -> BytesMut {
    let mut hello = BytesMut::new();
    let setup = ControlMessage::ClientSetup(ClientSetup {
        versions: vec![VERSION],
        parameters: SetupParameters::default(),
    });
    encode_control(&setup, &mut hello).unwrap();
    hello
}

/// S7.2-05, S10.4.2-10: what may be sent at all is given to the control stream first, by both sides.
#[tokio::test]
async fn the_control_stream_has_the_highest_priority() {
    for side in [Side::Client, Side::Server] {
        let (near, far) = MemoryConnection::pair(TransportLimits::default());
        let mut tasks = JoinSet::new();
        let mut control = match side {
            Side::Client => {
                tasks.spawn(run(near, peer(client()), side));
                far.accept_bi().await.unwrap()
            }
            Side::Server => {
                tasks.spawn(run(near, peer(Role::Server), side));
                let mut opened = far.open_bi().await.unwrap();
                write(&mut opened.0, &hello()).await;
                opened
            }
        };
        read_some(&mut control.1, 1).await;
        assert_eq!(control.1.priority(), i32::MAX, "{side:?}");
    }
}

/// So many SUBSCRIBEs, one behind the other.
fn requests(count: usize) -> BytesMut {
    let mut bytes = BytesMut::new();
    for number in 0..count as u64 {
        encode_control(&subscribe(number), &mut bytes).unwrap();
    }
    bytes
}

/// Drives the server's side until what is returned is dropped.
fn serve<H: Handler<MemoryConnection> + 'static>(
    near: MemoryConnection,
    limits: PeerLimits,
    handler: impl FnOnce(PeerHandle) -> H + Send + 'static,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let peer = peer(Role::Server);
        let mut handler = handler(peer.clone());
        drive(near, peer, Side::Server, limits, &mut handler).await;
    });
    tasks
}

/// On one thread, everything else would stand still as long as the peer has something to say.
#[tokio::test]
async fn a_flood_of_requests_lets_other_tasks_run() {
    const REQUESTS: usize = 1000;
    let (near, far) = MemoryConnection::pair(TransportLimits::default());
    let (mut send, mut recv) = far.open_bi().await.unwrap();
    write(&mut send, &hello()).await;
    let flood = requests(REQUESTS);

    let subscribes = Arc::new(AtomicUsize::default());
    let counted = subscribes.clone();
    let limits = PeerLimits {
        control_read: 1024,
        ..PeerLimits::default()
    };
    let _served = serve(near, limits, |peer| Counting {
        peer,
        subscribes: counted,
    });
    read_some(&mut recv, 1).await;
    write(&mut send, &flood).await;
    let mut seen = 0;
    let mut turns = 0;
    until_async("all requests", || {
        let now = subscribes.load(Ordering::Relaxed);
        turns += usize::from(now != seen);
        seen = now;
        now == REQUESTS
    })
    .await;
    assert!(turns > 10, "handled in {turns} turns");
}

/// The same where all that the peer has to say comes in one piece.
#[tokio::test]
async fn what_one_reading_brings_lets_other_tasks_run() {
    const REQUESTS: usize = 500;
    let (near, far) = MemoryConnection::pair(TransportLimits::default());
    let (mut send, mut recv) = far.open_bi().await.unwrap();
    write(&mut send, &hello()).await;
    let flood = requests(REQUESTS);
    let limits = PeerLimits::default();
    assert!(flood.len() < limits.control_read);

    let subscribes = Arc::new(AtomicUsize::default());
    let counted = subscribes.clone();
    let _served = serve(near, limits.clone(), |peer| Counting {
        peer,
        subscribes: counted,
    });
    read_some(&mut recv, 1).await;
    write(&mut send, &flood).await;
    let mut seen = 0;
    until_async("all requests", || {
        let now = subscribes.load(Ordering::Relaxed);
        assert!(
            now - seen <= limits.turn_outputs,
            "{} in one turn",
            now - seen
        );
        seen = now;
        now == REQUESTS
    })
    .await;
}

/// Accepts every subscription with the same Track Alias.
struct OneAlias {
    peer: PeerHandle,
    started: Arc<AtomicUsize>,
}

impl Handler<MemoryConnection> for OneAlias {
    fn event(&mut self, event: Event) {
        match event {
            Event::SetupRequested(_) => {
                self.peer.call(|session, _| session.accept_setup()).unwrap();
            }
            Event::SubscribeRequested(request) => {
                let answer = SubscribeAnswer {
                    alias: TrackAlias(1),
                    expires: None,
                    group_order: GroupOrder::Ascending,
                    largest: None,
                    parameters: Parameters::default(),
                };
                let _ = self.peer.accept_subscribe(request.handle, answer);
            }
            _ => {}
        }
    }

    fn start(&mut self, _: RequestHandle) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    fn subgroup(&mut self, _: RequestHandle, _: SubgroupHeader, _: InboundStream<MemoryRecv>) {}

    fn datagram(&mut self, _: RequestHandle, _: ObjectDatagram) {}
}

/// S5.1-01: whatever is wrong with the answer that was meant.
#[tokio::test]
async fn a_subscribe_whose_answer_cannot_be_sent_is_refused() {
    let (near, far) = MemoryConnection::pair(TransportLimits::default());
    let (mut send, mut recv) = far.open_bi().await.unwrap();
    write(&mut send, &hello()).await;
    let asked = requests(2);
    let started = Arc::new(AtomicUsize::default());
    let counted = started.clone();
    let _served = serve(near, PeerLimits::default(), |peer| OneAlias {
        peer,
        started: counted,
    });
    let mut decoder = ControlDecoder::new(DecodeOptions::default());
    let mut answers = Vec::new();
    while answers.len() < 2 {
        match decoder.next().unwrap() {
            Some(ControlMessage::SubscribeOk(ok)) => answers.push((ok.request_id, None)),
            Some(ControlMessage::SubscribeError(e)) => answers.push((e.request_id, Some(e.code))),
            Some(ControlMessage::ServerSetup(_)) => write(&mut send, &asked).await,
            Some(_) => {}
            None => {
                let read = poll_fn(|cx| recv.poll_read(cx, 1 << 16));
                let read = tokio::time::timeout(std::time::Duration::from_secs(10), read).await;
                decoder.push(&read.expect("an answer").unwrap().unwrap());
            }
        }
    }
    let refusal = Some(SubscribeErrorCode::INTERNAL_ERROR);
    assert_eq!(answers, [(RequestId(0), None), (RequestId(2), refusal)]);
    assert_eq!(started.load(Ordering::Relaxed), 1);
}

/// Waits until a condition holds, looking at it in every turn of this task.
async fn until_async(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await;
    assert!(waited.is_ok(), "{what} did not come");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_allows_no_control_stream_is_left_after_the_setup_time() {
    let limits = TransportLimits {
        incoming_bidi: 0,
        ..TransportLimits::default()
    };
    let (near, _far) = MemoryConnection::pair(limits);
    let reason = run(near, peer(client()), Side::Client).await;
    assert!(
        matches!(reason, CloseReason::Local { code: 0x11, .. }),
        "{reason:?}"
    );
}

/// Time does not pass here: the end is not that of the setup time.
#[tokio::test(start_paused = true)]
async fn a_session_can_be_closed_before_its_control_stream_came() {
    let (near, far) = MemoryConnection::pair(TransportLimits::default());
    let peer = peer(Role::Server);
    let mut tasks = JoinSet::new();
    tasks.spawn(run(near, peer.clone(), Side::Server));
    tokio::task::yield_now().await;
    let began = tokio::time::Instant::now();
    peer.call(|session, _| session.close(crate::model::SessionCode::NO_ERROR, "leaving"));
    let reason = far.closed().await;
    assert!(
        matches!(reason, CloseReason::Peer { code: 0, .. }),
        "{reason:?}"
    );
    assert_eq!(began.elapsed(), std::time::Duration::ZERO);
}

/// Kept, they would hold on to all that they were received with.
#[tokio::test(start_paused = true)]
async fn datagrams_before_the_control_stream_are_not_kept() {
    let (near, far) = MemoryConnection::pair(TransportLimits::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(run(near, peer(Role::Server), Side::Server));
    let payload = bytes::Bytes::from(vec![0; 1000]);
    for _ in 0..100 {
        far.send_datagram(payload.clone()).unwrap();
    }
    until_async("the end of them", || payload.is_unique()).await;
}
