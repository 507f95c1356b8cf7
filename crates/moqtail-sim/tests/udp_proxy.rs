//! The UDP proxy does to packets what its weather says, and the same for the same seed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use moqtail_sim::{Direction, Fate, UdpProxy, Weather, WeatherStation};

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// After this nothing more comes.
const SILENCE: Duration = Duration::from_millis(300);

const STORM: Weather = Weather {
    loss: 0.2,
    duplicate: 0.1,
    delay: Duration::from_millis(50),
    jitter: Duration::from_millis(20),
    late: 0.05,
    late_by: Duration::from_millis(30),
};

fn fates(seed: u64, weather: &[Weather]) -> Vec<Fate> {
    let mut station = WeatherStation::new(seed);
    weather
        .iter()
        .map(|weather| station.next(weather))
        .collect()
}

#[test]
fn the_same_seed_decides_the_same() {
    let storm = [STORM; 1000];
    assert_eq!(fates(7, &storm), fates(7, &storm));
    assert_ne!(fates(7, &storm), fates(8, &storm));
}

#[test]
fn a_change_of_the_weather_does_not_shift_later_decisions() {
    let storm = [STORM; 300];
    let mut outage = storm;
    outage[..100].fill(Weather::OUTAGE);
    let (with, without) = (fates(7, &outage), fates(7, &storm));
    assert!(with[..100].iter().all(|fate| fate.copies().count() == 0));
    assert_eq!(with[100..], without[100..]);
}

#[test]
fn shares_and_times_are_those_of_the_weather() {
    const PACKETS: usize = 20_000;
    let fates = fates(1, &[STORM; PACKETS]);
    let share = |count: usize, of: usize| count as f64 / of as f64;
    let near = |share: f64, wanted: f64| (share - wanted).abs() < 0.02;
    let copies: Vec<_> = fates.iter().map(|fate| fate.copies().count()).collect();
    let lost = copies.iter().filter(|count| **count == 0).count();
    assert!(near(share(lost, PACKETS), STORM.loss), "{lost} lost");
    let twice = copies.iter().filter(|count| **count == 2).count();
    assert!(
        near(share(twice, PACKETS - lost), STORM.duplicate),
        "{twice} twice"
    );
    let times: Vec<_> = fates.into_iter().flat_map(Fate::copies).collect();
    let (least, most) = (STORM.delay - STORM.jitter, STORM.delay + STORM.jitter);
    assert!(
        times
            .iter()
            .all(|time| (least..=most + STORM.late_by).contains(time))
    );
    let held = times.iter().filter(|time| **time > most).count();
    // A packet that is held back ends above the longest jitter three times in four.
    assert!(
        near(share(held, times.len()), STORM.late * 0.75),
        "{held} held back"
    );
    let mean = times.iter().sum::<Duration>() / times.len() as u32;
    let wanted = STORM.delay + STORM.late_by.mul_f64(STORM.late);
    assert!(mean.abs_diff(wanted) < Duration::from_millis(1), "{mean:?}");
}

/// A server and a client with the proxy between them.
struct World {
    proxy: UdpProxy,
    server: UdpSocket,
    client: UdpSocket,
}

impl World {
    fn new(seed: u64) -> Self {
        let server = socket();
        let proxy = UdpProxy::start(server.local_addr().unwrap(), seed).unwrap();
        let client = socket();
        client.connect(proxy.addr()).unwrap();
        Self {
            proxy,
            server,
            client,
        }
    }

    /// Sends numbered packets to the server and returns what of them arrives until nothing comes any more.
    fn numbers(&self, count: u32) -> Vec<u32> {
        for number in 0..count {
            self.client.send(&number.to_be_bytes()).unwrap();
        }
        std::iter::from_fn(|| receive(&self.server, SILENCE))
            .map(|(bytes, _)| u32::from_be_bytes(bytes.try_into().unwrap()))
            .collect()
    }

    /// Sends a packet until it reaches the server, and returns whom the server sees.
    fn seen_as(&self) -> SocketAddr {
        self.client.send(b"hello").unwrap();
        receive(&self.server, PATIENCE).expect("it arrives").1
    }
}

fn socket() -> UdpSocket {
    UdpSocket::bind(("127.0.0.1", 0)).unwrap()
}

fn receive(socket: &UdpSocket, patience: Duration) -> Option<(Vec<u8>, SocketAddr)> {
    socket.set_read_timeout(Some(patience)).unwrap();
    let mut buffer = [0; 2048];
    match socket.recv_from(&mut buffer) {
        Ok((read, from)) => Some((buffer[..read].to_vec(), from)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn in_clear_weather_everything_passes_both_ways_in_order() {
    let world = World::new(1);
    assert_eq!(world.numbers(200), (0..200).collect::<Vec<_>>());
    let client = world.seen_as();
    world.server.send_to(b"back", client).unwrap();
    let (bytes, from) = receive(&world.client, PATIENCE).expect("it arrives");
    assert_eq!((bytes.as_slice(), from), (&b"back"[..], world.proxy.addr()));
    let counts = world.proxy.counts(Direction::ToServer);
    assert_eq!((counts.packets, counts.lost), (201, 0));
}

#[test]
fn the_same_packets_arrive_for_the_same_seed() {
    let arrived = |seed| {
        let world = World::new(seed);
        world.proxy.set_both(Weather {
            duplicate: 0.1,
            ..Weather::lossy(0.3)
        });
        world.numbers(200)
    };
    let first = arrived(5);
    assert!((100..200).contains(&first.len()), "{}", first.len());
    assert_eq!(first, arrived(5));
    assert_ne!(first, arrived(6));
}

#[test]
fn jitter_lets_packets_overtake_each_other_and_delay_holds_them() {
    let world = World::new(3);
    let delay = Duration::from_millis(100);
    world
        .proxy
        .set_both(Weather::delayed(delay, Duration::from_millis(40)));
    let begin = now();
    let mut numbers = world.numbers(100);
    assert!(begin.elapsed() >= Duration::from_millis(60));
    assert!(!numbers.is_sorted());
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
}

#[test]
fn an_outage_of_one_direction_leaves_the_other_alone() {
    let world = World::new(4);
    let client = world.seen_as();
    world.proxy.set(Direction::ToServer, Weather::OUTAGE);
    assert!(world.numbers(10).is_empty());
    world.server.send_to(b"back", client).unwrap();
    assert!(receive(&world.client, PATIENCE).is_some());
    world.proxy.set(Direction::ToServer, Weather::CLEAR);
    assert_eq!(world.numbers(3), [0, 1, 2]);
    assert_eq!(world.proxy.counts(Direction::ToServer).lost, 10);
}

#[test]
fn a_rebinding_moves_a_client_and_loses_what_is_sent_to_the_old_place() {
    let world = World::new(5);
    let before = world.seen_as();
    world.proxy.rebind();
    let begin = now();
    let after = loop {
        let after = world.seen_as();
        if after != before {
            break after;
        }
        assert!(begin.elapsed() < PATIENCE, "it stays at {before}");
    };
    world.server.send_to(b"lost", before).unwrap();
    world.server.send_to(b"found", after).unwrap();
    let (bytes, _) = receive(&world.client, PATIENCE).expect("it arrives");
    assert_eq!(bytes, b"found");
}

#[test]
fn clients_are_kept_apart() {
    let world = World::new(6);
    let other = socket();
    other.connect(world.proxy.addr()).unwrap();
    other.send(b"other").unwrap();
    let (_, at) = receive(&world.server, PATIENCE).expect("it arrives");
    assert_ne!(world.seen_as(), at);
    world.server.send_to(b"to the other", at).unwrap();
    assert!(receive(&other, PATIENCE).is_some());
    assert!(receive(&world.client, SILENCE).is_none());
}

#[expect(clippy::disallowed_methods, reason = "packets travel in real time")]
fn now() -> Instant {
    Instant::now()
}
