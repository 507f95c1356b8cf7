use std::sync::Arc;

use moqtail::{
    client::{Broadcast, ClientConfig, LocalTrack, SubgroupOptions, TrackOptions},
    model::{Extensions, PublishDoneCode, SubgroupId},
    relay::{Relay, RelayConfig},
    transport::{MemoryConnection, TransportLimits},
};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, LocalSet};

use super::*;
use crate::client_options::ClientOptions;

/// Long enough for everything that can happen without another input.
const SOON: Duration = Duration::from_secs(1);

/// A broadcast that a viewer watches through a relay.
struct World {
    broadcast: Broadcast,
    catalog: LocalTrack,
    catalogs: u64,
    received: mpsc::Receiver<Received>,
    viewing: JoinHandle<Result<Turn, CliError>>,
    _sessions: Arc<(Client, Client)>,
}

impl World {
    /// Runs `test` with the viewer beside it.
    async fn run(test: impl AsyncFnOnce(Self)) {
        Self::run_after(Memory::default(), test).await;
    }

    /// The same for one that remembers what was before a break.
    async fn run_after(memory: Memory, test: impl AsyncFnOnce(Self)) {
        LocalSet::new()
            .run_until(async { test(Self::new(memory).await).await })
            .await;
    }

    async fn new(memory: Memory) -> Self {
        let relay = Relay::new(RelayConfig::default());
        let client = async || {
            let (here, there) = MemoryConnection::pair(TransportLimits::default());
            let relay = relay.clone();
            tokio::task::spawn_local(async move { drop(relay.attach(there).await) });
            Client::over(here, ClientConfig::default()).await.unwrap()
        };
        let sessions = Arc::new((client().await, client().await));
        let broadcast = Broadcast::new("live/film".parse().unwrap());
        let catalog = broadcast
            .track(CATALOG_TRACK, TrackOptions::default())
            .unwrap();
        std::mem::forget(sessions.0.publish(&broadcast).await.unwrap());
        let (sender, received) = mpsc::channel(64);
        let viewing = tokio::task::spawn_local({
            let (sessions, namespace) = (sessions.clone(), broadcast.namespace().clone());
            async move {
                let viewer = Viewer {
                    link: &Link::new("moqt://memory:1", ClientOptions::default(), true).unwrap(),
                    namespace: &namespace,
                    wanted: &[],
                    options: SubscribeOptions::default(),
                    wait: true,
                    memory,
                };
                viewer.follow(&sessions.1, &sender).await
            }
        });
        sleep(SOON).await;
        Self {
            broadcast,
            catalog,
            catalogs: 0,
            received,
            viewing,
            _sessions: sessions,
        }
    }

    fn track(&self, name: &'static str) -> LocalTrack {
        self.broadcast.track(name, TrackOptions::default()).unwrap()
    }

    /// Writes objects of the catalog as one group, and lets them have their effect.
    async fn write<const N: usize>(&mut self, catalogs: [Value; N]) {
        let catalogs = catalogs.map(|json| json.to_string());
        write(&self.catalog, self.catalogs, &catalogs);
        self.catalogs += 1;
        sleep(SOON).await;
    }

    /// The names of the tracks that follow.
    fn tracks(&mut self) -> Option<Vec<String>> {
        match self.received.try_recv() {
            Ok(Received::Tracks(tracks)) => Some(tracks.into_iter().map(|t| t.name).collect()),
            _ => None,
        }
    }

    fn payload(&mut self) -> Option<Vec<u8>> {
        match self.received.try_recv() {
            Ok(Received::Object(_, object)) => Some(object.payload.to_vec()),
            _ => None,
        }
    }
}

fn write(track: &LocalTrack, group: u64, payloads: &[impl AsRef<[u8]>]) {
    let options = SubgroupOptions {
        group,
        subgroup: SubgroupId::Zero,
        publisher_priority: 128,
        extensions: false,
        end_of_group: false,
    };
    let mut subgroup = track.subgroup(options).unwrap();
    for (object, payload) in payloads.iter().enumerate() {
        let payload = payload.as_ref().to_vec();
        subgroup
            .object(object as u64, &Extensions::default(), payload.into())
            .unwrap();
    }
    subgroup.finish().unwrap();
}

fn track(name: &str) -> Value {
    json!({"name": name, "packaging": "cmaf", "initData": "AAEC"})
}

fn full(tracks: &[Value]) -> Value {
    json!({"version": 1, "tracks": tracks})
}

fn complete() -> Value {
    json!({"version": 1, "isComplete": true, "tracks": []})
}

#[tokio::test(start_paused = true)]
async fn an_odd_change_of_the_catalog_costs_what_it_changes() {
    World::run(async |mut world| {
        let video = world.track("v");
        let remove = |name: &str| json!({"deltaUpdate": true, "removeTracks": [{"name": name}]});
        let add = json!({"deltaUpdate": true, "addTracks": [track("w")]});
        let same =
            json!({"deltaUpdate": [{"op": "update", "tracks": [{"name": "v", "bitrate": 5}]}]});
        world
            .write([full(&[track("v")]), same, remove("nobody"), add])
            .await;
        assert_eq!(world.tracks().unwrap(), ["v"]);
        world.write([json!({"version": 7})]).await;
        write(&video, 0, &["x"]);
        sleep(SOON).await;
        assert_eq!(world.payload().unwrap(), b"x");
        assert!(!world.viewing.is_finished());

        world.write([full(&[track("w")])]).await;
        assert_eq!(world.tracks().unwrap(), ["w"]);
    })
    .await;
}

fn played(world: &mut World) -> Vec<(usize, Vec<u8>)> {
    let mut got = Vec::new();
    while let Ok(received) = world.received.try_recv() {
        got.push(match received {
            Received::Object(index, object) => (index, object.payload.to_vec()),
            Received::TrackEnded(index) => (index, b"ended".to_vec()),
            Received::Tracks(tracks) => panic!("{tracks:?}"),
        });
    }
    got.sort();
    got
}

fn one(index: usize, payload: &str) -> (usize, Vec<u8>) {
    (index, payload.as_bytes().to_vec())
}

#[tokio::test(start_paused = true)]
async fn tracks_that_come_or_leave_do_not_end_the_others() {
    World::run(async |mut world| {
        let tracks = ["v", "w", "x"].map(|name| (name, world.track(name)));
        world.write([full(&[track("v"), track("w")])]).await;
        assert_eq!(world.tracks().unwrap(), ["v", "w"]);
        let all = [
            (&["w", "x", "v"][..], vec![one(0, "v"), one(1, "w")]),
            (&["v"], vec![one(0, "v"), one(1, "ended")]),
            (&["v"], vec![one(0, "v")]),
            (&["v", "w"], vec![one(0, "v"), one(1, "w")]),
        ];
        for (group, (there, expected)) in all.iter().enumerate() {
            let catalog: Vec<_> = there.iter().map(|name| track(name)).collect();
            world.write([full(&catalog)]).await;
            sleep(PATIENCE).await;
            for (name, track) in &tracks {
                write(track, group as u64, &[name]);
            }
            sleep(SOON).await;
            assert_eq!(played(&mut world), *expected, "{there:?}");
        }
        assert!(!world.viewing.is_finished());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_track_that_left_still_brings_is_played() {
    World::run(async |mut world| {
        let tracks = ["v", "w"].map(|name| world.track(name));
        world.write([full(&[track("v"), track("w")])]).await;
        assert_eq!(world.tracks().unwrap(), ["v", "w"]);
        world.write([full(&[track("v")])]).await;
        for group in 0..5 {
            write(&tracks[1], group, &["w"]);
            sleep(SOON).await;
            assert_eq!(played(&mut world), [one(1, "w")]);
        }
        sleep(PATIENCE).await;
        assert_eq!(played(&mut world), [one(1, "ended")]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_track_that_left_does_not_keep_a_broadcast_that_ends() {
    World::run(async |mut world| {
        let tracks = ["v", "w"].map(|name| world.track(name));
        world.write([full(&[track("v"), track("w")])]).await;
        world.write([full(&[track("v")])]).await;
        let [video, _other] = tracks;
        video.end(PublishDoneCode::TRACK_ENDED, "over");
        let turn = tokio::time::timeout(Duration::from_mins(1), world.viewing).await;
        assert!(matches!(turn, Ok(Ok(Ok(Turn::Ended)))), "{turn:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn after_a_break_a_viewer_goes_on_with_the_tracks_that_it_began_with() {
    let before = ["v", "w"].map(|name| CatalogTrack {
        init_data: Some(b"\0\x01\x02"[..].into()),
        ..CatalogTrack::new(name, moqtail_media::Packaging::Cmaf)
    });
    for (there, expected) in [
        (&["w", "x", "v"][..], [one(0, "v"), one(1, "w")]),
        (&["w"], [one(0, "ended"), one(1, "w")]),
    ] {
        let memory = Memory {
            tracks: before.to_vec().into(),
            known: before.to_vec().into(),
        };
        World::run_after(memory, async |mut world| {
            let tracks = ["v", "w", "x"].map(|name| (name, world.track(name)));
            let catalog: Vec<_> = there.iter().map(|name| track(name)).collect();
            world.write([full(&catalog)]).await;
            assert_eq!(world.tracks().unwrap(), ["v", "w"]);
            for (name, track) in &tracks {
                write(track, 0, &[name]);
            }
            sleep(SOON).await;
            assert_eq!(played(&mut world), expected);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_track_is_removed_by_the_namespace_that_it_inherits() {
    World::run(async |mut world| {
        let _tracks = [world.track("v"), world.track("w")];
        let remove = json!([{"name": "w", "namespace": "live/film"}]);
        world.write([full(&[track("v"), track("w")])]).await;
        assert_eq!(world.tracks().unwrap(), ["v", "w"]);
        world
            .write([
                full(&[track("v"), track("w")]),
                json!({"deltaUpdate": true, "removeTracks": remove, "addTracks": [track("x")]}),
            ])
            .await;
        assert_eq!(world.tracks().unwrap(), ["v", "x"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_catalog_without_tracks_is_waited_on() {
    World::run(async |mut world| {
        let _video = world.track("v");
        world.write([full(&[])]).await;
        assert_eq!(world.tracks(), None);
        let add = json!({"deltaUpdate": true, "addTracks": [track("v")]});
        world.write([full(&[]), add]).await;
        assert_eq!(world.tracks().unwrap(), ["v"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn once_the_broadcast_is_complete_every_end_is_the_end() {
    World::run(async |mut world| {
        let video = world.track("v");
        // Nobody publishes the other one.
        world.write([full(&[track("v"), track("w")])]).await;
        world.write([complete()]).await;
        assert!(!world.viewing.is_finished());
        video.end(PublishDoneCode::INTERNAL_ERROR, "the publisher is gone");
        // The relay waits a while for a publisher that comes back.
        let turn = tokio::time::timeout(Duration::from_mins(1), world.viewing).await;
        assert!(matches!(turn, Ok(Ok(Ok(Turn::Ended)))), "{turn:?}");
    })
    .await;
}
