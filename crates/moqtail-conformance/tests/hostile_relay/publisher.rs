//! A publisher of ours, at a relay that asks for everything and takes nothing.

use bytes::Bytes;
use moqtail::{
    client::{Broadcast, LocalTrack, Publication, SubgroupOptions, TrackOptions},
    model::Extensions,
    track::TrackLimits,
};
use moqtail_conformance::{Carrier, Failure, RawListener, RawPeer, messages, types, wire::Reader};

use crate::{
    over_both_carriers,
    world::{met, trusting},
};

/// Objects that are published, and the size of each.
const OBJECTS: u64 = 100;
const LARGE: usize = 1 << 20;

/// TOO_FAR_BEHIND (draft-14 §9.12).
const TOO_FAR_BEHIND: u64 = 0x6;

/// SUBSCRIBE and UNSUBSCRIBE of one track.
const CHANGES: u64 = 500;

/// A client that has announced `own` with the track `t`.
async fn publishing(
    listener: &RawListener,
) -> Result<(moqtail::client::Client, RawPeer, LocalTrack, Publication), Failure> {
    let (client, mut relay) = met(listener, trusting()).await?;
    let broadcast = Broadcast::new("own".parse().unwrap());
    let track = broadcast.track("t", TrackOptions::default()).unwrap();
    let (publication, answered) = tokio::join!(client.publish(&broadcast), async {
        let request = relay.expect(types::PUBLISH_NAMESPACE).await?;
        let (name, kind) = ("PUBLISH_NAMESPACE_OK", types::PUBLISH_NAMESPACE_OK);
        let id = request.first_number().unwrap();
        relay.send(messages::about(name, kind, id)).await
    });
    answered?;
    Ok((client, relay, track, publication.unwrap()))
}

over_both_carriers! {
    /// S9.12-18: who takes nothing is given up; the publisher goes on and holds no more than its log may.
    async fn a_relay_that_reads_nothing_does_not_fill_a_publisher(carrier: Carrier) {
        let mut transport = quinn::TransportConfig::default();
        transport.stream_receive_window(10_000_u32.into());
        let listener = RawListener::bind_with(carrier, transport)?;
        let (client, mut relay, track, _publication) = publishing(&listener).await?;
        relay.send(messages::subscribe(1, &["own"], "t")).await?;
        relay.expect(types::SUBSCRIBE_OK).await?;
        let payload = Bytes::from(vec![7; LARGE]);
        for group in 0..OBJECTS {
            let mut subgroup = track.subgroup(SubgroupOptions::new(group)).unwrap();
            subgroup.object(0, &Extensions::default(), payload.clone()).unwrap();
            subgroup.finish().unwrap();
            let held = track.track().bytes();
            assert!(held <= TrackLimits::default().max_bytes, "{held} bytes after group {group}");
            tokio::task::yield_now().await;
        }
        let done = relay.expect_among(types::PUBLISH_DONE).await?;
        let mut reader = Reader(&done.payload);
        assert_eq!((reader.varint(), reader.varint()), (Some(1), Some(TOO_FAR_BEHIND)));
        assert_eq!(relay.reaction(3).await?, None);
        assert_eq!(client.blame(), None);
        Ok(())
    }

    /// Subscriptions that end as they begin, and streams that are stopped at once, leave nothing behind.
    async fn a_relay_that_changes_its_mind_costs_a_publisher_nothing(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let (client, mut relay, track, _publication) = publishing(&listener).await?;
        for number in 0..CHANGES {
            let id = 2 * number + 1;
            relay.send(messages::subscribe(id, &["own"], "t")).await?;
            relay.expect(types::SUBSCRIBE_OK).await?;
            let mut subgroup = track.subgroup(SubgroupOptions::new(number)).unwrap();
            subgroup.object(0, &Extensions::default(), Bytes::from_static(b"x")).unwrap();
            if number % 2 == 0 {
                // Dropped unread, it is stopped.
                drop(relay.accept_uni().await?);
            }
            relay.send(messages::unsubscribe(id)).await?;
            subgroup.finish().unwrap();
        }
        assert_eq!(relay.reaction(2 * CHANGES + 1).await?, None);
        let mut interest = track.track().interest();
        interest.wait_for(|interest| interest.subscriptions == 0).await.unwrap();
        assert_eq!(client.blame(), None);
        Ok(())
    }
}
