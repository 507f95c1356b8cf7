//! A viewer that reads large objects in pieces, as they arrive.

use bytes::Bytes;
use moqtail::client::{
    ClientConfig, Incoming, LocalSubgroup, LocalTrack, ReadError, SubgroupOptions, SubgroupReader,
};
use moqtail::model::{Extensions, Filter, StreamCode};
use moqtail::transport::StreamError;

use crate::over_every_carrier;
use crate::world::{Publisher, Viewer, World, live, soon};

const LEN: usize = 2_000_000;

fn pattern() -> Bytes {
    (0..LEN)
        .map(|i| (i * 7 + i / 253) as u8)
        .collect::<Vec<_>>()
        .into()
}

/// A subgroup with the first half of an object in it, as its publisher and a viewer have it.
struct Half {
    subgroup: LocalSubgroup,
    reader: Box<SubgroupReader>,
    _held: (Publisher, LocalTrack, Viewer),
}

impl Half {
    async fn publish(world: &mut World) -> Self {
        let (broadcast, track) = live("large");
        let publisher = world.publisher(&broadcast).await;
        let mut viewer = world.viewer("large", Filter::LargestObject).await;
        let mut subgroup = track.subgroup(SubgroupOptions::new(1)).unwrap();
        subgroup
            .begin(0, &Extensions::default(), LEN as u64)
            .unwrap();
        subgroup.payload(pattern().slice(..LEN / 2)).unwrap();
        let reader = match soon("a stream", viewer.subscription.next()).await {
            Some(Incoming::Subgroup(reader)) => reader,
            other => panic!("{other:?}"),
        };
        Self {
            subgroup,
            reader,
            _held: (publisher, track, viewer),
        }
    }
}

over_every_carrier! {
    async fn a_viewer_has_the_first_half_before_the_second_is_published(world: World) {
        let mut half = Half::publish(&mut world).await;
        let mut object = soon("the object", half.reader.open_object()).await.unwrap().unwrap();
        assert_eq!(object.header().payload_len, LEN as u64);
        let mut got = Vec::new();
        while got.len() < LEN / 2 {
            got.extend(soon("a piece", object.chunk()).await.unwrap().unwrap());
        }
        half.subgroup.payload(pattern().slice(LEN / 2..)).unwrap();
        half.subgroup.finish().unwrap();
        while let Some(piece) = soon("a piece", object.chunk()).await.unwrap() {
            got.extend(piece);
        }
        assert!(got == pattern());
        assert!(soon("the end", half.reader.open_object()).await.unwrap().is_none());
    }

    /// Limit `max_object_len`
    async fn an_object_too_large_to_be_handed_out_costs_no_other(world: World) {
        let (broadcast, track) = live("sizes");
        let _publisher = world.publisher(&broadcast).await;
        let mut config = ClientConfig::default();
        config.limits.max_object_len = 10;
        let viewer = world.client_with(config).await;
        let name = "live#sizes".parse().unwrap();
        let subscription = soon("an answer", viewer.subscribe(name, Default::default())).await;
        let mut objects = subscription.unwrap().into_objects();
        let mut subgroup = track.subgroup(SubgroupOptions::new(1)).unwrap();
        for (object, len) in [(0, 5), (1, 20), (2, 5)] {
            subgroup.object(object, &Extensions::default(), vec![7; len].into()).unwrap();
        }
        subgroup.finish().unwrap();
        let mut read = Vec::new();
        while read.len() < 3 {
            let next = soon("an object", objects.next()).await.unwrap();
            read.push(next.map(|object| (object.object, object.payload.len())));
        }
        let too_large = ReadError::TooLarge { len: 20, max: 10 };
        assert_eq!(read, [Ok((0, 5)), Err(too_large), Ok((2, 5))]);
    }

    /// S10.4.3-12: the reset comes with its code, and what came before it is known.
    async fn an_object_that_is_given_up_tells_how_much_of_it_came(world: World) {
        let mut half = Half::publish(&mut world).await;
        let mut object = soon("the object", half.reader.open_object()).await.unwrap().unwrap();
        while object.received() < LEN as u64 / 2 {
            soon("a piece", object.chunk()).await.unwrap().unwrap();
        }
        half.subgroup.reset(StreamCode::DELIVERY_TIMEOUT);
        let broken_off = ReadError::Partial {
            object: 0,
            received: LEN as u64 / 2,
            len: LEN as u64,
            cause: StreamError::Reset(0x2),
        };
        assert_eq!(soon("the reset", object.chunk()).await, Err(broken_off));
    }
}
