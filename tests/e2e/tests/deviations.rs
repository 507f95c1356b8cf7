//! Peers that deviate from the draft in a known way: refused with a line that names the tolerance, accepted with it.

#![cfg(unix)]

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
};

use bytes::{Bytes, BytesMut};
use moqtail::{
    model::{
        ClientSetup, ControlDecoder, ControlMessage, DecodeOptions, Parameters, PublishNamespace,
        RequestId, ServerSetup, SetupParameter, SetupParameters, VERSION, encode_control,
    },
    transport::{
        CloseReason, ConnectConfig, Connection as _, Identity, ListenConfig, Listener,
        QuicConnection, QuicRecv, QuicSend, RecvStream as _, SendStream as _, Trust, connect,
    },
};
use moqtail_e2e::{PATIENCE, Process, Relay};

/// What the log says of it.
const LINE: &str = "`--tolerate empty-namespace-prefix` lets such peers in.";

/// PROTOCOL_VIOLATION (draft-14 §3.4).
const PROTOCOL_VIOLATION: u32 = 0x3;

/// INVALID_REQUEST_ID (draft-14 §3.4).
const INVALID_REQUEST_ID: u32 = 0x4;

/// A peer that writes what it likes on its control stream.
struct Peer {
    connection: QuicConnection,
    send: QuicSend,
    recv: QuicRecv,
    decoder: ControlDecoder,
}

impl Peer {
    /// A client of the relay, with its setup done.
    async fn client_of(relay: &Relay) -> Self {
        let url = relay.quic().parse().expect("a URL");
        let connection = connect(ConnectConfig::new(url, Trust::Insecure)).await;
        let connection = connection.expect("the relay is there");
        let (send, recv) = connection.open_bi().await.expect("a control stream");
        let mut peer = Self::new(connection, send, recv);
        let parameters = SetupParameters(vec![
            SetupParameter::Path(Bytes::from_static(b"/")),
            SetupParameter::Authority(Bytes::from_static(b"localhost")),
        ]);
        let versions = vec![VERSION];
        let setup = ClientSetup {
            versions,
            parameters,
        };
        peer.say(&ControlMessage::ClientSetup(setup)).await;
        let answer = peer.hear().await.expect("an answer");
        assert!(
            matches!(answer, ControlMessage::ServerSetup(_)),
            "{answer:?}"
        );
        peer
    }

    /// A server, with the setup of its first client done.
    async fn server(listener: &Listener) -> Self {
        let incoming = listener.accept().await.expect("a client");
        let connection = incoming.establish().await.expect("a connection");
        let (send, recv) = connection.accept_bi().await.expect("a control stream");
        let mut peer = Self::new(connection, send, recv);
        let first = peer.hear().await.expect("a message");
        assert!(matches!(first, ControlMessage::ClientSetup(_)), "{first:?}");
        let setup = ServerSetup {
            version: VERSION,
            parameters: SetupParameters(vec![SetupParameter::MaxRequestId(100)]),
        };
        peer.say(&ControlMessage::ServerSetup(setup)).await;
        peer
    }

    fn new(connection: QuicConnection, send: QuicSend, recv: QuicRecv) -> Self {
        let decoder = ControlDecoder::new(DecodeOptions::default());
        Self {
            connection,
            send,
            recv,
            decoder,
        }
    }

    async fn say(&mut self, message: &ControlMessage) {
        let mut bytes = BytesMut::new();
        encode_control(message, &mut bytes).expect("a message that can be written");
        self.write(bytes.freeze()).await;
    }

    /// SUBSCRIBE_NAMESPACE with a prefix without fields (draft-14 §9.28), which the codec does not write.
    async fn subscribe_to_everything(&mut self, request_id: u8) {
        let message = [0x11, 0x00, 0x03, request_id, 0x00, 0x00];
        self.write(Bytes::copy_from_slice(&message)).await;
    }

    async fn write(&mut self, bytes: Bytes) {
        let mut chunks = [bytes];
        while !chunks[0].is_empty() {
            let written = poll_fn(|cx| self.send.poll_write(cx, &mut chunks)).await;
            written.expect("the peer reads its control stream");
        }
    }

    /// The next control message; or why there is none.
    async fn hear(&mut self) -> Result<ControlMessage, CloseReason> {
        loop {
            if let Some(message) = self.decoder.next().expect("draft 14") {
                return Ok(message);
            }
            match poll_fn(|cx| self.recv.poll_read(cx, 4096)).await {
                Ok(Some(bytes)) => self.decoder.push(&bytes),
                _ => return Err(self.connection.closed().await),
            }
        }
    }
}

/// Runs a scripted peer, as long as a test may wait.
fn play<T>(script: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let played = runtime.block_on(async { tokio::time::timeout(PATIENCE, script).await });
    played.expect("the other side does something in time")
}

/// S9.28-02, A29
#[test]
fn a_relay_names_the_tolerance_that_an_empty_prefix_needs() {
    let relay = Relay::start();
    let reason = play(async {
        let mut peer = Peer::client_of(&relay).await;
        peer.subscribe_to_everything(0).await;
        peer.hear().await.expect_err("the end of the session")
    });
    assert!(
        matches!(reason, CloseReason::Peer { code: PROTOCOL_VIOLATION, ref reason }
            if reason.contains("Track Namespace Prefix")),
        "{reason:?}"
    );
    let line = relay.process().wait_stderr(LINE);
    assert!(
        line.contains("The session with 127.0.0.1:") || line.contains("The session with [::1]:"),
        "{line}"
    );
    let finished = relay.stop();
    assert_eq!(finished.stderr.len(), 1, "{:#?}", finished.stderr);
}

/// A29
#[test]
fn a_tolerant_relay_answers_an_empty_prefix() {
    let relay = Relay::start_with([
        "--listen",
        "localhost:0",
        "--tolerate",
        "empty-namespace-prefix",
    ]);
    let answer = play(async {
        let mut peer = Peer::client_of(&relay).await;
        peer.subscribe_to_everything(0).await;
        peer.hear().await
    });
    assert!(
        matches!(
            answer,
            Ok(ControlMessage::SubscribeNamespaceOk(RequestId(0))
                | ControlMessage::SubscribeNamespaceError(_))
        ),
        "{answer:?}"
    );
    let finished = relay.stop();
    assert!(finished.stderr.is_empty(), "{:#?}", finished.stderr);
}

/// A client that announces two namespaces in another order than it numbers them, and what comes of the second.
fn announce_out_of_order(relay: &Relay) -> Result<ControlMessage, CloseReason> {
    play(async {
        let mut peer = Peer::client_of(relay).await;
        let mut answer = None;
        for id in [2, 0] {
            let announcement = PublishNamespace {
                request_id: RequestId(id),
                namespace: format!("a/{id}").parse().expect("a namespace"),
                parameters: Parameters::default(),
            };
            peer.say(&ControlMessage::PublishNamespace(announcement))
                .await;
            answer = Some(peer.hear().await?);
        }
        Ok(answer.expect("two answers"))
    })
}

/// S9.1-04
#[test]
fn a_relay_takes_requests_out_of_order_if_told_so_and_else_names_the_tolerance() {
    let relay = Relay::start();
    let reason = announce_out_of_order(&relay).expect_err("the end of the session");
    assert!(
        matches!(
            reason,
            CloseReason::Peer {
                code: INVALID_REQUEST_ID,
                ..
            }
        ),
        "{reason:?}"
    );
    relay
        .process()
        .wait_stderr("`--tolerate request-id-order` lets such peers in.");

    let arguments = ["--listen", "localhost:0", "--tolerate", "request-id-order"];
    let relay = Relay::start_with(arguments);
    let answer = announce_out_of_order(&relay);
    assert!(
        matches!(answer, Ok(ControlMessage::PublishNamespaceOk(RequestId(0)))),
        "{answer:?}"
    );
    assert!(relay.stop().stderr.is_empty());
}

/// A server that subscribes to all namespaces, and a publisher that meets it with these options. Returns what the server
/// got after that, and the publisher.
fn publish_to_a_server_that_wants_everything(
    options: &[&str],
) -> (Result<ControlMessage, CloseReason>, Process, SocketAddr) {
    let identity = Identity::generate(Vec::<String>::new()).expect("a certificate");
    play(async {
        let any = "127.0.0.1:0".parse().expect("an address");
        let listener = Listener::bind(ListenConfig::new(any, identity)).expect("a free port");
        let address = listener.local_addr();
        let url = format!("moqt://{address}");
        let arguments = [
            "publish",
            &url,
            "a",
            "--lines",
            "--track",
            "t",
            "--insecure",
        ];
        let publisher = Process::moqtail(arguments.iter().chain(options));
        let mut peer = Peer::server(&listener).await;
        let announced = peer.hear().await.expect("PUBLISH_NAMESPACE");
        let ControlMessage::PublishNamespace(PublishNamespace {
            request_id,
            parameters,
            ..
        }) = announced
        else {
            panic!("{announced:?}")
        };
        assert_eq!(parameters, Parameters::default());
        peer.subscribe_to_everything(1).await;
        peer.say(&ControlMessage::PublishNamespaceOk(request_id))
            .await;
        let next = peer.hear().await;
        (next, publisher, address)
    })
}

/// A29
#[test]
fn a_client_names_the_tolerance_that_an_empty_prefix_needs() {
    let (next, publisher, address) = publish_to_a_server_that_wants_everything(&[]);
    assert!(
        matches!(
            next,
            Err(CloseReason::Peer {
                code: PROTOCOL_VIOLATION,
                ..
            })
        ),
        "{next:?}"
    );
    let finished = publisher.finish();
    assert_eq!(finished.code, Some(1));
    let [log, end] = finished.stderr.as_slice() else {
        panic!("{:#?}", finished.stderr)
    };
    assert!(
        log.contains(&format!("The session with {address} ends: ")) && log.ends_with(LINE),
        "{log}"
    );
    assert!(
        end.starts_with(&format!(
            "moqtail: The relay at {address} does not keep to MOQT draft 14: PROTOCOL_VIOLATION (0x3), "
        )) && end.ends_with("Use another relay, or tell its operator."),
        "{end}"
    );
}

/// A29
#[test]
fn a_tolerant_client_answers_an_empty_prefix() {
    let (next, publisher, _) =
        publish_to_a_server_that_wants_everything(&["--tolerate", "empty-namespace-prefix"]);
    assert!(
        matches!(
            next,
            Ok(ControlMessage::SubscribeNamespaceOk(RequestId(1))
                | ControlMessage::SubscribeNamespaceError(_))
        ),
        "{next:?}"
    );
    publisher.interrupt();
}
