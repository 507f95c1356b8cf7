//! Requests, answers and closes of WebTransport sessions, with peers that are not ours.

use std::time::Duration;

use moqtail::transport::{
    AcceptError, CloseReason, ConnectConfig, ConnectError, Connection, Identity, Listener,
    QuicConnection, TransportKind, TransportLimits, Trust, connect,
};
use tokio::task::JoinHandle;
use web_transport_proto::{ConnectResponse, Settings};

use crate::{
    carrier::{in_time, listen, url},
    io::{closed, read, read_to_end, send_one, uni, write_all},
    raw::{self, Session},
};

async fn establish(listener: &Listener) -> Result<QuicConnection, AcceptError> {
    listener.accept().await.unwrap().establish().await
}

/// Connects with this request and returns both ends and what was negotiated.
async fn session(request: &[u8]) -> (Session, QuicConnection, Option<String>, Listener) {
    let (listener, identity) = listen(TransportLimits::default());
    let client = async {
        let conn = raw::dial("h3", &listener, &identity).await.unwrap();
        let mut session = Session::ask(conn, request).await;
        let answer = session.answer().await;
        (session, answer)
    };
    let ((client, answer), server) = tokio::join!(client, establish(&listener));
    (client, server.unwrap(), answer.protocol, listener)
}

#[tokio::test]
async fn a_sub_protocol_is_echoed_only_when_offered() {
    in_time(async {
        for (offers, echo) in [
            (&["moq-00"][..], Some("moq-00")),
            (&["moqt-15", "moq-00"], Some("moq-00")),
            (&["moqt-15"], None),
            (&[], None),
        ] {
            let (_client, server, protocol, _listener) =
                session(&raw::request("/a/b?c=d", offers)).await;
            assert_eq!(protocol.as_deref(), echo);
            assert_eq!(server.request_path(), Some("/a/b?c=d"));
            assert_eq!(server.kind(), TransportKind::WebTransport);
        }
    })
    .await;
}

#[tokio::test]
async fn an_offer_that_cannot_be_parsed_is_no_offer() {
    in_time(async {
        let mut request = raw::request("/x", &[]);
        // A literal field line, put in front of the others: type, length and two bytes of section prefix come first.
        let mut line = vec![0x27, 15];
        line.extend_from_slice(b"wt-available-protocols");
        line.push(6);
        line.extend_from_slice(b"moq-00");
        assert!(request[1] < 0x40, "one byte of length before");
        let length = usize::from(request[1]) + line.len();
        request.splice(4..4, line);
        request.splice(1..2, [0x40, u8::try_from(length).unwrap()]);
        let (_client, server, protocol, _listener) = session(&request).await;
        assert_eq!(protocol, None);
        assert_eq!(server.request_path(), Some("/x"));
    })
    .await;
}

#[tokio::test]
async fn streams_that_come_before_the_answer_are_kept() {
    in_time(async {
        let (listener, identity) = listen(TransportLimits::default());
        let client = async {
            let conn = raw::dial("h3", &listener, &identity).await.unwrap();
            let silent = conn.open_uni().await.unwrap();
            let mut encoder = conn.open_uni().await.unwrap();
            encoder.write_all(&[0x02]).await.unwrap();
            let mut early = conn.open_uni().await.unwrap();
            early.write_all(&[0x40, 0x54, 0x00, 1, 2, 3]).await.unwrap();
            early.finish().unwrap();
            let mut session = Session::ask(conn, &raw::request("/", &[])).await;
            session.answer().await;
            (session, silent, encoder)
        };
        let (_client, server) = tokio::join!(client, establish(&listener));
        let server = server.unwrap();
        let mut recv = server.accept_uni().await.unwrap();
        assert_eq!(read_to_end(&mut recv).await.unwrap(), [1, 2, 3]);
    })
    .await;
}

/// S3.1.1-02
#[tokio::test]
async fn an_unknown_path_is_answered_with_404() {
    in_time(async {
        let identity = crate::carrier::identity();
        let mut config = moqtail::transport::ListenConfig::new(
            (std::net::Ipv4Addr::LOCALHOST, 0).into(),
            identity.clone(),
        );
        config.paths = vec!["/moq".into()];
        let listener = Listener::bind(config).unwrap();
        let trust = Trust::Fingerprints(vec![identity.fingerprint()]);
        let wrong = connect(ConnectConfig::new(
            url("https", &listener, "/nope?x"),
            trust.clone(),
        ));
        let (client, server) = tokio::join!(wrong, establish(&listener));
        assert!(
            matches!(client, Err(ConnectError::Rejected { status: 404 })),
            "{client:?}"
        );
        assert!(matches!(server, Err(AcceptError::Path(path)) if path == "/nope"));
        let right = connect(ConnectConfig::new(url("https", &listener, "/moq?x"), trust));
        let (client, server) = tokio::join!(right, establish(&listener));
        assert_eq!(client.unwrap().request_path(), Some("/moq?x"));
        assert_eq!(server.unwrap().request_path(), Some("/moq?x"));
    })
    .await;
}

#[tokio::test]
async fn what_is_no_webtransport_request_is_refused() {
    in_time(async {
        let (listener, identity) = listen(TransportLimits::default());
        let ask = async |settings: u32, request: &[u8]| {
            let conn = raw::dial("h3", &listener, &identity).await.unwrap();
            let _control = raw::send_settings(&conn, settings).await;
            let (mut send, _recv) = conn.open_bi().await.unwrap();
            send.write_all(request).await.unwrap();
            send.finish().unwrap();
            conn.closed().await
        };
        let good = raw::request("/", &[]);
        for (settings, request) in [
            (0, &good[..]),
            (1, &good[..good.len() - 1]),
            (1, &[0x01, 0x00]),
            (1, &[0x00, 0x01, 0xff]),
            (1, &[0x01, 0x80, 0xff, 0xff, 0xff]),
            (1, &[]),
        ] {
            let (_, server) = tokio::join!(ask(settings, request), establish(&listener));
            assert!(
                matches!(server, Err(AcceptError::WebTransport(_))),
                "{server:?}"
            );
        }
    })
    .await;
}

/// A QUIC connection whose client says nothing more, and the server's wait for it.
async fn silent_client(
    listener: &Listener,
    identity: &Identity,
) -> (
    quinn::Connection,
    JoinHandle<Result<QuicConnection, AcceptError>>,
) {
    let dial = raw::dial("h3", listener, identity);
    tokio::pin!(dial);
    let incoming = tokio::select! {
        _ = &mut dial => panic!("connected unasked"),
        incoming = listener.accept() => incoming.unwrap(),
    };
    let waiting = tokio::spawn(incoming.establish());
    (dial.await.unwrap(), waiting)
}

#[tokio::test]
async fn a_silent_client_holds_up_nobody() {
    in_time(async {
        let (listener, identity) = listen(TransportLimits::default());
        let (_silent, waiting) = silent_client(&listener, &identity).await;
        for _ in 0..3 {
            let client = connect(ConnectConfig::new(
                url("https", &listener, ""),
                Trust::Fingerprints(vec![identity.fingerprint()]),
            ));
            let (client, server) = tokio::join!(client, establish(&listener));
            uni(&client.unwrap(), &server.unwrap()).await;
        }
        assert!(!waiting.is_finished());
        waiting.abort();
    })
    .await;
}

#[tokio::test]
async fn a_silent_client_is_not_waited_for_for_ever() {
    in_time(async {
        let mut limits = TransportLimits::default();
        limits.handshake_timeout = Duration::from_secs(1);
        let (listener, identity) = listen(limits);
        let (silent, waiting) = silent_client(&listener, &identity).await;
        assert!(matches!(
            waiting.await.unwrap(),
            Err(AcceptError::Timeout(_))
        ));
        silent.closed().await;
    })
    .await;
}

#[tokio::test]
async fn the_ways_a_session_can_end() {
    in_time(async {
        let request = raw::request("/", &[]);
        let (mut client, server, _, _listener) = session(&request).await;
        client.send.finish().unwrap();
        let none = CloseReason::Peer {
            code: 0,
            reason: String::new(),
        };
        assert_eq!(server.closed().await, none, "the request stream ended");

        let (mut client, server, _, _listener) = session(&request).await;
        client.send.reset(0x10c_u32.into()).unwrap();
        assert!(
            matches!(server.closed().await, CloseReason::Lost(_)),
            "it was reset"
        );

        let (client, server, _, _listener) = session(&request).await;
        client.conn.close(0x100_u32.into(), b"bye");
        let bye = CloseReason::Peer {
            code: 0,
            reason: "bye".into(),
        };
        assert_eq!(server.closed().await, bye, "HTTP/3 ended without an error");

        let (client, server, _, _listener) = session(&request).await;
        client.conn.close(0x104_u32.into(), b"");
        assert!(
            matches!(server.closed().await, CloseReason::Lost(_)),
            "with an error"
        );

        let (mut client, server, _, _listener) = session(&request).await;
        client
            .send
            .write_all(&[0x00, 0x05, 0x68, 0x43, 0x02, 0, 0])
            .await
            .unwrap();
        assert!(
            matches!(server.closed().await, CloseReason::Lost(_)),
            "a close without a whole code"
        );
        drop((client.control, client.recv));
    })
    .await;
}

/// A server that answers with something else than we offered, or with nonsense.
#[tokio::test]
async fn odd_answers_are_errors() {
    in_time(async {
        let (endpoint, pem) = raw::server("h3");
        let address = endpoint.local_addr().unwrap();
        let answers = [
            Some(ConnectResponse::OK.with_protocol("other")),
            Some(ConnectResponse::new(
                web_transport_proto::http::StatusCode::TOO_MANY_REQUESTS,
            )),
            None,
        ];
        for answer in answers {
            let url = format!("https://{address}/").parse().unwrap();
            let client = connect(ConnectConfig::new(url, Trust::Roots(pem.clone().into())));
            let serve = async {
                let conn = endpoint.accept().await.unwrap().await.unwrap();
                let _control = raw::send_settings(&conn, 1).await;
                let mut theirs = conn.accept_uni().await.unwrap();
                Settings::read(&mut theirs).await.unwrap();
                let (mut send, _recv) = conn.accept_bi().await.unwrap();
                match &answer {
                    Some(answer) => answer.write(&mut send).await.unwrap(),
                    None => send.write_all(&[0x01, 0x02, 0xff, 0xff]).await.unwrap(),
                }
                conn.closed().await
            };
            let (client, _) = tokio::join!(client, serve);
            match (client, answer.map(|answer| answer.status.as_u16())) {
                (Err(ConnectError::Rejected { status: 429 }), Some(429)) => {}
                (Err(ConnectError::WebTransport(_)), Some(200) | None) => {}
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
}

/// An independent implementation as client.
#[tokio::test]
async fn a_foreign_client_agrees() {
    in_time(async {
        let (listener, identity) = listen(TransportLimits::default());
        let client = async {
            let conn = raw::dial("h3", &listener, &identity).await.unwrap();
            let url = "https://localhost/p?q".parse::<url::Url>().unwrap();
            let request =
                web_transport_quinn::proto::ConnectRequest::new(url).with_protocol("moq-00");
            web_transport_quinn::Session::connect(conn, request)
                .await
                .unwrap()
        };
        let (client, server) = tokio::join!(client, establish(&listener));
        let server = server.unwrap();
        assert_eq!(client.protocol(), Some("moq-00"));
        agree(&client, &server).await;
        client.close(42, b"foreign");
        let reason = CloseReason::Peer {
            code: 42,
            reason: "foreign".into(),
        };
        assert_eq!(server.closed().await, reason);
    })
    .await;
}

/// S3.1.1-01: an independent implementation as server.
#[tokio::test]
async fn a_foreign_server_agrees() {
    in_time(async {
        let (endpoint, pem) = raw::server("h3");
        let asked = format!("https://{}/some/p?x=y", endpoint.local_addr().unwrap());
        let url = asked.parse().unwrap();
        let client = connect(ConnectConfig::new(url, Trust::Roots(pem.into())));
        let serve = async {
            let conn = endpoint.accept().await.unwrap().await.unwrap();
            let request = web_transport_quinn::Request::accept(conn).await.unwrap();
            assert_eq!(request.url.as_str(), asked);
            assert_eq!(request.protocols, ["moq-00"]);
            request.ok().await.unwrap()
        };
        let (client, server) = tokio::join!(client, serve);
        let client = client.unwrap();
        agree(&server, &client).await;
        client.close(43, "ours");
        let web_transport_quinn::SessionError::WebTransportError(
            web_transport_quinn::WebTransportError::Closed(code, reason),
        ) = server.closed().await
        else {
            panic!("no close")
        };
        assert_eq!((code, reason.as_str()), (43, "ours"));
    })
    .await;
}

async fn agree(theirs: &web_transport_quinn::Session, ours: &QuicConnection) {
    let mut send = theirs.open_uni().await.unwrap();
    send.write_all(b"to us").await.unwrap();
    send.finish().unwrap();
    let mut recv = ours.accept_uni().await.unwrap();
    assert_eq!(read_to_end(&mut recv).await.unwrap(), b"to us");

    let mut back = send_one(ours, b"to them").await;
    let mut recv = theirs.accept_uni().await.unwrap();
    assert_eq!(recv.read_to_end(100).await.unwrap(), b"to them");
    assert_eq!(closed(&mut back).await, Ok(()));

    let (mut send, mut recv) = ours.open_bi().await.unwrap();
    write_all(&mut send, b"ask").await.unwrap();
    let (mut answer, mut question) = theirs.accept_bi().await.unwrap();
    let mut word = [0; 3];
    question.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"ask");
    answer.reset(33).unwrap();
    let reset = moqtail::transport::StreamError::Reset(33);
    assert_eq!(read(&mut recv).await, Err(reset));
    question.stop(31).unwrap();
    let stopped = moqtail::transport::StreamError::Stopped(31);
    assert_eq!(closed(&mut send).await, Err(stopped));

    theirs.send_datagram("in".into()).unwrap();
    assert_eq!(ours.read_datagram().await.unwrap(), "in");
    ours.send_datagram("out".into()).unwrap();
    assert_eq!(theirs.read_datagram().await.unwrap(), "out");
}
