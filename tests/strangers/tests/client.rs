//! `moqtap-client`, an independent client, against our relay over both transports.

#![cfg(unix)]

use moqtail_e2e::Relay;
use moqtail_strangers::{both, choose_tls, publish, soon, subscribe};
use moqtap_client::draft14::connection::{ClientConfig, Connection, TransportType};
use moqtap_codec::{
    dispatch::AnySubgroupHeader,
    draft14::{
        data_stream::{SubgroupHeader, SubgroupObject, SubgroupStreamType},
        message::ControlMessage,
    },
    kvp::{KeyValuePair, KvpValue},
    types::{FilterType, GroupOrder, TrackNamespace},
    varint::VarInt,
    version::DraftVersion,
};

fn varint(value: u64) -> VarInt {
    VarInt::from_u64(value).expect("it fits")
}

fn namespace(name: &str) -> TrackNamespace {
    TrackNamespace(
        name.split('/')
            .map(|field| field.as_bytes().to_vec())
            .collect(),
    )
}

/// A session that grants the relay 100 requests.
async fn connect(url: &str) -> Connection {
    choose_tls();
    let (scheme, host) = url.split_once("://").expect("a URL");
    let transport = match scheme {
        "https" => TransportType::WebTransport {
            url: format!("{url}/"),
        },
        _ => TransportType::Quic,
    };
    let max_request_id = KeyValuePair {
        key: varint(2),
        value: KvpValue::Varint(varint(100)),
    };
    let config = ClientConfig {
        draft: DraftVersion::Draft14,
        additional_versions: Vec::new(),
        transport,
        skip_cert_verification: true,
        ca_certs: Vec::new(),
        setup_parameters: vec![max_request_id],
    };
    let connected = soon("setup", Connection::connect(host, config)).await;
    connected.expect("the relay accepts the session")
}

/// The next control message that `wanted` takes; others are handled by the client.
async fn next<T>(client: &mut Connection, wanted: impl Fn(ControlMessage) -> Option<T>) -> T {
    loop {
        let message = soon("an answer", client.recv_and_dispatch()).await;
        if let Some(found) = wanted(message.expect("the session lives")) {
            return found;
        }
    }
}

async fn ask(client: &mut Connection, name: &str, track: &str) -> VarInt {
    let (track, order) = (track.as_bytes().to_vec(), GroupOrder::Ascending);
    let filter = FilterType::LargestObject;
    let request = client.subscribe(namespace(name), track, 128, order, filter, Vec::new());
    request.await.expect("SUBSCRIBE goes out")
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_agrees_on_draft_14() {
    let relay = Relay::start();
    for url in both(&relay) {
        let client = connect(&url).await;
        assert_eq!(
            client.negotiated_version(),
            Some(varint(0xff00_000e)),
            "{url}"
        );
        client.close(0, b"done");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_accepted_until_it_is_done() {
    let relay = Relay::start();
    for url in both(&relay) {
        let mut client = connect(&url).await;
        let sent = client.publish_namespace(namespace("live/stranger"), Vec::new());
        let id = sent.await.expect("PUBLISH_NAMESPACE goes out");
        let accepted = next(&mut client, |message| match message {
            ControlMessage::PublishNamespaceOk(ok) => Some(ok.request_id),
            _ => None,
        });
        assert_eq!(accepted.await, id, "{url}");
        let done = client.publish_namespace_done(namespace("live/stranger"));
        done.await.expect("PUBLISH_NAMESPACE_DONE goes out");
        let mut other = connect(&url).await;
        assert_unknown(&mut other, &url).await;
        client.close(0, b"done");
    }
}

/// A track of `live/stranger` is refused with TRACK_DOES_NOT_EXIST.
async fn assert_unknown(client: &mut Connection, url: &str) {
    let id = ask(client, "live/stranger", "t").await;
    let error = next(client, |message| match message {
        ControlMessage::SubscribeError(error) => Some(error),
        _ => None,
    });
    let error = error.await;
    assert_eq!(
        (error.request_id, error.error_code),
        (id, varint(4)),
        "{url}"
    );
    let reason = String::from_utf8_lossy(&error.reason_phrase).into_owned();
    assert!(reason.contains("not found"), "{url}: {reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_track_is_refused() {
    let relay = Relay::start();
    for url in both(&relay) {
        let mut client = connect(&url).await;
        assert_unknown(&mut client, &url).await;
        assert_unknown(&mut client, &url).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_track_arrives_object_by_object() {
    let relay = Relay::start();
    for url in both(&relay) {
        let mut publisher = publish(&relay.quic(), &["--group-lines", "5"]);
        let mut client = connect(&url).await;
        let id = ask(&mut client, "live/stranger", "t").await;
        let accepted = next(&mut client, |message| match message {
            ControlMessage::SubscribeOk(ok) => Some((ok.request_id, ok.track_alias)),
            _ => None,
        });
        let (accepted, alias) = accepted.await;
        assert_eq!(accepted, id);
        let sent: Vec<String> = (0..20).map(|number| format!("line {number}")).collect();
        publisher.write((sent.join("\n") + "\n").as_bytes());
        publisher.close_stdin();
        let mut groups = Vec::new();
        for _ in 0..4 {
            let stream = soon("a stream", client.accept_subgroup_stream()).await;
            let (header, mut stream) = stream.expect("a subgroup");
            assert_eq!(header.track_alias(), alias.into_inner());
            let mut texts = Vec::new();
            for number in 0..5 {
                let object = soon("an object", stream.read_subgroup_object()).await;
                let object = object.expect("a whole object");
                assert_eq!((object.object_id, object.status), (varint(number), None));
                texts.push(String::from_utf8(object.payload).expect("text"));
            }
            groups.push((header.group_id(), texts));
        }
        groups.sort();
        let received: Vec<String> = groups.into_iter().flat_map(|(_, texts)| texts).collect();
        assert_eq!(received, sent, "{url}");
        let done = next(&mut client, |message| match message {
            ControlMessage::PublishDone(done) => Some((done.status_code, done.stream_count)),
            _ => None,
        });
        // draft-14 §9.12: TRACK_ENDED
        assert_eq!(done.await, (varint(2), varint(4)), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_a_live_track_arrive() {
    let relay = Relay::start();
    for url in both(&relay) {
        let mut publisher = publish(&relay.quic(), &["--datagram"]);
        let mut client = connect(&url).await;
        ask(&mut client, "live/stranger", "t").await;
        let accepted = next(&mut client, |message| match message {
            ControlMessage::SubscribeOk(ok) => Some(ok.track_alias),
            _ => None,
        });
        let alias = accepted.await;
        for _ in 0..10 {
            publisher.write(b"a datagram\n");
            let datagram = soon("a datagram", client.recv_datagram()).await;
            let (header, _) = datagram.expect("a datagram");
            let meta = header.meta();
            assert_eq!(
                (meta.track_alias, meta.object_id),
                (alias.into_inner(), 0),
                "{url}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_publishes_arrives_at_our_subscriber() {
    let relay = Relay::start();
    for url in both(&relay) {
        let mut client = connect(&url).await;
        let sent = client.publish_namespace(namespace("live/stranger"), Vec::new());
        sent.await.expect("PUBLISH_NAMESPACE goes out");
        next(&mut client, |message| match message {
            ControlMessage::PublishNamespaceOk(_) => Some(()),
            _ => None,
        })
        .await;
        let subscriber = subscribe(&relay.quic(), &["--count", "30"]);
        let request = next(&mut client, |message| match message {
            ControlMessage::Subscribe(subscribe) => Some(subscribe),
            _ => None,
        });
        let request = request.await;
        assert_eq!(request.track_name, b"t");
        let alias = varint(3);
        let (order, expires) = (GroupOrder::Ascending, varint(0));
        let accepted = client.subscribe_ok(request.request_id, alias, expires, order, Vec::new());
        accepted.await.expect("SUBSCRIBE_OK goes out");
        for group in 0..3 {
            let header = AnySubgroupHeader::Draft14(SubgroupHeader {
                stream_type: SubgroupStreamType::from_u8(0x14).expect("with a Subgroup ID"),
                track_alias: alias,
                group_id: varint(group),
                subgroup_id: Some(varint(7)),
                publisher_priority: 128,
            });
            let opened = soon("a stream", client.open_subgroup_stream(&header)).await;
            let mut stream = opened.expect("a stream");
            for object in 0..10 {
                let object = SubgroupObject {
                    object_id: varint(object * 3),
                    extension_headers: Vec::new(),
                    status: None,
                    payload: format!("{group}/{object}").into_bytes(),
                };
                let written = stream.write_subgroup_object(&object).await;
                written.expect("the relay reads");
            }
            stream.finish().await.expect("the stream ends");
        }
        let finished = subscriber.finish();
        assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
        let text = finished.stdout_text();
        let mut received: Vec<&str> = text.lines().collect();
        received.sort_unstable();
        let expected: Vec<String> = (0..3)
            .flat_map(|group| (0..10).map(move |object| format!("{group}/{object}")))
            .collect();
        assert_eq!(received, expected, "{url}");
        client.close(0, b"done");
    }
}
