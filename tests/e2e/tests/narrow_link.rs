//! A link that carries half of what is published: sound stays whole, the picture yields.

#![cfg(all(target_os = "linux", feature = "network"))]

use std::{
    net::SocketAddr,
    sync::mpsc::{Receiver, Sender, channel},
    thread::scope,
    time::Duration,
};

use moqtail::{
    client::{Broadcast, SubscribeOptions, SubscriptionEnd, TrackOptions},
    model::PublishDoneCode,
};
use moqtail_e2e::{
    Bottleneck, Carrier, Clock, Ledger, PATIENCE, Place, Relay, Shape, feed, moqtail, receive,
};

const SECONDS: u64 = 8;

/// 20 ms frames at 64 kbit/s.
const SOUND: Shape = Shape {
    groups: SECONDS * 2,
    objects: 25,
    subgroups: 1,
    len: 160,
    every: Duration::from_millis(20),
    priority: 10,
};

/// 30 pictures a second at 2 Mbit/s.
const PICTURE: Shape = Shape {
    groups: SECONDS,
    objects: 30,
    subgroups: 1,
    len: 8333,
    every: Duration::from_nanos(33_333_333),
    priority: 20,
};

/// Half of that.
const LINK_KBIT: u32 = 1000;

const PORT: u16 = 4443;

/// The queue of the link, one turn of the transport, and what a busy machine adds.
const SOUND_AGE: Duration = Duration::from_secs(1);

/// Publisher and relay at the near end of a narrow link, one viewer of sound and picture in one session at the far end.
fn watch(carrier: Carrier, picture_timeout: Option<Duration>) -> [(Ledger, SubscriptionEnd); 2] {
    let link = Bottleneck::new(LINK_KBIT);
    let mut command = link.command(Place::Near, moqtail());
    let listen = format!("localhost:{PORT},{}:{PORT}", Bottleneck::NEAR);
    command.args(["relay", "--http", "off", "--listen", &listen]);
    let _relay = Relay::spawn(command);
    let addr = SocketAddr::from((Bottleneck::NEAR, PORT));
    let clock = Clock::start();
    let (announced, announcement) = channel();
    let (joined, join) = channel();
    let link = &link;
    scope(|scope| {
        scope.spawn(move || {
            link.enter(Place::Near);
            run(publish(addr, clock, announced, join));
        });
        let viewer = scope.spawn(move || {
            link.enter(Place::Far);
            let first = announcement.recv_timeout(PATIENCE);
            first.expect("the publisher is ready");
            run(view(carrier, addr, picture_timeout, clock, joined))
        });
        viewer.join().expect("the viewer's assertions hold")
    })
}

fn run<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(story)
}

async fn publish(addr: SocketAddr, clock: Clock, announced: Sender<()>, joined: Receiver<()>) {
    let publisher = Carrier::Quic.connect(addr).await;
    let broadcast = Broadcast::new("live/cam".parse().expect("a name"));
    let [sound, picture] = ["sound", "picture"]
        .map(|name| broadcast.track(name, TrackOptions::default()).expect("new"));
    let _publication = publisher.publish(&broadcast).await.expect("it may");
    announced.send(()).expect("the viewer waits");
    let joined = tokio::task::spawn_blocking(move || joined.recv_timeout(PATIENCE));
    joined
        .await
        .expect("it runs")
        .expect("the viewer subscribes");
    tokio::join!(feed(sound, SOUND, clock), feed(picture, PICTURE, clock));
    publisher.shutdown(PATIENCE).await;
}

async fn view(
    carrier: Carrier,
    addr: SocketAddr,
    picture_timeout: Option<Duration>,
    clock: Clock,
    joined: Sender<()>,
) -> [(Ledger, SubscriptionEnd); 2] {
    let viewer = carrier.connect(addr).await;
    let subscribe = async |track: &str, options| {
        let track = format!("live/cam#{track}").parse().expect("a name");
        viewer.subscribe(track, options).await.expect("it is there")
    };
    let sound = subscribe("sound", SubscribeOptions::default()).await;
    let mut options = SubscribeOptions::default();
    options.delivery_timeout = picture_timeout;
    let picture = subscribe("picture", options).await;
    joined.send(()).expect("the publisher waits");
    let mut ledgers = [SOUND, PICTURE].map(|shape| Ledger::new(shape, clock));
    let [of_sound, of_picture] = &mut ledgers;
    let ends = tokio::join!(receive(sound, of_sound), receive(picture, of_picture));
    println!("{carrier:?}: {:?}", viewer.stats());
    let [of_sound, of_picture] = ledgers;
    [(of_sound, ends.0), (of_picture, ends.1)]
}

fn assert_ended(end: &SubscriptionEnd) {
    let SubscriptionEnd::Done { status, .. } = end else {
        panic!("{end:?}")
    };
    assert_eq!(*status, PublishDoneCode::TRACK_ENDED);
}

fn assert_sound(ledger: &Ledger, end: &SubscriptionEnd) {
    assert_ended(end);
    ledger.assert_whole();
    let [_, nearly_all, _] = ledger.ages();
    println!("sound: ages {:?}", ledger.ages());
    assert!(nearly_all < SOUND_AGE, "{nearly_all:?}");
}

/// S7.3-01: without a delivery timeout the picture falls behind, and still all of it arrives.
#[test]
fn sound_is_on_time_and_the_picture_whole_where_nothing_may_be_left_out() {
    for carrier in [Carrier::Quic, Carrier::Web] {
        let [(sound, sound_end), (picture, picture_end)] = watch(carrier, None);
        assert_sound(&sound, &sound_end);
        assert_ended(&picture_end);
        picture.assert_whole();
        println!("picture: ages {:?}", picture.ages());
    }
}

/// With one, groups of the picture end early, never with a hole, and it stays live.
#[test]
fn sound_is_whole_and_the_picture_yields_where_it_has_a_delivery_timeout() {
    for carrier in [Carrier::Quic, Carrier::Web] {
        let timeout = Duration::from_millis(600);
        let [(sound, sound_end), (picture, picture_end)] = watch(carrier, Some(timeout));
        assert_sound(&sound, &sound_end);
        assert_ended(&picture_end);
        picture.assert_only_ends_are_missing();
        let groups: Vec<_> = (0..PICTURE.groups)
            .map(|group| picture.of_group(group))
            .collect();
        println!("picture: {groups:?} of 30; ages {:?}", picture.ages());
        assert!(picture.count() < PICTURE.total(), "nothing was left out");
        assert!(picture.count() > PICTURE.total() / 5, "{groups:?}");
        let [_, _, oldest] = picture.ages();
        assert!(oldest < timeout + Duration::from_secs(1), "{oldest:?}");
    }
}
