//! Sessions that meddle with what belongs to others.

use std::time::Duration;

use moqtail_conformance::{
    Carrier, Failure, RawPeer, RawRecv, RecvEnd, codes, data, every_answer, messages, types,
    wire::HUGE,
};

use crate::{
    carrier::{publisher, tiny, viewer},
    over_both_carriers,
    watcher::{NAMESPACE, TRACK},
    world::World,
};

/// CANCELLED, the code for streams that nobody wants (draft-14 §10.4.3).
const CANCELLED: u64 = 0x1;

/// Writes objects with all aliases that could mean the watched track, by stream and datagram.
async fn inject(peer: &mut RawPeer, known: u64) -> Result<(), Failure> {
    let mut streams = Vec::new();
    for alias in (0..12).chain([known]) {
        for group in [0, 1, 50, 1 << 40] {
            peer.datagram(&data::datagram(alias, group, 3, b"foreign"))
                .await?;
        }
        let mut stream = peer.open_uni().await?;
        stream.write(&tiny(alias, 1 << 40, b"foreign")).await?;
        streams.push(stream);
    }
    for mut stream in streams {
        assert_eq!(stream.stopped().await?, Some(CANCELLED));
    }
    Ok(())
}

/// The next stream of a viewer without its head, as far as a track alias of one byte and group 1 go.
async fn content(stream: &mut RawRecv, alias: u64) -> Result<Vec<u8>, Failure> {
    let (bytes, end) = stream.to_end().await?;
    assert_eq!(end, RecvEnd::Fin);
    let head = data::subgroup_header(0x14, alias, 1, Some(0));
    assert_eq!(bytes[..head.len()], head[..]);
    Ok(bytes[head.len()..].to_vec())
}

over_both_carriers! {
    /// A third client's stream with a known alias once reached the viewer elsewhere.
    async fn a_stranger_cannot_write_on_the_alias_of_another(carrier: Carrier) {
        let world = World::embedded().await;
        // It is told the relay's own alias, as every subscriber is.
        let (mut stranger, known) = viewer(&world.target, carrier, &[NAMESPACE], TRACK).await?;
        inject(&mut stranger, known).await?;
        assert_eq!(stranger.reaction(2).await?, None);

        // One that publishes has aliases, but only its own.
        let mut other = publisher(&world.target, carrier, &["hostile"], "t", 40).await?;
        inject(&mut other, known).await?;
        assert_eq!(other.reaction(2).await?, None);
        drop((stranger, other));
        world.end().await;
        Ok(())
    }

    /// S9.1-06: ids that the relay never gave to this session.
    async fn an_answer_to_a_request_of_another_session_closes_the_session(carrier: Carrier) {
        let world = World::embedded().await;
        // The relay has asked the watcher's publisher, and nobody else, with its Request ID 1.
        for id in [0, 1, 3, 1 << 40] {
            for message in every_answer(id) {
                let what = format!("{} for {id}", message.name);
                let mut peer = RawPeer::established(&world.target, carrier).await?;
                peer.send(message).await?;
                if let Err(failure) = peer.expect_close(codes::INVALID_REQUEST_ID).await {
                    panic!("{what}: {failure}");
                }
            }
        }
        world.end().await;
        Ok(())
    }

    /// A session that was asked may answer once, with the answer that fits.
    async fn an_answer_of_the_wrong_kind_closes_the_session(carrier: Carrier) {
        let world = World::embedded().await;
        for wrong in every_answer(1).into_iter().skip(4).filter(|m| m.kind != types::FETCH_CANCEL) {
            let what = wrong.name;
            let mut peer = RawPeer::established(&world.target, carrier).await?;
            peer.send(messages::publish_namespace(0, &["hostile", "asked"])).await?;
            peer.expect(types::PUBLISH_NAMESPACE_OK).await?;
            let mut asking = RawPeer::established(&world.target, carrier).await?;
            asking.send(messages::subscribe(0, &["hostile", "asked"], "t")).await?;
            let asked = peer.expect(types::SUBSCRIBE).await?;
            assert_eq!(asked.first_number(), Some(1));
            peer.send(wrong).await?;
            if let Err(failure) = peer.expect_close(codes::PROTOCOL_VIOLATION).await {
                panic!("{what}: {failure}");
            }
            asking.expect(types::SUBSCRIBE_ERROR).await?;
        }
        world.end().await;
        Ok(())
    }

    /// S5.1-04: with the same answer or the other one.
    async fn a_second_answer_closes_the_session(carrier: Carrier) {
        let world = World::embedded().await;
        let error = messages::refusal("SUBSCRIBE_ERROR", types::SUBSCRIBE_ERROR, 1);
        for second in [messages::subscribe_ok(1, 3), messages::subscribe_ok(1, 4), error] {
            let space = ["hostile", "twice"];
            let mut peer = RawPeer::established(&world.target, carrier).await?;
            peer.send(messages::publish_namespace(0, &space)).await?;
            peer.expect(types::PUBLISH_NAMESPACE_OK).await?;
            let mut asking = RawPeer::established(&world.target, carrier).await?;
            asking.send(messages::subscribe(0, &space, "t")).await?;
            peer.expect(types::SUBSCRIBE).await?;
            peer.send(messages::subscribe_ok(1, 3)).await?;
            asking.expect(types::SUBSCRIBE_OK).await?;
            peer.send(second).await?;
            peer.expect_close(codes::PROTOCOL_VIOLATION).await?;
            drop((peer, asking));
            world.others_gone().await;
        }
        world.end().await;
        Ok(())
    }

    /// A46: namespaces of others cannot be withdrawn, cancelled or unsubscribed.
    async fn a_stranger_cannot_withdraw_the_namespace_of_another(carrier: Carrier) {
        let world = World::embedded().await;
        let mut peer = RawPeer::established(&world.target, carrier).await?;
        for message in [
            messages::publish_namespace_done(&[NAMESPACE]),
            messages::publish_namespace_cancel(&[NAMESPACE]),
            messages::unsubscribe_namespace(&[NAMESPACE]),
        ] {
            peer.send(message).await?;
        }
        assert_eq!(peer.reaction(0).await?, None);
        // The watched track can still be found.
        let (found, _) = viewer(&world.target, carrier, &[NAMESPACE], TRACK).await?;
        drop((peer, found));
        world.end().await;
        Ok(())
    }

    /// Two publishers that both chose one alias were once crossed elsewhere: a viewer of one got the other's objects.
    async fn two_publishers_with_the_same_alias_are_not_crossed(carrier: Carrier) {
        let world = World::embedded().await;
        let target = &world.target;
        for pushed in [true, false] {
            let mut publishers = Vec::new();
            let mut viewers = Vec::new();
            for name in ["a", "b"] {
                let space = ["hostile", name];
                if pushed {
                    publishers.push((name, publisher(target, carrier, &space, "t", 1).await?));
                    viewers.push((name, viewer(target, carrier, &space, "t").await?));
                    continue;
                }
                let mut publisher = RawPeer::established(target, carrier).await?;
                publisher.send(messages::publish_namespace(0, &space)).await?;
                publisher.expect(types::PUBLISH_NAMESPACE_OK).await?;
                let answering = async {
                    let asked = publisher.expect(types::SUBSCRIBE).await?;
                    publisher.send(messages::subscribe_ok(asked.first_number().unwrap(), 1)).await
                };
                let (answered, watching) = tokio::join!(answering, viewer(target, carrier, &space, "t"));
                answered?;
                publishers.push((name, publisher));
                viewers.push((name, watching?));
            }
            assert_ne!(viewers[0].1.1, viewers[1].1.1, "the relay's aliases are its own");
            for (name, publisher) in &mut publishers {
                publisher.stream(&tiny(1, 1, format!("from {name}").as_bytes())).await?;
            }
            for (name, (viewer, alias)) in &mut viewers {
                let mut stream = viewer.accept_uni().await?;
                let expected = data::object(0, format!("from {name}").as_bytes());
                assert_eq!(content(&mut stream, *alias).await?, expected);
            }
            drop((publishers, viewers));
            world.others_gone().await;
        }
        world.end().await;
        Ok(())
    }

    /// S9.13-03.
    async fn one_alias_for_two_tracks_of_a_session_closes_it(carrier: Carrier) {
        let world = World::embedded().await;
        let mut peer = publisher(&world.target, carrier, &["hostile"], "one", 5).await?;
        peer.send(messages::publish(2, &["hostile"], "two", 5)).await?;
        peer.expect_close(codes::DUPLICATE_TRACK_ALIAS).await?;
        world.end().await;
        Ok(())
    }

    /// Locations at the end of all numbers, told and sent, are no reason to end a viewer's session.
    async fn a_publisher_of_absurd_numbers_harms_no_viewer(carrier: Carrier) {
        let world = World::embedded().await;
        let space = ["hostile", "absurd"];
        for largest in [(HUGE, HUGE), (HUGE, 0), (0, HUGE)] {
            let mut publisher = RawPeer::established(&world.target, carrier).await?;
            publisher.send(messages::publish_at(0, &space, "pushed", HUGE, largest)).await?;
            publisher.expect(types::PUBLISH_OK).await?;
            publisher.send(messages::publish_namespace(2, &space)).await?;
            publisher.expect(types::PUBLISH_NAMESPACE_OK).await?;
            let mut viewers = Vec::new();
            for track in ["pushed", "pulled"] {
                for request in [
                    messages::subscribe(0, &space, track),
                    messages::subscribe_next_group(0, &space, track),
                    messages::subscribe_range(0, &space, track, (HUGE, HUGE), HUGE),
                ] {
                    let mut viewer = RawPeer::established(&world.target, carrier).await?;
                    viewer.send(request).await?;
                    viewers.push(viewer);
                }
            }
            let asked = publisher.expect_among(types::SUBSCRIBE).await?;
            let id = asked.first_number().unwrap();
            publisher.send(messages::subscribe_ok_at(id, HUGE - 1, largest)).await?;
            for alias in [HUGE, HUGE - 1] {
                let object = data::object(HUGE, b"the last");
                let stream = [data::subgroup_header(0x14, alias, HUGE, Some(HUGE)), object];
                publisher.stream(&stream.concat()).await?;
                publisher.datagram(&data::datagram(alias, HUGE, HUGE, b"the last")).await?;
            }
            for viewer in &mut viewers {
                assert_eq!(viewer.reaction(2).await?, None);
            }
            drop((publisher, viewers));
            world.others_gone().await;
        }
        world.end().await;
        Ok(())
    }

    /// A namespace may have several publishers; one that never answers is waited for by nobody.
    async fn a_silent_publisher_of_the_same_namespace_delays_nobody(carrier: Carrier) {
        let world = World::embedded().await;
        let mut silent = RawPeer::established(&world.target, carrier).await?;
        silent.send(messages::publish_namespace(0, &[NAMESPACE])).await?;
        silent.expect(types::PUBLISH_NAMESPACE_OK).await?;
        let (mut found, _) = viewer(&world.target, carrier, &[NAMESPACE], TRACK).await?;
        found.accept_uni().await?;
        drop((silent, found));
        world.end().await;
        Ok(())
    }

    /// Publisher and subscribers of a track outlive a publisher of the same name that leaves or breaks the draft.
    async fn a_second_publisher_that_breaks_the_draft_takes_nobody_along(carrier: Carrier) {
        let world = World::embedded().await;
        let (mut viewer, alias) = {
            let first = publisher(&world.target, carrier, &["hostile"], "shared", 1).await?;
            let watching = viewer(&world.target, carrier, &["hostile"], "shared").await?;
            let mut second = publisher(&world.target, carrier, &["hostile"], "shared", 9).await?;
            second.stream(&[data::subgroup_header(0x14, 9, 0, Some(0)), vec![0, 0, 0x02]].concat()).await?;
            second.expect_close(codes::PROTOCOL_VIOLATION).await?;
            first.stream(&tiny(1, 1, b"still here")).await?;
            let (mut watching, alias) = watching;
            let mut stream = watching.accept_uni().await?;
            // The stream of the second one may have come through up to the violation, and was reset then.
            let (mut bytes, end) = stream.to_end().await?;
            if matches!(end, RecvEnd::Reset(_)) {
                bytes = watching.accept_uni().await?.to_end().await?.0;
            }
            assert!(bytes.ends_with(&data::object(0, b"still here")), "{bytes:x?}");
            (watching, alias)
        };
        assert!(alias < 1 << 20);
        assert_eq!(viewer.reaction(2).await?, None);
        drop(viewer);
        // The relay waits for the publisher to come back before it gives the track up.
        tokio::time::timeout(Duration::from_secs(30), world.end()).await.unwrap();
        Ok(())
    }
}
