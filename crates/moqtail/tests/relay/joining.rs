//! Viewers that join inside subgroups.

use bytes::Bytes;
use moqtail::client::SubgroupOptions;
use moqtail::model::{
    Extensions, Filter, KeyValuePair, Location, ObjectStatus, SubgroupHeader, SubgroupId,
};
use moqtail::transport::TransportLimits;

use crate::fidelity::all_types;
use crate::over_every_carrier;
use crate::raw::{RawObject, RawPeer};
use crate::world::{World, live};

/// Object 7 after object 2: that there is nothing between is said where the type has room for it.
fn after_the_gap(options: &SubgroupOptions) -> Vec<RawObject> {
    let gap = KeyValuePair::Varint {
        key: 0x3E,
        value: 4,
    };
    let extensions = match options.extensions {
        true => Extensions::from_pairs(&[gap]).unwrap(),
        false => Extensions::default(),
    };
    let text = Bytes::from_static(b"after the join");
    vec![
        (7, extensions, ObjectStatus::Normal, text.clone()),
        (8, Extensions::default(), ObjectStatus::Normal, text),
    ]
}

async fn streams(peer: &RawPeer) -> Vec<(SubgroupHeader, Vec<RawObject>)> {
    let mut all = Vec::new();
    while all.len() < all_types().len() {
        let stream = peer.stream().await;
        all.push((stream.header, stream.objects().await.unwrap()));
    }
    all.sort_by_key(|(header, _)| header.group);
    all
}

over_every_carrier! {
    /// S10.4.2-03, S10.4.2-07, S10.4.3-10: who joins inside a subgroup of any type gets a stream that begins with the next object: its
    /// delta is absolute, the Subgroup ID stays what it was, and its end is a FIN. Others see what was published.
    async fn late_joiners_get_the_rest_of_subgroups_of_every_type(world: World) {
        let (broadcast, track) = live("types");
        let _publisher = world.publisher(&broadcast).await;
        let mut watcher = world.raw(TransportLimits::default()).await;
        let alias = watcher.subscribe("types").await.track_alias;
        let before = Bytes::from_static(b"before the join");
        let mut subgroups = Vec::new();
        let mut watched = Vec::new();
        for options in all_types() {
            let mut subgroup = track.subgroup(options).unwrap();
            subgroup.object(2, &Extensions::default(), before.clone()).unwrap();
            // It is at the relay when it is at the watcher.
            let mut stream = watcher.stream().await;
            let first = stream.object().await.unwrap().unwrap();
            assert_eq!(first, (2, Extensions::default(), ObjectStatus::Normal, before.clone()));
            watched.push(stream);
            subgroups.push(subgroup);
        }
        let mut joiner = world.raw(TransportLimits::default()).await;
        // Of all groups, but only what arrives from now on.
        let filter = Filter::AbsoluteStart { start: Location::new(0, 0) };
        let ok = joiner.subscribe_to("live#types", filter).await;
        assert_eq!(ok.largest, Some(Location::new(all_types().last().unwrap().group, 2)));
        assert_eq!(ok.track_alias, alias);
        for (mut subgroup, options) in subgroups.into_iter().zip(all_types()) {
            for (object, extensions, _, payload) in after_the_gap(&options) {
                subgroup.object(object, &extensions, payload).unwrap();
            }
            subgroup.finish().unwrap();
        }
        for ((header, objects), options) in streams(&joiner).await.into_iter().zip(all_types()) {
            let expected = SubgroupHeader {
                track_alias: alias,
                group: options.group,
                subgroup: match options.subgroup {
                    SubgroupId::FirstObject => SubgroupId::Explicit(2),
                    given => given,
                },
                publisher_priority: options.publisher_priority,
                extensions: options.extensions,
                end_of_group: options.end_of_group,
            };
            assert_eq!(header, expected);
            assert_eq!(objects, after_the_gap(&options));
        }
        for (stream, options) in watched.into_iter().zip(all_types()) {
            assert_eq!(stream.header.subgroup, options.subgroup);
            assert_eq!(stream.objects().await.unwrap(), after_the_gap(&options));
        }
    }

    /// Admission by arrival: an object that has begun is not for who joins inside it, the next one is.
    async fn a_joiner_inside_an_object_begins_with_the_next_one(world: World) {
        let (broadcast, track) = live("inside");
        let _publisher = world.publisher(&broadcast).await;
        let mut watcher = world.raw(TransportLimits::default()).await;
        watcher.subscribe("inside").await;
        let mut subgroup = track.subgroup(SubgroupOptions::new(5)).unwrap();
        subgroup.begin(0, &Extensions::default(), 200_000).unwrap();
        subgroup.payload(vec![1; 100_000].into()).unwrap();
        let mut watched = watcher.stream().await;
        watched.item().await.unwrap();
        watched.payload(100_000).await.unwrap();
        let mut joiner = world.raw(TransportLimits::default()).await;
        let ok = joiner.subscribe("inside").await;
        assert_eq!(ok.largest, Some(Location::new(5, 0)));
        subgroup.payload(vec![2; 100_000].into()).unwrap();
        subgroup.object(1, &Extensions::default(), Bytes::from_static(b"next")).unwrap();
        subgroup.finish().unwrap();
        let objects = joiner.stream().await.objects().await.unwrap();
        let next = (1, Extensions::default(), ObjectStatus::Normal, Bytes::from_static(b"next"));
        assert_eq!(objects, std::slice::from_ref(&next));
        assert_eq!(watched.payload(100_000).await.unwrap(), vec![2; 100_000]);
        watched.item().await.unwrap();
        assert_eq!(watched.objects().await.unwrap(), [next]);
    }
}
