//! Many who come, ask and leave at the same time.

use std::time::{Duration, Instant};

use moqtail::model::SessionCode;
use moqtail_conformance::{Carrier, Failure, RawPeer, Target, messages, types};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::{
    over_both_carriers,
    watcher::{self, NAMESPACE, TRACK},
    world::World,
};

const CHURNING: Duration = Duration::from_secs(20);

/// Subscriptions a second of two viewers who try to make twice as many.
const RATE: u64 = 200;

/// Sessions after which a publisher has been there often enough.
const LIVES: usize = 40;

/// Tracks that it offers and ends in each.
const TRACKS: u64 = 25;

/// Announces, offers, ends and withdraws, and leaves in the middle of it, again and again.
async fn come_and_go(target: Target, carrier: Carrier, track: &str) -> Result<(), Failure> {
    let space = &["hostile", "fleeting"][..];
    for _ in 0..LIVES {
        let mut peer = RawPeer::established(&target, carrier).await?;
        for number in 0..TRACKS {
            let id = 4 * number;
            peer.send(messages::publish_namespace(id, space)).await?;
            peer.send(messages::publish(id + 2, space, track, id))
                .await?;
            // A track that waits for its streams is still there, and no second one is taken meanwhile.
            loop {
                let frame = peer.next_frame("an answer to PUBLISH").await?;
                match frame.kind {
                    // It crossed the offer (draft-14 §5.1), which is held until it is answered.
                    types::SUBSCRIBE => {
                        let asked = frame.first_number().unwrap_or_default();
                        let (name, kind) = ("SUBSCRIBE_ERROR", types::SUBSCRIBE_ERROR);
                        peer.send(messages::refusal(name, kind, asked)).await?;
                    }
                    types::PUBLISH_OK => {
                        peer.send(messages::publish_done(id + 2, 0)).await?;
                        break;
                    }
                    types::PUBLISH_ERROR => break,
                    _ => {}
                }
            }
            peer.send(messages::publish_namespace_done(space)).await?;
        }
    }
    Ok(())
}

over_both_carriers! {
    /// Six clients with 30 SUBSCRIBEs each, while others connected, once hung a relay for ever.
    async fn six_clients_asking_for_unknown_names_hang_nobody_who_connects(carrier: Carrier) {
        let world = World::embedded().await;
        for _ in 0..3 {
            let mut clients = JoinSet::new();
            for client in 0..6_u64 {
                let target = world.target.clone();
                clients.spawn(async move {
                    let mut peer = RawPeer::established(&target, carrier).await?;
                    for id in 0..30 {
                        let namespace = format!("unknown {client} {id}");
                        peer.send(messages::subscribe(2 * id, &[&namespace], "x")).await?;
                    }
                    for _ in 0..30 {
                        peer.expect(types::SUBSCRIBE_ERROR).await?;
                    }
                    Ok(())
                });
                let target = world.target.clone();
                clients.spawn(async move { RawPeer::established(&target, carrier).await.map(|_| ()) });
            }
            while let Some(client) = clients.join_next().await {
                client.unwrap()?;
            }
        }
        world.end().await;
        Ok(())
    }

    /// Two viewers churning on one track once froze it for a third within 5 s.
    async fn viewers_that_come_and_go_200_times_a_second_freeze_nobody(carrier: Carrier) {
        let world = World::embedded().await;
        let until = Instant::now() + CHURNING;
        let mut viewers = JoinSet::new();
        for _ in 0..2 {
            let target = world.target.clone();
            viewers.spawn(async move {
                let mut peer = RawPeer::established(&target, carrier).await?;
                let connection = peer.connection().clone();
                // Streams are taken and dropped unread, which stops them.
                let dropping = tokio::spawn(async move { while connection.accept_uni().await.is_ok() {} });
                let mut ticks = interval(Duration::from_millis(5));
                ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
                let mut id = 0;
                while Instant::now() < until {
                    ticks.tick().await;
                    peer.send(messages::subscribe(id, &[NAMESPACE], TRACK)).await?;
                    peer.expect(types::SUBSCRIBE_OK).await?;
                    peer.send(messages::unsubscribe(id)).await?;
                    id += 2;
                }
                drop(peer);
                dropping.await.unwrap();
                Ok(id / 2)
            });
        }
        let mut all = 0;
        while let Some(viewer) = viewers.join_next().await {
            let count: u64 = viewer.unwrap()?;
            println!("{count} subscriptions of one viewer");
            all += count;
        }
        assert!(all >= RATE * CHURNING.as_secs(), "only {all} subscriptions");
        world.end().await;
        Ok(())
    }

    /// A lookup that takes the locks of publishers and tracks in one order, and an end that takes them in the other.
    async fn publishers_that_come_and_go_while_they_are_looked_up_lock_nobody_out(carrier: Carrier) {
        let world = World::embedded().await;
        let tracks = ["a", "b"];
        let mut publishers = JoinSet::new();
        let mut viewers = JoinSet::new();
        let (over, watching) = tokio::sync::watch::channel(false);
        for track in tracks {
            publishers.spawn(come_and_go(world.target.clone(), carrier, track));
            let (target, over) = (world.target.clone(), watching.clone());
            viewers.spawn(async move {
                let mut peer = RawPeer::established(&target, carrier).await?;
                let mut found = 0;
                let mut id = 0;
                while !*over.borrow() {
                    peer.send(messages::subscribe(id, &["hostile", "fleeting"], track)).await?;
                    loop {
                        match peer.next_frame("an answer to SUBSCRIBE").await?.kind {
                            types::SUBSCRIBE_OK => {
                                found += 1;
                                peer.send(messages::unsubscribe(id)).await?;
                                break;
                            }
                            types::SUBSCRIBE_ERROR => break,
                            _ => {}
                        }
                    }
                    id += 2;
                }
                Ok::<_, Failure>((found, id / 2))
            });
        }
        while let Some(publisher) = publishers.join_next().await {
            publisher.unwrap()?;
        }
        over.send_replace(true);
        while let Some(viewer) = viewers.join_next().await {
            let (found, asked) = viewer.unwrap()?;
            println!("{found} of {asked} lookups found a track");
            assert!(found > 0, "no lookup met a publisher");
        }
        world.end().await;
        Ok(())
    }

    /// Whole sessions of good will, as fast as they can.
    async fn sessions_that_come_and_go_leave_nothing_behind(carrier: Carrier) {
        let world = World::embedded().await;
        let scheme = match carrier {
            Carrier::Quic => "moqt",
            Carrier::WebTransport => "https",
        };
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let target = world.target.clone();
            clients.spawn(async move {
                for round in 0..15 {
                    let client = watcher::connect(&target, scheme).await;
                    let mut objects = watcher::subscribe(&client).await;
                    if round % 2 == 0 {
                        objects.next().await.unwrap().unwrap();
                    }
                    client.close(SessionCode::NO_ERROR, "");
                }
            });
        }
        clients.join_all().await;
        world.end().await;
        Ok(())
    }
}
