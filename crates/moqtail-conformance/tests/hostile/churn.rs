//! Many who come, ask and leave at the same time.

use std::time::{Duration, Instant};

use moqtail::model::SessionCode;
use moqtail_conformance::{Carrier, RawPeer, messages, types};
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
        while let Some(viewer) = viewers.join_next().await {
            println!("{} subscriptions of one viewer", viewer.unwrap()?);
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
