//! The floor passes everything on, so that its costs can be compared with a relay's.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use moqtail::{
    client::{
        Broadcast, Client, ClientConfig, SubgroupOptions, SubscribeOptions, SubscriptionEnd,
        TrackOptions,
    },
    model::{DatagramBody, Extensions, ObjectDatagram, PublishDoneCode, TrackAlias},
    transport::{MoqtUrl, Trust},
};

/// Generous, for machines that do other work meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

struct Floor(Child);

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start() -> (Floor, MoqtUrl) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_moqtail-floor"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the floor starts");
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let line = BufReader::new(stdout).lines().next();
    let line = line.expect("it tells its address").expect("as text");
    let address = line.rsplit(' ').next().unwrap_or_default();
    let url = format!("moqt://{address}").parse().expect("an address");
    (Floor(child), url)
}

async fn connect(url: &MoqtUrl) -> Client {
    let config = ClientConfig::default().trust(Trust::Insecure);
    Client::connect(url, config)
        .await
        .expect("the floor answers")
}

#[tokio::test]
async fn every_subscriber_gets_every_stream_and_the_end() {
    let (_floor, url) = start();
    // The second broadcast finds nothing left of the first.
    for name in ["one", "two"] {
        let broadcast = Broadcast::new(name.parse().unwrap());
        let track = broadcast.track("t", TrackOptions::default()).unwrap();
        let publisher = connect(&url).await;
        let _publication = publisher.publish(&broadcast).await.unwrap();
        let mut subscribers = Vec::new();
        for _ in 0..3 {
            let client = connect(&url).await;
            let name = format!("{name}#t").parse().unwrap();
            let subscription = client.subscribe(name, SubscribeOptions::default()).await;
            subscribers.push((client, subscription.unwrap().into_objects()));
        }
        for group in 0..20 {
            let mut subgroup = track.subgroup(SubgroupOptions::new(group)).unwrap();
            for object in 0..5 {
                let payload = Bytes::from(vec![object as u8; 5000]);
                subgroup
                    .object(object, &Extensions::default(), payload)
                    .unwrap();
            }
            subgroup.finish().unwrap();
        }
        track.end(PublishDoneCode::TRACK_ENDED, "");
        for (_client, objects) in &mut subscribers {
            let mut seen = BTreeSet::new();
            while let Some(object) = tokio::time::timeout(PATIENCE, objects.next())
                .await
                .unwrap()
            {
                let object = object.unwrap();
                assert_eq!(object.payload, vec![object.object as u8; 5000]);
                assert!(seen.insert(object.location()));
            }
            assert_eq!(seen.len(), 100);
            let end = objects.subscription().end();
            assert!(
                matches!(&end, Some(SubscriptionEnd::Done { status, .. }) if *status == PublishDoneCode::TRACK_ENDED),
                "{end:?}"
            );
        }
    }
}

#[tokio::test]
async fn datagrams_pass() {
    let (_floor, url) = start();
    let broadcast = Broadcast::new("d".parse().unwrap());
    let track = broadcast.track("t", TrackOptions::default()).unwrap();
    let publisher = connect(&url).await;
    let _publication = publisher.publish(&broadcast).await.unwrap();
    let client = connect(&url).await;
    let subscription = client
        .subscribe("d#t".parse().unwrap(), SubscribeOptions::default())
        .await;
    let mut objects = subscription.unwrap().into_objects();
    for group in 0.. {
        let payload = DatagramBody::Payload("audio".into());
        track
            .datagram(ObjectDatagram {
                track_alias: TrackAlias(0),
                group,
                object: 0,
                object_id_absent: true,
                publisher_priority: 128,
                end_of_group: true,
                extensions: Extensions::default(),
                body: payload,
            })
            .unwrap();
        // Single ones may be lost.
        if let Ok(object) = tokio::time::timeout(Duration::from_millis(100), objects.next()).await {
            assert_eq!(object.unwrap().unwrap().payload, "audio");
            return;
        }
        assert!(group < 100, "no datagram passes");
    }
}
