//! HTTP/3 and WebTransport as they should not be.

use std::time::Duration;

use moqtail_conformance::{
    BIDI_SIGNAL, CAPSULE_CLOSE, Carrier, Close, Failure, H3_ALPN, RawPeer, Target, UNI_STREAM,
    WebSession, capsule, data, dial, h3_frame, request, settings,
    wire::{HUGE, varint},
};
use tokio::time::timeout;

use crate::{
    Story,
    carrier::{publisher, viewer},
    world::World,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a story over WebTransport in a world of its own.
async fn story<F: Future<Output = Story>>(attack: impl FnOnce(Target) -> F) {
    let world = World::embedded().await;
    if let Err(failure) = attack(world.target.clone()).await {
        panic!("{failure}");
    }
    world.end().await;
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Transport {
        what: "the story's own connection",
        reason: error.to_string(),
    }
}

/// Streams of sessions that do not exist here, and of types that mean nothing, are refused; the session goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_other_sessions_and_unknown_types_are_refused() {
    story(async |target| {
        let mut peer = RawPeer::established(&target, Carrier::WebTransport).await?;
        let foreign = [4, 1, 2, 400, HUGE];
        let heads = foreign
            .iter()
            .map(|session| [varint(UNI_STREAM), varint(*session)].concat())
            .chain([0x21, 0x04, 0x05, 0x40, 0x41, 0x3fff, HUGE].map(varint));
        for head in heads {
            let mut stream = peer.open_bare_uni().await?;
            stream.write(&[&head[..], b"payload"].concat()).await?;
            assert!(stream.stopped().await?.is_some(), "head {head:x?}");
        }
        for session in foreign {
            let (mut send, mut recv) = peer.connection().open_bi().await.map_err(failed)?;
            let head = [varint(BIDI_SIGNAL), varint(session)].concat();
            send.write_all(&head).await.map_err(failed)?;
            assert!(recv.read_to_end(1).await.is_err(), "session {session}");
        }
        assert_eq!(peer.reaction(0).await?, None);
        Ok(())
    })
    .await;
}

/// A stream given up before anybody knows what it is: at every byte of its head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_inside_the_head_of_a_stream_is_nothing() {
    story(async |target| {
        let mut peer = RawPeer::established(&target, Carrier::WebTransport).await?;
        let uni = [varint(UNI_STREAM), varint(0)].concat();
        let bidi = [varint(BIDI_SIGNAL), varint(0)].concat();
        for _ in 0..50 {
            for cut in 0..uni.len() {
                let mut stream = peer.open_bare_uni().await?;
                stream.write(&uni[..cut]).await?;
                stream.reset(0);
                let mut stream = peer.open_bare_uni().await?;
                stream.write(&uni[..cut]).await?;
                stream.finish();
            }
        }
        for cut in 1..bidi.len() {
            let opened = timeout(PATIENCE, peer.connection().open_bi()).await;
            let (mut send, mut recv) = opened.map_err(failed)?.map_err(failed)?;
            send.write_all(&bidi[..cut]).await.map_err(failed)?;
            send.reset(7_u32.into()).map_err(failed)?;
            assert!(recv.read_to_end(1).await.is_err(), "cut at {cut}");
        }
        assert_eq!(peer.reaction(0).await?, None);
        Ok(())
    })
    .await;
}

/// Datagrams for other sessions, and without a whole session id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_of_other_sessions_are_dropped() {
    story(async |target| {
        let (carrier, space) = (Carrier::WebTransport, ["hostile", "datagrams"]);
        let mut peer = publisher(&target, carrier, &space, "t", 1).await?;
        let (watching, _) = viewer(&target, carrier, &space, "t").await?;
        // Were they taken for datagrams of this session, their type would close it.
        let poison = data::datagram(1, 2, 3, b"x");
        for quarter in [1, 2, 63, 64, HUGE] {
            let bytes = [varint(quarter), vec![0x3f], poison.clone()].concat();
            peer.connection()
                .send_datagram(bytes.into())
                .map_err(failed)?;
        }
        for cut in [&[][..], &[0x40], &[0x80, 0], &[0xff; 7]] {
            peer.connection()
                .send_datagram(cut.to_vec().into())
                .map_err(failed)?;
        }
        // They keep their order: when this one is through, the others have been looked at.
        peer.datagram(&data::datagram(1, 1, 0, b"its own")).await?;
        let came = timeout(PATIENCE, watching.connection().read_datagram()).await;
        let came = came.map_err(failed)?.map_err(failed)?;
        assert!(came.ends_with(b"its own"), "{came:x?}");
        assert_eq!(peer.reaction(2).await?, None);
        Ok(())
    })
    .await;
}

/// Paths are any text; those that are none are refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_for_strange_paths_are_answered() {
    story(async |mut target| {
        for path in [
            "/../../etc/passwd",
            "/%00%ff",
            "//",
            "/?",
            "/a?b#c",
            "/%F0%9F%92%A9",
            "/\u{1F4A9}",
        ] {
            target.path = path.to_owned();
            let mut peer = RawPeer::established(&target, Carrier::WebTransport).await?;
            assert_eq!(peer.reaction(0).await?, None, "{path}");
        }
        target.path = format!("/{}", "x".repeat(8000));
        let mut long = RawPeer::established(&target, Carrier::WebTransport).await?;
        assert_eq!(long.reaction(0).await?, None);
        target.path = format!("/{}", "x".repeat(60_000));
        let refused = RawPeer::connect(&target, Carrier::WebTransport).await;
        assert!(
            matches!(refused, Err(Failure::Transport { .. })),
            "{refused:?}"
        );
        Ok(())
    })
    .await;
}

/// A connection that sends these bytes as its HTTP/3 control stream and its request ends soon, without a session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_is_none_ends_the_connection() {
    story(async |target| {
        let good = request("localhost", "/")?;
        let get = {
            // HEADERS with :method GET from the static table, and nothing more.
            h3_frame(0x01, &[0x00, 0x00, 0xd1])
        };
        let huge = [varint(0x01), varint(HUGE)].concat();
        let garbage = h3_frame(0x01, &[0xff; 2000]);
        let large = h3_frame(0x01, &vec![0; 60_000]);
        let data_first = [h3_frame(0x00, b"x"), good.clone()].concat();
        let no_webtransport = vec![0x00, 0x04, 0x00];
        let huge_settings = [vec![0x00, 0x04], varint(HUGE), vec![0; 1000]].concat();
        let twice = vec![0x00, 0x04, 0x04, 0x33, 0x01, 0x33, 0x01];
        let not_settings = [vec![0x00], h3_frame(0x07, &[0])].concat();
        for (what, control, request) in [
            (
                "a request that is cut",
                settings(),
                good[..good.len() - 3].to_vec(),
            ),
            ("a GET", settings(), get),
            ("huge HEADERS", settings(), huge),
            ("garbage HEADERS", settings(), garbage),
            ("large HEADERS", settings(), large),
            ("DATA before HEADERS", settings(), data_first),
            ("an empty request", settings(), Vec::new()),
            ("no WebTransport in SETTINGS", no_webtransport, good.clone()),
            ("huge SETTINGS", huge_settings, good.clone()),
            ("a setting twice", twice, good.clone()),
            ("GOAWAY instead of SETTINGS", not_settings, good.clone()),
        ] {
            let (_endpoint, connection) = dial(&target, H3_ALPN).await?;
            let mut uni = connection.open_uni().await.map_err(failed)?;
            uni.write_all(&control).await.map_err(failed)?;
            let (mut send, _recv) = connection.open_bi().await.map_err(failed)?;
            // The connection may be closed before all of it is written.
            let _ = send.write_all(&request).await;
            let _ = send.finish();
            let closed = timeout(PATIENCE, connection.closed()).await;
            assert!(closed.is_ok(), "{what}: the connection stays");
        }
        Ok(())
    })
    .await;
}

/// A request whose HEADERS do not end is given up, and not collected until its time is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_end_are_not_collected() {
    story(async |target| {
        let (_endpoint, connection) = dial(&target, H3_ALPN).await?;
        let mut control = connection.open_uni().await.map_err(failed)?;
        control.write_all(&settings()).await.map_err(failed)?;
        let (mut send, _recv) = connection.open_bi().await.map_err(failed)?;
        let mut taken = send
            .write_all(&[varint(0x01), varint(1 << 30)].concat())
            .await;
        let mut pieces = 0;
        while taken.is_ok() {
            assert!(pieces < 32, "{pieces} MB of headers are taken");
            pieces += 1;
            taken = send.write_all(&vec![0; 1 << 20]).await;
        }
        Ok(())
    })
    .await;
}

/// A second session on a connection is refused, and the first goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_request_is_refused() {
    story(async |target| {
        let mut peer = RawPeer::established(&target, Carrier::WebTransport).await?;
        let (mut send, mut recv) = peer.connection().open_bi().await.map_err(failed)?;
        send.write_all(&request("localhost", "/")?)
            .await
            .map_err(failed)?;
        assert!(recv.read_to_end(1000).await.is_err());
        assert_eq!(peer.reaction(0).await?, None);
        Ok(())
    })
    .await;
}

/// Writes bytes on the request stream of a session.
async fn say(web: &mut WebSession, bytes: &[u8]) -> Story {
    web.request.write_all(bytes).await.map_err(failed)
}

/// Capsules that mean nothing are passed over; those that break HTTP/3 end the session and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn capsules_that_are_none_end_their_session_at_most() {
    story(async |target| {
        let mut peer = RawPeer::established(&target, Carrier::WebTransport).await?;
        for kind in [0x00, 0x17, 0x40, 0x1234, HUGE] {
            say(peer.web().unwrap(), &capsule(kind, b"unknown")).await?;
        }
        assert_eq!(peer.reaction(0).await?, None);

        let promise = [varint(0x1234), varint(1 << 40)].concat();
        for (what, bytes) in [
            (
                "a capsule of a terabyte",
                h3_frame(0x00, &[&promise[..], &[0; 100_000]].concat()),
            ),
            (
                "a frame of 4 exabytes",
                [varint(0x00), varint(HUGE), vec![0; 100_000]].concat(),
            ),
            ("SETTINGS among the capsules", h3_frame(0x04, &[])),
            ("HEADERS among the capsules", h3_frame(0x01, &[0xff; 100])),
            ("a close without a code", capsule(CAPSULE_CLOSE, &[0, 0])),
            (
                "a close with much to say",
                capsule(CAPSULE_CLOSE, &[0; 5000]),
            ),
            (
                "a close that is no text",
                capsule(CAPSULE_CLOSE, &[0, 0, 0, 3, 0xff, 0xfe]),
            ),
            ("garbage", vec![0xff; 5000]),
        ] {
            let mut peer = RawPeer::established(&target, Carrier::WebTransport).await?;
            // The session may end before all of it is written.
            let _ = say(peer.web().unwrap(), &bytes).await;
            let _ = peer.web().unwrap().request.finish();
            match peer.closed().await {
                Ok(Close::Code { .. } | Close::Below(_)) => {}
                Err(failure) => panic!("{what}: {failure}"),
            }
        }
        Ok(())
    })
    .await;
}

/// A close that is complete and none ends the session, though the stream goes on: nothing is collected behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_broken_close_is_not_collected() {
    const PIECES: usize = 1000;
    let mut world = World::program().await;
    for length in 0..4 {
        let attack = async {
            let mut peer = RawPeer::established(&world.target, Carrier::WebTransport).await?;
            say(
                peer.web().unwrap(),
                &capsule(CAPSULE_CLOSE, &vec![0; length]),
            )
            .await?;
            let more = h3_frame(0x00, &[0; 60_000]);
            let mut taken = 0;
            while taken < PIECES && say(peer.web().unwrap(), &more).await.is_ok() {
                taken += 1;
            }
            assert!(taken < PIECES, "{taken} pieces are taken");
            peer.closed().await
        };
        if let Err(failure) = attack.await {
            panic!("{failure}");
        }
        if length == 0 {
            world.take_level().await;
        }
    }
    world.end().await;
}

/// The streams that HTTP/3 itself needs, closed under the session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_closes_its_critical_streams_harms_only_itself() {
    story(async |target| {
        for reset in [true, false] {
            let mut peer = RawPeer::established(&target, Carrier::WebTransport).await?;
            let control = &mut peer.web().unwrap().control;
            if reset {
                control.reset(0x104_u32.into()).map_err(failed)?;
            } else {
                control.finish().map_err(failed)?;
            }
            // The relay may end the session for it (RFC 9114 §6.2.1) or go on; it answers either way.
            peer.reaction(0).await?;
        }
        // More streams of HTTP/3 than there are kinds of.
        let mut peer = RawPeer::established(&target, Carrier::WebTransport).await?;
        let mut streams = Vec::new();
        for index in 0..40 {
            let mut stream = peer.open_bare_uni().await?;
            stream.write(&[index % 4, 0x00]).await?;
            streams.push(stream);
        }
        assert_eq!(peer.reaction(0).await?, None);
        Ok(())
    })
    .await;
}
