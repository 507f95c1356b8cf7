//! Data streams and datagrams of a relay that does what it likes with them.

use moqtail::{
    client::{Object, Objects, ReadError, SubscriptionEnd},
    model::PublishDoneCode,
    transport::StreamError,
};
use moqtail_conformance::{Carrier, PATIENCE, RawListener, codes, data, messages, wire::HUGE};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    over_both_carriers,
    world::{ALIAS, SHORT, blamed, impatient, met, trusting, watching},
};

/// CANCELLED and DELIVERY_TIMEOUT among the codes of streams (draft-14 §10.4.3).
const CANCELLED: u64 = 0x1;
const DELIVERY_TIMEOUT: u32 = 0x2;

/// Streams and datagrams for a client whose application takes nothing, and how many of them it keeps.
const UNREAD: usize = 90;
const KEPT: usize = 16;

/// What incomplete objects may hold together, the size of some, and how many of those fit.
const GATHERED: u64 = 1 << 20;
const LARGE: usize = 200 << 10;
const LARGE_OBJECTS: u64 = 8;
const FITTING: u64 = GATHERED / LARGE as u64;

/// A subgroup with one object.
fn tiny(alias: u64, group: u64, payload: &[u8]) -> Vec<u8> {
    [
        data::subgroup_header(0x14, alias, group, Some(0)),
        data::object(0, payload),
    ]
    .concat()
}

async fn next(objects: &mut Objects) -> Option<Result<Object, ReadError>> {
    timeout(10 * SHORT, objects.next())
        .await
        .expect("an object, an error or the end")
}

/// How many objects come before the end.
async fn taken(objects: &mut Objects) -> usize {
    let mut taken = 0;
    while let Some(object) = next(objects).await {
        object.unwrap();
        taken += 1;
    }
    taken
}

over_both_carriers! {
    /// S10.4.2-09, S10.3-01: nothing waits for an alias for ever, and nothing ends for it.
    async fn streams_and_datagrams_for_unknown_aliases_are_refused(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let (client, mut relay) = met(&listener, impatient()).await?;
        let mut streams = Vec::new();
        for number in 0..100 {
            relay.datagram(&data::datagram(1000 + number, number, 0, b"nobody's")).await?;
            let Ok(stream) = timeout(SHORT, relay.open_uni()).await else {
                break;
            };
            let mut stream = stream?;
            stream.write(&tiny(1000 + number, 1, b"nobody's")).await?;
            streams.push(stream);
        }
        assert!(!streams.is_empty());
        for mut stream in streams {
            assert_eq!(stream.stopped().await?, Some(CANCELLED));
        }
        assert_eq!(relay.reaction(1).await?, None);
        assert_eq!(client.blame(), None);
        Ok(())
    }

    /// S3.4-09: a stream that never says whose it is loses itself and nothing else.
    async fn a_stream_without_its_header_is_given_up(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        let (client, mut relay) = met(&listener, impatient()).await?;
        let mut stream = relay.open_uni().await?;
        stream.write(&[0x14]).await?;
        assert_eq!(stream.stopped().await?, Some(CANCELLED));
        assert_eq!(relay.reaction(1).await?, None);
        assert_eq!(client.blame(), None);
        Ok(())
    }

    /// S10.4-02, S10.2.1.1-03: half an object and FIN, and an object that cannot be.
    async fn a_broken_object_is_an_error_of_the_reader_and_ends_the_session(carrier: Carrier) {
        let whole = tiny(ALIAS, 1, b"whole");
        for broken in [
            whole[..whole.len() - 2].to_vec(),
            whole[..whole.len() - 6].to_vec(),
            [&whole[..whole.len() - 7], &[0, 0, 2]].concat(),
        ] {
            let (client, mut relay, mut objects) = watching(carrier, trusting()).await?;
            relay.stream(&broken).await?;
            let error = next(&mut objects).await.expect("an error").unwrap_err();
            assert!(matches!(error, ReadError::Malformed(_)), "{error:?}");
            relay.expect_close(codes::PROTOCOL_VIOLATION).await?;
            blamed(&client, codes::PROTOCOL_VIOLATION).await.unwrap();
            assert!(next(&mut objects).await.is_none());
            assert_eq!(objects.subscription().end(), Some(SubscriptionEnd::SessionEnded));
        }
        Ok(())
    }

    /// S10.4.3-14: one stream is lost with its code, and no other.
    async fn a_reset_in_the_middle_of_an_object_costs_that_stream_alone(carrier: Carrier) {
        let (client, mut relay, mut objects) = watching(carrier, trusting()).await?;
        let mut stream = relay.open_uni().await?;
        stream.write(&tiny(ALIAS, 1, b"first")).await?;
        let first = next(&mut objects).await.unwrap().unwrap();
        assert_eq!(first.payload, b"first"[..]);
        stream.write(&data::object_head(0, 1 << 20)).await?;
        stream.reset(DELIVERY_TIMEOUT);
        let error = next(&mut objects).await.unwrap().unwrap_err();
        let code = StreamError::Reset(DELIVERY_TIMEOUT);
        assert!(format!("{error:?}").contains(&format!("{code:?}")), "{error:?}");
        relay.stream(&tiny(ALIAS, 2, b"second")).await?;
        let second = next(&mut objects).await.unwrap().unwrap();
        assert_eq!((second.group, &second.payload[..]), (2, &b"second"[..]));
        assert_eq!(relay.reaction(1).await?, None);
        assert_eq!(client.blame(), None);
        Ok(())
    }

    /// An object of 4 exabytes is refused by its head; what is promised reserves nothing. Its stream is passed over as long
    /// as somebody reads the track.
    async fn an_object_without_end_fails_alone(carrier: Carrier) {
        let (client, mut relay, mut objects) = watching(carrier, trusting()).await?;
        let mut stream = relay.open_uni().await?;
        stream.write(&data::subgroup_header(0x14, ALIAS, 1, Some(0))).await?;
        stream.write(&data::object_head(0, HUGE)).await?;
        let error = next(&mut objects).await.unwrap().unwrap_err();
        assert!(matches!(error, ReadError::TooLarge { len: HUGE, .. }), "{error:?}");
        relay.stream(&tiny(ALIAS, HUGE, b"the last group")).await?;
        assert_eq!(next(&mut objects).await.unwrap().unwrap().group, HUGE);
        assert_eq!(relay.reaction(1).await?, None);
        assert_eq!(client.blame(), None);
        drop(objects);
        assert_eq!(stream.stopped().await?, Some(CANCELLED));
        Ok(())
    }

    /// Each object is within the limit of one; together they would fill the machine.
    async fn many_objects_that_never_end_do_not_fill_the_client(carrier: Carrier) {
        let mut config = trusting();
        config.limits.max_gathered = GATHERED;
        let (client, mut relay, mut objects) = watching(carrier, config).await?;
        let mut streams = Vec::new();
        for group in 0..LARGE_OBJECTS {
            let mut stream = relay.open_uni().await?;
            stream.write(&data::subgroup_header(0x14, ALIAS, group, Some(0))).await?;
            stream.write(&data::object_head(0, LARGE as u64)).await?;
            streams.push(stream);
        }
        let writing = async {
            for stream in &mut streams {
                // Fails on a stream that is stopped meanwhile.
                let _ = stream.write(&[7; LARGE - 1]).await;
            }
        };
        let reading = async {
            for _ in FITTING..LARGE_OBJECTS {
                let error = next(&mut objects).await.unwrap().unwrap_err();
                assert!(matches!(error, ReadError::TooMuchAtOnce { max: GATHERED }), "{error:?}");
            }
        };
        tokio::join!(writing, reading);
        for stream in &mut streams {
            let _ = stream.write(&[7]).await;
            stream.finish();
        }
        for _ in 0..FITTING {
            let object = next(&mut objects).await.unwrap().unwrap();
            assert_eq!(object.payload.len(), LARGE);
        }
        assert_eq!(relay.reaction(1).await?, None);
        assert_eq!(client.blame(), None);
        Ok(())
    }

    /// S9.12-04, S9.12-05: streams that never come are waited for, but not for ever.
    async fn a_stream_count_that_cannot_be_ends_the_subscription_in_time(carrier: Carrier) {
        for count in [0, 1, 1 << 40, HUGE - 1, HUGE] {
            let (client, mut relay, mut objects) = watching(carrier, impatient()).await?;
            relay.stream(&tiny(ALIAS, 1, b"only")).await?;
            assert_eq!(next(&mut objects).await.unwrap().unwrap().payload, b"only"[..]);
            relay.send(messages::publish_done(0, count)).await?;
            assert!(next(&mut objects).await.is_none());
            let reason = "over".to_owned();
            let end = SubscriptionEnd::Done { status: PublishDoneCode::TRACK_ENDED, reason };
            assert_eq!(objects.subscription().end(), Some(end));
            assert_eq!(relay.reaction(1).await?, None);
            assert_eq!(client.blame(), None);
        }
        Ok(())
    }

    /// What the application does not take is kept up to a limit, and then stopped; the session is not held up.
    async fn what_nobody_reads_is_bounded_and_holds_up_nothing(carrier: Carrier) {
        let mut config = trusting();
        config.limits.max_unread = KEPT;
        let (client, mut relay, mut objects) = watching(carrier, config).await?;
        let mut streams = JoinSet::new();
        for group in 0..UNREAD {
            let mut stream = relay.open_uni().await?;
            stream.write(&tiny(ALIAS, group as u64, b"unread")).await?;
            streams.spawn(async move { stream.stopped().await });
        }
        for _ in KEPT..UNREAD {
            let stopped = timeout(PATIENCE, streams.join_next()).await.expect("a stream is stopped");
            assert_eq!(stopped.unwrap().unwrap()?, Some(CANCELLED));
        }
        for id in [1, 3, 5] {
            assert_eq!(relay.reaction(id).await?, None);
        }
        assert_eq!(client.blame(), None);
        // Dropped, the rest of the streams is finished.
        streams.shutdown().await;
        relay.send(messages::publish_done(0, UNREAD as u64)).await?;
        assert_eq!(taken(&mut objects).await, KEPT);
        Ok(())
    }

    /// The same for datagrams: those that find no room are lost.
    async fn datagrams_that_nobody_reads_are_bounded_and_hold_up_nothing(carrier: Carrier) {
        let mut config = trusting();
        config.limits.max_unread = KEPT;
        let (client, mut relay, mut objects) = watching(carrier, config).await?;
        for object in 0..UNREAD {
            relay.datagram(&data::datagram(ALIAS, 0, object as u64, b"unread")).await?;
        }
        for id in [1, 3, 5] {
            assert_eq!(relay.reaction(id).await?, None);
        }
        assert_eq!(client.blame(), None);
        relay.send(messages::publish_done(0, 0)).await?;
        // Some may be late and find room again.
        let taken = taken(&mut objects).await;
        assert!((KEPT..UNREAD).contains(&taken), "{taken}");
        Ok(())
    }
}
