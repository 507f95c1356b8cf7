//! Objects over bad networks: loss, delay, reordering, outages, changing addresses.

#![cfg(all(unix, feature = "network"))]

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use moqtail::{
    client::{Broadcast, SubscribeOptions, SubscriptionEnd, TrackOptions},
    model::{DatagramBody, Extensions, ObjectDatagram, PublishDoneCode, TrackAlias},
    relay::RelayConfig,
    transport::{Congestion, Identity, ListenConfig, Listener},
};
use moqtail_e2e::{
    Carrier, Clock, FRAME_RATE, Ledger, Process, Relay, Scratch, Shape, chunks, feed, playable,
    receive,
};
use moqtail_sim::{Direction, UdpProxy, Weather};
use tokio::{
    sync::watch,
    time::{interval, sleep},
};

/// 3.2 Mbit/s for 8 s, two subgroups at a time.
const STREAM: Shape = Shape {
    groups: 16,
    objects: 50,
    subgroups: 2,
    len: 4000,
    every: Duration::from_millis(10),
    priority: 128,
};

/// 0.5 Mbit/s for 8 s.
const SMALL: Shape = Shape { len: 600, ..STREAM };

const OUTAGE: Duration = Duration::from_secs(2);

/// The longest time from the end of an outage to the next object. QUIC doubles the time between its probes during the
/// outage, so it may be silent for as long again.
const RECOVERY: Duration = Duration::from_secs(5);

/// The longest time to the first answer through bad weather.
const JOIN: Duration = Duration::from_secs(10);

/// The paths of one story, each for one client of the relay.
struct Ways {
    publisher: UdpProxy,
    subscriber: UdpProxy,
    clock: Clock,
    congestion: Congestion,
}

impl Ways {
    fn new(relay: &Relay, seed: u64, clock: Clock) -> Self {
        Self::to(relay.addr(), seed, clock)
    }

    fn to(relay: SocketAddr, seed: u64, clock: Clock) -> Self {
        let way = |seed| UdpProxy::start(relay, seed).expect("a UDP path");
        Self {
            publisher: way(2 * seed),
            subscriber: way(2 * seed + 1),
            clock,
            congestion: Congestion::Cubic,
        }
    }

    fn both(&self) -> [&UdpProxy; 2] {
        [&self.publisher, &self.subscriber]
    }

    fn set_both(&self, weather: Weather) {
        self.both()
            .into_iter()
            .for_each(|way| way.set_both(weather));
    }
}

fn run<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(story)
}

/// Publishes a counted track through one path and receives it through another one; twice at once, with QUIC on one side
/// and WebTransport on the other. Every object arrives, exactly once, byte for byte, in order, without a stream that ends
/// early. `plot` changes the weather meanwhile.
fn everything_arrives<T>(
    shape: Shape,
    at_first: Weather,
    plot: impl AsyncFn(&Ways) -> T,
) -> [(Ledger, T); 2] {
    let relay = Relay::start();
    run(async {
        let story = |number: usize| {
            let (relay, plot, clock) = (&relay, &plot, Clock::start());
            async move {
                let ways = Ways::new(relay, number as u64 + 1, clock);
                ways.set_both(at_first);
                one_track(&ways, Carrier::PAIRS[number], shape, plot).await
            }
        };
        let (one, other) = tokio::join!(story(0), story(1));
        [one, other]
    })
}

async fn one_track<T>(
    ways: &Ways,
    (to, from): (Carrier, Carrier),
    shape: Shape,
    plot: &impl AsyncFn(&Ways) -> T,
) -> (Ledger, T) {
    let clock = ways.clock;
    let publisher = to
        .connect_with(ways.publisher.addr(), ways.congestion)
        .await;
    let broadcast = Broadcast::new(format!("to-{to:?}").parse().expect("a name"));
    let track = broadcast.track("t", TrackOptions::default()).expect("new");
    let _publication = publisher.publish(&broadcast).await.expect("it may publish");
    let begin = clock.now();
    let subscriber = from
        .connect_with(ways.subscriber.addr(), ways.congestion)
        .await;
    let connected = clock.now();
    let name = format!("{}#t", broadcast.namespace());
    let name = name.parse().expect("a name");
    let subscribing = subscriber.subscribe(name, SubscribeOptions::default());
    let subscription = subscribing.await.expect("it is there");
    let subscribed = clock.now();
    assert!(
        subscribed - begin < JOIN,
        "joining took {:?}",
        subscribed - begin
    );
    let mut ledger = Ledger::new(shape, clock);
    let ((), told, end) = tokio::join!(
        feed(track, shape, clock),
        plot(ways),
        receive(subscription, &mut ledger)
    );
    let SubscriptionEnd::Done { status, .. } = end else {
        panic!("{to:?} to {from:?}: {end:?} after {}", ledger.count());
    };
    assert_eq!(status, PublishDoneCode::TRACK_ENDED);
    ledger.assert_whole();
    println!(
        "{to:?} to {from:?}: connected in {:?}, subscribed in {:?}; first object {:?} later; ages {:?}; all after {:?}",
        connected - begin,
        subscribed - connected,
        ledger.arrivals.first().map(|(at, _)| *at - subscribed),
        ledger.ages(),
        clock.now() - subscribed,
    );
    for (side, client) in [("publisher", &publisher), ("subscriber", &subscriber)] {
        println!("  {side}: {:?}", client.stats());
    }
    (ledger, told)
}

#[test]
fn five_percent_loss_costs_no_object() {
    everything_arrives(STREAM, Weather::lossy(0.05), async |_| {});
}

/// 50 ms one way, give or take 20, so that packets overtake each other; some come twice.
const LONG_WAY: Weather = Weather {
    duplicate: 0.05,
    ..Weather::delayed(Duration::from_millis(50), Duration::from_millis(20))
};

#[test]
fn a_long_way_that_reorders_and_repeats_packets_costs_no_object() {
    everything_arrives(SMALL, LONG_WAY, async |_| {});
}

#[test]
fn a_long_lossy_way_costs_no_object() {
    let weather = Weather {
        loss: 0.05,
        ..LONG_WAY
    };
    everything_arrives(SMALL, weather, async |_| {});
}

/// CUBIC takes packets that come late for lost ones: with it the middle object is half a minute old.
#[test]
fn with_bbr_a_long_way_that_reorders_packets_carries_a_picture_in_time() {
    let weather = Weather {
        loss: 0.01,
        ..LONG_WAY
    };
    run(async {
        for (number, pair) in Carrier::PAIRS.into_iter().enumerate() {
            let identity = Identity::generate(["localhost"]).expect("a certificate");
            let mut config = ListenConfig::new((Ipv4Addr::LOCALHOST, 0).into(), identity);
            config.limits.congestion = Congestion::Bbr;
            let listener = Listener::bind(config).expect("a free port");
            let relay = moqtail::relay::Relay::new(RelayConfig::default());
            let mut ways = Ways::to(listener.local_addr(), number as u64, Clock::start());
            ways.congestion = Congestion::Bbr;
            ways.set_both(weather);
            let (ledger, ()) = tokio::select! {
                () = relay.serve(&listener) => panic!("nobody ended the relay"),
                arrived = one_track(&ways, pair, STREAM, &async |_: &Ways| {}) => arrived,
            };
            let [middle, ..] = ledger.ages();
            assert!(middle < Duration::from_secs(5), "{middle:?}");
        }
    });
}

/// Cuts a path for a while; returns when it came back.
async fn outage(ways: &Ways, cut: &[(&UdpProxy, Direction)]) -> Duration {
    for (way, direction) in cut {
        way.set(*direction, Weather::OUTAGE);
    }
    sleep(OUTAGE).await;
    for (way, direction) in cut {
        way.set(*direction, Weather::CLEAR);
    }
    ways.clock.now()
}

#[test]
fn outages_of_two_seconds_cost_no_object() {
    use Direction::{ToClient, ToServer};
    let ledgers = everything_arrives(STREAM, Weather::CLEAR, async |ways| {
        let (publisher, subscriber) = (&ways.publisher, &ways.subscriber);
        let mut ends = Vec::new();
        for cut in [
            &[(publisher, ToServer), (publisher, ToClient)][..],
            &[(subscriber, ToServer), (subscriber, ToClient)],
            // The peer goes on hearing who is cut off.
            &[(publisher, ToClient), (subscriber, ToServer)],
        ] {
            sleep(Duration::from_millis(700)).await;
            ends.push(outage(ways, cut).await);
        }
        ends
    });
    for (ledger, ends) in &ledgers {
        let silences: Vec<_> = ends.iter().map(|end| ledger.silence_after(*end)).collect();
        println!("silence after outages: {silences:?}");
        // The last one may end after the last object.
        assert!(silences[..2].iter().all(|silence| *silence < RECOVERY));
    }
}

/// A client that only receives is found at its new address when it sends next, at the latest after its keep-alive.
#[test]
fn addresses_that_change_in_mid_stream_cost_no_object() {
    let ledgers = everything_arrives(STREAM, Weather::CLEAR, async |ways| {
        let mut changes = Vec::new();
        for _ in 0..3 {
            for way in ways.both() {
                sleep(Duration::from_millis(900)).await;
                way.rebind();
                changes.push(ways.clock.now());
            }
        }
        changes
    });
    for (ledger, changes) in &ledgers {
        let silences: Vec<_> = changes.iter().map(|at| ledger.silence_after(*at)).collect();
        println!("silence after changes: {silences:?}");
        assert!(silences.iter().all(|silence| *silence < RECOVERY));
    }
}

#[test]
fn an_outage_of_eight_seconds_does_not_end_a_session_with_default_limits() {
    let shape = Shape {
        every: Duration::from_millis(12),
        ..SMALL
    };
    let ledgers = everything_arrives(shape, Weather::CLEAR, async |ways| {
        sleep(Duration::from_millis(500)).await;
        ways.set_both(Weather::OUTAGE);
        sleep(4 * OUTAGE).await;
        ways.set_both(Weather::CLEAR);
        ways.clock.now()
    });
    for (ledger, end) in &ledgers {
        println!("silence after 8 s: {:?}", ledger.silence_after(*end));
    }
}

/// Two broadcasts at one relay; one publisher and one of the viewers have a terrible path.
#[test]
fn a_client_behind_a_bad_path_delays_nobody_else() {
    let relay = Relay::start();
    run(async {
        for (to, from) in Carrier::PAIRS {
            let clock = Clock::start();
            let ways = Ways::new(&relay, 77, clock);
            let (good, bad) = (
                to.connect(relay.addr()).await,
                to.connect(ways.publisher.addr()).await,
            );
            let publish = async |client: &moqtail::client::Client, name: String| {
                let broadcast = Broadcast::new(name.parse().expect("a name"));
                let track = broadcast.track("t", TrackOptions::default()).expect("new");
                (client.publish(&broadcast).await.expect("it may"), track)
            };
            let (fine, lame) = (format!("fine-{to:?}"), format!("lame-{to:?}"));
            let (_fine, fine_track) = publish(&good, fine.clone()).await;
            let (_lame, lame_track) = publish(&bad, lame.clone()).await;
            let (near, far) = (
                from.connect(relay.addr()).await,
                from.connect(ways.subscriber.addr()).await,
            );
            let subscribe = async |client: &moqtail::client::Client, name: &str| {
                let track = format!("{name}#t").parse().expect("a name");
                let subscribing = client.subscribe(track, SubscribeOptions::default());
                subscribing.await.expect("it is there")
            };
            let subscriptions = (
                subscribe(&near, &fine).await,
                subscribe(&near, &lame).await,
                subscribe(&far, &fine).await,
            );
            let lame_shape = Shape { groups: 4, ..SMALL };
            let mut ledgers = [STREAM, lame_shape, STREAM].map(|shape| Ledger::new(shape, clock));
            let [near_fine, near_lame, far_fine] = &mut ledgers;
            let weather = async {
                for _ in 0..3 {
                    ways.set_both(Weather::lossy(0.3));
                    sleep(OUTAGE / 2).await;
                    ways.set_both(Weather::OUTAGE);
                    sleep(OUTAGE / 2).await;
                }
                ways.set_both(Weather::CLEAR);
            };
            tokio::join!(
                feed(fine_track, STREAM, clock),
                feed(lame_track, lame_shape, clock),
                weather,
                receive(subscriptions.0, near_fine),
                receive(subscriptions.1, near_lame),
                receive(subscriptions.2, far_fine),
            );
            for (who, ledger) in ["unharmed", "of the bad publisher", "of the bad viewer"]
                .iter()
                .zip(&ledgers)
            {
                ledger.assert_whole();
                println!("{to:?} to {from:?}, {who}: ages {:?}", ledger.ages());
            }
            let [_, nearly_all, _] = ledgers[0].ages();
            assert!(nearly_all < Duration::from_millis(500), "{nearly_all:?}");
        }
    });
}

/// S7.2-01: While a path is cut, a large track of little urgency is published, then a small urgent one: the small one comes first.
#[test]
fn after_an_outage_the_most_urgent_comes_first() {
    const BULK: Shape = Shape {
        groups: 1,
        objects: 100,
        subgroups: 1,
        len: 40_000,
        every: Duration::ZERO,
        priority: 200,
    };
    const URGENT: Shape = Shape {
        groups: 10,
        objects: 2,
        len: 2000,
        priority: 10,
        ..BULK
    };
    let relay = Relay::start();
    run(async {
        for (to, from) in Carrier::PAIRS {
            for cut_publisher in [true, false] {
                let clock = Clock::start();
                let ways = Ways::new(&relay, 5, clock);
                let publisher = to.connect(ways.publisher.addr()).await;
                let name = format!("order-{to:?}-{cut_publisher}");
                let broadcast = Broadcast::new(name.parse().expect("a name"));
                let [bulk, urgent] = ["bulk", "urgent"]
                    .map(|name| broadcast.track(name, TrackOptions::default()).expect("new"));
                let _publication = publisher.publish(&broadcast).await.expect("it may");
                let subscriber = from.connect(ways.subscriber.addr()).await;
                let subscribe = async |track: &str| {
                    let track = format!("{name}#{track}").parse().expect("a name");
                    let subscribing = subscriber.subscribe(track, SubscribeOptions::default());
                    subscribing.await.expect("it is there")
                };
                let subscriptions = (subscribe("bulk").await, subscribe("urgent").await);
                let way = match cut_publisher {
                    true => &ways.publisher,
                    false => &ways.subscriber,
                };
                way.set_both(Weather::OUTAGE);
                feed(bulk, BULK, clock).await;
                // So much time that what fits is handed to the transport.
                sleep(Duration::from_millis(300)).await;
                feed(urgent, URGENT, clock).await;
                sleep(Duration::from_millis(300)).await;
                way.set_both(Weather::CLEAR);
                let mut ledgers = [BULK, URGENT].map(|shape| Ledger::new(shape, clock));
                let [of_bulk, of_urgent] = &mut ledgers;
                tokio::join!(
                    receive(subscriptions.0, of_bulk),
                    receive(subscriptions.1, of_urgent)
                );
                ledgers.iter().for_each(Ledger::assert_whole);
                let last = ledgers[1].arrivals.last().expect("all came").0;
                let before = ledgers[0].arrivals.iter().filter(|(at, _)| *at < last);
                let before = before.count();
                println!(
                    "{to:?} to {from:?}, publisher cut: {cut_publisher}: {before} of 100 bulk objects before the last urgent one"
                );
                assert!(before < 30, "{before} bulk objects came first");
            }
        }
    });
}

/// S7.2-01, S7.2-05: ten times as many datagrams as the path takes; requests are answered nevertheless, and a track that is
/// more urgent comes in time.
#[test]
fn datagrams_beyond_the_path_hold_up_neither_answers_nor_what_is_more_urgent() {
    const URGENT: Shape = Shape { groups: 6, ..SMALL };
    let relay = Relay::start();
    run(async {
        for (to, from) in Carrier::PAIRS {
            let clock = Clock::start();
            let ways = Ways::new(&relay, 11, clock);
            ways.subscriber.set_both(Weather {
                loss: 0.02,
                ..Weather::delayed(Duration::from_millis(25), Duration::ZERO)
            });
            let publisher = to.connect(relay.addr()).await;
            let name = format!("flood-{to:?}");
            let broadcast = Broadcast::new(name.parse().expect("a name"));
            let [urgent, flood] = ["urgent", "flood"]
                .map(|name| broadcast.track(name, TrackOptions::default()).expect("new"));
            let _publication = publisher.publish(&broadcast).await.expect("it may");
            let subscriber = from.connect(ways.subscriber.addr()).await;
            let subscribe = async |track: &str, priority| {
                let track = format!("{name}#{track}").parse().expect("a name");
                let mut options = SubscribeOptions::default();
                options.priority = priority;
                subscriber.subscribe(track, options).await
            };
            let urgent_here = subscribe("urgent", 10).await.expect("it is there");
            let mut flood_here = subscribe("flood", 200)
                .await
                .expect("it is there")
                .into_objects();
            let flooding = async {
                let mut pace = interval(Duration::from_millis(1));
                for object in 0.. {
                    if object % 4 == 0 {
                        pace.tick().await;
                    }
                    flood
                        .datagram(datagram(object))
                        .expect("the track takes it");
                }
            };
            let flooded = watch::Sender::new(0);
            let reading = async {
                while flood_here.next().await.is_some() {
                    flooded.send_modify(|count| *count += 1);
                }
            };
            let asking = async {
                let mut flood = flooded.subscribe();
                flood.wait_for(|count| *count > 50).await.expect("a flood");
                let mut longest = Duration::ZERO;
                for _ in 0..10 {
                    let asked = clock.now();
                    assert!(subscribe("nothing", 0).await.is_err());
                    longest = longest.max(clock.now() - asked);
                }
                longest
            };
            let mut ledger = Ledger::new(URGENT, clock);
            let story = async {
                tokio::join!(
                    feed(urgent, URGENT, clock),
                    receive(urgent_here, &mut ledger),
                    asking
                )
            };
            let longest = tokio::select! {
                ((), _, longest) = story => longest,
                () = flooding => unreachable!("it never ends"),
                () = reading => panic!("the flood ended"),
            };
            ledger.assert_whole();
            let flooded = *flooded.borrow();
            let [_, nearly_all, _] = ledger.ages();
            println!(
                "{to:?} to {from:?}: answers within {longest:?}, ages {:?}, {flooded} of the flood",
                ledger.ages()
            );
            assert!(flooded > 100, "no flood: {flooded}");
            assert!(longest < Duration::from_secs(2), "{longest:?}");
            assert!(nearly_all < Duration::from_secs(2), "{nearly_all:?}");
        }
    });
}

fn datagram(object: u64) -> ObjectDatagram {
    ObjectDatagram {
        track_alias: TrackAlias(0),
        group: 0,
        object,
        object_id_absent: false,
        publisher_priority: 200,
        end_of_group: false,
        extensions: Extensions::default(),
        body: DatagramBody::Payload(vec![7; 1380].into()),
    }
}

/// The programs themselves: they bear 5 % loss, and connect again after an outage that is longer than they wait.
#[test]
fn a_film_goes_on_through_loss_and_after_a_long_outage() {
    let scratch = Scratch::new();
    let film = scratch.write("film.mp4", moqtail_media::sample());
    let film = film.to_str().expect("a path in UTF-8");
    let relay = Relay::start();
    let frames = |output: &[u8]| {
        let video = |chunk: &&moqtail_e2e::Chunk| chunk.track == 1;
        chunks(output).iter().filter(video).count()
    };
    for (to, from) in Carrier::PAIRS {
        let ways = Ways::new(&relay, 9, Clock::start());
        ways.set_both(Weather::lossy(0.05));
        let url = from.url(ways.subscriber.addr());
        let viewer = Process::moqtail(["subscribe", &url, "film", "--out", "-", "--insecure"]);
        let url = to.url(ways.publisher.addr());
        let publisher = Process::moqtail(["publish", &url, "film", film, "--loop", "--insecure"]);
        let wait = |count| {
            viewer.wait_stdout("frames", |all| {
                (frames(all) >= count).then_some(frames(all))
            })
        };
        let before = wait(3 * FRAME_RATE);
        run(async {
            ways.set_both(Weather::OUTAGE);
            sleep(4 * OUTAGE).await;
            ways.set_both(Weather::lossy(0.05));
        });
        let back = ways.clock.now();
        let resumed = wait(before + FRAME_RATE);
        println!(
            "{to:?} to {from:?}: frames again {:?} after 8 s of outage",
            ways.clock.now() - back
        );
        wait(resumed + 2 * FRAME_RATE);
        publisher.interrupt();
        let finished = publisher.finish();
        assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
        let finished = viewer.finish();
        assert_eq!(finished.code, Some(0), "{:#?}", finished.stderr);
        playable(&scratch.write("out.mp4", &finished.stdout));
    }
}
