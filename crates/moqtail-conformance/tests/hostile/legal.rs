//! What draft 14 allows: answered, and no reason to end a session.

use std::{collections::BTreeSet, time::Duration};

use moqtail_conformance::{
    Carrier, Close, Failure, Frame, RawPeer, RecvEnd, Speaker, codes, data, every_message,
    messages, types, wire::Reader,
};
use tokio::time::timeout;

use crate::{
    carrier::{publisher, tiny, viewer},
    over_both_carriers,
    world::World,
};

/// Answers to requests that the relay does not make, which are legal in no place. What leaves this list gets one.
const NOT_ASKED_FOR: [u64; 10] = [
    types::PUBLISH_OK,
    types::PUBLISH_ERROR,
    types::PUBLISH_NAMESPACE_OK,
    types::PUBLISH_NAMESPACE_ERROR,
    types::SUBSCRIBE_NAMESPACE_OK,
    types::SUBSCRIBE_NAMESPACE_ERROR,
    types::FETCH_OK,
    types::FETCH_ERROR,
    types::TRACK_STATUS_OK,
    types::TRACK_STATUS_ERROR,
];

/// Subscribes to a track that this peer publishes itself; gives its Request ID, and that of the relay's SUBSCRIBE.
async fn subscribe_to_itself(
    speaker: &mut Speaker,
    space: &[&str],
    track: &str,
) -> Result<(u64, u64), Failure> {
    let own = speaker.id();
    let request = messages::subscribe(own, space, track);
    let asked = speaker.ask(request, types::SUBSCRIBE).await?;
    Ok((own, asked.first_number().unwrap()))
}

/// Request ID, status and stream count of a PUBLISH_DONE.
fn done(frame: &Frame) -> (u64, u64, u64) {
    let mut reader = Reader(&frame.payload);
    let mut number = || reader.varint().unwrap();
    (number(), number(), number())
}

over_both_carriers! {
    /// Silence instead of an answer leaves a peer waiting for ever, and a close for what is legal costs it everything:
    /// each message of draft 14 at a place where it may stand, in one session.
    async fn no_legal_message_meets_silence_or_closes_the_session(carrier: Carrier) {
        let world = World::embedded().await;
        let mut peer = Speaker::new(RawPeer::connect(&world.target, carrier).await?, 0);
        peer.peer.open_control().await?;
        peer.ask(messages::client_setup(messages::GENEROUS), types::SERVER_SETUP).await?;
        peer.tell(messages::max_request_id(messages::GENEROUS + 2)).await?;
        peer.tell(messages::requests_blocked(messages::GENEROUS + 2)).await?;

        // A namespace, and a track of it that is asked for, served and ended.
        let space = &["hostile", "legal"][..];
        let id = peer.id();
        peer.ask(messages::publish_namespace(id, space), types::PUBLISH_NAMESPACE_OK).await?;
        let (own, upstream) = subscribe_to_itself(&mut peer, space, "pulled").await?;
        let ok = peer.ask(messages::subscribe_ok(upstream, 7), types::SUBSCRIBE_OK).await?;
        assert_eq!(ok.first_number(), Some(own));
        peer.peer.stream(&tiny(7, 1, b"pulled")).await?;
        assert!(peer.peer.accept_uni().await?.to_end().await?.0.ends_with(b"pulled"));
        let id = peer.id();
        peer.tell(messages::subscribe_update(id, own, (1 << 40, 0), 3)).await?;
        let end = peer.ask(messages::publish_done(upstream, 1), types::PUBLISH_DONE).await?;
        assert_eq!(done(&end), (own, 2, 1));

        let (own, upstream) = subscribe_to_itself(&mut peer, space, "refused").await?;
        let refusal = messages::refusal("SUBSCRIBE_ERROR", types::SUBSCRIBE_ERROR, upstream);
        let refused = peer.ask(refusal, types::SUBSCRIBE_ERROR).await?;
        assert_eq!(refused.first_number(), Some(own));

        // A track that is offered, watched, left, watched again and ended.
        let offer = peer.id();
        peer.ask(messages::publish(offer, space, "pushed", 8), types::PUBLISH_OK).await?;
        for _ in 0..2 {
            let id = peer.id();
            peer.ask(messages::subscribe(id, space, "pushed"), types::SUBSCRIBE_OK).await?;
            peer.tell(messages::unsubscribe(id)).await?;
        }
        peer.tell(messages::publish_done(offer, 0)).await?;

        // What is not served is refused, and what crosses the refusal is no error.
        let id = peer.id();
        peer.ask(messages::fetch(id, space, "pushed", (0, 0), (1, 0)), types::FETCH_ERROR).await?;
        peer.tell(messages::fetch_cancel(id)).await?;
        let id = peer.id();
        peer.ask(messages::track_status(id, space, "pushed"), types::TRACK_STATUS_ERROR).await?;
        let id = peer.id();
        let asked = messages::subscribe_namespace(id, space);
        peer.ask(asked, types::SUBSCRIBE_NAMESPACE_ERROR).await?;
        peer.tell(messages::unsubscribe_namespace(space)).await?;

        peer.tell(messages::publish_namespace_done(space)).await?;
        peer.tell(messages::publish_namespace_cancel(space)).await?;
        peer.tell(messages::goaway("")).await?;

        let all: BTreeSet<u64> = every_message(0, 1).iter().map(|message| message.kind).collect();
        let never = NOT_ASKED_FOR.into_iter().chain([types::SERVER_SETUP]);
        let covered: BTreeSet<u64> = peer.said().iter().copied().chain(never).collect();
        assert_eq!(covered, all);
        drop(peer);
        world.end().await;
        Ok(())
    }

    /// S9.1-02: request ids are counted per session, and a publisher that is strict closes on one that is not its next.
    async fn the_relay_counts_its_request_ids_for_each_session(carrier: Carrier) {
        let world = World::embedded().await;
        let mut publishers = Vec::new();
        for name in ["a", "b"] {
            let mut peer = RawPeer::established(&world.target, carrier).await?;
            peer.send(messages::publish_namespace(0, &["hostile", name])).await?;
            peer.expect(types::PUBLISH_NAMESPACE_OK).await?;
            publishers.push((name, peer));
        }
        let mut viewer = RawPeer::established(&world.target, carrier).await?;
        let mut id = 0;
        for expected in [1, 3, 5] {
            for (name, publisher) in &mut publishers {
                let track = expected.to_string();
                viewer.send(messages::subscribe(id, &["hostile", name], &track)).await?;
                id += 2;
                // One that was not answered is withdrawn some time.
                let asked = publisher.expect_among(types::SUBSCRIBE).await?;
                assert_eq!(asked.first_number(), Some(expected));
            }
        }
        drop((publishers, viewer));
        world.end().await;
        Ok(())
    }

    /// A viewer knows its own Request ID and counts its own streams; those of the publisher mean nothing to it.
    async fn the_end_of_a_pushed_track_is_told_with_the_viewers_own_id_and_stream_count(carrier: Carrier) {
        let world = World::embedded().await;
        let mut publisher = publisher(&world.target, carrier, &["hostile"], "pushed", 5).await?;
        let mut viewer = RawPeer::established(&world.target, carrier).await?;
        assert_eq!(viewer.reaction(0).await?, None);
        viewer.send(messages::subscribe_range(2, &["hostile"], "pushed", (7, 0), 9)).await?;
        viewer.expect(types::SUBSCRIBE_OK).await?;
        publisher.stream(&tiny(5, 1, b"not for this viewer")).await?;
        for group in [7, 8] {
            publisher.stream(&tiny(5, group, b"x")).await?;
            let (_, end) = viewer.accept_uni().await?.to_end().await?;
            assert_eq!(end, RecvEnd::Fin);
        }
        publisher.send(messages::publish_done(0, 3)).await?;
        let told = viewer.expect(types::PUBLISH_DONE).await?;
        assert_eq!(done(&told), (2, 2, 2));
        assert!(told.payload.ends_with(b"over"));
        drop((publisher, viewer));
        world.end().await;
        Ok(())
    }

    /// S5.1-11: who asked for nothing is told nothing.
    async fn tracks_and_namespaces_are_not_told_to_who_did_not_ask(carrier: Carrier) {
        let world = World::embedded().await;
        let mut bystander = RawPeer::established(&world.target, carrier).await?;
        let mut publisher = publisher(&world.target, carrier, &["hostile"], "pushed", 5).await?;
        publisher.send(messages::publish_namespace(2, &["hostile", "announced"])).await?;
        publisher.expect(types::PUBLISH_NAMESPACE_OK).await?;
        publisher.stream(&tiny(5, 1, b"x")).await?;
        bystander.send(messages::subscribe(0, &["nobody"], "nothing")).await?;
        bystander.expect(types::SUBSCRIBE_ERROR).await?;
        drop((publisher, bystander));
        world.end().await;
        Ok(())
    }

    /// S3.3-02, S3.3-04: the relay opens no bidirectional stream, and does not finish the one there is.
    async fn everything_the_relay_says_stays_on_the_control_stream(carrier: Carrier) {
        let world = World::embedded().await;
        let publisher = publisher(&world.target, carrier, &["hostile"], "t", 5).await?;
        let (mut viewer, _) = viewer(&world.target, carrier, &["hostile"], "t").await?;
        publisher.stream(&tiny(5, 1, b"x")).await?;
        viewer.accept_uni().await?.to_end().await?;
        assert_eq!(viewer.reaction(2).await?, None);
        let second = timeout(Duration::ZERO, viewer.connection().accept_bi()).await;
        assert!(second.is_err(), "the relay opened a bidirectional stream");
        let mut control = viewer.take_control()?;
        let more = timeout(Duration::from_millis(500), control.1.read_chunk(usize::MAX, true)).await;
        assert!(more.is_err(), "the control stream does not stay open and silent: {more:?}");
        drop((publisher, viewer, control));
        world.end().await;
        Ok(())
    }

    /// S10.4-01: a header alone is a stream with no objects.
    async fn a_stream_without_objects_is_no_violation(carrier: Carrier) {
        let world = World::embedded().await;
        let mut publisher = publisher(&world.target, carrier, &["hostile"], "t", 5).await?;
        let (mut viewer, _) = viewer(&world.target, carrier, &["hostile"], "t").await?;
        for kind in (0x10..=0x15).chain(0x18..=0x1d) {
            let subgroup = (kind & 0x06 == 0x04).then_some(9);
            publisher.stream(&data::subgroup_header(kind, 5, kind, subgroup)).await?;
        }
        assert_eq!(publisher.reaction(2).await?, None);
        publisher.stream(&tiny(5, 100, b"and goes on")).await?;
        assert!(viewer.accept_uni().await?.to_end().await?.0.ends_with(b"and goes on"));
        drop((publisher, viewer));
        world.end().await;
        Ok(())
    }

    /// S3.4-01, S3.4-02: the code is that of the session, in CONNECTION_CLOSE or in the capsule, and the text names the
    /// rule that was broken, not another one.
    async fn a_close_says_with_its_code_and_text_what_was_wrong(carrier: Carrier) {
        let world = World::embedded().await;
        for (message, code, says) in [
            (messages::subscribe(4, &["x"], "y"), codes::INVALID_REQUEST_ID, "SUBSCRIBE with Request ID 4"),
            (messages::max_request_id(1), codes::PROTOCOL_VIOLATION, "MAX_REQUEST_ID 1"),
            (messages::unsubscribe(0), codes::INVALID_REQUEST_ID, "UNSUBSCRIBE for Request ID 0"),
        ] {
            let mut peer = RawPeer::established(&world.target, carrier).await?;
            peer.send(message).await?;
            match peer.closed().await? {
                Close::Code { code: got, reason } => {
                    assert_eq!(got, code);
                    assert!(reason.contains(says), "{reason}");
                }
                close => panic!("session {close}"),
            }
        }
        world.end().await;
        Ok(())
    }
}
