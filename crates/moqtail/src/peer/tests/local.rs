//! Publishing from inside this process.

use bytes::Bytes;

use super::support::*;
use crate::{model::*, peer::*, track::*, transport::*};

fn none() -> Extensions {
    Extensions::default()
}

/// The bytes that a subscriber gets of one subgroup, written by `write`.
async fn published(
    options: SubgroupOptions,
    write: impl FnOnce(&mut LocalSubgroup) -> Result<(), WriteError>,
) -> (Vec<u8>, Result<(), StreamError>) {
    let local = LocalTrack::new(track());
    let session = subscribed(local.track());
    let mut subgroup = local.subgroup(options).unwrap();
    write(&mut subgroup).unwrap();
    subgroup.finish().unwrap();
    let mut stream = session.subscriber.accept_uni().await.unwrap();
    read_all(&mut stream).await
}

/// S2.2-03, S10.4.2-07, S10.2.1.1-02, S8.5-04, S10.2.1-02: whole objects, pieces, empty ones and statuses make one
/// stream.
#[tokio::test]
async fn objects_may_be_whole_or_come_in_pieces() {
    let (bytes, end) = published(options(4), |subgroup| {
        subgroup.object(3, &none(), Bytes::from_static(b"whole"))?;
        subgroup.begin(5, &none(), 6)?;
        subgroup.payload(Bytes::from_static(b"in "))?;
        subgroup.payload(Bytes::from_static(b"two"))?;
        subgroup.object(6, &none(), Bytes::new())?;
        subgroup.object(7, &none(), Bytes::from(vec![9; 10_000]))?;
        subgroup.status(8, &none(), ObjectStatus::EndOfGroup)
    })
    .await;
    assert_eq!(end, Ok(()));
    let (header, objects) = decode(&bytes);
    assert_eq!((header.group, header.subgroup), (4, SubgroupId::Zero));
    let expected = [
        (3, b"whole".to_vec()),
        (5, b"in two".to_vec()),
        (6, Vec::new()),
        (7, vec![9; 10_000]),
        (8, Vec::new()),
    ];
    assert_eq!(objects, expected);
}

/// S2.2-01: misuse is refused, and changes nothing.
#[tokio::test]
async fn what_may_not_be_published_is_refused() {
    let (bytes, end) = published(options(4), |subgroup| {
        let text = || Bytes::from_static(b"x");
        assert_eq!(
            subgroup.payload(text()),
            Err(WriteError::Excess { excess: 1 })
        );
        subgroup.begin(3, &none(), 2)?;
        let unfinished = Err(WriteError::Unfinished { missing: 2 });
        assert_eq!(subgroup.object(4, &none(), text()), unfinished);
        let three = Bytes::from_static(b"xxx");
        assert_eq!(
            subgroup.payload(three),
            Err(WriteError::Excess { excess: 1 })
        );
        subgroup.payload(Bytes::from_static(b"ok"))?;
        let order = EncodeError::ObjectOrder {
            previous: 3,
            object: 3,
        };
        let refused = subgroup.object(3, &none(), text());
        assert_eq!(refused, Err(WriteError::Encode(order)));
        let pair = KeyValuePair::Varint { key: 2, value: 1 };
        let extensions = Extensions::from_pairs(&[pair])?;
        let refused = subgroup.object(4, &extensions, text());
        assert_eq!(refused, Err(WriteError::Encode(EncodeError::Extensions)));
        subgroup.status(4, &none(), ObjectStatus::EndOfTrack)?;
        // S10.2.1.1-08
        let refused = subgroup.object(5, &none(), text());
        assert!(matches!(refused, Err(WriteError::Malformed(_))));
        Ok(())
    })
    .await;
    assert_eq!(end, Ok(()));
    assert_eq!(decode(&bytes).1, [(3, b"ok".to_vec()), (4, Vec::new())]);
}

/// S10.4.3-15: a subgroup that is given up, dropped or finished too early is reset, and the track is not malformed.
#[tokio::test]
async fn an_incomplete_subgroup_is_reset() {
    for (how, code) in [("reset", 0x2), ("dropped", 0x1), ("finished", 0x0)] {
        let local = LocalTrack::new(track());
        let session = subscribed(local.track());
        let mut subgroup = local.subgroup(options(0)).unwrap();
        subgroup
            .object(0, &none(), Bytes::from_static(b"x"))
            .unwrap();
        subgroup.begin(1, &none(), 10).unwrap();
        let mut stream = session.subscriber.accept_uni().await.unwrap();
        read_some(&mut stream, 1).await;
        match how {
            "reset" => subgroup.reset(StreamCode::DELIVERY_TIMEOUT),
            "dropped" => drop(subgroup),
            _ => {
                let missing = WriteError::Unfinished { missing: 10 };
                assert_eq!(subgroup.finish(), Err(missing));
            }
        }
        let (_, end) = read_all(&mut stream).await;
        assert_eq!(end, Err(StreamError::Reset(code)), "{how}");
        assert_eq!(local.track().malformed(), None);
    }
}

/// Nothing goes into a track that has ended.
#[tokio::test]
async fn an_ended_track_takes_nothing() {
    let local = LocalTrack::new(track());
    let shared = local.track().clone();
    let mut subgroup = local.subgroup(options(0)).unwrap();
    local.end(PublishDoneCode::EXPIRED, "time is over");
    let refused = subgroup.object(0, &none(), Bytes::new());
    assert_eq!(refused, Err(WriteError::Ended));
    let end = shared.ended().unwrap();
    assert_eq!(end.code, PublishDoneCode::EXPIRED);
    assert_eq!(end.reason, "time is over");
    let late = LocalTrack::new(shared);
    assert!(matches!(late.subgroup(options(1)), Err(WriteError::Ended)));
    assert_eq!(subgroup.finish(), Err(WriteError::Ended));
}

/// S10.4-03, S2.2-03: one stream at a time, whoever writes it.
#[tokio::test]
async fn a_subgroup_that_is_open_is_not_opened_again() {
    let local = LocalTrack::new(track());
    let of = |group, subgroup| SubgroupOptions {
        subgroup,
        ..options(group)
    };
    let refused = |options: SubgroupOptions| {
        let error = local.subgroup(options).unwrap_err();
        assert_eq!(error, WriteError::SubgroupOpen { group: 4 }, "{options:?}");
    };
    let zero = local.subgroup(of(4, SubgroupId::Zero)).unwrap();
    refused(of(4, SubgroupId::Zero));
    refused(of(4, SubgroupId::Explicit(0)));
    let _other_group = local.subgroup(of(5, SubgroupId::Zero)).unwrap();
    let _other_subgroup = local.subgroup(of(4, SubgroupId::Explicit(1))).unwrap();

    // Named by its first object, it takes any name but those.
    let mut first = local.subgroup(of(4, SubgroupId::FirstObject)).unwrap();
    refused(of(4, SubgroupId::FirstObject));
    for taken in [0, 1] {
        let object = first.object(taken, &none(), Bytes::new());
        assert_eq!(object, Err(WriteError::SubgroupOpen { group: 4 }));
    }
    let pair = KeyValuePair::Varint { key: 2, value: 1 };
    let extensions = Extensions::from_pairs(&[pair]).unwrap();
    let failed = first.object(2, &extensions, Bytes::new());
    assert_eq!(failed, Err(WriteError::Encode(EncodeError::Extensions)));
    drop(local.subgroup(of(4, SubgroupId::Explicit(2))).unwrap());
    first.object(3, &none(), Bytes::new()).unwrap();
    refused(of(4, SubgroupId::Explicit(3)));
    first.object(4, &none(), Bytes::new()).unwrap();

    // What has ended makes room.
    zero.reset(StreamCode::CANCELLED);
    local.subgroup(of(4, SubgroupId::Zero)).unwrap();
    first.finish().unwrap();
    let next = local.subgroup(of(4, SubgroupId::FirstObject)).unwrap();
    drop((
        next,
        local.subgroup(of(4, SubgroupId::Explicit(3))).unwrap(),
    ));
}

/// S2.1-02: what was published stays what it is.
#[tokio::test]
async fn an_object_is_not_published_a_second_time() {
    let local = LocalTrack::new(track());
    let session = subscribed(local.track());
    let of = |subgroup| SubgroupOptions {
        subgroup: SubgroupId::Explicit(subgroup),
        ..options(4)
    };
    let mut first = local.subgroup(of(0)).unwrap();
    let text = Bytes::from_static(b"as it is");
    first.object(3, &none(), text.clone()).unwrap();
    let at = Location::new(4, 3);
    let refused = |options, payload: &'static [u8]| {
        let mut again = local.subgroup(options).unwrap();
        let refused = again.object(3, &none(), Bytes::from_static(payload));
        assert!(
            matches!(refused, Err(WriteError::Malformed(_))),
            "{refused:?}"
        );
    };
    refused(of(1), b"as it is");
    first.finish().unwrap();
    refused(of(0), b"another");
    refused(of(2), b"another");
    assert_eq!(local.track().malformed(), None);
    assert_eq!(local.track().largest(), Some(at));
    let mut stream = session.subscriber.accept_uni().await.unwrap();
    let (bytes, end) = read_all(&mut stream).await;
    assert_eq!((decode(&bytes).1, end), (vec![(3, text.to_vec())], Ok(())));
}

/// S10.2.1.1-05, S10.2.1.1-07: an end says how much there is, so it stands after that and nowhere else.
#[tokio::test]
async fn an_end_has_the_next_object_id() {
    use ObjectStatus::{DoesNotExist, EndOfGroup, EndOfTrack};
    let local = LocalTrack::new(track());
    let of = |group, subgroup| {
        let subgroup = SubgroupId::Explicit(subgroup);
        local
            .subgroup(SubgroupOptions {
                subgroup,
                ..options(group)
            })
            .unwrap()
    };
    let at = Location::new;
    let elsewhere = |at, expected| Err(WriteError::EndElsewhere { at, expected });
    let end =
        |subgroup: &mut LocalSubgroup, object, status| subgroup.status(object, &none(), status);

    let (mut one, mut other) = (of(4, 0), of(4, 1));
    one.object(0, &none(), Bytes::new()).unwrap();
    other.object(3, &none(), Bytes::new()).unwrap();
    for (object, status) in [(1, EndOfGroup), (5, EndOfGroup), (5, EndOfTrack)] {
        let refused = end(&mut one, object, status);
        assert_eq!(refused, elsewhere(at(4, object), at(4, 4)));
    }
    end(&mut other, 4, DoesNotExist).unwrap();
    assert_eq!(
        end(&mut other, 6, EndOfGroup),
        elsewhere(at(4, 6), at(4, 5))
    );
    assert_eq!(end(&mut other, 5, EndOfGroup), Ok(()));

    let mut empty = of(6, 0);
    assert_eq!(
        end(&mut empty, 1, EndOfGroup),
        elsewhere(at(6, 1), at(6, 0))
    );
    assert_eq!(end(&mut empty, 0, EndOfGroup), Ok(()));

    let mut last = of(8, 0);
    assert_eq!(end(&mut last, 0, EndOfTrack), elsewhere(at(8, 0), at(7, 0)));
    let mut last = of(7, 0);
    assert_eq!(end(&mut last, 1, EndOfTrack), elsewhere(at(7, 1), at(7, 0)));
    assert_eq!(end(&mut last, 0, EndOfTrack), Ok(()));
}

/// S10.2.1.1-05
#[tokio::test]
async fn an_end_by_datagram_has_the_next_object_id() {
    let local = LocalTrack::new(track());
    let datagram = |object, body| ObjectDatagram {
        track_alias: TrackAlias(0),
        group: 4,
        object,
        object_id_absent: false,
        publisher_priority: 0,
        end_of_group: false,
        extensions: none(),
        body,
    };
    let end = |object| {
        local.datagram(datagram(
            object,
            DatagramBody::Status(ObjectStatus::EndOfGroup),
        ))
    };
    local
        .datagram(datagram(2, DatagramBody::Payload(Bytes::new())))
        .unwrap();
    let (at, expected) = (Location::new(4, 4), Location::new(4, 3));
    assert_eq!(end(4), Err(WriteError::EndElsewhere { at, expected }));
    assert_eq!(end(3), Ok(()));
}
