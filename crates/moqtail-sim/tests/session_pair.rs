//! Two sessions of ours over links that delay, reorder and split.

use std::time::Duration;

use moqtail::{
    model::{PublishDoneCode, TrackAlias},
    session::{Event, RequestHandle, SessionConfig, SessionLimits, StreamVerdict},
};
use moqtail_sim::{
    Link, Pair, Rng, Scripted, Side,
    messages::{publish_answer, publish_options, subgroup, subscribe_answer, subscribe_options},
};

const ROUGH: Link = Link {
    delay: Duration::from_millis(5),
    jitter: Duration::from_millis(40),
    piece: 9,
};

/// What the applications of both sides do, by the dice: the server publishes, the client subscribes.
struct Story {
    pair: Pair,
    rng: Rng,
    /// Subscriptions that the server serves, with their alias and open streams.
    served: Vec<(RequestHandle, TrackAlias, Vec<moqtail::session::StreamKey>)>,
    /// Subscriptions of the client.
    subscribed: Vec<RequestHandle>,
    /// How many streams reached their subscription.
    delivered: usize,
    next_alias: u64,
    /// What the applications were told.
    told: Vec<String>,
}

impl Story {
    fn new(seed: u64) -> Self {
        // A little credit, so that requests wait.
        let limits = SessionLimits {
            max_peer_requests: 3,
            ..SessionLimits::default()
        };
        let client = SessionConfig {
            limits: limits.clone(),
            ..Scripted::client_config()
        };
        let server = SessionConfig {
            limits,
            ..Scripted::server_config()
        };
        let mut pair = Pair::new(client, server, ROUGH, seed);
        pair.establish();
        Self {
            pair,
            rng: Rng::new(seed),
            served: Vec::new(),
            subscribed: Vec::new(),
            delivered: 0,
            next_alias: 0,
            told: Vec::new(),
        }
    }

    fn alias(&mut self) -> u64 {
        self.next_alias += 1;
        self.next_alias
    }

    fn step(&mut self) {
        let name = ["live#a", "live#b", "live#c"][self.rng.below(3) as usize];
        match self.rng.below(8) {
            0 | 1 => {
                let options = subscribe_options(name);
                let call = self
                    .pair
                    .call(Side::Client, |s, now| s.subscribe(options, now));
                self.subscribed.extend(call.ok());
            }
            2 => {
                let alias = self.alias();
                let options = publish_options(name, alias);
                let call = self
                    .pair
                    .call(Side::Server, |s, now| s.publish(options, now));
                self.served
                    .extend(call.ok().map(|h| (h, TrackAlias(alias), Vec::new())));
            }
            3 if !self.subscribed.is_empty() => {
                let index = self.rng.below(self.subscribed.len() as u64) as usize;
                let handle = self.subscribed.swap_remove(index);
                // It may have ended meanwhile.
                let _ = self.pair.call(Side::Client, |s, _| s.unsubscribe(handle));
            }
            4 if !self.served.is_empty() => {
                let index = self.rng.below(self.served.len() as u64) as usize;
                let (handle, _, streams) = self.served.swap_remove(index);
                let status = PublishDoneCode::TRACK_ENDED;
                let _ = self
                    .pair
                    .call(Side::Server, |s, _| s.finish_publish(handle, status, ""));
                for stream in streams {
                    self.pair.end_stream(Side::Server, handle, stream);
                }
            }
            5 | 6 if !self.served.is_empty() => {
                let index = self.rng.below(self.served.len() as u64) as usize;
                let (handle, alias, streams) = &mut self.served[index];
                let may_open = self.pair.side(Side::Server).session.is_sent(*handle);
                if may_open && streams.len() < 3 {
                    streams.push(
                        self.pair
                            .open_stream(Side::Server, *handle, subgroup(alias.0)),
                    );
                } else if let Some(stream) = streams.pop() {
                    self.pair.end_stream(Side::Server, *handle, stream);
                }
            }
            _ => {
                let time = Duration::from_millis(self.rng.below(50));
                self.pair.run_for(time);
            }
        }
        self.answer();
    }

    /// The applications answer what they are asked.
    fn answer(&mut self) {
        for event in self.pair.side(Side::Server).events() {
            self.told.push(format!("server {event:?}"));
            match event {
                Event::SubscribeRequested(request) => {
                    let (handle, alias) = (request.handle, self.alias());
                    let answer = subscribe_answer(alias);
                    let accept = self.pair.call(Side::Server, |s, now| {
                        s.accept_subscribe(handle, answer, now)
                    });
                    // UNSUBSCRIBE may have come in the same breath.
                    if accept.is_ok() {
                        self.served.push((handle, TrackAlias(alias), Vec::new()));
                    }
                }
                Event::Unsubscribed { handle } | Event::PublishRejected { handle, .. } => {
                    self.forget(handle);
                }
                _ => {}
            }
        }
        for event in self.pair.side(Side::Client).events() {
            self.told.push(format!("client {event:?}"));
            if let Event::PublishRequested(request) = event {
                let (handle, answer) = (request.handle, publish_answer());
                let call = self
                    .pair
                    .call(Side::Client, |s, now| s.accept_publish(handle, answer, now));
                self.subscribed.extend(call.is_ok().then_some(handle));
            }
        }
    }

    /// Resets the streams of a subscription that the peer left.
    fn forget(&mut self, handle: RequestHandle) {
        if let Some(index) = self
            .served
            .iter()
            .position(|(served, ..)| *served == handle)
        {
            let (_, _, streams) = self.served.swap_remove(index);
            for stream in streams {
                self.pair.end_stream(Side::Server, handle, stream);
            }
        }
    }

    fn run(seed: u64, steps: usize) -> Self {
        let mut story = Self::new(seed);
        for _ in 0..steps {
            story.step();
        }
        story.end();
        story
    }

    /// Everything ends, and what has to be waited for is.
    fn end(&mut self) {
        for _ in 0..20 {
            for (handle, _, streams) in std::mem::take(&mut self.served) {
                let status = PublishDoneCode::TRACK_ENDED;
                let _ = self
                    .pair
                    .call(Side::Server, |s, _| s.finish_publish(handle, status, ""));
                for stream in streams {
                    self.pair.end_stream(Side::Server, handle, stream);
                }
            }
            self.pair.run_for(Duration::from_secs(10));
            self.answer();
        }
        self.delivered = self
            .pair
            .log()
            .iter()
            .filter(|line| line.contains("StreamOpened"))
            .count();
    }
}

/// Whatever the link does, two sessions of ours get along and leave nothing behind.
#[test]
fn sessions_get_along_over_a_rough_link() {
    let mut streams = 0;
    for seed in 0..60 {
        let mut story = Story::run(seed, 150);
        for side in [Side::Client, Side::Server] {
            let endpoint = story.pair.side(side);
            assert_eq!(endpoint.closed, None, "seed {seed}, {side:?}");
            let load = endpoint.session.load();
            let held = [
                load.subscriptions,
                load.publications,
                load.peer_requests,
                load.streams,
            ];
            assert_eq!(held, [0; 4], "seed {seed}, {side:?}: {load:?}");
            assert_eq!(
                (load.queued_requests, load.timers),
                (0, 0),
                "seed {seed}, {side:?}"
            );
        }
        streams += story.delivered;
    }
    assert!(streams > 500, "the stories are dull: {streams} streams");
}

/// Same seed, same run: every arrival at its time, every event in its order.
#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..10 {
        let (one, two) = (Story::run(seed, 150), Story::run(seed, 150));
        assert_eq!(one.pair.log(), two.pair.log(), "seed {seed}");
        assert_eq!(one.told, two.told, "seed {seed}");
    }
    assert_ne!(Story::run(1, 150).pair.log(), Story::run(2, 150).pair.log());
}

/// S10.1-01, S9.12-07, S9.12-10: streams overtake SUBSCRIBE_OK and PUBLISH_DONE, and all of them are delivered.
#[test]
fn streams_that_overtake_the_control_stream_are_all_delivered() {
    for seed in 0..50 {
        let (client, server) = (Scripted::client_config(), Scripted::server_config());
        let mut pair = Pair::new(client, server, ROUGH, seed);
        pair.establish();
        let options = subscribe_options("live#a");
        let ours = pair
            .call(Side::Client, |s, now| s.subscribe(options, now))
            .unwrap();
        pair.settle();
        let Some(Event::SubscribeRequested(request)) = pair.side(Side::Server).event() else {
            panic!()
        };
        let theirs = request.handle;
        pair.call(Side::Server, |s, now| {
            s.accept_subscribe(theirs, subscribe_answer(1), now)
        })
        .unwrap();
        let streams = [(); 4].map(|()| pair.open_stream(Side::Server, theirs, subgroup(1)));
        let status = PublishDoneCode::TRACK_ENDED;
        pair.call(Side::Server, |s, _| s.finish_publish(theirs, status, ""))
            .unwrap();
        for stream in streams {
            pair.end_stream(Side::Server, theirs, stream);
        }
        pair.settle();
        let resumed = pair.side(Side::Client).resumed.clone();
        for stream in streams {
            let delivered = pair.verdict(stream) == Some(StreamVerdict::Deliver(ours))
                || resumed.contains(&(stream, ours));
            assert!(delivered, "seed {seed}: {:?}", pair.verdict(stream));
        }
        let events = pair.side(Side::Client).events();
        let closed = Event::SubscriptionClosed { handle: ours };
        assert_eq!(events.last(), Some(&closed), "seed {seed}");
        assert_eq!(pair.side(Side::Client).closed, None);
    }
}
