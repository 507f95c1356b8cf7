//! A publisher and a subscriber of good will, who count every object while others misbehave.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use moqtail::{
    client::{
        Broadcast, Client, ClientConfig, Objects, SubgroupOptions, SubscribeOptions, TrackOptions,
    },
    model::{Extensions, SessionCode},
    transport::Trust,
};
use moqtail_conformance::{PATIENCE, Target};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

/// Namespace of the watched track, and its name.
pub(crate) const NAMESPACE: &str = "watch";
pub(crate) const TRACK: &str = "pulse";

const PERIOD: Duration = Duration::from_millis(5);
const GROUP: u64 = 25;
const FILLER: usize = 100;

/// Longest time an object may take from publisher to subscriber while somebody attacks, on a busy machine.
const LATE: Duration = Duration::from_secs(5);

pub(crate) struct Watcher {
    stop: watch::Sender<bool>,
    publisher: JoinHandle<u64>,
    viewer: JoinHandle<Seen>,
    clients: [Client; 2],
}

#[derive(Default)]
struct Seen {
    numbers: BTreeSet<u64>,
    faults: Vec<String>,
    longest: Duration,
}

/// A client of good will.
pub(crate) async fn connect(target: &Target, scheme: &str) -> Client {
    let url = format!("{scheme}://{}/", target.address).parse().unwrap();
    let config = ClientConfig::default().trust(Trust::Insecure);
    timeout(PATIENCE, Client::connect(&url, config))
        .await
        .expect("an answer to a connect")
        .expect("a session")
}

/// Subscribes to the watched track.
pub(crate) async fn subscribe(client: &Client) -> Objects {
    let name = format!("{NAMESPACE}#{TRACK}").parse().unwrap();
    let subscribed = client.subscribe(name, SubscribeOptions::default());
    timeout(PATIENCE, subscribed)
        .await
        .expect("an answer to SUBSCRIBE")
        .expect("SUBSCRIBE_OK")
        .into_objects()
}

impl Watcher {
    /// Publishes over QUIC and subscribes over WebTransport.
    pub(crate) async fn start(target: &Target) -> Self {
        let began = Instant::now();
        let clients = [
            connect(target, "moqt").await,
            connect(target, "https").await,
        ];
        let broadcast = Broadcast::new(NAMESPACE.parse().unwrap());
        let track = broadcast.track(TRACK, TrackOptions::default()).unwrap();
        let publication = timeout(PATIENCE, clients[0].publish(&broadcast))
            .await
            .expect("an answer to PUBLISH_NAMESPACE")
            .expect("PUBLISH_NAMESPACE_OK");
        let objects = subscribe(&clients[1]).await;
        let (stop, mut stopped) = watch::channel(false);
        let publisher = tokio::spawn(async move {
            let mut ticks = interval(PERIOD);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut number = 0;
            let mut open = None;
            while !*stopped.borrow_and_update() {
                ticks.tick().await;
                if number % GROUP == 0 {
                    let options = SubgroupOptions::new(number / GROUP);
                    open = Some(track.subgroup(options).unwrap());
                }
                let group = open.as_mut().unwrap();
                let payload = payload(number, began.elapsed());
                let none = Extensions::default();
                group.object(number % GROUP, &none, payload).unwrap();
                number += 1;
                if number % GROUP == 0 {
                    open.take().unwrap().finish().unwrap();
                }
            }
            if let Some(open) = open {
                open.finish().unwrap();
            }
            drop(track);
            // Stays announced until the track has ended for everybody.
            drop((publication, broadcast));
            number
        });
        let viewer = tokio::spawn(watch(objects, began));
        Self {
            stop,
            publisher,
            viewer,
            clients,
        }
    }

    /// Ends the track, and insists that everything arrived once, whole, and nothing else.
    pub(crate) async fn finish(self) {
        self.stop.send_replace(true);
        let published = self.publisher.await.unwrap();
        let seen = timeout(PATIENCE, self.viewer)
            .await
            .expect("the watched track ends when its publisher says so")
            .unwrap();
        assert!(seen.faults.is_empty(), "the watcher saw {:?}", seen.faults);
        let missed: Vec<_> = (0..published)
            .filter(|n| !seen.numbers.contains(n))
            .collect();
        assert!(
            missed.is_empty(),
            "the watcher missed {missed:?} of {published}"
        );
        assert_eq!(
            seen.numbers.len() as u64,
            published,
            "the watcher saw foreign objects"
        );
        assert!(seen.longest < LATE, "an object was {:?} late", seen.longest);
        println!(
            "watcher: {published} objects, the slowest took {:?}",
            seen.longest
        );
        for client in self.clients {
            client.close(SessionCode::NO_ERROR, "");
            client.closed().await;
        }
    }
}

fn payload(number: u64, sent: Duration) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u64(number);
    bytes.put_u64(sent.as_micros() as u64);
    bytes.put_bytes(number as u8, FILLER);
    bytes.freeze()
}

async fn watch(mut objects: Objects, began: Instant) -> Seen {
    let mut seen = Seen::default();
    while let Some(next) = objects.next().await {
        let object = match next {
            Ok(object) => object,
            Err(error) => {
                seen.faults.push(error.to_string());
                continue;
            }
        };
        let mut bytes = object.payload.clone();
        let place = (object.group, object.object);
        if bytes.len() != 16 + FILLER {
            seen.faults
                .push(format!("foreign object {place:?}: {bytes:x?}"));
            continue;
        }
        let (number, sent) = (bytes.get_u64(), Duration::from_micros(bytes.get_u64()));
        let whole = bytes.iter().all(|byte| *byte == number as u8);
        if place != (number / GROUP, number % GROUP) || !whole {
            seen.faults
                .push(format!("object {number} is damaged at {place:?}"));
        }
        if !seen.numbers.insert(number) {
            seen.faults.push(format!("object {number} came twice"));
        }
        seen.longest = seen.longest.max(began.elapsed().saturating_sub(sent));
    }
    seen
}
