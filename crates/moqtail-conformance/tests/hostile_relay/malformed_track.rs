//! Tracks that contradict themselves (draft-14 §2.5): they are left, and the application is told why; what a relay may do
//! to a track is no contradiction.

use moqtail::{
    client::{
        Incoming, MalformedTrack, Object, Objects, ReadError, SubgroupReader, SubscriptionEnd,
    },
    model::Location,
};
use moqtail_conformance::{Carrier, Failure, RawPeer, data, types};
use tokio::time::timeout;

use crate::{
    over_both_carriers,
    world::{ALIAS, SHORT, subscribed, trusting, watching},
};

/// Types of SUBGROUP_HEADER with an explicit Subgroup ID: plain, with extensions, with the end of the group.
const PLAIN: u64 = 0x14;
const EXTENDED: u64 = 0x15;
const ENDS_GROUP: u64 = 0x1c;

/// Object statuses (draft-14 §10.2.1.1).
const DOES_NOT_EXIST: u64 = 0x1;
const END_OF_GROUP: u64 = 0x3;
const END_OF_TRACK: u64 = 0x4;

/// Extension headers (draft-14 §11).
const GROUP_GAP: u8 = 0x3c;
const OBJECT_GAP: u8 = 0x3e;
const IMMUTABLE: u8 = 0x0b;

/// CANCELLED among the codes of streams (draft-14 §10.4.3).
const CANCELLED: u64 = 0x1;

/// What is left in a stream when its track is left, more than the client reads at once.
const LARGE: usize = 300 << 10;

/// What a relay sends.
enum Send {
    /// A whole stream.
    Stream(Vec<u8>),
    Datagram(Vec<u8>),
}

impl Send {
    async fn to_client(&self, relay: &RawPeer) -> Result<(), Failure> {
        match self {
            Self::Stream(bytes) => relay.stream(bytes).await,
            Self::Datagram(bytes) => relay.datagram(bytes).await,
        }
    }
}

async fn next(objects: &mut Objects) -> Option<Result<Object, ReadError>> {
    timeout(10 * SHORT, objects.next())
        .await
        .expect("an object, an error or the end")
}

/// Reads so many objects.
async fn take(objects: &mut Objects, count: usize) {
    for _ in 0..count {
        next(objects).await.unwrap().unwrap();
    }
}

fn stream(kind: u64, group: u64, subgroup: u64, objects: &[Vec<u8>]) -> Vec<u8> {
    let header = data::subgroup_header(kind, ALIAS, group, Some(subgroup));
    [header, objects.concat()].concat()
}

/// A stream of a subgroup with objects of one byte.
fn plain(group: u64, subgroup: u64, deltas: &[u64]) -> Vec<u8> {
    let objects: Vec<_> = deltas
        .iter()
        .map(|delta| data::object(*delta, b"x"))
        .collect();
    stream(PLAIN, group, subgroup, &objects)
}

/// A stream with one object that has these extension headers.
fn extended(group: u64, subgroup: u64, object: u64, extensions: &[u8]) -> Vec<u8> {
    let object = data::extended_object(object, extensions, b"x");
    stream(EXTENDED, group, subgroup, &[object])
}

/// One object, and what contradicts it and how.
struct Story {
    id: &'static str,
    first: Option<Send>,
    then: Send,
    told: MalformedTrack,
}

fn at(group: u64, object: u64) -> Location {
    Location::new(group, object)
}

/// Ends, copies and ways to travel that cannot be.
fn contradictions() -> Vec<Story> {
    let streams = |id, first, then, told| Story {
        id,
        first: Some(Send::Stream(first)),
        then: Send::Stream(then),
        told,
    };
    let after_group_end = |at| MalformedTrack::AfterGroupEnd { at, end: 4 };
    let end_of_group = || stream(PLAIN, 1, 0, &[data::status(4, END_OF_GROUP)]);
    let object = || data::object(0, b"x");
    let datagram = |object| Send::Datagram(data::datagram(ALIAS, 1, object, b"x"));
    let preference = || MalformedTrack::ForwardingPreference { at: at(1, 1) };
    let mut all = vec![
        streams(
            "S2.5-04",
            plain(1, 0, &[3]),
            plain(1, 0, &[5]),
            MalformedTrack::AfterSubgroupEnd {
                at: at(1, 5),
                subgroup: 0,
                last: 3,
            },
        ),
        streams(
            "S2.5-05",
            plain(1, 0, &[3]),
            plain(1, 0, &[2]),
            MalformedTrack::TwoSubgroupEnds {
                group: 1,
                subgroup: 0,
                first: 3,
                second: 2,
            },
        ),
        streams(
            "S2.5-06: by status",
            end_of_group(),
            plain(1, 1, &[6]),
            after_group_end(at(1, 6)),
        ),
        streams(
            "S2.5-06: by the type of the stream",
            stream(ENDS_GROUP, 1, 0, &[data::object(3, b"x")]),
            plain(1, 1, &[6]),
            after_group_end(at(1, 6)),
        ),
        streams(
            "S2.5-06: the end comes last",
            plain(1, 1, &[6]),
            end_of_group(),
            after_group_end(at(1, 6)),
        ),
        streams(
            "S2.5-07",
            stream(PLAIN, 5, 0, &[data::status(3, END_OF_TRACK)]),
            plain(6, 0, &[0]),
            MalformedTrack::AfterTrackEnd {
                at: at(6, 0),
                end: at(5, 3),
            },
        ),
        Story {
            id: "S2.5-09: the datagram comes first",
            first: Some(datagram(0)),
            then: Send::Stream(plain(1, 0, &[1])),
            told: preference(),
        },
        Story {
            id: "S2.5-09: the datagram comes last",
            first: Some(Send::Stream(plain(1, 0, &[0]))),
            then: datagram(1),
            told: preference(),
        },
    ];
    let mut urgent = stream(PLAIN, 1, 0, &[]);
    if let Some(priority) = urgent.last_mut() {
        *priority = 1;
    }
    urgent.extend(object());
    for (copy, what) in [
        (stream(PLAIN, 1, 0, &[data::object(0, b"y")]), "payload"),
        (stream(PLAIN, 1, 0, &[data::object(0, b"xx")]), "payload"),
        (
            stream(PLAIN, 1, 0, &[data::status(0, END_OF_GROUP)]),
            "status",
        ),
        (stream(PLAIN, 1, 7, &[object()]), "subgroup"),
        (urgent, "priority"),
    ] {
        let told = MalformedTrack::Contradiction { at: at(1, 0), what };
        all.push(streams("S2.5-08", plain(1, 0, &[0]), copy, told));
    }
    all
}

/// What extension headers say that cannot be.
fn extensions() -> Vec<Story> {
    use moqtail::model::MalformedExtensions::{GapTooLarge, NestedImmutable, RepeatedGap};
    let mut all = Vec::new();
    for (id, group, object, headers, cause) in [
        (
            "S11.1-02",
            9,
            0,
            &[GROUP_GAP, 1, GROUP_GAP, 1][..],
            RepeatedGap,
        ),
        ("S11.1-02", 1, 0, &[GROUP_GAP, 2], GapTooLarge),
        (
            "S11.3-02",
            0,
            9,
            &[OBJECT_GAP, 1, OBJECT_GAP, 1],
            RepeatedGap,
        ),
        ("S11.3-02", 0, 1, &[OBJECT_GAP, 2], GapTooLarge),
        (
            "S11.2-05",
            0,
            0,
            &[IMMUTABLE, 2, IMMUTABLE, 0],
            NestedImmutable,
        ),
    ] {
        let at = at(group, object);
        all.push(Story {
            id,
            first: None,
            then: Send::Stream(extended(group, 0, object, headers)),
            told: MalformedTrack::Extensions { at, cause },
        });
    }
    let groups = || extended(9, 0, 0, &[GROUP_GAP, 2]);
    let objects = || extended(9, 0, 9, &[OBJECT_GAP, 2]);
    let other_gap = extended(9, 1, 1, &[GROUP_GAP, 3]);
    for (id, first, then, at, what) in [
        (
            "S11.1-02: two values in a group",
            groups(),
            other_gap,
            at(9, 1),
            "group",
        ),
        (
            "S11.1-02: the gap comes first",
            groups(),
            plain(8, 0, &[0]),
            at(8, 0),
            "group",
        ),
        (
            "S11.1-02: the gap comes last",
            plain(8, 0, &[0]),
            groups(),
            at(9, 0),
            "group",
        ),
        (
            "S11.3-02: the gap comes first",
            objects(),
            plain(9, 1, &[8]),
            at(9, 8),
            "object",
        ),
        (
            "S11.3-02: the gap comes last",
            plain(9, 1, &[8]),
            objects(),
            at(9, 9),
            "object",
        ),
    ] {
        all.push(Story {
            id,
            first: Some(Send::Stream(first)),
            then: Send::Stream(then),
            told: MalformedTrack::Gap { at, what },
        });
    }
    all
}

/// Tells the stories one after the other, each to a client of its own.
async fn tell(carrier: Carrier, stories: Vec<Story>) -> Result<(), Failure> {
    for story in stories {
        let id = story.id;
        let (client, mut relay, mut objects) = watching(carrier, trusting()).await?;
        if let Some(first) = story.first {
            first.to_client(&relay).await?;
            take(&mut objects, 1).await;
        }
        // By then the FIN of a stream has arrived, too.
        assert_eq!(relay.reaction(1).await?, None, "{id}");
        story.then.to_client(&relay).await?;
        let told = loop {
            // A stream with the wrong end has an object that is right.
            if let Err(error) = next(&mut objects).await.expect(id) {
                break error;
            }
        };
        assert_eq!(told, ReadError::MalformedTrack(story.told.clone()), "{id}");
        // S2.5-10
        let left = relay.expect(types::UNSUBSCRIBE).await?;
        assert_eq!(left.first_number(), Some(0), "{id}");
        assert!(next(&mut objects).await.is_none(), "{id}: told twice");
        let end = objects.subscription().end();
        assert_eq!(end, Some(SubscriptionEnd::Malformed(story.told)), "{id}");
        assert_eq!(relay.reaction(3).await?, None, "{id}");
        assert_eq!(client.blame(), None, "{id}");
    }
    Ok(())
}

async fn next_reader(subscription: &mut moqtail::client::Subscription) -> Box<SubgroupReader> {
    match timeout(10 * SHORT, subscription.next()).await {
        Ok(Some(Incoming::Subgroup(reader))) => reader,
        other => panic!("no stream: {other:?}"),
    }
}

over_both_carriers! {
    /// S2.5-04 to S2.5-10, S2.5-12, over streams and datagrams that are each for itself as they should be.
    async fn a_track_that_contradicts_its_ends_or_itself_is_left(carrier: Carrier) {
        tell(carrier, contradictions()).await
    }

    /// S11.1-02, S11.2-05, S11.3-02, S2.5-12.
    async fn a_track_that_contradicts_its_extensions_is_left(carrier: Carrier) {
        tell(carrier, extensions()).await
    }

    /// S2.5-12: the error comes after what was received, which is read to its end.
    async fn what_was_received_before_a_track_was_left_is_read(carrier: Carrier) {
        let (client, mut relay, mut subscription) = subscribed(carrier, trusting()).await?;
        // Taken as a whole by the client's transport before anything is wrong.
        let mut whole = relay.open_uni().await?;
        let large = vec![7; LARGE];
        whole.write(&stream(PLAIN, 1, 0, &[data::object(0, &large), data::object(0, b"last")])).await?;
        whole.finish();
        assert_eq!(whole.stopped().await?, None);
        let mut first = next_reader(&mut subscription).await;
        let mut open = relay.open_uni().await?;
        let partial = [data::object(0, b"whole"), data::object_head(0, 100)];
        open.write(&stream(PLAIN, 2, 0, &partial)).await?;
        let mut second = next_reader(&mut subscription).await;
        assert_eq!(second.next_object().await.unwrap().unwrap().payload, b"whole"[..]);
        relay.stream(&stream(EXTENDED, 0, 0, &[data::extended_object(0, &[GROUP_GAP, 1], b"x")])).await?;
        let mut wrong = next_reader(&mut subscription).await;

        let error = wrong.next_object().await.unwrap_err();
        assert!(matches!(error, ReadError::MalformedTrack(_)), "{error}");
        assert_eq!(wrong.next_object().await.unwrap_err(), error);
        relay.expect(types::UNSUBSCRIBE).await?;
        assert_eq!(first.next_object().await.unwrap().unwrap().payload, large);
        assert_eq!(first.next_object().await.unwrap().unwrap().payload, b"last"[..]);
        assert!(first.next_object().await.unwrap().is_none());
        for _ in 0..2 {
            assert_eq!(second.next_object().await.unwrap_err(), error);
        }
        assert_eq!(open.stopped().await?, Some(CANCELLED));
        assert!(subscription.next().await.is_none());
        assert_eq!(relay.reaction(1).await?, None);
        assert_eq!(client.blame(), None);
        Ok(())
    }

    /// A relay that takes no notice of UNSUBSCRIBE holds up nobody.
    async fn a_stream_that_never_ends_does_not_keep_a_track_that_was_left(carrier: Carrier) {
        let (client, mut relay, mut objects) = watching(carrier, trusting()).await?;
        let mut endless = relay.open_uni().await?;
        endless.write(&stream(PLAIN, 1, 0, &[data::object(0, b"x")])).await?;
        assert!(next(&mut objects).await.unwrap().is_ok());
        let endless = tokio::spawn(async move {
            let more = data::object(0, &[7; 1000]);
            // Fails when the client has stopped it.
            while endless.write(&more).await.is_ok() {}
            endless.stopped().await
        });
        relay.datagram(&data::datagram(ALIAS, 1, 1, b"x")).await?;
        let error = loop {
            if let Err(error) = next(&mut objects).await.unwrap() {
                break error;
            }
        };
        let why = MalformedTrack::ForwardingPreference { at: at(1, 1) };
        assert_eq!(error, ReadError::MalformedTrack(why));
        assert!(next(&mut objects).await.is_none());
        assert_eq!(timeout(10 * SHORT, endless).await.unwrap().unwrap()?, Some(CANCELLED));
        relay.expect(types::UNSUBSCRIBE).await?;
        assert_eq!(client.blame(), None);
        Ok(())
    }

    /// S2.5-04 to S2.5-08, the other way round: holes, resets, streams that go on where another one broke off, equal copies,
    /// ends that overtake what they end, and groups that are older than what is remembered.
    async fn what_a_relay_may_do_to_a_track_is_no_contradiction(carrier: Carrier) {
        let mut config = trusting();
        config.limits.integrity.max_groups = 2;
        let (client, mut relay, mut objects) = watching(carrier, config).await?;
        // A subgroup in three parts, the second of them in the middle of an object.
        let partial = data::object_head(0, 50);
        for (part, whole) in [(plain(1, 0, &[0, 0]), 2), ([plain(1, 0, &[1]), partial].concat(), 1)] {
            let mut stream = relay.open_uni().await?;
            stream.write(&part).await?;
            take(&mut objects, whole).await;
            stream.reset(0);
            assert!(next(&mut objects).await.unwrap().is_err());
        }
        for (bytes, whole) in [
            (plain(1, 0, &[1, 0, 3]), 3),
            // Later streams first, with holes, and the end of the group before its objects.
            (stream(PLAIN, 2, 2, &[data::status(9, END_OF_GROUP)]), 1),
            (plain(3, 0, &[4]), 1),
            (plain(2, 1, &[2, 3]), 2),
            (plain(2, 1, &[6]), 1),
            // An object ceases to exist.
            (stream(PLAIN, 3, 0, &[data::status(4, DOES_NOT_EXIST)]), 1),
            (stream(PLAIN, 3, 0, &[data::object(4, b"zombie")]), 1),
            // Two groups later the end of group 2 is forgotten.
            (plain(4, 0, &[0]), 1),
            (plain(5, 0, &[0]), 1),
            (plain(2, 3, &[20]), 1),
            (plain(0, 0, &[0]), 1),
        ] {
            relay.stream(&bytes).await?;
            take(&mut objects, whole).await;
        }
        assert_eq!(objects.subscription().end(), None);
        assert_eq!(relay.reaction(1).await?, None);
        assert_eq!(client.blame(), None);
        Ok(())
    }
}
